"""Stored measurements as readers see them, from made-up files."""

import pytest
from IPython.display import Markdown

from ccb_lib.benchmark.cells import Cell
from ccb_lib.benchmark.files import write
from ccb_lib.chapters.speed import (
    machines,
    measurements,
    step_table,
    targets,
    threads,
    throughput,
    top_kernels,
)
from ccb_lib.chapters.speed_costs import cost_figure, growth, operations


def steps(group, eager, fast, **changed):
    cell = {"what": "step", "unit": "ms", **Cell(width=8).__dict__, **changed, "group": group}
    for path, median, ratio in (("eager", eager, 1.0), ("fast", fast, 2.0)):
        yield {
            **cell,
            "path": path,
            "median": median,
            "low": median * 0.9,
            "high": median * 1.2,
            "ratio": ratio,
        }


@pytest.fixture
def folder(tmp_path):
    rows = [
        *steps("method", 40.0, 20.0),
        *steps("method", 44.0, 22.0, detectors=10),
        *steps("method", 30.0, 15.0, method="egbad"),
        *steps("image_size", 160.0, 60.0, image_size=64),
        *steps("image_size", 40.0, 20.0),
        *steps("chain", 41.0, 21.0),
        *steps("chain", 90.0, 50.0, chain=(8, 6, 4, 2)),
        *steps("detectors", 40.0, 20.0),
        *steps("detectors", 44.0, 22.0, detectors=10),
        {"what": "score", "method": "anogan", "path": "fast", "median": 7.0, "search_steps": 20},
        {"what": "score", "method": "ccb", "path": "fast", "median": 900.0},
        {"what": "operations", "method": "ccb", "path": "eager", "median": 300},
        {"what": "operations", "method": "ccb", "path": "fast", "median": 200},
        {"what": "threads", "width": 8, "path": "1 thread", "median": 50.0, "best": 45.0},
    ]
    promise = {
        "name": "The plain path's time over the fast one's, at the worst",
        "measured": 1.02,
        "unit": "times",
    }
    write(
        tmp_path / "bench-cpu.json",
        rows,
        {"device": "CPU", "torch": "2"},
        targets=[{**promise, "reached": True}],
    )
    return tmp_path


def words(shown):
    assert isinstance(shown, Markdown)
    return shown.data


def test_steps_show_medians_spread_and_gain(folder):
    table = step_table(measurements(folder), "CPU")
    assert list(table.index) == [("egbad", 1), ("ccb", 1), ("ccb", 10)]
    assert table.loc[("ccb", 1), "plain"] == "40 [36, 48]"
    assert table.loc[("ccb", 10), "fast"] == "22 [19.8, 26.4]"
    assert list(table["plain / fast"]) == ["2.00"] * 3


def test_what_was_not_run_names_its_command(folder):
    frame = measurements(folder)
    for shown in (
        step_table(frame, "GPU"),
        cost_figure(frame, "GPU"),
        growth(frame, "GPU"),
        throughput(frame, "GPU"),
    ):
        assert words(shown) == (
            "*not run*; to fill in: `ccb bench --device cuda --out data/results/bench-gpu.json`"
        )  # fmt: skip
    assert "--profile" in words(top_kernels(folder))


def test_nothing_stored_is_no_error(tmp_path):
    frame = measurements(tmp_path)
    for view in (step_table, cost_figure, growth, throughput):
        assert "ccb bench --device cpu" in words(view(frame, "CPU"))
    assert "not run" in words(operations(frame))
    assert threads(frame) == "not run"
    assert machines(tmp_path).empty
    assert set(targets(tmp_path)["measured"]) == {"not run"}


def test_the_figure_draws_each_axis_and_marks_gaps(folder, legible):
    figure = legible(cost_figure(measurements(folder), "CPU"))
    by_label = {ax.get_xlabel(): ax for ax in figure.axes}
    sizes = by_label["image size, px"]
    assert [label.get_text() for label in sizes.get_xticklabels()] == ["32", "64"]
    drawn = [list(line.get_ydata()) for line in sizes.get_lines()]
    assert [40.0, 160.0] in drawn
    assert [20.0, 60.0] in drawn
    assert [text.get_text() for text in by_label["batch"].texts] == ["not run"] * 2
    assert [t.get_text() for t in by_label["blocks in all four chains"].get_xticklabels()] == [
        "10",
        "20",
    ]
    assert {t.get_text() for t in figure.legends[0].get_texts()} == {"plain", "fast"}


def test_growth_is_relative_to_the_first_setting(folder):
    table = growth(measurements(folder), "CPU")
    assert table.loc[("image size, px", "64"), "times"] == 3.0
    assert table.loc[("detectors", "10"), "times"] == 1.1


def test_rates_and_operations_and_threads(folder):
    frame = measurements(folder)
    assert throughput(frame, "CPU").loc["anogan", "note"] == "20 steps of search"
    assert throughput(frame, "CPU").loc["ccb", "fast"] == 900.0
    assert operations(frame).loc["ccb"].to_dict() == {"plain": 300, "fast": 200}
    assert threads(frame).iloc[0, 0] == "50 (best 45)"


def test_targets_show_what_was_reached_and_what_was_not_run(folder):
    table = targets(folder)
    assert len(table) == 6
    assert table["measured"].tolist() == ["not run"] * 5 + ["1.02 times"]
    assert table["reached"].iloc[-1] == "yes"
    assert table["on"].iloc[-1] == "CPU"
    assert table.index[-1].startswith("Time on the plain path")  # stored under another name


def test_files_of_one_machine_share_a_column(tmp_path):
    facts = {"device": "CPU", "processor": "P", "load before (1, 5, 15 minutes)": "0.1, 0.1, 0.1"}
    busy = facts | {"load before (1, 5, 15 minutes)": "9, 9, 9"}
    for name, machine in (("a", facts), ("b", busy), ("c", facts | {"processor": "Q"})):
        write(tmp_path / f"bench-{name}.json", [], machine)
    shown = machines(tmp_path)
    assert shown.columns.tolist() == ["bench-a, bench-b", "bench-c"]
    assert shown["bench-a, bench-b"].iloc[-1] == "bench-a: 0.1, 0.1, 0.1; bench-b: 9, 9, 9"
    assert shown.loc["processor"].tolist() == ["P", "Q"]
