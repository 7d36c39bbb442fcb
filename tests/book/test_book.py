"""The chapters as files, and the pages once they are built."""

import os
import re
from pathlib import Path

import jupytext
import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"]] + [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
# These teach nothing to run.
WITHOUT_NOTEBOOK = ("book/index", "book/status", "book/library", "book/what-was-tried")
CHAPTERS = [page for page in PAGES if "jupytext" in (ROOT / f"{page}.md").read_text()]
LESSONS = (
    "problem",
    "design",
    "training",
    "thresholds",
    "baselines",
    "your-images",
    "lung-ct",
    "ham10000",
    "brain-mri",
)


@pytest.fixture(scope="module")
def html():
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        if os.environ.get("CCB_REQUIRE_BOOK"):
            pytest.fail("CCB_REQUIRE_BOOK is set, but the book is not built")
        pytest.skip("the book is not built (make book)")
    return folder


def test_every_text_is_in_the_table_of_contents():
    assert {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("page", CHAPTERS)
def test_what_a_page_imports_exists(page):
    text = (ROOT / f"{page}.md").read_text()
    imports = re.findall(r"^from (ccb_lib[\w.]*) import (\([^)]*\)|.*)$", text, re.M)
    for module, names in imports:
        exec(f"from {module} import {names}", {})


def test_every_module_is_on_a_page_of_the_library():
    pages = "".join(
        (ROOT / "book" / f"library{part}.md").read_text()
        for part in ("", "-reproduce", "-internals")
    )
    files = [path for path in (ROOT / "ccb_lib").rglob("*.py") if not path.name.startswith("__")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    shown = set(re.findall(r"automodule:: (\S+)", pages))
    assert shown <= modules
    assert {name for name in modules - shown if not name.startswith("ccb_lib.cli.")} == set()


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_opens_as_a_notebook(page):
    notebook = jupytext.read(ROOT / f"{page}.md")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    if page not in WITHOUT_NOTEBOOK:
        assert (
            f"{{nb-download}}`this page as a notebook <{Path(page).name}.ipynb>`"
            in (ROOT / f"{page}.md").read_text()
        )


@pytest.mark.parametrize("page", CHAPTERS)
def test_between_two_cells_stands_prose_and_cells_are_short(page):
    code = [cell for cell in jupytext.read(ROOT / f"{page}.md").cells if cell.cell_type == "code"]
    lengths = sorted(len(cell.source.splitlines()) for cell in code)
    assert lengths[len(lengths) // 2] <= 6


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_has_its_parts_and_its_code_fits_a_page(lesson):
    text = (ROOT / "book" / f"{lesson}.md").read_text()
    for part in (
        ":::{admonition} In this chapter",
        "**You need**",
        "**Time:**",
        ":::{admonition} Takeaway",
    ):
        assert text.count(part) == 1, part
    exercises, solutions = (
        re.findall(rf":::\{{{kind}\}}[^:]*:(?:label: )?", text) for kind in ("exercise", "solution")
    )
    assert len(exercises) == len(solutions) >= 2
    code = [
        cell.source
        for cell in jupytext.read(ROOT / "book" / f"{lesson}.md").cells
        if cell.cell_type == "code"
    ]
    assert [line for source in code for line in source.splitlines() if len(line) > 72] == []
    assert "if FOLDER" not in text


def test_cells_with_images_of_doubtful_terms_are_tagged():
    for page in CHAPTERS:
        for cell in jupytext.read(ROOT / f"{page}.md").cells:
            shows = cell.cell_type == "code" and "third_party_images(" in cell.source
            assert shows == ("third-party-images" in cell.metadata.get("tags", [])), (
                page,
                cell.source,
            )


@pytest.mark.parametrize("page", PAGES)
def test_a_built_page_takes_nothing_from_the_web(html, page):
    text = (html / f"{page}.html").read_text()
    loads = re.findall(r'<(?:script|img|iframe|source)[^>]*\bsrc="([^"]+)"', text)
    loads += re.findall(r'<link[^>]*\brel="(?:stylesheet|preload|icon)"[^>]*\bhref="([^"]+)"', text)
    assert loads
    assert [load for load in loads if re.match(r"(https?:)?//", load)] == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_built_chapter_was_executed_and_offers_its_notebook(html, page):
    text = (html / f"{page}.html").read_text()
    assert "Traceback (most recent call last)" not in text
    assert "cell_output" in text
    if page not in WITHOUT_NOTEBOOK:
        link = re.search(r'href="([^"]+\.ipynb)"', text)
        assert link
        downloaded = jupytext.read((html / page).parent / link.group(1))
        assert any(cell.get("outputs") for cell in downloaded.cells)


def test_the_repository_speaks_of_the_project_alone():
    """No paths of one machine in anything that is published."""
    for path in [
        *ROOT.glob("book/*.md"),
        *ROOT.glob("ccb_lib/**/*.py"),
        ROOT / "README.md",
        ROOT / "Makefile",
    ]:
        assert not re.search(r"/(home|root|work|Users)/\w+", path.read_text()), path


def shown_cells(page):
    """The code cells of a page that a reader sees, folded or not."""
    cells = jupytext.read(ROOT / f"{page}.md").cells
    hidden = {"remove-input", "remove-cell"}
    return [
        cell
        for cell in cells
        if cell.cell_type == "code" and not hidden & set(cell.metadata.get("tags", []))
    ]


@pytest.mark.parametrize("page", CHAPTERS)
def test_code_fits_the_column_and_plumbing_is_folded(page):
    for cell in shown_cells(page):
        assert [line for line in cell.source.splitlines() if len(line) > 72] == []
        imports = sum(line.startswith(("import ", "from ")) for line in cell.source.splitlines())
        folded = set(cell.metadata.get("tags", [])) & {"hide-input", "hide-cell"}
        assert folded or imports <= 4, cell.source


@pytest.mark.parametrize("page", CHAPTERS)
def test_something_to_try_stands_above_each_explorer(page):
    said = ""
    for cell in jupytext.read(ROOT / f"{page}.md").cells:
        if cell.cell_type == "markdown":
            said += cell.source
        elif re.search(r"ThresholdExplorer(\.from_table)?\(|results_explorer\(", cell.source):
            assert "Try this:" in said, cell.source
            said = ""


@pytest.mark.parametrize("page", CHAPTERS)
def test_no_output_is_raw_or_cut(html, page):
    text = re.sub(
        r"<figure class=\"ccb-explorer.*?</figure>",
        "",
        (html / f"{page}.html").read_text(),
        flags=re.S,
    )
    for output in re.findall(r'<div class="output.*?</div>', text, re.DOTALL):
        assert not re.search(
            r"torch\.Size|dtype|tensor\(|[ ([]array\(|\{&#39;|OrderedDict|\.\.\.</td>", output
        ), output
