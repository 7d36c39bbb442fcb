"""Images whose terms are in doubt: shown to the reader who fetched them, never passed on.

Cells that draw such images carry the tag ``third-party-images`` and show them through
`third_party_images`. The built pages keep them on the reader's own machine; a site built for others
(``PUBLISH=1 make book``) leaves them out, and `strip_images` removes them from the notebooks
offered for download in both cases.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import Markdown
    from matplotlib.figure import Figure

TAG = "third-party-images"


def third_party_images(figure: "Figure") -> "Figure | Markdown":
    """Return a figure, or a line in its place where the site is built for others.

    Args:
        figure: It shows images that may not be passed on.

    Example:
        >>> import matplotlib.figure
        >>> type(third_party_images(matplotlib.figure.Figure())).__name__  # PUBLISH is not set
        'Figure'
    """
    if os.environ.get("PUBLISH", "0") in ("", "0"):
        return figure
    from IPython.display import Markdown

    return Markdown(
        "*This site shows no images of this set, because their terms of use are in doubt.*"
    )


def strip_images(folder: str | Path) -> int:
    """Remove the images from the outputs of tagged cells, in all notebooks below a folder.

    Args:
        folder: Of a built site. Notebooks are rewritten in place; text outputs stay.

    Returns:
        The number of outputs removed.

    Raises:
        NotADirectoryError: There is no such folder.
        ValueError: A notebook is not JSON.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder. Give the folder of the built site.")
    removed = 0
    for path in sorted(folder.rglob("*.ipynb")):
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no notebook ({error}). Build the book again.") from error
        in_this = 0
        for cell in notebook.get("cells", []):
            if TAG in cell.get("metadata", {}).get("tags", []):
                kept = [output for output in cell.get("outputs", []) if not _has_image(output)]
                in_this += len(cell.get("outputs", [])) - len(kept)
                cell["outputs"] = kept
        if in_this:
            path.write_text(
                json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        removed += in_this
    return removed


def _has_image(output: dict) -> bool:
    """Whether an output holds an image, as data of its own or inside HTML."""
    data = output.get("data", {})
    html = "".join(data.get("text/html", []))
    return any(kind.startswith("image/") for kind in data) or "data:image/" in html


if __name__ == "__main__":
    print(
        f"{strip_images(sys.argv[1])} outputs with images of doubtful terms removed from "
        "notebooks for download."
    )
