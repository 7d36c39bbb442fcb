"""Shared by `ccb table` and `ccb study`: options, the store, the execution of runs."""

import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ccb_lib.cli.data import COUNT, FOLDER, ROOT

if TYPE_CHECKING:
    from ccb_lib.reproduction.runs import Run
    from ccb_lib.reproduction.store import Store


_OPTIONS = (
    click.option(
        "--limit",
        type=COUNT,
        help="Largest number of images of each part; for trials, not for tables.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1."),
    click.option(
        "--fast/--plain",
        default=None,
        help="Train by the fast or plain path; see the chapter on speed.",
    ),
    click.option(
        "--parallel",
        type=COUNT,
        default=1,
        show_default=True,
        help="Number of processes on this machine.",
    ),
    click.option(
        "--executor",
        type=click.Choice(["here", "dask"]),
        default="here",
        show_default=True,
        help="Where runs are executed: on this machine or on a Dask cluster.",
    ),
    click.option("--scheduler", help="Address of the Dask scheduler, such as tcp://host:8786."),
    click.option("--results", type=FOLDER, help="Folder of the results; data/results by default."),
    click.option(
        "--merge",
        type=click.Path(path_type=Path),
        help="Add the runs of another machine's file first.",
    ),
    ROOT,
)

# As in `ccb_lib.reproduction.registry`, whose import takes too long for a command line.
STUDIES = ("skips", "ablation", "lung-ct-98")

SPLIT_SEED = click.option(
    "--split-seed",
    type=int,
    help="Seed of the split of all runs; by default each run's own seed.",
)


def running_options(command: Callable) -> Callable:
    """Add the shared options to a command."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


class Lists(click.Command):
    """A command that accepts ``--abnormal a b`` as well as ``--abnormal a --abnormal b``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the option before each further value; a table or study is no such value."""
        spread: list[str] = []
        option = None
        for arg in args:
            if arg.startswith("-"):
                option = arg if arg in ("--method", "--abnormal", "--arm", "--data") else None
                spread.append(arg)
            elif option and spread[-1] != option and not (arg.isdecimal() or arg in STUDIES):
                spread += [option, arg]
            else:
                spread.append(arg)
        return super().parse_args(ctx, spread)


def read_store(name: int | str, given: dict[str, Any]) -> "Store":
    """Read the store of a table or study; with ``--merge``, add another machine's file first."""
    from ccb_lib.reproduction.runs import results_to_write, store_path
    from ccb_lib.reproduction.store import Store

    store = Store.read(store_path(name, given["results"]))
    if given["merge"]:
        results_to_write(store.path.parent)
        from ccb_lib.reproduction.contribution import read_contribution

        count = store.merge(read_contribution(given["merge"], name))
        click.echo(f"{count} runs added from {given['merge']}.")
    return store


def run_them(ctx: click.Context, runs: "list[Run]", store: "Store", given: dict[str, Any]) -> None:
    """Execute missing runs, on this machine or a cluster; report failures after all are done."""
    from ccb_lib.reproduction.execute import run_missing
    from ccb_lib.reproduction.runs import results_to_write, work_folder

    results_to_write(store.path.parent)
    executor = None
    if given["executor"] == "dask":
        if not given["scheduler"]:
            raise click.UsageError(
                "--executor dask needs --scheduler ADDRESS, such as tcp://host:8786."
            )
        try:
            from distributed import Client
        except ImportError as error:
            raise click.ClickException(
                "Dask is not installed. Run: pip install distributed"
            ) from error
        executor = ctx.with_resource(Client(given["scheduler"])).get_executor()
    failed = run_missing(
        runs,
        store,
        executor=executor,
        parallel=given["parallel"],
        root=None if given["root"] is None else str(given["root"]),
        device=given["device"],
        work=str(work_folder(store.path).absolute()),
        fast=given["fast"],
        progress=sys.stderr.isatty(),
    )
    for run, reason in failed.items():
        click.echo(f"Failed: {run}: {reason}", err=True)
    if failed:
        raise click.ClickException(
            f"{len(failed)} of {len(runs)} runs failed; the others are stored."
        )
