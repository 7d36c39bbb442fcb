"""``ccb bench``: the time of training steps, scoring and loading on this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ccb_lib.cli.data import COUNT, ROOT

WHAT = ("step", "score", "operations", "threads", "padding", "load")
_ON_REQUEST = ("threads", "padding")


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="A method; may be repeated; the paper's five by default.",
)
@click.option(
    "--image-size",
    "image_sizes",
    type=COUNT,
    multiple=True,
    help="Image size for CCB; may be repeated; 32, 64 and 128 by default.",
)
@click.option(
    "--chain",
    "chains",
    multiple=True,
    help="Chain of CCB, such as 4,3,2,1; may be repeated; those of Tables 6-7 by default.",
)
@click.option(
    "--batch",
    "batches",
    type=COUNT,
    multiple=True,
    help="Batch size for CCB; may be repeated; 16, 64 and 256 by default.",
)
@click.option(
    "--at-once",
    "detectors",
    type=COUNT,
    multiple=True,
    help="Number of concurrent detectors; may be repeated; 1, 2, 5 and 10 by default.",
)
@click.option(
    "--width",
    type=COUNT,
    help="Channels of the first convolution; by default the method's own, and 8 on a CPU.",
)
@click.option(
    "--what",
    type=click.Choice(WHAT),
    multiple=True,
    help="What to measure; may be repeated; all but threads and padding by default.",
)
@click.option(
    "--compiled", is_flag=True, help="Measure torch.compile as well; compilation takes minutes."
)
@click.option("--quick", is_flag=True, help="Few steps, to test the command; times are rough.")
@click.option("--profile", is_flag=True, help="List the slowest kernels of CCB's step instead.")
@click.option(
    "--targets", is_flag=True, help="Measure the performance targets of the fast path instead."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file for the results.",
)
@ROOT
def bench(device: str, out: Path | None, profile: bool, targets: bool, **given: Any) -> None:
    """Measure milliseconds per training step, images scored per second, and loading time.

    All measurements run in one process, and the variants of a setting alternate. Numbers are
    medians, with quartiles in brackets. The book's chapter on speed shows the files
    data/results/bench-*.json.
    """
    from ccb_lib.benchmark.files import about, write

    facts = about(device)
    for name, value in facts.items():
        click.echo(f"{name}: {value}")
    rows: list[dict[str, Any]] = []
    more: dict[str, Any] = {"quick": given["quick"]}

    def write_file() -> None:
        if out is not None:
            write(out, rows, facts, **more)

    if targets:
        more["targets"] = _targets(device, given["quick"])
    if profile:
        more["profile"] = _profile(device, given)
    if not (targets or profile):
        for measured in _measure(device, given):
            rows += measured
            write_file()
    write_file()


def _measure(device: str, given: dict[str, Any]) -> Any:
    """Print and yield rows after each measurement."""
    from ccb_lib.benchmark import measure, parts
    from ccb_lib.benchmark.cells import Cell, benchmark_cells
    from ccb_lib.datasets.base import data_root
    from ccb_lib.environment import choose_device

    cpu, quick = choose_device(device).type == "cpu", given["quick"]
    steps, repeats = (1, 2) if quick else (2, 9) if cpu else (50, 7)
    count = 256 if quick or cpu else 65_536
    what = given["what"] or [name for name in WHAT if name not in _ON_REQUEST]
    chosen = {
        key: given[key] for key in ("methods", "image_sizes", "batches", "detectors") if given[key]
    }
    if given["chains"]:
        chosen["chains"] = [_chain(text) for text in given["chains"]]
    groups = benchmark_cells(**chosen, width=given["width"] or (8 if cpu else None))
    paths = measure.PATHS if given["compiled"] else measure.PATHS[:2]
    for name, cells in groups.items() if "step" in what else ():
        yield _printed(
            measure.measure_steps(
                cells, device=device, steps=steps, repeats=repeats, paths=paths, group=name
            )
        )
    alone = [cell for cell in groups["method"] if cell.detectors == 1]
    for cell in alone if "score" in what else ():
        searching = cell.method == "anogan"
        yield _printed(
            measure.measure_scores(
                cell,
                device=device,
                count=count // (8 if searching else 1),
                repeats=repeats,
                search_steps=10 if quick or cpu else 500,
            )
        )
    for method in [cell.method for cell in alone] if "operations" in what else ():
        yield _printed(parts.count_operations(method))
    if "threads" in what:
        for width in (8, 16, 32):
            yield _printed(parts.measure_threads(Cell(width=width)))
    if "padding" in what:
        full = [replace(cell, width=given["width"]) for cell in alone]
        paths = ("padded", "fast")
        yield _printed(
            measure.measure_steps(
                full, device="cpu", steps=1, repeats=repeats, paths=paths, group="padding"
            )
        )
    if "load" in what:
        try:
            yield _printed(parts.measure_load(Path(given["root"] or data_root())))
        except (FileNotFoundError, StopIteration):
            click.echo("load: CIFAR-10 was not found. Download it with: ccb data fetch cifar10")


def _chain(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no chain; write four lengths as 4,3,2,1.") from error


def _printed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        words = [row["what"], *([f"by {row['group']}"] if row.get("group") else [])]
        if "detectors" not in row:
            words += [row.get("method", "")]
        else:
            chain = "" if row["chain"] is None else f" chain {','.join(map(str, row['chain']))}"
            size = f"{row['image_size']} px batch {row['batch']}"
            words += [f"{row['method']} {size}{chain} × {row['detectors']}"]
        words += [row["path"], f"{row['median']:g} {row['unit']}"]
        if "low" in row:
            words += [f"[{row['low']:g} … {row['high']:g}]"]
        if row.get("memory") is not None:
            words += [f"{row['memory']} MiB"]
        click.echo(" ".join(f"{word:<10}" if len(word) < 10 else word for word in words))
    return rows


def _profile(device: str, given: dict[str, Any]) -> dict[str, Any]:
    from ccb_lib.benchmark.cells import Cell
    from ccb_lib.benchmark.parts import profile
    from ccb_lib.environment import choose_device

    width = given["width"] or (8 if choose_device(device).type == "cpu" else None)
    cells = {count: Cell(width=width, detectors=count) for count in given["detectors"] or (1,)}
    found = {}
    for count, cell in cells.items():
        for path in ("eager", "fast"):
            rows = profile(cell, device=device, path=path, steps=2 if given["quick"] else 10)
            found[f"{path} × {count}"] = rows
            calls, ms = (sum(row[key] for row in rows) for key in ("calls", "ms"))
            click.echo(f"\n{path} × {count}: {calls:.0f} calls, {ms:.3g} ms per step")
            for row in rows:
                cost = f"{row['share']:6.1%} {row['ms']:9.4f} ms {row['calls']:7.1f}"
                click.echo(f"{cost} × {row['name'][:90]}")
    return found


def _targets(device: str, quick: bool) -> list[dict[str, Any]]:
    from ccb_lib.benchmark.targets import Target, measure_targets

    def say(target: Target) -> None:
        verdict = {True: "reached", False: "MISSED", None: "not measured here"}[target.reached]
        value = "–" if target.measured is None else f"{target.measured:g}"
        detail = f" {target.detail}" if target.detail else ""
        click.echo(f"{verdict}: {target.name}: {value}, {target.limit_words}{detail}")

    return [target.as_row() for target in measure_targets(device, quick=quick, say=say)]
