"""What each baseline does of its own: sizes of its networks, its losses worked by hand, its
search."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ccb_lib import CCB, EGBAD, AnoGAN, CCBFork, GANomaly, SkipGANomaly
from ccb_lib.detectors import network_scorer
from ccb_lib.io.images import to_unit
from ccb_lib.models.baselines import Decoder, Encoder, MovingAverage, uncounted
from ccb_lib.models.ccb import count_parameters
from ccb_lib.models.initialisation import reinitialise_where

LN3 = math.log(3)  # as a logit: three to one, σ = 3/4


def sizes(detector, image_size=32, channels=3):
    return {
        name: count_parameters(net) for name, net in detector.build(image_size, channels).items()
    }


# ── parameters ──────────────────────────────────────────────────────────────────────────────────
# From the layers' facts: a 4×4 conv has 16 weights a pair of channels, a batch norm 2 a channel.


def test_skip_ganomalys_networks_are_ccbs_without_its_chains():
    generator_down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 512) + 2 * (
        128 + 256 + 512
    )
    # Decoder inputs: the bottleneck alone, then what comes up and its skip.
    generator_up = (
        16 * (512 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128 * 3)
        + 2 * (512 + 256 + 128 + 64)
        + 3
    )
    discriminator = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 100) + 2 * (128 + 256) + 9 * 100
    assert sizes(SkipGANomaly()) == {
        "generator": generator_down + generator_up,
        "discriminator": discriminator,
    }
    assert sizes(SkipGANomaly()) == {"generator": 16_659_075, "discriminator": 1_069_700}
    chains = sum(length * (9 * c * c + c) for length, c in ((4, 64), (3, 128), (2, 256), (1, 512)))
    assert chains == 4_130_432
    assert sizes(CCB()) == {"generator": 16_659_075 + chains, "discriminator": 1_069_700}
    assert sizes(CCBFork()) == sizes(CCB())


def test_ganomalys_networks():
    body = 16 * (3 * 64 + 64 * 128 + 128 * 256) + 2 * (128 + 256)
    encoder = body + 16 * 256 * 100
    decoder = 16 * (100 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (256 + 128 + 64)
    assert (encoder, decoder) == (1_068_800, 1_068_928)
    assert sizes(GANomaly()) == {
        "generator": 2 * encoder + decoder,
        "discriminator": body + 16 * 256,
    }
    assert sizes(GANomaly()) == {"generator": 3_206_528, "discriminator": 663_296}


def test_egbads_networks():
    body = 16 * (3 * 128 + 128 * 256 + 256 * 512) + 2 * (256 + 512)
    encoder = body + 2 * 128 + 16 * 512 * 100
    generator = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * (512 + 256 + 128)
    z_layers = (100 + 1) * 512 + (512 + 1) * 512
    joint_layers = (512 * 4 * 4 + 512 + 1) * 1024 + 1024 + 1
    learning = {
        "encoder": encoder,
        "generator": generator,
        "discriminator": body + z_layers + joint_layers,
    }
    assert sizes(EGBAD(average_decay=None)) == learning
    assert learning == {"encoder": 3_448_576, "generator": 3_448_576, "discriminator": 11_858_433}
    # The averages learn nothing themselves.
    assert sizes(EGBAD()) == {**learning, **{f"averaged_{name}": 0 for name in learning}}
    assert set(
        EGBAD(width=4).fit(torch.zeros(2, 32, 32, dtype=torch.uint8), progress=False).optimizers_
    ) == {
        "encoder",
        "generator",
        "discriminator",
    }


def test_anogans_networks():
    generator = 16 * (100 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (256 + 128 + 64)
    discriminator = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256) + 2 * (128 + 256)
    assert sizes(AnoGAN()) == {"generator": generator, "discriminator": discriminator}
    assert sizes(AnoGAN()) == {"generator": 1_068_928, "discriminator": 663_296}
    # At 64 px the paper's DCGAN: 512, 256, 128 and 64 channels.
    assert sizes(AnoGAN(), 64)["generator"] == 16 * (
        100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3
    ) + 2 * (512 + 256 + 128 + 64)


@pytest.mark.parametrize(("size", "top"), [(32, 16), (64, 32), (128, 64)])
def test_encoder_and_decoder_meet_at_four_by_four(size, top):
    x = torch.rand(2, 3, size, size)
    vector, features = Encoder(3, size, 4, 7)(x)
    assert vector.shape == (2, 7, 1, 1)
    assert features.shape == (2, top, 4, 4)
    assert Decoder(3, size, 4, 7)(vector).shape == x.shape


# ── losses, worked by hand on networks of one number each ─────────────────────────────────────────


class Constant(nn.Module):
    """An image of one trained value, whatever comes in."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return (self.value + 0 * x.sum()).expand(len(x), 1, 32, 32).clone()


class MeanDiscriminator(nn.Module):
    """Logit w · mean, features v · mean; z, where there is one, weighs nothing."""

    def __init__(self, w, v):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.tensor(w)), nn.Parameter(torch.tensor(v))

    def forward(self, x, z=None):
        mean = x.mean((1, 2, 3)) + (0 if z is None else 0 * z.sum())
        return self.w * mean, (self.v * mean)[:, None]


class MeanEncoder(nn.Module):
    """The vector e · mean."""

    def __init__(self, e):
        super().__init__()
        self.e = nn.Parameter(torch.tensor(e))

    def forward(self, x):
        return (self.e * x.mean((1, 2, 3)))[:, None, None, None], None


class ThreePart(nn.Module):
    """GANomaly's G of three numbers: x̂ = g everywhere, z = e · mean(x), ẑ = s · mean(x̂)."""

    def __init__(self, g, e, s):
        super().__init__()
        self.image, self.first, self.second = Constant(g), MeanEncoder(e), MeanEncoder(s)

    def forward(self, x):
        x_hat = self.image(x)
        return x_hat, self.first(x)[0], self.second(x_hat)[0]


def step(detector, networks, optimised=None):
    """One step on white images; returns the losses as numbers."""
    detector.networks_ = networks
    detector.optimizers_ = {
        n: detector._adam(networks[n].parameters()) for n in optimised or networks
    }
    losses = detector.training_step(torch.ones(4, 1, 32, 32))
    return {name: loss.item() for name, loss in losses.items()}


# x = 1 and x̂ = 1/2; D: logits ln 3 and ½ ln 3, so σ = 3/4 and √3/(1 + √3); features 2 and 1.
REAL_TAKEN = math.log(4 / 3)  # −log σ(ln 3)
FAKE_FOUND = math.log(1 + math.sqrt(3))  # −log(1 − σ(½ ln 3))
FAKE_TAKEN = math.log(1 + 1 / math.sqrt(3))  # −log σ(½ ln 3)


def test_skip_ganomalys_losses():
    networks = {"generator": Constant(0.5), "discriminator": MeanDiscriminator(LN3, 2.0)}
    losses = step(SkipGANomaly(learning_rate=1e-3), networks)
    assert losses["similarity"] == pytest.approx(0.5)  # L1
    assert losses["adversarial"] == pytest.approx(FAKE_TAKEN)
    assert losses["latent"] == pytest.approx(1.0)
    assert losses["total"] == pytest.approx(50 * 0.5 + FAKE_TAKEN + 1.0)
    assert losses["discriminator"] == pytest.approx(
        REAL_TAKEN + FAKE_FOUND + 1.0
    )  # D has the latent distance too
    # Its gradient, d/dv (v − v/2)² = 1, makes v smaller: Adam's first step is the learning rate.
    assert networks["discriminator"].v.item() == pytest.approx(2.0 - 1e-3)


def test_the_fork_takes_skip_ganomalys_step_from_chains_that_start_as_all_else_does():
    fork, skip = CCBFork(), SkipGANomaly(chain=(4, 3, 2, 1), chain_init="dcgan")
    assert fork.get_params() == skip.get_params()
    assert (CCBFork.method, CCBFork.training_step) == ("ccb-fork", SkipGANomaly.training_step)
    assert not isinstance(fork, CCB)
    assert not isinstance(skip, CCB)
    torch.manual_seed(0)
    weights = fork.build(32, 3)["generator"].skips[0][0].conv.weight
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)  # He's would be √(2 / 576) = 0.059


def test_ccbs_discriminator_leaves_the_latent_distance_alone():
    networks = {"generator": Constant(0.5), "discriminator": MeanDiscriminator(LN3, 2.0)}
    losses = step(CCB(learning_rate=1e-3), networks)
    assert losses["discriminator"] == pytest.approx(REAL_TAKEN + FAKE_FOUND)
    assert networks["discriminator"].v.item() == 2.0


def test_ganomalys_losses():
    networks = {"generator": ThreePart(0.5, 3.0, 4.0), "discriminator": MeanDiscriminator(LN3, 2.0)}
    losses = step(GANomaly(learning_rate=1e-3), networks)
    assert losses["similarity"] == pytest.approx(0.5)
    assert losses["adversarial"] == pytest.approx(1.0)  # features 2 and 1
    assert losses["latent"] == pytest.approx(1.0)  # z = 3, ẑ = 2
    assert losses["total"] == pytest.approx(50 * 0.5 + 1.0 + 1.0)
    assert losses["discriminator"] == pytest.approx((REAL_TAKEN + FAKE_FOUND) / 2)
    # Both encoders learn from the latent distance, against each other.
    assert networks["generator"].first.e.item() == pytest.approx(3.0 - 1e-3)
    assert networks["generator"].second.e.item() == pytest.approx(4.0 + 1e-3)


def test_egbads_losses():
    networks = {
        "encoder": MeanEncoder(1.0),
        "generator": Constant(0.5),
        "discriminator": MeanDiscriminator(LN3, 2.0),
    }
    losses = step(EGBAD(learning_rate=1e-9, average_decay=None), networks)
    assert losses["discriminator"] == pytest.approx(REAL_TAKEN + FAKE_FOUND)
    assert losses["generator"] == pytest.approx(FAKE_TAKEN)
    assert losses["encoder"] == pytest.approx(math.log(4))  # −log(1 − 3/4)


def test_anogans_losses():
    networks = {"generator": Constant(0.5), "discriminator": MeanDiscriminator(LN3, 2.0)}
    losses = step(AnoGAN(learning_rate=1e-9), networks)
    assert losses["discriminator"] == pytest.approx(REAL_TAKEN + FAKE_FOUND)
    assert losses["generator"] == pytest.approx(FAKE_TAKEN)


def test_score_terms_by_hand():
    x = torch.ones(2, 1, 32, 32)
    d = MeanDiscriminator(LN3, 2.0)
    skip = SkipGANomaly()
    skip.networks_ = {"generator": Constant(0.5), "discriminator": d}
    assert [t.tolist() for t in skip.terms(x)] == [[0.25, 0.25], [1.0, 1.0]]
    ganomaly = GANomaly()
    ganomaly.networks_ = {"generator": ThreePart(0.5, 3.0, 4.0), "discriminator": d}
    assert [t.tolist() for t in ganomaly.terms(x)] == [[0.25, 0.25], [1.0, 1.0]]
    # Sums of absolute differences: 1024 pixels of ½, and one feature of 1.
    for cls in (EGBAD, AnoGAN):
        detector = cls(**({"average_decay": None} if cls is EGBAD else {"search_steps": 1}))
        detector.networks_ = {
            "encoder": MeanEncoder(1.0),
            "generator": Constant(0.5),
            "discriminator": d,
        }
        assert [t.tolist() for t in detector.terms(x)] == [[512.0, 512.0], [1.0, 1.0]]
        detector.score_distance = "l1"
        assert [t.tolist() for t in detector.terms(x)] == [[0.5, 0.5], [1.0, 1.0]]


def test_ganomaly_scores_by_the_latent_term_alone(digits):
    detector = GANomaly(width=4, latent=8, epochs=1).fit(digits.train[:32], progress=False)
    terms = detector.score_terms(digits.test[:8])
    assert detector.alpha == 0.0
    assert np.array_equal(detector.decision_function(digits.test[:8]), terms.latent)
    assert not np.array_equal(terms.image, terms.latent)


# ── a discriminator whose loss collapsed ──────────────────────────────────────────────────────────


def test_weights_are_drawn_anew_only_where_the_loss_collapsed():
    network = Encoder(3, 32, 16, 1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7.0)
    network.blocks[1][1].running_mean.fill_(5.0)
    reinitialise_where(torch.tensor(False), network)
    assert all((parameter == 7.0).all() for parameter in network.parameters())
    reinitialise_where(torch.tensor(True), network)
    weight, norm = network.blocks[2][0].weight, network.blocks[1][1]
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert norm.weight.mean().item() == pytest.approx(1.0, abs=0.02)
    assert (norm.bias == 0).all()
    assert (norm.running_mean == 5.0).all()


@pytest.mark.parametrize("cls", [SkipGANomaly, GANomaly])
def test_a_collapsed_discriminator_starts_again(cls, digits):
    def discriminator_after(renew_below):
        detector = cls(width=4, latent=8, renew_below=renew_below, learning_rate=1e-9)
        detector.networks_ = detector.build(32, 1)
        for parameter in detector.networks_["discriminator"].parameters():
            nn.init.constant_(parameter, 0.5)
        detector.optimizers_ = detector.build_optimizers()
        detector.training_step(to_unit(digits.train[:8]))
        return detector.networks_["discriminator"].blocks[1][0].weight

    assert discriminator_after(math.inf).std().item() == pytest.approx(0.02, rel=0.2)
    assert torch.allclose(discriminator_after(0.0), torch.tensor(0.5))


# ── EGBAD's averages ──────────────────────────────────────────────────────────────────────────────


def test_the_moving_average_by_hand():
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, decay=0.25)
    network.weight.data.fill_(11.0)
    network.running_mean.fill_(3.0)
    average.update(network)
    assert average.network.weight.item() == pytest.approx(0.25 * 1 + 0.75 * 11)
    average.update(network)
    assert average.network.weight.item() == pytest.approx(0.25 * 8.5 + 0.75 * 11)
    assert average.network.running_mean.item() == 3.0
    assert not average.network.weight.requires_grad


def test_egbads_batch_norms_are_tensorflows():
    networks = EGBAD(width=4, latent=8).build(32, 1)
    norms = [m for net in networks.values() for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}
    assert len(norms) == 2 * (3 + 3 + 2)  # E, G and D, and their averages
    with pytest.raises(ValueError, match="batch_norm_momentum=0 given; a share above 0"):
        EGBAD(batch_norm_momentum=0)


def test_an_uncounted_pass_uses_the_batch_and_leaves_running_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    x = 5 + torch.randn(8, 1, 4, 4)
    before = [buffer.clone() for buffer in network.buffers()]
    with uncounted(network):
        inside = network(x)
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))
    assert inside.mean((0, 2, 3)).abs().max().item() < 1e-5  # not the 5 of the running mean, 0
    assert torch.equal(network(x), inside)
    assert not torch.equal(before[0], network[1].running_mean)


def test_egbad_scores_with_the_averages_where_there_are_any(digits):
    images = digits.test[:6]
    settings = {"width": 4, "latent": 8, "epochs": 1, "learning_rate": 1e-2}
    averaged = EGBAD(**settings).fit(digits.train[:64], progress=False)
    last = EGBAD(**settings, average_decay=None).fit(digits.train[:64], progress=False)
    assert torch.equal(
        last.networks_["encoder"].head.weight, averaged.networks_["encoder"].head.weight
    )
    assert not np.allclose(
        last.decision_function(images), averaged.decision_function(images), rtol=1e-5
    )


# ── AnoGAN's search ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def anogan(digits):
    settings = {"width": 4, "latent": 8, "epochs": 6, "batch_size": 16, "learning_rate": 2e-3}
    detector = AnoGAN(**settings, search_steps=60, search_learning_rate=0.05)
    return detector.fit(digits.train[:128], progress=False)


def test_an_images_search_never_depends_on_its_neighbours_or_place(anogan, digits):
    images = digits.test[:12]
    alone = torch.cat([anogan.search(to_unit(image[None])) for image in images])
    together = anogan.search(to_unit(images))
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    order = torch.arange(11, -1, -1)
    torch.testing.assert_close(
        anogan.search(to_unit(images[order])), alone[order], rtol=1e-3, atol=1e-4
    )
    strangers = torch.cat([images[:1], 255 - images[1:]])
    torch.testing.assert_close(
        anogan.search(to_unit(strangers))[:1], alone[:1], rtol=1e-3, atol=1e-4
    )
    assert (alone[0] - alone[1]).abs().max() > 0.05  # and yet different images find different z


def test_the_search_comes_nearer_and_starts_the_same_for_all(anogan, digits):
    x = to_unit(digits.test[:12])
    with torch.no_grad():
        start = anogan._draw(
            1, torch.device("cpu"), torch.Generator().manual_seed(anogan.seed)
        ).expand(12, -1, -1, -1)
        features = anogan.networks_["discriminator"](x)[1]
        image, latent = anogan._distances(x, features, start)
        found_image, found_latent = anogan.terms(x)
    before, after = 0.9 * image + 0.1 * latent, 0.9 * found_image + 0.1 * found_latent
    assert (after < before).all()
    assert after.mean() < 0.97 * before.mean()


def test_the_search_leaves_networks_and_their_gradients_alone(anogan, digits):
    state = {name: value.clone() for name, value in anogan._state().items()}
    anogan.decision_function(digits.test[20:24])
    assert all(torch.equal(state[name], value) for name, value in anogan._state().items())
    assert all(p.requires_grad for net in anogan.networks_.values() for p in net.parameters())


def test_one_search_serves_score_map_and_reconstruction(anogan, digits, monkeypatch):
    searches = []
    search = AnoGAN._search
    monkeypatch.setattr(
        AnoGAN, "_search", lambda self, x: searches.append(len(x)) or search(self, x)
    )
    images = digits.test[30:38]
    scores = anogan.decision_function(images)
    anogan.reconstruct(images)
    anogan.anomaly_map(images)
    assert searches == [8]
    # Another α weighs the same terms anew; whatever changes the search itself makes a new one.
    monkeypatch.setattr(anogan, "alpha", 0.5)
    assert not np.allclose(anogan.decision_function(images), scores)
    assert searches == [8]
    monkeypatch.setattr(anogan, "alpha", 0.9)
    mean = anogan.networks_["generator"].blocks[0][1].running_mean
    mean += 1.0
    assert not np.allclose(anogan.decision_function(images), scores)
    mean -= 1.0
    monkeypatch.setattr(anogan, "search_steps", 3)
    anogan.decision_function(images)
    anogan.score_terms(images, batch_norm="batch")
    assert searches == [8, 8, 8, 8]


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_searches_on_disk_spare_all_batches_but_the_one_that_was_stopped(
    anogan, digits, tmp_path, monkeypatch, batch_norm
):
    monkeypatch.setattr(network_scorer, "_SCORING_BATCH", 4)
    monkeypatch.setattr(anogan, "search_steps", 3)
    monkeypatch.setattr(anogan, "scoring_folder", tmp_path)
    images, sizes, search = digits.test[60:72], [], AnoGAN._search

    def stopped(self, x):
        if len(sizes) == 2:
            raise KeyboardInterrupt
        sizes.append(len(x))
        return search(self, x)

    def score():
        anogan._found.clear()  # another process knows only what is on disk
        return anogan.score_terms(images, batch_norm=batch_norm)

    monkeypatch.setattr(AnoGAN, "_search", stopped)
    with pytest.raises(KeyboardInterrupt):
        score()
    monkeypatch.setattr(AnoGAN, "_search", lambda self, x: sizes.append(len(x)) or search(self, x))
    resumed = score()
    assert sizes == [4, 4, 4]
    again = score()
    assert sizes == [4, 4, 4]
    monkeypatch.setattr(anogan, "scoring_folder", None)
    fresh = score()
    assert all(np.array_equal(a, b) for a, b in zip(resumed, fresh, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(resumed, again, strict=True))


def test_searches_on_disk_of_other_weights_images_or_settings_are_never_taken(
    anogan, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(anogan, "search_steps", 2)
    monkeypatch.setattr(anogan, "scoring_folder", tmp_path)
    x = to_unit(digits.test[80:83])
    weight = anogan.networks_["generator"].blocks[0][0].weight

    def files_after(images=x, **changes):
        with monkeypatch.context() as patch:
            for name, value in changes.items():
                patch.setattr(anogan, name, value)
            anogan.search(images)
        return {file.stem for file in tmp_path.iterdir()}

    first = files_after()
    assert len(first) == 1
    assert files_after() == first
    assert len(files_after(prior="normal")) == 2
    assert len(files_after(search_alpha=0.5)) == 3
    assert len(files_after(seed=1)) == 4
    old = weight.detach().clone()
    with torch.no_grad():
        weight += 1e-3
        assert len(files_after()) == 5
        weight.copy_(old)
    assert len(files_after(x[:2])) == 6
    (own,) = first
    (tmp_path / f"{own}.safetensors").write_bytes(
        next(f for f in tmp_path.iterdir() if f.stem != own).read_bytes()
    )
    anogan._found.clear()
    with pytest.raises(ValueError, match="not the search result of its name"):
        anogan.search(x)


def test_the_search_shows_a_bar_only_when_asked(anogan, digits, capsys, monkeypatch):
    monkeypatch.setattr("ccb_lib.detectors.anogan._BAR_AFTER", 0.0)
    monkeypatch.setattr(anogan, "show_progress", False)
    anogan.decision_function(digits.test[40:42])
    assert "AnoGAN search" not in capsys.readouterr().err
    monkeypatch.setattr(anogan, "show_progress", True)
    anogan.decision_function(digits.test[42:44])
    assert "AnoGAN search" in capsys.readouterr().err


def test_a_run_may_be_resumed_under_another_search(digits, tmp_path):
    settings, file = (
        {"width": 4, "latent": 8, "batch_size": 16},
        tmp_path / "checkpoint.safetensors",
    )
    AnoGAN(**settings, epochs=1, search_steps=3).fit(digits.train[:32], resume=file, progress=False)
    other = AnoGAN(**settings, epochs=2, search_steps=4, search_alpha=0.5, score_distance="l2")
    assert len(other.fit(digits.train[:32], resume=file, progress=False).history_) == 2
    with pytest.raises(ValueError, match="prior"):
        AnoGAN(**settings, epochs=3, prior="normal").fit(
            digits.train[:32], resume=file, progress=False
        )


def test_many_images_are_searched_in_even_batches(anogan, digits, monkeypatch):
    monkeypatch.setattr(network_scorer, "_SCORING_BATCH", 5)
    monkeypatch.setattr(anogan, "search_steps", 2)
    sizes = []
    search = AnoGAN._search
    monkeypatch.setattr(AnoGAN, "_search", lambda self, x: sizes.append(len(x)) or search(self, x))
    assert len(anogan.decision_function(digits.test[50:61])) == 11
    assert sizes == [4, 4, 4]


@pytest.mark.parametrize(("prior", "low", "high"), [("uniform", 0.5, 1.0), ("normal", 2.0, 6.0)])
def test_z_is_drawn_from_the_prior(prior, low, high):
    torch.manual_seed(0)
    z = AnoGAN(prior=prior)._draw(50, torch.device("cpu"))
    assert z.shape == (50, 100, 1, 1)
    assert low < z.abs().max().item() <= high
    assert z.mean().item() == pytest.approx(0, abs=0.05)
