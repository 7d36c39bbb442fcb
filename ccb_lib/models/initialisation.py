"""DCGAN's random initialisation, and reinitialisation of a collapsed discriminator."""

import torch
from torch import Tensor, nn

from ccb_lib.models.modes import BATCH_NORMS


def initialise(network: nn.Module, stream: torch.Generator | None = None) -> None:
    """Initialise as DCGAN does: convolutions N(0, 0.02), batch norms N(1, 0.02), biases 0.

    The second number is the standard deviation.

    Args:
        network: Its weights are drawn in place.
        stream: The source of the random numbers; torch's default generator if ``None``.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=stream)
        elif isinstance(module, BATCH_NORMS):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=stream)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise_he(network: nn.Module, stream: torch.Generator | None = None) -> None:
    """Initialise convolutions as He et al. (2015) do for ReLU; biases are kept.

    Weights have mean 0 and standard deviation √(2 / inputs).

    Args:
        network: The weights of its convolutions are drawn in place.
        stream: The source of the random numbers; torch's default generator if ``None``.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=stream)


def reinitialise_where(collapsed: Tensor, network: nn.Module) -> None:
    """Reinitialise a network if its loss has collapsed; its running statistics are kept.

    Args:
        collapsed: A bool scalar on the network's device. On a GPU its value is never read, since
            that would wait for the device and could not be captured in a CUDA graph. Instead new
            weights are always drawn, and then used or discarded.
        network: A network that was initialised by `initialise`.
    """
    if collapsed.is_cuda:
        _reinitialise_without_branch(collapsed, network)
    elif collapsed:
        initialise(network)


@torch.no_grad()
def _reinitialise_without_branch(collapsed: Tensor, network: nn.Module) -> None:
    """Set the weights to old · (1 − c) + new · c, which is exact for c = 0 and c = 1."""
    parameters = list(network.parameters())
    share = collapsed.to(parameters[0].dtype)
    old = torch._foreach_mul(parameters, 1 - share)
    initialise(network)
    torch._foreach_mul_(parameters, share)
    torch._foreach_add_(parameters, old)
