"""Execute the pages of the book in parallel, and store them in the cache that Sphinx reads.

Run ``python book/execute_pages.py`` before ``jupyter-book build .``. It executes each page of
``_toc.yml`` whose code is not in ``_build/.jupyter_cache``, as many at once as there are
processors. Each page has one thread, so its numbers do not depend on how many pages run at once.
Without this step, ``jupyter-book build .`` executes the same pages, one after another.

The same sources give the same outputs: names that notebooks draw at random are replaced.
"""

import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from notebooks import WIDGET, pages_of

ROOT = Path(__file__).resolve().parents[1]
# Pages that take long start first, so that no processor is idle while the last of them runs.
LONGEST = ("brain-mri", "index", "baselines", "design", "protocols", "training", "ham10000")
MEMORY = 2 * 2**30  # bytes that a page may need


class Executed(NamedTuple):
    """A page after its execution.

    Attributes:
        page: Its file.
        notebook: The page with its outputs.
        seconds: The time it took.
        error: The cell that failed, and why; empty if none did.
    """

    page: Path
    notebook: NotebookNode
    seconds: float
    error: str


def pages(root: Path) -> list[Path]:
    """List the pages of ``_toc.yml`` that have code, in the order in which they are executed."""
    found = pages_of(root)
    order = {name: place for place, name in enumerate(LONGEST)}
    return sorted(
        (page for page in found if is_myst_markdown_notebook(page.read_text(encoding="utf-8"))),
        key=lambda page: order.get(page.stem, len(order)),
    )


def read(page: Path) -> NotebookNode:
    """Read a page as Sphinx does, so that both compute the same key of the cache."""
    text = page.read_text(encoding="utf-8")
    return read_myst_markdown_notebook(text, add_source_map=True, path=page)


def is_cached(cache: JupyterCacheAbstract, page: Path) -> bool:
    """Return whether the cache has a page with the same code."""
    try:
        cache.match_cache_notebook(read(page))
    except KeyError:
        return False
    return True


def execute(page: Path, timeout: float) -> Executed:
    """Execute a page in its folder.

    Args:
        page: The file of the page.
        timeout: Seconds that a cell may take.

    Returns:
        The page with its outputs, or with the error of the cell that failed.
    """
    notebook, cell_of_error, started = read(page), 0, time.perf_counter()

    def on_cell_start(cell: NotebookNode, cell_index: int) -> None:
        nonlocal cell_of_error
        cell_of_error = cell_index

    client = NotebookClient(
        notebook,
        timeout=timeout,
        on_cell_start=on_cell_start,
        record_timing=False,
        store_widget_state=False,  # a page has no kernel, so it shows no widget
        coalesce_streams=True,  # how a text is divided into messages depends on the time
        # Without its warning, for each page, that messages within this machine are not encrypted.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    error = ""
    try:
        client.execute(cwd=str(page.parent))
    except CellExecutionError as failed:
        error = re.sub(r"\x1b\[[0-9;]*m", "", failed.traceback)  # without colours
    except (RuntimeError, TimeoutError) as failed:  # the kernel died, or the time limit was reached
        error = f"{type(failed).__name__}: {failed}"
    if error:
        number = sum(cell.cell_type == "code" for cell in notebook.cells[: cell_of_error + 1])
        line = notebook.metadata["source_map"][cell_of_error] + 1
        error = f"{page.name}, line {line} (code cell {number}) failed:\n{error}"
    without_random_names(notebook)
    return Executed(page, notebook, time.perf_counter() - started, error)


def without_random_names(notebook: NotebookNode) -> None:
    """Make outputs independent of random names and of memory addresses.

    Removes widgets, which no page can show: of those that have another form in HTML only that form
    is kept, the others are progress bars. Numbers the tables of pandas' ``Styler``, and removes
    addresses of objects and folders of this machine from text.
    """
    tables = 0
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [
                output
                for output in cell.outputs
                if WIDGET not in output.get("data", {}) or "text/html" in output.data
            ]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if output.output_type == "stream":
                text = re.sub(r"\S*/ipykernel_\d+/\d+\.py", "this cell", output.text)
                output.text = text.replace(f"{ROOT}/", "")
            if "text/plain" in data:
                data["text/plain"] = re.sub(r" at 0x[0-9a-f]+>", ">", data["text/plain"])
            if "text/html" in data:
                data.pop(WIDGET, None)
                for name in re.findall(r'<table id="T_([0-9a-f]{5})"', data["text/html"]):
                    tables += 1
                    data["text/html"] = data["text/html"].replace(f"T_{name}", f"T_{tables}")


def at_once(count: int) -> int:
    """Return how many of ``count`` pages run at once: limited by processors and by memory."""
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # not known on this system
        memory = count * MEMORY
    return max(1, min(count, processors, memory // MEMORY))


def main(root: Path = ROOT) -> int:
    """Execute the pages that are not in the cache; stop at the first error.

    Args:
        root: The folder of ``_toc.yml`` and ``_config.yml``.

    Returns:
        The exit status: 1 if a page failed.
    """
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    cache = get_cache(root / "_build" / ".jupyter_cache")
    missing = [page for page in pages(root) if not is_cached(cache, page)]
    if not missing:
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.perf_counter()
    with ProcessPoolExecutor(at_once(len(missing))) as pool:
        work = [pool.submit(execute, page, config["execute"]["timeout"]) for page in missing]
        for future in as_completed(work):
            if error := store(cache, future):
                print(error, file=sys.stderr)
                for process in multiprocessing.active_children():
                    process.kill()  # its kernel then ends by itself
                return 1
    print(f"{len(missing)} pages executed in {time.perf_counter() - started:.0f} s")
    return 0


def store(cache: JupyterCacheAbstract, future: Future[Executed]) -> str:
    """Store an executed page in the cache; return its error, or an empty string."""
    try:
        done = future.result()
    except BrokenProcessPool:
        return "A process that executed a page was killed, perhaps because memory ran out."
    if not done.error:
        bundle = CacheBundleIn(
            done.notebook, str(done.page), data={"execution_seconds": done.seconds}
        )
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        print(f"{done.page.name}: {done.seconds:.0f} s", flush=True)
    return done.error


if __name__ == "__main__":
    sys.exit(main())
