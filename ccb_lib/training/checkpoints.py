"""Checkpoints of a training run: networks, optimisers and history in one safetensors file."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from ccb_lib.io.tensors import load_tensors, save_tensors
from ccb_lib.training.types import Trainable

_VERSION = 1
_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})  # what Adam keeps of each parameter


def save_checkpoint(
    trainable: Trainable, path: str | Path, settings: dict[str, Any], history: list[dict[str, float]]
) -> None:
    """Write networks, optimisers and history to one file, atomically.

    Args:
        trainable: Whose networks and optimisers to keep.
        path: The file.
        settings: What must be equal for the checkpoint to be loaded; JSON.
        history: One line an epoch so far.
    """
    tensors = {
        f"network.{name}.{key}": value
        for name, network in trainable.networks_.items()
        for key, value in network.state_dict().items()
    }
    for name, optimizer in trainable.optimizers_.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": value for key, value in state.items()}
    header = {"kind": "checkpoint", "version": _VERSION, "settings": settings, "history": history}
    save_tensors(path, tensors, header)


def load_checkpoint(
    trainable: Trainable, path: str | Path, settings: dict[str, Any], epochs: int
) -> list[dict[str, float]]:
    """Load what `save_checkpoint` wrote into networks and optimisers, in place.

    Args:
        trainable: Networks and optimisers of the same shapes.
        path: The file; one that does not exist is a start from nothing.
        settings: Must equal those of the checkpoint.
        epochs: How many the run is to have in all.

    Returns:
        The history so far: one line an epoch.

    Raises:
        ValueError: The file is broken, or was made with other settings, images or networks.
    """
    path = Path(path).expanduser()
    if not path.exists():
        return []
    tensors, header = load_tensors(path)
    if header.get("kind") != "checkpoint" or header.get("version") != _VERSION:
        raise ValueError(
            f"{path} is no checkpoint of this version of ccb_lib (kind {header.get('kind')!r}, version "
            f"{header.get('version')!r}). Give another path to resume=, or delete the file to start anew."
        )
    was, history = header.get("settings"), header.get("history")
    if not isinstance(was, dict) or not _is_history(history):
        raise ValueError(f"The checkpoint {path} has no settings or no history. Delete it to start anew.")
    changed = [f"{k}: {was.get(k)!r} → {v!r}" for k, v in settings.items() if was.get(k) != v]
    if len(history) > epochs:
        changed.append(f"epochs: {len(history)} already trained → {epochs}")
    if changed:
        raise ValueError(
            f"The checkpoint {path} was made with other settings ({'; '.join(changed)}). Use those settings again, "
            "give another path to resume=, or delete the file to start anew."
        )
    try:
        for name, network in trainable.networks_.items():
            network.load_state_dict(_under(f"network.{name}.", tensors))
        for name, optimizer in trainable.optimizers_.items():
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(f"optimizer.{name}.", tensors).items():
                index, what = key.split(".", 1)
                if value.ndim:  # a fused optimiser walks parameter and state side by side in memory
                    value = torch.empty_like(parameters[int(index)], device="cpu").copy_(value)
                state.setdefault(int(index), {})[what] = value
            kinds = {frozenset(parts) for parts in state.values()}
            if len(kinds) > 1 or (isinstance(optimizer, Adam) and kinds - {_ADAM}):
                raise ValueError(f"the state of the optimiser {name!r} is not whole")
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The checkpoint {path} does not fit these networks ({error}). Delete it to start anew."
        ) from error
    return history


def _is_history(history: object) -> bool:
    """Tell whether a header's history is a list of lines, each numbers by name."""
    return isinstance(history, list) and all(
        isinstance(line, dict) and all(isinstance(value, int | float) for value in line.values()) for line in history
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
