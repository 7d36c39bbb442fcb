"""HAM10000 in the form of ISIC 2018 Task 3, from a server on this machine."""

import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from ccb_lib.datasets import downloads, ham10000

CODES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def pack(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def write_isic(folder):
    """Twelve images of eight lesions, laid out as the ISIC archive has them."""
    folder.mkdir()
    truth, lesions, images = (
        ["image," + ",".join(CODES)],
        ["image,lesion_id,diagnosis_confirm_type"],
        {},
    )
    for k in range(12):
        code = ("NV", "BKL", "MEL", "NV", "NV", "DF")[k % 6]
        truth.append(
            f"ISIC_{k:07d}," + ",".join("1.0" if name == code else "0.0" for name in CODES)
        )
        lesions.append(f"ISIC_{k:07d},HAM_{k % 8 if k % 6 != 5 else k:07d},histopathology")
        file = io.BytesIO()
        Image.new("RGB", (60, 45), (20 * k, 100, 100)).save(file, format="JPEG")
        images[f"ISIC2018_Task3_Training_Input/ISIC_{k:07d}.jpg"] = file.getvalue()
    images["ISIC2018_Task3_Training_Input/LICENSE.txt"] = b"CC BY-NC"
    name = "ISIC2018_Task3_Training_GroundTruth"
    pack(folder / f"{name}.zip", {f"{name}/{name}.csv": "\n".join(truth)})
    pack(folder / "ISIC2018_Task3_Training_Input.zip", images)
    (folder / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text("\n".join(lesions))


@pytest.fixture
def server(tmp_path):
    write_isic(tmp_path / "2018")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/2018/"
        http.shutdown()


def test_the_archives_are_downloaded_unpacked_and_loaded(server, tmp_path):
    root = tmp_path / "raw"
    assert "HAM10000 is in" in downloads.fetch_ham10000(root, server)
    assert not [
        path for path in root.rglob("*") if path.suffix == ".zip" or path.name.startswith(".")
    ]
    images = ham10000.read(root)
    assert len(images) == 12
    assert images.classes[:6].tolist() == ["nv", "bkl", "mel", "nv", "nv", "df"]
    assert images.groups[[0, 8, 5]].tolist() == ["HAM_0000000", "HAM_0000000", "HAM_0000005"]
    assert images.ids[0] == "ISIC_0000000"
    split = ham10000.load(abnormal="df", root=root)
    assert set(split.test_ids[split.test_labels]) == {"ISIC_0000005", "ISIC_0000011"}


def test_what_is_there_is_not_downloaded_again_and_a_broken_archive_leaves_nothing(
    server, tmp_path
):
    root, archive = tmp_path / "raw", tmp_path / "2018/ISIC2018_Task3_Training_Input.zip"
    good = archive.read_bytes()
    archive.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match="was not unpacked"):
        downloads.fetch_ham10000(root, server)
    kept = sorted(path.name for path in (root / "ham10000").iterdir())
    assert kept == [
        "ISIC2018_Task3_Training_GroundTruth",
        "ISIC2018_Task3_Training_LesionGroupings.csv",
    ]
    archive.write_bytes(good)
    (tmp_path / "2018/ISIC2018_Task3_Training_GroundTruth.zip").unlink()  # no longer needed
    downloads.fetch_ham10000(root, server)
    assert len(ham10000.read(root)) == 12


def test_an_unreachable_server_is_an_oserror_that_names_another_way(tmp_path):
    with pytest.raises(OSError, match="Harvard Dataverse"):
        downloads.fetch_ham10000(tmp_path, "http://127.0.0.1:9/2018/")
    assert list(tmp_path.iterdir()) == []


def test_images_that_came_another_way_are_not_downloaded_again(tmp_path):
    folder = tmp_path / "ham10000/part_1"
    folder.mkdir(parents=True)
    Image.new("RGB", (60, 45)).save(folder / "ISIC_0000000.jpg")
    (tmp_path / "ham10000/HAM10000_metadata.csv").write_text(
        "lesion_id,image_id,dx\nHAM_0000000,ISIC_0000000,nv\n"
    )
    assert "already" in downloads.fetch_ham10000(tmp_path, "http://127.0.0.1:9/2018/")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (ham10000.ISIC_TRUTH, "1.0", "0.0", "cannot be used"),
        (ham10000.ISIC_TRUTH, "DF", "dF", "has no column DF"),
        (ham10000.ISIC_LESIONS, "lesion_id", "lesion", "has no column lesion_id"),
        (ham10000.ISIC_LESIONS, "ISIC_0000003", "ISIC_9000003", "line 5: no lesion, ISIC_0000003"),
    ],
)
def test_broken_tables_are_named(server, tmp_path, file, old, new, message):
    downloads.fetch_ham10000(tmp_path / "raw", server)
    path = next((tmp_path / "raw").rglob(file))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        ham10000.read(tmp_path / "raw")
