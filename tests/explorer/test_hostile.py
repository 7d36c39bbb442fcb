"""Explorers of hostile names and numbers: a page that UTF-8 can hold, or a ValueError."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccb_lib.explorer import explorer_html, table_html
from ccb_lib.explorer.widget import ThresholdExplorer

HALF = "\ud800"  # half a character, as file names of another encoding give
SCORES, LABELS = [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]


@pytest.mark.parametrize(
    "scores",
    [
        [0.0, 5e-324],
        [1e-320, 2e-320],
        [0.0, 1e-310],
        [-5e-324, 5e-324],
        [1e-320] * 2,
        [1e16, 1e16 + 2],
        [1e300, 0.0],
    ],
)
def test_scores_that_lie_very_close_or_far_apart_are_drawn(scores):
    assert "ccb-explorer" in explorer_html(scores, [0, 1])


@pytest.mark.parametrize("scores", [[1.7e308, 0.0], [-1.7e308, 1.7e308], [10**400, 0]])
def test_scores_beyond_what_can_be_drawn_are_refused(scores):
    with pytest.raises(ValueError, match="scores: "):
        explorer_html(scores, [0, 1])


@pytest.mark.parametrize("title", [None, 3, ["x"]])
def test_a_title_is_text(title):
    for function in (explorer_html, ThresholdExplorer):
        with pytest.raises(ValueError, match=r"title=.* text is needed"):
            function(SCORES, LABELS, title=title)


def test_half_characters_are_shown_as_unknown_ones():
    page = explorer_html(SCORES, LABELS, {HALF: 0.2}, title=f"a{HALF}b")
    assert "a\ufffdb" in page
    table = {(f"x{HALF}", "y"): (SCORES, LABELS)}
    page += table_html(table, axes=(f"z{HALF}", "w"))
    page += ThresholdExplorer.from_table(table, axes=(f"z{HALF}", "w"), title=HALF).to_html()
    page.encode()  # would raise


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stops": "many"}, "stops=many"),
        ({"stops": None}, "stops=None"),
        ({"prevalence": "x"}, "prevalence=x"),
        ({"start": "x"}, "threshold='x'"),
        ({"thresholds": [0.5]}, "numbers by name are needed"),
        ({"thresholds": {"a": 10**400}}, "'a' is 1000"),
    ],
)
def test_arguments_of_a_wrong_kind_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        explorer_html(SCORES, LABELS, **options)


@pytest.mark.parametrize(
    ("table", "axes", "said"),
    [
        (None, ("A",), "A table of type NoneType given"),
        ([1], ("A",), "A table of type list given"),
        ({"x": 5}, ("A",), r"int given; \(scores, labels\)"),
        ({"x": (SCORES, LABELS)}, None, "axes=None given"),
        ({"x": (SCORES, LABELS)}, "A", "axes='A' given"),
    ],
)
def test_tables_of_a_wrong_kind_are_named(table, axes, said):
    with pytest.raises(ValueError, match=said):
        table_html(table, axes=axes)


_TEXT = st.text(st.characters(exclude_categories=()), max_size=5) | st.sampled_from(
    [HALF, "</script>", "<!--", "$x"]
)
_NUMBER = st.floats() | st.sampled_from([0.0, 5e-324, 1e-320, 1.7e308, 1e300, 10**400, None, "1"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(_NUMBER, st.sampled_from([0, 1])), max_size=6),
    st.dictionaries(_TEXT, _NUMBER),
    _TEXT,
)
def test_any_names_and_numbers(pairs, thresholds, title):
    scores, labels = [score for score, _ in pairs], [label for _, label in pairs]
    try:
        page = explorer_html(scores, labels, thresholds, title=title)
    except ValueError:
        return
    page.encode()
    assert np.isfinite(np.asarray(scores, dtype=float)).all()
