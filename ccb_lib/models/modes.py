"""How networks act while they score or learn: batch norm, dropout, frozen weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)  # every kind that a network here has
_DROPOUTS = (nn.Dropout, nn.Dropout2d)


def batch_norms(*networks: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Return all batch norms of some networks, in the order of their modules.

    >>> from torch import nn
    >>> batch_norms(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), nn.ReLU())
    [BatchNorm2d(2, ...)]
    """
    return [
        module for net in networks for module in net.modules() if isinstance(module, BATCH_NORMS)
    ]


@contextmanager
def scoring_mode(
    networks: Mapping[str, nn.Module], batch_norm: str, dropout: bool
) -> Iterator[None]:
    """Set how batch norm and dropout act while scoring; put modes and buffers back afterwards.

    >>> norm = nn.BatchNorm2d(3)
    >>> with scoring_mode({"norm": norm}, "running", dropout=False):
    ...     norm.training
    False
    >>> norm.training
    True

    Args:
        networks: By name.
        batch_norm: ``"running"`` or ``"batch"`` statistics.
        dropout: Whether dropout is active.

    Raises:
        ValueError: Another ``batch_norm``.
    """
    if batch_norm not in ("running", "batch"):
        raise ValueError(f"batch_norm={batch_norm!r} given; 'running' or 'batch' is needed.")
    modules = [module for network in networks.values() for module in network.modules()]
    modes = [module.training for module in modules]
    norms = batch_norms(*networks.values())
    buffers = [buffer for module in norms for buffer in module.buffers()]
    kept = [buffer.clone() for buffer in buffers] if batch_norm == "batch" else []
    try:
        for module in modules:
            module.training = dropout and isinstance(module, _DROPOUTS)
        for module in norms:
            module.training = batch_norm == "batch"
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for buffer, old in zip(buffers, kept, strict=False):
            buffer.copy_(old)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without reaching its parameters.

    >>> network = nn.Linear(2, 1)
    >>> with frozen(network):
    ...     network.weight.requires_grad
    False
    """
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
