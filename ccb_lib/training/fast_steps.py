"""The fast path: a training step as one CUDA graph in bfloat16, and several detectors side by side on one GPU."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ccb_lib.environment import seeded
from ccb_lib.io.images import to_unit
from ccb_lib.training.bfloat16 import BFloat16Weights
from ccb_lib.training.cuda_graphs import CapturedWork, restored
from ccb_lib.training.types import Losses, Trainable

if TYPE_CHECKING:
    pass


class FastSteps:
    """Takes the steps of a run by a graph recorded once: gather a batch, D and G, both optimisers, the loss sums.

    Its random numbers come from a generator of its own, seeded for each epoch as `eager_steps` seeds the global ones.
    On a CPU, and where no graph can be recorded, the very same function is called instead.

    Args:
        precision: ``torch.bfloat16`` lets convolutions and matrix products work in bfloat16 while losses, batch norm
            statistics, weights and optimisers stay float32; ``torch.float32`` leaves all as it is. By default bfloat16
            on CUDA and float32 on a CPU.
        layout: Of images in memory; that of the networks' weights.
        compiled: Compile the networks first (`torch.compile`): fewer and larger kernels, for a start of minutes.

    Attributes:
        independent: Whether steps leave the process's random generators alone, so that other runs may come in between.
    """

    def __init__(
        self,
        precision: torch.dtype | None = None,
        *,
        layout: torch.memory_format = torch.channels_last,
        compiled: bool = False,
    ) -> None:
        self.precision, self.layout, self.compiled = precision, layout, compiled
        self._step: CapturedWork | None = None

    @property
    def independent(self) -> bool:
        """See above."""
        return self._step is not None and self._step.captured

    def __call__(self, trainable: Trainable, images: Tensor, order: Tensor, seed: int) -> Iterator[Losses]:
        """Take the steps of one epoch; see `ccb_lib.training.loop.eager_steps`.

        The sums that it yields are the same tensors each time: read them before the next step.
        """
        if self._step is None:
            self._prepare(trainable, images, order[0])
        assert self._step is not None
        for total in self._sums.values():
            total.zero_()
        if self.independent:
            self._generator.manual_seed(seed)
        with nullcontext() if self.independent else seeded(seed, images.device):
            for rows in order:
                self._rows.copy_(rows)
                self._step()
                yield self._sums

    def _prepare(self, trainable: Trainable, images: Tensor, rows: Tensor) -> None:
        device, networks = images.device, trainable.networks_
        self._trainable, self._images, self._rows = trainable, images, rows.clone()
        self._sums: Losses = {}
        self._generator = torch.Generator(device)
        self._half = (self.precision or (torch.bfloat16 if device.type == "cuda" else None)) == torch.bfloat16
        self._networks = {
            name: self._quicker(net) if name in trainable.optimizers_ else net for name, net in networks.items()
        }
        everything = [tensor for net in networks.values() for tensor in (*net.parameters(), *net.buffers())]
        self._step = CapturedWork(
            self.body,
            device,
            restored=partial(restored, everything, list(trainable.optimizers_.values())),
            generator=self._generator,
            what=f"the training step of {type(trainable).__name__}",
        )

    def _quicker(self, network: nn.Module) -> nn.Module:
        """Stand in for a network: the same parameters and numbers, from fewer kernels."""
        if self.compiled:
            return torch.compile(network)  # type: ignore[return-value]
        return BFloat16Weights(network) if self._half else network

    def body(self) -> None:
        """One step: what is recorded, and what is done where nothing can be."""
        x = to_unit(self._images.index_select(0, self._rows), self.layout)
        networks, self._trainable.networks_ = self._trainable.networks_, self._networks
        try:
            # The cache of weights cast to bfloat16 must be off: it would outlive the optimiser's change to them.
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self._half, cache_enabled=False):
                losses = self._trainable.training_step(x)
        finally:
            self._trainable.networks_ = networks
        if not self._sums:
            self._sums.update({name: torch.zeros_like(loss) for name, loss in losses.items()})
        torch._foreach_add_(list(self._sums.values()), [losses[name] for name in self._sums])
