"""Text for a terminal: exit status, control characters, the names of options."""

import re

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def printable(text: str) -> str:
    """Make text from files safe to show in a terminal: control characters are written out, as in a Python string."""
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    """Make text from files safe in a table too: line breaks are written out as well."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def in_shell(text: str) -> str:
    """Name the library's arguments ``root=`` and ``window=(low, high)`` as the options that they are in a shell."""
    text = re.sub(r"(?<!\S)root=(?=[,.:]?(\s|$))", "--root", text)
    return re.sub(r"(?<!\S)window=\(([^,()]+), ([^,()]+)\)", r"--window \1 \2", text)
