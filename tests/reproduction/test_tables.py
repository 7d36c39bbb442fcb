"""Which runs a table shows where no settings are given."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from ccb_lib import EGBAD, AnoGAN, GANomaly, SkipGANomaly
from ccb_lib.evaluation.protocols import CLEAN, is_imposed
from ccb_lib.metrics import min_max
from ccb_lib.reproduction.choices import alternatives
from ccb_lib.reproduction.results import load_results, read_results, scores_of
from ccb_lib.reproduction.settings import CHOICES, PAPER, fullest_of
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.tables import (
    coverage,
    reported_and_measured,
    runs_in_words,
    select,
)

RESULTS = Path(__file__).parents[2] / "data" / "results"


def frame_of(*rows):
    """Rows of (method, epochs, width, class, seed), everything else as in the paper."""
    columns = ["method", "epochs", "width", "abnormal", "seed"]
    frame = pd.DataFrame(rows, columns=columns).assign(chain=None)
    return frame.assign(**{name: None for name in CHOICES if name not in frame})


@pytest.mark.parametrize(
    ("rows", "epochs", "width"),
    [
        # more epochs, then a wider network, then more seeds
        ([("ccb", 3, 64, "df", 0), ("ccb", 50, 64, "df", 0)], 50, None),
        ([("ccb", 50, 8, "df", 0), ("ccb", 50, None, "df", 0)], 50, None),
        ([("ccb", 10, 8, "df", 0), ("ccb", 10, 8, "df", 1), ("ccb", 15, 8, "df", 0)], 10, 8),
        # every class for a short time before one class for a long time
        (
            [("ccb", 50, None, "df", 0), ("ccb", 3, None, "df", 0), ("ccb", 3, None, "bcc", 0)],
            3,
            None,
        ),
        # the default said aloud is the default
        ([("egbad", 50, 128, "df", 0)], 50, None),
    ],
)
def test_the_fullest_setting_covers_most_classes_then_most_training(rows, epochs, width):
    assert fullest_of(frame_of(*rows), rows[0][0]) == {**PAPER, "epochs": epochs, "width": width}


def test_other_experiments_are_not_the_fullest_setting():
    frame = frame_of(("ccb", 50, None, "df", 0), ("ccb", 2, 8, "df", 0))
    frame.loc[0, "normal"] = "nv"
    assert fullest_of(frame, "ccb") == {**PAPER, "epochs": 2, "width": 8}
    frame.loc[1, "limit"] = 100
    assert fullest_of(frame, "ccb") is None
    assert fullest_of(frame, "ganomaly") is None


def test_a_method_tested_on_fewer_images_alone_is_shown_and_named(ganomaly, tmp_path, other_run):
    frame = frame_of(("anogan", 3, None, "cat", 0), ("anogan", 3, None, "cat", 0))
    frame["other"] = ["test_limit 500", "test_limit 1000"]
    assert fullest_of(frame, "anogan") == {**PAPER, "epochs": 3, "other": "test_limit 1000"}
    frame.loc[0, "other"] = None
    assert fullest_of(frame, "anogan") == {**PAPER, "epochs": 3}
    ours = ganomaly
    part = other_run(ours, options={"seed": 0, "test_limit": 100})
    Store(tmp_path / "tables4-5.safetensors").add(part)
    assert not coverage(4, folder=tmp_path).loc["ganomaly", "exact"]
    assert "test_limit 100" in runs_in_words(4, folder=tmp_path)["ganomaly"]


def test_no_method_is_dropped_because_its_epochs_differ():
    shown = reported_and_measured(4, folder=RESULTS)
    run = set(coverage(4, folder=RESULTS).index)
    assert {"ganomaly", "skip-ganomaly", "ccb"} <= run
    for method in run:
        assert shown.loc[method, ["released", "clean"]].notna().all(axis=None)
    paper = reported_and_measured(4, settings=PAPER, folder=RESULTS)
    exact = shown[shown["exact"]]
    assert exact["clean"].equals(paper.loc[exact.index, "clean"])
    assert exact.index.unique(0).tolist() == list(coverage(4, folder=RESULTS).query("exact").index)
    assert fullest_of(load_results(4, folder=RESULTS), "ganomaly") == PAPER


def test_coverage_counts_seeds_and_classes(ganomaly, tmp_path, other_run):
    ours = ganomaly
    part = other_run(ours, seed=1, options={"seed": 1}, abnormal=["df"])
    store = Store(tmp_path / "tables4-5.safetensors")
    store.add(ours, part)
    line = coverage(4, folder=tmp_path).loc["ganomaly"]
    assert line["seeds"] == 1  # the fewest of a class
    assert (line["epochs"], line["width"], line["classes"], line["device"]) == (50, 64, 4, "CPU")
    assert coverage(4, folder="/nowhere").empty
    assert select(4, {**PAPER, "epochs": 3}, folder=tmp_path).empty


def test_ganomalys_own_repository_shuffles_folders():
    assert is_imposed(GANomaly, "ham10000")
    assert is_imposed(GANomaly, "ild")
    assert not is_imposed(GANomaly, "cifar10")
    assert not is_imposed(SkipGANomaly, "ham10000")
    assert all(is_imposed(method, "cifar10") for method in (EGBAD, AnoGAN))
    assert reported_and_measured(4, folder=RESULTS).loc["ganomaly", "imposed"].all()
    assert not reported_and_measured(1, folder=RESULTS).loc["ganomaly", "imposed"].any()


def test_other_choices_are_computed_from_the_stored_terms():
    frame = alternatives(4, folder=RESULTS).query(
        "method == 'skip-ganomaly' and seed == 0 and abnormal == 'df' and protocol == 'clean'"
    )
    shown = select(4, folder=RESULTS)
    key = shown.query("method == 'skip-ganomaly' and seed == 0")["key"].iloc[0]
    scored, tests = scores_of(read_results(4, RESULTS)[key], "df", CLEAN)
    value = frame.set_index("choice")["value"]
    weights = np.where(
        tests.labels, 0.5 / tests.labels.sum(), 0.5 / (~tests.labels).sum()
    )  # as at 50/50
    phi = np.quantile(scored.calibration.image, 0.95, method="higher")
    expected = accuracy_score(tests.labels, scored.test.image > phi, sample_weight=weights)
    assert value["α 1"] == pytest.approx(expected, abs=0.01)
    alpha = read_results(4, RESULTS)[key].manifest["alpha"]
    scores = (alpha * scored.test.image + (1 - alpha) * scored.test.latent).astype(np.float32)
    scaled = scores > min_max(scores, 0.2)
    assert scaled.sum() == ((scores - scores.min()) / np.ptp(scores) >= 0.2).sum()
    assert value["min-max 0.2"] == pytest.approx(
        accuracy_score(tests.labels, scaled, sample_weight=weights)
    )
    f1 = alternatives(5, folder=RESULTS).query(
        "method == 'skip-ganomaly' and seed == 0 and abnormal == 'df' and protocol == 'clean'"
    )
    expected = f1_score(tests.labels, scaled, sample_weight=weights)
    assert f1.set_index("choice")["value"]["min-max 0.2"] == pytest.approx(expected)


def test_alpha_moves_the_auc_of_table_1_and_needs_two_terms():
    frame = alternatives(1, folder=RESULTS)
    assert set(frame["choice"]) == {"α 0", "α 0.5", "α 1"}
    assert not set(frame["method"]) & {"pca", "png-bytes"}
    line = frame.query("method == 'skip-ganomaly' and protocol == 'clean'").iloc[0]
    runs = read_results(1, RESULTS).values()
    run = next(
        run
        for run in runs
        if run.manifest["method"] == "skip-ganomaly"
        and line["abnormal"] in run.manifest["abnormal"]
    )
    scored, tests = scores_of(run, line["abnormal"], CLEAN)
    assert line["choice"] == "α 0"
    assert line["value"] == pytest.approx(roc_auc_score(tests.labels, scored.test.latent))
