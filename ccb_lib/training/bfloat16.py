"""A network in bfloat16 with float32 weights, without a kernel for each weight that is cast."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ccb_lib.models.modes import batch_norms

_HALVED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # what autocast runs in bfloat16


class _ToBFloat16(torch.autograd.Function):
    """Cast tensors to bfloat16 together, and their gradients back."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        halves = [torch.empty_like(tensor, dtype=torch.bfloat16) for tensor in tensors]
        torch._foreach_copy_(halves, list(tensors))
        ctx.like = [(tensor.shape, tensor.stride()) for tensor in tensors]
        return tuple(halves)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
        whole = [torch.empty_strided(*ctx.like[i], dtype=torch.float32, device=gradients[i].device) for i in wanted]
        torch._foreach_copy_(whole, [gradients[i] for i in wanted])
        back = dict(zip(wanted, whole, strict=True))
        return tuple(back.get(i) for i in range(len(gradients)))


class BFloat16Weights(nn.Module):
    """Stands for a network under autocast and gives the same numbers, from fewer kernels.

    Autocast casts each weight when it is used, and each gradient on the way back: two small kernels a weight. Here all
    are cast at once. Batch norms' counters, one small kernel each as well, are raised together too.

    Args:
        network: Keeps its float32 weights, whose gradients it gets; its parameters and buffers are this module's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        layers = dict(network.named_modules())
        self.halved = [
            name for name, _ in network.named_parameters() if isinstance(layers[name.rpartition(".")[0]], _HALVED)
        ]
        self.norms = batch_norms(network)

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the network would return."""
        weights = dict(self.network.named_parameters())
        halves = _ToBFloat16.apply(*(weights[name] for name in self.halved))
        counting = [norm for norm in self.norms if norm.training and norm.track_running_stats]
        counters = [norm.num_batches_tracked for norm in counting]
        for norm in counting:
            norm.num_batches_tracked = None
        try:
            return functional_call(self.network, dict(zip(self.halved, halves, strict=True)), inputs)
        finally:
            for norm, counter in zip(counting, counters, strict=True):
                norm.num_batches_tracked = counter
            if counters:
                torch._foreach_add_(counters, 1)
