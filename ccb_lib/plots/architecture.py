"""One figure for each method: the layers of its networks, their inputs and outputs, its score."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor, nn

from ccb_lib.detectors import NotReady
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.detectors.base import Detector
from ccb_lib.models.ccb import LEVELS, Generator, count_parameters
from ccb_lib.models.modes import scoring_mode
from ccb_lib.plots.style import CLASS_COLOURS, GREY, METHOD_COLOURS

_COLOURS = {
    nn.Conv2d: METHOD_COLOURS["CCB"],
    nn.ConvTranspose2d: METHOD_COLOURS["GANomaly"],
    nn.Linear: GREY,
}
_CHAIN = CLASS_COLOURS["abnormal"]
# Width of a layer's bar, gap between bars, and vertical step between rows, in axis units.
_WIDE, _GAP, _DOWN = 0.3, 0.1, -2.0


class _Net(NamedTuple):
    """A network in a figure.

    Attributes:
        path: Its name in ``detector.networks_``, with attributes of that network after dots.
        name: Its name in the figure.
        inputs: One letter for each input: ``x`` (image), ``z`` (latent vector).
    """

    path: str
    name: str
    inputs: str = "x"


_AUTOENCODER = (
    ("x", _Net("generator", "G"), "x̂"),
    ("x, x̂", _Net("discriminator", "D"), "z, ẑ\nreal?"),
)
_ROWS: dict[str, tuple[Sequence[str | _Net], ...]] = {
    "ccb": _AUTOENCODER,
    "ccb-fork": _AUTOENCODER,
    "skip-ganomaly": _AUTOENCODER,
    "ganomaly": (
        (
            "x",
            _Net("generator.encoder", "encoder"),
            "z",
            _Net("generator.decoder", "decoder", "z"),
            "x̂",
            _Net("generator.second_encoder", "encoder 2"),
            "ẑ",
        ),
        ("x, x̂", _Net("discriminator", "D"), "real?"),
    ),
    "egbad": (
        ("x", _Net("encoder", "E"), "z", _Net("generator", "G", "z"), "x̂"),
        ("(x, z), (x̂, z)", _Net("discriminator", "D", "xz"), "f, f̂\nreal?"),
    ),
    "anogan": (
        ("z, searched\nfor each x", _Net("generator", "G", "z"), "x̂"),
        ("x, x̂", _Net("discriminator", "D"), "f, f̂\nreal?"),
    ),
}
_FEATURES = {"egbad": ("f", "f̂"), "anogan": ("f", "f̂")}
_DISTANCES = {"l2": "mean ({} − {})²", "l1": "mean |{} − {}|", "l1-norm": "Σ |{} − {}|"}
_TRIVIAL = {
    "pca": "mean (x − its projection)²",
    "mean-intensity": "mean x",
    "png-bytes": "bytes of x as a PNG file",
    "nearest-neighbours": "mean ‖x − a near training image‖",
}


def score_formula(detector: Detector) -> str:
    """Return the formula of a detector's score (Eq. 2) with its own α and distances.

    Args:
        detector: Any detector, fitted or not.

    Returns:
        A formula of the image x, the reconstruction x̂, latent vectors z and ẑ, and features f and f̂
        of the discriminator. A term with weight 0 is left out.

    Example:
        >>> from ccb_lib import GANomaly
        >>> score_formula(GANomaly())
        'mean (z − ẑ)²'
    """
    if detector.method in _TRIVIAL:
        return _TRIVIAL[detector.method]
    kinds = [
        getattr(detector, f"{term}_distance", getattr(detector, "score_distance", "l2"))
        for term in ("image", "latent")
    ]
    names = (("x", "x̂"), _FEATURES.get(detector.method, ("z", "ẑ")))
    terms = [_DISTANCES[kind].format(*pair) for kind, pair in zip(kinds, names, strict=True)]
    weighed = [
        (f"{weight:.3g} · {term}" if weight < 1 else term)
        for weight, term in zip((detector.alpha, 1 - detector.alpha), terms, strict=True)
        if weight > 0
    ]
    return " + ".join(weighed)


class Layer(NamedTuple):
    """A layer of a network and the shape of its output.

    Attributes:
        kind: Class of the layer.
        channels: Channels of its output.
        height: Height of its output in pixels; 1 for a vector.

    Example:
        >>> Layer(nn.Linear, channels=2, height=1).channels
        2
    """

    kind: type[nn.Module]
    channels: int
    height: int


def layers_of(network: nn.Module, *inputs: Tensor) -> list[Layer]:
    """Run a network once and list its convolutions and linear layers in the order of execution.

    Args:
        network: A network. Chains on its skip connections are left out.
        inputs: Inputs of the network.

    Returns:
        One entry a layer, with the shape of its output.

    Example:
        >>> layers_of(nn.Linear(3, 2), torch.zeros(1, 3))[0].channels
        2
    """
    seen: list[Layer] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        kind = next(kind for kind in _COLOURS if isinstance(module, kind))
        seen.append(Layer(kind, out.shape[1], out.shape[2] if out.ndim == 4 else 1))

    hooks = [
        module.register_forward_hook(note)
        for name, module in network.named_modules()
        if isinstance(module, tuple(_COLOURS)) and not name.startswith("skips.")
    ]
    try:
        with scoring_mode({"": network}, "running", dropout=False), torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def draw_method(detector: AdversarialDetector) -> Figure:
    """Draw the networks of a fitted detector layer by layer.

    Each layer is a bar. Its height grows with the logarithm of the height of the layer's output.
    Convolutions are blue, transposed convolutions green, linear layers grey. A plain skip
    connection is a grey line. A skip with a chain is an orange-red line with the number of blocks.

    Args:
        detector: A fitted detector with networks. The shapes are read from its networks.

    Returns:
        The figure, with the formula of the score as its title.

    Raises:
        NotReady: The detector was not fitted.
        ValueError: It has no networks.

    Example:
        >>> from ccb_lib import CCB
        >>> images = torch.arange(4096).reshape(4, 1, 32, 32) % 251
        >>> detector = CCB(width=4, latent=8, epochs=1).fit(images.to(torch.uint8), progress=False)
        >>> draw_method(detector).axes[0].texts[-1].get_text()
        'CCB: score = 0.9 · mean (x − x̂)² + 0.1 · mean (z − ẑ)²'
    """
    if detector.method not in _ROWS:
        raise ValueError(
            f"{detector.method!r} has no networks to draw; give one of {', '.join(_ROWS)}."
        )
    if detector.image_size_ is None:
        raise NotReady(
            f"This {type(detector).__name__} is not fitted and has no networks. Call fit(…) first."
        )
    size, channels = detector.image_size_, detector.channels_
    fed = {
        "x": torch.zeros(1, channels, size, size, device=detector.device_),
        "z": torch.zeros(1, detector.latent, 1, 1, device=detector.device_),
    }

    rows = _ROWS[detector.method]
    figure, axis = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    for line, row in enumerate(rows):
        x, y = 0.0, _DOWN * line
        for item in row:
            if isinstance(item, str):
                x = _tensor(axis, x, y, item)
                continue
            network: nn.Module = detector.networks_[item.path.split(".")[0]]
            for part in item.path.split(".")[1:]:
                network = getattr(network, part)
            layers = layers_of(network, *(fed[name] for name in item.inputs))
            x = _network(axis, x, y, item.name, network, layers)
    axis.text(0, 1.6, f"{type(detector).__name__}: score = {score_formula(detector)}", fontsize=9.5)
    axis.set(xlim=(-0.1, 8.8), ylim=(_DOWN * len(rows) + 1.0, 1.85))
    axis.set_axis_off()
    plt.close(figure)  # otherwise a notebook shows the figure twice
    return figure


def _tensor(axis: Axes, x: float, y: float, text: str) -> float:
    wide = 0.095 * max(len(line) for line in text.split("\n")) + 0.3
    axis.text(x + wide / 2, y, text, ha="center", va="center", fontsize=9)
    return x + wide


def _network(
    axis: Axes, x: float, y: float, name: str, network: nn.Module, layers: list[Layer]
) -> float:
    """Draw the bars of one network, starting at x; return the x at which its arrow ends."""
    axis.add_patch(_arrow((x, y), (x + 0.3, y)))
    left = x + 0.35
    centres = [left + index * (_WIDE + _GAP) + _WIDE / 2 for index in range(len(layers))]
    halves = [0.14 + 0.065 * layer.height.bit_length() for layer in layers]
    for centre, half, layer in zip(centres, halves, layers, strict=True):
        corner = (centre - _WIDE / 2, y - half)
        axis.add_patch(
            Rectangle(corner, _WIDE, 2 * half, fc=_COLOURS[layer.kind], ec="none", alpha=0.85)
        )
        label = f"{layer.channels}×{layer.height}²" if layer.height > 1 else f"{layer.channels}"
        axis.text(centre, y - half - 0.06, label, rotation=90, ha="center", va="top", fontsize=7.5)
    top = y + max(halves) + 0.08
    if isinstance(network, Generator):
        for level in [level for level in range(LEVELS) if network.has_skip[level]]:
            a, b, length = centres[level], centres[2 * LEVELS - level], len(network.skips[level])
            colour, top = (_CHAIN if length else GREY), y + 1.1 - 0.16 * level
            foot = y + halves[level]
            axis.plot([a, a, b, b], [foot, top, top, foot], color=colour, linewidth=1)
            if length:
                circle = {"boxstyle": "circle,pad=0.15", "fc": _CHAIN, "ec": "none"}
                at = ((a + b) / 2, top)
                axis.text(
                    *at,
                    f"{length}",
                    fontsize=7,
                    ha="center",
                    va="center",
                    color="white",
                    bbox=circle,
                )
        top = y + 1.2
    right = centres[-1] + _WIDE / 2
    title = f"{name}: {count_parameters(network):,} parameters"
    axis.text((left + right) / 2, top, title, ha="center", va="bottom", fontsize=8)
    axis.add_patch(_arrow((right + 0.05, y), (right + 0.35, y)))
    return right + 0.35


def _arrow(a: tuple[float, float], b: tuple[float, float]) -> FancyArrowPatch:
    return FancyArrowPatch(
        a, b, arrowstyle="-|>", mutation_scale=8, color=GREY, linewidth=1, shrinkA=0, shrinkB=0
    )
