"""What the figures of the arithmetic show, read back from the drawn objects."""

import matplotlib as mpl
import pandas as pd
import pytest

from ccb_lib.plots.arithmetic import attainable_counts, operating_points, prevalence_intervals
from ccb_lib.plots.style import METHOD_COLOURS
from ccb_lib.reproduction.arithmetic import common_prevalence, possible_prevalence, reported_pairs


def test_every_pair_has_its_interval_in_its_class_and_colour(legible):
    pairs = reported_pairs()
    figure = legible(prevalence_intervals(pairs))
    drawn = set()
    for ax in figure.axes:
        names = [label.get_text().replace(" ", "_") for label in ax.get_yticklabels()]
        for bar in ax.patches[:-1]:  # the last is the band
            name = names[round(bar.get_y() + bar.get_height() / 2)]
            ends = round(bar.get_x(), 9), round(bar.get_x() + bar.get_width(), 9)
            drawn.add((name, mpl.colors.to_hex(bar.get_facecolor()), *ends))
    wanted = {
        (
            row.abnormal,
            METHOD_COLOURS[row.method],
            *(round(end, 9) for end in possible_prevalence(row.accuracy, row.f1)),
        )
        for row in pairs.itertuples()
    }
    assert drawn == wanted


def test_the_band_is_the_overlap_and_absent_where_there_is_none():
    pairs = reported_pairs().query("dataset == 'ild'")
    low, high = common_prevalence(zip(pairs["accuracy"], pairs["f1"], strict=True))
    band = prevalence_intervals(pairs).axes[0].patches[-1]
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((low, high))
    longer = prevalence_intervals(
        reported_pairs(ablation=True).query("dataset == 'ild'"), hue="chain"
    ).axes[0]
    assert longer.get_title(loc="left") == "ILD: no common prevalence"
    assert len(longer.patches) == 16  # sixteen pairs and no band


def test_an_impossible_pair_has_no_bar():
    pairs = pd.DataFrame(
        {
            "dataset": "x",
            "abnormal": ["a", "b"],
            "method": "CCB",
            "accuracy": [0.1, 0.8],
            "f1": [0.95, 0.8],
        }
    )
    assert len(prevalence_intervals(pairs).axes[0].patches) == 1


def test_operating_points_by_hand(legible):
    pairs = pd.DataFrame(
        {
            "dataset": "ild",
            "method": ["CCB", "EGBAD"],
            "abnormal": "fibrosis",
            "accuracy": [0.8, 0.5],
            "f1": [0.8, 0.667],
        }
    )
    ax = legible(operating_points(pairs)).axes[0]
    points = {
        line.get_color(): line.get_xydata()[0].tolist()
        for line in ax.lines
        if line.get_marker() == "o"
    }
    assert points[METHOD_COLOURS["CCB"]] == pytest.approx([0.2, 0.8])
    assert points[METHOD_COLOURS["EGBAD"]] == pytest.approx([1, 1], abs=0.01)


def test_all_forty_operating_points_fit(legible):
    figure = legible(operating_points(reported_pairs()))
    assert [sum(len(line.get_xdata()) == 1 for line in ax.lines) for ax in figure.axes] == [20, 20]


def test_the_marked_size_stands_out(legible):
    counts = {"df": pd.Series([1, 7, 0], index=[114, 115, 116])}
    ax = legible(attainable_counts(counts, 9, {"df": 115})).axes[0]
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    assert heights == {114: 1, 115: 7, 116: 0}
    other, marked = (
        {bar.get_height(): bar.get_facecolor() for bar in ax.patches}[1],
        ax.patches[-1].get_facecolor(),
    )
    assert ax.patches[-1].get_height() == 7
    assert other != marked
    assert ax.get_title(loc="left") == "df: 7 of 9 at 115 normals"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: prevalence_intervals(p.drop(columns="f1")), r"no column \['f1'\]"),
        (lambda p: operating_points(p.drop(columns="method")), r"no column \['method'\]"),
        (lambda p: operating_points(p, prevalence=0.1), "prevalence=0.1 given"),
        (
            lambda p: attainable_counts({"df": pd.Series([1], index=[115])}, 9, {"df": 116}),
            "'df' needs one",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(reported_pairs())
