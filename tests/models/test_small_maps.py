"""Convolutions that leave out products with padding, against `torch.nn`'s own."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from ccb_lib.models import small_maps
from ccb_lib.models.baselines import Decoder, Encoder
from ccb_lib.models.ccb import Discriminator, Generator
from ccb_lib.models.small_maps import Conv2d, ConvTranspose2d, left_out_on, live_taps

LAST = torch.channels_last
KINDS = {"conv": (Conv2d, nn.Conv2d), "transposed": (ConvTranspose2d, nn.ConvTranspose2d)}
# Of G and D at 32 and 64 px, in this order:
CASE = ("kind", "inputs", "outputs", "kernel", "stride", "padding", "size", "live")
SMALL = [
    ("conv", 128, 128, 4, 2, 1, 2, 4),
    ("conv", 96, 128, 4, 2, 1, 4, 16),
    ("conv", 128, 128, 3, 1, 1, 1, 1),
    ("conv", 128, 128, 3, 1, 1, 2, 9),
    ("conv", 128, 100, 4, 1, 0, 4, 16),
    ("transposed", 128, 128, 4, 2, 1, 1, 4),
    ("transposed", 256, 64, 4, 2, 1, 2, 16),
    ("transposed", 100, 128, 4, 1, 0, 1, 16),
]


@contextmanager
def whatever_it_costs():
    """Leave out products with padding wherever that is possible, faster or not; count the calls."""
    with (
        mock.patch.multiple(small_maps, _LEAST=0, _MOST=1.0),
        mock.patch.object(small_maps, "_sum_over_taps", wraps=small_maps._sum_over_taps) as calls,
    ):
        yield calls


def alike(ours, theirs):
    """Largest difference, relative to the largest value."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


def results(layer, x, **weights):
    """Output, and the gradients of a weighted sum of it by input and parameters."""
    x = x.detach().clone().requires_grad_()
    layer.zero_grad()
    y = functional_call(layer, weights, (x,)) if weights else layer(x)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    return y.detach(), x.grad, *(parameter.grad for parameter in layer.parameters())


def pair(kind, *args, **options):
    """Both layers with the same weights, in float64, weights in channels-last order."""
    ours, theirs = (
        cls(*args, **options).to(torch.float64, memory_format=LAST) for cls in KINDS[kind]
    )
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


# ── the same function, the same gradients ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(CASE, SMALL)
def test_each_small_map_of_the_networks(
    kind, inputs, outputs, kernel, stride, padding, size, live, bias
):
    torch.manual_seed(0)
    ours, theirs = pair(kind, inputs, outputs, kernel, stride, padding, bias=bias)
    x = torch.randn(3, inputs, size, size, dtype=torch.float64).to(memory_format=LAST)
    with mock.patch.object(small_maps, "_sum_over_taps", wraps=small_maps._sum_over_taps) as calls:
        found = results(ours, x)
    assert calls.call_count == 1  # by default, since it is faster
    for value, wanted in zip(found, results(theirs, x), strict=True):
        assert alike(value, wanted) <= 1e-12
        assert value.stride() == wanted.stride() or 1 in value.shape[2:]
    met = ours.weight.grad.abs().amax((0, 1)) > 0
    assert met.sum() == live


@pytest.mark.parametrize(("size", "channels"), [(8, 128), (16, 128), (2, 96)])
def test_larger_maps_and_narrow_layers_are_left_to_torch(size, channels):
    layer = Conv2d(channels, channels, 3, padding=1).to(memory_format=LAST)
    with mock.patch.object(small_maps, "_sum_over_taps") as calls:
        layer(torch.zeros(1, channels, size, size))
    assert not calls.called


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    batch=st.integers(1, 3),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_small_map(kind, size, kernel, stride, padding, dilation, batch, bias, seed):
    torch.manual_seed(seed)
    ours, theirs = pair(kind, 2, 3, kernel, stride, padding, bias=bias, dilation=dilation)
    x = torch.randn(batch, 2, *size, dtype=torch.float64)
    try:
        expected = results(theirs, x)
    except RuntimeError:  # the kernel is larger than the padded map
        with whatever_it_costs(), pytest.raises(RuntimeError):
            ours(x)
        return
    with whatever_it_costs():
        found = results(ours, x)
    for value, wanted in zip(found, expected, strict=True):
        assert value.shape == wanted.shape
        assert (value - wanted).abs().max() <= 1e-12 * max(1.0, wanted.abs().max())
    large, small = (found[0], x) if kind == "transposed" else (x, found[0])
    live = torch.zeros(kernel, dtype=torch.bool)
    for tap in live_taps(ours, large.shape[2:], small.shape[2:]):
        live[tap.row, tap.column] = True
    assert (ours.weight.grad[:, :, ~live] == 0).all()  # exactly, and not None
    brute = torch.zeros(kernel, dtype=torch.bool)
    for k, m, i, j in np.ndindex(*kernel, *small.shape[2:]):
        row = i * stride[0] - padding[0] + k * dilation[0]
        column = j * stride[1] - padding[1] + m * dilation[1]
        brute[k, m] |= 0 <= row < large.shape[2] and 0 <= column < large.shape[3]
    assert torch.equal(live, brute)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_gradients_and_their_gradients_are_those_of_finite_differences(kind):
    torch.manual_seed(0)
    layer = KINDS[kind][0](2, 3, 4, 2, 1).to(torch.float64, memory_format=LAST)
    x = torch.randn(2, 2, 2, 2, dtype=torch.float64, requires_grad=True)

    def function(x, weight):
        return functional_call(layer, {"weight": weight}, (x,))

    weight = layer.weight.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with whatever_it_costs() as calls:
        assert torch.autograd.gradcheck(function, (x, weight))
        assert torch.autograd.gradgradcheck(function, (x, weight))
    assert calls.called


NETWORKS = {
    "G": lambda size: Generator(3, 4, (2, 1, 1, 2), dropout=0.0),
    "G, plain skips": lambda size: Generator(3, 4, (0, 0, 0, 0), dropout=0.0),
    "D": lambda size: Discriminator(3, size, 4, 10),
    "encoder": lambda size: Encoder(3, size, 4, 10),
    "decoder": lambda size: Decoder(3, size, 4, 10),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_and_their_gradients(name, size, training):
    torch.manual_seed(0)
    network = NETWORKS[name](size).to(torch.float64, memory_format=LAST).train(training)
    network.apply(lambda m: setattr(m, "momentum", 0.0) if isinstance(m, nn.BatchNorm2d) else None)
    shape = (4, 10, 1, 1) if name == "decoder" else (4, 3, size, size)
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=LAST)
    ends = []
    for devices in ((), ("cpu",)):
        network.zero_grad()
        with left_out_on(*devices), whatever_it_costs() as calls:
            outputs = network(x)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            sum((y * torch.arange(y.numel()).view(y.shape).cos()).sum() for y in outputs).backward()
        assert calls.called == bool(devices)
        ends.append([*outputs, *(p.grad for p in network.parameters())])
    for number, (wanted, value) in enumerate(zip(*ends, strict=True)):
        # A gradient that batch norm cancels is rounding alone.
        scale = max(wanted.abs().max(), ends[0][0].abs().max())
        assert (value - wanted).abs().max() <= 1e-12 * scale, number
    if name.startswith("G"):
        live = network.encoder[4][0].weight.grad.abs().amax((0, 1)) > 0
        assert live.sum() == (4 if size == 32 else 16)


# ── number formats, devices, compilers ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(CASE, SMALL)
def test_autocast_gives_bfloat16_and_gradients_in_float32(
    kind, inputs, outputs, kernel, stride, padding, size, live
):  # fmt: skip
    torch.manual_seed(0)
    ours, theirs = (layer.float() for layer in pair(kind, inputs, outputs, kernel, stride, padding))
    x = torch.randn(8, inputs, size, size).to(memory_format=LAST)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16
    ends = []
    for layer in (ours, theirs):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(given)
        y.float().square().sum().backward()
        ends.append((y.float(), given.grad, layer.weight.grad, layer.bias.grad))
    for value, wanted in zip(*ends, strict=True):
        assert value.dtype == torch.float32
        assert alike(value, wanted) <= 0.03  # bfloat16 has 8 bits


def test_autocast_leaves_float64_alone():
    ours, theirs = pair("conv", 128, 128, 4, 2, 1)
    x = torch.randn(2, 128, 2, 2, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert alike(ours(x), theirs(x)) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_nothing_asks_for_a_value(device, dtype):
    """A GPU would have to be waited for. Fake tensors have no values, and on CUDA no backward."""
    with FakeTensorMode(), left_out_on(device), whatever_it_costs() as calls, torch.device(device):
        layers = [Conv2d(4, 8, 4, 2, 1), Conv2d(8, 8, 3, padding=1), ConvTranspose2d(8, 8, 4, 2, 1)]
        layers += [nn.BatchNorm2d(8), ConvTranspose2d(8, 4, 4, 2, 1)]
        for layer in layers:
            for name, weight in [*layer.named_parameters()]:
                order = LAST if weight.ndim == 4 else torch.contiguous_format
                setattr(layer, name, nn.Parameter(weight.detach().to(dtype, memory_format=order)))
        y = nn.Sequential(*layers)(torch.empty(2, 4, 2, 2, dtype=dtype).to(memory_format=LAST))
        assert (y.device.type, y.dtype, y.shape) == (device, dtype, (2, 4, 4, 4))
        assert calls.call_count == 4
        if device == "cpu":
            y.sum().backward()
            for layer in layers:
                assert layer.weight.grad.dtype == dtype
                # A fused Adam on a CPU relies on this.
                assert layer.weight.grad.stride() == layer.weight.stride()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_layer_compiles_in_one_piece(kind):
    torch.manual_seed(0)
    size = 1 if kind == "transposed" else 2
    ours, theirs = pair(kind, 128, 128, 4, 2, 1)
    x = torch.randn(2, 128, size, size, dtype=torch.float64)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    for value, wanted in zip(results(compiled, x), results(theirs, x), strict=True):
        assert alike(value, wanted) <= 1e-12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="recording a CUDA graph needs a GPU")
def test_a_layer_can_be_recorded_as_a_cuda_graph():
    layer = Conv2d(128, 128, 4, 2, 1).to("cuda", memory_format=LAST)
    x = torch.randn(2, 128, 2, 2, device="cuda")
    with left_out_on("cuda"), torch.no_grad():
        wanted = layer(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        y.zero_()
        graph.replay()
    torch.testing.assert_close(y, wanted)


def test_left_out_nowhere_or_with_other_weights_layers_are_torchs():
    ours, theirs = pair("conv", 128, 128, 4, 2, 1)
    x = torch.randn(2, 128, 2, 2, dtype=torch.float64)
    with left_out_on():
        assert torch.equal(ours(x), theirs(x))
    plain = ours.to(memory_format=torch.contiguous_format)
    with mock.patch.object(small_maps, "_sum_over_taps") as calls:
        plain(x)
    assert not calls.called


@pytest.mark.parametrize(
    "options",
    [{"padding": "same"}, {"groups": 2, "padding": 1}, {"padding_mode": "reflect", "padding": 1}],
)
def test_what_taps_do_not_cover_is_left_to_torch(options):
    ours, theirs = (cls(4, 4, 3, **options).to(memory_format=LAST) for cls in KINDS["conv"])
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 2, 2)
    with whatever_it_costs() as calls:
        assert torch.equal(ours(x), theirs(x))
        assert not calls.called


def test_an_output_size_and_one_image_are_left_to_torch():
    ours, theirs = pair("transposed", 4, 4, 4, 2, 1)
    x = torch.randn(2, 4, 2, 2, dtype=torch.float64)
    with whatever_it_costs() as calls:
        assert torch.equal(ours(x, [5, 5]), theirs(x, [5, 5]))
        assert torch.equal(ours(x[0]), theirs(x[0]))
        with pytest.raises(RuntimeError, match="expected input"):
            ours(x[:, :3])
        assert not calls.called
