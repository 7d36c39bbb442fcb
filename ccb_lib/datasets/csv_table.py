"""Reading a CSV file with the columns path, label and optionally group."""

import csv
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from ccb_lib.io.image_files import listing

TABLE_ENDINGS = (".csv", ".tsv", ".txt")

Column = NDArray[np.str_]


def read_table(file: Path) -> tuple[list[Path], Column, Column, Column]:
    """Read a table of images with the columns ``path``, ``label`` and optionally ``group``.

    Columns are found by name, in any case and order. The separator is a comma, a semicolon or a
    tab. Paths are relative to the folder of the table and must stay in it, so a table from someone
    else cannot name other files of yours.

    Args:
        file: UTF-8, with or without a byte order mark.

    Returns:
        The paths, and for each path its id (the path relative to the folder, with ``/``), label and
        group. Without a group, the image is its own group.

    Raises:
        ValueError: The file is no such table; or rows are incomplete, are outside the folder, or
            name a missing file or a file twice. The message lists all such rows.
    """
    header, rows = _read_rows(file)
    base = file.parent.resolve()
    problems: dict[Path, str] = {}
    paths, ids, labels, groups = [], [], [], []
    line_of: dict[str, int] = {}
    for line, row in rows:
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        name, label = cells.get("path", ""), cells.get("label", "")
        at = Path(f"line {line}")
        if not name or not label:
            problems[at] = "path or label is empty"
            continue
        path = base / name
        problem = _problem(name, path, base)
        if problem:
            problems[at] = problem
            continue
        id_ = path.relative_to(base).as_posix()
        if id_ in line_of:
            problems[at] = f"{name} is already in line {line_of[id_]}"
            continue
        line_of[id_] = line
        paths.append(file.parent / path.relative_to(base))
        ids.append(id_)
        labels.append(label)
        groups.append(cells.get("group", "") or id_)
    if problems:
        raise ValueError(
            listing(
                problems,
                f"{file}: {len(problems)} of {len(rows)} rows cannot be used",
                "Correct or remove them.",
            )
        )
    if not paths:
        raise ValueError(
            f"{file} has a header but no rows. Write one line per image: path, label and "
            "optionally group."
        )
    return paths, np.array(ids, np.str_), np.array(labels, np.str_), np.array(groups, np.str_)


def _read_rows(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Split a table at the first of comma, semicolon and tab that gives both required columns."""
    # Not pandas.read_csv(sep=None): it has no line numbers for the errors, takes surplus cells for
    # an index, and splits the header path;label;age, years at the comma.
    try:
        text = file.read_text(encoding="utf-8-sig")
        first = (text.splitlines() or [""])[0]
        for mark in ",;\t":
            header = [
                name.strip().lower() for name in next(csv.reader([first], delimiter=mark), [])
            ]
            if {"path", "label"} <= set(header):
                reader = csv.reader(text.splitlines(keepends=True), delimiter=mark)
                return header, [(reader.line_num, row) for row in reader if any(row)][1:]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{file} cannot be read as a table ({error}). Save it as CSV in UTF-8."
        ) from error
    raise ValueError(
        f"{file} begins with {first[:100]!r}; a header with the columns path and label (and "
        "optionally group) is needed."
    )


def _problem(name: str, path: Path, base: Path) -> str | None:
    """Return the problem of a path, or ``None``; a link to a file outside counts as outside."""
    windows = PureWindowsPath(name)  # on every system it also recognises / and drives
    try:
        if (
            windows.drive
            or windows.root
            or ".." in windows.parts
            or not path.resolve().is_relative_to(base)
        ):
            return f"{name} lies outside the folder of the table; use a path relative to it"
        return None if path.is_file() else f"{name}: there is no such file"
    except (OSError, ValueError) as error:  # too long, or with a null byte
        return f"{name[:100]!r} is no path ({error})"
