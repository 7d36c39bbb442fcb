"""Convolutions that leave out the products with padding where a map is so small that most are.

A 4×4 kernel of stride 2 that makes one pixel of a 2×2 map meets 4 values and 12 zeros of padding.
Here each tap, a row and a column of the kernel with its matrix of weights, is one matrix product
with the values that it meets. The result and all gradients are those of `torch.nn` up to rounding;
taps that meet no value get a gradient of exact zeros.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Where separate products are faster, measured on a CPU with batches of 64, widths from 8 to 64.
_MOST = 0.6  # share of a kernel's products that meet data, at most
_LEAST = 10_000  # weights of a tap, at least; below, the calls cost more than the products

# Types of device on which products with padding are left out. CUDA has not been timed yet.
_devices: frozenset[str] = frozenset({"cpu"})


class Tap(NamedTuple):
    """A row and a column of a kernel, and the positions (rows, columns) that it joins.

    ``large`` are positions of the map that the kernel moves over, a convolution's input or a
    transposed convolution's output; ``small`` are those of the other map.
    """

    row: int
    column: int
    large: tuple[slice, slice]
    small: tuple[slice, slice]


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that leaves out products with padding where that is faster.

    Weights in channels-last order are needed for that; with others it is `torch.nn.Conv2d`.

    Example:
        >>> conv = Conv2d(128, 128, 4, stride=2, padding=1)
        >>> conv = conv.to(memory_format=torch.channels_last)
        >>> conv(torch.zeros(8, 128, 2, 2)).shape
        torch.Size([8, 128, 1, 1])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        if not _able(self, input):
            return super().forward(input)
        made = [
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in _along_axes(self, input.shape[2:])
        ]
        taps = live_taps(self, input.shape[2:], made)
        if not _pays(self, taps, made):
            return super().forward(input)
        return _sum_over_taps(self, input, taps, made)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` that leaves out products that its padding cuts off.

    It does so where that is faster. Weights in channels-last order are needed for that; with others
    it is `torch.nn.ConvTranspose2d`.

    Example:
        >>> conv = ConvTranspose2d(128, 128, 4, stride=2, padding=1)
        >>> conv = conv.to(memory_format=torch.channels_last)
        >>> conv(torch.zeros(8, 128, 1, 1)).shape
        torch.Size([8, 128, 2, 2])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        if output_size is not None or not _able(self, input):
            return super().forward(input, output_size)
        axes = zip(_along_axes(self, input.shape[2:]), self.output_padding, strict=True)
        made = [
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
            for (size, kernel, stride, padding, dilation), more in axes
        ]
        taps = live_taps(self, made, input.shape[2:])
        if not _pays(self, taps, input.shape[2:]):
            return super().forward(input)
        return _sum_over_taps(self, input, taps, made)


@contextmanager
def left_out_on(*devices: str) -> Iterator[None]:
    """Leave out products with padding on these types of device alone.

    For tests and measurements: without an argument, all layers compute as those of `torch.nn`.
    By default products with padding are left out on ``"cpu"``.

    Example:
        >>> with left_out_on():
        ...     y = Conv2d(1, 1, 3, padding=1)(torch.zeros(1, 1, 1, 1))
    """
    global _devices
    before, _devices = _devices, frozenset(devices)
    try:
        yield
    finally:
        _devices = before


def live_taps(
    layer: nn.Conv2d | nn.ConvTranspose2d, large: Sequence[int], small: Sequence[int]
) -> list[Tap]:  # fmt: skip
    """List the taps of a layer's kernel that meet data.

    Along each axis, position j of the small map and tap k meet position
    ``stride · j − padding + dilation · k`` of the large map (Dumoulin and Visin, 2016,
    arXiv:1603.07285).

    Args:
        layer: Whose kernel size, stride, padding and dilation count.
        large: Height and width of a convolution's input, or of a transposed convolution's output.
        small: Those of the other map.

    Returns:
        At most kernel height × width taps, row by row.

    Example:
        >>> [(tap.row, tap.column) for tap in live_taps(nn.Conv2d(1, 1, 4, 2, 1), (2, 2), (1, 1))]
        [(1, 1), (1, 2), (2, 1), (2, 2)]
    """
    axes = zip(_along_axes(layer, large), small, strict=True)
    rows, columns = ([*_along(*axis, size)] for axis, size in axes)
    return [Tap(k, m, (i, j), (u, v)) for k, i, u in rows for m, j, v in columns]


def _along(
    large: int, kernel: int, stride: int, padding: int, dilation: int, small: int
) -> Iterator[tuple[int, slice, slice]]:  # fmt: skip
    """Yield each index of a kernel that meets data on one axis, and the positions of both maps."""
    for k in range(kernel):
        offset = dilation * k - padding
        first = max(0, -(offset // stride))
        last = min(small - 1, (large - 1 - offset) // stride)
        if first <= last:
            met = slice(stride * first + offset, stride * last + offset + 1, stride)
            yield k, met, slice(first, last + 1)


def _along_axes(layer: Any, sizes: Sequence[int]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield size, kernel size, stride, padding and dilation along the rows, then the columns."""
    return zip(
        sizes, layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True
    )  # fmt: skip


def _able(layer: Any, x: Tensor) -> bool:
    """Whether a layer's work can be done tap by tap without copying its weights."""
    return (
        x.device.type in _devices
        and x.ndim == 4
        and x.shape[1] == layer.in_channels
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.in_channels * layer.out_channels >= _LEAST
        and layer.weight.is_contiguous(memory_format=torch.channels_last)
    )


def _pays(layer: Any, taps: Sequence[Tap], small: Sequence[int]) -> bool:
    """Whether few of the kernel's products meet data, or the small map is a single pixel.

    For a single pixel, a convolution without padding is a matrix product as well.
    """
    height, width = small
    if height == width == 1:
        return bool(taps)
    live = sum((i.stop - i.start) * (j.stop - j.start) for i, j in (tap.small for tap in taps))
    rows, columns = layer.kernel_size
    return 0 < live <= _MOST * height * width * rows * columns


def _sum_over_taps(layer: Any, x: Tensor, taps: Sequence[Tap], made: Sequence[int]) -> Tensor:
    """Compute a layer's output, of height and width ``made``."""
    tensors = [x, layer.weight, *([] if layer.bias is None else [layer.bias])]
    if torch.is_autocast_enabled(x.device.type):  # as autocast does with a convolution
        half = torch.get_autocast_dtype(x.device.type)
        tensors = [t if t.dtype == torch.float64 else t.to(half) for t in tensors]
    y = _SumOverTaps.apply(tensors[0], tensors[1], taps, made, layer.transposed)
    return y if layer.bias is None else y + tensors[2][:, None, None]


class _SumOverTaps(torch.autograd.Function):
    """Both kinds of convolution: each is the other's gradient with respect to its input."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, taps: Sequence[Tap], made: Sequence[int], transposed: bool
    ) -> Tensor:  # fmt: skip
        return _products(x, weight, taps, made, transposed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.taps, _, ctx.transposed = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _products(gradient, weight, ctx.taps, x.shape[2:], not ctx.transposed)
        if ctx.needs_input_grad[1]:
            small, large = (_last(t) for t in ((x, gradient) if ctx.transposed else (gradient, x)))
            of_weight = torch.zeros_like(weight)
            for tap in ctx.taps:
                left, right = _rows(small, tap.small), _rows(large, tap.large)
                of_weight[:, :, tap.row, tap.column].addmm_(left.T, right, beta=0)
        return of_x, of_weight, None, None, None


def _products(
    x: Tensor, weight: Tensor, taps: Sequence[Tap], made: Sequence[int], transposed: bool
) -> Tensor:  # fmt: skip
    """Sum each tap's product into the positions that it joins.

    (B, C, H, W) → (B, C', *made), channels last.
    """
    y = x.new_zeros(len(x), *made, weight.shape[1 if transposed else 0])
    for tap in taps:
        given, summed = (tap.small, tap.large) if transposed else (tap.large, tap.small)
        matrix = weight[:, :, tap.row, tap.column]  # (channels of the small map, of the large)
        product = _rows(_last(x), given) @ (matrix if transposed else matrix.T)
        part = y[:, summed[0], summed[1]]
        part += product.view(part.shape)
    return y.permute(0, 3, 1, 2)


def _last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _rows(x: Tensor, positions: tuple[slice, slice]) -> Tensor:
    """Values at some positions of (B, H, W, C), a row each: (B · positions, C)."""
    return x[:, positions[0], positions[1]].flatten(0, 2)


@torch.no_grad()
def dead_weights(network: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """Count the weights of convolutions that never meet data.

    They change no output, and their gradient is zero.

    Args:
        network: Of any convolutions, called with one tensor.
        shape: Of one input without the batch, such as (C, H, W).

    Returns:
        By the name of each weight that has any, their number.

    Example:
        >>> dead_weights(nn.Sequential(Conv2d(2, 5, 3, padding=1)), (2, 1, 1))
        {'0.weight': 80}
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    layers = {name: module for name, module in shadow.named_modules() if isinstance(module, kinds)}
    live: dict[str, set[tuple[int, int]]] = {}

    def note(name: str, layer: Any, x: Tensor, y: Tensor) -> None:
        large, small = (y, x) if layer.transposed else (x, y)
        taps = live_taps(layer, large.shape[2:], small.shape[2:])
        live.setdefault(name, set()).update((tap.row, tap.column) for tap in taps)

    for name, layer in layers.items():
        layer.register_forward_hook(lambda m, inputs, y, name=name: note(name, m, inputs[0], y))
    shadow(torch.zeros(1, *shape, device="meta"))
    counts = {}
    for name, taps in live.items():
        rows, columns = layers[name].kernel_size
        dead = (rows * columns - len(taps)) * layers[name].weight[:, :, 0, 0].numel()
        counts |= {f"{name}.weight": dead} if dead else {}
    return counts
