"""Names that try to break out of a page, and policies that allow a page no more than it carries."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from html import unescape
from pathlib import Path
from typing import Any

HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>bare</title>'
    '<meta name="viewport" content="width=device-width"><body>'
)
NAMES = {
    "ends the script": "</script><script>window.hit=1</script>",
    "quotes": "\"'><b onmouseover='window.hit=1'>",
    "opens a comment": "<!--<script>",
    "an image": "<img src=x onerror=window.hit=1>",
    "half a character": "a\ud800b",
    "right to left": "\u202egpj.exe\u2066",
    "10,000 characters": "A" * 10_000,
    "control characters": "\x00\x07\x1b[31m",
    "templates": "${window.hit=1} $title {{x}} %s",
    "nothing": "",
    "white space": " \n\t",
    "an entity": "&lt;img&gt;&#0;",
}
SHOWN = {  # where a browser shows another text than the name
    "half a character": "a\ufffdb",
    "nothing": "(no name)",
    "white space": "(no name)",
}


def digests(texts: Iterable[str]) -> str:
    """Return the sources of a content-security policy that allow these scripts or styles."""
    found = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts}
    return " ".join(f"'sha256-{digest}'" for digest in sorted(found))


def scripts(html: str) -> list[str]:
    """Return the scripts that stand in a page, those of attributes such as ``onclick`` too."""
    inline = re.findall(r"<script(?![^>]*(?:src=|json))[^>]*>(.*?)</script>", html, re.DOTALL)
    return inline + [unescape(on) for on in re.findall(r'\son\w+="([^"]*)"', html)]


def styles(html: str) -> list[str]:
    """Return the styles that stand in a page, those of attributes too."""
    attributes = [unescape(style) for style in re.findall(r'\sstyle="([^"]*)"', html)]
    return attributes + re.findall(r"<style>(.*?)</style>", html, re.DOTALL)


def own_policy(html: str) -> str:
    """Return a policy for an explorer on a page of its own: its script and style, nothing else."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {digests(scripts(html))}; "
        f"style-src 'unsafe-hashes' {digests(styles(html))}"
    )


def book_policy(html: str) -> str:
    """Return a policy for a page of the book: files of its own site and the scripts it carries.

    Styles may stand in the page, because MathJax writes some.
    """
    return (
        "default-src 'none'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "style-src 'self' 'unsafe-inline'; "
        f"script-src 'self' 'unsafe-hashes' {digests(scripts(html))}"
    )


def served(body: str, policy: str, root: Path | None = None) -> Callable[[Any], None]:
    """Return a handler that answers for ``http://book.test``.

    Args:
        body: The page, at ``/page.html``.
        policy: Its content-security policy.
        root: Folder of the files at all other paths; without it there are none.
    """

    def serve(route: Any) -> None:
        path = route.request.url.removeprefix("http://book.test/").partition("?")[0]
        if path == "page.html":
            headers = {"Content-Security-Policy": policy}
            route.fulfill(body=body, headers=headers, content_type="text/html; charset=utf-8")
        elif root and (root / path).is_file():
            route.fulfill(path=root / path)
        else:
            route.fulfill(status=404)

    return serve
