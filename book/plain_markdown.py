"""Turn the MyST Markdown of the book's pages into the plain Markdown that any notebook shows.

Outside code, no directive, role, label or comment of MyST is left. What is unknown is an error, so
that a new kind of directive cannot reach a reader as raw text.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.richtext import Text

FENCE = re.compile(r"^ *(?P<mark>`{3,}|~{3,}|:{3,})(?:\{(?P<name>[\w:+-]+)\})? *(?P<title>.*)$")
CODE_OR_ROLE = re.compile(r"(?:\{([\w:+-]+)\})?(?<!`)(`+)(?!`)(.+?)(?<!`)\2(?!`)", re.DOTALL)
WITH_TARGET = re.compile(r"(.*?)\s*<([^<>]+)>", re.DOTALL)
LINK = re.compile(r"\[([^\[\]]*)\]\(([\w-]+)\.md(#[\w-]+)?\)")
LABELLED_EQUATION = re.compile(r"\$\$(.+?)\$\$ *\(([\w:-]+)\)", re.DOTALL)
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
        bibliography: The cited works.
        titles: Name of a page, such as ``"training"`` → its title.
        numbers: Label of an equation → its number.
        targets: Label of a heading, figure or exercise → the words that stand for it.
        notebooks: Names of the pages that are offered as notebooks.
        site: Address of the built site, ending with ``/``; empty if there is none.
    """

    bibliography: BibliographyData = field(default_factory=BibliographyData)
    titles: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    notebooks: frozenset[str] = frozenset()
    site: str = ""


def read_book(pages: Iterable[Path], notebooks: Iterable[str], site: str = "") -> Book:
    """Read what the pages refer to, from their sources and from ``references.bib`` beside them."""
    pages = list(pages)
    titles, numbers, targets = {}, {}, {}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        titles[page.stem] = title.group(1) if title else page.stem
        numbers |= _equation_numbers(text)
        targets |= dict(re.findall(r"^\(([\w:-]+)\)=\n+#+ (.+)$", text, re.MULTILINE))
        exercises = re.findall(r"\{exercise\}.*\n:label: *(\S+)", text)
        targets |= dict.fromkeys(exercises, "the exercise")
        targets |= dict.fromkeys(re.findall(r"^ +name: *(\S+)$", text, re.MULTILINE), "the figure")
    bib = pages[0].parent / "references.bib" if pages else None
    bibliography = parse_file(str(bib)) if bib and bib.is_file() else BibliographyData()
    return Book(bibliography, titles, numbers, targets, frozenset(notebooks), site)


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


def cited_works(text: str) -> list[str]:
    """List the keys of the works that a MyST text cites, each once, in order."""
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    keys = [key.strip() for role in roles for key in role.split(",")]
    return list(dict.fromkeys(keys))


def reference_list(keys: Iterable[str], book: Book) -> str:
    """Return the cited works as a Markdown list, sorted by author."""
    lines = sorted(_reference(_entry(key, book)) for key in keys)
    return "\n".join(f"- {line}" for line in lines)


def _equation_numbers(text: str) -> dict[str, str]:
    r"""Number the labelled equations of a page: by their ``\tag``, else in order."""
    blocks = [(label, body) for body, label in LABELLED_EQUATION.findall(text)]
    blocks += re.findall(r"\{math\}\n:label: *(\S+)\n(.*?)\n[`:]{3}", text, re.DOTALL)
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
        # The picture itself is a file of the repository, so the site shows it.
        caption = plain("\n".join(body), book)
        address = book.site and book.site + "_images/" + Path(title.strip()).name
        return f"![{options.get('alt', '')}]({address})\n\n{caption}" if address else caption
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
        body += f" \\tag{{{_known(label, book.numbers, 'equation')}}}"
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
        works = [_citation(key.strip(), name, book) for key in content.split(",")]
        return ", ".join(works) if name == "cite:t" else f"({'; '.join(works)})"
    if name == "eq":
        return words or f"({_known(target, book.numbers, 'equation')})"
    if name in ("ref", "numref"):
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


def _entry(key: str, book: Book) -> Entry:
    if key not in book.bibliography.entries:
        raise ValueError(f"the work {key!r} is cited, but book/references.bib has none of that key")
    return book.bibliography.entries[key]


def _citation(key: str, role: str, book: Book) -> str:
    entry = _entry(key, book)
    year = entry.fields.get("year", "n. d.")
    words = f"{_authors(entry)} ({year})" if role == "cite:t" else f"{_authors(entry)}, {year}"
    address = _address(entry)
    return f"[{words}]({address})" if address else words


def _authors(entry: Entry) -> str:
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [_text(" ".join([*person.prelast_names, *person.last_names])) for person in people]
    if not names:
        return _text(entry.fields.get("organization", entry.key))
    if len(names) > 2:
        return f"{names[0]} et al."
    return " and ".join(names)


def _address(entry: Entry) -> str:
    doi = entry.fields.get("doi")
    return f"https://doi.org/{doi}" if doi else entry.fields.get("url", "")


def _reference(entry: Entry) -> str:
    place = entry.fields.get("journal") or entry.fields.get("booktitle") or ""
    parts = [f"{_authors(entry)} ({entry.fields.get('year', 'n. d.')})", entry.fields["title"]]
    parts += [part for part in (place, _address(entry)) if part]
    return ". ".join(_text(part).rstrip(".") for part in parts)


def _text(latex: str) -> str:
    """Return LaTeX of a bibliography as plain text."""
    return str(Text.from_latex(latex))
