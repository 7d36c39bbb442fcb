"""``ccb study``: arms that differ in one thing, from stored scores, or run what is missing."""

from typing import TYPE_CHECKING, Any

import click

from ccb_lib.cli.data import COUNT
from ccb_lib.cli.running import SPLIT_SEED, Lists, read_store, run_them, running_options

if TYPE_CHECKING:
    from ccb_lib.reproduction.runs import Run


@click.command(cls=Lists)
@click.argument("name", type=click.Choice(["skips", "ablation", "lung-ct-98"]))
@click.option("--run", "do_run", is_flag=True, help="Run what is missing first.")
@click.option(
    "--arm", "chosen", multiple=True, help="One or several of the study's arms; all by default."
)
@click.option(
    "--data", "datasets", multiple=True, help="One or several of its data sets; all by default."
)
@click.option(
    "--seeds", type=COUNT, help="How many seeds, from 0; as many as were planned by default."
)
@click.option(
    "--epochs", type=COUNT, help="Of training; those planned for each data set by default."
)
@click.option(
    "--width", type=COUNT, help="Channels of the first convolution; the detector's own by default."
)
@SPLIT_SEED
@running_options
@click.pass_context
def study(ctx: click.Context, name: str, do_run: bool, **given: Any) -> None:
    """Show a study: skips (does a chain beat a plain skip?), ablation, or lung-ct-98 (real CT, ground glass).

    With --run, what is missing is run first, seed by seed. A run that is stopped goes on from its last whole epoch when
    the same command is given again.
    """
    from ccb_lib.reproduction.studies import runs_of

    store = read_store(name, given)
    wanted = {
        key: given[key] or None
        for key in ("datasets", "chosen", "seeds", "epochs", "width", "limit")
    }
    try:
        runs = runs_of(name, split_seed=given["split_seed"], **wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if do_run:
        run_them(ctx, runs, store, given)
    _show(name, given)


def _show(name: str, given: dict[str, Any]) -> None:
    from ccb_lib.reproduction.comparisons import arm_table

    tables = arm_table(name, folder=given["results"])
    for settings, frame in tables.items():
        click.echo(f"{name}, AUC under clean ({settings}): mean over seeds, and how many")
        click.echo(frame.to_string())
    if not tables:
        _say_how(name, given)


def _say_how(name: str, given: dict[str, Any]) -> None:
    """Nothing was run: say what is missing, what it takes, and what can be tried where there is no GPU."""
    from ccb_lib.reproduction.comparisons import planned
    from ccb_lib.reproduction.studies import runs_of

    click.echo("\n".join(f"- {setting}: not run." for setting in planned(name)))
    whole, once = (
        [run for run in runs_of(name, seeds=n) if "epochs" in run.settings] for n in (None, 1)
    )
    click.echo(f"All of it, {_networks(whole)}: ccb study {name} --run --device cuda --fast")
    small = f"ccb study {name} --run --width 8 --epochs 2 --limit 500 --seeds 1"
    click.echo(f"A try without a GPU, {_networks(once)}, small ones: {small}")


def _networks(runs: "list[Run]") -> str:
    return "1 network" if len(runs) == 1 else f"{len(runs)} networks"
