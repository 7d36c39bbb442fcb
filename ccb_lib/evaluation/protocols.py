"""Protocols: how a test set is scored, from RELEASED to CLEAN in small steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector

BATCH_NORMS = ("running", "recomputed", "batch")
ORDERS = ("any", "normals then abnormals", "normals by class then abnormals", "shuffled")
EPOCHS = ("last", "best by test AUC")
THRESHOLDS = ("calibrated", "oracle")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a test set is scored and judged; one field for each choice.

    Attributes:
        name: Name in tables.
        batch_norm: Statistics of batch norm: ``"running"``, the running statistics of training;
            ``"recomputed"``, those of the training normals with the final weights; or ``"batch"``,
            those of each test batch, which networks in training mode use.
        dropout: Whether dropout is active.
        order: Order of the test images: ``"any"`` where it does not affect scores; ``"normals then
            abnormals"``, the normals in mixed order; ``"normals by class then abnormals"``; or
            ``"shuffled"``, all images with a fixed seed.
        batch_size: Images scored together; the last batch may be smaller.
        epoch: ``"last"``, or ``"best by test AUC"``, which needs test labels.
        threshold: ``"calibrated"`` on held-out normals, or ``"oracle"``, the best F1 on the test
            set itself.
        draw: Number of the balanced draw of held-out normals that a run is scored on. With batch
            statistics a score depends on the other images of its batch, so draws differ. 0 is the
            data set's own draw. `evaluate` ignores it and scores the split that it is given.

    Example:
        >>> Protocol(name="clean, oracle φ", threshold="oracle").batch_norm
        'running'
    """

    name: str
    batch_norm: str = "running"
    dropout: bool = False
    order: str = "any"
    batch_size: int = 256
    epoch: str = "last"
    threshold: str = "calibrated"
    draw: int = 0

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: A field has an unknown value, or the order is ``"any"`` with batch
                statistics.
        """
        for field, values in (
            ("batch_norm", BATCH_NORMS),
            ("order", ORDERS),
            ("epoch", EPOCHS),
            ("threshold", THRESHOLDS),
        ):
            if getattr(self, field) not in values:
                given = getattr(self, field)
                raise ValueError(
                    f"Protocol {self.name!r}: {field}={given!r} given; one of {values} is needed."
                )
        if self.batch_size < 1:
            raise ValueError(
                f"Protocol {self.name!r}: batch_size={self.batch_size} given; at least 1 is needed."
            )
        if self.batch_norm == "batch" and self.order == "any":
            raise ValueError(
                f"Protocol {self.name!r}: with batch statistics the order matters; name one."
            )
        if self.draw < 0 or (self.draw and self.batch_norm != "batch"):
            raise ValueError(
                f"Protocol {self.name!r}: draw={self.draw} given; a number from 0 is needed, and 0 "
                "without batch statistics, where the scores of any draw follow from those of all "
                "images."
            )

    @property
    def feeding(self) -> str:
        """What determines scores for given weights; protocols of the same feeding share them.

        Without batch statistics and dropout a score depends on its image alone, so order and batch
        size are left out.
        """
        if self.batch_norm != "batch" and not self.dropout:
            return self.batch_norm
        dropout = "dropout" if self.dropout else "no dropout"
        return f"{self.batch_norm}, {dropout}, {self.order}, {self.batch_size}"

    @property
    def scores_key(self) -> str:
        """The key of stored score terms; φ is computed from them and is not part of it."""
        return f"{self.feeding}, {self.epoch}"

    @property
    def test_set(self) -> str:
        """The kind of test set.

        Protocols with batch statistics test on a balanced set, as the released code does; the
        others test on all held-out normal images. Every balanced set is a subset of the natural
        one, so clean scores of its images are stored too.
        """
        if self.batch_norm != "batch":
            return "natural"
        return f"as released, draw {self.draw}" if self.draw else "as released"


CLEAN = Protocol(name="clean")
"""``eval()``, last epoch, φ from held-out normals: a score depends on its image alone."""

RELEASED = Protocol(
    name="released",
    batch_norm="batch",
    dropout=True,
    order="normals then abnormals",
    batch_size=64,
    epoch="best by test AUC",
    threshold="oracle",
)
"""The test loop of the public Skip-GANomaly code.

It uses batch statistics over batches of one kind of image, and the best epoch by test AUC.

That code trains on all 45,000 normal training images of CIFAR-10. This library trains on 42,750 of
them. The other 5 % are for calibration: no protocol trains on them, so that all protocols share one
training. That code computes an AUC and no φ: the oracle threshold is an assumption.
"""

RELEASED_DRAWS: tuple[Protocol, ...] = tuple(
    replace(RELEASED, name=f"released, draw {k}", draw=k) for k in range(1, 5)
)
"""RELEASED on four more balanced draws of held-out normals; results average these and RELEASED."""

LAST_EPOCH = replace(RELEASED, name="last epoch", threshold="calibrated", epoch="last")
"""RELEASED without a choice by test labels."""

STEPS_TO_CLEAN: tuple[Protocol, ...] = (
    RELEASED,
    replace(RELEASED, name="threshold calibrated", threshold="calibrated"),
    LAST_EPOCH,
    replace(RELEASED, name="no dropout", threshold="calibrated", epoch="last", dropout=False),
    replace(
        RELEASED,
        name="shuffled",
        threshold="calibrated",
        epoch="last",
        dropout=False,
        order="shuffled",
    ),
    CLEAN,
)
"""From RELEASED to CLEAN, one choice at a time.

The last step changes three fields, because with running statistics the order and the batch size no
longer affect scores."""

CLEAN_BEST_EPOCH = replace(CLEAN, name="clean, best epoch (oracle)", epoch="best by test AUC")
"""CLEAN at the epoch with the best test AUC; it also gives the AUC after each epoch."""

SINGLE_CHANGES: tuple[Protocol, ...] = (
    replace(RELEASED, name="released, shuffled", order="shuffled"),
    replace(RELEASED, name="released, normals by class", order="normals by class then abnormals"),
    replace(RELEASED, name="released, one at a time, last epoch", batch_size=1, epoch="last"),
    replace(CLEAN, name="clean, statistics recomputed", batch_norm="recomputed"),
    CLEAN_BEST_EPOCH,
    replace(CLEAN, name="clean, oracle φ", threshold="oracle"),
)
"""RELEASED or CLEAN with one change, to attribute the difference between them."""


def is_imposed(method: "type[Detector]", dataset: str, protocol: Protocol = RELEASED) -> bool:
    """Return whether a protocol with batch statistics is not the test of the method's public code.

    Args:
        method: The class of the detector; its ``released_on`` decides.
        dataset: Name for `load_dataset`.
        protocol: The protocol.

    Example:
        >>> from ccb_lib import GANomaly
        >>> is_imposed(GANomaly, "ham10000"), is_imposed(GANomaly, "cifar10")
        (True, False)
    """
    on = method.released_on
    return protocol.batch_norm == "batch" and on is not None and dataset not in on


def differing_fields(a: Protocol, b: Protocol) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two protocols differ, except their names.

    Example:
        >>> differing_fields(RELEASED, LAST_EPOCH)["epoch"]
        ('best by test AUC', 'last')
    """
    fields: Sequence[str] = [name for name in Protocol.__dataclass_fields__ if name != "name"]
    return {
        name: (getattr(a, name), getattr(b, name))
        for name in fields
        if getattr(a, name) != getattr(b, name)
    }
