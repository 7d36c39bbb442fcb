"""The plan of measurements for the status page, with the number of runs done so far."""

from pathlib import Path

import pandas as pd

from ccb_lib.reproduction.plan import plan_path, read_plan, state_of


def plan_table(folder: str | Path | None = None) -> pd.DataFrame:
    """Return the plan of measurements with the number of stored runs of each entry.

    Args:
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One row for each entry of the plan, in its order. Columns ``entry``, ``why``, ``must``,
        ``command``, and ``runs done``, such as "3 of 9".

    Example:
        >>> list(plan_table().columns)
        ['entry', 'why', 'must', 'command', 'runs done']
    """
    rows = []
    for entry in read_plan(plan_path(folder)):
        state = state_of(entry, folder=folder)
        rows.append(
            {
                "entry": entry.name,
                "why": entry.why,
                "must": "must" if entry.must else "",
                "command": entry.command,
                "runs done": f"{len(state.done)} of {len(state.done) + len(state.missing)}",
            }
        )
    return pd.DataFrame(rows)
