"""The command ``ccb`` and its error messages."""

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ccb_lib import __version__
from ccb_lib.cli.bench import bench
from ccb_lib.cli.data import data
from ccb_lib.cli.measure import measure
from ccb_lib.cli.score import score
from ccb_lib.cli.study import study
from ccb_lib.cli.table import table
from ccb_lib.cli.text import STOPPED, in_shell, printable
from ccb_lib.cli.train import train


class Group(click.Group):
    """A group that reports errors in one message; ``--traceback`` shows the traceback instead."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors give exit status 1, Ctrl-C and SIGTERM give 130."""
        with _stopped_by_sigterm(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                click.echo("Stopped.", err=True)
                ctx.exit(STOPPED)
            except (click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise  # click exits silently if the reader of a pipe, such as head, closed it
            except (ValueError, OSError, ImportError, RuntimeError) as error:
                if ctx.params.get("traceback"):
                    raise
                raise click.ClickException(
                    printable(in_shell(str(error)) or type(error).__name__)
                ) from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="ccb-lib")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
def main(traceback: bool) -> None:
    """Train detectors on normal images and find abnormal ones; reproduce the paper's tables."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM, which batch systems send, like Ctrl-C, so that completed work is kept."""
    if threading.current_thread() is not threading.main_thread():  # only it may set signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {printable(in_shell(str(message)))}", err=True)


for command in (data, train, score, table, study, measure, bench):
    main.add_command(command)
