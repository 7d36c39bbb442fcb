"""A cache of decoded images on disk, so that files are decoded only once."""

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
    """Return the images of ``read()``, from a cache if they were read with the same settings.

    The cache is in ``.ccb_cache`` beside the files or, if that folder is read-only, in the user's
    cache folder. A damaged cache file is replaced. A folder that cannot be read or written is
    skipped; if both are, nothing is cached.

    Args:
        root: The folder of the files.
        name: The data set.
        settings: Everything that the decoded images depend on, including a fingerprint of the
            files; anything JSON can hold.
        read: Function that decodes the images.
    """
    text = json.dumps(
        {"root": str(root.resolve()), "version": __version__, **settings}, sort_keys=True
    )
    file = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
    folders = [root / ".ccb_cache", user_cache_path("ccb_lib")]
    for folder in folders:
        try:
            tensors, header = load_tensors(folder / file)
            # Numpy takes 4 bytes for each character of text; lists in the header are smaller
            # and need no pickle.
            columns = {
                key: np.array(header[key], dtype=np.str_) for key in ("ids", "classes", "groups")
            }
            if all(len(column) == len(tensors["pixels"]) for column in columns.values()):
                return Images(
                    pixels=tensors["pixels"], skipped=tuple(header.get("skipped", ())), **columns
                )
        except (OSError, ValueError, KeyError):
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
    """Describe files or folders by name, size and modification time, to detect changes."""
    facts, beginning = [], f"{root}{os.sep}"
    # Strings: comparing Path objects is slow, and there may be 10,000.
    for name in sorted(map(str, paths)):
        status = os.stat(name)  # noqa: PTH116
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        facts.append([name.removeprefix(beginning), size, status.st_mtime_ns])
    return facts
