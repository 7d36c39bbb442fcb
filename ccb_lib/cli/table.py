"""``ccb table``: show a table from stored scores, or run what is missing."""

from typing import TYPE_CHECKING, Any

import click

from ccb_lib.cli.running import SPLIT_SEED, Lists, run_them, running_options, stored

if TYPE_CHECKING:
    import pandas as pd

_TESTS = {"released": "as the public code tests", "clean": "each image by itself"}


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
@click.option("--normal", help="HAM10000's normal classes; nv+bkl+mel by default, nv is the field's habit.")
@SPLIT_SEED
@running_options
@click.pass_context
def table(ctx: click.Context, number: int, do_run: bool, protocol: str, **given: Any) -> None:
    """Show Table NUMBER of the paper, 1 to 7: printed, released and clean side by side.

    With --run, what is missing is run first. A run that is stopped goes on from its last whole epoch when the same
    command is given again.
    """
    from ccb_lib.reproduction.runs import grid

    store = stored(number, given)
    named = ("width", "similarity", "chain_init", "image_size", "normal")
    chosen = {name: given[name] for name in named if given[name] is not None}
    runs = grid(
        number,
        methods=given["methods"] or None,
        abnormal=given["abnormal"] or None,
        seeds=given["seeds"],
        epochs=given["epochs"],
        limit=given["limit"],
        split_seed=given["split_seed"],
        **chosen,
    )
    if do_run:
        run_them(ctx, runs, store, given)
    from ccb_lib.reproduction.results import PAPER

    settings = {**PAPER, "epochs": given["epochs"], "limit": given["limit"], **chosen}
    _show(number, protocol, settings, given)


def _show(number: int, protocol: str, settings: dict[str, Any], given: dict[str, Any]) -> None:
    import pandas as pd

    from ccb_lib.reproduction.results import METRICS, compare

    frame = compare(number, settings=settings, folder=given["results"])
    names = [*given["methods"]] if number < 6 else []
    rows = frame.index.get_level_values(0).isin(names) if names else slice(None)
    frame = frame[rows]
    if given["abnormal"]:
        frame = frame[frame.index.get_level_values("abnormal").isin(given["abnormal"])]
    columns = ["printed", "released", "clean"] if protocol == "all" else ["printed", protocol]
    about = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
    click.echo(f"Table {number}, {METRICS[number]} ({about})")
    run = frame[columns[1:]].notna().any(axis=1)
    listed = run | frame["printed"].notna()  # what is printed is always listed, run or not
    if listed.any():
        shown = frame.loc[listed, columns].map(lambda value: "–" if pd.isna(value) else f"{value:.3f}").astype(object)
        legend = [f"{name}: {_TESTS[name]}" for name in columns[1:]]
        if (shown == "–").any(axis=None):
            legend.append("–: not printed or not run")
        if "released" in shown and (starred := frame["imposed"] & frame["released"].notna())[listed].any():
            shown.loc[starred[listed], "released"] += "*"
            legend.append("*: imposed on a method that tests otherwise")
        click.echo("; ".join(legend))
        click.echo(shown.to_string())
    if not run.all():
        click.echo(f"Not run: {_unrun(run)}")


def _unrun(run: "pd.Series[bool]") -> str:
    """Name what was not run: methods or chains wholly unrun, then those of which classes are missing."""
    from ccb_lib.reproduction.results import SHOWN_NAMES

    whole, parts = [], []
    for name, cells in run.groupby(level=0, sort=False):
        spoken = SHOWN_NAMES.get(name, name)
        if not cells.any():
            whole.append(spoken)
        elif not cells.all():
            parts.append(f"{spoken} ({', '.join(cells[~cells].index.get_level_values('abnormal'))})")
    return "; ".join([f"{', '.join(whole)} (all classes)"] * bool(whole) + parts)
