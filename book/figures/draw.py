"""Draw Figs. 1 and 2 of the paper from the modules: ``python book/figures/draw.py``.

It writes ``fig-1.svg`` and ``fig-2.svg`` beside this file. A test compares the stored files with
the modules.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from ccb_lib.models.ccb import (
    LEVELS,
    ChainOfConvBlocks,
    Discriminator,
    Generator,
    count_parameters,
)
from ccb_lib.plots.style import CLASS_COLOURS, GREY, PALETTE, WIDTH, styled

_ENCODER, _DECODER, _CHAIN = CLASS_COLOURS["normal"], PALETTE[2], CLASS_COLOURS["abnormal"]
_LOSS = "#8b1a62"  # 8 : 1 on white
_LOSSES = (
    ("$L_s$", "similarity (Eq. 5): trains G"),
    ("$L_{adv}$", "adversarial (Eq. 4): trains D and G against each other"),
    ("$L_{lat}$", "latent (Eq. 6): trains G"),
)


@styled
def draw_ccb(generator: Generator, discriminator: Discriminator, image_size: int = 32) -> Figure:
    """Draw both networks and the place of each loss, as in Fig. 1 of the paper.

    Args:
        generator: The generator. Shapes, chains and parameters are read from its modules.
        discriminator: The discriminator for images of the same size.
        image_size: Height and width of the images in pixels.

    Returns:
        The figure. Each block of a chain is one square.
    """
    channels = [generator.encoder[0][0].in_channels]
    channels += [block[0].out_channels for block in generator.encoder]
    shapes = [f"{c}×{image_size >> k}×{image_size >> k}" for k, c in enumerate(channels)]
    axis = _canvas(6.35)
    _text(axis, 0.1, 6.2, f"Generator G, {count_parameters(generator):,} parameters", ha="left")
    _box(axis, 0.75, 5.8, f"x: {shapes[0]}", GREY)
    _box(axis, 4.25, 5.8, f"x̂: {shapes[0]}", GREY)
    for level in range(1, LEVELS + 1):
        y = 5.8 - 0.56 * level
        _box(axis, 0.75, y, shapes[level], _ENCODER)
        _box(axis, 4.25, y, shapes[level], _DECODER)
        _arrow(axis, (0.75, y + 0.4), (0.75, y + 0.16))
        _arrow(axis, (4.25, y + 0.16), (4.25, y + 0.4))
        _skip(axis, y, len(generator.skips[level - 1]))
    _box(axis, 2.5, 3.02, f"bottleneck: {shapes[-1]}", "black", 1.7)
    _arrow(axis, (0.75, 3.4), (1.65, 3.02))
    _arrow(axis, (3.35, 3.02), (4.25, 3.4))
    _text(axis, 0.75, 3.1, "encoder", colour=_ENCODER)
    _text(axis, 4.25, 3.1, "decoder", colour="#2b7a6f")
    _discriminator(axis, discriminator, image_size)
    return axis.figure


@styled
def draw_chain(chain: ChainOfConvBlocks) -> Figure:
    """Draw a chain of convolution blocks on its skip, and one block enlarged, as in Fig. 2.

    Args:
        chain: The chain. Its length and channels are read from its modules.

    Returns:
        The figure.
    """
    channels = chain[0].conv.in_channels
    axis = _canvas(2.95)
    _text(axis, 0.1, 2.78, f"A chain of {len(chain)} blocks", ha="left")
    _box(axis, 0.6, 2.3, "encoder\nmap", _ENCODER, 0.85, 0.42)
    _box(axis, 4.3, 2.3, "joined to the\ndecoder map", _DECODER, 1.15, 0.42)
    _arrow(axis, (1.05, 2.3), (3.7, 2.3), _CHAIN)
    left = _squares(axis, 2.35, 2.3, len(chain))
    for near, far in ((left, 0.1), (left + 0.2, 4.9)):
        axis.plot([near, far], [2.19, 1.62], color=GREY, linewidth=0.8, linestyle=":")
    axis.add_patch(FancyBboxPatch((0.1, 0.42), 4.8, 1.2, "round,pad=0", fc="#faf3ee", ec=_CHAIN))
    _text(axis, 0.2, 1.46, "One block", ha="left", colour="#a34700")
    _text(axis, 0.45, 0.9, "map", size=8.5)
    _arrow(axis, (0.66, 0.9), (1.0, 0.9))
    _box(axis, 1.8, 0.9, f"3×3 convolution,\n{channels} → {channels} channels", _CHAIN, 1.6, 0.42)
    _arrow(axis, (2.6, 0.9), (2.95, 0.9))
    _box(axis, 3.3, 0.9, "ReLU", _CHAIN, 0.7, 0.42)
    _arrow(axis, (3.65, 0.9), (4.0, 0.9))
    _text(axis, 4.44, 0.9, "map of the\nsame size", size=8.5)
    _text(axis, 2.5, 0.2, f"{count_parameters(chain):,} parameters in this chain", size=8.5)
    return axis.figure


def _canvas(height: float) -> Axes:
    """Make one axis that fills a figure; its unit is an inch."""
    figure = plt.figure(figsize=(WIDTH, height))
    plt.close(figure)  # otherwise a notebook shows the figure twice
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(0, height))
    axis.set_axis_off()
    return axis


def _discriminator(axis: Axes, network: Discriminator, image_size: int) -> None:
    """Draw the discriminator with its two inputs, its outputs, and the three losses."""
    _text(axis, 0.1, 2.52, f"Discriminator D, {count_parameters(network):,} parameters", ha="left")
    shapes = [
        f"{block[0].out_channels}×{image_size >> k}×{image_size >> k}"
        for k, block in enumerate(network.blocks, start=1)
    ]
    top, middle, bottom = 2.1, 1.62, 1.14
    _box(axis, 2.05, middle, "\n".join(shapes), _ENCODER, 1.0, 0.26 + 0.17 * len(shapes))
    for y, image, features in ((top, "x", "z"), (bottom, "x̂", "ẑ")):
        near = middle + (y - middle) / 3
        _box(axis, 0.45, y, image, GREY, 0.5)
        _box(axis, 3.25, y, features, "black", 0.5)
        _arrow(axis, (0.72, y), (1.53, near))
        _arrow(axis, (2.57, near), (2.98, y))
        _arrow(axis, (3.52, y), (3.9, near))
    _text(axis, 3.25, top + 0.24, f"{network.features.out_channels} numbers", size=8)
    _box(axis, 4.4, middle, "real or\nrebuilt?", GREY, 0.95, 0.44)
    for x, name in ((0.45, "$L_s$"), (3.25, "$L_{lat}$")):
        _arrow(axis, (x, top - 0.17), (x, bottom + 0.17), _LOSS, "<|-|>")
        _text(axis, x + 0.1, middle, name, ha="left", colour=_LOSS)
    _text(axis, 4.4, middle - 0.38, "$L_{adv}$", colour=_LOSS)
    for line, (name, meaning) in enumerate(_LOSSES):
        y = 0.66 - 0.22 * line
        _text(axis, 0.3, y, name, ha="left", colour=_LOSS)
        _text(axis, 0.78, y, meaning, ha="left", size=8.5)


def _skip(axis: Axes, y: float, length: int) -> None:
    """Draw one skip connection of the generator, with ``length`` squares on it."""
    _arrow(axis, (1.33, y), (3.67, y), _CHAIN)
    _squares(axis, 2.5, y, length)
    _text(axis, 2.5, y + 0.21, "1 block" if length == 1 else f"{length} blocks", size=8.5)


def _squares(axis: Axes, middle: float, y: float, count: int) -> float:
    """Draw the blocks of a chain as squares; return the left edge of the first."""
    lefts = [middle + (k - count / 2) * 0.25 + 0.025 for k in range(count)]
    for left in lefts:
        axis.add_patch(Rectangle((left, y - 0.1), 0.2, 0.2, fc=_CHAIN, ec="white", zorder=3))
    return lefts[0]


def _box(
    axis: Axes, x: float, y: float, text: str, colour: str, wide: float = 1.15, high: float = 0.32
) -> None:
    """Draw a box with a pale fill and dark text, centred at x and y."""
    corner = (x - wide / 2, y - high / 2)
    axis.add_patch(FancyBboxPatch(corner, wide, high, "round,pad=0", fc="white", ec="none"))
    axis.add_patch(
        FancyBboxPatch(corner, wide, high, "round,pad=0,rounding_size=0.06", fc=(colour, 0.13),
                       ec=colour, linewidth=1.1)
    )  # fmt: skip
    _text(axis, x, y, text, size=8.5)


def _arrow(
    axis: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str = GREY,
    style: str = "-|>",
) -> None:
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=8, color=colour,
                        linewidth=1.1, shrinkA=0, shrinkB=0)
    )  # fmt: skip


def _text(
    axis: Axes, x: float, y: float, text: str, *, size: float = 9.5, ha: str = "center",
    colour: str = "black",
) -> None:  # fmt: skip
    axis.text(x, y, text, ha=ha, va="center", fontsize=size, color=colour)


def main() -> None:
    """Write both figures, at the sizes of the paper."""
    generator = Generator()
    figures = {1: draw_ccb(generator, Discriminator()), 2: draw_chain(generator.skips[0])}
    with plt.rc_context({"svg.hashsalt": "ccb"}):  # otherwise each file differs from the last
        for number, figure in figures.items():
            path = Path(__file__).with_name(f"fig-{number}.svg")
            figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
