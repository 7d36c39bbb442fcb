"""``ccb score``: a table of scores and verdicts of image files, and heatmaps of the errors."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ccb_lib.cli.text import STOPPED, in_shell, one_line, printable

COLUMNS = ("path", "score", "p_value", "verdict")
BRIGHTEST = 0.5  # error shown brightest, on the scale [-1, 1]: 64 of 255 grey levels

_BATCH = 256
# A cell that begins with one of these is not plain text to some spreadsheet programs.
_FORMULA = tuple("=+-@\t\r\n '\"")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file for the table.",
)
@click.option(
    "--heatmaps",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for error maps as PNG.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing table and heatmaps.")
@click.option(
    "--window",
    nargs=2,
    type=float,
    help="Values shown as black and as white; the same as in training.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.pass_context
def score(
    ctx: click.Context,
    model: Path,
    images: tuple[Path, ...],
    out: Path,
    heatmaps: Path | None,
    force: bool,
    window: tuple[float, float] | None,
    device: str,
) -> None:
    """Score IMAGES, files or folders of images, with the detector saved as MODEL.

    The table has one line per image: its path, its score (higher is more abnormal), its conformal
    p-value (the share of held-out normal images with an equal or higher score; a small value is
    abnormal) and the verdict: normal, abnormal or unreadable.

    Heatmaps are black where the reconstruction equals the image, and brightest where the error is
    64 of 255 grey levels or more. Each file name begins with the number of the image's line in the
    table.

    The scores are compared with those of the held-out normal images on which the threshold was
    set. If they differ more than chance and abnormal images can explain, a warning says that the
    verdicts are not valid and that the detector must be recalibrated.

    The exit status is 1 if an image could not be read, and 130 after Ctrl-C. In both cases the
    table has all images that were scored.
    """
    from ccb_lib.detectors import load_detector
    from ccb_lib.io.image_files import listing
    from ccb_lib.io.windows import check_window

    out = out.expanduser()
    heatmaps = heatmaps and heatmaps.expanduser()
    if not force:
        _refuse_existing(out, heatmaps)
    detector = load_detector(model, device=device)
    window = check_window(window) if window else None
    paths = _image_paths(images)
    for folder in (out.parent, heatmaps):
        if folder is not None:
            _make_folder(folder)
    if detector.calibration_terms_ is None:
        click.echo(
            "The detector was saved without calibration images: no p-values and no verdicts.",
            err=True,
        )
    counts = {"normal": 0, "abnormal": 0, "": 0}
    unreadable: dict[Path, str] = {}
    greyed: list[Path] = []
    judged: list[float] = []
    stopped = False
    with _table(out) as table:
        try:
            scored = _score(detector, paths, window, heatmaps, unreadable, greyed)
            for line, (path, row, error_map) in enumerate(scored, start=1):
                if heatmaps is not None and error_map is not None:
                    stem = re.sub(r"[^\w.-]", "_", path.stem)[:60]
                    _write_heatmap(heatmaps / f"{line:06d}_{stem}.png", error_map)
                table.writerow([_without_formula(str(path)), *row])
                counts[row[-1]] = counts.get(row[-1], 0) + 1
                if row[-1] in ("normal", "abnormal"):
                    judged.append(float(row[0]))
        except KeyboardInterrupt:
            stopped = True
    done = sum(counts.values())
    click.echo(
        f"{out}: {done} of {len(paths)} images, {counts['normal']} normal, {counts['abnormal']} "
        "abnormal."
    )
    if judged:
        _compare(detector, judged)
    if greyed:
        what = "1 colour image was" if len(greyed) == 1 else f"{len(greyed)} colour images were"
        click.echo(f"{what} made grey: this detector learnt from grey images.", err=True)
    if unreadable:
        what, whose = (
            ("1 image", "Its") if len(unreadable) == 1 else (f"{len(unreadable)} images", "Their")
        )
        text = listing(unreadable, f"{what} cannot be read", f"{whose} verdict is unreadable.")
        click.echo(printable(in_shell(text)), err=True)
    if stopped:
        click.echo(f"Stopped. {out} holds the {done} images that were done.", err=True)
        ctx.exit(STOPPED)
    if unreadable:
        ctx.exit(1)


def _compare(detector: Any, scores: list[float]) -> None:
    """Compare the scores with those of the calibration images; warn if verdicts are not valid."""
    from ccb_lib.metrics.shift import compare_with_calibration, warn_of_shift

    shift = compare_with_calibration(scores, detector.calibration_scores_, detector.threshold_)
    click.echo(f"{shift}.")
    warn_of_shift(shift)


def _refuse_existing(out: Path, heatmaps: Path | None) -> None:
    """Raise an error before any work if the output exists."""
    if out.exists():
        raise click.UsageError(
            f"{out} exists already. Give another name, or --force to overwrite it."
        )
    if heatmaps is not None and heatmaps.is_dir() and any(heatmaps.iterdir()):
        raise click.UsageError(
            f"{heatmaps} is not empty. Give another folder, or --force to write into it."
        )


def _make_folder(folder: Path) -> None:
    """Make a folder but not its parents, so that a mistyped path is an error."""
    from ccb_lib.io.writing import cannot_write

    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise click.UsageError(
            f"There is no folder {folder.parent} for {folder.name}. Create it, or give another "
            "path."
        ) from error
    except OSError as error:
        raise cannot_write(folder, error) from error


def _image_paths(images: tuple[Path, ...]) -> list[Path]:
    from ccb_lib.datasets.paths import images_below

    absent = [path for path in images if not path.exists()]
    if absent:
        raise click.UsageError(
            f"There is no {', '.join(map(str, absent[:20]))}. Give existing files or folders."
        )
    paths = [file for path in images for file in (images_below(path) if path.is_dir() else [path])]
    paths = list(dict.fromkeys(paths))  # a file may be named twice
    if not paths:
        raise click.UsageError(
            f"There are no images in {', '.join(map(str, images))}. Give other files or folders."
        )
    return paths


def _score(
    detector: Any,
    paths: list[Path],
    window: tuple[float, float] | None,
    maps: Any,
    unreadable: dict[Path, str],
    greyed: list[Path],
) -> Iterator[tuple[Path, list[Any], Any]]:
    """Yield path, further cells of its line and error map, in the order of the paths.

    Unreadable files are added to ``unreadable``, colour images of a grey detector to ``greyed``.
    """
    from tqdm import tqdm

    from ccb_lib.io.image_files import is_grey, read_each
    from ccb_lib.metrics import conformal_p_values

    calibrated = detector.calibration_terms_ is not None
    threshold = detector.threshold_ if calibrated else None
    with tqdm(total=len(paths), desc="scoring", unit=" images", disable=None) as bar:
        for start in range(0, len(paths), _BATCH):
            chunk = paths[start : start + _BATCH]
            pixels, wrong = read_each(
                chunk, image_size=detector.image_size_, channels=detector.channels_, window=window
            )
            unreadable.update(wrong)
            rows = [row for row, path in enumerate(chunk) if path not in wrong]
            if detector.channels_ == 1:
                greyed += [chunk[row] for row in rows if not is_grey(chunk[row])]
            lines: dict[Path, tuple[list[Any], Any]] = {
                path: (["", "", "unreadable"], None) for path in wrong
            }
            if rows:
                scores = detector.decision_function(pixels[rows])
                p_values = (
                    conformal_p_values(scores, detector.calibration_scores_)
                    if calibrated
                    else [""] * len(rows)
                )
                error_maps = (
                    detector.anomaly_map(pixels[rows]) if maps is not None else [None] * len(rows)
                )
                for row, value, p_value, error_map in zip(
                    rows, scores, p_values, error_maps, strict=True
                ):
                    row_text = [f"{value:.9g}", "", ""]
                    if threshold is not None:
                        row_text[1:] = [
                            f"{p_value:.6g}",
                            "abnormal" if value > threshold else "normal",
                        ]
                    lines[chunk[row]] = (row_text, error_map)
            for path in chunk:
                yield (path, *lines[path])
                bar.update()


@contextmanager
def _table(out: Path) -> Iterator[Any]:
    """Open the table; the file is written when the block ends, also after Ctrl-C."""
    from ccb_lib.io.writing import replacing

    with (
        replacing(out) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        # All cells are quoted: the separator that a spreadsheet expects depends on the locale.
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        yield writer


def _without_formula(path: str) -> str:
    """Return a path that spreadsheets do not read as a formula: ``=x.png`` becomes ``./=x.png``."""
    return one_line(f"./{path}" if path.startswith(_FORMULA) else path)


def _write_heatmap(path: Path, error_map: Any) -> None:
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    from ccb_lib.io.writing import replacing

    share = np.sqrt(error_map) / BRIGHTEST
    picture = Image.fromarray(colormaps["inferno"](np.clip(share, 0, 1), bytes=True)[..., :3])
    scale = max(1, 256 // picture.width)  # images of 32 pixels are hard to see
    picture = picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
    )
    with replacing(path) as part:
        picture.save(part, format="PNG")
