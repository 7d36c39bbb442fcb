"""How stored measurements of speed are shown: tables and figures with gaps named, and the command that fills each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ccb_lib.benchmark.files import LOAD, stored_benchmarks
from ccb_lib.plots.style import GREY, MARKERS, NOT_RUN, PALETTE, panels, styled
from ccb_lib.reproduction.runs import PAPER_METHODS, results_folder

if TYPE_CHECKING:
    from IPython.display import Markdown

COMMANDS = {
    "CPU": "ccb bench --device cpu --out data/results/bench-cpu.json",
    "GPU": "ccb bench --device cuda --out data/results/bench-gpu.json",
    "targets": "ccb bench --device cuda --targets --out data/results/bench-gpu-targets.json",
    "profile": "ccb bench --device cuda --profile --at-once 1 --at-once 10 --out data/results/bench-gpu-profile.json",
}
# Groups that `ccb bench` measures in turns: the column that changes, and what to call it.
AXES = {
    "image_size": ("image_size", "image size, px"),
    "chain": ("depth", "blocks in all four chains"),
    "batch": ("batch", "batch"),
    "detectors": ("detectors", "detectors"),
}
_COLOURS = {"eager": PALETTE[1], "fast": PALETTE[0], "compiled": PALETTE[2]}
_DEPTH = 10  # of CCB's own chains


def measurements(folder: str | Path | None = None) -> pd.DataFrame:
    """Load every stored measurement, one row a number.

    Args:
        folder: Of ``bench-*.json``; ``data/results`` by default.

    Returns:
        Columns ``kind`` (``"CPU"`` or ``"GPU"``), ``file``, ``what``, ``method``, ``path``, the setting, ``median``,
        ``low``, ``high``, ``unit`` and what else was stored; ``depth`` is the number of blocks in all chains.
    """
    rows = [
        {"kind": kind_of(content), "file": name, "waiting": content["machine"].get("waiting threads", "–"), **row}
        for name, content in stored_benchmarks(_folder(folder))
        for row in content["rows"]
    ]
    columns = ["kind", "file", "what", "method", "path", "group", "image_size", "batch", "width", "chain", "detectors"]
    frame = pd.DataFrame(rows, columns=None if rows else [*columns, "median", "low", "high", "ratio", "unit"])
    chains = frame["chain"] if "chain" in frame else pd.Series(dtype=object)
    frame["depth"] = [_DEPTH if not isinstance(chain, list) else sum(chain) for chain in chains]
    return frame


def kind_of(content: dict[str, Any]) -> str:
    """Say whether a file was measured on a ``"CPU"`` or on a ``"GPU"``."""
    return "CPU" if content["machine"]["device"] == "CPU" else "GPU"


def machines(folder: str | Path | None = None) -> pd.DataFrame:
    """Describe what measured: a column for each machine, facts as rows; files of one machine share a column."""
    found: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {}
    for name, content in stored_benchmarks(_folder(folder)):
        facts = dict(content["machine"])
        load = facts.pop(LOAD, "–")
        found.setdefault(str(sorted(facts.items())), (facts, []))[1].append((name, load))
    columns = {}
    for facts, files in found.values():
        loads = [load if len(files) == 1 else f"{name}: {load}" for name, load in files]
        columns[", ".join(name for name, _ in files)] = {**facts, LOAD: "; ".join(loads)}
    return pd.DataFrame(columns).fillna("–")


def missing(what: str) -> "Markdown":
    """Say that something was not run, and the command that does it."""
    from IPython.display import Markdown

    return Markdown(f"*{NOT_RUN}*; to fill in: `{COMMANDS[what]}`")


def step_table(frame: pd.DataFrame, kind: str) -> "pd.DataFrame | Markdown":
    """Milliseconds a training step of each method, plain and fast, alone and several at a time.

    Args:
        frame: From `measurements`.
        kind: ``"CPU"`` or ``"GPU"``.

    Returns:
        Medians with quartiles as text, and how many times faster; where nothing was measured, the command to do so.
    """
    steps = _group(frame, kind, "method")
    if steps.empty:
        return missing(kind)
    steps = steps.astype({"detectors": int}).drop_duplicates(["method", "detectors", "path"], keep="last")
    steps = steps.assign(cell=[f"{m:g} [{low:g}, {high:g}]" for m, low, high in _triples(steps)])
    index = ["method", "detectors"]
    table = steps.pivot_table(index=index, columns="path", values="cell", aggfunc="first", sort=False)
    ratio = steps[steps["path"] == "fast"].set_index(index)["ratio"]
    table["eager / fast"] = [f"{value:.2f}" for value in ratio.reindex(table.index)]
    order = [(m, n) for m in PAPER_METHODS for n in sorted(steps["detectors"].unique()) if (m, n) in table.index]
    return table.fillna(NOT_RUN).loc[order].rename_axis(index=["method", "at a time"], columns="ms a step")


@styled
def cost_figure(frame: pd.DataFrame, kind: str) -> "Figure | Markdown":
    """How CCB's step grows with image size, chains, batch and detectors: a panel each, a line for each path.

    Args:
        frame: From `measurements`.
        kind: ``"CPU"`` or ``"GPU"``.

    Returns:
        The figure, medians with quartiles on logarithmic scales; where nothing was measured, the command to do so.
    """
    groups = {name: _group(frame, kind, name) for name in AXES}
    if all(group.empty for group in groups.values()):
        return missing(kind)
    figure, axes = panels(2, 2, height=2.3, share_y=False)
    paths = [path for path in _COLOURS if any(path in set(group["path"]) for group in groups.values())]
    for ax, (name, (column, label)) in zip(axes, AXES.items(), strict=True):
        for number, path in enumerate(paths):
            group = groups[name]
            _line(ax, group[group["path"] == path].sort_values(column), column, path, MARKERS[number])
        ax.set(xlabel=label, yscale="log")
        ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.set_ylabel("ms a step" if name in ("image_size", "batch") else "")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(paths))
    return figure


def _line(ax: Axes, line: pd.DataFrame, name: str, path: str, marker: str) -> None:
    """A line over equal steps, each labelled with its value; quartiles as bars."""
    if line.empty:
        ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", color=GREY)
        return
    middle, low, high = np.array(_triples(line)).T
    where = range(len(line))
    errors = np.clip([middle - low, high - middle], 0, None)
    ax.errorbar(where, middle, errors, marker=marker, color=_COLOURS[path], label=path, capsize=2)
    ax.set_xticks(where, [f"{value:g}" for value in line[name]])


def growth(frame: pd.DataFrame, kind: str) -> "pd.DataFrame | Markdown":
    """How many times the axis' first step each setting costs, on the fast path, along each axis of `cost_figure`."""
    rows = []
    for name, (column, label) in AXES.items():
        line = _group(frame[frame["path"] == "fast"], kind, name).sort_values(column)
        for _, row in line.iterrows():
            times = row["median"] / line["median"].iloc[0]
            rows.append({"along": label, "setting": f"{row[column]:g}", "ms a step": row["median"], "times": times})
    if not rows:
        return missing(kind)
    return pd.DataFrame(rows).set_index(["along", "setting"]).round(2)


def throughput(frame: pd.DataFrame, kind: str) -> "pd.DataFrame | Markdown":
    """Images scored in a second by each method, plain and fast, or the command that measures them."""
    found = frame[(frame["what"] == "score") & (frame["kind"] == kind)]
    if found.empty:
        return missing(kind)
    table = found.pivot_table(index="method", columns="path", values="median", aggfunc="first", sort=False)
    searched = found.groupby("method")["search_steps"].first() if "search_steps" in found else pd.Series(dtype=float)
    table["note"] = [
        f"{searched[m]:g} steps of search" if m in searched and not pd.isna(searched[m]) else "" for m in table.index
    ]
    return table.reindex([m for m in PAPER_METHODS if m in table.index]).rename_axis(columns="images a second")


def operations(frame: pd.DataFrame) -> "pd.DataFrame | Markdown":
    """What a step asks of the device: the number of operations by method and way, of the newest measurement."""
    found = frame[frame["what"] == "operations"]
    if found.empty:
        return missing("CPU")
    table = found.pivot_table(index="method", columns="path", values="median", aggfunc="last", sort=False)
    return table.astype(int).reindex([m for m in PAPER_METHODS if m in table.index]).rename_axis(columns="a step")


def threads(frame: pd.DataFrame) -> "pd.DataFrame | str":
    """Milliseconds a step on a CPU by width and threads: the median, and the best turn."""
    found = frame[frame["what"] == "threads"]
    if found.empty:
        return NOT_RUN
    found = found.assign(cell=[f"{m:g} (best {b:g})" for m, b in zip(found["median"], found["best"], strict=True)])
    index = ["waiting", "width"]
    return found.pivot_table(index=index, columns="path", values="cell", aggfunc="first").rename_axis(
        columns="ms a step"
    )


def targets(folder: str | Path | None = None) -> pd.DataFrame:
    """What the fast path was meant to reach, what was measured, and where; unmeasured where it was not run."""
    from ccb_lib.benchmark.targets import promised

    rows = {
        (kind, target.name): {
            "needs": kind, "target": target.name, "limit": target.limit_words, "measured": NOT_RUN,
            "reached": "–", "on": "–",
        }
        for kind, target in promised()
    }  # fmt: skip
    for _, content in stored_benchmarks(_folder(folder)):
        for row in content.get("targets", []):
            for key in rows:
                if key[1] == row["name"] and row["measured"] is not None:
                    reached = "yes" if row["reached"] else "no"
                    rows[key] |= {"measured": f"{row['measured']:g} {row['unit']}", "reached": reached}
                    rows[key]["on"] = content["machine"]["device"] + (" (quick)" if content.get("quick") else "")
    return pd.DataFrame(rows.values()).set_index("target")


def top_kernels(folder: str | Path | None = None) -> "pd.DataFrame | Markdown":
    """The dearest kernels of CCB's fast step on a GPU, or the command that names them."""
    for _, content in stored_benchmarks(_folder(folder)):
        if kind_of(content) == "GPU" and "profile" in content:
            return pd.DataFrame({name: rows for name, rows in content["profile"].items() if "fast" in name})
    return missing("profile")


def _group(frame: pd.DataFrame, kind: str, name: str) -> pd.DataFrame:
    """Steps that were measured in turns with each other, on one kind of device."""
    if "group" not in frame:
        return frame.iloc[:0]
    return frame[(frame["what"] == "step") & (frame["kind"] == kind) & (frame["group"] == name)]


def _triples(frame: pd.DataFrame) -> Sequence[tuple[float, float, float]]:
    return list(zip(frame["median"], frame["low"], frame["high"], strict=True))


def _folder(folder: str | Path | None) -> Path:
    return Path(folder) if folder is not None else results_folder()
