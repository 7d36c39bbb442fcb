"""Mend the HTML of the built book: what browsers or screen readers report as an error.

``python book/mend_html.py _build/html`` follows each build, because Sphinx and its theme write what
is mended here. Transparent plots get the attribute ``data-plot``, for the dark theme.
"""

import re
import sys
from pathlib import Path

from matplotlib.image import imread

# What Sphinx and its theme write, and what is written instead.
PATTERNS = {
    # A constant declared twice, which is an error. It is for live code, which the book lacks.
    r"<script>const THEBE_JS_URL[^<]*</script>": "",
    # The theme reports an empty mode as an error.
    r'getItem\("(mode|theme)"\) \|\| ""': r'getItem("\1") || "auto"',
    # A list without list items, which a screen reader announces as empty.
    r'<div role="list" class="citation-list">': '<div class="citation-list">',
    r' role="doc-biblioentry"': "",
    # A heading of a table that names nothing.
    r"<th></th>": "<td></td>",
}


def mend_html(folder: str | Path) -> int:
    """Mend all pages of a built site in place; a second call changes nothing.

    Args:
        folder: Folder of the site.

    Returns:
        The number of pages changed.

    Raises:
        NotADirectoryError: The folder does not exist.

    Example:
        >>> import tempfile
        >>> mend_html(tempfile.mkdtemp())
        0
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder. Give the folder of the built site.")
    plots = [path.name for path in folder.glob("_images/*.png") if is_transparent(path)]
    named = "|".join(map(re.escape, plots)) or "(?!)"  # (?!) matches nothing
    patterns = {**PATTERNS, rf'<img (?!data-plot)(?=[^>]*_images/({named})")': "<img data-plot "}
    changed = 0
    for path in sorted(folder.rglob("*.html")):
        text = mended = path.read_text(encoding="utf-8")
        for pattern, instead in patterns.items():
            mended = re.sub(pattern, instead, mended)
        if mended != text:
            path.write_text(mended, encoding="utf-8")
            changed += 1
    return changed


def is_transparent(path: Path) -> bool:
    """Return whether more than half of a PNG is transparent, as in a plot without images."""
    pixels = imread(path)
    return pixels.shape[-1] == 4 and bool((pixels[..., 3] == 0).mean() > 0.5)


if __name__ == "__main__":
    print(f"Mended the HTML of {mend_html(sys.argv[1])} pages.")
