"""Diagnostics of networks: similarity of features, and the size of a signal along a chain."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ccb_lib.models.ccb import LEVELS, ChainOfConvBlocks, Generator
from ccb_lib.models.initialisation import initialise, initialise_he


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Linear centred kernel alignment of two sets of features (Kornblith et al., 2019).

    Args:
        a: (N, …) features of N images; flattened per image.
        b: (N, …) other features of the same images.

    Returns:
        0 (no linear relation) to 1 (equal up to rotation and scale).

    Raises:
        ValueError: The numbers of images differ, or there are fewer than two.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(
            f"Features of {len(a)} and {len(b)} images given; the same two or more images are "
            "needed."
        )
    x, y = (features.flatten(1).double() for features in (a, b))
    x, y = x - x.mean(0), y - y.mean(0)
    gram_x, gram_y = x @ x.T, y @ y.T  # (N, N); small where features are many
    return float((gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm()).clamp_min(1e-300))


@torch.no_grad()
def semantic_gap(generator: Generator, x: Tensor) -> list[dict[str, float]]:
    """Measure the semantic gap: the CKA of encoder and decoder features at each level.

    CCBs are meant to reduce this gap.

    Args:
        generator: In any mode; it is evaluated in ``eval()`` mode and its mode is restored.
        x: (N, C, H, W) float32 in [-1, 1].

    Returns:
        From shallow to deep, one dict for each skip: ``level`` from 1; ``encoder``, the CKA of the
        encoder map and the decoder map that the skip joins; ``skip``, the CKA of the skip's output
        and that decoder map (equal to ``encoder`` for plain skips).
    """
    was_training = generator.training
    generator.eval()
    maps = generator.encode(x)
    decoded = generator.decode(maps)  # decoded[k] is concatenated with skip LEVELS − 1 − k
    generator.train(was_training)
    lines = []
    for level in range(LEVELS):
        if not generator.has_skip[level]:
            continue
        decoder_map = decoded[LEVELS - 1 - level]
        delivered = generator.skips[level](maps[level])
        lines.append(
            {
                "level": level + 1,
                "encoder": linear_cka(maps[level], decoder_map),
                "skip": linear_cka(delivered, decoder_map),
            }
        )
    return lines


@torch.no_grad()
def signal_along_chain(
    channels: int = 64,
    length: int = 32,
    *,
    init: str = "he",
    size: int = 16,
    batch: int = 16,
    seed: int = 0,
) -> list[float]:
    """Pass noise through an untrained chain and measure its root mean square after every block.

    Args:
        channels: C of the chain.
        length: The number of blocks.
        init: ``"he"`` or ``"dcgan"``, as in `Generator`.
        size: Height and width of the maps.
        batch: The number of noise maps.
        seed: Seeds weights and noise.

    Returns:
        ``length`` + 1 root mean squares relative to the input's, the first 1.

    Raises:
        ValueError: ``init`` has another value.
    """
    if init not in ("he", "dcgan"):
        raise ValueError(f"init={init!r} given; choose he or dcgan.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chain = ChainOfConvBlocks(channels, length)
        initialise(chain)
        if init == "he":
            initialise_he(chain)
        # A half-rectified input, as the encoder's LeakyReLU nearly gives.
        x = torch.randn(batch, channels, size, size).relu().double()
    chain = chain.double()  # in float32 the signal would underflow to 0
    start = x.square().mean().sqrt()
    sizes = [1.0]
    for block in chain:
        x = block(x)
        sizes.append(float(x.square().mean().sqrt() / start))
    return sizes


@contextmanager
def watching_skips(generator: nn.Module, delivered: list[Tensor]) -> Iterator[None]:
    """Collect the outputs of the skips in the block's forward passes, and keep their gradients.

    Args:
        generator: A `Generator`, or a module with one inside.
        delivered: The output of each skip is appended, in the order of the calls: deep to shallow.
            After ``backward`` its ``grad`` is the decoder's gradient alone. The map of a plain skip
            has a second gradient, through the next encoder layer.
    """

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        output_view = output.view_as(output)
        output_view.retain_grad()
        delivered.append(output_view)
        return output_view

    hooks = [
        m.register_forward_hook(keep)
        for m in generator.modules()
        if isinstance(m, ChainOfConvBlocks)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rms(x: Tensor) -> Tensor:
    """Root mean square of all values, a float32 scalar on x's device."""
    return x.detach().float().square().mean().sqrt()
