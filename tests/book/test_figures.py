"""The stored Figs. 1 and 2, and the numbers, captions and links of the pages."""

import re
from pathlib import Path

import draw
import jupytext
import pytest
import yaml

from ccb_lib.models.ccb import Discriminator, Generator

ROOT = Path(__file__).parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"]] + [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
TEXTS = {page: (ROOT / f"{page}.md").read_text() for page in PAGES}


def labels(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_stored_figures_show_the_networks_of_the_library(legible):
    generator = Generator()
    drawn = {
        1: legible(draw.draw_ccb(generator, Discriminator())),
        2: legible(draw.draw_chain(generator.skips[0])),
    }
    for number, figure in drawn.items():
        stored = (ROOT / f"book/figures/fig-{number}.svg").read_text()
        comments = re.findall(r"<!-- (.*?) -->", stored)  # matplotlib's, one for each line of text
        expected = [line.strip() for text in labels(figure) for line in text.split("\n")]
        assert comments == expected, "run: python book/figures/draw.py"


def test_the_figures_are_read_from_the_modules():
    found = labels(draw.draw_ccb(Generator(1, 8, (5, 1, 2, 3)), Discriminator(1, 64, 8, 20), 64))
    for text in (
        "x: 1×64×64",
        "8×32×32",
        "5 blocks",
        "1 block",
        "bottleneck: 64×2×2",
        "20 numbers",
    ):
        assert text in found


def test_equations_have_the_numbers_of_the_paper():
    """Sphinx numbers labelled equations in the order of the pages."""
    found = [
        label for page in PAGES for label in re.findall(r"^\$\$ \((\S+)\)$", TEXTS[page], re.M)
    ]
    assert found[:7] == [f"eq-{number}" for number in range(1, 8)]
    assert len(found) == len(set(found))


def test_names_of_figures_are_unique_and_references_have_a_figure():
    named, referred = [], []
    for text in TEXTS.values():
        named += re.findall(r"name: (fig-[\w-]+)", text)
        referred += re.findall(r"\{numref\}`(?:[^`<]*<)?(fig-[\w-]+)>?`", text)
    assert len(named) == len(set(named))
    assert set(referred) <= set(named)
    assert referred


@pytest.mark.parametrize("page", [p for p in PAGES if "jupytext" in TEXTS[p]])
def test_a_figure_with_a_caption_has_alternative_text(page):
    for cell in jupytext.reads(TEXTS[page], "md:myst").cells:
        options = cell.metadata.get("mystnb", {})
        if "figure" in options:
            assert options["figure"].get("caption"), cell.source
            assert options.get("image", {}).get("alt"), cell.source
