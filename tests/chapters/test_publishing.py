"""Images of doubtful terms stay out of notebooks for download and of sites built for others."""

import json

import pytest
from matplotlib.figure import Figure

from ccb_lib.chapters.publishing import TAG, strip_images, third_party_images

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
    write(tagged, [TAG, "hide-input"], [TEXT, IMAGE, HTML])
    write(other, ["hide-input"], [TEXT, IMAGE])
    before = other.read_bytes()
    assert strip_images(tmp_path) == 2
    assert outputs_of(tagged) == [TEXT]
    assert other.read_bytes() == before
    assert strip_images(tmp_path) == 0


def test_a_wrong_folder_or_file_is_named(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        strip_images(tmp_path / "nowhere")
    (tmp_path / "x.ipynb").write_text("no json")
    with pytest.raises(ValueError, match=r"x\.ipynb"):
        strip_images(tmp_path)


@pytest.mark.parametrize(("value", "shown"), [(None, True), ("", True), ("0", True), ("1", False)])
def test_a_site_for_others_shows_a_line_instead(monkeypatch, value, shown):
    monkeypatch.delenv("PUBLISH", raising=False)
    if value is not None:
        monkeypatch.setenv("PUBLISH", value)
    figure = Figure()
    result = third_party_images(figure)
    assert (result is figure) == shown
    assert shown or "terms of use" in result.data
