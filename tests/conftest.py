"""What tests of several modules share: images and a check of figures.

The images are small, and real where that costs nothing.
"""

import os
import resource
import warnings
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from ccb_lib import load_dataset
from ccb_lib.datasets.base import data_root
from ccb_lib.reproduction.registry import CLASSES
from ccb_lib.reproduction.results import read_results
from ccb_lib.reproduction.store import key_of

RESULTS = Path(__file__).parents[1] / "data" / "results"

settings.register_profile("patient", deadline=None)  # a loaded machine is no failure
settings.load_profile("patient")
mpl.use("agg")
torch.set_num_threads(
    1
)  # networks of width 4 gain nothing from more, and lose much where processors are shared


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits", abnormal=8)


@pytest.fixture
def no_file_above():
    """A context in which no file can grow beyond a number of bytes, as on a full disk."""

    @contextmanager
    def limited(size):
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    return limited


@pytest.fixture(scope="session")
def ganomaly():
    """The stored run of GANomaly on HAM10000 at the paper's settings, seed 0."""
    wanted = ("ganomaly", {"epochs": 50}, {"seed": 0})
    runs = read_results(4, RESULTS).values()
    return next(
        r for r in runs if tuple(r.manifest[n] for n in ("method", "settings", "options")) == wanted
    )


@pytest.fixture
def other_run():
    """A function that makes a stored run one of other facts, under the key that these give."""

    def change(result, **facts):
        changed = {**result.manifest, **facts}
        return replace(result, manifest={**changed, "key": key_of(changed)})

    return change


@pytest.fixture
def noise():
    """64 images that differ, (64, 1, 32, 32) uint8."""
    return torch.randint(0, 256, (64, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


@pytest.fixture(scope="session")
def raw_data() -> Path:
    """The folder of real images.

    Tests that need it skip where it is missing, unless CCB_REQUIRE_DATA is set.
    """
    try:
        root = data_root()
    except FileNotFoundError:
        root = None
    if root is None or not (root / "cifar10").is_dir():
        if os.environ.get("CCB_REQUIRE_DATA"):
            pytest.fail("CCB_REQUIRE_DATA is set, but there is no data/raw/cifar10")
        pytest.skip("no real images in data/raw (see README)")
    return root


@pytest.fixture(scope="session")
def made_cifar(tmp_path_factory):
    """Class folders of CIFAR-10's form with 24 made images a class.

    They are stripes whose direction tells the class.
    """
    root = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 8)):
        for label, name in enumerate(CLASSES["cifar10"]):
            folder = root / "cifar10" / part / name
            folder.mkdir(parents=True)
            y, x = np.mgrid[:32, :32]
            for k in range(count):
                wave = np.sin((x * np.cos(label) + y * np.sin(label)) / 2 + rng.uniform(0, 6))
                pixels = 127 + 100 * wave + rng.normal(0, 10, (32, 32))
                Image.fromarray(np.stack([pixels.clip(0, 255)] * 3, -1).astype(np.uint8)).save(
                    folder / f"{name}_{k}.png"
                )
    return root


@pytest.fixture
def legible():
    """Lay a figure out; check that nothing is cut off and no tick labels overlap.

    Check that type suits a phone.
    """

    def check(figure):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.draw_without_rendering()
        # Transparent, or white behind images.
        assert mpl.colors.to_rgba(figure.get_facecolor()) in ((0, 0, 0, 0), (1, 1, 1, 1))
        assert figure.get_figwidth() == 5  # on a phone a point of type is then some 0.94 pixels
        page = figure.bbox.padded(1)
        for text in set(figure.findobj(mpl.text.Text)) - unseen_ticks(figure):
            if text.get_text().strip() and text.get_visible():
                assert text.get_fontsize() >= 8, f"{text.get_text()!r} is too small"
                box = text.get_window_extent()
                assert all(page.contains(*corner) for corner in box.corners()), (
                    f"{text!r} is cut off: {box}"
                )
        for ax in figure.axes:
            labels = [
                x.get_window_extent()
                for x in ax.get_xticklabels()
                if x.get_text() and not x.get_rotation()
            ]
            assert all(left.x1 < right.x0 for left, right in pairwise(labels)), (
                "tick labels overlap"
            )
        return figure

    return check


def unseen_ticks(figure):
    """Tick labels beyond the limits of their axis, which matplotlib keeps and does not draw."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = [
        (tick, sorted(axis.get_view_interval())) for axis in axes for tick in axis.get_major_ticks()
    ]
    return {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}
