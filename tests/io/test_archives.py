"""Archives from others: all or nothing, and nothing outside the folder."""

import gzip
import io
import random
import re
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from ccb_lib.io import archives, writing
from ccb_lib.io.archives import unpack, unpack_members


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind
            else:
                info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def inside(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_good_archives_are_unpacked_whole(tmp_path):
    for archive in (
        make_zip(tmp_path / "a.zip", {"x/1.txt": b"one", "2.txt": b"two"}),
        make_tar(tmp_path / "a.tar.gz", ("x/1.txt", b"one"), ("2.txt", b"two")),
    ):
        folder = tmp_path / archive.stem
        assert [file.relative_to(folder).as_posix() for file in unpack(archive, folder)] == [
            "2.txt",
            "x/1.txt",
        ]
        assert (folder / "x/1.txt").read_bytes() == b"one"
        assert stat.S_IMODE(folder.stat().st_mode) & 0o055


@pytest.mark.parametrize(
    "name", ["../out.txt", "x/../../out.txt", "/out.txt", "C:/out.txt", "..\\out.txt", "a\\b.txt"]
)
def test_a_member_outside_unpacks_nothing(tmp_path, name):
    box = tmp_path / "box"
    box.mkdir()
    for archive in (
        make_zip(tmp_path / "bad.zip", {"good.txt": b"good", name: b"bad"}),
        make_tar(tmp_path / "bad.tar.gz", ("good.txt", b"good"), (name, b"bad")),
    ):
        with pytest.raises(ValueError, match="would lie outside its folder"):
            unpack(archive, box / "new")
    assert inside(box) == []
    assert inside(tmp_path) == ["bad.tar.gz", "bad.zip", "box"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = make_tar(
        tmp_path / "bad.tar.gz", ("good.txt", b"good"), ("link", b"", kind, "/etc/hostname")
    )
    with pytest.raises(ValueError, match="is a link or a device"):
        unpack(archive, tmp_path / "new")
    assert inside(tmp_path) == ["bad.tar.gz"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(member, "/etc/hostname")
    with pytest.raises(ValueError, match="is a link or a device"):
        unpack(tmp_path / "bad.zip", tmp_path / "new")


def test_a_bomb_is_refused_before_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_DENSEST", 10)
    archive = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(20 * 2**20)})
    with pytest.raises(ValueError, match="more than"):
        unpack(archive, tmp_path / "new")
    assert inside(tmp_path) == ["bomb.zip"]


@pytest.mark.parametrize("keep", [0, 40, 4000])
def test_damaged_archives_leave_nothing(tmp_path, keep):
    content = random.Random(0).randbytes(20_000)  # does not compress
    for archive in (
        make_zip(tmp_path / "cut.zip", {"a": content}),
        make_tar(tmp_path / "cut.tar", ("a", content), mode="w"),
    ):
        archive.write_bytes(archive.read_bytes()[:keep])
        with pytest.raises(ValueError, match="was not unpacked"):
            unpack(archive, tmp_path / "new")
    assert inside(tmp_path) == ["cut.tar", "cut.zip"]


def test_what_is_there_is_kept(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"1.txt": b"new"})
    (tmp_path / "there").mkdir()
    (tmp_path / "there/1.txt").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="already exists"):
        unpack(archive, tmp_path / "there")
    assert (tmp_path / "there/1.txt").read_bytes() == b"old"
    with pytest.raises(FileNotFoundError, match="No archive"):
        unpack(tmp_path / "none.zip", tmp_path / "new")


def test_only_wanted_members_are_unpacked_to_the_path_of_the_first_group(tmp_path):
    members = {"pack/data/x/1.txt": b"one", "pack/data/2.bin": b"two", "pack/code.py": b"three"}
    archive = make_zip(tmp_path / "a.whl", members)
    files = unpack_members(archive, tmp_path / "new", re.compile(r"pack/data/(.*\.txt|.*\.bin)"))
    assert [path.relative_to(tmp_path / "new").as_posix() for path in files] == ["2.bin", "x/1.txt"]
    assert files[1].read_bytes() == b"one"
    with pytest.raises(FileExistsError):
        unpack_members(archive, tmp_path / "new", re.compile("(.*)"))


@pytest.mark.parametrize(
    ("members", "wanted", "message"),
    [
        ({"../evil": b"x"}, "(.*)", "outside its folder"),
        ({"a/../../evil": b"x"}, "a/(.*)", "outside its folder"),
        ({"/evil": b"x"}, "(.*)", "outside its folder"),
        ({"big": b"0" * 2**24}, "(.*)", "unpack to more than"),
        ({"a": b"x"}, "(b)", "no member matches"),
    ],
)
def test_unsafe_or_missing_members_leave_nothing(tmp_path, monkeypatch, members, wanted, message):
    monkeypatch.setattr(archives, "_LARGEST", 2**20)
    archive = make_zip(tmp_path / "a.zip", members)
    with pytest.raises(ValueError, match=message):
        unpack_members(archive, tmp_path / "new", re.compile(wanted))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_link_among_the_wanted_members_becomes_a_plain_file(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    (path,) = unpack_members(tmp_path / "a.zip", tmp_path / "new", re.compile("(link)"))
    assert not path.is_symlink()
    assert path.read_text() == "/etc/passwd"


def test_no_zip_is_refused_as_a_source_of_members(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="was not unpacked"):
        unpack_members(tmp_path / "a.whl", tmp_path / "new", re.compile("(.*)"))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_claims_gigabytes_costs_no_memory(tmp_path, kind):
    """tarfile reads names and other facts of a member whole, however long the archive says that
    they are."""
    member = tarfile.TarInfo("name")
    member.type, member.size = kind, 3 * 10**9
    with gzip.open(tmp_path / "bad.tar.gz", "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a header says that it is 3,000,000,000 bytes long"):
            unpack(tmp_path / "bad.tar.gz", tmp_path / "new")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert inside(tmp_path) == ["bad.tar.gz"]


def test_too_many_members_are_refused_before_their_list_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MOST", 100)
    archive = make_zip(tmp_path / "many.zip", dict.fromkeys(map(str, range(101)), b""))
    monkeypatch.setattr(archives.zipfile, "ZipFile", None)
    with pytest.raises(ValueError, match="more than 100 members"):
        unpack(archive, tmp_path / "new")
    archive = make_tar(tmp_path / "many.tar.gz", *((str(k), b"") for k in range(101)))
    with pytest.raises(ValueError, match="more than 100"):
        unpack(archive, tmp_path / "new")
    assert inside(tmp_path) == ["many.tar.gz", "many.zip"]


def test_a_python_without_what_is_needed_is_not_taken_for_a_damaged_archive(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {"1.txt": b"one"})
    monkeypatch.setattr(archives.zipfile, "is_zipfile", lambda _: True)
    monkeypatch.delattr(archives.zipfile, "_EndRecData")
    with pytest.raises(ImportError, match="_EndRecData"):
        unpack(archive, tmp_path / "new")
    assert inside(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archives_are_named_whatever_their_damage(tmp_path, kind):
    """Reading damaged archives raises IndexError, struct.error, unnamed OSErrors and more."""
    archive, members = tmp_path / f"a.{kind}", {"x/1.txt": b"one" * 50, "2.txt": b"two" * 50}
    if kind == "zip":
        make_zip(archive, members)
    else:
        make_tar(archive, *members.items(), mode="w:" + kind.partition(".")[2])
    whole, rng = archive.read_bytes(), random.Random(0)
    for number in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 8])):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        archive.write_bytes(damaged if number % 3 else damaged[: rng.randrange(len(whole))])
        folder = tmp_path / "box" / str(number)
        try:
            unpack(archive, folder)
        except ValueError as error:
            assert str(archive) in str(error)  # noqa: PT017
            assert not folder.exists()
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "box"}


def test_a_full_disk_is_named_and_not_taken_for_a_damaged_archive(tmp_path, no_file_above):
    archive = make_zip(tmp_path / "a.zip", {"1.txt": bytes(5000)})
    with no_file_above(1000), pytest.raises(OSError, match=r"Cannot write .*new: File too large"):
        unpack(archive, tmp_path / "new")
    assert inside(tmp_path) == ["a.zip"]


def test_the_folder_of_a_killed_process_is_deleted_by_the_next(tmp_path):
    left = tmp_path / f".new.abcdefgh.{writing._HOST}.ccb.part"
    (left / "new").mkdir(parents=True)
    (left / "lock").write_text("")
    unpack(make_zip(tmp_path / "a.zip", {"1.txt": b"one"}), tmp_path / "new")
    assert inside(tmp_path) == ["a.zip", "new", "new/1.txt"]
