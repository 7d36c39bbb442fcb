"""Write the plan of measurements into ``data/results/README.md``, as a table."""

from collections.abc import Sequence

from ccb_lib.io.writing import replacing
from ccb_lib.reproduction.plan import plan_path, read_plan
from ccb_lib.reproduction.plan_entries import Entry

_BEGIN, _END = (
    "<!-- the plan, written by data/scripts/write_plan.py -->",
    "<!-- the end of the plan -->",
)


def as_markdown(entries: Sequence[Entry]) -> str:
    """Return the plan as a Markdown table: entry, why, must, command.

    Progress is not shown: it would be out of date after the next run.
    """
    lines = ["| entry | why | must | command |", "|---|---|---|---|"]
    lines += [
        f"| {e.name} | {e.why} | {'must' if e.must else ''} | `{e.command}` |" for e in entries
    ]
    return "\n".join(lines)


def with_plan(text: str, entries: Sequence[Entry]) -> str:
    """Insert the table into a text, between the two comments that mark its place.

    Raises:
        ValueError: The text does not have both comments.
    """
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError(
            "The README has no place for the plan. Insert these two lines where it belongs: "
            f"{_BEGIN} {_END}"
        )
    return f"{head}{_BEGIN}\n{as_markdown(entries)}\n{_END}{tail}"


if __name__ == "__main__":
    plan = plan_path()
    readme = plan.with_name("README.md")
    text = with_plan(readme.read_text(encoding="utf-8"), read_plan(plan))
    with replacing(readme) as part:
        part.write_text(text, encoding="utf-8")
