"""``ccb study``: show a study from stored scores, or execute its missing runs."""

from typing import TYPE_CHECKING, Any

import click

from ccb_lib.cli.data import COUNT
from ccb_lib.cli.running import SPLIT_SEED, STUDIES, Lists, read_store, run_them, running_options

if TYPE_CHECKING:
    from ccb_lib.reproduction.runs import Run


@click.command(cls=Lists)
@click.argument("name", type=click.Choice(STUDIES))
@click.option("--run", "do_run", is_flag=True, help="Execute missing runs first.")
@click.option("--arm", "chosen", multiple=True, help="Arms of the study; all by default.")
@click.option("--data", "datasets", multiple=True, help="Data sets of the study; all by default.")
@click.option("--seeds", type=COUNT, help="Number of seeds, from 0; by default the number planned.")
@click.option(
    "--epochs", type=COUNT, help="Epochs of training; by default those planned for each data set."
)
@click.option(
    "--width", type=COUNT, help="Channels of the first convolution; the detector's own by default."
)
@SPLIT_SEED
@running_options
@click.pass_context
def study(ctx: click.Context, name: str, do_run: bool, **given: Any) -> None:
    """Show a study: skips, ablation or lung-ct-98.

    skips compares kinds of skip connections; ablation compares CCB with CCB without one of its
    parts; lung-ct-98 compares all methods on CT slices with ground glass.

    With --run, missing runs are executed first, seed by seed. Give the same command again to
    resume an interrupted run from its last complete epoch.
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
        click.echo(f"{name}, AUC under clean ({settings}): mean over seeds, and their number")
        click.echo(frame.to_string())
    if not tables:
        _say_how(name, given)


def _say_how(name: str, given: dict[str, Any]) -> None:
    """Show how to run a study of which no results are stored, in full and as a small trial."""
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
