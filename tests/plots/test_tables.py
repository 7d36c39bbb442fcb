"""What the figures of the tables show, read back from the drawn objects."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from ccb_lib.plots.style import METHOD_COLOURS, SOURCE_COLOURS, colours
from ccb_lib.plots.tables import chain_lines, grouped_bars, interval_rows
from ccb_lib.reproduction.reported import reported

METHODS = ["AnoGAN", "EGBAD", "GANomaly", "SkipGANomaly", "CCB"]


def bars(ax):
    """(class, colour) to height, by where a bar stands."""
    names = [label.get_text() for label in ax.get_xticklabels()]
    found = {}
    for bar in ax.patches:
        middle = bar.get_x() + bar.get_width() / 2
        key = names[round(middle)], mpl.colors.to_hex(bar.get_facecolor())
        assert key not in found, "two bars of one colour in one group"
        found[key] = bar.get_height()
    return found


def not_run(ax):
    """Where the words stand, in data coordinates."""
    return [text.get_position()[0] for text in ax.texts if text.get_text() == "not run"]


def two_by_two():
    rows = [("EGBAD", "cat", 0.4), ("CCB", "cat", 0.8), ("EGBAD", "dog", 0.3), ("CCB", "dog", 0.9)]
    return pd.DataFrame(rows, columns=["method", "abnormal", "value"])


def test_figure_5_shows_every_printed_number(legible):
    figure = legible(grouped_bars(reported(1, long=True)))
    drawn = {key: height for ax in figure.axes for key, height in bars(ax).items()}
    table = reported(1)
    assert drawn == {
        (c, METHOD_COLOURS[m]): table.loc[m, c] for m in table.index for c in table.columns
    }


def test_bars_stand_in_the_order_of_the_legend():
    figure = grouped_bars(reported(2, long=True))
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [*METHODS, "chance"]
    first = sorted(figure.axes[0].patches, key=lambda bar: bar.get_x())[:5]
    assert [mpl.colors.to_hex(bar.get_facecolor()) for bar in first] == [
        METHOD_COLOURS[m] for m in METHODS
    ]


@pytest.mark.parametrize("how", ["nan", "absent"])
def test_a_missing_cell_leaves_a_marked_slot_and_no_bar(how, legible):
    frame = two_by_two()
    frame = frame.drop(index=1) if how == "absent" else frame.assign(value=[0.4, np.nan, 0.3, 0.9])
    ax = legible(grouped_bars(frame)).axes[0]
    assert set(bars(ax)) == {
        ("cat", METHOD_COLOURS["EGBAD"]),
        *(("dog", METHOD_COLOURS[m]) for m in ("EGBAD", "CCB")),
    }
    assert all(bar.get_height() > 0 for bar in ax.patches)
    blue_in_dog = next(bar for bar in ax.patches if bar.get_height() == 0.9)
    slot = (
        blue_in_dog.get_x() + blue_in_dog.get_width() / 2 - 1
    )  # where the bar would have stood in the group of cat
    assert not_run(ax) == pytest.approx([slot])


def test_a_missing_class_is_marked_once_and_a_missing_panel_is_named_below(legible):
    frame = two_by_two()
    assert not_run(grouped_bars(frame.assign(value=[0.4, 0.8, np.nan, np.nan])).axes[0]) == [1]
    both = pd.concat([frame.assign(source="reported"), frame.assign(source="clean", value=np.nan)])
    figure = legible(grouped_bars(both))
    (only,) = figure.axes
    assert len(only.patches) == 4
    assert only.get_title(loc="left") == "reported"
    assert figure.get_supxlabel() == "Not run: clean"
    assert grouped_bars(frame).get_supxlabel() == ""


def test_a_measured_zero_is_a_bar_of_no_height_and_not_missing():
    ax = grouped_bars(two_by_two().assign(value=[0.4, 0.0, 0.3, 0.9])).axes[0]
    assert len(ax.patches) == 4
    assert not not_run(ax)


def test_sources_side_by_side_keep_the_printed_order_and_their_colours(legible):
    frame = two_by_two()
    clean = frame.iloc[::-1].assign(source="clean", value=0.5)
    figure = legible(
        grouped_bars(pd.concat([clean, frame.assign(source="reported")]), compare="source")
    )
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["EGBAD", "CCB"]
    assert bars(figure.axes[1]) == {
        ("cat", SOURCE_COLOURS["reported"]): 0.8,
        ("cat", SOURCE_COLOURS["clean"]): 0.5,
        ("dog", SOURCE_COLOURS["reported"]): 0.9,
        ("dog", SOURCE_COLOURS["clean"]): 0.5,
    }


def test_intervals_reach_from_low_to_high():
    frame = two_by_two().assign(low=[0.3, 0.8, np.nan, 0.9], high=[0.5, 0.85, np.nan, 0.9])
    ax = grouped_bars(frame).axes[0]
    stems = [
        box.get_segments()[0][:, 1]
        for c in ax.containers
        if isinstance(c, ErrorbarContainer)
        for box in c[2]
    ]
    assert np.allclose(stems, [[0.3, 0.5], [0.8, 0.85]])  # the two without a spread get none


def test_ten_classes_of_three_sources_fit_a_phone(legible):
    tall = reported(1, long=True)
    sources = pd.concat([tall, tall.assign(source="released"), tall.assign(source="clean")])
    assert len(legible(grouped_bars(sources, compare="source")).axes) == 5
    assert len(legible(grouped_bars(sources)).axes) == 6


@pytest.mark.parametrize("table", [6, 7])
def test_figures_6_and_7_show_every_printed_number(table, legible):
    figure = legible(chain_lines(reported(table, long=True)))
    wide = reported(table)
    drawn = {}
    for ax in figure.axes:
        assert [label.get_text() for label in ax.get_xticklabels()] == wide.index.tolist()
        handles, names = ax.get_legend_handles_labels()
        drawn |= {
            name: handle[0].get_ydata().tolist()
            for handle, name in zip(handles, names, strict=True)
        }
    assert drawn == {name.replace("_", " "): wide[name].tolist() for name in wide}
    assert [ax.get_legend().get_title().get_text() for ax in figure.axes] == ["ILD", "HAM10000"]


def test_a_chain_not_run_leaves_a_gap_and_a_cross(legible):
    frame = reported(6, long=True).query("abnormal in ['df', 'vasc']").reset_index(drop=True)
    frame = frame[~((frame["abnormal"] == "vasc") & (frame["chain"] == "16-12-8-4"))]
    ax = legible(chain_lines(frame)).axes[0]
    handles, names = ax.get_legend_handles_labels()
    assert names == ["df", "vasc"]
    assert np.flatnonzero(np.isnan(handles[1][0].get_ydata())).tolist() == [2]
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [0, 1]
    assert crosses[1].get_xdata() == pytest.approx([2.06])
    assert crosses[1].get_color() == handles[1][0].get_color()
    assert "not run" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_nothing_run_at_all_is_still_a_figure(legible):
    legible(chain_lines(reported(6, long=True).assign(value=np.nan)))
    figure = legible(grouped_bars(reported(1, long=True).assign(value=np.nan)))
    assert {text.get_text() for ax in figure.axes for text in ax.texts} == {"not run"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="abnormal"), r"no column \['abnormal'\]"),
        (lambda f: f.assign(value=f["value"] * 100), "from 30 to 90 given"),
        (lambda f: f.assign(high=1.2), "high from 1.2 to 1.2"),
        (lambda f: pd.concat([f, f]), "more than once"),
        (lambda f: f.assign(source="guessed"), "'guessed'"),
        (lambda f: f[:0], "no rows"),
    ],
)
def test_wrong_frames_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        grouped_bars(change(two_by_two()))


def test_an_unknown_comparison_is_named():
    with pytest.raises(ValueError, match="'method' or 'source'"):
        grouped_bars(two_by_two(), compare="class")


def test_no_figure_stays_with_pyplot_and_no_setting_is_changed():
    before = dict(mpl.rcParams)
    grouped_bars(two_by_two())
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def seen(colour, matrix):
    """Simulate dichromacy (Machado et al. 2009, severity 1) in linear RGB."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.clip(np.array(matrix) @ linear, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize(
    "matrix",
    [
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ],
    ids=["protanopia", "deuteranopia"],
)
@pytest.mark.parametrize("palette", [METHOD_COLOURS, SOURCE_COLOURS], ids=["methods", "sources"])
def test_colours_stay_apart_for_colour_blind_readers(palette, matrix):
    views = [seen(colour, matrix) for colour in palette.values()]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(views) for b in views[:i]]
    assert min(apart) > 0.25


def test_names_share_no_colour():
    names = ["CCB", "clean", "PCA residual", "EGBAD", "mean intensity"]
    assert len(set(colours(names).values())) == 5
    assert colours(names)["CCB"] == METHOD_COLOURS["CCB"]
    assert list(colours(names)) == names


def test_intervals_are_drawn_where_they_lie_and_seeds_below_each_other():
    rows = [("CCB", "df", 0.6, 0.5, 0.7), ("CCB", "df", 0.4, 0.3, 0.5), ("pca", "bcc", 1, 1, 1)]
    frame = pd.DataFrame(rows, columns=["method", "abnormal", "auc", "low", "high"])
    figure = interval_rows(frame)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["df", "bcc"]
    (segments,) = [c.get_segments() for c in figure.axes[0].collections]
    assert [(s[0][0], s[1][0]) for s in segments] == [(0.5, 0.7), (0.3, 0.5)]
    assert segments[1][0][1] > segments[0][0][1]  # the second seed is below the first
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["CCB", "pca"]


def test_intervals_need_aucs_of_0_to_1():
    frame = pd.DataFrame([["CCB", "df", 61, 50, 70]])
    frame.columns = ["method", "abnormal", "auc", "low", "high"]
    with pytest.raises(ValueError, match="0…1 is needed"):
        interval_rows(frame)
    with pytest.raises(ValueError, match="ccb table 4"):
        interval_rows(frame.iloc[:0])
