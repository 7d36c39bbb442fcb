"""Images whose terms of use are in doubt: shown in a local build of the book, never published.

Cells that draw such images have the tag ``third-party-images`` and call `third_party_images`. A
local build shows the images. A build for publication (``PUBLISH=1 make book``) shows a line
instead. In both, `strip_images` removes the images from the notebooks offered for download.
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
    """Return a figure, or a line instead of it when the site is built for publication.

    Args:
        figure: A figure of images that must not be published.

    Returns:
        The figure if the environment variable ``PUBLISH`` is unset, empty or ``0``; else the line.

    Example:
        >>> import matplotlib.figure
        >>> type(third_party_images(matplotlib.figure.Figure())).__name__  # PUBLISH is not set
        'Figure'
    """
    if os.environ.get("PUBLISH", "0") in ("", "0"):
        return figure
    from IPython.display import Markdown

    return Markdown(
        "*Images of this set are not shown here, because their terms of use are in doubt.*"
    )


def strip_images(folder: str | Path) -> int:
    """Remove the images from the outputs of tagged cells in all notebooks below a folder.

    Args:
        folder: Folder of a built site. Notebooks are rewritten in place. Text outputs are kept.

    Returns:
        The number of outputs removed.

    Raises:
        NotADirectoryError: The folder does not exist.
        ValueError: A notebook is not valid JSON.

    Example:
        >>> import tempfile
        >>> strip_images(tempfile.mkdtemp())
        0
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder. Give the folder of the built site.")
    removed = 0
    for path in sorted(folder.rglob("*.ipynb")):
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is not a notebook ({error}). Build the book again."
            ) from error
        removed_here = 0
        for cell in notebook.get("cells", []):
            if TAG in cell.get("metadata", {}).get("tags", []):
                kept = [output for output in cell.get("outputs", []) if not _has_image(output)]
                removed_here += len(cell.get("outputs", [])) - len(kept)
                cell["outputs"] = kept
        if removed_here:
            path.write_text(
                json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        removed += removed_here
    return removed


def _has_image(output: dict) -> bool:
    """Return whether an output has an image, as its own data or embedded in HTML."""
    data = output.get("data", {})
    html = "".join(data.get("text/html", []))
    return any(kind.startswith("image/") for kind in data) or "data:image/" in html


if __name__ == "__main__":
    count = strip_images(sys.argv[1])
    print(f"Removed {count} outputs with images of doubtful terms of use from the notebooks.")
