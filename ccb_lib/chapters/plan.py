"""The plan of measurements as the status page shows it: with what is done, counted when the page is built."""

from pathlib import Path

import pandas as pd

from ccb_lib.reproduction.plan import plan_path, read_plan, state_of


def plan_table(folder: str | Path | None = None) -> pd.DataFrame:
    """Lay out the plan with what is stored.

    Args:
        folder: Of the results; ``data/results`` by default.

    Returns:
        One row an entry, in order: ``entry``, ``why``, ``must``, ``command``, and ``runs done``, such as "3 of 9".

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
