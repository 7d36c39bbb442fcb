"""What the figures of scores show, read back from the drawn objects."""

import numpy as np
import pytest

from ccb_lib.plots.scores import auc_per_epoch, score_histogram

LABELS = [0, 0, 1, 1]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_histogram_heights_are_shares_of_the_class(legible):
    figure = legible(
        score_histogram(
            [0, 0, 1, 4, 3, 4], [0, 0, 0, 0, 1, 1], {"normal 95 %": 3.5, "oracle": 2.0}, bins=4
        )
    )
    ax = figure.axes[0]
    normal, _, abnormal, _ = (patch.get_path().vertices for patch in ax.patches)
    assert max(normal[:, 1]) == 0.5
    assert max(abnormal[:, 1]) == 1.0  # 3 and 4 share the last bin
    assert [line.get_xdata()[0] for line in ax.lines] == [3.5, 2.0]
    assert legend(figure) == [
        "normal (n = 4)",
        "abnormal (n = 2)",
        "normal 95 % = 3.5",
        "oracle = 2",
    ]


def test_one_threshold_needs_no_name_and_none_needs_no_line():
    assert legend(score_histogram([1, 2, 3, 4], LABELS, 2.5))[-1] == "φ = 2.5"
    assert len(score_histogram([1, 2, 3, 4], LABELS).axes[0].lines) == 0


def test_the_chosen_epoch_is_ringed_and_named(legible):
    figure = legible(
        auc_per_epoch(
            {"released": [0.861, 0.832], "clean": [np.nan, 0.7], "EGBAD": None},
            {"released": 1, "clean": 2},
        )
    )
    ax = figure.axes[0]
    rings = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_markersize() == 12]
    assert rings == [[1, 0.861], [2, 0.7]]
    assert [text.get_text() for text in ax.texts] == [".861", ".700"]
    assert legend(figure) == ["chance", "released", "clean", "EGBAD (not run)", "chosen epoch"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: score_histogram([1, 2, 3], [0, 1]), r"scores: labels of shape \(2,\)"),
        (lambda: score_histogram([1, 2], [1, 1]), "both 0"),
        (lambda: score_histogram([1, np.nan], [0, 1]), "1 scores are not finite"),
        (lambda: score_histogram([1, 2], [0, 2]), "both 0"),
        (lambda: score_histogram([1, 2], [0, 1], np.inf), "finite numbers"),
        (lambda: auc_per_epoch({}), "No series"),
        (lambda: auc_per_epoch({"CCB": [86.1]}), "AUCs of 'CCB' from 86.1"),
        (lambda: auc_per_epoch({"CCB": [0.8]}, {"CCB": 2}), "chosen epoch 2"),
        (lambda: auc_per_epoch({"CCB": [np.nan, 0.8]}, {"CCB": 1}), "chosen epoch 1"),
        (lambda: auc_per_epoch({"CCB": None}, {"CCB": 1}), "chosen epoch 1"),
        (lambda: auc_per_epoch({"CCB": [0.8]}, {"EGBAD": 1}), "does not hold"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
