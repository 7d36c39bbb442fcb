"""Folders of real images, and a cache that is no user's."""

import base64
import hashlib
import os
import zipfile

import pytest
from platformdirs import user_cache_path

from ccb_lib.datasets.base import data_root

USER_CACHE = user_cache_path("ccb_lib") / "data"  # before tests get a cache of their own


@pytest.fixture(autouse=True)
def no_user_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def real_folder(name):
    """The folder of a real data set; tests that need it skip where it is missing, unless
    CCB_REQUIRE_DATA is set."""
    try:
        folder = data_root() / name
    except FileNotFoundError:
        folder = None
    if folder is None or not folder.is_dir():
        if os.environ.get("CCB_REQUIRE_DATA"):
            pytest.fail(f"CCB_REQUIRE_DATA is set, but there is no data/raw/{name}")
        pytest.skip(f"no data/raw/{name} (`ccb data fetch {name}`)")
    return folder


def fetched_folder(name):
    """The folder of a real set from a wheel, in data/raw or the user's cache; see `real_folder`."""
    if (USER_CACHE / name).is_dir():
        return USER_CACHE / name
    return real_folder(name)


def _make_wheel(folder, requirement, members):
    """Write a wheel that pip takes, and return its SHA-256."""
    name, version = requirement.split("==")
    info = f"{name}-{version}.dist-info"
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as file:
        for path, data in files.items():
            file.writestr(path, data)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def make_wheel():
    return _make_wheel


@pytest.fixture(scope="session")
def chest_ct_folder():
    return fetched_folder("chest-ct")


@pytest.fixture(scope="session")
def brain_mri_folder():
    return fetched_folder("brain-mri")


@pytest.fixture(scope="session")
def ham10000_folder():
    return real_folder("ham10000")


@pytest.fixture(scope="session")
def lung_ct_98_folder():
    return real_folder("lung_ct_98")
