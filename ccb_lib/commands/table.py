"""``ccb table``: show a table from stored scores, or run what is missing."""

import sys
from pathlib import Path
from typing import Any

import click

from ccb_lib.commands.data import ROOT


class Lists(click.Command):
    """Takes ``--abnormal airplane frog`` as well as ``--abnormal airplane --abnormal frog``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value."""
        spread: list[str] = []
        option = None
        for arg in args:
            if arg.startswith("-"):
                option = arg if arg in ("--method", "--abnormal") else None
                spread.append(arg)
            elif option and spread[-1] != option:
                spread += [option, arg]
            else:
                spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(cls=Lists)
@click.argument("number", type=click.IntRange(1, 7))
@click.option("--run", "do_run", is_flag=True, help="Run what is missing first.")
@click.option("--protocol", type=click.Choice(["all", "clean", "released"]), default="all", show_default=True)
@click.option("--method", "methods", multiple=True, help="One or several of the table's methods; all by default.")
@click.option("--abnormal", multiple=True, help="One or several of the table's classes; all by default.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, from 0.")
@click.option("--epochs", default=50, show_default=True, help="Of training; the paper's are 50.")
@click.option("--width", type=int, help="Channels of the first convolution; the detector's own by default.")
@click.option("--similarity", type=click.Choice(["l2", "l1", "norm"]), help="Eq. 5, for methods that have it.")
@click.option("--chain-init", type=click.Choice(["he", "dcgan"]), help="How chains start.")
@click.option("--image-size", type=int, help="32, 64 or 128, where the data set has them.")
@click.option("--limit", type=int, help="At most so many images of each part: for a try, never for a table.")
@click.option("--device", default="auto", show_default=True)
@click.option("--fast/--plain", default=None, help="How networks train; see the chapter on speed.")
@click.option("--parallel", default=1, show_default=True, help="Runs side by side on this machine.")
@click.option("--executor", type=click.Choice(["here", "dask"]), default="here", show_default=True)
@click.option("--scheduler", help="Address of the Dask scheduler, such as tcp://host:8786.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of the results; data/results by default.")
@click.option("--merge", type=click.Path(path_type=Path), help="Take in the runs of another machine's file first.")
@ROOT
@click.pass_context
def table(ctx: click.Context, number: int, do_run: bool, protocol: str, **given: Any) -> None:
    """Show Table NUMBER of the paper, 1 to 7: printed, released and clean side by side.

    With --run, what is missing is run first. A run that is stopped goes on from its last whole epoch when the same
    command is given again.
    """
    from ccb_lib.runs import grid, store_path
    from ccb_lib.store import Store

    store = Store.read(store_path(number, given["results"]))
    if given["merge"]:
        click.echo(f"{store.merge(given['merge'])} runs taken in from {given['merge']}.")
    chosen = {name: given[name] for name in ("width", "similarity", "chain_init") if given[name] is not None}
    runs = grid(
        number,
        methods=given["methods"] or None,
        abnormal=given["abnormal"] or None,
        seeds=given["seeds"],
        epochs=given["epochs"],
        limit=given["limit"],
        image_size=given["image_size"],
        **chosen,
    )
    if do_run:
        _run(ctx, runs, store, given)
    _show(number, protocol, {"epochs": given["epochs"], "limit": given["limit"], **chosen}, given)


def _run(ctx: click.Context, runs: list, store: Any, given: dict[str, Any]) -> None:
    from ccb_lib.experiments import run_missing

    executor = None
    if given["executor"] == "dask":
        if not given["scheduler"]:
            raise click.UsageError("--executor dask needs --scheduler ADDRESS, such as tcp://host:8786.")
        try:
            from distributed import Client
        except ImportError as error:
            raise click.ClickException('Dask is not installed. Run: pip install "ccb-lib[dask]"') from error
        executor = ctx.with_resource(Client(given["scheduler"])).get_executor()
    work = store.path.with_name(f".{store.path.stem}.runs")
    failed = run_missing(
        runs,
        store,
        executor=executor,
        parallel=given["parallel"],
        root=None if given["root"] is None else str(given["root"]),
        device=given["device"],
        work=str(work.absolute()),
        fast=given["fast"],
        progress=sys.stderr.isatty(),
    )
    for run, reason in failed.items():
        click.echo(f"Failed: {run}: {reason}", err=True)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(runs)} runs failed; the others are stored.")


def _show(number: int, protocol: str, settings: dict[str, Any], given: dict[str, Any]) -> None:
    import pandas as pd

    from ccb_lib.results import METRICS, compare

    frame = compare(number, settings=settings, folder=given["results"])
    names = [*given["methods"]] if number < 6 else []
    rows = frame.index.get_level_values(0).isin(names) if names else slice(None)
    frame = frame[rows]
    if given["abnormal"]:
        frame = frame[frame.index.get_level_values("abnormal").isin(given["abnormal"])]
    columns = ["printed", "released", "clean"] if protocol == "all" else ["printed", protocol]
    about = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
    click.echo(
        f"Table {number}, {METRICS[number]} ({about}); – is not run, * is imposed on a method that tests otherwise"
    )
    shown = frame[columns].astype(object)
    for column in columns:
        cells = frame[column].map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
        star = "*" if column == "released" else ""
        shown[column] = cells.where(~frame["imposed"] | (cells == "–"), cells + star)
    click.echo(shown.to_string())
