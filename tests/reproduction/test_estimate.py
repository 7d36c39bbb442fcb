import pytest

from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.protocols import CLEAN, RELEASED, SINGLE_CHANGES, STEPS_TO_CLEAN
from ccb_lib.reproduction.estimate import Cost, Estimates, Sizes, kind_of, seconds_left, timed
from ccb_lib.reproduction.runs import Run, table_runs

COST = Cost(step=2.0, image=0.5, alone=3.0)
SIZES = Sizes((3, 32, 32), 640, {("cat", "natural"): 100, ("cat", "as released"): 60})


def run(*protocols, method="ccb", epochs=5):
    return Run(
        dataset="cifar10",
        method=method,
        abnormal=("cat",),
        settings={"epochs": epochs},
        protocols=protocols,
    )


def test_seconds_by_hand():
    training = 5 * 10 * 2.0
    assert seconds_left(run(), SIZES, COST) == (training, 0)
    assert seconds_left(run(), SIZES, COST, epochs_done=3) == (2 * 10 * 2.0, 0)
    assert seconds_left(run(CLEAN), SIZES, COST) == (training, 100 * 0.5)
    assert seconds_left(run(RELEASED), SIZES, COST) == (training, 5 * 60 * 0.5)  # after every epoch
    assert seconds_left(run(RELEASED, STEPS_TO_CLEAN[1]), SIZES, COST) == (
        training,
        5 * 60 * 0.5,
    )  # they share scores
    alone, recomputed = SINGLE_CHANGES[2], SINGLE_CHANGES[3]
    assert (alone.batch_size, recomputed.batch_norm) == (1, "recomputed")
    assert seconds_left(run(alone), SIZES, COST) == (training, 60 * 3.0)
    assert seconds_left(run(recomputed), SIZES, COST) == (training, (100 + 640) * 0.5)
    # AnoGAN is scored once, EGBAD takes 32 images a step by default
    assert seconds_left(run(RELEASED, method="anogan"), SIZES, COST) == (training, 60 * 0.5)
    steps = 640 // METHODS["egbad"].batch_size
    assert seconds_left(run(method="egbad"), SIZES, COST) == (5 * steps * 2.0, 0)
    assert seconds_left(run(CLEAN, method="pca"), SIZES, COST) == (0, 0)


def test_runs_of_one_kind_differ_in_seed_epochs_and_start_alone():
    shape = (3, 32, 32)
    he, dcgan = (table_runs(6, chain_init=start)[0] for start in ("he", "dcgan"))
    assert kind_of(he, shape) == kind_of(dcgan, shape)
    others = [
        kind_of(table_runs(6, **changed)[0], shape)
        for changed in ({"width": 8}, {"methods": ["ccb"]})
    ]
    assert others[0] != kind_of(he, shape) == others[1]
    assert kind_of(table_runs(6)[1], shape) != kind_of(he, shape)  # another chain
    assert kind_of(he, (3, 64, 64)) != kind_of(he, shape)


@pytest.mark.parametrize("method", ["ccb", "anogan"])
def test_timing_takes_a_few_steps(method):
    small = Run(
        dataset="digits", method=method, abnormal=("8",), settings={"width": 2, "batch_size": 4}
    )
    cost = timed(small, (1, 32, 32), device="cpu")
    assert 0 < cost.step < 10
    assert cost.image > 0
    assert cost.alone > 0


@pytest.mark.filterwarnings("ignore:CIFAR-10 in .* not 60,000")
def test_images_are_counted_and_each_kind_timed_once(made_cifar, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "ccb_lib.reproduction.estimate.timed", lambda *a, **k: calls.append(a) or COST
    )
    runs = table_runs(1, methods=["ccb"], abnormal=["cat", "dog"], seeds=2, epochs=1, width=2)
    estimates = Estimates(root=str(made_cifar), device="cpu")
    sizes = estimates.sizes(runs[0])
    assert sizes.tests.keys() == {("cat", "natural"), ("cat", "as released")}
    training, scoring = estimates.hours(runs, {})
    assert len(calls) == 1
    assert training == pytest.approx(len(runs) * max(1, sizes.train // 64) * COST.step / 3600)
    assert scoring > 0
    assert estimates.hours(runs[:1], {runs[0].key: 1})[0] == 0
