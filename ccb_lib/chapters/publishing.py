"""Images whose terms of use are in doubt: shown in a local build of the book, never published.

Cells that draw such images have the tag ``third-party-images`` and call `third_party_images`. A
local build shows the images. A build for publication (``PUBLISH=1 make book``) shows a line
instead. In both, ``book/strip_images.py`` removes the images from the notebooks offered for
download.
"""

import os

from IPython.display import Markdown
from matplotlib.figure import Figure

TAG = "third-party-images"


def third_party_images(figure: Figure) -> Figure | Markdown:
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

    return Markdown(
        "*Images of this set are not shown here, because their terms of use are in doubt.*"
    )
