"""Mutated tables, ROI files and plans."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ccb_lib.datasets import csv_table, ham10000, ild_files
from ccb_lib.datasets.examples import ild as ild_example
from ccb_lib.io.dicom_writing import write_image
from ccb_lib.io.project_data import project_data
from ccb_lib.reproduction.plan import read_plan
from tests.torture.inputs_judge import Input, Kind
from tests.torture.inputs_mutate import mutated_text

# ── tables ────────────────────────────────────────────────────────────────────────────────────────

_FOLDER = "path,label,group\na.png,normal,1\nb/c.png,normal,2\nd.png,abnormal,2\n"
_METADATA = (
    "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
    "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp\n"
    "HAM_0000118,ISIC_0025030,bkl,histo,80.0,male,scalp\n"
    "HAM_0002730,ISIC_0026769,nv,histo,80.0,male,scalp\n"
)
_TRUTH = (
    "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    "ISIC_0024306,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_0024307,0.0,0.0,0.0,0.0,0.0,0.0,1.0\n"
)
_LESIONS = (
    "image,lesion_id,diagnosis_confirm_type\n"
    "ISIC_0024306,HAM_0000550,serial imaging\n"
    "ISIC_0024307,HAM_0003577,histo\n"
)
_TABLES = {
    "table.csv": _FOLDER,
    "table.tsv": _FOLDER.replace(",", "\t"),
    "table.txt": _FOLDER.replace(",", ";"),
    "HAM10000_metadata.csv": _METADATA,
    "HAM10000_metadata.tab": _METADATA.replace(",", "\t"),
    "truth.csv": _TRUTH,
    "lesions.csv": _LESIONS,
}
_CELLS = ("normal", "path", "label", "group", "a.png", "b/c.png", "link.png", "dx", "image", "nv",
          "image_id", "lesion_id", "ISIC_0024306", "1.0", "0.0", ",", "\t", '"')  # fmt: skip


def mutate_table(rng: Random, _: Any) -> Input:
    """Change cells, rows, separators and bytes of a table."""
    name = rng.choice(list(_TABLES))
    files: dict[str, bytes | str] = {name: mutated_text(_TABLES[name], rng, _CELLS)}
    if name in ("truth.csv", "lesions.csv"):
        files = {"truth.csv": _TRUTH.encode(), "lesions.csv": _LESIONS.encode(), **files}
    elif name.startswith("table"):
        files |= dict.fromkeys(("a.png", "b/c.png", "d.png"), b"")
        files["link.png"] = "../beside/secret.txt"
    return Input(files, {"file": name}, names=tuple(n for n in files if not n.endswith("png")))


def read_table(folder: Path, given: Input) -> None:
    """Read a table of one's own images, or one of HAM10000's."""
    name = given.options["file"]
    if name.startswith("table"):
        paths, *_ = csv_table.read_table(folder / name)
        outside = [path for path in paths if not path.resolve().is_relative_to(folder.resolve())]
        assert not outside, outside
    elif name.startswith("HAM"):
        ham10000.read_metadata(folder / name)
    else:
        ham10000.read_isic(folder / "truth.csv", folder / "lesions.csv")


# ── ROI files ─────────────────────────────────────────────────────────────────────────────────────

_WORDS = ("label", "slice_number", "nb_points_on_contour", "SpacingX", "SpacingY", "Series",
          "localisation", "healthy", "fibrosis", ":", "1.2.3", "----")  # fmt: skip


def make_rois(folder: Path) -> dict[str, Any]:
    """Write a patient with two slices and a text ROI file."""
    patient = folder / "1"
    patient.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in (1, 2):
        write_image(patient / f"{number}.dcm", rng.integers(-1000, 0, (64, 64), dtype=np.int16),
                    number=number, series="1.2.3")  # fmt: skip
    contours = [("healthy", 1, ild_example.box(2, 2, 40, 40)),
                ("fibrosis", 2, ild_example.ellipse(30, 30, 20, 30, points=12))]  # fmt: skip
    ild_example.write_rois(patient / "rois.txt", contours, spacing=(0.5, 0.25))
    text = (patient / "rois.txt").read_text()
    return {"text": text, "slices": {f"1/{n}.dcm": (patient / f"{n}.dcm").read_bytes()
                                     for n in (1, 2)}}  # fmt: skip


def mutate_rois(rng: Random, seeds: dict[str, Any]) -> Input:
    """Change numbers, keys, lines and bytes of the ROI file; seldom thousands of points."""
    if rng.random() < 0.01:
        many = rng.choice((2000, 200_000))
        points = "\n".join(
            f"{rng.uniform(0, 30):.3f} {rng.uniform(0, 15):.3f}" for _ in range(many)
        )
        head = "Series: 1.2.3\nSpacingX: 0.5\nSpacingY: 0.25\nlabel: healthy\nslice_number: 1\n"
        text = f"{head}nb_points_on_contour: {many}\n{points}\n".encode()
    else:
        text = mutated_text(seeds["text"], rng, _WORDS)
    return Input({"1/rois.txt": text, **seeds["slices"]}, names=("rois.txt",))


def read_rois(folder: Path, given: Input) -> None:
    """Draw a patient's regions; what cannot be used must be reported with its file."""
    report = ild_files.Report(folder)
    ild_files.from_text(folder / "1", report)
    if odd := [line for line in report.lines if not line.startswith("1/")]:
        raise ValueError(f"a line that names no file: {odd[0][:200]}")


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────

_PLAN_WORDS = ('"ccb"', '["ccb"]', "[0, 1]", "true", "1", "7", '"skips"', '"ablation"', "table",
               "study", "seeds", "methods", "arms", "epochs", "width", "classes", "datasets",
               '"cifar10"', '["airplane"]', "normal", '"nv+bkl"', "image_size", "[]", "{}", "[[]]",
               "[{}]", "1979-05-27", "nan", "inf", "[[entry]]", "[entry]", "-1", "0x7f",
               '"\\ud800"',
               "[0, 0]", "1.0", "100000000", "9223372036854775807")  # fmt: skip


def make_plan(_: Path) -> list[str]:
    """Return entries of the project's plan, alone and together."""
    text = (project_data("results") / "plan.toml").read_text(encoding="utf-8")
    entries = ["[[entry]]" + part for part in text.split("[[entry]]")[1:]]
    return [*entries, "\n".join(entries[:3])]


def mutate_plan(rng: Random, seeds: list[str]) -> Input:
    """Exchange values for others of other types, nest brackets, change lines and bytes."""
    text = rng.choice(seeds)
    if rng.random() < 0.6:
        lines = text.split("\n")
        settings = [n for n, line in enumerate(lines) if "=" in line]
        for _ in range(rng.randint(1, 2)):
            at = rng.choice(settings)
            key = rng.choice((lines[at].partition("=")[0], rng.choice(_PLAN_WORDS)))
            value = rng.choice((*_PLAN_WORDS, "[" * 3000, "9" * 5000, "[" + "0," * 3000 + "1]"))
            lines[at] = f"{key} = {value}"
        return Input({"plan.toml": "\n".join(lines).encode()})
    return Input({"plan.toml": mutated_text(text, rng, _PLAN_WORDS)})


def read_the_plan(folder: Path, given: Input) -> None:
    """Read a plan and list the runs of its entries."""
    for entry in read_plan(folder / "plan.toml"):
        entry.runs()


KINDS = (
    Kind("CSV tables", "cells, separators, paths, links, bytes", lambda _: None, mutate_table,
         read_table),
    Kind("ROI text files", "numbers, keys, lines, bytes, thousands of points", make_rois,
         mutate_rois,
         read_rois),
    Kind("plan.toml", "values of other types, nested brackets, lines, bytes", make_plan,
         mutate_plan,
         read_the_plan),
)  # fmt: skip
