"""The pages of a small book, executed in parallel and found in the cache."""

import logging
import re

import execute_pages
import nbformat
import pytest
from myst_nb.core.config import NbParserConfig
from myst_nb.core.execute.cache import NotebookClientCache

HEAD = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

"""


def write_page(root, name, code, prose="A sentence."):
    path = root / "book" / f"{name}.md"
    path.write_text(f"{HEAD}{prose}\n\n```{{code-cell}}\n{code}\n```\n")
    return path


@pytest.fixture
def root(tmp_path):
    (tmp_path / "book").mkdir()
    files = "\n".join(f"      - file: book/{name}" for name in ("text", "b", "index-of-a"))
    (tmp_path / "_toc.yml").write_text(f"root: book/index\nparts:\n  - chapters:\n{files}\n")
    (tmp_path / "_config.yml").write_text("execute: {timeout: 30}\n")
    (tmp_path / "book/text.md").write_text("# No code\n")
    for name in ("index", "b", "index-of-a"):
        # Each execution leaves a line in a file, and shows how many threads it has.
        write_page(
            tmp_path,
            name,
            f"import os\nprint('{name}', file=open('log', 'a'))\nos.environ['OMP_NUM_THREADS']",
        )
    return tmp_path


def executed(root):
    log = root / "book/log"
    names = sorted(log.read_text().split()) if log.exists() else []
    log.unlink(missing_ok=True)
    return names


def test_only_pages_with_new_code_are_executed_and_sphinx_finds_them(root, capsys, caplog):
    assert execute_pages.main(root) == 0
    assert executed(root) == ["b", "index", "index-of-a"]
    assert "3 pages executed" in capsys.readouterr().out

    page = root / "book/b.md"
    page.write_text(page.read_text().replace("A sentence.", "Another sentence."))
    assert execute_pages.main(root) == 0
    assert executed(root) == []

    page.write_text(page.read_text().replace("import os", "import os  # changed"))
    assert execute_pages.main(root) == 0
    assert executed(root) == ["b"]

    config = NbParserConfig(
        execution_mode="cache", execution_cache_path=str(root / "_build/.jupyter_cache")
    )
    client = NotebookClientCache(
        execute_pages.read(page), page, config, logging.getLogger("myst"), read_fmt=None
    )
    with caplog.at_level("INFO"), client:
        (code,) = (cell for cell in client.notebook.cells if cell.cell_type == "code")
    assert "Using cached notebook" in caplog.text
    assert executed(root) == []
    assert code.outputs[0]["data"]["text/plain"] == "'1'"  # one thread
    assert client.exec_metadata["runtime"] > 0


def test_an_error_names_page_line_and_cell_and_stops(root, capsys, monkeypatch):
    monkeypatch.setattr(execute_pages, "at_once", lambda count: 1)
    write_page(root, "index", "x = 1\n```\n\nText.\n\n```{code-cell}\n1 / 0")
    assert execute_pages.main(root) == 1
    error = capsys.readouterr().err
    line = (root / "book/index.md").read_text().splitlines().index("1 / 0") + 1
    assert f"index.md, line {line} (code cell 2) failed:" in error
    assert "ZeroDivisionError: division by zero" in error
    assert "\x1b" not in error
    assert executed(root) == []  # the pages after it


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import time\ntime.sleep(60)", "Timeout"), ("import os\nos._exit(3)", "DeadKernelError")],
)
def test_a_page_that_hangs_or_kills_its_kernel_is_an_error(root, code, reason):
    page = write_page(root, "b", code)
    done = execute_pages.execute(page, timeout=1)
    assert re.match(r"b\.md, line 9 \(code cell 1\) failed:\n\w*" + reason, done.error)


def test_a_killed_process_is_an_error_and_no_wait(root, capsys):
    write_page(root, "index", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    assert execute_pages.main(root) == 1
    assert "was killed" in capsys.readouterr().err


def test_long_pages_start_first(root):
    names = [page.stem for page in execute_pages.pages(root)]
    assert names == ["index", "b", "index-of-a"]
    write_page(root, "training", "1")
    toc = root / "_toc.yml"
    toc.write_text(toc.read_text() + "      - file: book/training\n")
    assert [page.stem for page in execute_pages.pages(root)] == [
        *("index", "training", "b", "index-of-a")
    ]


def test_the_long_pages_are_pages():
    names = {page.stem for page in execute_pages.pages(execute_pages.ROOT)}
    assert set(execute_pages.LONGEST) <= names


def test_outputs_have_no_random_names():
    data = {
        "text/html": '<style>#T_0a1b2 td {}</style><table id="T_0a1b2"></table>',
        "text/plain": "<pandas.io.formats.style.Styler at 0x7f0011223344>",
        execute_pages.WIDGET: {"model_id": "2975a28c3dc8"},
    }
    outputs = [nbformat.v4.new_output("display_data", data=dict(data)) for _ in range(2)]
    outputs[1].data["text/html"] = data["text/html"].replace("0a1b2", "fffff")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
    warning = f"{execute_pages.ROOT}/ccb_lib/a.py:63: Warning: A\n/tmp/ipykernel_135/334.py:2: B\n"
    notebook.cells[0].outputs.append(nbformat.v4.new_output("stream", text=warning))
    execute_pages.without_random_names(notebook)
    first, second = (output.data for output in notebook.cells[0].outputs[:2])
    assert first["text/html"] == '<style>#T_1 td {}</style><table id="T_1"></table>'
    assert second["text/html"] == '<style>#T_2 td {}</style><table id="T_2"></table>'
    assert first["text/plain"] == "<pandas.io.formats.style.Styler>"
    assert execute_pages.WIDGET not in first
    assert notebook.cells[0].outputs[2].text == "ccb_lib/a.py:63: Warning: A\nthis cell:2: B\n"


def test_progress_bars_are_no_outputs_of_a_page():
    bar = nbformat.v4.new_output(
        "display_data",
        data={execute_pages.WIDGET: {"model_id": "2975a28c3dc8"}, "text/plain": "decoding: 0%"},
    )
    figure = nbformat.v4.new_output("execute_result", data={"image/png": "AAAA"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[bar, figure])])
    execute_pages.without_random_names(notebook)
    assert notebook.cells[0].outputs == [figure]


def test_pages_at_once_fit_into_the_memory(monkeypatch):
    monkeypatch.setattr(execute_pages.os, "sched_getaffinity", lambda pid: range(8))
    monkeypatch.setattr(execute_pages, "MEMORY", 1)
    assert [execute_pages.at_once(count) for count in (1, 5, 20)] == [1, 5, 8]
    monkeypatch.setattr(execute_pages, "MEMORY", 2**60)
    assert execute_pages.at_once(20) == 1
