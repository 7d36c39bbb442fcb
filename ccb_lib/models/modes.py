"""Modes of networks: batch norm and dropout while scoring, frozen weights, running statistics."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)  # all kinds that the networks of this library use
_DROPOUTS = (nn.Dropout, nn.Dropout2d)


def batch_norms(*networks: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Return all batch norms of the networks, in the order of their modules.

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
    """Set batch norm and dropout for scoring; restore modes and buffers afterwards.

    >>> norm = nn.BatchNorm2d(3)
    >>> with scoring_mode({"norm": norm}, "running", dropout=False):
    ...     norm.training
    False
    >>> norm.training
    True

    Args:
        networks: The networks by name.
        batch_norm: ``"running"`` normalises with running statistics, ``"batch"`` with batch
            statistics.
        dropout: Whether dropout is active.

    Raises:
        ValueError: ``batch_norm`` has another value.
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
    """Compute no gradients of a network's parameters inside the block; inputs keep theirs.

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


@contextmanager
def counted_twice(network: nn.Module, passes: int = 1) -> Iterator[None]:
    """Update running statistics as if each forward pass in the block had been made twice.

    Two losses may share one forward pass that a reference implementation makes once for each loss.
    The results differ in the running statistics only, and this context corrects them. k passes turn
    a statistic r₀ into r = (1 − m)ᵏ r₀ + s, where s depends on the batches. The same passes again
    give (1 − m)ᵏ r + s = r + (1 − m)ᵏ (r − r₀).

    Args:
        network: In training mode, its batch norms with one momentum m.
        passes: k, the number of forward passes in the block.
    """
    norms = batch_norms(network)
    # .data: autograd would report the in-place change of these buffers as an error, although the
    # backward pass in training mode does not read them.
    running = [buffer.data for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    before = [buffer.clone() for buffer in running]
    yield
    if norms:
        kept = (1 - norms[0].momentum) ** passes
        torch._foreach_add_(running, torch._foreach_sub(running, before), alpha=kept)
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], passes)
