from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ccb_lib import (
    CCB,
    CLEAN,
    EGBAD,
    RELEASED,
    AnoGAN,
    CCBFork,
    EpochScores,
    GANomaly,
    SkipGANomaly,
    evaluate,
)
from ccb_lib.datasets.splits import balanced_draw
from ccb_lib.detectors.simple_baselines import PixelPCA
from ccb_lib.evaluation.feeding import feeding_order, recomputed_statistics, score_split
from ccb_lib.evaluation.protocols import SINGLE_CHANGES, STEPS_TO_CLEAN, Protocol, differing_fields
from ccb_lib.metrics import anomaly_score, auc, normal_quantile, oracle_f1
from ccb_lib.reproduction.splits import limited

ALL = {
    CCB: {},
    CCBFork: {},
    SkipGANomaly: {},
    GANomaly: {},
    EGBAD: {},
    AnoGAN: {"search_steps": 3},
}
TEST_PARTS = ("test", "test_labels", "test_ids", "test_groups", "test_classes")


@pytest.fixture(scope="module")
def small(digits):
    return limited(digits, 96)


@pytest.fixture(scope="module", params=ALL, ids=lambda method: method.__name__)
def fitted(request, small):
    detector = request.param(epochs=1, width=4, device="cpu", **ALL[request.param])
    return detector.fit(small.train, calibration=small.calibration, progress=False)


def last(protocol, **changes):
    return replace(protocol, epoch="last", **changes)


def test_the_walk_changes_one_field_at_a_time():
    for a, b in pairwise(STEPS_TO_CLEAN[:-1]):
        assert len(differing_fields(a, b)) == 1
    # the last step takes the order and the company away with the batch's statistics: they no
    # longer matter
    assert set(differing_fields(STEPS_TO_CLEAN[-2], STEPS_TO_CLEAN[-1])) == {
        "batch_norm",
        "order",
        "batch_size",
    }
    assert (STEPS_TO_CLEAN[0], STEPS_TO_CLEAN[-1]) == (RELEASED, CLEAN)
    assert len({protocol.name for protocol in (*STEPS_TO_CLEAN, *SINGLE_CHANGES)}) == len(
        STEPS_TO_CLEAN
    ) + len(SINGLE_CHANGES)


def test_the_two_ends_are_what_the_notes_say():
    assert differing_fields(CLEAN, RELEASED) == {
        "batch_norm": ("running", "batch"),
        "dropout": (False, True),
        "order": ("any", "normals then abnormals"),
        "batch_size": (256, 64),
        "epoch": ("last", "best by test AUC"),
        "threshold": ("calibrated", "oracle"),
    }


def test_order_matters_in_train_mode_and_not_in_eval(fitted, small):
    in_order, shuffled = (
        last(RELEASED, order=order) for order in ("normals then abnormals", "shuffled")
    )
    a, b = (score_split(fitted, small, protocol)[0] for protocol in (in_order, shuffled))
    assert not np.allclose(
        anomaly_score(a, fitted.alpha), anomaly_score(b, fitted.alpha), rtol=1e-4
    )
    quiet = [replace(CLEAN, order=order) for order in ("normals then abnormals", "shuffled", "any")]
    scores = [
        anomaly_score(score_split(fitted, small, protocol)[0], fitted.alpha) for protocol in quiet
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[0] == pytest.approx(scores[2], rel=1e-5)


def test_scoring_never_changes_a_detector(fitted, small):
    before = {name: value.clone() for name, value in fitted._state().items()}
    modes = [
        module.training for network in fitted.networks_.values() for module in network.modules()
    ]
    momenta = [
        m.momentum for n in fitted.networks_.values() for m in n.modules() if hasattr(m, "momentum")
    ]
    for protocol in (RELEASED, *STEPS_TO_CLEAN, *SINGLE_CHANGES):
        if protocol.batch_size == 1 and not isinstance(fitted, CCB | CCBFork | SkipGANomaly):
            continue  # a batch norm of single values has no statistics of one image
        score_split(fitted, small, protocol)
    assert all(torch.equal(value, before[name]) for name, value in fitted._state().items())
    assert [
        module.training for network in fitted.networks_.values() for module in network.modules()
    ] == modes
    assert [
        m.momentum for n in fitted.networks_.values() for m in n.modules() if hasattr(m, "momentum")
    ] == momenta


def test_imposed_is_marked_where_public_code_tests_otherwise(fitted, small):
    protocol = last(RELEASED)
    assert evaluate(fitted, small, protocol).imposed == isinstance(
        fitted, EGBAD | AnoGAN | GANomaly
    )
    assert not evaluate(fitted, small, CLEAN).imposed


def test_evaluate_under_clean_equals_the_detectors_own_face(fitted, small):
    evaluation = evaluate(fitted, small, CLEAN)
    assert evaluation.scores == pytest.approx(fitted.decision_function(small.test), rel=1e-5)
    assert evaluation.threshold == pytest.approx(fitted.threshold_, rel=1e-5)
    assert evaluation.auc == auc(evaluation.scores, small.test_labels)
    assert (
        evaluation.metrics.tp == (evaluation.scores > evaluation.threshold)[small.test_labels].sum()
    )
    assert evaluation.epoch == 1


@pytest.fixture(scope="module")
def recorded(small):
    recorder = EpochScores(small, [RELEASED, *STEPS_TO_CLEAN, *SINGLE_CHANGES])
    detector = CCB(epochs=3, width=4, device="cpu", batch_size=32)
    detector.fit(small.train, calibration=small.calibration, progress=False, on_epoch_end=recorder)
    return detector, recorder


def test_the_best_epoch_is_chosen_by_test_auc(recorded, small):
    detector, recorder = recorded
    evaluation = evaluate(detector, small, RELEASED, epochs=recorder)
    aucs = recorder.aucs["released"]
    assert len(aucs) == 3
    assert evaluation.epoch == 1 + int(np.argmax(aucs))
    assert evaluation.auc == pytest.approx(max(aucs))
    assert evaluation.threshold == oracle_f1(evaluation.scores, small.test_labels)


def test_the_thresholds_fields(recorded, small):
    detector, _ = recorded
    calibrated, oracle = (
        evaluate(detector, small, replace(CLEAN, threshold=t)) for t in ("calibrated", "oracle")
    )
    own = anomaly_score(calibrated.calibration, detector.alpha)
    assert calibrated.threshold == normal_quantile(own, 0.05)
    assert oracle.metrics.f1 >= calibrated.metrics.f1


def test_a_protocol_that_chooses_needs_the_epochs(recorded, small):
    with pytest.raises(ValueError, match=r"on_epoch_end=recorder"):
        evaluate(recorded[0], small, RELEASED)
    with pytest.raises(ValueError, match="No epochs of 'clean' were recorded"):
        recorded[1].best(CLEAN)


def test_anogan_has_only_its_last_epoch(small):
    detector = AnoGAN(epochs=1, width=4, search_steps=2, device="cpu").fit(
        small.train, calibration=small.calibration, progress=False
    )
    assert evaluate(detector, small, RELEASED).epoch == 1


def test_trivial_scores_are_the_same_under_every_protocol(small):
    detector = PixelPCA().fit(small.train, calibration=small.calibration, progress=False)
    assert evaluate(detector, small, RELEASED).scores == pytest.approx(
        evaluate(detector, small, CLEAN).scores, rel=1e-5
    )


def test_epochs_survive_a_killed_run(small, tmp_path):
    settings = {"epochs": 3, "width": 4, "batch_size": 32, "device": "cpu"}
    whole = EpochScores(small, [RELEASED])
    CCB(**settings).fit(small.train, progress=False, on_epoch_end=whole)

    class KilledError(Exception):
        pass

    first = EpochScores(small, [RELEASED], tmp_path / "epochs.safetensors")

    def kill(detector, epoch):
        first(detector, epoch)  # the scores of epoch 2 are written, its checkpoint is not
        if epoch == 2:
            raise KilledError

    run = tmp_path / "run.safetensors"
    with pytest.raises(KilledError):
        CCB(**settings).fit(small.train, progress=False, resume=run, on_epoch_end=kill)
    again = EpochScores(small, [RELEASED], tmp_path / "epochs.safetensors")
    CCB(**settings).fit(small.train, progress=False, resume=run, on_epoch_end=again)
    assert again.aucs == whole.aucs
    best, expected = again.best(RELEASED), whole.best(RELEASED)
    assert best.epoch == expected.epoch
    assert np.array_equal(best.terms.image, expected.terms.image)


def test_a_repeated_epoch_replaces_its_terms_with_its_auc(small, monkeypatch):
    """On a GPU a repeated epoch may end otherwise."""
    detector = PixelPCA(components=2).fit(small.train, progress=False)
    values = iter([0.6, 0.9, 0.5, 0.45, 0.55])
    monkeypatch.setattr("ccb_lib.evaluation.epochs.auc", lambda *_: next(values))
    recorder = EpochScores(small, [RELEASED])
    recorder(detector, 1)
    recorder(detector, 2)
    former = recorder.best(RELEASED)
    recorder(detector, 2)
    assert recorder.aucs["released"] == [0.6, 0.5]
    assert recorder.best(RELEASED).epoch == 2
    assert recorder.best(RELEASED).terms is not former.terms
    recorder(detector, 3)
    assert recorder.best(RELEASED).epoch == 2
    recorder(detector, 4)
    assert recorder.best(RELEASED).epoch == 4


def test_orders(small):
    assert np.array_equal(
        feeding_order(small, "normals then abnormals"), np.arange(len(small.test))
    )
    grouped = feeding_order(small, "normals by class then abnormals")
    classes, labels = small.test_classes[grouped], small.test_labels[grouped]
    assert (np.diff(labels.astype(int)) >= 0).all()
    assert (classes[~labels] == np.sort(classes[~labels])).all()
    shuffled = feeding_order(small, "shuffled")
    assert sorted(shuffled) == list(range(len(shuffled)))
    assert 0.2 < small.test_labels[shuffled][: len(shuffled) // 2].mean() < 0.8


def test_recomputed_statistics_are_plain_averages_over_the_normals(small):
    detector = CCB(epochs=1, width=4, device="cpu", dropout=0.0).fit(small.train, progress=False)
    norm = detector.networks_["generator"].encoder[1][1]
    before = norm.running_mean.clone()
    with recomputed_statistics(detector, small.train, batch_size=48), torch.no_grad():
        from ccb_lib.io.images import to_unit

        maps = detector.networks_["generator"].encoder[0](to_unit(small.train))
        expected = detector.networks_["generator"].encoder[1][0](maps).mean((0, 2, 3))
        assert torch.allclose(norm.running_mean, expected, atol=1e-5)
    assert torch.equal(norm.running_mean, before)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_norm", "train"),
        ("order", "random"),
        ("epoch", "best"),
        ("threshold", "0.5"),
        ("batch_size", 0),
    ],
)
def test_unknown_values_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}="):
        replace(RELEASED, **{field: value})


SHARING = (
    last(RELEASED, batch_size=16),
    last(RELEASED, order="shuffled"),
    CLEAN,
    replace(CLEAN, batch_norm="recomputed"),
)


@pytest.mark.parametrize("method", [CCB, SkipGANomaly, PixelPCA])
@pytest.mark.parametrize("protocol", SHARING, ids=str)
def test_what_test_sets_share_is_scored_once_and_comes_out_the_same(
    method, protocol, small, monkeypatch
):
    settings = {} if method is PixelPCA else {"epochs": 1, "width": 4, "device": "cpu"}
    fitted = method(**settings).fit(small.train, progress=False)
    fewer = replace(
        small, **{name: getattr(small, name)[:-46] for name in TEST_PARTS}
    )  # 96 normal, 50 abnormal
    draws = [balanced_draw(fewer, k) for k in (1, 2)]  # with one mixed batch each
    alone = [score_split(fitted, split, protocol) for split in draws]
    fed, score, shared = [], method.score_terms, {}
    monkeypatch.setattr(
        method, "score_terms", lambda self, x, **k: fed.append(len(x)) or score(self, x, **k)
    )
    together = [score_split(fitted, split, protocol, shared) for split in draws]
    for a, b in zip(alone, together, strict=True):
        assert all(
            np.array_equal(x, y) for x, y in zip((*a[0], *a[1]), (*b[0], *b[1]), strict=True)
        )
    once = len(small.calibration)
    assert (
        fed
        == {
            "normals then abnormals": [100, once, 64],
            "shuffled": [100, once, 100],
            "any": [50, 50, once, 50],
        }[protocol.order]
    )


def test_an_epoch_whose_forerunners_were_not_recorded_is_refused(small):
    recorder = EpochScores(small, [RELEASED])
    detector = CCB(epochs=1, width=4, device="cpu", batch_size=32).fit(small.train, progress=False)
    with pytest.raises(ValueError, match="Epoch 3 of 'released' follows 0 recorded ones"):
        recorder(detector, 3)


@pytest.mark.parametrize("changes", [{"draw": -1}, {"draw": 1, "batch_norm": "running"}])
def test_a_draw_needs_batch_statistics_and_a_number_from_0(changes):
    with pytest.raises(ValueError, match="a number from 0 is needed"):
        replace(RELEASED, **changes)


def test_batch_statistics_need_an_order():
    with pytest.raises(ValueError, match="name one"):
        Protocol(name="x", batch_norm="batch")
