"""A figure of the library's packages and of the imports between them, read from the code."""

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import grimp
import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def imports_between_packages() -> dict[str, set[str]]:
    """Read from the import statements which package imports which.

    Imports under ``TYPE_CHECKING`` are left out.

    Returns:
        For each package or module directly in ``ccb_lib``, the others that it imports.

    Example:
        >>> "models" in imports_between_packages()["detectors"]
        True
    """
    graph = grimp.build_graph("ccb_lib", exclude_type_checking_imports=True)
    arrows: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        package = _package_of(module)
        if package is None:
            continue
        arrows[package] |= set()
        for imported in graph.find_modules_directly_imported_by(module):
            target = _package_of(imported)
            if target not in (None, package):
                arrows[package].add(target)
    return dict(arrows)


def import_levels(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Assign each package a level above the levels of all packages that it imports.

    Args:
        arrows: For each package those that it imports, from `imports_between_packages`.

    Returns:
        0 for packages that import no other; else one more than the highest level that is imported.

    Raises:
        ValueError: There is a cycle of imports.

    Example:
        >>> import_levels({"a": {"b"}, "b": set()})
        {'b': 0, 'a': 1}
    """
    placed: dict[str, int] = {}
    try:
        for package in TopologicalSorter(arrows).static_order():
            placed[package] = max((placed[needed] + 1 for needed in arrows[package]), default=0)
    except CycleError as error:
        raise ValueError(f"Cycle of imports: {error.args[1]}. Remove one.") from error
    return placed


def package_figure() -> Figure:
    """Draw the packages as boxes and their imports as arrows.

    Returns:
        The figure. Each box is above the boxes of the packages that it imports.

    Example:
        >>> len(package_figure().axes)
        1
    """
    arrows = imports_between_packages()
    level = import_levels(arrows)
    rows = [
        sorted(package for package in arrows if level[package] == n)
        for n in range(max(level.values()) + 1)
    ]
    place = {
        package: ((i + 1) / (len(row) + 1), n)
        for n, row in enumerate(rows)
        for i, package in enumerate(row)
    }
    figure = plt.figure(figsize=(8, 1.0 + 0.8 * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
    for package, needs in sorted(arrows.items()):
        for needed in sorted(needs):
            axes.annotate(
                "", place[needed], place[package],
                arrowprops={"arrowstyle": "->", "color": "0.65", "shrinkA": 14, "shrinkB": 14,
                            "lw": 0.8},
            )  # fmt: skip
    for package, (x, y) in place.items():
        axes.text(
            x, y, package, ha="center", va="center", color="black", fontsize=11,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "0.3"},
        )  # fmt: skip
    plt.close(figure)  # the cell shows the returned figure, once
    return figure


def _package_of(module: str) -> str | None:
    """Return the package in ``ccb_lib`` that holds a module; ``None`` for ``ccb_lib`` itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None
