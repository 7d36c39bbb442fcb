"""``ccb table``: show a table from stored scores, or execute its missing runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ccb_lib.cli.data import COUNT
from ccb_lib.cli.running import SPLIT_SEED, Lists, read_store, run_them, running_options

if TYPE_CHECKING:
    import pandas as pd

    from ccb_lib.reproduction.store import Store

_TESTS = {"released": "as the public code tests", "clean": "each image by itself"}


@click.command(cls=Lists)
@click.argument("number", type=click.IntRange(1, 7))
@click.option("--run", "do_run", is_flag=True, help="Execute missing runs first.")
@click.option(
    "--protocol",
    type=click.Choice(["all", "clean", "released"]),
    default="all",
    show_default=True,
    help="Protocols to show.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Methods of the table; all by default.",
)
@click.option("--abnormal", multiple=True, help="Abnormal classes of the table; all by default.")
@click.option("--seeds", type=COUNT, default=1, show_default=True, help="Number of seeds, from 0.")
@click.option("--epochs", type=COUNT, help="Epochs of training; the paper's 50 by default.")
@click.option(
    "--width", type=COUNT, help="Channels of the first convolution; the detector's own by default."
)
@click.option(
    "--similarity",
    type=click.Choice(["l2", "l1", "norm"]),
    help="Similarity loss (Eq. 5), for methods that have it.",
)
@click.option("--chain-init", type=click.Choice(["he", "dcgan"]), help="Initialisation of chains.")
@click.option("--image-size", type=int, help="32, 64 or 128, where the data set has them.")
@click.option(
    "--normal",
    type=click.Choice(["nv+bkl+mel", "nv+bkl", "nv+mel", "bkl+mel", "nv", "bkl", "mel"]),
    help="Normal classes of HAM10000; nv+bkl+mel by default, as in the paper, or only nv.",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table's runs to a file for others: scores without images, with hashed names.",
)
@SPLIT_SEED
@running_options
@click.pass_context
def table(ctx: click.Context, number: int, do_run: bool, protocol: str, **given: Any) -> None:
    """Show Table NUMBER of the paper, 1 to 7: reported, released and clean numbers side by side.

    Each method is shown at the fullest setting that was run, which is named above the table.
    Options such as --epochs and --width choose another setting. With --run, missing runs are
    executed first. Give the same command again to resume an interrupted run from its last complete
    epoch.
    """
    from ccb_lib.reproduction.runs import table_runs
    from ccb_lib.reproduction.settings import PAPER

    store = read_store(number, given)
    named = ("epochs", "width", "similarity", "chain_init", "image_size", "normal", "limit")
    chosen = {name: given[name] for name in named if given[name] is not None}
    runs = table_runs(
        number,
        methods=given["methods"] or None,
        abnormal=given["abnormal"] or None,
        seeds=given["seeds"],
        split_seed=given["split_seed"],
        **chosen,
    )
    if do_run:
        run_them(ctx, runs, store, given)
    if given["export"]:
        _export(store, given["export"])
    _show(number, protocol, {**PAPER, **chosen} if chosen else None, given)


def _export(store: "Store", path: Path) -> None:
    from ccb_lib.reproduction.contribution import hashed
    from ccb_lib.reproduction.store import Store

    if path.exists():
        raise click.UsageError(f"{path} exists already. Give another file name.")
    Store(path).add(*(hashed(result) for result in store.results.values()))
    content = "scores, labels and classes; ids and groups hashed"
    click.echo(f"{len(store.results)} runs written to {path}: {content}.")


def _show(
    number: int, protocol: str, settings: dict[str, Any] | None, given: dict[str, Any]
) -> None:
    import pandas as pd

    from ccb_lib.reproduction.names import display_name
    from ccb_lib.reproduction.registry import TABLES
    from ccb_lib.reproduction.settings import described
    from ccb_lib.reproduction.tables import reported_and_measured, runs_in_words

    frame = reported_and_measured(number, settings=settings, folder=given["results"])
    names = [] if TABLES[number].chains else [*given["methods"]]
    rows = frame.index.get_level_values(0).isin(names) if names else slice(None)
    frame = frame[rows]
    if given["abnormal"]:
        frame = frame[frame.index.get_level_values("abnormal").isin(given["abnormal"])]
    columns = ["reported", "released", "clean"] if protocol == "all" else ["reported", protocol]
    at = described(settings) if settings else "each method at the fullest setting that was run"
    click.echo(f"Table {number}, {TABLES[number].metric} ({at})")
    for method, words in runs_in_words(number, settings=settings, folder=given["results"]).items():
        if not names or method in names:
            click.echo(f"  {display_name(method)}: {words}")
    run = frame[columns[1:]].notna().any(axis=1)
    listed = run | frame["reported"].notna()  # reported cells are always listed
    if listed.any():
        shown = (
            frame.loc[listed, columns]
            .map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
            .astype(object)
        )
        legend = [f"{name}: {_TESTS[name]}" for name in columns[1:]]
        if (shown == "–").any(axis=None):
            legend.append("–: not reported or not run")
        if (
            "released" in shown
            and (starred := frame["imposed"] & frame["released"].notna())[listed].any()
        ):
            shown.loc[starred[listed], "released"] += "*"
            legend.append("*: imposed; the method's own code tests otherwise")
        click.echo("; ".join(legend))
        click.echo(shown.to_string())
    if not run.all():
        click.echo(f"Not run: {_unrun(run)}")


def _unrun(run: "pd.Series[bool]") -> str:
    """List methods or chains that were not run, then those of which some classes were not run."""
    from ccb_lib.reproduction.names import display_name

    whole, parts = [], []
    for name, cells in run.groupby(level=0, sort=False):
        shown = display_name(name)
        if not cells.any():
            whole.append(shown)
        elif not cells.all():
            parts.append(f"{shown} ({', '.join(cells[~cells].index.get_level_values('abnormal'))})")
    return "; ".join([f"{', '.join(whole)} (all classes)"] * bool(whole) + parts)
