"""Compare two builds of the book, byte by byte, but for dates and measured times.

Build the book in two copies of the repository, from nothing, and run::

    python -m tests.torture.book_twice FIRST/_build/html SECOND/_build/html

It lists the files that differ, and exits with status 1 if there are any. With ``--report`` it
writes the counts to ``data/results/torture-book.json``; rows of other areas there are kept.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from tests.torture.report import FOLDER, Row, stored, write

AREA = "two builds"
KINDS = {".html": "pages", ".ipynb": "notebooks", ".png": "figures"}
MEASURED = ("Modified", "Run Time (s)", "this build, on its CPU", "s / epoch", "ms / image")
"""Columns of tables whose cells are dates or measured times."""
PAGES_WITH_TIMES = ("book/status", "book/baselines", "book/run-on-a-gpu")
"""Pages with such tables. The search index has their numbers as words."""
NUMBER = re.compile(r"(ipynb)?\d+")
"""A number as a word of the search index; of a table in raw HTML, joined to the cell before it."""


def differences(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """Compare two built sites.

    Args:
        first: Folder of the one.
        second: Folder of the other.

    Returns:
        The names of all files of either; and of those that are in one only, or whose bytes differ
        after `masked`.

    Raises:
        FileNotFoundError: A folder has no ``index.html``.
    """
    for folder in (first, second):
        if not (folder / "index.html").is_file():
            raise FileNotFoundError(f"{folder} has no index.html. Give the folder _build/html.")
    names = sorted(files_of(first) | files_of(second))
    return names, [name for name in names if not _same(first / name, second / name, name)]


def files_of(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def masked(name: str, content: bytes) -> str | bytes:
    """Return the content of a file without dates and measured times.

    Args:
        name: Path of the file in the site.
        content: Its bytes.
    """
    if name.endswith(".html"):
        return without_times(content.decode("utf-8"))
    if name.endswith(".ipynb"):
        notebook = json.loads(content)
        for data in _outputs(notebook):
            text = "".join(data.get("text/html", []))
            if (without := without_times(text)) != text:
                data["text/html"], data["text/plain"] = without, ""  # the same table as text
        return json.dumps(notebook)
    if name == "searchindex.js":
        return _without_numbers_of_pages_with_times(content.decode("utf-8"))
    return content


def without_times(text: str) -> str:
    """Empty the cells of tables in HTML below the headers `MEASURED`; the rest stays as it is.

    Example:
        >>> table = "<table><tr><th>name</th><th>s / epoch</th></tr><tr><td>1</td><td>2</td></tr>"
        >>> without_times(table + "</table>")[-35:]
        '<tr><td>1</td><td></td></tr></table>'
    """
    return re.sub(r"<table\b.*?</table>", lambda found: _emptied(found[0]), text, flags=re.DOTALL)


def _emptied(table: str) -> str:
    soup = BeautifulSoup(table, "html.parser")
    rows = [row.find_all(["th", "td"]) for row in soup.find_all("tr")]
    columns = [n for n, cell in enumerate(rows[0]) if cell.get_text(strip=True) in MEASURED]
    if not columns:
        return table
    for row in rows[1:]:
        for column in columns:
            row[column].clear()
    return str(soup)


def _outputs(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            yield output.get("data", {})


def _without_numbers_of_pages_with_times(script: str) -> str:
    """Remove the pages with times from the entries of words that are numbers."""
    index = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))
    masked_pages = {n for n, name in enumerate(index["docnames"]) if name in PAGES_WITH_TIMES}
    for word, found in list(index["terms"].items()):
        if NUMBER.fullmatch(word):
            pages = set(found if isinstance(found, list) else [found]) - masked_pages
            index["terms"][word] = sorted(pages)
            if not pages:
                del index["terms"][word]
    return json.dumps(index)


def _same(first: Path, second: Path, name: str) -> bool:
    if not (first.is_file() and second.is_file()):
        return False
    one, other = first.read_bytes(), second.read_bytes()
    return one == other or masked(name, one) == masked(name, other)


def rows_of(names: Sequence[str], different: Sequence[str]) -> list[Row]:
    """Count files by kind.

    Args:
        names: All files.
        different: Those that differ.

    Returns:
        A row for each kind of file: ``kept`` are equal, ``lost`` differ.
    """
    rows: dict[str, Row] = {}
    for name in names:
        kind = KINDS.get(Path(name).suffix, "other files")
        row = rows.setdefault(
            kind, Row(AREA, f"{kind} equal byte by byte, but for dates and measured times")
        )
        row.tried += 1
        row.kept += name not in different
        row.lost += name in different
    return list(rows.values())


def report(rows: Sequence[Row], folder: Path = FOLDER) -> Path:
    """Write the rows into the report on the book, in place of earlier rows of this area."""
    seconds, earlier = stored("book", folder)
    others = [row for row in earlier if row.area != AREA]
    return write("book", [*others, *rows], seconds, folder)


def main(words: Sequence[str] | None = None) -> int:
    """Compare the two sites that are given; return 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sites", nargs=2, type=Path, help="two folders _build/html")
    parser.add_argument("--report", action="store_true", help="write the counts")
    given = parser.parse_args(words)
    names, different = differences(*given.sites)
    print(f"{len(names)} files compared, {len(different)} differ", *different, sep="\n  ")
    if given.report:
        print(report(rows_of(names, different)))
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
