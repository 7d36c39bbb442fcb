"""Settings to measure: a method, its sizes, and how many detectors train at the same time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ccb_lib.detectors import METHODS
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.reproduction.registry import PAPER_METHODS


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting to measure.

    Attributes:
        method: Name in `METHODS`.
        image_size, channels: Size and channels of the images.
        batch: Images per step.
        width: Channels of the first convolution; ``None`` is the method's default.
        chain: Chain of CCB, from shallow to deep; ``None`` is its default.
        detectors: Number of detectors that train at the same time.
    """

    method: str = "ccb"
    image_size: int = 32
    channels: int = 3
    batch: int = 64
    width: int | None = None
    chain: tuple[int, ...] | None = None
    detectors: int = 1

    def detector(self, device: str, fast: bool | str, **settings: Any) -> AdversarialDetector:
        """Return a detector of this setting with new networks and optimisers, as made by ``fit``.

        Args:
            device, fast: As in `AdversarialDetector`.
            **settings: Further settings of the detector.
        """
        given = {
            "width": self.width,
            "chain": self.chain if self.method == "ccb" else None,
            **settings,
        }
        given = {name: value for name, value in given.items() if value is not None}
        detector = METHODS[self.method](batch_size=self.batch, device=device, fast=fast, **given)
        assert isinstance(detector, AdversarialDetector)
        detector.make_networks(self.image_size, self.channels)
        detector.image_size_, detector.channels_ = self.image_size, self.channels
        return detector

    def images(self, count: int) -> Tensor:
        """Return random images, (count, C, H, W) uint8."""
        shape = (count, self.channels, self.image_size, self.image_size)
        return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(
            torch.uint8
        )


def benchmark_cells(
    *,
    methods: Sequence[str] = PAPER_METHODS,
    image_sizes: Sequence[int] = (32, 64, 128),
    batches: Sequence[int] = (16, 64, 256),
    chains: Sequence[tuple[int, ...]] = (
        (0, 0, 0, 0),
        (4, 3, 2, 1),
        (8, 6, 4, 2),
        (16, 12, 8, 4),
        (32, 24, 16, 8),
    ),
    detectors: Sequence[int] = (1, 2, 5, 10),
    width: int | None = None,
) -> dict[str, list[Cell]]:
    """List the cells of a benchmark in groups; cells of a group are measured alternately.

    Args:
        methods: Names in `METHODS`.
        image_sizes, batches, chains, detectors: Values for CCB.
        width: Channels of the first convolution; ``None`` is each method's default.

    Returns:
        ``"method"``: each method at 32 px, with one detector and with the largest number of
        ``detectors``. For CCB also ``"image_size"``, ``"batch"``, ``"chain"`` and ``"detectors"``:
        the paper's setting with one value changed.

    Example:
        >>> len(benchmark_cells(methods=["egbad"])["method"])
        2
    """
    own = Cell(width=width)
    groups = {
        "method": [
            replace(own, method=m, detectors=n)
            for m in methods
            for n in sorted({1, max(detectors)})
        ]
    }
    if "ccb" in methods:
        axes = {
            "image_size": image_sizes,
            "batch": batches,
            "chain": chains,
            "detectors": detectors,
        }
        groups |= {
            name: [replace(own, **{name: value}) for value in values]
            for name, values in axes.items()
        }
    return groups
