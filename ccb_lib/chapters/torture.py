"""Tables of what was tried to break the library, from the stored reports of ``make torture``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccb_lib.io.project_data import project_data

if TYPE_CHECKING:
    from IPython.display import Markdown

_COLUMNS = {
    "area": "what was attacked",
    "what": "how",
    "tried": "tried",
    "kept": "as it must be",
    "lost": "lost",
    "foreign_tracebacks": "tracebacks",
    "hangs": "hangs",
}


def attempts(name: str, folder: str | Path | None = None) -> "Markdown":
    """Return the report of one harness: a paragraph with the totals, and a table of all attempts.

    Args:
        name: ``"faults"``, ``"inputs"`` or ``"book"``.
        folder: Folder of the reports; ``data/results`` by default.

    Returns:
        Markdown; the words "Not run." if there is no report.

    Raises:
        ValueError: The file is not a report of ``make torture``.

    Example:
        >>> attempts("faults", "/nowhere").data
        'Not run.'
    """
    from IPython.display import Markdown

    path = Path(folder or project_data("results")) / f"torture-{name}.json"
    if not path.is_file():
        return Markdown("Not run.")
    try:
        return Markdown(_as_markdown(json.loads(path.read_text(encoding="utf-8"))))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a report of make torture ({error!r}). Run make torture again."
        ) from error


def _as_markdown(report: Mapping[str, Any]) -> str:
    rows, machine = report["rows"], report["machine"]
    sums = {column: sum(row[column] for row in rows) for column in list(_COLUMNS)[2:]}
    facts = f"Python {report['python']}, torch {report['torch']}, GPU: {machine['GPU']}"
    lines = [
        f"**{sums['tried']:,} attempts: {sums['lost']:,} lost, "
        f"{sums['foreign_tracebacks']:,} foreign tracebacks, {sums['hangs']:,} hangs.** "
        f"Made on {report['made']} with ccb_lib {report['library']} in "
        f"{report['seconds'] / 60:.0f} minutes on {machine['machine']}; {facts}.",
        "",
        f"| {' | '.join(_COLUMNS.values())} |",
        f"|---|---|{'---:|' * (len(_COLUMNS) - 2)}",
    ]
    for row in rows:
        reason = f"not run: {row['not_run']}"
        counts = [reason if row["not_run"] and not row["tried"] else f"{row['tried']:,}"]
        counts += [f"{row[column]:,}" if row["tried"] else "–" for column in list(_COLUMNS)[3:]]
        cells = [str(row["area"]), str(row["what"]), *counts]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)
