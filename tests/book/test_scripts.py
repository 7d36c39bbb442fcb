"""The scripts that write stored files and finish the built site."""

import doctest
import json

import lesion_areas
import numpy as np
import pytest
import store_facts
import strip_images
import write_plan
from PIL import Image

from ccb_lib.io.project_data import project_data
from ccb_lib.reproduction.claims import AREAS
from ccb_lib.reproduction.claims import lesion_areas as stored_areas
from ccb_lib.reproduction.plan import read_plan

IMAGE = {
    "output_type": "display_data",
    "data": {"image/png": "AAAA", "text/plain": ["<Figure>"]},
    "metadata": {},
}
HTML = {
    "output_type": "display_data",
    "data": {"text/html": ["<img src='data:image/png;base64,AA'>"]},
    "metadata": {},
}
TEXT = {"output_type": "stream", "name": "stdout", "text": ["AUC 0.8"]}


def write(path, tags, outputs):
    cell = {
        "cell_type": "code",
        "metadata": {"tags": tags},
        "source": [],
        "outputs": outputs,
        "execution_count": 1,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )


def outputs_of(path):
    return json.loads(path.read_text())["cells"][0]["outputs"]


def test_images_of_tagged_cells_go_and_all_else_stays(tmp_path):
    tagged, other = tmp_path / "_downloads/a/brain.ipynb", tmp_path / "_downloads/b/lung.ipynb"
    write(tagged, [strip_images.TAG, "hide-input"], [TEXT, IMAGE, HTML])
    write(other, ["hide-input"], [TEXT, IMAGE])
    before = other.read_bytes()
    assert strip_images.strip_images(tmp_path) == 2
    assert outputs_of(tagged) == [TEXT]
    assert other.read_bytes() == before
    assert strip_images.strip_images(tmp_path) == 0


def test_a_wrong_folder_or_file_is_named(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        strip_images.strip_images(tmp_path / "nowhere")
    (tmp_path / "x.ipynb").write_text("no json")
    with pytest.raises(ValueError, match=r"x\.ipynb"):
        strip_images.strip_images(tmp_path)


def test_an_area_is_counted_in_the_centred_square(tmp_path):
    mask = np.zeros((4, 8), np.uint8)
    mask[:, :3] = 255  # one of the square's four columns, and two outside it
    Image.fromarray(mask).save(tmp_path / "ISIC_0000001.png")
    Image.fromarray(mask.T).convert("1").save(tmp_path / "ISIC_0000000_segmentation.png")
    assert lesion_areas.lesion_area(tmp_path / "ISIC_0000001.png") == 0.25
    assert lesion_areas.write_areas(tmp_path, tmp_path / AREAS) == 2
    assert stored_areas(tmp_path).to_dict() == {"ISIC_0000000": 0.25, "ISIC_0000001": 0.25}
    with pytest.raises(FileNotFoundError, match="segmentation masks"):
        lesion_areas.write_areas(tmp_path / "none", tmp_path / "out.csv")


def test_the_readme_shows_the_plan():
    folder = project_data("results")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert write_plan.with_plan(text, read_plan(folder / "plan.toml")) == text, (
        "Run: python data/scripts/write_plan.py"
    )


def test_the_plan_has_one_line_an_entry():
    (entry,) = [entry for entry in read_plan() if entry.name == "ham10000-first"]
    lines = write_plan.as_markdown([entry]).splitlines()
    assert lines[2].startswith(f"| ham10000-first | {entry.why} | ")
    assert lines[2].endswith(" | `ccb measure --only ham10000-first` |")
    begin, end = write_plan._BEGIN, write_plan._END
    text = write_plan.with_plan(f"a\n{begin}\nold\n{end}\nb", [entry])
    assert text == "\n".join(["a", begin, *lines, end, "b"])
    with pytest.raises(ValueError, match="no place for the plan"):
        write_plan.with_plan("text", [entry])


def test_facts_are_not_stored_without_the_images(tmp_path, monkeypatch):
    monkeypatch.setitem(store_facts.COMPUTED, "ham10000", (lambda: False, dict))
    with pytest.raises(FileNotFoundError, match="ccb data fetch ham10000"):
        store_facts.write("ham10000")
    monkeypatch.setattr(store_facts, "project_data", lambda _: tmp_path)
    monkeypatch.setitem(store_facts.COMPUTED, "ham10000", (lambda: True, lambda: {"a": 1 / 3}))
    store_facts.write("ham10000")
    assert json.loads((tmp_path / "facts-ham10000.json").read_text()) == {"a": 0.33333}


def test_stored_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch, no_file_above):
    monkeypatch.setattr(store_facts, "project_data", lambda _: tmp_path)
    facts = {str(number): number for number in range(1000)}
    monkeypatch.setitem(store_facts.COMPUTED, "ham10000", (lambda: True, lambda: facts))
    Image.new("L", (4, 4)).save(tmp_path / "ISIC_0000001.png")
    files = [tmp_path / "facts-ham10000.json", tmp_path / AREAS]
    for file in files:
        file.write_text("before")
    with no_file_above(5), pytest.raises(OSError, match="Cannot write"):
        store_facts.write("ham10000")
    with no_file_above(5), pytest.raises(OSError, match="Cannot write"):
        lesion_areas.write_areas(tmp_path, files[1])
    assert [file.read_text() for file in files] == ["before"] * 2


@pytest.mark.parametrize("module", [strip_images, lesion_areas], ids=lambda module: module.__name__)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
