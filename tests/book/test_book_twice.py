"""The comparison of two builds: what it overlooks, and what it finds."""

import json
import shutil

import pytest

from tests.torture.book_twice import AREA, differences, main, report, rows_of
from tests.torture.report import Row, write

PAGE = """<p>AUC 0.913</p><table>
<tr><th></th><th>s / epoch</th><th>AUC</th></tr><tr><th>CCB</th><td>1.25</td><td>0.9</td></tr>
</table>"""
TEXT = "     s / epoch  AUC\nCCB       1.25  0.9"


def write_site(folder):
    (folder / "book").mkdir(parents=True)
    (folder / "index.html").write_text("<p>first</p>")
    (folder / "book/status.html").write_text(PAGE)
    cell = {"outputs": [{"data": {"text/html": [PAGE], "text/plain": [TEXT]}}]}
    (folder / "book/page.ipynb").write_text(json.dumps({"cells": [{"source": "x"}, cell]}))
    index = {"docnames": ["book/a", "book/status"], "terms": {"125": 1, "913": [0, 1], "auc": 0}}
    (folder / "searchindex.js").write_text(f"Search.setIndex({json.dumps(index)})")
    (folder / "figure.png").write_bytes(b"\x89PNG")


@pytest.fixture
def sites(tmp_path):
    for name in ("one", "two"):
        write_site(tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("name", ["book/status.html", "book/page.ipynb"])
def test_measured_times_in_a_table_may_differ(sites, name):
    edit(sites[1] / name, "1.25", "7.5")
    assert differences(*sites)[1] == []


def test_numbers_of_the_page_of_times_may_differ_in_the_search(sites):
    edit(sites[1] / "searchindex.js", '"125": 1', '"750": 1')
    assert differences(*sites)[1] == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("book/status.html", "<td>0.9<", "<td>0.8<"),  # another column
        ("book/status.html", "0.913", "0.914"),  # outside of the table
        ("book/status.html", "s / epoch", "s"),
        ("book/page.ipynb", '"source": "x"', '"source": "y"'),
        ("searchindex.js", '"913": [0, 1]', '"914": [0, 1]'),  # a number of another page
        ("searchindex.js", '"auc"', '"roc"'),
        ("index.html", "first", "first "),
    ],
)
def test_any_other_difference_is_found(sites, name, old, new):
    edit(sites[1] / name, old, new)
    assert differences(*sites)[1] == [name]


def test_a_file_in_one_site_only_is_a_difference(sites, capsys):
    (sites[0] / "new.js").write_text("")
    (sites[1] / "figure.png").unlink()
    assert differences(*sites)[1] == ["figure.png", "new.js"]
    assert main([str(site) for site in sites]) == 1
    assert "6 files compared, 2 differ" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"Give the folder _build/html"):
        differences(sites[0], sites[0] / "book")


def test_equal_sites_succeed(sites):
    shutil.rmtree(sites[1])
    shutil.copytree(*sites)
    assert main([str(site) for site in sites]) == 0


def test_the_report_keeps_rows_of_other_areas(tmp_path):
    write("book", [Row("console", "messages", 3, 3), Row(AREA, "old", 9, 9)], 12.0, tmp_path)
    path = report(rows_of(["a.html", "b.html", "c.js"], ["b.html"]), tmp_path)
    stored = json.loads(path.read_text())
    counts = [(row["area"], row["tried"], row["kept"], row["lost"]) for row in stored["rows"]]
    assert counts == [("console", 3, 3, 0), (AREA, 2, 1, 1), (AREA, 1, 1, 0)]
    assert stored["seconds"] == 12.0
