"""The printed tables against sums taken from the paper, and the arithmetic against brute force."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from ccb_lib.reproduction.arithmetic import (
    PrevalenceInterval,
    attainable,
    common_prevalence,
    operating_point,
    possible_prevalence,
    true_positive_share,
)
from ccb_lib.reproduction.reported import reported, reported_pairs

METHODS = ["AnoGAN", "EGBAD", "GANomaly", "SkipGANomaly", "CCB"]
CHAINS = ["4-3-2-1", "8-6-4-2", "16-12-8-4", "24-18-12-6", "32-24-16-8"]
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ILD = ["fibrosis", "micronodules", "emphysema", "ground_glass"]
HAM10000 = ["akiec", "bcc", "df", "vasc"]

# Sums in thousandths, taken from the paper's own text and not from the files: rows, then columns.
SUMS = {
    1: (
        [4344, 4624, 7529, 8052, 8822],
        [4047, 3498, 2695, 2935, 3231, 3107, 3510, 3005, 3811, 3532],
    ),
    2: ([1901, 2099, 2535, 2506, 3269], [3490, 2585, 2732, 3503]),
    3: ([2189, 2332, 2937, 2930, 3429], [3698, 3132, 3223, 3764]),
    4: ([1997, 2160, 2292, 3364, 3499], [2893, 3597, 3489, 3333]),
    5: ([1973, 2159, 2279, 3417, 3528], [2692, 3481, 3645, 3538]),
    6: ([6768, 6382, 6331, 6281, 6076], [4706, 2614, 3859, 4360, 3411, 4310, 4122, 4456]),
    7: ([6957, 6402, 6270, 6259, 6057], [4689, 3140, 3932, 4409, 3155, 4186, 3992, 4442]),
}


@pytest.mark.parametrize("table", SUMS)
def test_rows_and_columns_sum_as_in_the_paper(table):
    thousandths = (reported(table) * 1000).round().astype(int)
    rows, columns = SUMS[table]
    assert thousandths.sum(axis=1).tolist() == rows
    assert thousandths.sum(axis=0).tolist() == columns


@pytest.mark.parametrize(
    ("table", "rows", "columns"),
    [(1, METHODS, CIFAR10)]
    + [(n, METHODS, ILD) for n in (2, 3)]
    + [(n, METHODS, HAM10000) for n in (4, 5)]
    + [(n, CHAINS, ILD + HAM10000) for n in (6, 7)],
)
def test_rows_and_columns_keep_the_papers_order(table, rows, columns):
    frame = reported(table)
    assert frame.index.tolist() == rows
    assert frame.columns.tolist() == columns
    assert set(frame.dtypes) == {np.dtype("float64")}


def test_the_first_ablation_row_repeats_the_main_tables():
    for ablation, mains in ((6, (2, 4)), (7, (3, 5))):
        repeated = pd.concat([reported(main).loc["CCB"] for main in mains])
        assert reported(ablation).loc["4-3-2-1"].tolist() == repeated.tolist()


def test_corners_as_read_in_the_paper():
    assert reported(1).loc["AnoGAN", "airplane"] == 0.516
    assert reported(1).loc["CCB", "truck"] == 0.912
    assert reported(3).loc["GANomaly", "fibrosis"] == 0.813
    assert reported(7).loc["32-24-16-8", "vasc"] == 0.859


@pytest.mark.parametrize("table", SUMS)
def test_the_long_form_holds_the_same_cells_in_the_same_order(table):
    wide, tall = reported(table), reported(table, long=True)
    assert tall["value"].tolist() == wide.to_numpy().ravel().tolist()
    assert tall["abnormal"].tolist() == wide.columns.tolist() * 5
    assert tall["chain" if table >= 6 else "method"].unique().tolist() == wide.index.tolist()
    assert set(tall["source"]) == {"reported"}


def test_the_long_form_names_data_set_measure_and_printed_chain():
    tall = reported(7, long=True)
    assert tall.groupby("dataset")["abnormal"].unique().map(list).to_dict() == {
        "ild": ILD,
        "ham10000": HAM10000,
    }
    assert set(tall["metric"]) == {"f1"}
    assert set(tall["method"]) == {"CCB"}
    assert dict(zip(tall["chain"], tall["printed_chain"], strict=True)) == {
        "4-3-2-1": "[1–4]",
        "8-6-4-2": "[2, 4, 6, 8]",
        "16-12-8-4": "[4, 8, 12, 16]",
        "24-18-12-6": "[6, 12, 18, 24]",
        "32-24-16-8": "[8, 16, 24, 32]",
    }
    assert set(reported(1, long=True)["metric"]) == {"auc"}


@pytest.mark.parametrize("table", [0, 8, "1", True, None])
def test_no_such_table(table):
    with pytest.raises(ValueError, match="Tables 1 to 7"):
        reported(table)


def test_pairs_join_the_right_cells():
    main, ablation = reported_pairs(), reported_pairs(ablation=True)
    assert (len(main), len(ablation)) == (40, 32)
    assert not main.isna().any(axis=None)
    assert not ablation.isna().any(axis=None)
    ccb_df = main.query("method == 'CCB' and abnormal == 'df'").iloc[0]
    assert (ccb_df["dataset"], ccb_df["accuracy"], ccb_df["f1"]) == ("ham10000", 0.909, 0.913)
    longer = ablation.query("chain == '8-6-4-2' and abnormal == 'ground_glass'").iloc[0]
    assert (longer["dataset"], longer["accuracy"], longer["f1"]) == ("ild", 0.866, 0.902)


# --- the arithmetic, against confusion matrices ---


def rounded_pair(tp, fp, positives, negatives, decimals=3):
    """Accuracy and F1 by scikit-learn, rounded."""
    truth = np.repeat([1, 0], [positives, negatives])
    called = np.concatenate([np.arange(positives) < tp, np.arange(negatives) < fp]).astype(int)
    return round(accuracy_score(truth, called), decimals), round(f1_score(truth, called), decimals)


@st.composite
def matrices(draw):
    positives, negatives = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    return draw(st.integers(0, positives)), draw(st.integers(0, negatives)), positives, negatives


@given(matrices())
def test_a_true_prevalence_is_always_possible(matrix):
    _, _, positives, negatives = matrix
    interval = possible_prevalence(*rounded_pair(*matrix))
    assert interval is not None
    assert interval.low - 1e-9 <= positives / (positives + negatives) <= interval.high + 1e-9


@given(matrices())
def test_a_true_matrix_is_always_attainable(matrix):
    tp, fp, positives, negatives = matrix
    assert (tp, fp) in attainable(*rounded_pair(*matrix), positives, negatives)


@given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 100), st.integers(0, 100))
def test_attainable_lists_what_brute_force_finds(positives, negatives, accuracy, f1):
    half = Decimal("0.005")
    brute = [
        (tp, fp)
        for tp in range(positives + 1)
        for fp in range(negatives + 1)
        if abs(Decimal(tp + negatives - fp) / (positives + negatives) - Decimal(accuracy) / 100)
        <= half
        and abs(Decimal(2 * tp) / (tp + fp + positives) - Decimal(f1) / 100) <= half
    ]
    assert attainable(accuracy / 100, f1 / 100, positives, negatives, decimals=2) == brute


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0, 1), st.floats(0, 1))
def test_the_interval_is_neither_too_wide_nor_too_narrow(prevalence, recall, false_alarms):
    """On a set of 20,000 images its ends are reached, and a step beyond them is not."""
    found, alarms = prevalence * recall, (1 - prevalence) * false_alarms
    accuracy = round(found + 1 - prevalence - alarms, 3)
    f1 = round(2 * found / (found + alarms + prevalence), 3)
    interval, total, step = possible_prevalence(accuracy, f1), 20_000, 0.0005

    def reached(share):
        positives = round(share * total)
        return 0 < positives < total and bool(
            attainable(accuracy, f1, positives, total - positives)
        )

    assume(interval.high - interval.low > 4 * step)
    # Counts are whole numbers: the rounding of F1 must leave room for two true positives or more.
    assume(found * total * 0.001 > 2 * f1 * (1 - f1))
    assert not reached(interval.low - step)
    assert not reached(interval.high + step)
    assert reached(interval.low + step)
    assert reached(interval.high - step)


@pytest.mark.parametrize(("accuracy", "f1"), [(0.1, 0.95), (0.3, 0.5), (0.0, 0.01), (0.5, 1.0)])
def test_an_impossible_pair_is_reached_at_no_prevalence(accuracy, f1):
    assert possible_prevalence(accuracy, f1) is None
    assert not any(
        attainable(accuracy, f1, positives, 300 - positives) for positives in range(1, 300)
    )


def test_true_positive_share_by_hand():
    # 40 of 50 found, 10 of 50 normals alarmed: accuracy .8, precision .8, recall .8, F1 .8, t = 40
    # / 100
    assert true_positive_share(0.8, 0.8) == pytest.approx(0.4)
    assert true_positive_share(0.5, 2 / 3) == pytest.approx(
        0.5
    )  # everything called abnormal, half of it rightly
    assert true_positive_share(0.9, 0.0) == 0


def test_rates_by_hand():
    assert operating_point(0.8, 0.8) == pytest.approx((0.8, 0.2))
    # 10 abnormal of 100, 8 found, 4 alarms among 90: accuracy .94, F1 16 / 22
    assert operating_point(0.94, 0.727, prevalence=0.1) == pytest.approx((0.8, 4 / 90), abs=0.005)


def test_pairs_without_a_common_prevalence():
    assert common_prevalence([(0.1, 0.95), (0.8, 0.8)]) is None
    assert common_prevalence([(0.938, 0.936), (0.866, 0.902)]) is None  # each possible, no overlap


def test_perfect_scores_leave_the_prevalence_open():
    assert possible_prevalence(1.0, 1.0) == PrevalenceInterval(0, 1)
    with pytest.raises(ValueError, match="without errors"):
        true_positive_share(1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: possible_prevalence(95.2, 0.954), "Divide a percentage"),
        (lambda: possible_prevalence(float("nan"), 0.5), "0 to 1"),
        (lambda: possible_prevalence(0.9523, 0.954), "decimals=3"),
        (lambda: true_positive_share(0.5, -0.1), "f1=-0.1"),
        (lambda: attainable(0.9, 0.9, 0, 10), "at least 1 image"),
        (lambda: common_prevalence([]), "No pairs"),
        (lambda: operating_point(0.8, 0.8, prevalence=0.1), r"\[0\.39\d, 0\.60\d\]"),
        (lambda: operating_point(0.1, 0.95), "at no prevalence"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- what the arithmetic says of the paper ---


def values(frame):
    return list(zip(frame["accuracy"], frame["f1"], strict=True))


def possible_at(prevalence, frame):
    intervals = [possible_prevalence(*pair) for pair in values(frame)]
    return [i is not None and i.low <= prevalence <= i.high for i in intervals]


@pytest.fixture(scope="module")
def main():
    return reported_pairs()


@pytest.fixture(scope="module")
def longer():
    return reported_pairs(ablation=True)


def test_all_main_pairs_are_possible_half_and_half_and_none_at_a_tenth(main):
    assert sum(possible_at(0.5, main)) == 40
    assert sum(possible_at(0.1, main)) == 0


def test_common_prevalence_of_each_data_set(main):
    ild = common_prevalence(values(main.query("dataset == 'ild'")))
    ham = common_prevalence(values(main.query("dataset == 'ham10000'")))
    assert [round(end, 3) for end in (*ild, *ham)] == [0.499, 0.547, 0.494, 0.514]


def test_three_ablation_pairs_lie_outside(main, longer):
    outside = longer[~np.array(possible_at(0.5, longer))]
    assert list(zip(outside["abnormal"], outside["chain"], strict=True)) == [
        ("ground_glass", "8-6-4-2"),
        ("vasc", "16-12-8-4"),
        ("fibrosis", "32-24-16-8"),
    ]
    ground_glass, vasc, fibrosis = (possible_prevalence(*pair) for pair in values(outside))
    assert round(ground_glass.low, 3) == 0.611
    assert round(vasc.high, 3) == 0.495
    assert round(fibrosis.high, 3) == 0.461
    ild = common_prevalence(values(main.query("dataset == 'ild'")))
    assert (
        fibrosis.high < ild.low < ild.high < ground_glass.low
    )  # outside all that the main table allows
    ham = common_prevalence(values(main.query("dataset == 'ham10000'")))
    assert ham.low < vasc.high  # vasc leaves the main table's prevalence possible, but not a half


def test_df_and_vasc_on_sets_of_their_own_size(main, longer):
    def names(abnormal, size):
        both = pd.concat([main, longer]).query("abnormal == @abnormal")
        fits = [bool(attainable(*pair, size, size)) for pair in values(both)]
        assert len(fits) == 9
        return both[fits]

    df = names("df", 115)
    assert len(df) == 7
    assert df["method"].tolist() == ["GANomaly", "SkipGANomaly", "CCB", "CCB", "CCB", "CCB", "CCB"]
    assert len(names("vasc", 142)) == 5
    assert attainable(0.909, 0.913, 115, 115) == [
        (110, 16)
    ]  # 110 of 115 found, 99 of 115 normals let pass


def test_no_other_number_of_normals_fits_df_and_vasc_as_well(main, longer):
    """The control: with all images of the class as positives, no other N from 80 % to 125 % does
    as well."""
    both = pd.concat([main, longer])
    for abnormal, positives, best in (("df", 115, 7), ("vasc", 142, 5)):
        pairs = values(both[both["abnormal"] == abnormal])
        fits = {
            n: sum(bool(attainable(*pair, positives, n)) for pair in pairs)
            for n in range(int(0.8 * positives), int(1.25 * positives) + 1)
        }
        assert fits.pop(positives) == best
        assert max(fits.values()) < 5


@pytest.mark.parametrize(
    ("method", "abnormal", "recall", "false_alarms"),
    [
        ("CCB", "micronodules", 1.00, 0.89),
        ("GANomaly", "emphysema", 1.00, 0.96),
        ("SkipGANomaly", "micronodules", 1.00, 0.92),
    ],
)
def test_nearly_everything_called_abnormal(main, method, abnormal, recall, false_alarms):
    pair = values(main.query("method == @method and abnormal == @abnormal"))[0]
    assert [round(rate, 2) for rate in operating_point(*pair)] == [recall, false_alarms]


@pytest.mark.parametrize("end", ["low", "half", "high"])
def test_worse_than_chance_whatever_the_common_prevalence(main, end):
    found = set()
    for dataset, rows in main.groupby("dataset"):
        prevalence = 0.5 if end == "half" else getattr(common_prevalence(values(rows)), end)
        points = [operating_point(*pair, prevalence) for pair in values(rows)]
        below = rows[[point.recall < point.false_alarms for point in points]]
        found |= {(dataset, *row) for row in below[["method", "abnormal"]].itertuples(index=False)}
    always = {("ild", "AnoGAN", name) for name in ("micronodules", "emphysema", "ground_glass")}
    always |= {("ild", "EGBAD", name) for name in ("micronodules", "emphysema")}
    always |= {("ham10000", "AnoGAN", name) for name in ("akiec", "bcc", "vasc")}
    assert found >= always
    assert end == "high" or found == always  # at the highest prevalence, near-misses join them


def test_half_of_the_pairs_rule_out_a_threshold_chosen_for_the_best_f1(main):
    # at 50/50, calling everything abnormal already gives F1 2/3 and accuracy 1/2
    assert (main["f1"] < 2 / 3 - 0.0005).sum() == 20
    assert (main["accuracy"] < 0.5 - 0.0005).sum() == 8
