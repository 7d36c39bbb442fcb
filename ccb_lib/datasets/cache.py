"""Decoded images kept on disk, so that heavy reading happens once."""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from ccb_lib import __version__
from ccb_lib.datasets.base import Images
from ccb_lib.io.tensors import load_tensors, save_tensors


def cached(root: Path, name: str, settings: dict[str, Any], read: Callable[[], Images]) -> Images:
    """Return ``read()``, from a cache if it was read before with the same settings.

    The cache lies in ``.ccb_cache`` beside the files or, where that folder is read-only, in the
    user's cache folder. A broken cache file is read anew and replaced. Where neither folder can be
    written, nothing is cached.

    Args:
        root: The folder of the files.
        name: The data set.
        settings: All that the decoded images depend on, a fingerprint of the files included; JSON.
        read: Decodes the images.
    """
    text = json.dumps(
        {"root": str(root.resolve()), "version": __version__, **settings}, sort_keys=True
    )
    file = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
    folders = [root / ".ccb_cache", user_cache_path("ccb_lib")]
    for folder in folders:
        try:
            tensors, header = load_tensors(folder / file)
            # Numpy holds text 4 bytes a letter; plain lists in the header stay small and need no
            # pickle.
            columns = {
                key: np.array(header[key], dtype=np.str_) for key in ("ids", "classes", "groups")
            }
            if all(len(column) == len(tensors["pixels"]) for column in columns.values()):
                return Images(
                    pixels=tensors["pixels"], skipped=tuple(header.get("skipped", ())), **columns
                )
        except (FileNotFoundError, ValueError, KeyError):
            continue
    images = read()
    header = {key: getattr(images, key).tolist() for key in ("ids", "classes", "groups")}
    header["skipped"] = list(images.skipped)
    for folder in folders:
        try:
            save_tensors(folder / file, {"pixels": images.pixels}, header)
            break
        except OSError:
            continue
    return images


def fingerprint(paths: list[Path], root: Path) -> list[list[Any]]:
    """Describe files or folders by name, size and time of change: differs when something was added or replaced."""
    facts, beginning = [], f"{root}{os.sep}"
    for name in sorted(
        map(str, paths)
    ):  # text, as paths are slow to compare and there may be 10,000
        status = os.stat(name)  # noqa: PTH116
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        facts.append([name.removeprefix(beginning), size, status.st_mtime_ns])
    return facts
