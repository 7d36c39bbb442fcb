"""Print how large the library is, and fail where it is larger than it may be; run by ``make lint``."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ccb_lib"
CORE = ("models", "losses.py", "metrics", "training", "detectors")
LONGEST_FILE = 300


def lines(*parts: Path) -> int:
    """Count the lines of Python files at and below these paths."""
    files = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*.py"))]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> int:
    """Print each figure beside its limit; return 1 where one is exceeded."""
    sys.path.insert(0, str(PACKAGE.parent))
    import ccb_lib

    longest = max(PACKAGE.rglob("*.py"), key=lines)
    figures = {
        "lines in ccb_lib": (lines(PACKAGE), 13_000),
        f"lines in {', '.join(CORE)}": (lines(*(PACKAGE / part for part in CORE)), 3_500),
        "public names of ccb_lib": (len(ccb_lib.__all__), 25),
        f"lines of the longest file, {longest.relative_to(PACKAGE)}": (lines(longest), LONGEST_FILE),
    }
    for what, (found, limit) in figures.items():
        print(f"{found:>7,} of {limit:,} {what}{'  TOO MANY' if found > limit else ''}")
    return int(any(found > limit for found, limit in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
