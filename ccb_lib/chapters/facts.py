"""Numbers about image sets, computed from the images or read from stored files.

``python data/scripts/store_facts.py NAME`` computes the numbers of one set from its images and
stores them in ``data/results/facts-NAME.json``. Pages read that file on a machine without the
images. On a machine with the images, pages compute the numbers again with the same functions.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from ccb_lib import GANomaly, MeanIntensity, PixelPCA, load_detector
from ccb_lib.chapters.examples import at_hand
from ccb_lib.chapters.helpers import dataset_dir_or_none, trained
from ccb_lib.datasets import AnomalySplit, brain_mri, ham10000, load_dataset
from ccb_lib.detectors.base import Detector
from ccb_lib.detectors.ccb import CCB
from ccb_lib.detectors.simple_baselines import NearestNeighbours
from ccb_lib.io.project_data import project_data

Facts = dict[str, Any]
DARK = 60  # an image has a dark rim if the mean of its four corner pixels (0…255) is below this
# A small network and few epochs keep the page fast. The paper has width 64 and 50 epochs.
BRAIN = {"width": 8, "epochs": 10, "batch_size": 32, "learning_rate": 1e-3}


def facts(name: str) -> tuple[Facts, str]:
    """Return numbers about an image set, and a sentence on their origin.

    Args:
        name: ``"ham10000"`` or ``"brain-mri"``.

    Returns:
        The numbers, as `ham10000_facts` or `brain_mri_facts` returns them, and the sentence.

    Raises:
        ValueError: Another name.

    Example:
        >>> sorted(facts("ham10000")[0]["counts"])[:2]
        ['akiec', 'bcc']
    """
    if name not in COMPUTED:
        raise ValueError(f"{name!r} given; one of {', '.join(COMPUTED)} is needed.")
    is_available, compute = COMPUTED[name]
    if is_available():
        return compute(), f"Computed from the images of `{name}` when this page was built."
    stored = json.loads(
        (project_data("results") / f"facts-{name}.json").read_text(encoding="utf-8")
    )
    return stored, (
        f"`{name}` is not on this machine. This page shows stored numbers, which the same code "
        f"computed from the images. Run `ccb data fetch {name}` to get the images."
    )


def ham10000_facts(seed: int = 0) -> Facts:
    """Compute the numbers of the chapter on HAM10000.

    Args:
        seed: Seed of the split, and of the images held out at random.

    Returns:
        ``counts`` (images and lesions of each class), ``photographs`` (number of lesions by number
        of images), ``held_out`` (images held out at random: their number, the share whose lesion is
        also among the other images, and the share of those whose nearest image shows the same
        lesion), ``lesions`` (on each side of the split, and on more than one), ``natural`` (share
        of abnormal test images of each class), ``rims`` (share of images with a dark rim, by
        diagnosis), ``colours`` (AUC of the mean of each colour channel), ``pca`` (AUC of a PCA, by
        normal classes), and ``shipped`` (AUC and false-alarm rate of the detector in
        ``data/models``).

    Raises:
        FileNotFoundError: HAM10000 is not on this machine.
    """
    images = ham10000.read(dataset_dir_or_none("ham10000"))
    table = pd.DataFrame({"diagnosis": images.classes, "lesion": images.groups})
    counts = table.groupby("diagnosis")["lesion"].agg(images="size", lesions="nunique")
    photographs = table.groupby("lesion").size().value_counts().sort_index()
    parts = {name: _skin(name, seed) for name in ham10000.RARE}
    balanced = _skin("df", seed, test="balanced")
    sides = [set(getattr(balanced, f"{side}_groups")) for side in ("train", "calibration", "test")]
    corners = images.pixels[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].float().mean((1, 2)).numpy()
    rims = pd.Series(corners < DARK).groupby(table["diagnosis"]).mean()
    return {
        "counts": counts.to_dict("index"),
        "photographs": {str(number): int(lesions) for number, lesions in photographs.items()},
        "held_out": _held_out(
            images.pixels.flatten(1).numpy().astype(np.float32), images.groups, seed
        ),
        "lesions": {
            **{
                side: len(names)
                for side, names in zip(("train", "calibration", "test"), sides, strict=True)
            },
            "on two sides": sum(map(len, sides)) - len(set.union(*sides)),
        },
        "natural": {name: float(part.test_labels.mean()) for name, part in parts.items()},
        "rims": rims.to_dict(),
        "colours": {name: _colour_aucs(part) for name, part in parts.items()},
        "pca": {"+".join(normal): _pca_aucs(seed, normal) for normal in (ham10000.NORMAL, ("nv",))},
        "shipped": _shipped(parts),
    }


def brain_mri_facts() -> Facts:
    """Compute the numbers of the chapter on brain MRI.

    The detectors are small. `trained` fits each once and loads it afterwards.

    Returns:
        ``counts`` (images and near-duplicate groups of each class), ``formats`` (file formats by
        class), ``sides`` (smallest and largest side in pixels), ``files`` (AUC of properties of the
        files), ``same`` (AUC of each detector on each variant, after training on the original
        images) and ``own`` (AUC of two detectors, trained and tested on the same variant).

    Raises:
        FileNotFoundError: The set is not on this machine.
    """
    images, files = brain_mri.read(), brain_mri.facts()
    table = pd.DataFrame({"class": images.classes, "group": images.groups})
    counts = table.groupby("class")["group"].agg(images="size", groups="nunique")
    largest = table.groupby(["class", "group"]).size().groupby("class").max()
    tumour = files["class"] == "tumour"
    properties = {
        "area": files["width"] * files["height"],
        "aspect ratio": files["width"] / files["height"],
        "bytes": files["bytes"],
        "bytes per pixel": files["bytes"] / (files["width"] * files["height"]),
        "mean intensity": images.pixels.float().mean((1, 2, 3)).numpy(),
    }
    variants = {name: load_dataset("brain-mri", variant=name) for name in brain_mri.VARIANTS}
    same = {
        title: trained(detector, variants["original"])
        for title, detector in _brain_detectors().items()
    }
    own = {
        title: {name: _auc(trained(detector, part), part) for name, part in variants.items()}
        for title, detector in _brain_detectors().items()
        if title.startswith(("PCA", "5"))
    }
    return {
        "counts": counts.assign(**{"largest group": largest}).to_dict("index"),
        "formats": pd.crosstab(files["class"], files["format"]).to_dict("index"),
        "sides": {
            "least": int(files[["width", "height"]].min().min()),
            "most": int(files["width"].max()),
        },
        "files": {
            name: float(roc_auc_score(tumour, values)) for name, values in properties.items()
        },
        "same": {
            title: {n: _auc(d, part) for n, part in variants.items()} for title, d in same.items()
        },
        "own": own,
    }


def _brain_detectors() -> Mapping[str, Detector]:
    return {
        "mean intensity": MeanIntensity(),
        "PCA, 64 components": PixelPCA(components=64),
        "5 nearest neighbours": NearestNeighbours(neighbours=5),
        "CCB": CCB(**BRAIN),
        "GANomaly": GANomaly(**BRAIN),
    }


def _auc(detector: Detector, part: AnomalySplit) -> float:
    return float(roc_auc_score(part.test_labels, detector.decision_function(part.test)))


def _skin(abnormal: str, seed: int, **options: Any) -> AnomalySplit:
    given = {"test": "natural", "seed": seed, "root": dataset_dir_or_none("ham10000"), **options}
    return load_dataset("ham10000", abnormal=abnormal, **given)


def _held_out(flat: NDArray[np.float32], lesions: NDArray[np.str_], seed: int) -> Facts:
    """Hold out one image in ten at random; measure how many show a lesion of the other images.

    Returns:
        ``images``: number of images held out. ``share known``: share of them whose lesion is also
        among the other images. ``share nearest``: share of those whose nearest neighbour among the
        other images shows the same lesion.
    """
    out = np.random.default_rng(seed).random(len(flat)) < 0.1
    rest, held = np.flatnonzero(~out), np.flatnonzero(out)
    known = held[np.isin(lesions[held], lesions[rest])]
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(flat[rest])
    nearest = rest[search.kneighbors(flat[known], return_distance=False)[:, 0]]
    same = float((lesions[nearest] == lesions[known]).mean())
    return {"images": len(held), "share known": len(known) / len(held), "share nearest": same}


def _colour_aucs(part: AnomalySplit) -> dict[str, float]:
    means = part.test.float().mean((2, 3)).T.numpy()  # (3, N): red, green, blue
    colours = zip(("red", "green", "blue"), means, strict=True)
    return {name: float(roc_auc_score(part.test_labels, mean)) for name, mean in colours}


def _pca_aucs(seed: int, normal: tuple[str, ...]) -> dict[str, float]:
    parts = {name: _skin(name, seed, normal=normal) for name in ham10000.RARE}
    pca = PixelPCA(components=32).fit(parts["df"].train[:2000], progress=False)
    return {name: _auc(pca, part) for name, part in parts.items()}


def _shipped(parts: Mapping[str, AnomalySplit]) -> Facts:
    detector = load_detector(project_data("models") / "ham10000-vasc-ccb.safetensors")
    rows = {}
    for name, part in parts.items():
        scores = detector.decision_function(part.test)
        alarms = float((scores[~part.test_labels] > detector.threshold_).mean())
        rows[name] = {
            "AUC": float(roc_auc_score(part.test_labels, scores)),
            "false-alarm rate": alarms,
        }
    return rows


COMPUTED: dict[str, tuple[Callable[[], bool], Callable[[], Facts]]] = {
    "ham10000": (lambda: dataset_dir_or_none("ham10000") is not None, ham10000_facts),
    "brain-mri": (lambda: at_hand("brain-mri"), brain_mri_facts),
}
