"""Checkpoints of a training run: networks, optimisers and history in one safetensors file."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from ccb_lib.io.tensors import load_tensors, save_tensors
from ccb_lib.training.types import Trainable

_VERSION = 1
_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})  # Adam's state of each parameter


def save_checkpoint(
    trainable: Trainable,
    path: str | Path,
    settings: dict[str, Any],
    history: list[dict[str, float]],
) -> None:
    """Write networks, optimisers and history to one file, atomically.

    Args:
        trainable: Holds the networks and optimisers to save.
        path: The file to write.
        settings: Values that must be equal for the checkpoint to be loaded; anything JSON can hold.
        history: One dict for each finished epoch.
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
    """Load a file of `save_checkpoint` into networks and optimisers, in place.

    Args:
        trainable: Networks and optimisers of the same shapes.
        path: The file; if it does not exist, nothing is loaded and training starts at epoch 1.
        settings: Must equal the checkpoint's settings.
        epochs: The total number of epochs of the run.

    Returns:
        The history: one dict for each finished epoch.

    Raises:
        ValueError: The file is damaged, or was made with other settings, images or networks.
    """
    path = Path(path).expanduser()
    if not path.exists():
        return []
    tensors, header = load_tensors(path)
    if header.get("kind") != "checkpoint" or header.get("version") != _VERSION:
        raise ValueError(
            f"{path} is no checkpoint of this version of ccb_lib (kind {header.get('kind')!r}, "
            f"version {header.get('version')!r}). Give another path to resume=, or delete the file "
            "to train from the start."
        )
    stored, history = header.get("settings"), header.get("history")
    if not isinstance(stored, dict) or not _is_history(history):
        raise ValueError(
            f"The checkpoint {path} has no settings or no history. Delete it to train from the "
            "start."
        )
    changed = [f"{k}: {stored.get(k)!r} → {v!r}" for k, v in settings.items() if stored.get(k) != v]
    if len(history) > epochs:
        changed.append(f"epochs: {len(history)} already trained → {epochs}")
    if changed:
        raise ValueError(
            f"The checkpoint {path} was made with other settings ({'; '.join(changed)}). Use those "
            "settings again, give another path to resume=, or delete the file to train from the "
            "start."
        )
    try:
        for name, network in trainable.networks_.items():
            network.load_state_dict(_under(f"network.{name}.", tensors))
        for name, optimizer in trainable.optimizers_.items():
            parameters = [
                parameter for group in optimizer.param_groups for parameter in group["params"]
            ]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(f"optimizer.{name}.", tensors).items():
                index, what = key.split(".", 1)
                if value.ndim:  # a fused optimiser needs the state in its parameter's memory layout
                    value = torch.empty_like(parameters[int(index)], device="cpu").copy_(value)
                state.setdefault(int(index), {})[what] = value
            kinds = {frozenset(parts) for parts in state.values()}
            if len(kinds) > 1 or (isinstance(optimizer, Adam) and kinds - {_ADAM}):
                raise ValueError(f"the state of the optimiser {name!r} is incomplete")
            optimizer.load_state_dict(
                {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
            )
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The checkpoint {path} does not fit these networks ({error}). Delete it to train from "
            "the start."
        ) from error
    return history


def _is_history(history: object) -> bool:
    """Return whether a header's history is a list of dicts from names to numbers."""
    return isinstance(history, list) and all(
        isinstance(line, dict) and all(isinstance(value, int | float) for value in line.values())
        for line in history
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
