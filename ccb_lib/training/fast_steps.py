"""Experimental fast path: one training step as one CUDA graph, in bfloat16."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from ccb_lib.environment import seeded
from ccb_lib.io.images import to_unit
from ccb_lib.training.bfloat16 import BFloat16Weights
from ccb_lib.training.cuda_graphs import CapturedWork, restored
from ccb_lib.training.types import Losses, Trainable


class FastSteps:
    """Takes training steps by replaying one captured CUDA graph.

    The graph gathers a batch, updates D and G with both optimisers, and adds up the losses. Random
    numbers come from its own generator, seeded for each epoch as `eager_steps` seeds the global
    generators. On a CPU, and where the capture fails, the same function runs eagerly.

    Args:
        precision: ``torch.bfloat16`` runs convolutions and matrix products in bfloat16, while
            losses, batch norm statistics, weights and optimisers stay float32. ``torch.float32``
            changes nothing. By default bfloat16 on CUDA and float32 on a CPU.
        layout: The memory format of the image batches; it should match that of the weights.
        compiled: Compile the networks first (`torch.compile`): fewer and larger kernels, but the
            compilation takes minutes.

    Attributes:
        independent: Whether the steps leave the global random generators unchanged, so that steps
            of other runs may come in between.
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
        """Whether the steps leave the global random generators unchanged."""
        return self._step is not None and self._step.captured

    def __call__(
        self, trainable: Trainable, images: Tensor, order: Tensor, seed: int
    ) -> Iterator[Losses]:
        """Take the steps of one epoch; see `ccb_lib.training.loop.eager_steps`.

        Every step yields the same tensors with new values: read them before the next step.
        """
        if self._step is None:
            self._prepare(trainable, images, order[0])
        assert self._step is not None
        # In place: the graph adds to these very tensors in every replay.
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
        self._bfloat16 = (
            self.precision or (torch.bfloat16 if device.type == "cuda" else None)
        ) == torch.bfloat16
        self._networks = {
            name: self._fewer_kernels(net) if name in trainable.optimizers_ else net
            for name, net in networks.items()
        }
        everything = [
            tensor for net in networks.values() for tensor in (*net.parameters(), *net.buffers())
        ]
        self._step = CapturedWork(
            self.body,
            device,
            restored=partial(restored, everything, list(trainable.optimizers_.values())),
            generator=self._generator,
            what=f"the training step of {type(trainable).__name__}",
        )

    def _fewer_kernels(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that the same computation needs fewer kernels."""
        if self.compiled:
            return torch.compile(network)  # type: ignore[return-value]
        return BFloat16Weights(network) if self._bfloat16 else network

    def body(self) -> None:
        """Take one step: the function that is captured, or run eagerly if it cannot be."""
        x = to_unit(self._images.index_select(0, self._rows), self.layout)
        networks, self._trainable.networks_ = self._trainable.networks_, self._networks
        try:
            # Without cache: cached bfloat16 weights would not see the optimiser's update within a
            # step, and a captured graph would read them again in every replay.
            with torch.autocast(
                x.device.type, torch.bfloat16, enabled=self._bfloat16, cache_enabled=False
            ):
                losses = self._trainable.training_step(x)
        finally:
            self._trainable.networks_ = networks
        if not self._sums:
            self._sums.update({name: torch.zeros_like(loss) for name, loss in losses.items()})
        torch._foreach_add_(list(self._sums.values()), [losses[name] for name in self._sums])
