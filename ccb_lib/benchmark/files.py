"""Results of `ccb bench` as JSON files, with a description of the machine."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ccb_lib.environment import choose_device, machine
from ccb_lib.io.writing import replacing

FORMAT = 1
LOAD = "load before (1, 5, 15 minutes)"  # the only fact that changes on the same machine

Row = dict[str, Any]


def about(device: str = "auto") -> dict[str, str]:
    """Describe the machine: hardware, versions, threads, and its load at the time of the call.

    Args:
        device: As in `Detector`.

    Returns:
        Facts by name. ``device`` is ``"CPU"``, or the name of the GPU if ``device`` is CUDA.
    """
    chosen = choose_device(device)
    cuda = chosen.type == "cuda"
    facts = {
        "device": torch.cuda.get_device_name(chosen) if cuda else "CPU",
        "processor": _processor(),
        **machine(chosen if cuda else None),
    }
    if cuda:
        major, minor = torch.cuda.get_device_capability(chosen)
        facts |= {
            "CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version()),
            "compute capability": f"{major}.{minor}",
        }  # fmt: skip
    waiting = os.environ.get("OMP_WAIT_POLICY", "spin, then sleep (the default)")
    load = (
        ", ".join(f"{average:.1f}" for average in os.getloadavg())
        if hasattr(os, "getloadavg")
        else "unknown"
    )
    return {**facts, "waiting threads": waiting, LOAD: load}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def write(path: Path, rows: Sequence[Row], facts: dict[str, str], **more: Any) -> None:
    """Write rows and the facts of the machine as JSON, atomically."""
    content = {
        "format": FORMAT, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": facts, **more,
        "rows": list(rows),
    }  # fmt: skip
    with replacing(path) as part:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a file written by `write`.

    Raises:
        ValueError: The file has another kind or format.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or not isinstance(content["rows"], list):
            raise ValueError(f"format {content['format']!r}")
        str(content["machine"]["device"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no measurement of `ccb bench`, format {FORMAT} ({error}). Write it again "
            "with --out."
        ) from error
    return content


def stored_benchmarks(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of every ``bench-*.json`` in a folder, sorted by name."""
    for path in sorted(folder.glob("bench-*.json")):
        yield path.stem, read(path)
