"""Mutated arguments of the explorer and of the command ``ccb``."""

import copy
import os
import re
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

from ccb_lib.cli.group import main
from ccb_lib.cli.text import one_line
from ccb_lib.detectors import MeanIntensity
from ccb_lib.explorer import explorer_html, table_html
from ccb_lib.explorer.widget import ThresholdExplorer
from tests.torture.inputs_judge import Input, Kind
from tests.torture.inputs_mutate import HOSTILE_NAMES, NUMBER_TEXTS, hostile
from tests.torture.inputs_tensors import make_store, noise

# ── explorers ─────────────────────────────────────────────────────────────────────────────────────

_ARGUMENTS = ("scores", "labels", "threshold", "prevalence", "title", "stops", "axes", "choice",
              "table", "Key", "key")  # fmt: skip


def mutate_explorer(rng: Random, _: Any) -> Input:
    """Make scores, labels, thresholds, names and numbers of which one or two are odd."""
    count = rng.choice((1, 2, 3, 10, 50))
    given: dict[str, Any] = {
        "scores": [rng.gauss(0, 1) for _ in range(count)],
        "labels": [rng.random() < 0.5 for _ in range(count)],
        "thresholds": rng.choice((None, {"normal 95 %": 0.5}, {"a": 0.1, "b": -3})),
        "prevalence": rng.choice((None, 0.05, 0.5)),
        "title": "Move the threshold",
        "stops": rng.choice((10, 40, 400)),
    }
    for name in rng.sample(list(given), rng.randint(1, 2)):
        given[name] = _odd(name, given[name], count, rng)
    what = rng.choice(("page", "page", "table", "table", "widget"))
    if what == "page":
        given["start"] = rng.choice((None, None, 0.3, _odd_number(rng)))
    if what == "table":
        given["axes"] = rng.choice((("Method", "Class"), ("x",), (), "x", None, ("a", "b", "c")))
        given["keys"] = [_odd_key(rng) for _ in range(rng.choice((0, 1, 2, 3)))]
        given["choice"] = rng.choice((None, None, ("a", "b"), "x", hostile(rng)))
    return Input(options={"what": what, **given}, names=_ARGUMENTS)


def _odd_number(rng: Random) -> Any:
    return rng.choice(
        (float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 10**400, True, None,
         "0.5", 0, 1, -1, 1.0, 2, 1j, b"1", np.float32(0.5), np.int64(3), np.nan,
         [0.5], torch.tensor(0.5),
         "\ud800")
    )  # fmt: skip


def _odd_key(rng: Random) -> Any:
    def part() -> Any:
        others = ("<script>", 0.5, 1, None, "a", True, float("nan"), 10**400, "</script>")
        return rng.choice((*HOSTILE_NAMES[:12], *others))

    return rng.choice((("a", "b"), (part(), part()), part(), (part(),), ()))


def _odd(name: str, value: Any, count: int, rng: Random) -> Any:
    """Return an odd value of one argument."""
    if name == "scores":
        scores = list(value)
        scores[rng.randrange(count)] = _odd_number(rng)
        return rng.choice(
            (scores, scores, np.array(value, np.float16), np.array([value, value]), [], None, "x",
             torch.tensor(value, requires_grad=True), [1e300 * s for s in value], [0.0] * count,
             [1e-310 * s for s in value], iter(value), {1: 2}, hostile(rng), np.ma.array(value),
             [s * 1e17 for s in value], [1 + 1e-16 * s for s in value], ["1"] * count,
             np.array([str(s) for s in value]), 3)
        )  # fmt: skip
    if name == "labels":
        labels: list[Any] = list(value)
        labels[rng.randrange(count)] = rng.choice((2, -1, "1", None, float("nan"), 0.5, [1], "x"))
        return rng.choice(
            (labels, labels, [0] * count, [1] * count, np.array(value, float), value[:-1], None,
             np.array(value, object), torch.tensor(value), ["normal"] * count, [[v] for v in value],
             hostile(rng), iter(value), 3)
        )  # fmt: skip
    if name == "thresholds":
        odd = rng.choice((*HOSTILE_NAMES, "<b>", None, 3, ("a",)))
        return rng.choice(
            ({odd: 0.5}, {"a": _odd_number(rng)}, {odd: _odd_number(rng), "b": 0.2}, [0.5], 0.5,
            "x",
             {}, {str(k): float(k) for k in range(300)}, hostile(rng))
        )  # fmt: skip
    if name == "title":
        return rng.choice((*HOSTILE_NAMES, "<script>alert(1)</script>", "$x ${y} $$", "%s {0}",
                          None,
                           3, b"x", ["x"], "x" * 10**5, "</style>"))  # fmt: skip
    if name == "stops":
        return rng.choice(
            (0, 9, -1, 10**9, 2**70, 10.0, np.int64(20), True, "20", None, hostile(rng))
        )
    return rng.choice((_odd_number(rng), hostile(rng)))


def read_explorer(_: Path, given: Input) -> None:
    """Make a page or a widget; UTF-8 must be able to hold it, and no name may end its script."""
    options = dict(given.options)
    what = options.pop("what")
    if what == "page":
        page = explorer_html(options.pop("scores"), options.pop("labels"), **options)
    elif what == "widget":
        options.pop("stops")
        page = ThresholdExplorer(options.pop("scores"), options.pop("labels"), **options).to_html()
    else:
        entry = (options.pop("scores"), options.pop("labels"), options.pop("thresholds"))
        keys = options.pop("keys")
        page = table_html({key: copy.copy(entry) for key in keys}, **options)
    page.encode()
    assert page.count("<script") == page.count("</script>"), "unbalanced scripts"
    assert "<script>alert" not in page, "a name became a script"


# ── the command ───────────────────────────────────────────────────────────────────────────────────

_COMMANDS = (
    "data list", "data list --present", "data check digits", "data check folder --root pictures",
    "data check cifar10 --root pictures", "data check folder --root table.csv",
    "data fetch cifar10 --root new", "data fetch --optional ham10000 chest-ct --root new",
    "train folder --root pictures --abnormal abnormal --method mean-intensity "
    "--out new.safetensors",
    "train folder --root table.csv --abnormal abnormal --method png-bytes --out new.safetensors "
    "--image-size 32 --seed 0 --false-alarms 0.1 --window 0 4095",
    "train folder --root normals --method pca --out new.safetensors",
    "score model.safetensors pictures/test --out scores.csv",
    "score model.safetensors pictures/test/normal/0.png --out scores.csv --window 0 100 --force",
    "score model.safetensors pictures --out scores.csv --device cpu",
    "table 1 --results results",
    "table 1 --results results --method ccb --abnormal cat --epochs 50",
    "table 4 --results results --width 4 --similarity l2 --chain-init he --normal nv "
    "--image-size 64",
    "table 1 --results results --export export.safetensors --seeds 2 --limit 5 --protocol clean",
    "table 1 --results results --merge results/table1.safetensors --split-seed 3 --parallel 2",
    "study skips --results results --arm ccb --data cifar10 --seeds 1 --epochs 2 --width 8",
    "study lung-ct-98 --results results", "study ablation --results results --limit 3",
    "measure --dry-run --results results --only table1-main --work work",
    "measure --merge results/table1.safetensors --results other",
    "bench --chain 4,3,2,1 --batch 4 --width 4 --method ccb --what chain",
)  # fmt: skip
_VALUES = (*NUMBER_TEXTS, *HOSTILE_NAMES, "--help", "--force", "--", "-", "--run", "--root",
           "--out",
           "pictures", "table.csv", "model.safetensors", "pictures/test", "results", "digits",
           "ccb",
           "new/deeper/file.csv", "pipe", "link", "--window", "cuda:99",
           "cpu", "folder", "cifar10", "ild", "--abnormal", "--method", "egbad", "a+b", "normal",
           "model.safetensors/x", "pictures/notes.txt", "--device", "meta", "--executor", "dask",
           "--scheduler", "tcp://[::", "--traceback")  # fmt: skip
_COMMANDS += tuple(words for words in _COMMANDS if words.startswith("score"))
_OWN = (click.exceptions.ClickException, click.exceptions.Exit, click.exceptions.Abort)


def make_project(folder: Path) -> dict[str, Any]:
    """Write pictures, a table, a detector and results for the command to work on."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in ("train/normal", "test/normal", "test/abnormal"):
        (folder / "pictures" / place).mkdir(parents=True)
        for number, pixels in enumerate(noise(24 if place.startswith("train") else 2)):
            Image.fromarray(pixels[0].numpy()).save(folder / "pictures" / place / f"{number}.png")
    rows = [f"pictures/{path.relative_to(folder / 'pictures')},{path.parent.name}"
            for path in sorted((folder / "pictures").rglob("*.png"))]  # fmt: skip
    (folder / "table.csv").write_text("\n".join(["path,label", *rows, ""]))
    (folder / "pictures" / "notes.txt").write_text("no picture")
    MeanIntensity().fit(noise(24)[:12], calibration=noise(24)[12:], progress=False).save(
        folder / "model.safetensors"
    )
    make_store(folder / "results")
    (folder / "results" / "export.safetensors").unlink(missing_ok=True)
    files: dict[str, bytes | str] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".lock" not in path.name
    }
    files |= {name.replace("pictures/", "normals/"): data for name, data in files.items()
              if "train/normal" in name}  # fmt: skip
    return {"files": {**files, "link": "nowhere"}}


def mutate_words(rng: Random, seeds: dict[str, Any]) -> Input:
    """Replace, insert, remove, repeat or exchange words of a command that is right."""
    words = rng.choice(_COMMANDS).split()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(words)) if words else 0
        value = rng.choice(_VALUES).replace("\0", "")  # no argument of a program can hold it
        value = re.sub(r"^~/|\.\./|^/(?=etc)", "", value)  # a user may write to any folder
        match rng.randrange(6):
            case 0 | 1 | 2 if len(words) > 1:
                words[max(1, at)] = value
            case 3:
                words.insert(at + 1, value)
            case 4 if words:
                del words[at]
            case 5 if words:
                words.insert(at, words[rng.randrange(len(words))])
    return Input(seeds["files"], {"words": words})


def read_words(folder: Path, given: Input) -> None:
    """Run the command in this process; networks are neither trained nor downloaded from."""
    (folder / "pipe").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe")
    words = given.options["words"]
    try:
        main.main(words, prog_name="ccb", standalone_mode=False)
    except click.exceptions.ClickException as error:
        message = error.format_message()
        about = [part for word in words for part in Path(word).parts]
        about += [*map(one_line, about), "'", "--", "argument", "command", Path.cwd().name]
        if not any(part in message for part in about):
            raise RuntimeError(f"names no argument: {message}") from error


def stub_work() -> None:
    """Replace what trains networks for hours, measures time or needs a network connection.

    The default folder of results becomes one of the worker, so that no command can change the
    stored results of the project.
    """
    from ccb_lib.benchmark import measure as timing
    from ccb_lib.datasets import downloads, wheels
    from ccb_lib.detectors.adversarial import AdversarialDetector
    from ccb_lib.reproduction import estimate, execute, plan, runs

    def left_out(*_: Any, **__: Any) -> str:
        raise OSError("'NAME': neither downloaded nor trained in this test.")

    runs.results_folder = plan.results_folder = lambda: Path("results")
    AdversarialDetector.fit_turns = left_out
    execute.run_missing = lambda runs, *_, **__: {}
    downloads.fetch_cifar10 = downloads.fetch_ham10000 = left_out
    wheels._download = left_out
    estimate.Estimates.hours = lambda *_, **__: (0.0, 0.0)
    timing.measure_steps = timing.measure_scores = lambda *_, **__: []


KINDS = (
    Kind("Explorer arguments", "scores, labels, thresholds, names, numbers of a wrong kind",
         lambda _: None, mutate_explorer, read_explorer),
    Kind("Arguments of ccb", "words of a command replaced, inserted, removed, exchanged",
         make_project, mutate_words, read_words, _OWN),
)  # fmt: skip
