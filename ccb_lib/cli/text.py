"""Text for a terminal: exit status, control characters, the names of options."""

import re

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def printable(text: str) -> str:
    """Make text from files safe to show in a terminal: control characters are written out, as in a Python string."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def in_shell(text: str) -> str:
    """Name the library's argument ``root=`` as the option that it is in a shell."""
    return re.sub(r"(?<!\S)root=(?=[,.:]?(\s|$))", "--root", text)
