"""Citations of the works in ``references.bib`` as plain Markdown."""

import re
from collections.abc import Iterable

from pybtex.database import BibliographyData, Entry
from pybtex.richtext import Text


def cited_works(text: str) -> list[str]:
    """List the keys of the works that a MyST text cites, each once, in order."""
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    keys = [key.strip() for role in roles for key in role.split(",")]
    return list(dict.fromkeys(keys))


def reference_list(keys: Iterable[str], bibliography: BibliographyData) -> str:
    """Return the cited works as a Markdown list, sorted by author."""
    lines = sorted(_reference(_entry(key, bibliography)) for key in keys)
    return "\n".join(f"- {line}" for line in lines)


def citation(key: str, role: str, bibliography: BibliographyData) -> str:
    """Return a citation of one work, without brackets around it; ``role`` is that of MyST."""
    entry = _entry(key, bibliography)
    year = entry.fields.get("year", "n. d.")
    words = f"{_authors(entry)} ({year})" if role == "cite:t" else f"{_authors(entry)}, {year}"
    address = _address(entry)
    return f"[{words}]({address})" if address else words


def _entry(key: str, bibliography: BibliographyData) -> Entry:
    if key not in bibliography.entries:
        raise ValueError(f"the work {key!r} is cited, but book/references.bib has none of that key")
    return bibliography.entries[key]


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
