"""Run a network in bfloat16 with float32 weights; all weights are cast by one kernel."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ccb_lib.models.modes import batch_norms

# The layers that autocast runs in bfloat16.
_BFLOAT16_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class _ToBFloat16(torch.autograd.Function):
    """Cast several tensors to bfloat16 at once, and their gradients back to float32."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        casts = [torch.empty_like(tensor, dtype=torch.bfloat16) for tensor in tensors]
        torch._foreach_copy_(casts, list(tensors))
        ctx.like = [(tensor.shape, tensor.stride()) for tensor in tensors]
        return tuple(casts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
        float_gradients = [
            torch.empty_strided(*ctx.like[i], dtype=torch.float32, device=gradients[i].device)
            for i in wanted
        ]
        torch._foreach_copy_(float_gradients, [gradients[i] for i in wanted])
        by_index = dict(zip(wanted, float_gradients, strict=True))
        return tuple(by_index.get(i) for i in range(len(gradients)))


class BFloat16Weights(nn.Module):
    """Wraps a network under autocast: the same numbers from fewer CUDA kernels.

    Autocast casts each weight where it is used, and each gradient in the backward pass: two small
    kernels for each weight. This wrapper casts all of them at once. It also increments the counters
    of all batch norms at once, which otherwise take one small kernel each.

    Args:
        network: Keeps its float32 weights and receives their gradients. The wrapper has the same
            parameters and buffers.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        layers = dict(network.named_modules())
        self.cast_names = [
            name
            for name, _ in network.named_parameters()
            if isinstance(layers[name.rpartition(".")[0]], _BFLOAT16_LAYERS)
        ]
        self.norms = batch_norms(network)

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the network returns for the same inputs."""
        weights = dict(self.network.named_parameters())
        casts = _ToBFloat16.apply(*(weights[name] for name in self.cast_names))
        counting = [norm for norm in self.norms if norm.training and norm.track_running_stats]
        counters = [norm.num_batches_tracked for norm in counting]
        # A batch norm without a counter updates its statistics and launches no kernel to count.
        for norm in counting:
            norm.num_batches_tracked = None
        try:
            return functional_call(
                self.network, dict(zip(self.cast_names, casts, strict=True)), inputs
            )
        finally:
            for norm, counter in zip(counting, counters, strict=True):
                norm.num_batches_tracked = counter
            if counters:
                torch._foreach_add_(counters, 1)
