"""``ccb data``: what each data set is, whether it is there, and how to get it."""

import tempfile
from pathlib import Path

import click

ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder of the images; by default $CCB_DATA, else the nearest data/raw upwards.",
)


@click.group()
def data() -> None:
    """List, check and fetch data sets."""


@data.command("list")
@ROOT
def list_sets(root: Path | None) -> None:
    """Show what each data set is, its terms and how to cite it."""
    from ccb_lib.datasets.catalog import ENTRIES

    for entry in ENTRIES.values():
        click.secho(entry.name, bold=True)
        click.echo(f"  {entry.what}\n  terms: {entry.terms}\n  cite:  {entry.cite}\n")


@data.command()
@click.argument("name")
@ROOT
@click.pass_context
def check(ctx: click.Context, name: str, root: Path | None) -> None:
    """Count the images of NAME by class, against the known totals, and name what is missing.

    Exit status 1 if anything is missing.
    """
    from ccb_lib.cli.text import printable
    from ccb_lib.datasets import catalog

    entry = catalog.entry(name)
    found = catalog.look(name, root)
    click.echo(f"{name} in {printable(str(found.folder.absolute()))}")
    width = max((len(label) for label in found.counts), default=0)
    for label, count in found.counts.items():
        known = f" of {entry.known[label]:,}" if label in entry.known else ""
        click.echo(f"  {printable(label):{width}}  {count:>7,}{known}")
    click.echo(f"  {'all':{width}}  {sum(found.counts.values()):>7,}")
    for note in found.notes:
        click.echo(f"  {printable(note)}")
    lines = catalog.missing(name, found)
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
    click.echo("Complete." if entry.known else "Its totals are not known here, so only what is found is shown.")


@data.command()
@click.argument("name")
@ROOT
def fetch(name: str, root: Path | None) -> None:
    """Get NAME: download it, or print the steps where a form or a click is needed.

    Archives that lie in the data set's folder are unpacked.
    """
    from ccb_lib.datasets import catalog

    entry = catalog.entry(name)
    place = _folder(root)
    if name == "cifar10":
        click.echo(f"Terms: {entry.terms}. Cite: {entry.cite}")
        click.echo(fetch_cifar10(place))
        return
    made = catalog.unpack_archives(place / name) if name in ("ham10000", "ild") else []
    for folder in made:
        click.echo(f"Unpacked {folder}.")
    if made:
        click.echo(f"`ccb data check {name}` counts what is there.")
        return
    click.echo(f"{entry.what}\nTerms: {entry.terms}\nCite:  {entry.cite}\n")
    for number, step in enumerate(entry.steps, start=1):
        click.echo(f"{number}. {step.format(root=place)}")


def fetch_cifar10(root: Path) -> str:
    """Download CIFAR-10's batches into a folder, checked by the digest that torchvision knows.

    Args:
        root: The folder of all data sets; made if missing.

    Returns:
        What was done, for the user.

    Raises:
        OSError: No connection, or the folder cannot be written to.
        ValueError: The archive is damaged.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    from ccb_lib.io.archives import unpack

    target = root / CIFAR10.base_folder
    if target.is_dir():
        return f"{target} is there already; `ccb data check cifar10` counts its images."
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".cifar10.") as part:
        try:
            download_url(CIFAR10.url, part, CIFAR10.filename, CIFAR10.tgz_md5)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"CIFAR-10 could not be downloaded ({error}). Try again; or download {CIFAR10.url} in another way and "
                f"unpack it so that {target} is there."
            ) from error
        unpack(Path(part) / CIFAR10.filename, Path(part) / "new")
        (Path(part) / "new" / CIFAR10.base_folder).rename(target)
    return f"CIFAR-10 is in {target}."


def _folder(root: Path | None) -> Path:
    """The folder to put data sets into; unlike `data_root` it need not be there yet."""
    from ccb_lib.datasets.base import data_root

    if root is not None:
        return root
    try:
        return data_root()
    except FileNotFoundError:
        return Path("data/raw")
