"""Sphinx extension: puts the notebooks, and the wheel that they install, into the built site.

A build writes ``notebooks/`` into the site: the wheel of the library, its SHA-256 in
``SHA256SUMS``, and a notebook of each page with code, which has the outputs of the build. The
toolbar of a page offers its notebook, as does the role ``nb-download``. The role ``library-wheel``
links to the wheel, and the directive ``notebook-table`` lists the notebooks.
"""

import html
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import library_wheel
import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from myst_nb.sphinx_ import NbMetadataCollector
from notebooks import FOLDER, book_of, install_cell, notebook_of, pages_of, pages_with_notebook
from sphinx.errors import ExtensionError
from sphinx.util.docutils import ReferenceRole, SphinxDirective
from strip_images import strip_images

if TYPE_CHECKING:
    from plain_markdown import Book
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

GPU_PAGE = "book/run-on-a-gpu"
TABLE_HEAD = ("chapter", "notebook", "this build, on its CPU", "on a GPU")
SAVE_NOTEBOOKS = """addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll('a[href$=".ipynb"]').forEach(a => a.setAttribute("download", "")))"""


class NotebookLink(ReferenceRole):
    """The role ``nb-download``: a link to the notebook of a page, by the name of its file."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link."""
        title = self.title if self.has_explicit_title else self.target
        return [_download(self.env.docname, self.target, title)], []


class WheelLink(ReferenceRole):
    """The role ``library-wheel``: a link to the wheel, and its SHA-256."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link and the text."""
        wheel = _wheel_in(Path(self.env.app.outdir))
        link = _download(self.env.docname, wheel.name, self.title)
        digest = f'<code style="overflow-wrap: anywhere">{library_wheel.sha256(wheel)}</code>'
        facts = nodes.raw("", f" ({wheel.name}, SHA-256 {digest})", format="html")
        return [link, facts], []


class NotebookTable(SphinxDirective):
    """The directive ``notebook-table``: the notebooks, with the time that each page took."""

    def run(self) -> list[nodes.Node]:
        """Return a placeholder; `fill_tables` replaces it when all pages have been executed."""
        return [TablePlaceholder()]


class TablePlaceholder(nodes.General, nodes.Element):
    """Stands for the table until all pages have been executed."""


def fill_tables(app: "Sphinx", doctree: nodes.document, docname: str) -> None:
    """Replace the placeholders of a page by the table."""
    for place in doctree.findall(TablePlaceholder):
        rows = []
        for page in pages_with_notebook(pages_of(Path(app.srcdir))):
            name = f"{page.parent.name}/{page.stem}"
            seconds = (NbMetadataCollector.get_exec_data(app.env, name) or {}).get("runtime")
            title = html.escape(app.env.titles[name].astext())
            notebook = _download(docname, f"{page.stem}.ipynb", f"{page.stem}.ipynb").astext()
            cells = (f'<a href="{page.stem}.html">{title}</a>', notebook, minutes(seconds),
                     minutes(None))  # fmt: skip
            rows += ["".join(f"<td>{cell}</td>" for cell in cells)]
        head = "".join(f"<th>{name}</th>" for name in TABLE_HEAD)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        scrolled = f'<div style="overflow-x: auto">{table}</div>'
        place.replace_self(nodes.raw("", scrolled, format="html"))


def minutes(seconds: float | None) -> str:
    """Return a time as text; ``None`` was not measured."""
    return "not measured" if seconds is None else f"{seconds / 60:.1f} min"


def build_wheel(app: "Sphinx") -> None:
    """Put the wheel and its SHA-256 into the site, before any page is read."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wheel = library_wheel.build(Path(app.srcdir), folder)
    (folder / "SHA256SUMS").write_text(f"{library_wheel.sha256(wheel)}  {wheel.name}\n")


def outdated_pages(app: "Sphinx", env: "BuildEnvironment", *_: Any) -> list[str]:
    """Name the pages to read again: that with the wheel's SHA-256, and those to execute again."""
    pages = pages_with_notebook(pages_of(Path(app.srcdir)))
    return [
        GPU_PAGE,
        *(f"book/{page.stem}" for page in pages if not _executed(env, page).is_file()),
    ]


def write_notebooks(app: "Sphinx", exception: Exception | None) -> None:
    """Write the notebooks into the site, with the outputs of the build."""
    if exception is not None or app.builder.format != "html":
        return
    root, folder = Path(app.srcdir), Path(app.outdir) / FOLDER
    site = app.config.html_baseurl
    site = site if not site or site.endswith("/") else f"{site}/"
    book, wheel = _numbered(book_of(root, site), app.env), _wheel_in(Path(app.outdir))
    install = install_cell(wheel.name, library_wheel.sha256(wheel), site)
    pages = pages_with_notebook(pages_of(root))
    cache = get_cache(app.env.mystnb_config.execution_cache_path)
    for old in folder.glob("*.ipynb"):
        old.unlink()
    for page in pages:
        executed = _executed(app.env, page)
        if not executed.is_file():
            raise ExtensionError(f"{executed} is missing. Delete _build and build the book again.")
        notebook = nbformat.read(executed, as_version=4)
        if not any(cell.get("outputs") for cell in notebook.cells):
            # myst-nb writes a page that it took from its cache without its outputs. A page that
            # was not executed is not in the cache.
            with suppress(KeyError):
                _, notebook = cache.merge_match_into_notebook(notebook)
        notebook = notebook_of(notebook, book, install)
        nbformat.write(notebook, folder / f"{page.stem}.ipynb")
    strip_images(folder)


def offer_notebook(
    app: "Sphinx", pagename: str, template: str, context: dict, doctree: Any
) -> None:
    """Add the notebook of a page to the download button of the toolbar."""
    root = Path(app.srcdir)
    if root / f"{pagename}.md" in pages_with_notebook(pages_of(root)):
        # The theme looks for it beside the copied sources.
        context["ipynb_source"] = f"../{FOLDER}/{Path(pagename).name}.ipynb"


def show_repository_buttons(app: "Sphinx", config: Any) -> None:
    """Show the buttons of the repository if ``_config.yml`` has its address."""
    options = config.html_theme_options
    if options.get("repository_url"):
        for button in ("repository", "edit_page", "issues"):
            options[f"use_{button}_button"] = True


def _executed(env: "BuildEnvironment", page: Path) -> Path:
    """Return where myst-nb writes a page with its outputs."""
    return Path(env.mystnb_config.output_folder) / "book" / f"{page.stem}.ipynb"


def _numbered(book: "Book", env: "BuildEnvironment") -> "Book":
    """Take the numbers of equations and figures from the build."""
    equations = {label: str(number) for label, (_, number) in env.domains["math"].equations.items()}
    figures = {}
    for name, (docname, identifier) in env.domains["std"].anonlabels.items():
        number = env.toc_fignumbers.get(docname, {}).get("figure", {}).get(identifier)
        if number:
            figures[name] = ".".join(map(str, number))
    figures = {**book.figures, **figures}
    return replace(book, equations={**book.equations, **equations}, figures=figures)


def _wheel_in(site: Path) -> Path:
    (wheel,) = (site / FOLDER).glob("*.whl")
    return wheel


def _download(docname: str, file: str, title: str) -> nodes.raw:
    address = f"{'../' * docname.count('/')}{FOLDER}/{file}"
    link = f'<a class="reference download" download href="{address}">{html.escape(title)}</a>'
    return nodes.raw("", link, format="html")


def setup(app: "Sphinx") -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_node(TablePlaceholder)
    app.add_role("nb-download", NotebookLink(), override=True)
    app.add_role("library-wheel", WheelLink())
    app.add_directive("notebook-table", NotebookTable)
    # A browser would show the text of a notebook; it is to be saved.
    app.add_js_file(None, body=SAVE_NOTEBOOKS)
    app.connect("config-inited", show_repository_buttons)
    app.connect("builder-inited", build_wheel)
    app.connect("env-get-outdated", outdated_pages)
    app.connect("doctree-resolved", fill_tables)
    app.connect("html-page-context", offer_notebook, priority=500)  # the theme's has 501
    app.connect("build-finished", write_notebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
