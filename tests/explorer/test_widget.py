"""Both faces of the explorer in Python: counts at every stop, size, hostile names, and what can be
set and observed."""

import html.parser
import json
import math
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from ccb_lib import ThresholdExplorer
from ccb_lib.explorer import explorer_html, table_html
from ccb_lib.explorer.steps import BARS, Steps, shortest
from ccb_lib.metrics import auc, metrics_at

rng = np.random.default_rng(5)
LABELS = np.arange(90) >= 50
SCORES = np.round(rng.normal(size=90) + LABELS, 2)
NAMED = {"normal 95 %": 1.234567890123, "nothing": math.inf}
HOSTILE = "</script><img src=x onerror='window.hit=1'>"

labelled = st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=60).map(
    lambda rows: (np.array([row[0] / 8 for row in rows]), np.array([row[1] for row in rows]))
)


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL).group(1)
    )


def counts_of(cell):
    """Undo the page's packing: the first count, then what is lost at each stop."""
    return [
        np.cumsum([cell[name][0], *(-drop for drop in cell[name][1:])]) for name in ("tp", "fp")
    ]


# ── steps ─────────────────────────────────────────────────────────────────────────────────────────


@given(
    labelled, st.lists(st.floats(-2, 2) | st.sampled_from([-math.inf, math.inf, 0.125]), max_size=4)
)
def test_every_stop_counts_what_lies_above_it_and_every_cut_has_a_stop(pair, wanted):
    scores, labels = pair
    steps = Steps.of(scores, labels, {str(i): phi for i, phi in enumerate(wanted)})
    assert (np.diff(steps.thresholds) > 0).all()
    for phi, tp, fp in zip(steps.thresholds, steps.tp, steps.fp, strict=True):
        assert (tp, fp) == ((scores[labels] > phi).sum(), (scores[~labels] > phi).sum())
    assert {tuple(scores > phi) for phi in steps.thresholds} == {
        tuple(scores > phi) for phi in [-9, *(np.unique(scores) + 0.01)]
    }
    for i, phi in enumerate(wanted):
        np.testing.assert_array_equal(scores > steps.thresholds[steps.named[str(i)]], scores > phi)
    assert steps.bars.sum(axis=1).tolist() == [(~labels).sum(), labels.sum()]


def test_a_million_images_make_no_larger_page_than_thousands():
    pages = {}
    for n in (4_000, 1_000_000):
        labels = np.arange(n) % 10 == 0
        scores = np.random.default_rng(0).gamma(2, size=n) + labels
        pages[n] = explorer_html(scores, labels, {"normal 95 %": 4.2})
        cell = data_of(pages[n])["cells"][""]
        tp, fp = counts_of(cell)
        assert 200 < len(cell["t"]) <= 401
        for i in range(0, len(tp), 25):
            assert tp[i] == (scores[labels] > cell["t"][i]).sum()
            assert fp[i] == (scores[~labels] > cell["t"][i]).sum()
    assert len(pages[1_000_000]) < 50_000
    assert len(pages[1_000_000]) < 1.2 * len(pages[4_000])


def test_extreme_scores_do_not_squeeze_the_others_into_one_bar():
    scores = np.append(np.linspace(0, 1, 400), [1e6, -1e6])
    steps = Steps.of(scores, np.arange(402) % 2 == 0)
    assert (steps.bars.sum(axis=0) > 0).sum() > BARS / 4
    assert steps.beyond.startswith("1 score below")
    assert "1 score above" in steps.beyond
    assert steps.tp[-1] == steps.fp[-1] == 0  # and still every one can be passed


@pytest.mark.parametrize(
    "scores",
    [
        [3.0, 3.0],
        [0.0, 0.0],
        [1.0, 1 + 2e-16],
        [1e-300, 2e-300],
        [-1e300, 1e300],
        [1e9, 1e9 + 1e-3],
    ],
)
def test_odd_scales_are_drawn_and_counted(scores):
    page = explorer_html(scores, [0, 1])
    cell = data_of(page)["cells"][""]
    assert cell["axis"][0] < cell["axis"][1]
    assert cell["ticks"]
    tp, fp = counts_of(cell)
    assert (tp[0], fp[0], tp[-1], fp[-1]) == (1, 1, 0, 0)


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e3), st.floats(0.1, 0.9))
def test_short_decimals_stay_between_their_scores(low, width, share):
    value, high = low + share * width, low + width
    short = shortest(value, low, high)
    assert low < short < high or short == value
    assert float(f"{short:.17g}") == short


def test_short_decimals_are_as_short_as_their_gap_allows():
    assert shortest(0.1234567, 0.09, 0.2) == 0.1
    assert shortest(0.1234567, 0.1, 0.2) == 0.12  # strictly between
    assert shortest(0.1234567, 0.12344, 0.12347) == 0.12346
    assert shortest(0.1234567, 0.09, 0.2, digits=4) == 0.1235


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


class Reader(html.parser.HTMLParser):
    """Collect tags, attributes and text outside style and script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self._inside = [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside not in ("style", "script"):
            self.text.append(data)


def test_names_from_outside_stay_text_in_the_page():
    page = explorer_html(SCORES, LABELS, {HOSTILE: 0.5}, title=HOSTILE)
    table = table_html(
        {(HOSTILE, "b"): (SCORES, LABELS, {HOSTILE: 0.5})}, axes=(HOSTILE, "Class"), title=HOSTILE
    )
    for written in (page, table):
        read = Reader(written)
        assert "img" not in read.tags
        assert HOSTILE in read.text  # the title, unchanged
        assert not any(name.startswith("on") for name, _ in read.attributes)
        assert written.count("</script>") == 2
        assert [name for name, _ in data_of(written)["cells"].popitem()[1]["named"]] == [HOSTILE]
    assert ("aria-label", HOSTILE) in Reader(page).attributes


def test_the_page_carries_nothing_from_elsewhere_and_no_ids():
    page = explorer_html(SCORES, LABELS, NAMED)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest|eval\(", page)
    assert not {"id", "src", "href"} & {name for name, _ in Reader(page).attributes}


def test_the_page_needs_no_ipywidgets_and_the_widget_says_what_it_needs():
    program = (
        "import sys; sys.modules |= {'ipywidgets': None, 'traitlets': None}\n"
        "from ccb_lib.explorer import explorer_html\n"
        "print(len(explorer_html([1, 2, 3], [0, 0, 1])))\n"
        "try:\n    from ccb_lib import ThresholdExplorer\n"
        "except ImportError as error:\n    print(error)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    length, message = done.stdout.splitlines()
    assert int(length) > 10_000
    assert "pip install ipywidgets" in message
    assert "explorer_html" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scores": [1.0, math.nan]}, "1 of 2 are NaN"),
        ({"labels": [0, 2]}, "bools or 0 and 1"),
        ({"thresholds": {"a": math.nan}}, "'a' is NaN"),
        ({"thresholds": {"a": "high"}}, "'a' is 'high'; a number is needed"),
        ({"prevalence": 5}, "prevalence=5"),
        ({"scores": [-1.7e308, 1.7e308]}, "too wide"),
    ],
)
@pytest.mark.parametrize("make", [explorer_html, ThresholdExplorer])
def test_wrong_input_is_named(make, changes, words):
    with pytest.raises(ValueError, match=words):
        make(**{"scores": [1.0, 2.0], "labels": [0, 1], **changes})
    if "prevalence" not in changes:
        parts = {"scores": [1.0, 2.0], "labels": [0, 1], "thresholds": {}, **changes}
        with pytest.raises(ValueError, match=words):
            table_html({("A", "b"): tuple(parts.values())})


def test_wrong_tables_are_named():
    with pytest.raises(ValueError, match="empty"):
        table_html({})
    with pytest.raises(
        ValueError, match=r"Key \('A',\) has 1 parts; one for each of axes=\('Method', 'Class'\)"
    ):
        table_html({"A": (SCORES, LABELS)})
    with pytest.raises(ValueError, match="1 parts given"):
        table_html({("A", "b"): (SCORES,)})
    with pytest.raises(ValueError, match=r"\('A', 'b'\): scores: 1 of 2"):
        table_html({("A", "b"): ([1, math.nan], [0, 1])})
    with pytest.raises(ValueError, match=r"choice='C' is not in the table"):
        table_html({"A": (SCORES, LABELS)}, axes=("Method",), choice="C")
    with pytest.raises(ValueError, match="stops=3"):
        explorer_html(SCORES, LABELS, stops=3)


# ── the live face ─────────────────────────────────────────────────────────────────────────────────


def figures(explorer):
    """What the live face shows, by name."""
    shown = explorer._plot.value + explorer._panels.value
    return dict(re.findall(r'data-show="(\w+)"[^>]*>([^<]*)<', shown))


def check(explorer, scores=SCORES, labels=LABELS):
    found, verdicts = explorer.metrics, scores > explorer.threshold
    wanted = metrics_at(scores, labels, explorer.threshold, prevalence=explorer.prevalence)
    np.testing.assert_equal(asdict(found), asdict(wanted))  # NaN equals NaN here
    (tn, fp), (fn, tp) = sk.confusion_matrix(labels, verdicts, labels=[False, True])
    assert (found.tp, found.fp, found.tn, found.fn) == (tp, fp, tn, fn)
    texts = figures(explorer)
    assert [texts[name] for name in ("tp", "fp", "tn", "fn")] == [
        str(count) for count in (tp, fp, tn, fn)
    ]
    assert texts["recall"] == f"{sk.recall_score(labels, verdicts):.3f}"


def test_both_faces_have_the_same_stops_and_agree_with_scikit_learn_at_each():
    explorer = ThresholdExplorer(SCORES, LABELS, NAMED)
    cell = data_of(explorer.to_html())["cells"][""]
    tp, fp = counts_of(cell)
    assert explorer._slider.max == len(cell["t"]) - 1
    for stop in range(explorer._slider.max + 1):
        explorer._slider.value = stop
        check(explorer)
        live, stored = explorer.threshold, cell["t"][stop]
        assert (explorer.metrics.tp, explorer.metrics.fp) == (tp[stop], fp[stop])
        assert [score > live for score in SCORES] == [score > stored for score in SCORES]


def test_threshold_and_prevalence_can_be_set_and_everything_observed():
    explorer = ThresholdExplorer(SCORES, LABELS, NAMED, prevalence=0.1)
    seen, at = [], []
    explorer.observe(lambda change: seen.append(change["new"]), "metrics")
    explorer.observe(
        lambda change: at.append((change["new"], explorer.metrics.threshold)), "threshold"
    )
    assert (
        explorer.threshold == NAMED["normal 95 %"]
    )  # the very number that was given, not a rounded one
    explorer.threshold = 0.4321
    assert at == [(0.4321, 0.4321)]  # who is told of the threshold finds the metrics already there
    assert seen == [explorer.metrics]
    assert explorer.metrics == metrics_at(SCORES, LABELS, 0.4321, prevalence=0.1)
    assert figures(explorer)["precision"] == f"{explorer.metrics.precision:.3f}"
    explorer.prevalence = None
    assert explorer.metrics == metrics_at(SCORES, LABELS, 0.4321)
    assert figures(explorer)["prevalence"] == "44.4\u00a0%, as tested"
    explorer.threshold = -math.inf
    assert (explorer.metrics.fn, explorer._slider.value) == (0, 0)
    for name, value in (("threshold", math.nan), ("prevalence", 5), ("prevalence", 0)):
        with pytest.raises(ValueError, match=name):
            setattr(explorer, name, value)
    assert explorer.threshold == -math.inf
    with pytest.raises(Exception, match="read-only"):
        explorer.metrics = None


def test_who_is_told_of_the_metrics_may_set_a_threshold_in_turn():
    explorer = ThresholdExplorer(SCORES, LABELS, NAMED)

    def no_higher_than_one(change):
        if change["new"].threshold > 1:
            explorer.threshold = 1.0

    explorer.observe(no_higher_than_one, "metrics")
    explorer.threshold = 1.5
    assert explorer.threshold == 1
    check(explorer)


def test_controls_set_what_they_show():
    explorer = ThresholdExplorer(SCORES, LABELS, NAMED)
    first, nothing = explorer._named.children
    nothing.click()
    assert explorer.threshold == math.inf
    assert explorer.metrics.tp == explorer.metrics.fp == 0
    assert math.isfinite(explorer._number.value)  # JSON has no infinity
    first.click()
    assert explorer.threshold == NAMED["normal 95 %"]
    assert "ccb-on" in first._dom_classes
    assert "ccb-on" not in nothing._dom_classes
    explorer._number.value = 0.77
    assert explorer.threshold == 0.77
    check(explorer)
    explorer._percent.value = 2.0
    assert explorer.prevalence == 0.02
    explorer._share.value = 0.5
    assert explorer.prevalence == 0.5
    assert explorer._percent.value == 50
    explorer._as_tested.click()
    assert explorer.prevalence is None
    assert explorer._share.value == LABELS.mean()


def test_one_object_has_two_faces_in_one_bundle():
    explorer = ThresholdExplorer(SCORES, LABELS, NAMED, title="Both")
    explorer.threshold, explorer.prevalence = 0.4321, 0.1
    bundle = explorer._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert isinstance(explorer, ipywidgets.DOMWidget)
    data = data_of(bundle["text/html"])
    cell = data["cells"][""]
    assert cell["t"][cell["start"]] == 0.4321  # the page starts where the widget was left
    assert data["prevalence"] == 0.1
    assert [name for name, _ in cell["named"]] == list(NAMED)
    read = Reader(bundle["text/html"])
    assert figures(explorer)["summary"] in read.text
    assert "φ = 0.4321" in bundle["text/plain"]


def test_hostile_names_stay_text_in_the_widget():
    explorer = ThresholdExplorer(SCORES, LABELS, {HOSTILE: 0.5}, title=HOSTILE)
    assert (
        explorer._named.children[0].description == HOSTILE
    )  # a button's description is text to ipywidgets
    for part in (explorer._head, explorer._plot, explorer._panels):
        assert "img" not in Reader(part.value).tags


def test_one_kind_of_image_alone_leaves_the_rest_undefined():
    explorer = ThresholdExplorer(SCORES[~LABELS], LABELS[~LABELS], {"normal 95 %": 1.0})
    assert math.isnan(explorer.metrics.recall)
    assert explorer._share.disabled
    assert figures(explorer)["auc"] == "–"
    assert explorer.metrics.fp == (SCORES[~LABELS] > 1).sum()


# ── tables ────────────────────────────────────────────────────────────────────────────────────────

TABLE = {
    ("CCB", "cat"): (SCORES, LABELS, {"normal 95 %": 1.5, "oracle F1": 0.4}),
    ("CCB", "dog"): (2 * SCORES, LABELS, {"oracle F1": 0.9}),
    ("EGBAD", "cat"): (-SCORES, LABELS, {"normal 95 %": 1.1}),
}


def test_a_table_is_one_explorer_for_each_of_its_keys():
    explorer = ThresholdExplorer.from_table(TABLE, prevalence=0.2)
    assert (explorer.choice, explorer.threshold) == (("CCB", "cat"), 1.5)
    explorer._named.children[1].click()
    explorer.choice = ("CCB", "dog")
    assert explorer.threshold == 0.9  # the named threshold is kept, with its own value here
    check(explorer, 2 * SCORES)
    explorer._choosers.children[1].value = "cat"
    assert explorer.choice == ("CCB", "cat")
    assert explorer.threshold == 0.4
    explorer._choosers.children[0].value = "EGBAD"
    # No such rule here. The other score has its own scale, so the false-alarm rate is kept.
    normal = SCORES[~LABELS]
    assert explorer.metrics.fp == (normal > 0.4).sum() != (-normal > 0.4).sum()
    check(explorer, -SCORES)
    assert figures(explorer)["auc"] == f"{auc(-SCORES, LABELS):.3f}"  # under one half, and left so
    with pytest.raises(ValueError, match=r"choice=\('CCB', 'emu'\) is not in the table"):
        explorer.choice = ("CCB", "emu")


def test_menus_offer_only_what_was_run():
    explorer = ThresholdExplorer.from_table(TABLE, choice=("CCB", "dog"))
    method, kind = explorer._choosers.children
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "choice")
    assert [[value for _, value in menu.options] for menu in (method, kind)] == [
        ["CCB", "EGBAD"],
        ["cat", "dog"],
    ]
    method.value = "EGBAD"  # has no dog: the class goes to the first that was run
    assert seen == [explorer.choice] == [("EGBAD", "cat")]
    assert [value for _, value in kind.options] == ["cat"]
    check(explorer, -SCORES)
    method.value = "CCB"
    assert explorer.choice == ("CCB", "cat")
    assert [value for _, value in kind.options] == ["cat", "dog"]
    with pytest.raises(ValueError, match="is not in the table"):
        explorer.choice = ("EGBAD", "dog")


@pytest.mark.parametrize(
    ("prevalence", "threshold", "said"),
    [
        # 30 of 40 abnormal images lie above 0, 1 of 1,000 normal images does.
        (
            0.5,
            0,
            "Of 100 images examined at a prevalence of 50\u00a0%: abnormal found 38, missed 12, "
            "false alarms fewer than 1, correctly called normal 50.",
        ),
        (
            0.001,
            0,
            "Of 10,000 images examined at a prevalence of 0.1\u00a0%: abnormal found 8, "
            "missed 2, false alarms 10, correctly called normal 9,980.",
        ),
        (
            0.001,
            -2,
            "Of 10,000 images examined at a prevalence of 0.1\u00a0%: abnormal found 10, "
            "missed 0, false alarms 9,990, correctly called normal 0.",
        ),
        (
            0.99,
            2,
            "Of 1,000 images examined at a prevalence of 99\u00a0%: abnormal found 0, "
            "missed 990, false alarms 0, correctly called normal 10.",
        ),
    ],
)
def test_the_summary_counts_images_at_a_prevalence(prevalence, threshold, said):
    scores = np.repeat([1.0, -1.0, 1.0, -1.0], [30, 10, 1, 999])
    explorer = ThresholdExplorer(scores, np.arange(1040) < 40, prevalence=prevalence)
    explorer.threshold = threshold
    assert figures(explorer)["summary"].endswith(said)
    assert "0 of 100" not in figures(explorer)["summary"]


def test_an_axis_of_floats_is_a_slider_in_order():
    table = {alpha: (alpha * SCORES, LABELS) for alpha in (0.5, 0.0, 1.0)}
    explorer = ThresholdExplorer.from_table(table, axes=("α",), choice=1.0)
    chooser = explorer._choosers.children[0]
    assert isinstance(chooser, ipywidgets.SelectionSlider)
    assert [value for _, value in chooser.options] == [0.0, 0.5, 1.0]
    chooser.value = 0.5
    assert explorer.choice == (0.5,)
    check(explorer, 0.5 * SCORES)
    data = data_of(explorer.to_html())
    assert data["axes"] == [{"values": ["0.0", "0.5", "1.0"]}]
    assert isinstance(
        ThresholdExplorer.from_table(TABLE)._choosers.children[0], ipywidgets.Dropdown
    )


def test_a_whole_table_of_the_paper_stays_small():
    methods, classes = ("CCB", "Skip-GANomaly", "GANomaly", "EGBAD", "AnoGAN"), range(10)
    labels = np.arange(15_000) >= 9_000
    table = {
        (method, str(kind)): (rng.normal(size=15_000) + labels, labels, {"normal 95 %": 1.64})
        for method in methods
        for kind in classes
    }
    assert len(table_html(table)) < 300_000
