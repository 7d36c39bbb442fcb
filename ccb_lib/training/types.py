"""Types shared by the training loop, its fast steps and the detectors."""

from collections.abc import Callable, Generator, Iterator
from typing import Protocol, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

Losses = dict[str, Tensor]
EpochCallback = Callable[[int], dict[str, float] | None]
Returned = TypeVar("Returned")
Turns = Generator[bool, None, Returned]  # pauses between steps; see `training`


class Trainable(Protocol):
    """The object that the loop trains: networks, their optimisers, and one training step."""

    networks_: dict[str, nn.Module]
    optimizers_: dict[str, Optimizer]

    def training_step(self, x: Tensor) -> Losses:
        """Take one step on x, (B, C, H, W) float32 in [-1, 1].

        Returns:
            Detached scalar losses by name.
        """
        ...


Steps = Callable[[Trainable, Tensor, Tensor, int], Iterator[Losses]]


class TrainingDiverged(RuntimeError):  # noqa: N818  (the name says what happened)
    """A loss became NaN or infinite."""


def finish(turns: Turns[Returned]) -> Returned:
    """Run a generator of turns to its end and return its result."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value
