"""The fast path against the plain one: the same step for all five methods, alone and side by side.

Without a GPU the function that would be recorded is called as it is; what needs the recording
itself is skipped.
"""

import itertools
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from ccb_lib import CCB, GANomaly, MeanIntensity, load_detector
from ccb_lib.detectors import METHODS, adversarial
from ccb_lib.environment import seeded
from ccb_lib.io.images import to_unit
from ccb_lib.losses import adversarial_loss, discriminator_loss, total_loss
from ccb_lib.models.ccb import Discriminator
from ccb_lib.models.initialisation import _reinitialise_without_branch
from ccb_lib.models.modes import counted_twice, frozen
from ccb_lib.training.bfloat16 import BFloat16Weights
from ccb_lib.training.concurrent import run_concurrently, train_together
from ccb_lib.training.cuda_graphs import CapturedFunction, CapturedWork, restored
from ccb_lib.training.fast_steps import FastSteps
from ccb_lib.training.loop import eager_steps
from ccb_lib.training.types import TrainingDiverged, finish

FIVE = ("ccb", "skip-ganomaly", "ganomaly", "egbad", "anogan")
CUDA = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not CUDA, reason="recording a CUDA graph needs a GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]
pytestmark = pytest.mark.filterwarnings("ignore::ccb_lib.detectors.base.CollapsedWarning")


def small(method, **settings):
    extra = {"search_steps": 4, "search_learning_rate": 0.1} if method == "anogan" else {}
    extra |= {"chain": (1, 1, None, 0)} if method == "ccb" else {}
    fixed = {"epochs": 1, "width": 8, "latent": 8, "batch_size": 16, "device": "cpu"}
    return METHODS[method](**{**fixed, **extra, **settings})


def ready(detector, seed=0):
    """A detector with fresh networks and optimisers, as `fit` makes them, in training mode."""
    torch.manual_seed(seed)
    detector.networks_ = {
        name: detector._placed(net).train() for name, net in detector.build(32, 1).items()
    }
    detector.optimizers_ = detector.build_optimizers()
    return detector


def state(detector):
    """All that a step may change, by name."""
    tensors = dict(detector._state())
    for name, optimizer in detector.optimizers_.items():
        for index, values in enumerate(optimizer.state.values()):
            tensors |= {f"{name} {index} {key}": value for key, value in values.items()}
    return tensors


def gradients(detector):
    return {
        f"{name}.{key}": parameter.grad
        for name in detector.optimizers_
        for key, parameter in detector.networks_[name].named_parameters()
    }


def copy_state(source, target):
    for name, network in source.networks_.items():
        target.networks_[name].load_state_dict(network.state_dict())
        if name in source.optimizers_:
            mine, its = (d.optimizers_[name].state.values() for d in (target, source))
            for to, given in zip(mine, its, strict=True):
                for key, value in given.items():
                    to[key].copy_(value)


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a._state().values(), b._state().values(), strict=True)
    )


def without_seconds(detector):
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in detector.history_
    ]


# ── the same step ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def exact():
    """Convolutions in full float32 on a GPU as well."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


@pytest.fixture
def same_masks(monkeypatch):
    """Dropout that draws in the order of an image's axes: torch's draws in that of memory, which
    the layout changes."""

    def dropout(x, p, training, inplace=False):
        keep = torch.rand(x.shape, device=x.device, dtype=torch.float32) >= p
        return x * keep / (1 - p) if training else x

    monkeypatch.setattr(nn.functional, "dropout", dropout)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", FIVE)
def test_from_equal_states_both_paths_take_the_same_step(method, device, noise, exact, same_masks):
    """Losses in every step, gradients in three of four: where an activation lies within rounding
    of ReLU's corner, or a
    pixel of L1's, each path may find itself on another side, and the gradient jumps. Float64 below
    is that fine."""
    plain, quick = (ready(small(method, fast=fast, device=device)) for fast in (False, True))
    quick_steps, images = FastSteps(torch.float32, layout=quick._layout), noise.to(device)
    apart = []
    for number in range(20):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(number))[None, :16].to(
            device
        )
        if number:
            copy_state(plain, quick)
        (expected,) = list(eager_steps(plain, images, order, number))
        (found,) = list(quick_steps(quick, images, order, number))
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
        pairs = zip(gradients(quick).values(), gradients(plain).values(), strict=True)
        apart.append(max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs))
    assert sorted(apart)[14] <= 1e-4, apart
    assert quick_steps.independent == (device == "cuda")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", FIVE)
def test_in_float64_both_paths_run_free_and_stay_together(method, device, noise, same_masks):
    torch.set_default_dtype(torch.float64)
    try:
        plain, quick = (ready(small(method, fast=fast, device=device)) for fast in (False, True))
        images = noise.to(device)
        order = torch.randint(0, 64, (20, 16), generator=torch.Generator().manual_seed(1)).to(
            device
        )
        sums = []
        for detector, steps in ((plain, eager_steps), (quick, FastSteps(torch.float32))):
            step = detector.training_step
            detector.training_step = lambda x, step=step: step(x.double())
            *_, last = steps(detector, images, order, 7)
            sums.append({name: value.item() for name, value in last.items()})
    finally:
        torch.set_default_dtype(torch.float32)
    assert sums[1] == pytest.approx(sums[0], rel=1e-9, abs=1e-9)
    for (name, found), wanted in zip(state(quick).items(), state(plain).values(), strict=True):
        torch.testing.assert_close(found, wanted.to(found), rtol=1e-9, atol=1e-9, msg=name)


def test_the_fast_path_is_laid_out_for_speed_and_the_plain_one_is_plain(noise):
    quick, plain = (ready(small("ccb", width=8, fast=fast)) for fast in (True, False))
    weights = [d.networks_["generator"].encoder[1][0].weight for d in (quick, plain)]
    assert [w.is_contiguous(memory_format=torch.channels_last) for w in weights] == [True, False]
    assert [d.optimizers_["generator"].defaults["fused"] for d in (quick, plain)] == [True, None]
    seen = []
    for detector, steps in ((quick, FastSteps()), (plain, eager_steps)):
        detector.training_step = lambda x: seen.append(x) or {"loss": torch.zeros(())}
        list(steps(detector, noise.repeat(1, 3, 1, 1), torch.arange(32).view(2, 16), 0))
    assert torch.equal(seen[1], seen[3])
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[2].is_contiguous()


def test_a_setting_other_than_on_off_or_compiled_is_refused():
    with pytest.raises(
        ValueError, match="fast='quick' given; True, False, 'compiled' or None is needed"
    ):
        CCB(fast="quick", device="cpu")


def test_compiled_networks_take_the_same_step(noise, monkeypatch):
    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda net: compile_(net, backend="eager")
    )  # without a minute of C++
    order = torch.arange(32).view(2, 16)
    ends = []
    for compiled in (False, True):
        detector = ready(small("ganomaly"))
        *_, last = FastSteps(compiled=compiled)(detector, noise, order, 0)
        ends.append((detector, {name: value.item() for name, value in last.items()}))
        assert all(type(net).__name__ != "OptimizedModule" for net in detector.networks_.values())
    (plain, expected), (quick, found) = ends
    assert found == pytest.approx(expected, rel=1e-5)
    for wanted, value in zip(plain._state().values(), quick._state().values(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


# ── passes that two losses share ──────────────────────────────────────────────────────────────────


def skip_ganomalys_step(detector, x):
    """As its public code has it: D sees x̂ once for each player."""
    g, d = detector.networks_["generator"], detector.networks_["discriminator"]
    x_hat = g(x)
    real, z = d(x)
    with frozen(d):
        fake, z_hat = d(x_hat)
        latent = mse_loss(z_hat, z.detach())
        detector._step("generator", 50 * l1_loss(x_hat, x) + adversarial_loss(fake) + latent)
    fake, z_hat = d(x_hat.detach())
    detector._step("discriminator", discriminator_loss(real, fake) + mse_loss(z_hat, z))


def ganomalys_step(detector, x):
    """As its public code has it: D sees x and x̂ once for each player."""
    g, d = detector.networks_["generator"], detector.networks_["discriminator"]
    x_hat, z, z_hat = g(x)
    with torch.no_grad():
        _, features = d(x)
    with frozen(d):
        match = mse_loss(d(x_hat)[1], features)
        detector._step("generator", total_loss(l1_loss(x_hat, x), match, mse_loss(z_hat, z)))
    detector._step("discriminator", discriminator_loss(d(x)[0], d(x_hat.detach())[0]) / 2)


@contextmanager
def statistics_restored(*networks):
    """Passes inside leave no trace in running statistics: they are put back."""
    buffers = [buffer for network in networks for buffer in network.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    yield
    for buffer, old in zip(buffers, kept, strict=True):
        buffer.data.copy_(old)


def egbads_step(detector, x):
    """As its public code has it: a network's running statistics change in its own update alone."""
    e, g, d = (detector.networks_[name] for name in ("encoder", "generator", "discriminator"))
    with torch.no_grad(), statistics_restored(e, g):
        encoded = e(x)[0]
        z = detector._draw(x)
        made = g(z)
    detector._step("discriminator", discriminator_loss(d(x, encoded)[0], d(made, z)[0]))
    with frozen(d):
        z = detector._draw(x)
        made, encoded = g(z), e(x)[0]
        with torch.no_grad():
            g(encoded)
        with statistics_restored(d):
            taken, found = d(made, z)[0], d(x, encoded)[0]
        detector._step("generator", adversarial_loss(taken))
        detector._step("encoder", adversarial_loss(-found))
    for name in ("encoder", "generator", "discriminator"):
        detector.networks_[f"averaged_{name}"].update(detector.networks_[name])


@pytest.mark.parametrize(
    ("method", "oracle"),
    [("skip-ganomaly", skip_ganomalys_step), ("ganomaly", ganomalys_step), ("egbad", egbads_step)],
)
def test_a_shared_pass_changes_nothing_not_even_running_statistics(method, oracle, noise):
    torch.set_default_dtype(torch.float64)
    try:
        ours, plain = (ready(small(method)) for _ in range(2))
        for number in range(4):
            x = to_unit(noise[16 * number :][:16]).double()
            with seeded(number, x.device):
                ours.training_step(x)
            with seeded(number, x.device):
                oracle(plain, x)
    finally:
        torch.set_default_dtype(torch.float32)
    for (name, found), wanted in zip(state(ours).items(), state(plain).values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize("passes", [1, 3])
def test_counted_twice_is_what_two_rounds_of_passes_leave(passes):
    torch.manual_seed(0)
    once, twice = (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).double() for _ in range(2))
    twice.load_state_dict(once.state_dict())
    batches = [torch.randn(4, 1, 3, 3, dtype=torch.float64) + k for k in range(passes)]
    for batch in batches * 2:
        twice(batch)
    with counted_twice(once, passes):
        outputs = [once(batch) for batch in batches]
    sum(
        output.square().sum() for output in outputs
    ).backward()  # autograd takes no offence at the changed buffers
    for name, wanted in twice.state_dict().items():
        torch.testing.assert_close(
            once.state_dict()[name], wanted, rtol=1e-12, atol=1e-12, msg=name
        )


def test_weights_are_renewed_without_a_branch_only_where_the_loss_collapsed():
    network = Discriminator(width=8)
    before = [parameter.clone() for parameter in network.parameters()]
    _reinitialise_without_branch(torch.tensor(False), network)
    assert all(torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7.0)
    _reinitialise_without_branch(torch.tensor(True), network)
    assert network.blocks[2][0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert network.blocks[1][1].weight.mean().item() == pytest.approx(1.0, abs=0.03)
    assert (network.blocks[1][1].bias == 0).all()


# ── bfloat16 ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", FIVE)
def test_weights_halved_together_are_weights_halved_one_by_one(method, noise):
    """Bit by bit what autocast does, gradients and counters of batch norm included."""
    ends = []
    for together in (False, True):
        detector = ready(small(method, fast=True))
        learning = detector.networks_
        if together:
            halved = {name: BFloat16Weights(learning[name]) for name in detector.optimizers_}
            detector.networks_ = {**learning, **halved}
        with seeded(1, noise.device), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            for number in range(2):
                detector.training_step(to_unit(noise[16 * number :][:16]))
        detector.networks_ = learning
        ends.append({**state(detector), **{f"{k} grad": v for k, v in gradients(detector).items()}})
    for (name, found), wanted in zip(ends[1].items(), ends[0].values(), strict=True):
        assert found.dtype in (torch.float32, torch.int64)
        assert torch.equal(found, wanted), name


def test_halved_weights_pass_no_gradient_to_a_frozen_network(noise):
    network = BFloat16Weights(Discriminator(1, width=4))
    x = to_unit(noise[:4]).requires_grad_()
    with frozen(network), torch.autocast("cpu", torch.bfloat16):
        network(x)[0].sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_finds_what_float32_finds(device, digits, monkeypatch):
    """After a short training, its AUC within what another seed changes, and its ranks nearer than
    another seed's."""
    images, labels = digits.test[::3], digits.test_labels[::3]
    scores = {}
    for precision in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(adversarial, "FastSteps", partial(FastSteps, precision))
        scores[precision] = [
            small(
                "skip-ganomaly", epochs=3, seed=seed, learning_rate=1e-3, latent=16, device=device
            )
            .fit(digits.train[:320], progress=False)
            .decision_function(images)
            for seed in range(3)
        ]
    whole, half = scores.values()
    aucs = np.array([[roc_auc_score(labels, found) for found in runs] for runs in (whole, half)])
    assert abs(np.diff(aucs.mean(axis=1)).item()) <= np.ptp(aucs, axis=1).max()
    same_seed = [spearmanr(whole[k], half[k]).statistic for k in range(3)]
    other_seed = [spearmanr(whole[k], whole[k - 1]).statistic for k in range(3)]
    assert max(other_seed) < 0.95  # seeds do differ
    assert np.mean(same_seed) > np.mean(other_seed)
    assert not np.array_equal(whole, half)


# ── checkpoints, progress, losses that break ──────────────────────────────────────────────────────


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("method", ["ccb", "egbad"])
def test_a_resumed_run_ends_where_an_unbroken_one_does_on_either_path(
    method, fast, noise, tmp_path
):
    unbroken = small(method, epochs=3, fast=fast).fit(noise[:32], progress=False)
    small(method, epochs=1, fast=fast).fit(
        noise[:32], progress=False, resume=tmp_path / "run.safetensors"
    )
    resumed = small(method, epochs=3, fast=fast).fit(
        noise[:32], progress=False, resume=tmp_path / "run.safetensors"
    )
    assert same(resumed, unbroken)
    assert without_seconds(resumed) == without_seconds(unbroken)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_may_go_on_by_the_other_path(first, noise, tmp_path):
    path = tmp_path / "run.safetensors"
    settings = {"dropout": 0.0}  # its masks follow the order of memory, which differs
    small("ccb", epochs=1, fast=first, **settings).fit(noise[:32], progress=False, resume=path)
    mixed = small("ccb", epochs=2, fast=not first, **settings).fit(
        noise[:32], progress=False, resume=path
    )
    alone = small("ccb", epochs=2, fast=first, **settings).fit(noise[:32], progress=False)
    once = small("ccb", epochs=1, fast=first, **settings).fit(noise[:32], progress=False)
    assert len(mixed.history_) == 2
    apart, travelled = (distance_of_weights(a, alone) for a in (mixed, once))
    assert apart < 0.1 * travelled


def distance_of_weights(a, b):
    pairs = zip(
        a.networks_["generator"].parameters(), b.networks_["generator"].parameters(), strict=True
    )
    return sum((x - y).square().sum() for x, y in pairs).sqrt().item()


def test_fast_and_plain_detectors_share_files(noise, tmp_path):
    fitted = small("ccb").fit(noise[:32], progress=False)
    fitted.save(tmp_path / "m.safetensors")
    loaded = load_detector(tmp_path / "m.safetensors", device="cpu")
    assert loaded.fast_ is True
    assert np.array_equal(loaded.decision_function(noise), fitted.decision_function(noise))
    plain = small("ccb", fast=False)
    plain.image_size_, plain.channels_ = 32, 1
    plain._load_state(fitted._state())
    np.testing.assert_allclose(
        plain.decision_function(noise), fitted.decision_function(noise), rtol=1e-4
    )


@pytest.mark.parametrize("fast", [True, False])
def test_progress_and_a_loss_that_breaks(fast, noise, capsys, monkeypatch):
    monkeypatch.setattr("ccb_lib.training.loop._LOOK_EVERY", 0.0)
    small("ccb", fast=fast).fit(noise)
    assert "similarity=" in capsys.readouterr().err
    count = itertools.count()

    class Breaks(CCB):
        def training_step(self, x):
            found = super().training_step(x)
            return {
                **found,
                "latent": found["latent"] * (float("nan") if next(count) == 5 else 1.0),
            }

    with pytest.raises(
        TrainingDiverged, match=r"The latent loss stopped being finite in epoch 2, by step 2\."
    ):
        Breaks(width=4, epochs=3, batch_size=16, fast=fast, device="cpu").fit(noise, progress=False)


def test_a_run_that_breaks_leaves_the_global_generator_alone(noise):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with pytest.raises(TrainingDiverged) as kept:
        small("egbad", learning_rate=1e30, epochs=9).fit(noise, progress=False)
    assert torch.equal(torch.rand(1), expected)
    del kept


@pytest.mark.parametrize("trained_before", [False, True])
def test_what_warms_up_leaves_no_trace(trained_before, noise):
    x = to_unit(noise[:16])
    touched, other = (ready(small("egbad")) for _ in range(2))
    for detector in (touched, other) if trained_before else ():
        with seeded(0, x.device):
            detector.training_step(x)
    tensors = [t for net in touched.networks_.values() for t in (*net.parameters(), *net.buffers())]
    with restored(tensors, list(touched.optimizers_.values())):
        for _ in range(3):
            touched.training_step(x)
        assert not same(touched, other)
    assert same(touched, other)
    assert all(p.grad is None for net in touched.networks_.values() for p in net.parameters())
    for detector in (touched, other):
        with seeded(1, x.device):
            detector.training_step(x)
    for (name, found), wanted in zip(state(touched).items(), state(other).values(), strict=True):
        assert torch.equal(found, wanted), name


def test_work_that_cannot_be_recorded_is_done_with_a_warning_that_says_why(monkeypatch):
    def refuse(*_):
        raise RuntimeError("operation not permitted\nand a long trace")

    monkeypatch.setattr("ccb_lib.training.cuda_graphs._record", refuse)
    done = []
    with pytest.warns(
        RuntimeWarning, match="graph could be made of a step, .*reason: operation not permitted$"
    ):
        work = CapturedWork(lambda: done.append(1), torch.device("cuda"), what="a step")
    work()
    assert done == [1]
    assert not work.captured


def test_without_a_gpu_a_function_is_simply_called():
    doubled = CapturedFunction(lambda x: (2 * x,), torch.zeros(3))
    assert torch.equal(doubled(torch.ones(3))[0], torch.full((3,), 2.0))
    assert torch.equal(doubled(torch.ones(5))[0], torch.full((5,), 2.0))


# ── side by side ──────────────────────────────────────────────────────────────────────────────────


def counting(log, name, turns, independent=True, error=None):
    for number in range(turns):
        log.append(f"{name}{number}")
        yield independent
    if error is not None:
        raise error
    return name


def test_independent_work_takes_turns_and_the_rest_is_done_alone():
    log, cpu = [], torch.device("cpu")
    starts = [
        partial(counting, log, "a", 3),
        partial(counting, log, "b", 1),
        partial(counting, log, "c", 2, independent=False),
        partial(counting, log, "d", 1),
    ]
    assert list(run_concurrently(starts, cpu, at_once=2)) == [
        (1, "b"),
        (2, "c"),
        (3, "d"),
        (0, "a"),
    ]
    assert log == ["a0", "b0", "a1", "c0", "c1", "d0", "a2"]
    log.clear()
    assert [name for _, name in run_concurrently(starts, cpu)] == ["a", "b", "c", "d"]
    assert log == ["a0", "a1", "a2", "b0", "c0", "c1", "d0"]


def test_work_that_fails_leaves_the_rest_alone():
    error = ValueError("broken")
    starts = [partial(counting, [], "a", 1, error=error), partial(counting, [], "b", 2)]
    assert dict(run_concurrently(starts, torch.device("cpu"), at_once=2)) == {0: error, 1: "b"}


def test_work_is_stopped_by_ctrl_c():
    starts = [partial(counting, [], "a", 1, error=KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        list(run_concurrently(starts, torch.device("cpu")))


def several():
    return [
        small("ccb", epochs=2),
        small("egbad", seed=1),
        small("anogan", seed=2),
        MeanIntensity(device="cpu"),
    ]


@pytest.mark.parametrize("resume", [False, True])
def test_trained_together_each_ends_as_it_would_alone(resume, noise, tmp_path, capsys):
    sets = [noise[:32], noise[16:48], noise[:48], noise]
    alone = [
        d.fit(x, calibration=noise[48:], progress=False)
        for d, x in zip(several(), sets, strict=True)
    ]
    files = [tmp_path / f"{k}.safetensors" if k < 3 else None for k in range(4)] if resume else None
    seen = []
    together = train_together(
        several(),
        sets,
        calibration=[noise[48:]] * 4,
        resume=files,
        on_epoch_end=lambda d, e: seen.append((d.method, e)),
    )
    for one, other in zip(alone, together, strict=True):
        assert same(one, other)
        assert without_seconds(one) == without_seconds(other)
        assert np.array_equal(one.decision_function(noise[:9]), other.decision_function(noise[:9]))
        assert one.threshold_ == other.threshold_
    assert seen == [("ccb", 1), ("ccb", 2), ("egbad", 1), ("anogan", 1)]
    assert "4 detectors: 100%" in capsys.readouterr().err
    assert all(file is None or file.exists() for file in files or [])


class Interleaves(CapturedWork):
    """A recording, as far as a CPU can play one."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.captured = True


def test_steps_of_several_runs_may_mix_and_each_still_ends_as_alone(noise, monkeypatch):
    """GANomaly draws nothing in a step, so even on one generator its runs must not disturb each
    other."""
    alone = [small("ganomaly", seed=k, epochs=2).fit(noise, progress=False) for k in range(3)]
    monkeypatch.setattr("ccb_lib.training.fast_steps.CapturedWork", Interleaves)
    taken = []

    class Watched(GANomaly):
        def training_step(self, x):
            taken.append(self.seed)
            return super().training_step(x)

    watched = [
        Watched(epochs=2, width=8, latent=8, batch_size=16, device="cpu", seed=k) for k in range(3)
    ]
    train_together(watched, [noise] * 3, progress=False, at_once=2)
    assert taken[:6] == [0, 1, 0, 1, 0, 1]
    assert all(same(one, other) for one, other in zip(alone, watched, strict=True))


def test_a_detector_that_diverges_costs_the_others_nothing(noise):
    detectors = [small("ccb", learning_rate=1e30, epochs=9), small("ganomaly")]
    with pytest.raises(TrainingDiverged) as caught:
        train_together(detectors, [noise] * 2, progress=False)
    assert "1 of 2 detectors failed; the others finished training." in caught.value.__notes__
    assert same(detectors[1], small("ganomaly").fit(noise, progress=False))


def test_lists_that_do_not_fit_are_refused(noise):
    detector = small("ccb")
    with pytest.raises(ValueError, match=r"1 detectors given, but \{'images': 2\}"):
        train_together([detector], [noise] * 2)
    with pytest.raises(ValueError, match="given twice"):
        train_together([detector] * 2, [noise] * 2)
    assert train_together([], []) == []


def test_turns_hand_over_after_each_step(noise):
    turns = small("ccb", epochs=2).fit_turns(noise, progress=False)
    assert list(itertools.islice(turns, 7)) == [False] * 7  # on a CPU nobody may come in between
    assert finish(turns).history_[-1]["epoch"] == 2


# ── what a recording must keep ────────────────────────────────────────────────────────────────────


@needs_gpu
@pytest.mark.parametrize("method", FIVE)
def test_a_recorded_run_is_reproducible_and_draws_anew_each_step(method, noise):
    first, again = (
        small(method, epochs=2, device="cuda").fit(noise, progress=False) for _ in range(2)
    )
    other = small(method, epochs=2, device="cuda", seed=1).fit(noise, progress=False)
    scores = [d.score_terms(noise).image for d in (first, again, other)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.02)
    assert not np.allclose(scores[0], scores[2], rtol=1e-3)


@needs_gpu
def test_recorded_dropout_differs_from_step_to_step_and_follows_the_seed(noise):
    class Draws:
        networks_, optimizers_ = {}, {}

        def training_step(self, x):
            return {"kept": nn.functional.dropout(torch.ones(999, device=x.device)).mean()}

    def epoch(seed):
        steps = FastSteps()
        order = torch.zeros(5, 2, dtype=torch.long, device="cuda")
        sums = [value["kept"].item() for value in steps(Draws(), noise.cuda(), order, seed)]
        assert steps.independent
        return np.diff(sums, prepend=0.0).round(4).tolist()

    assert epoch(1) == epoch(1) != epoch(2)
    assert len(set(epoch(1))) > 1


@needs_gpu
def test_side_by_side_on_streams_each_ends_near_where_it_would_alone(noise):
    def make():
        return [small("ganomaly", seed=k, epochs=2, device="cuda") for k in range(4)]

    alone = [d.fit(noise, progress=False) for d in make()]
    together = train_together(make(), [noise] * 4, progress=False, at_once=4)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(
            one.score_terms(noise).image, other.score_terms(noise).image, rtol=0.05
        )


@needs_gpu
@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_scoring_and_search_on_a_gpu_give_the_numbers_of_a_cpu(batch_norm, noise, tmp_path, exact):
    for method in FIVE:
        small(method).fit(noise, progress=False).save(tmp_path / "m.safetensors")
        terms = [
            load_detector(tmp_path / "m.safetensors", device=device).score_terms(
                noise, batch_norm=batch_norm
            )
            for device in ("cpu", "cuda")
        ]
        for found, wanted in zip(terms[1], terms[0], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-3, err_msg=method)


@needs_gpu
def test_scores_between_epochs_are_those_after_them(noise, exact):
    seen = []
    detector = small("ccb", epochs=2, device="cuda")
    for batch_norm in ("batch", "running"):
        seen.clear()
        detector.fit(
            noise,
            progress=False,
            on_epoch_end=lambda d, e, b=batch_norm: (
                seen.append(d.score_terms(noise, batch_norm=b, batch_size=16)) or {}
            ),
        )
        after = detector.score_terms(noise, batch_norm=batch_norm, batch_size=16)
        np.testing.assert_allclose(seen[-1].image, after.image, rtol=1e-4)
        assert not np.allclose(seen[0].image, after.image, rtol=1e-4)
