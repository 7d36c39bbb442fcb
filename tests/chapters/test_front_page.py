"""The first page's five lines: each from stored results, or labelled as not run."""

import pandas as pd

from ccb_lib.chapters.front_page import five_lines
from ccb_lib.chapters.verdict import waterfalls
from ccb_lib.reproduction.results import load_results


def test_every_question_has_an_answer_with_a_link():
    lines = five_lines(waterfalls((4,))).data.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert line.startswith("- **")
        assert "](" in line


def test_the_clean_line_lists_the_stored_means():
    line = five_lines(waterfalls((4,))).data.splitlines()[0]
    frame = load_results(4)
    stored = frame[(frame["method"] == "mean-intensity") & (frame["protocol"] == "clean")]
    stored = stored[stored["normal"].isna() & stored["image_size"].isna()]
    assert f"mean intensity {stored['auc'].mean():.3f}" in line


def test_what_was_not_run_is_labelled(tmp_path):
    nothing = waterfalls((4,), folder=tmp_path)
    lines = five_lines(pd.DataFrame(columns=nothing.columns), tmp_path).data.splitlines()
    assert all("*not run*" in line for line in lines[:3])
