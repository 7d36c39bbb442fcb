"""What the training loop, its fast steps and the detectors have in common."""

from collections.abc import Callable, Generator, Iterator
from typing import Protocol, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

Losses = dict[str, Tensor]
EpochCallback = Callable[[int], dict[str, float] | None]
Returned = TypeVar("Result")
Turns = Generator[bool, None, Returned]  # work that hands over between its steps; see `training`


class Trainable(Protocol):
    """What the loop drives: networks, their optimisers, and one step."""

    networks_: dict[str, nn.Module]
    optimizers_: dict[str, Optimizer]

    def training_step(self, x: Tensor) -> Losses:
        """Take one step on x, (B, C, H, W) float32 in [-1, 1]; return detached scalar losses by name."""
        ...


Steps = Callable[[Trainable, Tensor, Tensor, int], Iterator[Losses]]


class TrainingDiverged(RuntimeError):  # noqa: N818  (it says what happened)
    """A loss is no longer finite."""


def finish(turns: Turns[Returned]) -> Returned:
    """Take all turns of a piece of work, one after the other, and return its result."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value
