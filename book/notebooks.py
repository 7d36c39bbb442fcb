"""The pages of the book as notebooks that run anywhere.

The text of a notebook is plain Markdown, and its first cell installs the library from the wheel of
the book if it is missing.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import jupytext
import nbformat
import yaml
from citations import cited_works, reference_list
from nbformat import NotebookNode
from plain_markdown import Book, captioned, plain, read_book

FOLDER = "notebooks"  # in the built site
WITHOUT_NOTEBOOK = ("index", "status", "library")  # they teach nothing to run
EXTRAS = "widgets,dicom,nifti"  # what chapters use beyond the library's own requirements
WIDGET = "application/vnd.jupyter.widget-view+json"
HIDDEN = {  # tag of a page's cell -> what JupyterLab folds
    "hide-input": {"source_hidden": True},
    "remove-input": {"source_hidden": True},
    "hide-output": {"outputs_hidden": True},
    "remove-output": {"outputs_hidden": True},
    "hide-cell": {"source_hidden": True, "outputs_hidden": True},
}
INSTALL = """# Installs the library from the wheel of the book, if it is missing.
# The wheel is taken from the folder of this notebook, or else from SITE.
WHEEL = "{wheel}"
SHA256 = "{sha256}"
SITE = "{site}"

try:
    import ccb_lib
except ModuleNotFoundError:
    import hashlib, subprocess, sys, tempfile, urllib.request
    from pathlib import Path

    wheel = Path(WHEEL)
    if not wheel.is_file():
        if not SITE:
            raise FileNotFoundError(
                f"ccb_lib is not installed, and {{WHEEL}} is not in {{Path.cwd()}}. "
                "Download the wheel from the page where you got this notebook, "
                "put it into this folder, and run this cell again.") from None
        wheel = Path(tempfile.mkdtemp()) / WHEEL
        urllib.request.urlretrieve(SITE + WHEEL, wheel)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{{wheel}} has the SHA-256 {{found}}, but {{SHA256}} is needed. It is not "
            "the wheel of this notebook: download the two again, from the same "
            "page.") from None
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet",
                           f"{{wheel}}[{extras}]"])
    import ccb_lib"""


def pages_of(root: Path) -> list[Path]:
    """List the pages of ``_toc.yml``, in order."""
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in contents["parts"] for chapter in part["chapters"]]
    return [root / f"{name}.md" for name in [contents["root"], *(c["file"] for c in chapters)]]


def pages_with_notebook(pages: Iterable[Path]) -> list[Path]:
    """Choose the pages that have code to run."""
    return [
        page
        for page in pages
        if page.stem not in WITHOUT_NOTEBOOK and "```{code-cell}" in page.read_text("utf-8")
    ]


def book_of(root: Path, site: str = "") -> Book:
    """Read what the pages of a repository refer to."""
    pages = pages_of(root)
    return read_book(pages, (page.stem for page in pages_with_notebook(pages)), site)


def install_cell(wheel: str, sha256: str, site: str = "") -> str:
    """Return the source of the first cell of a notebook.

    Args:
        wheel: File name of the wheel.
        sha256: SHA-256 of the wheel.
        site: Address of the site, ending with ``/``; empty if there is none.
    """
    folder = f"{site}{FOLDER}/" if site else ""
    return INSTALL.format(wheel=wheel, sha256=sha256, site=folder, extras=EXTRAS)


def source_of(page: Path) -> NotebookNode:
    """Read a page as a notebook without outputs."""
    return jupytext.read(page, fmt="md:myst")


def notebook_of(page: NotebookNode, book: Book, install: str) -> NotebookNode:
    """Convert a page to a notebook that runs anywhere.

    Args:
        page: The page as a notebook, with or without outputs, its text in MyST.
        book: What the text refers to.
        install: Source of the first cell.

    Returns:
        A valid notebook of format 4.5. Captions of figures and the cited works are cells of text.

    Raises:
        ValueError: The text has syntax with no plain form.
    """
    cells = [_cell("code", install)]
    works: list[str] = []
    for cell in page.cells:
        if cell.cell_type != "code":
            works += cited_works(cell.source)
            cells += (
                [_cell("markdown", text)] if (text := plain(_unlinked(cell.source), book)) else []
            )
            continue
        cells += [_code_cell(cell)]
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if caption := figure.get("caption", ""):
            works += cited_works(caption)
            cells += [_cell("markdown", captioned(caption, figure.get("name", ""), book))]
    if works:
        references = reference_list(dict.fromkeys(works), book.bibliography)
        cells += [_cell("markdown", f"## References\n\n{references}")]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same page gives the same notebook
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.validate(notebook)
    return notebook


def _unlinked(text: str) -> str:
    """Remove the line that offers the notebook."""
    return re.sub(r"^.*\{nb-download\}.*$\n?", "", text, flags=re.MULTILINE)


def _cell(kind: str, source: str) -> NotebookNode:
    make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    return make(source=source)


def _code_cell(cell: NotebookNode) -> NotebookNode:
    """Copy a cell of code: what the page hides is folded; a widget needs a kernel, so it goes."""
    new = _cell("code", cell.source)
    tags = list(cell.metadata.get("tags", []))
    if tags:
        new.metadata["tags"] = tags
    folded = {key: value for tag in tags for key, value in HIDDEN.get(tag, {}).items()}
    if folded:
        new.metadata["jupyter"] = folded
    new.execution_count = cell.get("execution_count")
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "text/html" in data:
            data.pop(WIDGET, None)
        new.outputs.append(output)
    return new
