"""A picture of the library's packages and of the imports among them, made from the code."""

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def imports_between_packages() -> dict[str, set[str]]:
    """Read which package imports which, from the import statements themselves.

    Imports for type checkers alone are left out.

    Returns:
        For each package or module directly below ``ccb_lib``, those that it imports.

    Raises:
        ImportError: grimp is not installed; it comes with the extra ``book``.

    Examples:
        >>> "models" in imports_between_packages()["detectors"]
        True
    """
    import grimp

    graph = grimp.build_graph("ccb_lib", exclude_type_checking_imports=True)
    arrows: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        room = _room(module)
        if room is None:
            continue
        arrows[room] |= set()
        for imported in graph.find_modules_directly_imported_by(module):
            target = _room(imported)
            if target not in (None, room):
                arrows[room].add(target)
    return dict(arrows)


def floors(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Number the packages so that each stands above all that it imports.

    Args:
        arrows: From `imports_between_packages`.

    Returns:
        0 for packages that import no other, else one more than the highest of those imported.

    Raises:
        ValueError: Packages import each other in a circle.

    Examples:
        >>> floors({"a": {"b"}, "b": set()})
        {'b': 0, 'a': 1}
    """
    placed: dict[str, int] = {}
    while len(placed) < len(arrows):
        ready = [
            room for room, needs in arrows.items() if room not in placed and needs <= placed.keys()
        ]
        if not ready:
            raise ValueError(f"A circle of imports among {sorted(arrows.keys() - placed.keys())}.")
        placed |= {room: max((placed[n] + 1 for n in arrows[room]), default=0) for room in ready}
    return placed


def rooms_figure() -> "Figure":
    """Draw the packages as boxes, each above all that it imports, and their imports as arrows.

    Returns:
        A figure; higher boxes import lower ones.
    """
    from matplotlib.figure import Figure

    arrows = imports_between_packages()
    level = floors(arrows)
    rows = [
        sorted(room for room in arrows if level[room] == n) for n in range(max(level.values()) + 1)
    ]
    place = {
        room: ((i + 1) / (len(row) + 1), n)
        for n, row in enumerate(rows)
        for i, room in enumerate(row)
    }
    figure = Figure(figsize=(8, 1.0 + 0.8 * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
    for room, needs in arrows.items():
        for needed in needs:
            axes.annotate(
                "", place[needed], place[room],
                arrowprops={"arrowstyle": "->", "color": "0.65", "shrinkA": 14, "shrinkB": 14, "lw": 0.8},
            )  # fmt: skip
    for room, (x, y) in place.items():
        axes.text(
            x, y, room, ha="center", va="center", color="black", fontsize=11,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "0.3"},
        )  # fmt: skip
    return figure


def _room(module: str) -> str | None:
    """Return the package below ``ccb_lib`` that a module is in; ``None`` for ``ccb_lib`` itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None
