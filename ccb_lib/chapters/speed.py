"""Tables and figures of stored speed measurements.

Where a measurement is missing, a function returns "not run" and the command that measures it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown

from ccb_lib.benchmark.files import LOAD, stored_benchmarks
from ccb_lib.plots.style import NOT_RUN
from ccb_lib.reproduction.registry import PAPER_METHODS
from ccb_lib.reproduction.runs import results_folder

COMMANDS = {
    "CPU": "ccb bench --device cpu --out data/results/bench-cpu.json",
    "GPU": "ccb bench --device cuda --out data/results/bench-gpu.json",
    "targets": "ccb bench --device cuda --targets --out data/results/bench-gpu-targets.json",
    "profile": "ccb bench --device cuda --profile --at-once 1 --at-once 10 "
    "--out data/results/bench-gpu-profile.json",
}
_COLUMNS = ["kind", "file", "what", "method", "path", "group", "image_size", "batch", "width",
            "chain", "detectors", "median", "low", "high", "ratio", "unit"]  # fmt: skip
_DEPTH = 10  # blocks in all chains of CCB by default
# Stored files have the names on the left, so they are replaced only where they are shown.
_TARGETS_SHOWN = {
    "bfloat16: its mean AUC from float32's, in what another seed changes": "bfloat16: difference "
    "of its mean AUC from float32's, in spreads over seeds",
    "The plain path's time over the fast one's, at the worst": "Time on the plain path divided by "
    "time on the fast path, lowest of all methods and widths",
}


def measurements(folder: str | Path | None = None) -> pd.DataFrame:
    """Load all stored speed measurements.

    Args:
        folder: Folder of the files ``bench-*.json``; ``data/results`` by default.

    Returns:
        One measurement a row. Columns ``kind`` (``"CPU"`` or ``"GPU"``), ``file``, ``what``,
        ``method``, ``path``, the settings, ``median``, ``low`` and ``high`` (quartiles), ``unit``
        and other stored values. ``depth`` is the number of blocks in all chains.

    Example:
        >>> "median" in measurements()
        True
    """
    rows = []
    for name, content in stored_benchmarks(Path(folder or results_folder())):
        waiting = content["machine"].get("waiting threads", "–")
        about = {"kind": kind_of(content), "file": name, "waiting": waiting}
        rows += [{**about, **row} for row in content["rows"]]
    # The files call the plain path "eager".
    frame = pd.DataFrame(rows, columns=None if rows else _COLUMNS).replace(
        {"path": {"eager": "plain"}}
    )
    chains = frame["chain"] if "chain" in frame else pd.Series(dtype=object)
    frame["depth"] = [_DEPTH if not isinstance(chain, list) else sum(chain) for chain in chains]
    return frame


def kind_of(content: dict[str, Any]) -> str:
    """Return the kind of device that a benchmark file was measured on, ``"CPU"`` or ``"GPU"``.

    Example:
        >>> kind_of({"machine": {"device": "CPU"}})
        'CPU'
    """
    return "CPU" if content["machine"]["device"] == "CPU" else "GPU"


def machines(folder: str | Path | None = None) -> pd.DataFrame:
    """Describe the machines that were measured on.

    Args:
        folder: Folder of the files ``bench-*.json``; ``data/results`` by default.

    Returns:
        One column for each machine, named by its files; rows are properties of the machine.

    Example:
        >>> machines("/nowhere").empty
        True
    """
    found: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {}
    for name, content in stored_benchmarks(Path(folder or results_folder())):
        facts = dict(content["machine"])
        load = facts.pop(LOAD, "–")
        found.setdefault(str(sorted(facts.items())), (facts, []))[1].append((name, load))
    columns = {}
    for facts, files in found.values():
        loads = [load if len(files) == 1 else f"{name}: {load}" for name, load in files]
        columns[", ".join(name for name, _ in files)] = {**facts, LOAD: "; ".join(loads)}
    return pd.DataFrame(columns).fillna("–")


def missing(what: str) -> Markdown:
    """Return a line that says "not run", with the command that runs it.

    Args:
        what: A key of `COMMANDS`.

    Example:
        >>> missing("CPU").data.startswith("*not run*; to fill in: `ccb bench")
        True
    """
    return Markdown(f"*{NOT_RUN}*; to fill in: `{COMMANDS[what]}`")


def step_table(frame: pd.DataFrame, kind: str) -> pd.DataFrame | Markdown:
    """Return the milliseconds a training step takes, by method, number of detectors and path.

    Args:
        frame: From `measurements`.
        kind: ``"CPU"`` or ``"GPU"``.

    Returns:
        Medians with quartiles as text, and the time of the plain path divided by that of the fast
        path. If nothing was measured, the command that measures it.

    Example:
        >>> step_table(measurements("/nowhere"), "CPU").data.startswith("*not run*")
        True
    """
    steps = steps_of_group(frame, kind, "method")
    if steps.empty:
        return missing(kind)
    steps = steps.astype({"detectors": int}).drop_duplicates(
        ["method", "detectors", "path"], keep="last"
    )
    steps = steps.assign(cell=[f"{m:g} [{low:g}, {high:g}]" for m, low, high in quartiles(steps)])
    index = ["method", "detectors"]
    table = steps.pivot_table(
        index=index, columns="path", values="cell", aggfunc="first", sort=False
    )
    ratio = steps[steps["path"] == "fast"].set_index(index)["ratio"]
    table["plain / fast"] = [f"{value:.2f}" for value in ratio.reindex(table.index)]
    order = [
        (m, n)
        for m in PAPER_METHODS
        for n in sorted(steps["detectors"].unique())
        if (m, n) in table.index
    ]
    return (
        table.fillna(NOT_RUN)
        .loc[order]
        .rename_axis(index=["method", "at a time"], columns="ms a step")
    )


def throughput(frame: pd.DataFrame, kind: str) -> pd.DataFrame | Markdown:
    """Return the images scored in a second, by method and path.

    Args:
        frame: From `measurements`.
        kind: ``"CPU"`` or ``"GPU"``.

    Returns:
        One row a method. If nothing was measured, the command that measures it.

    Example:
        >>> throughput(measurements("/nowhere"), "CPU").data.startswith("*not run*")
        True
    """
    found = frame[(frame["what"] == "score") & (frame["kind"] == kind)]
    if found.empty:
        return missing(kind)
    table = found.pivot_table(
        index="method", columns="path", values="median", aggfunc="first", sort=False
    )
    searched = (
        found.groupby("method")["search_steps"].first()
        if "search_steps" in found
        else pd.Series(dtype=float)
    )
    table["note"] = [
        f"{searched[m]:g} steps of search" if m in searched and not pd.isna(searched[m]) else ""
        for m in table.index
    ]
    return table.reindex([m for m in PAPER_METHODS if m in table.index]).rename_axis(
        columns="images a second"
    )


def threads(frame: pd.DataFrame) -> pd.DataFrame | str:
    """Return the milliseconds a step takes on a CPU, by width and number of threads.

    Args:
        frame: From `measurements`.

    Returns:
        Median and minimum as text; "not run" if nothing was measured.

    Example:
        >>> threads(measurements("/nowhere"))
        'not run'
    """
    found = frame[frame["what"] == "threads"]
    if found.empty:
        return NOT_RUN
    found = found.assign(
        cell=[f"{m:g} (best {b:g})" for m, b in zip(found["median"], found["best"], strict=True)]
    )
    index = ["waiting", "width"]
    return found.pivot_table(
        index=index, columns="path", values="cell", aggfunc="first"
    ).rename_axis(columns="ms a step")


def targets(folder: str | Path | None = None) -> pd.DataFrame:
    """Return the targets of the fast path with the measured values.

    Args:
        folder: Folder of the files ``bench-*.json``; ``data/results`` by default.

    Returns:
        One row a target: ``needs`` (the kind of device), ``limit``, ``measured`` ("not run" if it
        is missing), ``reached``, and ``on`` (the device).

    Example:
        >>> set(targets("/nowhere")["measured"])
        {'not run'}
    """
    from ccb_lib.benchmark.targets import promised

    rows = {
        (kind, target.name): {
            "needs": kind, "target": target.name, "limit": target.limit_words,
            "measured": NOT_RUN, "reached": "–", "on": "–",
        }
        for kind, target in promised()
    }  # fmt: skip
    for _, content in stored_benchmarks(Path(folder or results_folder())):
        for row in content.get("targets", []):
            for key in rows:
                if key[1] == row["name"] and row["measured"] is not None:
                    quick = " (quick)" if content.get("quick") else ""
                    rows[key]["measured"] = f"{row['measured']:g} {row['unit']}"
                    rows[key]["reached"] = "yes" if row["reached"] else "no"
                    rows[key]["on"] = content["machine"]["device"] + quick
    return pd.DataFrame(rows.values()).replace({"target": _TARGETS_SHOWN}).set_index("target")


def top_kernels(folder: str | Path | None = None) -> pd.DataFrame | Markdown:
    """Return the kernels of CCB's fast step with the most GPU time.

    Args:
        folder: Folder of the files ``bench-*.json``; ``data/results`` by default.

    Returns:
        One column a profile. If nothing was profiled, the command that profiles it.

    Example:
        >>> "--profile" in top_kernels("/nowhere").data
        True
    """
    for _, content in stored_benchmarks(Path(folder or results_folder())):
        if kind_of(content) == "GPU" and "profile" in content:
            return pd.DataFrame(
                {name: rows for name, rows in content["profile"].items() if "fast" in name}
            )
    return missing("profile")


def steps_of_group(frame: pd.DataFrame, kind: str, name: str) -> pd.DataFrame:
    """Return the steps of one group, which were measured alternately, on one kind of device.

    Example:
        >>> steps_of_group(measurements("/nowhere"), "CPU", "method").empty
        True
    """
    if "group" not in frame:
        return frame.iloc[:0]
    return frame[(frame["what"] == "step") & (frame["kind"] == kind) & (frame["group"] == name)]


def quartiles(frame: pd.DataFrame) -> Sequence[tuple[float, float, float]]:
    """Return (median, lower quartile, upper quartile) of each row.

    Example:
        >>> quartiles(pd.DataFrame({"median": [2], "low": [1], "high": [3]}))
        [(2, 1, 3)]
    """
    return list(zip(frame["median"], frame["low"], frame["high"], strict=True))
