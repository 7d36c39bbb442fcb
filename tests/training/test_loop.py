import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from ccb_lib import CCB
from ccb_lib.environment import choose_device, seeded
from ccb_lib.training.types import TrainingDiverged

SMALL = {"width": 4, "batch_size": 16, "device": "cpu"}


class KilledError(Exception):
    """Stands for a killed process."""


def same(a, b):
    return all(
        torch.equal(x, y)
        for (_, x), (_, y) in zip(
            sorted(a._state().items()), sorted(b._state().items()), strict=True
        )
    )


def losses(detector):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in detector.history_]


def test_an_unknown_device_is_answered_with_those_of_use():
    with pytest.raises(
        ValueError, match=r"^device='foo' cannot be used here. Use auto, cpu, cuda or cuda:1.$"
    ):
        choose_device("foo")
    with pytest.raises(
        ValueError,
        match=r"^device='cuda:99' cannot be used here \(.+\). Use auto, cpu, cuda or cuda:1.$",
    ):
        choose_device("cuda:99")


def test_every_parameter_moves_in_one_step(noise):
    detector = CCB(epochs=1, **SMALL)
    detector.fit(noise, progress=False)
    with seeded(detector.seed, detector.device_):
        fresh = detector.build(32, 1)
    for name, network in detector.networks_.items():
        for (key, now), was in zip(
            network.named_parameters(), fresh[name].parameters(), strict=True
        ):
            assert not torch.equal(now, was), f"{name}.{key} did not move"


def test_same_seed_same_result_other_seed_other_result(noise):
    a, b, c = (CCB(epochs=2, seed=seed, **SMALL).fit(noise, progress=False) for seed in (1, 1, 2))
    assert same(a, b)
    assert losses(a) == losses(b)
    assert not same(a, c)


def test_training_leaves_the_global_generator_alone(noise):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    CCB(epochs=1, **SMALL).fit(noise, progress=False).decision_function(noise)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_killed_run_resumes_to_the_same_result(noise, tmp_path, killed_after):
    whole = CCB(epochs=3, **SMALL).fit(noise, progress=False)
    path = tmp_path / "run.safetensors"

    def kill(_detector, epoch):
        if epoch > killed_after:
            raise KilledError

    with pytest.raises(KilledError):
        CCB(epochs=3, **SMALL).fit(noise, progress=False, resume=path, on_epoch_end=kill)
    seen = []
    resumed = CCB(epochs=3, **SMALL)
    resumed.fit(
        noise, progress=False, resume=path, on_epoch_end=lambda d, epoch: seen.append(epoch)
    )
    assert seen == list(range(killed_after + 1, 4))
    assert same(whole, resumed)
    assert losses(whole) == losses(resumed)
    # taken up once more it is finished, and more epochs may follow
    again = CCB(epochs=3, **SMALL).fit(noise, progress=False, resume=path)
    assert same(whole, again)
    longer = CCB(epochs=4, **SMALL).fit(noise, progress=False, resume=path)
    assert same(longer, CCB(epochs=4, **SMALL).fit(noise, progress=False))


def test_a_checkpoint_of_other_settings_or_images_is_refused(noise, tmp_path):
    path = tmp_path / "run.safetensors"
    CCB(epochs=2, **SMALL).fit(noise, progress=False, resume=path)
    before = path.read_bytes()
    for changed, name in (
        ({"learning_rate": 1e-3}, "learning_rate: 0.0002 → 0.001"),
        ({"seed": 3}, "seed: 0 → 3"),
    ):
        with pytest.raises(ValueError, match=name):
            CCB(epochs=2, **{**SMALL, **changed}).fit(noise, progress=False, resume=path)
    with pytest.raises(ValueError, match="images"):
        CCB(epochs=2, **SMALL).fit(noise[1:], progress=False, resume=path)
    with pytest.raises(ValueError, match="2 already trained → 1"):
        CCB(epochs=1, **SMALL).fit(noise, progress=False, resume=path)
    path.write_bytes(before[:-10])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        CCB(epochs=2, **SMALL).fit(noise, progress=False, resume=path)
    detector = CCB(epochs=1, **SMALL).fit(noise, progress=False)
    detector.save(path)
    with pytest.raises(ValueError, match="no checkpoint"):
        CCB(epochs=2, **SMALL).fit(noise, progress=False, resume=path)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_whole_epoch(noise, tmp_path):
    path = tmp_path / "run.safetensors"
    CCB(epochs=1, learning_rate=1e20, **SMALL)

    class Breaks(CCB):
        steps = itertools.count()

        def training_step(self, x):
            found = super().training_step(x)
            return (
                {**found, "similarity": torch.tensor(float("nan"))}
                if next(self.steps) >= 6
                else found
            )

    with pytest.raises(
        TrainingDiverged,
        match=r"similarity loss stopped being finite in epoch 2, by step \d.*learning_rate",
    ):
        Breaks(epochs=3, **SMALL).fit(noise, progress=False, resume=path)
    resumed = CCB(epochs=3, **SMALL).fit(noise, progress=False, resume=path)
    assert [line["epoch"] for line in resumed.history_] == [1, 2, 3]


def test_a_learning_rate_gone_wild_is_reported(noise):
    with pytest.raises(TrainingDiverged):
        CCB(epochs=20, learning_rate=1e30, **SMALL).fit(noise, progress=False)


def test_the_last_short_batch_is_dropped(noise):
    seen = []

    class Counts(CCB):
        def training_step(self, x):
            seen.append(len(x))
            return super().training_step(x)

    Counts(epochs=1, **SMALL).fit(noise[:40], progress=False)
    assert seen == [16, 16]
    seen.clear()
    Counts(epochs=1, **SMALL).fit(noise[:5], progress=False)  # fewer than a batch: all of them
    assert seen == [5]


def test_history_is_ready_for_pandas_and_takes_numbers_of_the_callback(noise):
    detector = CCB(epochs=2, **SMALL)
    detector.fit(
        noise,
        progress=False,
        on_epoch_end=lambda d, e: {"mean score": float(d.decision_function(noise).mean())},
    )
    frame = pd.DataFrame(detector.history_)
    assert list(frame["epoch"]) == [1, 2]
    assert np.isfinite(frame.to_numpy()).all()
    assert frame["mean score"].iloc[-1] == pytest.approx(
        detector.decision_function(noise).mean(), rel=1e-6
    )


def test_scoring_in_the_callback_does_not_change_training(noise):
    quiet = CCB(epochs=2, **SMALL).fit(noise, progress=False)
    watched = CCB(epochs=2, **SMALL).fit(
        noise,
        progress=False,
        on_epoch_end=lambda d, e: d.score_terms(noise, batch_norm="batch", dropout=True) and None,
    )
    assert same(quiet, watched)


def test_progress_bar_names_losses_and_speed(noise, capsys):
    CCB(epochs=2, **SMALL).fit(noise)
    shown = capsys.readouterr().err
    assert "CCB 2/2" in shown
    assert "similarity=" in shown
    assert "images/s" in shown


def test_the_step_is_eqs_4_to_7_in_plain_pytorch(noise):
    """One step against the same mathematics written out with torch's own losses and Adam."""
    from torch.nn.functional import binary_cross_entropy_with_logits as bce
    from torch.nn.functional import mse_loss

    from ccb_lib.io.images import to_unit

    detector = CCB(dropout=0.0, epochs=1, **SMALL)
    torch.manual_seed(0)
    detector.networks_ = detector.build(32, 1)
    detector.optimizers_ = detector.build_optimizers()
    oracle = CCB(dropout=0.0, epochs=1, **SMALL)
    torch.manual_seed(0)
    nets = oracle.build(32, 1)
    g, d = nets["generator"], nets["discriminator"]
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (g, d))
    x = to_unit(noise[:16])
    for _ in range(3):
        found = detector.training_step(x)
        x_hat = g(x)
        real, fake = d(x)[0], d(x_hat.detach())[0]
        d_loss = bce(real, torch.ones(16)) + bce(fake, torch.zeros(16))
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        z = d(x)[1].detach()
        fake, z_hat = d(x_hat)
        total = 50 * mse_loss(x_hat, x) + bce(fake, torch.ones(16)) + mse_loss(z_hat, z)
        opt_g.zero_grad()
        total.backward()
        opt_g.step()
        assert found["discriminator"].item() == pytest.approx(d_loss.item(), rel=1e-4)
        assert found["total"].item() == pytest.approx(total.item(), rel=1e-4)
