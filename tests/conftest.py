"""Images that every test may use: small, real where that costs nothing."""

import os
from pathlib import Path

import pytest
import torch

from ccb_lib import load_dataset
from ccb_lib.datasets.base import data_root

torch.set_num_threads(1)  # networks of width 4 gain nothing from more, and lose much where processors are shared


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits", abnormal=8)


@pytest.fixture
def noise():
    """64 images that differ, (64, 1, 32, 32) uint8."""
    return torch.randint(0, 256, (64, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture(scope="session")
def raw_data() -> Path:
    """The folder of real images; tests that need it skip where it is missing, unless CCB_REQUIRE_DATA is set."""
    try:
        root = data_root()
    except FileNotFoundError:
        root = None
    if root is None or not (root / "cifar10").is_dir():
        if os.environ.get("CCB_REQUIRE_DATA"):
            pytest.fail("CCB_REQUIRE_DATA is set, but there is no data/raw/cifar10")
        pytest.skip("no real images in data/raw (see README)")
    return root
