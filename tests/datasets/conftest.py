"""Folders of real images, and a cache that is no user's."""

import os

import pytest
from hypothesis import settings

from ccb_lib.datasets.base import data_root

settings.register_profile("patient", deadline=None)  # a loaded machine is no failure
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def no_user_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def real_folder(name):
    """The folder of a real data set; tests that need it skip where it is missing, unless CCB_REQUIRE_DATA is set."""
    try:
        folder = data_root() / name
    except FileNotFoundError:
        folder = None
    if folder is None or not folder.is_dir():
        if os.environ.get("CCB_REQUIRE_DATA"):
            pytest.fail(f"CCB_REQUIRE_DATA is set, but there is no data/raw/{name}")
        pytest.skip(f"no data/raw/{name} (see README)")
    return folder


@pytest.fixture(scope="session")
def ham10000_folder():
    return real_folder("ham10000")


@pytest.fixture(scope="session")
def lung_ct_98_folder():
    return real_folder("lung_ct_98")
