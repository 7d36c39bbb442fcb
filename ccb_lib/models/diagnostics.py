"""Looking into trained networks: how alike features are, and what becomes of a signal in a chain."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ccb_lib.models.ccb import LEVELS, ChainOfConvBlocks, Generator, initialise


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Linear centred kernel alignment of two sets of features (Kornblith et al., 2019).

    Args:
        a: (N, …) features of N images; flattened per image.
        b: (N, …) other features of the same images.

    Returns:
        0 (nothing in common) to 1 (equal up to rotation and scale).

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
    """Measure, level by level, how alike encoder and decoder features are: the gap that CCBs are to bridge.

    Args:
        generator: In any mode; evaluated as in ``eval()``.
        x: (N, C, H, W) float32 in [-1, 1].

    Returns:
        From shallow to deep, one dict a skip: ``level`` from 1; ``encoder``, the CKA of encoder map
        and the decoder map beside it; ``skip``, the CKA of what the skip delivers and that decoder
        map (equal for plain skips).
    """
    was_training = generator.training
    generator.eval()
    maps = generator.encode(x)
    decoded = generator.decode(maps)  # decoded[k] stands beside skip LEVELS − 1 − k
    generator.train(was_training)
    lines = []
    for level in range(LEVELS):
        if not generator.has_skip[level]:
            continue
        beside = decoded[LEVELS - 1 - level]
        delivered = generator.skips[level](maps[level])
        lines.append(
            {
                "level": level + 1,
                "encoder": linear_cka(maps[level], beside),
                "skip": linear_cka(delivered, beside),
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
    """Send noise down a fresh chain and measure its size after every block.

    Args:
        channels: C of the chain.
        length: Blocks.
        init: ``"he"`` or ``"dcgan"``, as in `Generator`.
        size: Height and width of the maps.
        batch: Maps sent.
        seed: Of weights and noise.

    Returns:
        ``length`` + 1 root mean squares relative to the input's, the first 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chain = ChainOfConvBlocks(channels, length)
        initialise(chain)
        if init == "he":
            for block in chain:
                torch.nn.init.kaiming_normal_(block.conv.weight, nonlinearity="relu")
        # A half-rectified input, as the encoder's LeakyReLU nearly gives.
        x = torch.randn(batch, channels, size, size).relu().double()
    chain = chain.double()  # float32 would underflow to nothing on the way
    start = x.square().mean().sqrt()
    sizes = [1.0]
    for block in chain:
        x = block(x)
        sizes.append(float(x.square().mean().sqrt() / start))
    return sizes


@contextmanager
def watching_skips(generator: nn.Module, delivered: list[Tensor]) -> Iterator[None]:
    """Collect what skips deliver in the block's forward passes, with room for the gradient that will come.

    Args:
        generator: A `Generator`, or a module with one inside.
        delivered: Is given each skip's output as the generator calls them, deep to shallow. After
            ``backward`` its ``grad`` is that of the decoder alone: a plain skip's map has another
            on the encoder's own way.
    """

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        seen = output.view_as(output)
        seen.retain_grad()
        delivered.append(seen)
        return seen

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
