"""Weights of layers for small maps: how they start, and which never meet data."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from ccb_lib import load_detector
from ccb_lib.models import ccb, small_maps
from ccb_lib.models.ccb import Discriminator, Generator
from ccb_lib.models.small_maps import Conv2d, ConvTranspose2d, dead_weights, left_out_on

MODELS = Path(__file__).parents[2] / "data" / "models"
KINDS = {"conv": (Conv2d, nn.Conv2d), "transposed": (ConvTranspose2d, nn.ConvTranspose2d)}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_layers_start_as_torch_starts_its_own(kind):
    states = []
    for cls in KINDS[kind]:
        torch.manual_seed(3)
        states.append(cls(4, 6, 4, 2, 1).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("make", [Generator, Discriminator])
def test_networks_start_as_with_torchs_layers(make, monkeypatch):
    torch.manual_seed(3)
    ours = make(width=4).state_dict()
    monkeypatch.setattr(ccb, "Conv2d", nn.Conv2d)
    monkeypatch.setattr(ccb, "ConvTranspose2d", nn.ConvTranspose2d)
    torch.manual_seed(3)
    theirs = make(width=4).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", ["digits-8-ccb", "ham10000-vasc-ccb"])
def test_stored_detectors_score_the_same(name):
    detector = load_detector(MODELS / f"{name}.safetensors", device="cpu")
    shape = (8, detector.channels_, detector.image_size_, detector.image_size_)
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    with left_out_on():
        expected = detector.score_terms(images)
    with mock.patch.multiple(small_maps, _LEAST=0, _MOST=1.0):
        found = detector.score_terms(images)
    assert not np.array_equal(found.image, expected.image)  # other products, so another rounding
    for terms in ("image", "latent"):
        np.testing.assert_allclose(getattr(found, terms), getattr(expected, terms), rtol=1e-4)
    # By default a detector as narrow as these is left to torch.
    assert np.array_equal(detector.score_terms(images).image, expected.image)


# ── weights that never meet data ──────────────────────────────────────────────────────────────────


def test_dead_weights_of_the_networks_at_32_px():
    dead = {"encoder.4.0.weight": 12 * 512 * 512, "decoder.0.1.weight": 12 * 512 * 512}
    for chain in ((4, 3, 2, 1), (0, 0, 0, 0)):
        found = dead_weights(Generator(chain=chain), (3, 32, 32))
        assert found == dead
        assert sum(found.values()) == 6_291_456
    assert dead_weights(Discriminator(), (3, 32, 32)) == {"logit.weight": 800}


def test_dead_weights_at_64_px():
    assert dead_weights(Generator(width=8), (3, 64, 64)) == {}
    assert dead_weights(Discriminator(image_size=64, width=8), (3, 64, 64)) == {"logit.weight": 800}


def test_a_layer_used_on_two_sizes_is_dead_only_where_both_miss():
    conv = nn.Conv2d(1, 1, 3, padding=1)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return self.conv(x[..., :1, :1]), self.conv(x[..., :1, :])

    assert dead_weights(Twice(), (1, 4, 4)) == {"conv.weight": 6}


def test_dead_weights_leave_the_network_as_it_was():
    network = Generator(width=4).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    dead_weights(network, (3, 32, 32))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.encoder[0][0]._forward_hooks
