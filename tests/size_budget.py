"""Print how large the library is, and fail where it is larger than it may be; run by ``make lint``.

Statements are counted, not lines: the budget argues neither against docstrings nor for long lines.
The length of a file is counted in lines, because that is what a reader scrolls through.
"""

import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ccb_lib"
CORE = ("models", "losses.py", "metrics", "training", "detectors")
LIMIT, CORE_LIMIT, LONGEST_FILE, PUBLIC_NAMES = 11_500, 3_000, 300, 25


def files_of(*parts: Path) -> list[Path]:
    """List the Python files at and below these paths."""
    return [file for part in parts for file in ([part] if part.is_file() else part.rglob("*.py"))]


def statements(path: Path) -> int:
    """Count the logical lines of a file; one that spans several lines counts once."""
    with path.open("rb") as file:
        return sum(token.type == tokenize.NEWLINE for token in tokenize.tokenize(file.readline))


def lines(path: Path) -> int:
    """Count all lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def main() -> int:
    """Print each figure beside its limit; return 1 where one is exceeded."""
    sys.path.insert(0, str(PACKAGE.parent))
    import ccb_lib

    longest = max(files_of(PACKAGE), key=lines)
    core = files_of(*(PACKAGE / part for part in CORE))
    figures = {
        "statements in ccb_lib": (sum(map(statements, files_of(PACKAGE))), LIMIT),
        f"statements in {', '.join(CORE)}": (sum(map(statements, core)), CORE_LIMIT),
        "public names of ccb_lib": (len(ccb_lib.__all__), PUBLIC_NAMES),
        f"lines of the longest file, {longest.relative_to(PACKAGE)}": (
            lines(longest),
            LONGEST_FILE,
        ),
    }
    for what, (found, limit) in figures.items():
        print(f"{found:>7,} of {limit:,} {what}{'  TOO MANY' if found > limit else ''}")
    return int(any(found > limit for found, limit in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
