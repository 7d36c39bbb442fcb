"""Convolutions that skip products with zero padding, for maps where most products are such.

A 4×4 kernel of stride 2 that maps 2×2 to one pixel multiplies 4 values and 12 zeros of padding.
Here each tap (one position in the kernel, with its matrix of weights) is one matrix product with
the values that it is applied to. The result and all gradients equal those of `torch.nn` up to
rounding; taps that are applied to padding only have gradients of exactly 0.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Where the products tap by tap are faster: measured on a CPU, batches of 64, widths from 8 to 64.
_MOST = 0.6  # the largest share of a kernel's products that are with data
_LEAST = 10_000  # the smallest number of weights of a tap; smaller taps are not worth a call

# Device types on which products with padding are skipped. CUDA has not been measured.
_devices: frozenset[str] = frozenset({"cpu"})


class Tap(NamedTuple):
    """One position (row, column) of a kernel, and the map positions that it connects.

    ``large`` are positions of the map that the kernel moves over, a convolution's input or a
    transposed convolution's output; ``small`` are those of the other map.
    """

    row: int
    column: int
    large: tuple[slice, slice]
    small: tuple[slice, slice]


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that skips products with padding where that is faster.

    It needs weights in channels-last order; with other weights it computes as `torch.nn.Conv2d`.

    Example:
        >>> conv = Conv2d(128, 128, 4, stride=2, padding=1)
        >>> conv = conv.to(memory_format=torch.channels_last)
        >>> conv(torch.zeros(8, 128, 2, 2)).shape
        torch.Size([8, 128, 1, 1])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        if not _supported(self, input):
            return super().forward(input)
        made = [
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in _along_axes(self, input.shape[2:])
        ]
        taps = live_taps(self, input.shape[2:], made)
        if not _is_faster(self, taps, made):
            return super().forward(input)
        return _sum_over_taps(self, input, taps, made)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` that skips products that its padding cuts off.

    It does so where that is faster, and needs weights in channels-last order. Otherwise it computes
    as `torch.nn.ConvTranspose2d`.

    Example:
        >>> conv = ConvTranspose2d(128, 128, 4, stride=2, padding=1)
        >>> conv = conv.to(memory_format=torch.channels_last)
        >>> conv(torch.zeros(8, 128, 1, 1)).shape
        torch.Size([8, 128, 2, 2])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        if output_size is not None or not _supported(self, input):
            return super().forward(input, output_size)
        axes = zip(_along_axes(self, input.shape[2:]), self.output_padding, strict=True)
        made = [
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
            for (size, kernel, stride, padding, dilation), more in axes
        ]
        taps = live_taps(self, made, input.shape[2:])
        if not _is_faster(self, taps, input.shape[2:]):
            return super().forward(input)
        return _sum_over_taps(self, input, taps, made)


@contextmanager
def left_out_on(*devices: str) -> Iterator[None]:
    """Skip products with padding only on these device types inside the block.

    For tests and measurements: without an argument, all layers compute as those of `torch.nn`.
    Outside the block, products with padding are skipped on ``"cpu"``.

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
    """List the taps of a layer's kernel that are applied to data, not to padding only.

    Along each axis, tap k connects position j of the small map with position
    ``stride · j − padding + dilation · k`` of the large map (Dumoulin and Visin, 2016,
    arXiv:1603.07285).

    Args:
        layer: Its kernel size, stride, padding and dilation are used.
        large: Height and width of a convolution's input, or of a transposed convolution's output.
        small: Height and width of the other map.

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
    """Yield each kernel index on one axis that is applied to data, and both maps' positions."""
    for k in range(kernel):
        offset = dilation * k - padding
        first = max(0, -(offset // stride))
        last = min(small - 1, (large - 1 - offset) // stride)
        if first <= last:
            positions = slice(stride * first + offset, stride * last + offset + 1, stride)
            yield k, positions, slice(first, last + 1)


def _along_axes(layer: Any, sizes: Sequence[int]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield size, kernel size, stride, padding and dilation along the rows, then the columns."""
    return zip(
        sizes, layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True
    )  # fmt: skip


def _supported(layer: Any, x: Tensor) -> bool:
    """Return whether a layer can be computed tap by tap without a copy of its weights."""
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


def _is_faster(layer: Any, taps: Sequence[Tap], small: Sequence[int]) -> bool:
    """Return whether at most `_MOST` of the products are with data, or the small map is one pixel.

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
        dtype = torch.get_autocast_dtype(x.device.type)
        tensors = [t if t.dtype == torch.float64 else t.to(dtype) for t in tensors]
    y = _SumOverTaps.apply(tensors[0], tensors[1], taps, made, layer.transposed)
    return y if layer.bias is None else y + tensors[2][:, None, None]


class _SumOverTaps(torch.autograd.Function):
    """Convolution and transposed convolution: each is the gradient of the other by its input."""

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
            small, large = (
                _channels_last(t) for t in ((x, gradient) if ctx.transposed else (gradient, x))
            )
            of_weight = torch.zeros_like(weight)
            for tap in ctx.taps:
                left, right = _rows(small, tap.small), _rows(large, tap.large)
                of_weight[:, :, tap.row, tap.column].addmm_(left.T, right, beta=0)
        return of_x, of_weight, None, None, None


def _products(
    x: Tensor, weight: Tensor, taps: Sequence[Tap], made: Sequence[int], transposed: bool
) -> Tensor:  # fmt: skip
    """Add each tap's product to the positions that it connects.

    (B, C, H, W) → (B, C', *made), channels last.
    """
    y = x.new_zeros(len(x), *made, weight.shape[1 if transposed else 0])
    for tap in taps:
        given, summed = (tap.small, tap.large) if transposed else (tap.large, tap.small)
        matrix = weight[:, :, tap.row, tap.column]  # (channels of the small map, of the large)
        product = _rows(_channels_last(x), given) @ (matrix if transposed else matrix.T)
        part = y[:, summed[0], summed[1]]
        part += product.view(part.shape)
    return y.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _rows(x: Tensor, positions: tuple[slice, slice]) -> Tensor:
    """Values at some positions of (B, H, W, C), one row each: (B · positions, C)."""
    return x[:, positions[0], positions[1]].flatten(0, 2)


@torch.no_grad()
def dead_weights(network: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """Count the weights of convolutions that are only ever multiplied with padding.

    They change no output, and their gradient is zero.

    Args:
        network: Any network with convolutions that takes one tensor.
        shape: The shape of one input without the batch axis, such as (C, H, W).

    Returns:
        The number of such weights, by the name of each parameter that has any.

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
