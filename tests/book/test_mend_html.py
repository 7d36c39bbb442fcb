"""What Sphinx and its theme write into pages is mended after a build."""

import pytest
from mend_html import mend_html
from PIL import Image


def test_what_the_theme_writes_is_mended_once(tmp_path):
    (tmp_path / "_images").mkdir()
    Image.new("RGBA", (9, 9)).save(tmp_path / "_images" / "plot.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "_images" / "photo.png")
    page = tmp_path / "page.html"
    page.write_text(
        '<script>const THEBE_JS_URL = "x"; const a = "b"</script>'
        'mode = localStorage.getItem("mode") || "";'
        '<div role="list" class="citation-list"><div role="doc-biblioentry">Zhang</div></div>'
        '<tr><th></th><th>AUC</th></tr><img alt="" src="../_images/plot.png">'
        '<img alt="" src="../_images/photo.png">'
    )
    assert mend_html(tmp_path) == 1
    assert page.read_text() == (
        'mode = localStorage.getItem("mode") || "auto";'
        '<div class="citation-list"><div>Zhang</div></div>'
        '<tr><td></td><th>AUC</th></tr><img data-plot alt="" src="../_images/plot.png">'
        '<img alt="" src="../_images/photo.png">'
    )
    assert mend_html(tmp_path) == 0


def test_a_missing_site_is_named(tmp_path):
    with pytest.raises(NotADirectoryError, match="no-site is not a folder"):
        mend_html(tmp_path / "no-site")
