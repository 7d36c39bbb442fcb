"""Inputs, kinds of input, and how an attempt to read one is judged.

An attempt passes if it ends with a result or with an error of the library's own that names the file
or the argument.
"""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 10
_NO_MEMORY = re.compile(r"MemoryError|Unable to allocate|allocate memory|cannot allocate")


@dataclass
class Input:
    """One mutated input.

    Attributes:
        files: Content by path below the target folder; a value that is text makes a link to it.
        options: Arguments of the reader that are no file.
        names: An error must contain one of these texts; by default the names of the files.
    """

    files: dict[str, bytes | str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        area: What reads it; the row of the report.
        what: How the inputs were made; the row of the report.
        prepare: Makes valid inputs, once, in a folder of its own.
        mutate: Makes an input from a random generator and what ``prepare`` returned.
        read: Reads an input, whose files lie in the given folder.
        accepts: Further types of error that are the library's own here.
    """

    area: str
    what: str
    prepare: Callable[[Path], Any]
    mutate: Callable[[random.Random, Any], Input]
    read: Callable[[Path, Input], None]
    accepts: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True)
class Failure:
    """An attempt that failed: the input's number, how it failed, and the error in words."""

    number: int
    how: str  # a column of the report: lost, foreign_tracebacks or hangs
    why: str


class Hang(BaseException):
    """The time of an attempt is up."""


def generator(seed: int, kind: Kind, number: int) -> random.Random:
    """Return the random generator of one input, which depends on nothing else."""
    return random.Random(f"{seed} {kind.area} {number}")


def write_files(folder: Path, files: dict[str, bytes | str]) -> None:
    """Write the files of an input below a folder; text makes a link to the path it names."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


# ── judging ───────────────────────────────────────────────────────────────────────────────────────


def is_own(error: BaseException, accepts: tuple[type[BaseException], ...] = ()) -> bool:
    """Return whether an error is of a type that the library documents.

    Subclasses of ValueError such as UnicodeDecodeError come from other code.
    """
    if isinstance(error, accepts):
        return True
    return type(error) is ValueError or (
        isinstance(error, OSError) and type(error).__module__ == "builtins"
    )


@contextmanager
def named_by_the_caller() -> Iterator[None]:
    """Run a reader whose errors name no file, since its callers add the name."""
    try:
        yield
    except (ValueError, OSError) as error:
        if not is_own(error) or out_of_memory(error):
            raise


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def judge(kind: Kind, given: Input, folder: Path) -> tuple[str, str]:
    """Read an input.

    Returns:
        ``"result"``, ``"refused"`` or a column of the report, and the error in words.
    """
    try:
        kind.read(folder, given)
    except Hang:
        return "hangs", f"more than {SECONDS} s"
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit and pytest's own errors too
        text = f"{type(error).__name__}: {str(error)[:600]}"
        if out_of_memory(error):
            return "lost", f"out of memory: {text}"
        if not is_own(error, kind.accepts):
            return "foreign_tracebacks", f"{text} at {_place(error)}"
        names = given.names or tuple(Path(name).name for name in given.files)
        if not any(name in f"{error} {getattr(error, 'filename', '')}" for name in names):
            return "foreign_tracebacks", f"names no file or argument: {text} at {_place(error)}"
        return "refused", text
    return "result", ""


def _place(error: BaseException) -> str:
    """Return the last line of the library in a traceback."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "ccb_lib" in name:
            place = f"{name.rpartition('ccb_lib/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
