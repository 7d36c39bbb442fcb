"""The pages as notebooks: plain Markdown, the cell that installs the wheel, execution outside."""

import ast
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import library_wheel
import nbformat
import pytest
import yaml
from notebook_runs import execute, settings_cell, with_values
from notebook_site import show_repository_buttons
from notebooks import (
    book_of,
    install_cell,
    notebook_of,
    pages_of,
    pages_with_notebook,
    source_of,
)
from plain_markdown import Book, plain, read_book

ROOT = Path(__file__).parents[2]
PAGES = pages_with_notebook(pages_of(ROOT))
MYST = re.compile(
    r"^ *[:`~]{3,}\{"  # a directive
    r"|\{[\w:+-]+\}`"  # a role
    r"|^\([\w:-]+\)=$"  # a label
    r"|\]\([\w/-]*\.md[)#]",  # a link to a source
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def book():
    return book_of(ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return library_wheel.build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_becomes_a_notebook_without_myst(page, book):
    notebook = notebook_of(source_of(page), book, install_cell("w.whl", "0" * 64))
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "code"
    assert "import ccb_lib" in notebook.cells[0].source
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert texts[0].startswith(f"# {book.titles[page.stem]}")
    for text in texts:
        outside_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        assert MYST.search(outside_code) is None, text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sizes_are_set_in_the_first_cell_alone(page, book):
    """No other cell assigns or imports a size, and none is written into a call."""
    notebook = notebook_of(source_of(page), book, install_cell("w.whl", "0" * 64))
    first = settings_cell(notebook)
    code = [cell.source for cell in notebook.cells[1:] if cell.cell_type == "code"]
    nodes = list(ast.walk(ast.parse("\n".join(code).replace(first.source, ""))))
    set_here = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    set_here |= {n.asname or n.name for n in nodes if isinstance(n, ast.alias)}
    assert set_here & {"WIDTH", "EPOCHS", "DEVICE", "SMALL"} == set()
    keywords = [n for n in nodes if isinstance(n, ast.keyword) and n.arg in SIZES]
    fixed = {n.arg for n in keywords if isinstance(n.value, ast.Constant)}
    assert fixed <= SHOWN_SIZES.get(page.stem, set())


SIZES = ("width", "epochs", "device")
# Sizes that are the subject of a page, or of its smallest example, and no settings.
SHOWN_SIZES = {
    "baselines": {"epochs"},
    "design": {"width"},
    "table-1": {"width", "epochs"},
    "tables-2-3": {"width", "epochs"},
    "tables-4-5": {"width", "epochs"},
    "tables-6-7": {"width", "epochs"},
}


def test_outputs_captions_and_tags_of_a_page_are_kept():
    """The tag lets `strip_images` find images that must not be passed on."""
    html = {"text/html": "<p>explorer</p>", "application/vnd.jupyter.widget-view+json": {}}
    shown = nbformat.v4.new_output("display_data", html)
    cell = nbformat.v4.new_code_cell("1", outputs=[shown], execution_count=3)
    cell.metadata = {"tags": ["hide-input", "third-party-images"]}
    cell.metadata["mystnb"] = {"figure": {"caption": "See {term}`AUC`."}, "image": {"alt": "A"}}
    page = nbformat.v4.new_notebook(cells=[cell], metadata={"jupytext": {}, "source_map": [1]})
    notebook = notebook_of(page, Book(), "import ccb_lib")
    _, code, caption = notebook.cells
    assert list(notebook.metadata) == ["kernelspec"]
    assert code.outputs[0].data == {"text/html": "<p>explorer</p>"}
    assert code.execution_count == 3
    assert code.metadata == {
        "tags": ["hide-input", "third-party-images"],
        "jupyter": {"source_hidden": True},
    }
    assert caption.source == "*See AUC.*"
    assert [cell.id for cell in notebook.cells] == ["cell-0", "cell-1", "cell-2"]


def test_directives_and_roles_are_written_out(tmp_path):
    (tmp_path / "references.bib").write_text(
        "@article{doe2020, author={Doe, Jane and Roe, R. and Kr{\\'a}l, P.}, title={On {X}},"
        " journal={J}, year={2020}, doi={10.1/x}}\n"
        "@book{ng1999, author={Ng, A. and {van Os}, B.}, title={Y}, year={1999}}\n"
    )
    page = tmp_path / "a.md"
    page.write_text("# First page\n\n$$x = 1$$ (eq-x)\n\n$$y = 2 \\tag{7}$$ (eq-y)\n")
    other = tmp_path / "b.md"
    other.write_text(
        "# Other\n\n(part)=\n## A part\n\n$$z = 3$$ (eq-z)\n\n"
        "```{code-cell}\n---\nmystnb:\n  figure: {name: fig-a, caption: First.}\n---\n1\n```\n\n"
        "```{code-cell}\n---\nmystnb:\n  figure:\n    caption: No name.\n---\n1\n```\n\n"
        "```{figure} p.svg\n:name: fig-b\n:alt: A [p]\n\nThird.\n```\n"
    )
    (tmp_path / "p.svg").write_text("<svg/>")
    book = read_book([page, other], ["a"])
    cases = {
        "{cite}`doe2020,ng1999`": (
            "([Doe et al., 2020](https://doi.org/10.1/x); Ng and van Os, 1999)"
        ),
        "{cite:t}`ng1999`": "Ng and van Os (1999)",
        "see {eq}`eq-x`, {eq}`eq-y`, {eq}`eq-z`": "see Eq. 1, Eq. 7, Eq. 3",
        "{numref}`fig-a`, {numref}`fig-b`": "Figure 1, Figure 3",
        "```{figure} p.svg\n:name: fig-b\n:alt: A [p]\n\nThird {term}`a`.\n```": (
            "![A (p)][p.svg]\n\n[p.svg]: data:image/svg+xml;base64,PHN2Zy8+\n\n*Figure 3. Third a.*"
        ),
        "{ref}`part`, {ref}`there <part>`": "A part, there",
        "{term}`AUC`, {term}`scores <score>`": "AUC, scores",
        "[one](a.md), [](a.md), [two](b.md)": "[one](a.ipynb), [First page](a.ipynb), two",
        "`{eq}` and ``a `{term}` b``": "`{eq}` and ``a `{term}` b``",
        "(part)=\n% a comment\n## A part": "## A part",
        "$$x = 1$$ (eq-x)": "$$\nx = 1 \\tag{1}\n$$",
        ":::{note}\n:class: x\nText {term}`a`.\n:::": "> **Note**\n>\n> Text a.",
        ":::{admonition} Title\nText\n:::": "> **Title**\n>\n> Text",
        "::::{tip}\n:::{solution} l\n:class: dropdown\n\nYes.\n:::\n::::": (
            "> **Tip**\n>\n> <details>\n> <summary>Solution</summary>\n>\n> Yes.\n>\n> </details>"
        ),
        "```{math}\n:label: eq-x\nx = 1\n```": "$$\nx = 1 \\tag{1}\n$$",
        "```python\n{eq}`a`  # [x](a.md)\n```": "```python\n{eq}`a`  # [x](a.md)\n```",
        "a\n```{tableofcontents}\n```\nb": "a\n\nb",
    }
    assert {text: plain(text, book) for text in cases} == cases
    assert plain("[](b.md#x)", read_book([page, other], [], "https://s/")) == (
        "[Other](https://s/book/b.html#x)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```{unheard}\n```", "directive {unheard}"),
        ("{unheard}`x`", "role {unheard}"),
        ("{eq}`none`", "equation 'none'"),
        ("{ref}`none`", "label 'none'"),
        ("{cite}`none`", "work 'none'"),
        ("[](none.md)", "page 'none'"),
        ("{numref}`none`", "figure 'none'"),
        ("```{figure} none.svg\n```", "figure none.svg"),
    ],
)
def test_what_has_no_plain_form_is_named(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plain(text, Book())


def test_values_of_settings_are_replaced():
    source = "A, B = 1, (2, 3)  # é\nC = {'a': A}\nD = 'é'; E = \"x\"\nprint(A)"
    assert with_values(source, {"B": 5, "D": "z", "E": 1.5, "print": 0, "F": 2}) == (
        "A, B = 1, 5  # é\nC = {'a': A}\nD = 'z'; E = 1.5\nprint(A)"
    )


def test_a_wheel_without_data_or_with_images_is_refused(wheel, tmp_path):
    assert library_wheel.problems_of(wheel, ROOT) == []
    broken = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(broken, "w") as copy:
        for name in source.namelist():
            if not name.endswith("table1.safetensors"):
                copy.writestr(name, source.read(name))
        copy.writestr("tests/x.py", "")
        copy.writestr("ccb_lib/data/models/x.png", "")
    assert library_wheel.problems_of(broken, ROOT) == [
        "missing: ccb_lib/data/results/table1.safetensors",
        "does not belong: ccb_lib/data/models/x.png, tests/x.py",
    ]


CHAPTER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# A chapter

*Run it yourself: {nb-download}`this page as a notebook <chapter.ipynb>`.*

```{code-cell}
WIDTH = 8
```
"""
INDEX = """# A book

Download {library-wheel}`the wheel`.

```{notebook-table}
```
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A book of two pages, built from the configuration of this one, with its addresses set."""
    root = tmp_path_factory.mktemp("book")
    for name in ("ccb_lib", "data", "pyproject.toml", "README.md", "LICENSE", ".gitignore",
                 "CHANGELOG.md", "CITATION.cff"):  # fmt: skip
        (root / name).symlink_to(ROOT / name)
    (root / "book").mkdir()
    for path in (*ROOT.glob("book/*.py"), *ROOT.glob("book/references.bib")):
        shutil.copy(path, root / "book")
    for name in ("style", "vendor"):
        (root / "book" / name).symlink_to(ROOT / "book" / name)
    (root / "book" / "index.md").write_text(INDEX)
    (root / "book" / "chapter.md").write_text(CHAPTER)
    contents = {"format": "jb-book", "root": "book/index"}
    contents["parts"] = [{"caption": "Part", "chapters": [{"file": "book/chapter"}]}]
    (root / "_toc.yml").write_text(yaml.safe_dump(contents))
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    settings["execute"]["execute_notebooks"] = "off"
    settings["repository"]["url"] = "https://github.com/someone/book"
    settings["html"]["baseurl"] = "https://someone.github.io/book"
    (root / "_config.yml").write_text(yaml.safe_dump(settings))
    program = Path(sys.executable).with_name("jupyter-book")
    build = [program, "build", ".", "-W", "--keep-going"]
    for _ in range(2):  # `make book` deletes executed pages when the library or the data change
        shutil.rmtree(root / "_build" / "jupyter_execute", ignore_errors=True)
        run = subprocess.run(build, cwd=root, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
    return root / "_build" / "html"


def test_a_site_offers_the_notebook_and_the_wheel(site):
    page, index = ((site / "book" / f"{name}.html").read_text() for name in ("chapter", "index"))
    (wheel,) = (site / "notebooks").glob("*.whl")
    digest = library_wheel.sha256(wheel)
    assert (site / "notebooks" / "SHA256SUMS").read_text() == f"{digest}  {wheel.name}\n"
    assert f'href="../notebooks/{wheel.name}"' in index
    assert digest in index
    assert 'href="../notebooks/chapter.ipynb">chapter.ipynb</a></td><td>not measured</td>' in index
    assert "btn-download-notebook-button" not in index
    button = re.search(r'<a href="([^"]+)"[^>]*btn-download-notebook-button', page)
    assert (site / "book" / button[1]).resolve() == site / "notebooks" / "chapter.ipynb"
    assert 'download href="../notebooks/chapter.ipynb">this page as a notebook</a>' in page
    assert not (site / "_downloads").exists()
    notebook = nbformat.read(site / "notebooks" / "chapter.ipynb", as_version=4)
    address = "https://someone.github.io/book/"
    assert notebook.cells[0].source == install_cell(wheel.name, digest, address)
    assert f'SITE = "{address}notebooks/"' in notebook.cells[0].source
    assert notebook.cells[1].source == "# A chapter"
    assert notebook.cells[2].source == "WIDTH = 8"


def test_a_site_with_a_repository_shows_its_buttons(site):
    page = (site / "book" / "chapter.html").read_text()
    for button in ("source-repository", "source-edit", "source-issues"):
        assert f"btn-{button}-button" in page
    assert "https://github.com/someone/book/edit/main/book/chapter.md" in page


def test_a_site_without_a_repository_shows_none():
    """The addresses are empty in the repository, so that no link leads nowhere."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    options = {"repository_url": settings["repository"]["url"]}
    show_repository_buttons(None, SimpleNamespace(html_theme_options=options))
    assert options == {"repository_url": ""}


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory):
    """A Python with pip and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def small_wheel(tmp_path_factory):
    """A wheel named ccb_lib with one line of code, no requirements, and the extras."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "ccb_lib").mkdir()
    (folder / "ccb_lib" / "__init__.py").write_text("__version__ = '0'\n")
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"
        "[project]\nname = 'ccb-lib'\nversion = '0'\n"
        "[project.optional-dependencies]\nwidgets = []\ndicom = []\nnifti = []\n"
    )
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "."]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def run_cell(python, cell, folder):
    return subprocess.run(
        [python, "-c", cell + "\nprint('from', ccb_lib.__file__)"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )


def test_the_first_cell_installs_the_wheel_beside_it_and_no_other(
    empty_environment, small_wheel, tmp_path
):
    """A stub stands for the wheel, so that no requirement is downloaded."""
    digest = library_wheel.sha256(small_wheel)
    cell = install_cell(small_wheel.name, digest)
    run = run_cell(empty_environment, cell, tmp_path)
    assert run.returncode == 1
    assert f"{small_wheel.name} is not in {tmp_path}" in run.stderr

    (tmp_path / small_wheel.name).write_bytes(small_wheel.read_bytes() + b" ")
    run = run_cell(empty_environment, cell, tmp_path)
    assert run.returncode == 1
    assert f"but {digest} is needed" in run.stderr

    site = tmp_path / "site"
    (site / "notebooks").mkdir(parents=True)
    (site / "notebooks" / small_wheel.name).write_bytes(small_wheel.read_bytes())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    wrong = install_cell(small_wheel.name, "0" * 64, f"{site.as_uri()}/")
    assert "is needed" in run_cell(empty_environment, wrong, elsewhere).stderr
    from_site = install_cell(small_wheel.name, digest, f"{site.as_uri()}/")
    run = run_cell(empty_environment, from_site, elsewhere)
    assert run.returncode == 0, run.stderr
    assert "site-packages/ccb_lib" in run.stdout

    run = run_cell(empty_environment, cell, tmp_path)  # installed: the file is not looked at
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", folder, wheel], check=True)
    return folder


@pytest.mark.parametrize("name", ["arithmetic", "training", "claims"])
def test_a_notebook_runs_outside_the_checkout(name, installed, wheel, book, tmp_path):
    page = ROOT / "book" / f"{name}.md"
    install = install_cell(wheel.name, library_wheel.sha256(wheel))
    notebook = notebook_of(source_of(page), book, install + "\nprint(ccb_lib.__file__)")
    outcome = execute(notebook, tmp_path, packages=installed)
    assert outcome.error == ""
    assert notebook.cells[0].outputs[0].text.strip() == f"{installed}/ccb_lib/__init__.py"
