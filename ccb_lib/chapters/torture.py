"""Tables of the fault tests of the software, from the stored reports of ``make torture``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from ccb_lib.io.project_data import project_data

_COLUMNS = {
    "area": "what was attacked",
    "what": "how",
    "tried": "tried",
    "kept": "passed",
    "lost": "lost",
    "foreign_tracebacks": "tracebacks",
    "hangs": "hangs",
}


def attempts(name: str, folder: str | Path | None = None) -> Styler | Markdown:
    """Return the report of one harness: a table of all attempts, with the totals in its caption.

    Args:
        name: ``"faults"``, ``"inputs"`` or ``"book"``.
        folder: Folder of the reports; ``data/results`` by default.

    Returns:
        The table, with one row for each kind of attempt; the words "Not run." if there is no
        report.

    Raises:
        ValueError: The file is not a report of ``make torture``.

    Example:
        >>> attempts("faults", "/nowhere").data
        'Not run.'
    """
    path = Path(folder or project_data("results")) / f"torture-{name}.json"
    if not path.is_file():
        return Markdown("Not run.")
    try:
        return _table(json.loads(path.read_text(encoding="utf-8")))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a report of make torture ({error!r}). Run make torture again."
        ) from error


def _table(report: Mapping[str, Any]) -> Styler:
    rows, machine = report["rows"], report["machine"]
    counts = list(_COLUMNS)[2:]
    sums = {column: sum(row[column] for row in rows) for column in counts}
    caption = (
        f"{sums['tried']:,} attempts: {sums['lost']:,} lost, "
        f"{sums['foreign_tracebacks']:,} tracebacks, {sums['hangs']:,} hangs. "
        f"Made on {report['made']} with ccb_lib "
        f"{report['library']} in {report['seconds'] / 60:.0f} minutes on {machine['machine']}; "
        f"Python {report['python']}, torch {report['torch']}, GPU: {machine['GPU']}."
    )
    shown = []
    for row in rows:
        cells = {title: str(row[column]) for column, title in _COLUMNS.items()}
        cells |= {_COLUMNS[c]: f"{row[c]:,}" if row["tried"] else "–" for c in counts}
        if row["not_run"] and not row["tried"]:
            cells[_COLUMNS["tried"]] = f"not run: {row['not_run']}"
        shown.append(cells)
    return pd.DataFrame(shown).style.hide().format(escape="html").set_caption(caption)
