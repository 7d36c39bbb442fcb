"""Turn the MyST Markdown of the book's pages into the plain Markdown that any notebook shows.

Outside code, no directive, role, label or comment of MyST is left. What is unknown is an error, so
that a new kind of directive cannot reach a reader as raw text.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from citations import citation
from pybtex.database import BibliographyData, parse_file

FENCE = re.compile(r"^ *(?P<mark>`{3,}|~{3,}|:{3,})(?:\{(?P<name>[\w:+-]+)\})? *(?P<title>.*)$")
CODE_OR_ROLE = re.compile(r"(?:\{([\w:+-]+)\})?(?<!`)(`+)(?!`)(.+?)(?<!`)\2(?!`)", re.DOTALL)
WITH_TARGET = re.compile(r"(.*?)\s*<([^<>]+)>", re.DOTALL)
LINK = re.compile(r"\[([^\[\]]*)\]\(([\w-]+)\.md(#[\w-]+)?\)")
LABELLED_EQUATION = re.compile(r"\$\$(.+?)\$\$ *\(([\w:-]+)\)", re.DOTALL)
# The settings of a figure, in a cell of code or in a directive.
FIGURE = re.compile(
    r"^ +figure:.*?(?=^---$|\n\n)|^[`:]{3,}\{figure\}.*?(?=\n\n|^[`:]{3,}$)",
    re.DOTALL | re.MULTILINE,
)
LABEL = re.compile(r"^\(([\w:-]+)\)=\s*$")
COMMENT = re.compile(r"^%.*$")

BOXES = {
    "admonition", "attention", "caution", "danger", "dropdown", "error", "hint", "important",
    "note", "seealso", "tip", "warning", "margin", "sidebar", "exercise",
}  # fmt: skip
DROPPED = {"tableofcontents", "bibliography", "nb-exec-table", "contents", "index"}
CODE = {"code", "code-block", "sourcecode", "literalinclude"}


@dataclass(frozen=True)
class Book:
    """What the pages refer to.

    Attributes:
        folder: Folder of the pages.
        bibliography: The cited works.
        titles: Name of a page, such as ``"training"`` → its title.
        equations: Label of an equation → its number.
        figures: Name of a figure → its number.
        targets: Label of a heading or an exercise → the words that stand for it.
        notebooks: Names of the pages that are offered as notebooks.
        site: Address of the built site, ending with ``/``; empty if there is none.
    """

    folder: Path = Path()
    bibliography: BibliographyData = field(default_factory=BibliographyData)
    titles: Mapping[str, str] = field(default_factory=dict)
    equations: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    notebooks: frozenset[str] = frozenset()
    site: str = ""


def read_book(pages: Iterable[Path], notebooks: Iterable[str], site: str = "") -> Book:
    """Read what the pages refer to, from their sources and from ``references.bib`` beside them.

    Equations and figures are numbered through the book, in the order of the pages. A build knows
    the numbers of figures better, because a cell may draw none on some machine.
    """
    pages = list(pages)
    texts = {page.stem: page.read_text(encoding="utf-8") for page in pages}
    everything = "\n\n".join(texts.values())
    titles = {name: re.search(r"^# (.+)$", text, re.MULTILINE) for name, text in texts.items()}
    names = [re.search(r"name: *([\w-]+)", found[0]) for found in FIGURE.finditer(everything)]
    figures = {name[1]: str(number) for number, name in enumerate(names, 1) if name}
    targets = dict(re.findall(r"^\(([\w:-]+)\)=\n+#+ (.+)$", everything, re.MULTILINE))
    targets |= dict.fromkeys(
        re.findall(r"\{exercise\}.*\n:label: *(\S+)", everything), "the exercise"
    )
    folder = pages[0].parent if pages else Path()
    works = folder / "references.bib"
    return Book(
        folder=folder,
        bibliography=parse_file(str(works)) if works.is_file() else BibliographyData(),
        titles={name: title[1] if title else name for name, title in titles.items()},
        equations=_equation_numbers(everything),
        figures=figures,
        targets=targets,
        notebooks=frozenset(notebooks),
        site=site,
    )


def plain(text: str, book: Book) -> str:
    """Return a Markdown text without any syntax that is MyST's alone.

    Args:
        text: MyST Markdown, such as a cell of a page.
        book: What it refers to.

    Returns:
        Plain Markdown: boxes become block quotes, solutions can be folded, citations and references
        are written out, and links lead to the site, or else to the notebooks beside this one.

    Raises:
        ValueError: A directive, role, label or work is unknown.
    """
    lines, out, run = text.splitlines(), [], []
    position = 0
    while position < len(lines):
        fence = FENCE.match(lines[position])
        if fence is None:
            run.append(lines[position])
            position += 1
            continue
        end = _end_of(lines, position, fence["mark"])
        out += [_inline("\n".join(run), book)]
        body = lines[position + 1 : end]
        if fence["name"]:
            out += [_directive(fence["name"], fence["title"], body, book)]
        else:
            out += ["\n".join(lines[position : end + 1])]
        run, position = [], end + 1
    out += [_inline("\n".join(run), book)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def _equation_numbers(text: str) -> dict[str, str]:
    r"""Number the labelled equations of a page: by their ``\tag``, else in order."""
    directive = r"\{math\}\n:label: *(?P<name>\S+)\n(?P<inner>.*?)\n[`:]{3}"
    found = re.finditer(f"{LABELLED_EQUATION.pattern}|{directive}", text, re.DOTALL)
    blocks = [(one[2] or one["name"], one[1] or one["inner"]) for one in found]
    tags = {label: re.search(r"\\tag\{(.+?)\}", body) for label, body in blocks}
    numbered = enumerate(tags.items(), 1)
    return {label: tag.group(1) if tag else str(place) for place, (label, tag) in numbered}


def _end_of(lines: list[str], start: int, mark: str) -> int:
    """Return the line that closes the fence of line ``start``; the last line if none does."""
    for place in range(start + 1, len(lines)):
        line = lines[place].strip()
        if len(line) >= len(mark) and set(line) == {mark[0]}:
            return place
    return len(lines)


def _directive(name: str, title: str, lines: list[str], book: Book) -> str:
    options, body = _options(lines)
    if name in DROPPED:
        return ""
    if name in CODE:
        return "\n".join([f"```{title}", *body, "```"])
    if name == "math":
        return _equation("\n".join(body).strip(), options.get("label"), book)
    if name == "figure":
        caption = captioned("\n".join(body), options.get("name", ""), book)
        return f"{_picture(title.strip(), options.get('alt', ''), book)}\n\n{caption}"
    if name == "solution":
        inside = plain("\n".join(body), book)
        return f"<details>\n<summary>Solution</summary>\n\n{inside}\n\n</details>"
    if name not in BOXES:
        raise ValueError(
            f"the directive {{{name}}} has no plain form; add one to book/plain_markdown.py"
        )
    heading = title.strip() if name in ("admonition", "dropdown", "exercise") else ""
    if name not in ("admonition", "dropdown") or not heading:
        heading = name.capitalize() + (f": {heading}" if heading else "")
    inside = f"**{_inline(heading, book)}**\n\n" + plain("\n".join(body), book)
    if name == "exercise":
        return inside
    return "\n".join(f"> {line}".rstrip() for line in inside.splitlines())


def captioned(caption: str, name: str, book: Book) -> str:
    """Return a caption in italics, after the number of the figure if that has a name."""
    number = f"Figure {_known(name, book.figures, 'figure')}. " if name else ""
    return f"*{number}{plain(caption, book)}*"


def _picture(file: str, alt: str, book: Book) -> str:
    """Embed an image file, so that the notebook needs no other file."""
    path = book.folder / file
    if not path.is_file():
        raise ValueError(f"the figure {file} is not in {book.folder}")
    kind = {".svg": "svg+xml", ".jpg": "jpeg"}.get(path.suffix, path.suffix[1:])
    data = base64.b64encode(path.read_bytes()).decode()
    alt = alt.strip('"').replace("[", "(").replace("]", ")")
    return f"![{alt}][{path.name}]\n\n[{path.name}]: data:image/{kind};base64,{data}"


def _options(lines: list[str]) -> tuple[dict, list[str]]:
    """Part the options of a directive from its body."""
    if lines and lines[0].strip() == "---":
        end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "---"), 0)
        return yaml.safe_load("\n".join(lines[1:end])) or {}, lines[end + 1 :]
    options = {}
    for place, line in enumerate(lines):
        option = re.match(r"^ *:([\w-]+): ?(.*)$", line)
        if option is None:
            return options, lines[place:]
        options[option[1]] = option[2].strip()
    return options, []


def _inline(text: str, book: Book) -> str:
    """Convert a text without fences."""
    lines = [line for line in text.split("\n") if not LABEL.match(line) and not COMMENT.match(line)]
    text = LABELLED_EQUATION.sub(
        lambda found: _equation(found[1].strip(), found[2], book), "\n".join(lines)
    )
    out, last = [], 0
    for found in CODE_OR_ROLE.finditer(text):
        out += [_links(text[last : found.start()], book)]
        role, content = found[1], found[3]
        out += [_role(role, content, book) if role else found[0]]
        last = found.end()
    return "".join([*out, _links(text[last:], book)])


def _equation(body: str, label: str | None, book: Book) -> str:
    if label and "\\tag" not in body:
        body += f" \\tag{{{_known(label, book.equations, 'equation')}}}"
    return f"$$\n{body}\n$$"


def _links(text: str, book: Book) -> str:
    def link(found: re.Match) -> str:
        words = found[1] or _known(found[2], book.titles, "page")
        if book.site:
            return f"[{words}]({book.site}book/{found[2]}.html{found[3] or ''})"
        return f"[{words}]({found[2]}.ipynb)" if found[2] in book.notebooks else words

    return LINK.sub(link, text)


def _role(name: str, content: str, book: Book) -> str:
    both = WITH_TARGET.fullmatch(content)
    words, target = (both[1], both[2]) if both else ("", content)
    if name == "nb-download":
        return words or "this notebook"
    if name.startswith("cite"):
        works = [citation(key.strip(), name, book.bibliography) for key in content.split(",")]
        return ", ".join(works) if name == "cite:t" else f"({'; '.join(works)})"
    if name == "eq":
        return words or f"Eq. {_known(target, book.equations, 'equation')}"
    if name == "numref" or (name == "ref" and target in book.figures):
        number = f"Figure {_known(target, book.figures, 'figure')}"
        return words.replace("%s", number[7:]).replace("{number}", number[7:]) or number
    if name == "ref":
        return words or _known(target, book.targets, "label")
    if name == "doc":
        return _links(f"[{words}]({Path(target).name}.md)", book)
    if name == "term":
        return words or target
    if name in ("abbr", "sub", "sup"):
        return content if name == "abbr" else f"<{name}>{content}</{name}>"
    if name == "math":
        return f"${content}$"
    if name.split(":")[-1] in ("obj", "func", "class", "meth", "mod", "attr", "data", "exc"):
        return f"`{words or target.lstrip('~')}`"
    raise ValueError(f"the role {{{name}}} has no plain form; add one to book/plain_markdown.py")


def _known(label: str, known: Mapping[str, str], kind: str) -> str:
    if label not in known:
        raise ValueError(f"the {kind} {label!r} is referred to, but no page has it")
    return known[label]
