"""Matching regions with slices in the Geneva database; regions without a match are reported."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.ild_rois import LABELS, draw, read_rois
from ccb_lib.datasets.paths import files_below
from ccb_lib.io.dicom import Header, read_header, read_mask
from ccb_lib.io.image_files import is_dicom

FOLDERS = {"text": "ILD_DB_txtROIs", "masks": "ILD_DB_volumeROIs", "lungs": "ILD_DB_lungMasks"}
PILOT = "HRCT_pilot"
_SAME_LOCATION = 0.02  # mm: slice locations that differ by less are equal

Regions = dict[str, NDArray[np.bool_]]


@dataclass
class Report:
    """What could not be used, one line each, with paths relative to the database."""

    base: Path
    lines: list[str] = field(default_factory=list)

    def add(self, path: Path, why: object) -> None:
        """Add one thing that is left out, and the reason."""
        self.lines.append(f"{path.relative_to(self.base)}: {why}")


@dataclass(frozen=True)
class Drawn:
    """A slice and the regions drawn on it."""

    header: Header
    regions: Regions


def find_folder(folder: Path, kind: str) -> Path | None:
    """Find one of the database's three folders: ``folder`` itself, or up to two levels below."""
    name = FOLDERS[kind]
    if folder.name == name:
        return folder
    candidates = [
        path
        for pattern in (name, f"*/{name}", f"*/*/{name}")
        for path in sorted(folder.glob(pattern))
    ]
    return next((path for path in candidates if path.is_dir()), None)


def patients(database: Path, pilot: bool = False) -> list[tuple[str, Path]]:
    """List names and folders of the patients, sorted by number; with ``pilot`` also HRCT_pilot."""

    def folders(parent: Path) -> list[Path]:
        inside = [
            path
            for path in parent.iterdir()
            if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
        ]
        return sorted(
            inside,
            key=lambda path: [
                int(x) if x.isdecimal() else x for x in re.split(r"(\d+)", path.name)
            ],
        )

    found = [(path.name, path) for path in folders(database) if path.name != PILOT]
    if pilot:
        for parent in (database / PILOT, database.parent / PILOT):
            if parent.is_dir():
                found += [(f"{PILOT}/{path.name}", path) for path in folders(parent)]
    return found


def from_text(patient: Path, report: Report) -> list[Drawn]:
    """Convert a patient's text ROIs to masks on their slices."""
    files = files_below(patient)
    series: dict[tuple[Path, str], list[Header]] = defaultdict(list)
    for header in _headers([path for path in files if path.suffix.lower() != ".txt"], report):
        series[header.path.parent, header.series].append(header)
    drawn: dict[Path, Drawn] = {}
    for file in (path for path in files if path.suffix.lower() == ".txt"):
        try:
            rois = read_rois(file)
        except (ValueError, OSError) as error:
            report.add(file, error)
            continue
        chosen = _series_of(file, rois.series, list(series))
        if chosen is None:
            report.add(
                file, f"none, or more than one, of {len(series)} series of slices belongs to it"
            )
            continue
        slices = _number_slices(series[chosen], {contour.slice_number for contour in rois.contours})
        for contour in rois.contours:
            where = f"contour in line {contour.line}"
            header = slices.get(contour.slice_number)
            if contour.label not in LABELS:
                report.add(file, f"{where}: unknown label {contour.label[:40]!r}")
            elif header is None:
                report.add(file, f"{where}: there is no slice {contour.slice_number}")
            else:
                try:
                    mask = draw(contour.points, header.size)
                except ValueError as error:
                    report.add(file, f"{where}: {error}")
                    continue
                regions = drawn.setdefault(header.path, Drawn(header, {})).regions
                regions[contour.label] = (
                    regions[contour.label] | mask if contour.label in regions else mask
                )
    return [drawn[path] for path in sorted(drawn)]


def from_masks(patient: Path, report: Report) -> list[Drawn]:
    """Read a patient's mask volumes and match each mask with its slice by location."""
    masks, slices = _masks_and_slices(patient, "roi_mask", report)
    drawn: dict[Path, Drawn] = {}
    for mask in masks:
        header = _slice_of(mask, slices, report)
        if header is None:
            continue
        try:
            values = read_mask(mask.path)
            if values.shape != header.size:
                raise ValueError(
                    f"its size {values.shape} is not {header.size}, that of {header.path.name}"
                )
        except ValueError as error:
            report.add(mask.path, error)
            continue
        for value in np.unique(values[values != 0]).tolist():
            if not 1 <= value <= len(LABELS):
                report.add(mask.path, f"unknown label number {value}")
                continue
            regions = drawn.setdefault(header.path, Drawn(header, {})).regions
            label = LABELS[value - 1]
            regions[label] = (values == value) | regions.get(label, False)
    return [drawn[path] for path in sorted(drawn)]


class LungMasks:
    """The lung masks of one patient, matched with slices by location.

    Args:
        patient: The patient's folder below ILD_DB_lungMasks; it need not exist.
        report: Collects what cannot be used.
    """

    def __init__(self, patient: Path, report: Report) -> None:
        self._report = report
        self._masks = _masks_and_slices(patient, "lung_mask", report)[0] if patient.is_dir() else []

    def of(self, header: Header) -> NDArray[np.bool_] | None:
        """Return the lung mask of a slice as (H, W) bool, or ``None`` if it has no mask."""
        found = [mask for mask in self._masks if _same_location(mask, header)]
        found = [mask for mask in found if mask.series and mask.series == header.series] or found
        folder = header.path.parent.name  # the series' own folder, if a patient has several
        found = [mask for mask in found if folder in mask.path.parts] or found
        if not found:
            return None
        try:
            if len(found) > 1:
                raise ValueError(f"{len(found)} lung masks at its location; it is cut without any")
            lung = read_mask(found[0].path) > 0
            if lung.shape != header.size:
                raise ValueError(f"the size of its lung mask is {lung.shape}; it is cut without it")
        except ValueError as error:
            self._report.add(header.path, error)
            return None
        return lung


def _headers(files: list[Path], report: Report) -> list[Header]:
    headers = []
    for path in files:
        try:
            if is_dicom(path):
                headers.append(read_header(path))
        except (ValueError, OSError) as error:
            report.add(path, error)
    return headers


def _masks_and_slices(
    patient: Path, mark: str, report: Report
) -> tuple[list[Header], list[Header]]:
    """Split a patient's DICOM files into masks (named so, or in a folder named so) and slices."""
    headers = _headers(files_below(patient), report)
    is_mask = [
        mark in f"{header.path.parent.name}/{header.path.name}".lower() for header in headers
    ]
    return (
        [header for header, mask in zip(headers, is_mask, strict=True) if mask],
        [header for header, mask in zip(headers, is_mask, strict=True) if not mask],
    )


def _series_of(file: Path, uid: str, series: list[tuple[Path, str]]) -> tuple[Path, str] | None:
    """Choose the series of an ROI file: by UID, else by folder, else the only series."""
    for chosen in (
        [key for key in series if uid and key == (file.parent, uid)],
        [key for key in series if uid and key[1] == uid],
        [key for key in series if key[0] == file.parent],
        series,
    ):
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            return None
    return None


def _number_slices(headers: list[Header], wanted: set[int]) -> dict[int, Header]:
    """Number the slices of a series from 1, as ROI files do.

    A slice's number is its InstanceNumber. But if InstanceNumbers are missing or repeated, begin at
    0, or contain none of the wanted numbers, the slices are counted in the order of InstanceNumber
    or else of file names.
    """
    headers = sorted(headers, key=lambda header: header.path)
    numbers = [header.number for header in headers]
    if None not in numbers and len(set(numbers)) == len(numbers):
        if 0 not in numbers and wanted & set(numbers):
            return {header.number: header for header in headers if header.number is not None}
        headers.sort(key=lambda header: header.number or 0)
    return dict(enumerate(headers, start=1))


def _slice_of(mask: Header, slices: list[Header], report: Report) -> Header | None:
    found = [header for header in slices if _same_location(mask, header)]
    in_same_folder = [header for header in found if header.path.parent in mask.path.parents]
    found = in_same_folder or found
    found = [header for header in found if mask.series and header.series == mask.series] or found
    if len(found) == 1:
        return found[0]
    where = (
        "it has no location"
        if mask.location is None
        else f"{len(found)} slices at {mask.location:g} mm"
    )
    report.add(mask.path, f"a mask without its one slice: {where}")
    return None


def _same_location(a: Header, b: Header) -> bool:
    return (
        a.location is not None
        and b.location is not None
        and abs(a.location - b.location) < _SAME_LOCATION
    )
