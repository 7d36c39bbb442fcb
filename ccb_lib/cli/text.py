"""Text for a terminal: exit status, control characters, the names of options."""

import re

STOPPED = 130  # exit status after Ctrl-C, by the convention of shells


def printable(text: str) -> str:
    r"""Escape control characters in text from files, so that a terminal can show it safely.

    >>> print(printable("a\x1b.png"))
    a\x1b.png
    """
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    """Escape control characters and line breaks in text from files, for one line of a table."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def in_shell(text: str) -> str:
    """Replace ``root=``, ``abnormal=`` and ``window=(low, high)`` by the options of the shell.

    >>> in_shell("Give root=, or window=(0, 400).")
    'Give --root, or --window 0 400.'
    """
    text = re.sub(r"(?<!\S)(root|abnormal)=(?=[,.:]?(\s|$))", r"--\1", text)
    return re.sub(r"(?<!\S)window=\(([^,()]+), ([^,()]+)\)", r"--window \1 \2", text)
