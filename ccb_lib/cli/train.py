"""``ccb train``: train a detector on a data set and save it."""

import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ccb_lib.cli.data import ROOT
from ccb_lib.cli.text import STOPPED


def _known_dataset(ctx: click.Context, _: click.Parameter, dataset: str) -> str:
    from ccb_lib.datasets import check_name

    if not ctx.resilient_parsing:
        check_name(dataset)
    return dataset


@click.command()
@click.argument("dataset", callback=_known_dataset)
@click.option(
    "--abnormal",
    help="The abnormal class, or several joined by +. Not needed if there is only one, or none.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the detector.",
)
@click.option("--method", default="ccb", show_default=True, help="ccb or one of its baselines.")
@ROOT
@click.option("--normal", help="The normal classes, for data sets that offer a choice.")
@click.option("--source", help="Source of ild: text, masks, lung_ct_98 or chest-ct.")
@click.option(
    "--variant", help="Variant of brain-mri: original, background, re-encoded or matched."
)
@click.option(
    "--window",
    nargs=2,
    type=float,
    help="Values shown as black and as white, for CT and 16-bit images.",
)
@click.option("--image-size", type=int, help="32, 64 or 128 pixels.")
@click.option("--epochs", type=int, help="Epochs of training.")
@click.option("--width", type=int, help="Channels of the first convolution.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option(
    "--fast/--plain",
    default=None,
    help="Train by the fast or plain path; see the chapter on speed.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the split and of training.")
@click.option(
    "--false-alarms",
    default=0.05,
    show_default=True,
    help="Share of normals that may be called abnormal.",
)
@click.pass_context
def train(
    ctx: click.Context, dataset: str, abnormal: str | None, out: Path, method: str, **options: Any
) -> None:
    """Train a detector on the normal images of DATASET and save it.

    DATASET is digits, cifar10, ham10000, ild, brain-mri or folder. Give the same command again to
    resume interrupted training from its last complete epoch.
    """
    from ccb_lib.datasets import load_dataset
    from ccb_lib.detectors import METHODS

    if method not in METHODS:
        raise click.BadParameter(
            f"{method!r} is unknown. Choose one of: {', '.join(METHODS)}.", param_hint="--method"
        )
    _check_writable(out)
    given = {name: value for name, value in options.items() if value is not None}
    settings = {
        name: given[name] for name in ("epochs", "width", "device", "fast", "seed") if name in given
    }
    known = {field.name for field in fields(METHODS[method])}
    if foreign := [f"--{name}" for name in settings if name not in known]:
        raise click.UsageError(f"The method {method} has no {', '.join(foreign)}.")
    detector = METHODS[method](**settings)

    chosen = {
        key: given[key]
        for key in ("seed", "normal", "source", "variant", "window", "image_size")
        if key in given
    }
    split = load_dataset(dataset, abnormal=abnormal, root=options["root"], **chosen)
    click.echo(repr(split))
    checkpoint = out.with_name(f"{out.stem}.checkpoint.safetensors")
    try:
        detector.fit(
            split.train,
            calibration=split.calibration,
            false_alarms=options["false_alarms"],
            resume=checkpoint,
            progress=sys.stderr.isatty(),
        )
    except KeyboardInterrupt:
        if checkpoint.exists():
            click.echo(
                f"\nStopped. The epochs done are kept in {checkpoint}; "
                "give the same command again to resume.",
                err=True,
            )
        else:
            click.echo("\nStopped before the first epoch was done; nothing is kept.", err=True)
        ctx.exit(STOPPED)
    detector.save(out)
    checkpoint.unlink(missing_ok=True)
    _report(detector, split, out, given.get("window"))


def _check_writable(out: Path) -> None:
    """Raise an error before training if the detector's file cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise OSError(
            f"Cannot write {out}: {error.strerror}. Choose a folder that you may write to."
        ) from error


def _report(detector: Any, split: Any, out: Path, window: tuple[float, float] | None) -> None:
    from ccb_lib.metrics import auc

    bad = int(split.test_labels.sum())
    good = len(split.test_labels) - bad
    click.echo(
        f"Saved {out}. Images are called abnormal above a score of {detector.threshold_:.4g}, "
        "which "
        f"{detector.false_alarms_:.0%} of {len(split.calibration)} held-out normal images may "
        "exceed."
    )
    if good and bad:
        area = auc(detector.decision_function(split.test), split.test_labels)
        click.echo(f"AUC on the test's {good} normal and {bad} abnormal images: {area:.3f}.")
    else:
        click.echo("There are no abnormal images to test on: detection cannot be measured.")
    extra = f" --window {window[0]:g} {window[1]:g}" if window else ""
    click.echo(f"Score images with: ccb score {out} IMAGES… --out scores.csv{extra}")
