"""The command `ccb`, run as a user runs it, with a tiny detector on images made here."""

import csv
import tarfile
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ccb_lib import load_dataset, load_detector
from ccb_lib.cli import running
from ccb_lib.cli.group import main
from ccb_lib.cli.text import in_shell, printable
from ccb_lib.detectors import METHODS, CollapsedWarning
from ccb_lib.reproduction import registry

SMALL = ["--epochs", "2", "--width", "2", "--device", "cpu"]


def ccb(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def make_images(folder, count, seed, bright=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for k in range(count):
        pixels = np.clip(rng.normal(90 + bright, 10, (32, 32)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:02d}.png")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    make_images(root / "train/normal", 24, seed=0)
    make_images(root / "test/normal", 4, seed=1)
    make_images(root / "test/abnormal", 4, seed=2, bright=100)
    return root


@pytest.fixture(scope="module")
def model(own, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "m.safetensors"
    result = ccb("train", "folder", "--root", own, "--abnormal", "abnormal", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_help_names_every_command():
    assert ccb("--help").exit_code == 0
    for command in (
        ["data"],
        ["data", "list"],
        ["data", "check"],
        ["data", "fetch"],
        ["train"],
        ["score"],
    ):
        result = ccb(*command, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.output


# ── data ──────────────────────────────────────────────────────────────────────────────────────────


def test_list_gives_terms_and_citations():
    output = ccb("data", "list").output
    for word in (
        "digits",
        "cifar10",
        "ham10000",
        "ild",
        "lung_ct_98",
        "folder",
        "CC BY-NC",
        "Depeursinge",
        "ViDIR",
    ):
        assert word in output
    for word in (
        "chest-ct",
        "LIDC-IDRI-0001 (CC BY 3.0), which is an inference",
        "brain-mri",
        "in doubt",
        "Hamada",
    ):
        assert word in output


def write_ham(root, missing=0):
    (root / "ham10000").mkdir()
    lines = ["lesion_id,image_id,dx"] + [
        f"HAM_{k},ISIC_{k:07d},{'df' if k < 5 else 'nv'}" for k in range(20)
    ]
    (root / "ham10000/HAM10000_metadata.csv").write_text("\n".join(lines))
    for k in range(missing, 20):
        Image.new("RGB", (8, 8)).save(root / f"ham10000/ISIC_{k:07d}.jpg")


def test_check_counts_against_the_known_totals(tmp_path):
    write_ham(tmp_path, missing=2)
    result = ccb("data", "check", "ham10000", "--root", tmp_path)
    assert result.exit_code == 1
    assert "df           3 of 115" in result.output
    assert "nv          15 of 6,705" in result.output
    assert "missing: 2 images of the metadata: ISIC_0000000, ISIC_0000001" in result.output
    assert "missing: bcc: 0 images instead of 514" in result.output


def test_check_explains_what_is_not_there(tmp_path):
    result = ccb("data", "check", "ild", "--root", tmp_path)
    assert result.exit_code == 1
    assert "No ILD_DB_txtROIs in" in result.output
    assert "Traceback" not in result.output
    assert "There are: digits, cifar10" in ccb("data", "check", "nose").output


def test_check_digits_and_own_folder(own):
    result = ccb("data", "check", "digits")
    assert result.exit_code == 0
    assert "8      174 of 174" in result.output
    assert "all    1,797" in result.output
    assert "Complete." in result.output
    result = ccb("data", "check", "folder", "--root", own)
    assert result.exit_code == 0
    assert "train/normal        24" in result.output


def test_check_of_an_own_folder_says_where_images_belong(tmp_path):
    make_images(tmp_path / "train/normal", 1, seed=0)
    (tmp_path / "test").mkdir()
    result = ccb("data", "check", "folder", "--root", tmp_path)
    assert result.exit_code == 1
    assert f"missing: images in {tmp_path / 'test/normal'}\n" in result.output
    assert "Put images into the folders named." in result.output
    assert "fetch" not in result.output


def test_what_python_calls_root_is_an_option_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ccb("data", "check", "cifar10")
    assert result.exit_code == 1
    assert "Give --root, set CCB_DATA" in result.output
    assert in_shell("Give its folder as root=. See /a/root=/b, root=x and root= (here).") == (
        "Give its folder as --root. See /a/root=/b, root=x and --root (here)."
    )
    with pytest.raises(FileNotFoundError, match="Give root=, set CCB_DATA"):
        load_dataset("cifar10", abnormal="cat")


def test_lung_ct_98_is_loaded_as_another_set():
    with pytest.raises(ValueError, match=r"load_dataset\('ild', source='lung_ct_98', …\)"):
        load_dataset("lung_ct_98", abnormal="ground_glass")
    assert "`ccb train ild --source lung_ct_98 …`" in ccb("train", "lung_ct_98").output
    assert 'loaded as ild with source="lung_ct_98"' in ccb("data", "list").output


def test_fetch_prints_the_steps_and_unpacks_what_lies_there(tmp_path, monkeypatch):
    def unreachable(url, root, filename, md5):
        raise OSError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", unreachable)
    result = ccb("data", "fetch", "ham10000", "--root", tmp_path)
    assert result.exit_code == 0
    assert "no network in tests" in result.output
    assert "10.7910/DVN/DBW86T" in result.output
    assert str(tmp_path / "ham10000") in result.output
    (tmp_path / "ham10000").mkdir()
    with tarfile.open(tmp_path / "ham10000/part_1.tar.gz", "w:gz") as file:
        (tmp_path / "ISIC_1.jpg").write_bytes(b"x")
        file.add(tmp_path / "ISIC_1.jpg", "ISIC_1.jpg")
    assert "Unpacked" in ccb("data", "fetch", "ham10000", "--root", tmp_path).output
    assert (tmp_path / "ham10000/part_1/ISIC_1.jpg").is_file()


def fake_download(monkeypatch, name):
    import torchvision.datasets.utils as utils

    def download(url, root, filename, md5):
        with tarfile.open(f"{root}/{filename}", "w:gz") as file:
            file.addfile(tarfile.TarInfo(name))

    monkeypatch.setattr(utils, "download_url", download)


def test_fetch_cifar10_unpacks_the_download(tmp_path, monkeypatch):
    fake_download(monkeypatch, "cifar-10-batches-py/data_batch_1")
    root = tmp_path / "new/raw"
    result = ccb("data", "fetch", "cifar10", "--root", root)
    assert result.exit_code == 0, result.output
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert "already exists" in ccb("data", "fetch", "cifar10", "--root", root).output


def test_fetch_makes_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    fake_download(monkeypatch, "cifar-10-batches-py/data_batch_1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCB_DATA", str(tmp_path / "scratch"))
    assert str(tmp_path / "scratch/ild") in ccb("data", "fetch", "ild").output
    listed = ccb("data", "list", "--present")
    assert listed.exit_code == 1
    assert "CCB_DATA names" in listed.output
    result = ccb("data", "fetch", "cifar10")
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert (tmp_path / "scratch/cifar-10-batches-py/data_batch_1").is_file()


def test_fetch_cifar10_keeps_what_another_process_fetched_meanwhile(tmp_path, monkeypatch):
    fake_download(monkeypatch, "cifar-10-batches-py/data_batch_1")
    from torchvision.datasets import utils

    alone, target = utils.download_url, tmp_path / "cifar-10-batches-py"

    def beside_another(*given):
        alone(*given)
        target.mkdir()
        (target / "data_batch_1").write_text("the other's")

    monkeypatch.setattr(utils, "download_url", beside_another)
    result = ccb("data", "fetch", "cifar10", "--root", tmp_path)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert (target / "data_batch_1").read_text() == "the other's"


def test_fetch_cifar10_leaves_nothing_of_a_bad_download(tmp_path, monkeypatch):
    fake_download(monkeypatch, "../evil")
    result = ccb("data", "fetch", "cifar10", "--root", tmp_path)
    assert result.exit_code == 1
    assert "would lie outside its folder" in result.output
    assert list(tmp_path.iterdir()) == []


# ── train ─────────────────────────────────────────────────────────────────────────────────────────


def test_train_saves_a_detector_that_separates(model, own):
    detector = load_detector(model, device="cpu")
    assert (detector.epochs, detector.width, detector.seed) == (2, 2, 0)
    assert (detector.image_size_, detector.channels_) == (32, 1)
    assert [path.name for path in model.parent.iterdir()] == [
        "m.safetensors"
    ]  # no checkpoint is left
    normal = detector.decision_function(sorted((own / "test/normal").iterdir()))
    abnormal = detector.decision_function(sorted((own / "test/abnormal").iterdir()))
    assert abnormal.min() > normal.max()  # far brighter than anything it saw


def test_train_goes_on_after_ctrl_c(own, model, tmp_path, monkeypatch):
    steps = METHODS["ccb"].training_step
    calls = []

    def interrupted(self, x):
        calls.append(1)
        if len(calls) == 2:  # one batch an epoch: in the second epoch
            raise KeyboardInterrupt
        return steps(self, x)

    command = [
        "train",
        "folder",
        "--root",
        own,
        "--abnormal",
        "abnormal",
        "--out",
        tmp_path / "m.safetensors",
        *SMALL,
    ]
    monkeypatch.setattr(METHODS["ccb"], "training_step", interrupted)
    result = ccb(*command)
    assert result.exit_code == 130
    assert "the same command again to resume" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["m.checkpoint.safetensors"]
    monkeypatch.setattr(METHODS["ccb"], "training_step", steps)
    assert ccb(*command).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    files = sorted((own / "test").rglob("*.png"))
    unbroken, resumed = (
        load_detector(path, device="cpu") for path in (model, tmp_path / "m.safetensors")
    )
    np.testing.assert_array_equal(
        unbroken.decision_function(files), resumed.decision_function(files)
    )


def test_ctrl_c_before_the_first_epoch_says_so(own, tmp_path, monkeypatch):
    def interrupted(self, x):
        raise KeyboardInterrupt

    monkeypatch.setattr(METHODS["ccb"], "training_step", interrupted)
    result = ccb(
        "train", "folder", "--root", own, "--abnormal", "abnormal", "--out", tmp_path / "m", *SMALL
    )
    assert result.exit_code == 130
    assert "nothing is kept" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder", "--abnormal", "abnormal"], "--root is needed"),
        (["folder", "--root", "{own}", "--abnormal", "crack"], "Choose one of: abnormal"),
        (["folder", "--root", "{own}/none", "--abnormal", "abnormal"], "No folder or CSV file"),
        (["nose", "--abnormal", "1"], "There are: digits, cifar10"),
        (["digits", "--abnormal", "8", "--source", "text"], "has no option source"),
        (["digits", "--abnormal", "8", "--method", "magic"], "Choose one of: ccb"),
        (["digits", "--abnormal", "8", "--epochs", "0"], "epochs=0 given"),
        (["digits", "--abnormal", "8", "--device", "tpu9"], "cannot be used here"),
        (
            ["digits"],
            "Which class of 'digits' is abnormal? Give --abnormal, one of: 0, 1, 2",
        ),
        (
            ["folder", "--root", "{own}"],
            "Which class of '{own.name}/test' is abnormal? Give --abnormal, one of: abnormal.",
        ),
        (["folder"], "Error: folder: --root is needed"),
        (
            ["ild", "--source", "lung_ct_98"],
            "Which class of 'ild' is abnormal? Give --abnormal, one of: ground_glass, cons",
        ),
        (["ild", "--source", "chest-ct"], "`ccb data fetch chest-ct` downloads 34.8 MB"),
        (["brain-mri"], "`ccb data fetch brain-mri` downloads 65.8 MB"),
        (["chest-ct"], "`ccb train ild --source chest-ct …`"),
        (["ham10000"], "Which class of 'ham10000' is abnormal? Give --abnormal, one of: akiec"),
    ],
)
def test_mistakes_get_one_message_and_no_traceback(own, tmp_path, words, message):
    result = ccb(
        "train",
        *[word.replace("{own}", str(own)) for word in words],
        "--out",
        tmp_path / "m.safetensors",
    )
    assert result.exit_code in (1, 2)
    assert message.replace("{own.name}", own.name) in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_data_set_is_named_before_missing_options():
    for words in (["digitz"], ["digitz", "--abnormal", "8"]):
        result = ccb("train", *words)
        assert "Unknown data set 'digitz'. There are: digits" in result.output
        assert "Missing" not in result.output
    assert "Missing option '--out'" in ccb("train", "digits", "--abnormal", "8").output


def test_traceback_shows_where():
    with pytest.raises(ValueError, match="There are"):
        CliRunner().invoke(main, ["--traceback", "data", "check", "nose"], catch_exceptions=False)


def test_a_place_that_cannot_be_written_is_found_before_training(own, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(METHODS["ccb"], "fit", None)  # calling it would fail otherwise
    result = ccb(
        "train",
        "folder",
        "--root",
        own,
        "--abnormal",
        "abnormal",
        "--out",
        tmp_path / "file/m",
        *SMALL,
    )
    assert result.exit_code == 1
    assert "Choose a folder that you may write to" in result.output


# ── score ─────────────────────────────────────────────────────────────────────────────────────────


def test_score_writes_what_the_detector_says(model, own, tmp_path):
    result = ccb("score", model, own / "test", "--out", tmp_path / "scores.csv", "--device", "cpu")
    assert result.exit_code == 0, result.output
    files = sorted((own / "test").rglob("*.png"))
    table = rows(tmp_path / "scores.csv")
    assert list(table[0]) == ["path", "score", "p_value", "verdict"]
    assert [row["path"] for row in table] == [str(file) for file in files]
    detector = load_detector(model, device="cpu")
    np.testing.assert_allclose(
        [float(r["score"]) for r in table], detector.decision_function(files), rtol=1e-6
    )
    np.testing.assert_allclose(
        [float(r["p_value"]) for r in table], detector.p_values(files), rtol=1e-5
    )
    verdicts = [["normal", "abnormal"][k] for k in detector.predict(files)]
    assert [row["verdict"] for row in table] == verdicts
    assert verdicts[:4] == ["abnormal"] * 4


def test_heatmaps_show_where_it_went_wrong(model, tmp_path):
    make_images(tmp_path / "in", 1, seed=5)
    picture = np.array(Image.open(tmp_path / "in/00.png"))
    picture[4:12, 4:12] = 255
    Image.fromarray(picture).save(tmp_path / "in/01 =x.png")
    result = ccb(
        "score",
        model,
        tmp_path / "in",
        "--out",
        tmp_path / "s.csv",
        "--heatmaps",
        tmp_path / "maps",
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "000001_00.png",
        "000002_01__x.png",
    ]
    heat = np.array(Image.open(tmp_path / "maps/000002_01__x.png").convert("L")).astype(float)
    assert heat.shape == (256, 256)
    assert heat[40:90, 40:90].mean() > heat[128:, 128:].mean() + 20
    error = load_detector(model, device="cpu").anomaly_map([tmp_path / "in/01 =x.png"])[0]
    assert error[5:11, 5:11].mean() > error[16:, 16:].mean()


def test_unreadable_images_get_a_line_and_the_others_their_scores(model, own, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    good = own / "test/normal/00.png"
    result = ccb("score", model, tmp_path / "broken.png", good, good, "--out", tmp_path / "s.csv")
    assert result.exit_code == 1
    assert "1 image cannot be read" in result.output
    assert "Its verdict is unreadable." in result.output
    table = rows(tmp_path / "s.csv")
    assert [(row["verdict"], bool(row["score"])) for row in table] == [
        ("unreadable", False),
        (table[1]["verdict"], True),
    ]


def test_ctrl_c_leaves_what_is_finished(model, own, tmp_path, monkeypatch):
    real, calls = METHODS["ccb"].decision_function, []

    def interrupted(self, images):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, images)

    monkeypatch.setattr("ccb_lib.cli.score._BATCH", 3)
    monkeypatch.setattr(METHODS["ccb"], "decision_function", interrupted)
    result = ccb("score", model, own / "test", "--out", tmp_path / "s.csv")
    assert result.exit_code == 130
    assert "holds the 6 images that were done" in result.output
    assert len(rows(tmp_path / "s.csv")) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_an_error_leaves_the_old_table(model, own, tmp_path, monkeypatch):
    (tmp_path / "s.csv").write_text("old")

    def broken(self, images):
        raise ValueError("no")

    monkeypatch.setattr(METHODS["ccb"], "decision_function", broken)
    assert ccb("score", model, own / "test", "--out", tmp_path / "s.csv", "--force").exit_code == 1
    assert (tmp_path / "s.csv").read_text() == "old"


def test_what_is_there_is_written_over_only_by_force(model, own, tmp_path):
    command = [
        "score",
        model,
        own / "test/normal",
        "--out",
        tmp_path / "s.csv",
        "--heatmaps",
        tmp_path / "maps",
    ]
    (tmp_path / "maps").mkdir()
    (tmp_path / "s.csv").write_text("old")
    refused = ccb(*command)
    assert refused.exit_code == 2
    assert "s.csv exists already" in refused.output
    assert (tmp_path / "s.csv").read_text() == "old"
    (tmp_path / "s.csv").unlink()
    (tmp_path / "maps/mine.png").write_text("old")
    refused = ccb(*command)
    assert "maps is not empty" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
    for _ in range(2):
        assert ccb(*command, "--force").exit_code == 0
    assert len(rows(tmp_path / "s.csv")) == 4
    assert len(list((tmp_path / "maps").iterdir())) == 5


def test_a_mistyped_folder_is_named_and_not_made(model, own, tmp_path):
    image = own / "test/normal/00.png"
    result = ccb("score", model, image, "--out", tmp_path / "no/such/s.csv")
    assert result.exit_code == 2
    assert f"There is no folder {tmp_path / 'no'}" in result.output
    assert (
        "There is no folder"
        in ccb(
            "score", model, image, "--out", tmp_path / "s", "--heatmaps", tmp_path / "a/b"
        ).output
    )
    assert list(tmp_path.iterdir()) == []
    assert (
        ccb(
            "score",
            model,
            image,
            "--out",
            tmp_path / "new/s.csv",
            "--heatmaps",
            tmp_path / "new/maps",
        ).exit_code
        == 0
    )


def test_colour_made_grey_is_counted(model, own, tmp_path, monkeypatch):
    monkeypatch.setattr("ccb_lib.cli.score._BATCH", 2)
    for k in range(3):
        Image.open(own / f"test/normal/0{k}.png").convert("RGB").save(tmp_path / f"{k}.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    folder = [own / "test/normal", tmp_path]
    result = ccb("score", model, *folder, "--out", tmp_path / "s.csv")
    assert (
        "3 colour images were made grey: this detector learnt from grey images.\n" in result.stderr
    )
    result = ccb("score", model, tmp_path / "0.png", "--out", tmp_path / "t.csv")
    assert result.stderr == "1 colour image was made grey: this detector learnt from grey images.\n"
    assert ccb("score", model, folder[0], "--out", tmp_path / "u.csv").stderr == ""


def test_a_collapsed_detector_says_so_again(model, own, tmp_path):
    detector = load_detector(model, device="cpu")
    detector.collapsed_ = ["all is one"]
    detector.save(tmp_path / "m.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("default", CollapsedWarning)  # as outside of these tests
        result = ccb("score", tmp_path / "m.safetensors", own / "test", "--out", tmp_path / "s.csv")
    assert result.exit_code == 0, result.output
    assert "Warning: CCB treats images alike: all is one." in result.stderr
    assert "its scores carry no information" in result.stderr


@pytest.mark.parametrize("name", ["=1+1.png", "-2.png", "+3.png", "@4.png", " =5.png"])
def test_names_that_look_like_formulas_are_inert(model, own, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes((own / "test/normal/00.png").read_bytes())
    result = ccb("score", "--out", "s.csv", "--", model, name)
    assert result.exit_code == 0, result.output
    cell = rows(tmp_path / "s.csv")[0]["path"]
    assert cell == f"./{name}"
    assert (tmp_path / cell).is_file()


def test_scoring_without_calibration_leaves_verdicts_empty(model, own, tmp_path):
    detector = load_detector(model, device="cpu")
    detector.calibration_terms_ = None
    detector.save(tmp_path / "bare.safetensors")
    result = ccb("score", tmp_path / "bare.safetensors", own / "test", "--out", tmp_path / "s.csv")
    assert result.exit_code == 0, result.output
    assert "no p-values and no verdicts" in result.output
    assert {(row["p_value"], row["verdict"]) for row in rows(tmp_path / "s.csv")} == {("", "")}


def test_wrong_models_and_images_are_explained(model, own, tmp_path):
    image = own / "test/normal/00.png"
    for words, message in [
        ([tmp_path / "none", image], "No file at"),
        ([image, image], "is not a complete safetensors file"),
        ([model, tmp_path / "none.png"], "There is no"),
        ([model, tmp_path], "There are no images in"),
        ([model, image, "--window", "5", "3"], "the lower value comes first"),
    ]:
        result = ccb("score", *words, "--out", tmp_path / "s.csv")
        assert result.exit_code in (1, 2)
        assert message in result.output
        assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\nc"


def test_the_studies_that_the_commands_know_are_those_of_the_registry():
    assert running.STUDIES == registry.STUDIES
