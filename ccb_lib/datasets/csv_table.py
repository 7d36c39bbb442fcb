"""A CSV of path and label, perhaps with a group: checked row by row."""

import csv
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from ccb_lib.io.image_files import listing

TABLE_ENDINGS = (".csv", ".tsv", ".txt")

Column = NDArray[np.str_]


def read_table(file: Path) -> tuple[list[Path], Column, Column, Column]:
    """Read a table of images with the columns ``path``, ``label`` and perhaps ``group``.

    Columns are found by name, whatever their case and order; commas, semicolons and tabs are
    understood. Paths are relative to the folder of the file and must stay in it: a table from
    someone else names no other files of yours.

    Args:
        file: UTF-8, with or without a byte order mark.

    Returns:
        The paths, and for each its id (the path relative to the folder, with ``/``), label and
        group; an empty group makes the image a group of its own.

    Raises:
        ValueError: The file is no such table, or rows are incomplete, lie outside the folder, name
            no file, or name one twice. All broken rows are listed.
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
            problems[at] = f"{name} stands in line {line_of[id_]} already"
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
            f"{file} has a header but no rows. Write one line an image: path, label and perhaps "
            "group."
        )
    return paths, np.array(ids, np.str_), np.array(labels, np.str_), np.array(groups, np.str_)


def _read_rows(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Split a table at the first of comma, semicolon and tab that shows both needed columns."""
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
        "perhaps group) is needed."
    )


def _problem(name: str, path: Path, base: Path) -> str | None:
    """Say what is wrong with a path, if anything is; links that lead outside count as outside."""
    windows = PureWindowsPath(name)  # also understands / and drives, on every machine
    try:
        if (
            windows.drive
            or windows.root
            or ".." in windows.parts
            or not path.resolve().is_relative_to(base)
        ):
            return f"{name} lies outside the folder of the table; use a path relative to it"
        return None if path.is_file() else f"{name}: there is no such file"
    except (OSError, ValueError) as error:  # too long, or with a zero byte
        return f"{name[:100]!r} is no path ({error})"
