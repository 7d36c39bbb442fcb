"""Safetensors files with a JSON header: atomic writing, checked reading, no pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ccb_lib.io.writing import replacing

_HEADER = "ccb_lib"  # the key of the JSON text in the safetensors metadata
_DIGEST = "sha256"  # the last entry of that JSON: a digest of all entries before it


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Write named tensors and a JSON header to one safetensors file, atomically.

    Args:
        path: The file to write.
        tensors: Names and tensors; moved to the CPU and made contiguous.
        header: A dict of anything JSON can hold.

    Raises:
        OSError: The folder cannot be written to, or the disk is full; see `replacing`.
    """
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({**header, _DIGEST: _digest_of(json.dumps(header))})
    with replacing(path) as part:
        try:
            save_file(ready, part, metadata={_HEADER: text})
        except SafetensorError as error:
            raise OSError(
                f"Cannot write {path}: {error}. Free some space, or choose another folder."
            ) from error


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of `save_tensors`.

    Returns:
        The tensors on the CPU, and the header.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is truncated, is no safetensors file, was not written by ccb_lib, or
            its header does not match the digest stored with it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"No file at {path.absolute()}. Check the path, or train and save first."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # the noqa: a safetensors file has keys() but cannot be iterated
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}). It may be truncated or of "
            "another kind; copy it again or save it again with save()."
        ) from error
    if _HEADER not in metadata:
        raise ValueError(
            f"{path} is a safetensors file, but not one of ccb_lib: its header has no '{_HEADER}' "
            f"entry (it has {sorted(metadata) or 'none'}). Give a file that ccb_lib wrote."
        )
    try:
        return tensors, _header_of(metadata[_HEADER])
    except ValueError as error:
        raise ValueError(
            f"The header of {path} {error}. Copy the file again or save it again."
        ) from error


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _header_of(text: str) -> dict[str, Any]:
    """Parse a header and compare it with its digest, which older files do not have."""
    try:
        header = json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except ValueError as error:  # invalid JSON, or a number with more digits than Python converts
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise ValueError(f"is {type(header).__name__}, not a JSON object")
    body, mark, stated = text.rpartition(f', "{_DIGEST}": "')
    if mark and stated[:-2] != _digest_of(body + "}"):
        raise ValueError(
            "does not match the digest stored with it: the file was damaged or changed"
        )
    header.pop(_DIGEST, None)
    return header


def read_header(path: str | Path) -> dict[str, Any]:
    """Read only the header of a file of `save_tensors`; ``{}`` if it is missing or damaged."""
    try:
        with safe_open(Path(path).expanduser(), framework="pt") as file:
            return _header_of((file.metadata() or {})[_HEADER])
    except (SafetensorError, OSError, KeyError, ValueError):
        return {}


def check_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise if tensors from a file do not fit the needed ones.

    Args:
        given: Tensors from the file.
        wanted: Tensors with the needed names, shapes and dtypes; may be on the meta device.

    Raises:
        ValueError: Names, shapes or dtypes differ, or a value is not finite.
    """
    facts = [
        {name: (tuple(t.shape), t.dtype) for name, t in part.items()} for part in (given, wanted)
    ]
    if facts[0] != facts[1]:
        odd = sorted(
            name
            for name in facts[0].keys() | facts[1].keys()
            if facts[0].get(name) != facts[1].get(name)
        )
        have, need = (part.get(odd[0], "none") for part in facts)
        raise ValueError(
            f"{len(odd)} tensors do not fit, such as {odd[0]!r}: {have} given, {need} needed"
        )
    if odd := [name for name, tensor in given.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{odd[0]!r} has values that are not finite")


def digest(*tensors: Tensor) -> str:
    """Hash tensors by shape, dtype and content, to identify data sets: 16 hexadecimal digits."""
    sha = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous()
        sha.update(f"{tuple(flat.shape)}{flat.dtype}".encode())
        sha.update(flat.flatten().view(torch.uint8).numpy().data if flat.numel() else b"")
    return sha.hexdigest()[:16]
