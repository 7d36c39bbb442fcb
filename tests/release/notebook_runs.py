"""Execute the book's notebooks at small sizes, outside the checkout, with a given Python."""

import ast
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

TINY = {
    "WIDTH": 4,
    "EPOCHS": 1,
    "DEVICE": "cpu",
    "TESTED": 20,
    "SEARCH_STEPS": 5,
    "SPLITS": 20,
    "TRY_WIDTH": 4,
}


class Outcome(NamedTuple):
    """What became of a notebook.

    Attributes:
        seconds: Time of the execution.
        error: Empty, or the last line of the error.
    """

    seconds: float
    error: str


def with_values(source: str, values: Mapping[str, Any]) -> str:
    """Return code in which the names that it assigns at top level have other values.

    Args:
        source: Python code. Only values written as literals are replaced.
        values: Name → value. Names that the code does not assign are ignored.

    Example:
        >>> with_values("WIDTH, EPOCHS = 8, 12  # small", {"EPOCHS": 1})
        'WIDTH, EPOCHS = 8, 1  # small'
    """
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    code, found = source.encode(), []
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign):
            continue
        (target,) = statement.targets
        several = isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple)
        pairs = (
            zip(target.elts, statement.value.elts, strict=True)
            if several
            else [(target, statement.value)]
        )
        found += [(value, values[name.id]) for name, value in pairs if name.id in values]
    for value, new in sorted(found, key=lambda pair: -pair[0].lineno * 10_000 - pair[0].col_offset):
        start = starts[value.lineno - 1] + value.col_offset
        end = starts[value.end_lineno - 1] + value.end_col_offset
        code = code[:start] + repr(new).encode() + code[end:]
    return code.decode()


def settings_cell(notebook: NotebookNode) -> NotebookNode:
    """Return the first cell of code after the one that installs the library."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"][1]


def execute(
    notebook: NotebookNode,
    folder: Path,
    *,
    python: str = sys.executable,
    packages: Path | None = None,
    values: Mapping[str, Any] = TINY,
) -> Outcome:
    """Execute a notebook in place.

    No images and no trained detectors of this machine are used: caches lie in ``folder``.

    Args:
        notebook: The notebook. Its cell of settings is changed to ``values``.
        folder: Working directory; it must not be in the checkout.
        python: The interpreter, which needs ipykernel.
        packages: Folder of packages that come before those of the interpreter.
        values: Settings, such as ``WIDTH``.
    """
    cell = settings_cell(notebook)
    cell.source = with_values(cell.source, values)
    unset = ("CCB_DATA", "PUBLISH")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"CCB_MODELS": str(folder / "models"), "XDG_CACHE_HOME": str(folder / "cache")}
    environment |= {"OMP_WAIT_POLICY": "passive", "IPYTHONDIR": str(folder / "ipython")}
    environment["PYTHONPATH"] = str(packages) if packages else ""
    start = time.monotonic()
    error = ""
    with tempfile.TemporaryDirectory() as kernels:
        client = NotebookClient(
            notebook,
            km=_kernel_manager(python, Path(kernels)),
            timeout=600,
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            client.execute(env=environment)
        except CellExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
    return Outcome(time.monotonic() - start, error)


def _kernel_manager(python: str, folder: Path) -> AsyncKernelManager:
    """Make the manager of a kernel of this interpreter."""
    specification = {
        "argv": [
            *(python, "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            "--IPKernelApp.log_level=ERROR",  # without a warning that it uses TCP
        ],
        "display_name": "release",
        "language": "python",
    }
    (folder / "release").mkdir()
    (folder / "release" / "kernel.json").write_text(json.dumps(specification))
    manager = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    return AsyncKernelManager(kernel_name="release", kernel_spec_manager=manager)
