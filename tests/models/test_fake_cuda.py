"""Networks, losses and scores on a GPU that is not there: PyTorch's fake tensors catch mixed
devices."""

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import unset_fake_temporarily

from ccb_lib import losses
from ccb_lib.detectors import METHODS
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.io.images import to_uint8, to_unit
from ccb_lib.metrics import anomaly_scores as scores
from ccb_lib.models.diagnostics import rms
from ccb_lib.models.modes import scoring_mode

CUDA = torch.device("cuda:0")
DEEP = [name for name, cls in METHODS.items() if issubclass(cls, AdversarialDetector)]
OPTIONS = {
    "ccb": {"log_skips": True},
    "ccb-fork": {"chain_residual": True, "chain_residual_start": "zero"},
}


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Forward passes, losses and optimisers run; a backward pass needs a real card, so it gives
    zeros."""

    def backward(loss, inputs=(), **_):
        for tensor in inputs:
            tensor.grad = torch.zeros_like(tensor)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    with FakeTensorMode():
        yield


def placed(method, image_size=32, channels=1):
    """A detector whose networks and optimisers are on the fake GPU."""
    detector = METHODS[method](
        width=4, latent=8, device="cpu", fast=False, **OPTIONS.get(method, {})
    )
    detector.device_ = CUDA
    detector.networks_ = built(detector, CUDA, image_size, channels)
    detector.optimizers_ = detector.build_optimizers()
    if (
        method == "anogan"
    ):  # its kept searches are found by the images' values, which fake tensors lack
        detector.search, detector.search_steps = detector._search, 2
    return detector


def built(detector, device, image_size=32, channels=1):
    """The detector's networks with fake parameters and buffers."""
    with unset_fake_temporarily():  # a fake network cannot be copied, as moving averages do
        networks = detector.build(image_size, channels)
    for module in (module for network in networks.values() for module in network.modules()):
        for name, parameter in module.named_parameters(recurse=False):
            fake = torch.empty(parameter.shape, device=device)
            module._parameters[name] = torch.nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
    return networks


def batch(image_size=32, channels=1):
    return to_unit(torch.zeros(6, channels, image_size, image_size, dtype=torch.uint8, device=CUDA))


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("method", DEEP)
def test_a_training_step_stays_on_the_device(method, image_size):
    detector = placed(method, image_size, channels=3)
    seen = detector.training_step(batch(image_size, channels=3))
    assert {loss.device for loss in seen.values()} == {CUDA}
    tensors = [
        t for net in detector.networks_.values() for t in (*net.parameters(), *net.buffers())
    ]
    assert {tensor.device for tensor in tensors} == {CUDA}


@pytest.mark.parametrize("method", DEEP)
def test_scoring_stays_on_the_device(method):
    detector, x = placed(method), batch()
    with scoring_mode(detector.networks_, "running", dropout=False), torch.no_grad():
        image, latent = detector.terms(x)
        x_hat = detector.rebuild(x)
    assert image.device == latent.device == x_hat.device == CUDA
    assert image.shape == latent.shape == (6,)
    assert to_uint8(x_hat).device == scores.error_map(x, x_hat).device == CUDA


@pytest.mark.parametrize("method", [name for name in METHODS if name not in {*DEEP, "png-bytes"}])
def test_simple_baselines_stay_on_the_device(method):
    detector = METHODS[method](device="cpu")
    x = torch.zeros(6, 1, 32, 32, dtype=torch.uint8, device=CUDA)
    detector.learnt_ = {
        "images": x,
        "mean": torch.zeros(1024, device=CUDA),
        "components": torch.zeros(4, 1024, device=CUDA),
    }
    assert detector.scores(x).device == detector.rebuild(x).device == CUDA


@pytest.mark.parametrize("kind", ["l2", "l1", "norm"])
def test_losses_stay_on_the_device(kind):
    x, logits = batch(), torch.zeros(6, device=CUDA)
    similarity = losses.similarity_loss(x, x + 1, kind)
    adversarial, latent = losses.adversarial_loss(logits), losses.latent_loss(x, x + 1)
    total = losses.total_loss(similarity, adversarial, latent)
    assert total.device == losses.discriminator_loss(logits, logits).device == rms(x).device == CUDA


@pytest.mark.parametrize("kind", ["l2", "l1", "l1-norm"])
def test_distances_stay_on_the_device(kind):
    assert scores.distance(batch(), batch(), kind).device == CUDA


@pytest.mark.parametrize("method", DEEP)
def test_a_network_left_on_the_cpu_is_caught(method):
    detector = placed(method)
    name = "averaged_generator" if method == "egbad" else "generator"
    detector.networks_[name] = built(detector, torch.device("cpu"))[name]
    with pytest.raises(RuntimeError, match=r"device.*cpu|cpu.*device|cpu.*cuda|cuda.*cpu"):
        detector.rebuild(batch())
