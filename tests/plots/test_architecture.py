import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from ccb_lib import (
    CCB,
    EGBAD,
    AnoGAN,
    GANomaly,
    MeanIntensity,
    NearestNeighbours,
    PixelPCA,
    PNGBytes,
    SkipGANomaly,
)
from ccb_lib.detectors import NotReady
from ccb_lib.models.baselines import JointDiscriminator
from ccb_lib.models.ccb import Generator, count_parameters
from ccb_lib.plots.architecture import draw_method, layers_of, score_formula

SMALL = {"width": 4, "latent": 8, "epochs": 1}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def texts(figure):
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("cls", [CCB, SkipGANomaly, GANomaly, EGBAD, AnoGAN])
def test_the_picture_names_each_network_with_its_real_parameters(cls, noise):
    detector = cls(**SMALL, **({"search_steps": 1} if cls is AnoGAN else {})).fit(
        noise[:8], progress=False
    )
    shown = texts(draw_method(detector))
    networks = detector.networks_
    parts = list(networks["generator"].children()) if cls is GANomaly else [networks["generator"]]
    for network in [*parts, networks["discriminator"]]:
        assert f"{count_parameters(network):,} parameters" in shown
    assert score_formula(detector) in shown
    assert not any(module.training for net in networks.values() for module in net.modules())


def test_a_chain_shows_its_length_and_a_missing_skip_nothing(noise):
    detector = CCB(**SMALL, chain=(7, 5, None, 0)).fit(noise[:4], progress=False)
    figure = draw_method(detector)
    circles = [t.get_text() for t in figure.axes[0].texts if t.get_bbox_patch() is not None]
    assert circles == ["7", "5"]
    assert len(figure.axes[0].lines) == 3


def test_layers_come_in_the_order_in_which_they_run():
    found = layers_of(Generator(1, 4, (1, 1, 1, 1)), torch.zeros(1, 1, 32, 32))
    assert [(layer.channels, layer.height) for layer in found] == [
        (4, 16), (8, 8), (16, 4), (32, 2), (32, 1), (32, 2), (16, 4), (8, 8), (4, 16), (1, 32)
    ]  # fmt: skip
    assert [layer.kind for layer in found] == [nn.Conv2d] * 5 + [nn.ConvTranspose2d] * 5
    joint = layers_of(
        JointDiscriminator(1, 32, 4, 8), torch.zeros(1, 1, 32, 32), torch.zeros(1, 8, 1, 1)
    )
    assert [(layer.channels, layer.height) for layer in joint][3:] == [
        (16, 1),
        (16, 1),
        (32, 1),
        (1, 1),
    ]


@pytest.mark.parametrize(
    ("detector", "formula"),
    [
        (CCB(), "0.9 · mean (x − x̂)² + 0.1 · mean (z − ẑ)²"),
        (SkipGANomaly(alpha=1, image_distance="l1"), "mean |x − x̂|"),
        (GANomaly(), "mean (z − ẑ)²"),
        (EGBAD(), "0.9 · Σ |x − x̂| + 0.1 · Σ |f − f̂|"),
        (AnoGAN(alpha=0.25, score_distance="l1"), "0.25 · mean |x − x̂| + 0.75 · mean |f − f̂|"),
        (PixelPCA(), "mean (x − its projection)²"),
        (MeanIntensity(), "mean x"),
        (PNGBytes(), "bytes of x as a PNG file"),
        (NearestNeighbours(), "mean ‖x − a near training image‖"),
    ],
)
def test_the_formula_is_that_of_the_settings(detector, formula):
    assert score_formula(detector) == formula


def test_what_cannot_be_drawn_is_refused(noise):
    with pytest.raises(NotReady, match="fit"):
        draw_method(CCB())
    with pytest.raises(ValueError, match="no networks to draw"):
        draw_method(MeanIntensity().fit(noise))
