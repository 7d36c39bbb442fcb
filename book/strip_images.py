"""Remove the images of tagged cells from the notebooks of a built site; run by ``make book``.

Cells with images whose terms of use are in doubt have the tag of `ccb_lib.chapters.publishing`.
"""

import json
import sys
from pathlib import Path

from ccb_lib.chapters.publishing import TAG


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
