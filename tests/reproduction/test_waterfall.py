"""The waterfall against scikit-learn, from the stored scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_curve, roc_auc_score

from ccb_lib.evaluation.protocols import CLEAN, LAST_EPOCH, RELEASED
from ccb_lib.metrics import ScoreTerms, anomaly_score
from ccb_lib.reproduction.reported import reported
from ccb_lib.reproduction.results import read_results, scores_of
from ccb_lib.reproduction.runs import table_runs
from ccb_lib.reproduction.settings import PAPER
from ccb_lib.reproduction.store import Scored, Store, TestSet, scored_name
from ccb_lib.reproduction.waterfall import (
    ALL,
    BEST,
    CALIBRATED,
    LAST,
    ORACLE,
    REPORTED,
    SAME,
    STEPS,
    draws,
    effects,
    macro,
    rows_in,
    waterfall,
)

RESULTS = Path(__file__).parents[2] / "data" / "results"


def networks(number):
    return [
        run
        for run in read_results(number, RESULTS).values()
        if "epochs" in run.manifest["settings"]
    ]


def clean_on(result, abnormal, protocol=RELEASED):
    """Labels and CLEAN scores of the images that RELEASED was fed, matched by id."""
    _, fed = scores_of(result, abnormal, protocol)
    scored, tests = scores_of(result, abnormal, CLEAN)
    score_of = dict(
        zip(tests.ids, anomaly_score(scored.test, result.manifest["alpha"]), strict=True)
    )
    return fed.labels, np.array([score_of[name] for name in fed.ids])


@pytest.mark.parametrize("number", [1, 4])
def test_every_auc_is_scikit_learns(number):
    frame = waterfall(number, folder=RESULTS).set_index(["key", "abnormal", "step"])["value"]
    seen = 0
    for result in networks(number):
        for abnormal in result.manifest["abnormal"]:
            if (result.key, abnormal, ALL) not in frame.index:
                continue
            seen += 1
            alpha = result.manifest["alpha"]
            scored, tests = scores_of(result, abnormal, CLEAN)
            expected = {ALL: roc_auc_score(tests.labels, anomaly_score(scored.test, alpha))}
            drawn = []
            for draw in range(5):  # the data set's own draw of normal images, and four more
                best, last = (replace(p, draw=draw) for p in (RELEASED, LAST_EPOCH))
                if scores_of(result, abnormal, best):
                    drawn.append({SAME: roc_auc_score(*clean_on(result, abnormal, best))})
                    for step, protocol in ((BEST, best), (LAST, last)):
                        if found := scores_of(result, abnormal, protocol):
                            scores = anomaly_score(found[0].test, alpha)
                            drawn[-1][step] = roc_auc_score(found[1].labels, scores)
                        elif step == LAST and (
                            aucs := result.aucs.get(scored_name(abnormal, best))
                        ):
                            drawn[-1][step] = aucs[-1]  # recorded after each epoch
            # Means are over the same draws: those with scores of the last epoch, if any.
            drawn = [of_draw for of_draw in drawn if LAST in of_draw] or drawn
            for step in drawn[0]:
                expected[step] = np.mean([of_draw[step] for of_draw in drawn])
            for step, value in expected.items():
                assert frame[result.key, abnormal, step] == pytest.approx(value, abs=1e-12)
    assert seen >= {1: 1, 4: 12}[number]


def test_the_last_epochs_auc_is_taken_from_the_record_where_scores_are_not_stored(ganomaly):
    result = ganomaly
    record = result.aucs[f"df|as released|{RELEASED.scores_key}"]
    frame = waterfall(4, settings=PAPER, folder=RESULTS).query(
        f"abnormal == 'df' and key == '{result.key}'"
    )
    frame = frame.set_index("step")["value"]
    if scores_of(result, "df", LAST_EPOCH) is None:
        assert frame[LAST] == record[-1]
    assert frame[BEST] == pytest.approx(max(record), abs=1e-4)  # stored terms are float16
    # Where both are stored they agree.
    both = next(run for run in networks(1) if scores_of(run, "airplane", LAST_EPOCH))
    scored, tests = scores_of(both, "airplane", LAST_EPOCH)
    last = both.aucs[f"airplane|as released|{RELEASED.scores_key}"][-1]
    assert roc_auc_score(
        tests.labels, anomaly_score(scored.test, both.manifest["alpha"])
    ) == pytest.approx(last, abs=1e-4)


@pytest.mark.parametrize(("metric", "measure"), [("accuracy", accuracy_score), ("f1", f1_score)])
def test_accuracy_and_f1_are_scikit_learns_on_the_balanced_images(ganomaly, metric, measure):
    frame = waterfall(4, metric=metric, settings=PAPER, folder=RESULTS).set_index(
        ["method", "abnormal", "step"]
    )["value"]
    result = ganomaly
    alpha = result.manifest["alpha"]
    for abnormal in result.manifest["abnormal"]:
        labels, clean = clean_on(result, abnormal)
        scored, fed = scores_of(result, abnormal, RELEASED)
        released = anomaly_score(scored.test, alpha)
        calibration = anomaly_score(scores_of(result, abnormal, CLEAN)[0].calibration, alpha)
        phi = np.quantile(calibration, 0.95, method="higher")
        cell = frame["ganomaly", abnormal]
        assert cell[CALIBRATED] == pytest.approx(measure(labels, clean > phi), abs=0.02)
        for step, scores in ((BEST, released), (ORACLE, clean)):
            precision, recall, cuts = precision_recall_curve(fed.labels, scores)
            best = (2 * precision * recall / np.maximum(precision + recall, 1e-12))[:-1]
            if metric == "f1":
                assert cell[step] == pytest.approx(best.max(), abs=1e-12)
            else:
                ties = np.flatnonzero(best == best.max())
                reached = {accuracy_score(fed.labels, scores >= cuts[tie]) for tie in ties}
                assert any(cell[step] == pytest.approx(value, abs=1e-12) for value in reached)
        assert (
            cell[REPORTED] == reported({"accuracy": 4, "f1": 5}[metric]).loc["GANomaly", abnormal]
        )


def test_effects_are_differences_of_steps_and_add_up():
    frame = waterfall(4, folder=RESULTS)
    means = macro(frame).set_index(["method", "step"])["mean"]
    found = effects(frame).set_index(["method", "effect"])["mean"]
    for method in frame["method"].unique():
        assert found[method, "both"] == pytest.approx(means[method, BEST] - means[method, SAME])
        parts = found[method, "choice of the epoch"] + found[method, "batch statistics"]
        assert parts == pytest.approx(found[method, "both"])
        assert found[method, "other normals"] == pytest.approx(
            means[method, SAME] - means[method, ALL]
        )


def test_both_tests_of_cifar10_have_the_same_images():
    wide = waterfall(1, folder=RESULTS).pivot(
        index=["method", "abnormal", "seed"], columns="step", values="value"
    )
    assert (wide[SAME] == wide[ALL]).all()
    assert (
        wide.loc[("skip-ganomaly", "airplane"), REPORTED]
        == reported(1).loc["SkipGANomaly", "airplane"]
    ).all()


def test_what_is_not_stored_is_missing_and_so_is_its_mean(ganomaly, tmp_path):
    result = ganomaly
    scored = {
        name: value
        for name, value in result.scored.items()
        if not name.startswith("df|as released")
    }
    Store(tmp_path / "tables4-5.safetensors").add(replace(result, scored=scored, aucs={}))
    frame = waterfall(4, folder=tmp_path)
    df = frame[frame["abnormal"] == "df"].set_index("step")["value"]
    assert df[[BEST, LAST]].isna().all()
    assert df[[SAME, ALL]].notna().all()
    assert np.isnan(macro(frame).set_index("step")["mean"][BEST])
    assert waterfall(4, folder="/nowhere").empty


def test_further_draws_are_averaged_and_every_step_takes_the_same_ones(ganomaly, tmp_path):
    result = ganomaly
    name, way = "df|as released", RELEASED.scores_key
    found, tests = result.scored[f"{name}|{way}"], result.sets[name]
    record = result.aucs[f"{name}|{way}"]
    keep = np.r_[0 : len(tests) : 2]  # another draw: every second image
    fewer = TestSet(
        *(getattr(tests, column)[keep] for column in ("labels", "ids", "groups", "classes"))
    )
    other = ScoreTerms(-found.test.image[keep], -found.test.latent[keep])
    more = replace(
        result,
        sets={**result.sets, f"{name}, draw 1": fewer},
        scored={**result.scored, f"{name}, draw 1|{way}": Scored(other, None, found.epoch)},
        aucs={**result.aucs, f"{name}, draw 1|{way}": [0.25]},
    )
    assert draws(more, "df") == [name, f"{name}, draw 1"]
    Store(tmp_path / "tables4-5.safetensors").add(more)
    value = waterfall(4, folder=tmp_path).query("abnormal == 'df'").set_index("step")["value"]
    alpha = result.manifest["alpha"]
    first, second = (
        roc_auc_score(labels, anomaly_score(terms, alpha))
        for labels, terms in ((tests.labels, found.test), (fewer.labels, other))
    )
    assert value[BEST] == pytest.approx((first + second) / 2)
    assert value[LAST] == pytest.approx((record[-1] + 0.25) / 2)
    labels, clean = clean_on(result, "df")
    expected = (roc_auc_score(labels, clean) + roc_auc_score(labels[keep], clean[keep])) / 2
    assert value[SAME] == pytest.approx(expected)
    # One draw has no last epoch: no step takes it.
    part = replace(more, aucs=result.aucs)
    Store(tmp_path / "part" / "tables4-5.safetensors").add(part)
    value = (
        waterfall(4, folder=tmp_path / "part").query("abnormal == 'df'").set_index("step")["value"]
    )
    assert value[BEST] == pytest.approx(first)
    assert value[SAME] == pytest.approx(roc_auc_score(labels, clean))


def test_spread_over_seeds_is_the_standard_deviation(ganomaly, tmp_path, other_run):
    result = ganomaly
    second = replace(other_run(result, seed=1, options={"seed": 1}), aucs={})
    Store(tmp_path / "tables4-5.safetensors").add(result, second)
    line = macro(waterfall(4, folder=tmp_path)).set_index("step").loc[ALL]
    assert line["seeds"] == 2
    assert line["spread"] == 0


def test_images_are_matched_by_id_in_any_order():
    def of(names):
        ids = np.array(names)
        return TestSet(np.zeros(len(ids), bool), ids, ids, ids)

    assert rows_in(of(["a", "b", "c"]), of(["c", "a"])).tolist() == [2, 0]
    with pytest.raises(
        ValueError, match="1 images of one stored test set are not in the other, such as d"
    ):
        rows_in(of(["a", "b"]), of(["d"]))


def test_grids_score_the_last_epoch_where_one_is_chosen():
    runs = {run.method: run.protocols for run in table_runs(4)}
    assert LAST_EPOCH in runs["ccb"]
    assert LAST_EPOCH not in runs["anogan"]
    assert LAST_EPOCH not in runs["pca"]
    assert (LAST_EPOCH.epoch, LAST_EPOCH.batch_norm, LAST_EPOCH.order) == (
        "last",
        RELEASED.batch_norm,
        RELEASED.order,
    )


def test_a_method_with_its_last_epoch_alone_has_no_choice_of_epoch(ganomaly, tmp_path, other_run):
    run = ganomaly
    other = replace(other_run(run, method="anogan"), aucs={})
    Store(tmp_path / "tables4-5.safetensors").add(other)
    frame = waterfall(4, metric="accuracy", folder=tmp_path)
    wide = frame.pivot(index="abnormal", columns="step", values="value")
    assert wide[LAST].equals(wide[BEST].rename(LAST))


def test_wrong_tables_and_measures_are_refused():
    with pytest.raises(ValueError, match="Tables 1 to 5 compare methods"):
        waterfall(6)
    with pytest.raises(ValueError, match="metric='recall' given; one of auc, accuracy, f1"):
        waterfall(4, metric="recall")
    assert STEPS["auc"][0] == REPORTED
