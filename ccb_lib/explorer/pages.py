"""The threshold explorer as self-contained HTML that needs no kernel and no network.

`ccb_lib.explorer.widget.ThresholdExplorer` shows the same figures as a widget in a notebook.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from ccb_lib.explorer.render import Key, render
from ccb_lib.explorer.steps import Steps, checked_thresholds

TITLE = "Move the threshold"


def explorer_html(
    scores: ArrayLike,
    labels: ArrayLike,
    thresholds: Mapping[str, float] | None = None,
    *,
    prevalence: float | None = None,
    title: str = TITLE,
    unit: str = "images",
    start: float | None = None,
    stops: int = 400,
) -> str:
    """Write the explorer of one labelled set as HTML with inline style and script.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal; one kind alone is accepted.
        thresholds: Named thresholds; each gets a button. At inf no image is called abnormal, at
            -inf every image.
        prevalence: Initial share of abnormal images to which precision, NPV, accuracy and F1 are
            weighted; ``None`` is the share in the set.
        title: Heading, and the label for screen readers.
        unit: What is counted, in the plural, such as "patches".
        start: Initial threshold; by default the first named one, or one in the middle.
        stops: Maximum number of slider positions if the set has more distinct scores; the size of
            the page depends on it, not on N.

    Returns:
        HTML that can be put into any page, also several times; names are escaped.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, a threshold that is not a
            number, a prevalence outside 0…1, a title or unit that is not text, or too few stops.
    """
    sets = {(): Steps.of(scores, labels, thresholds, start=start, stops=stops)}
    return render(sets, (), (), prevalence=prevalence, title=title, unit=unit)


def table_html(
    table: Mapping[Any, Sequence[Any]],
    *,
    axes: Sequence[str] = ("Method", "Class"),
    choice: Any = None,
    prevalence: float | None = None,
    title: str = TITLE,
    unit: str = "images",
    stops: int = 120,
) -> str:
    """Write an explorer with a choice among the labelled sets of a table as HTML.

    Args:
        table: By key, (scores, labels) or (scores, labels, thresholds). A key has one value for
            each axis; with one axis it may be that value itself. An axis whose values are all
            floats becomes a slider, any other a list. The controls offer only keys of the table.
        axes: Names of the parts of a key.
        choice: Initial key; by default the first.
        prevalence: As for `explorer_html`.
        title: As for `explorer_html`.
        unit: As for `explorer_html`.
        stops: As for `explorer_html`; the default is lower because each set stores its own.

    Raises:
        ValueError: An empty table, keys that do not fit the axes, or as `explorer_html`; the
            message names the key.
    """
    sets = steps_of_parts(parts_of_table(table, axes), stops)
    return render(
        sets, axes, choose(sets, axes, choice), prevalence=prevalence, title=title, unit=unit
    )


# ── tables ────────────────────────────────────────────────────────────────────────────────────────


def parts_of_table(
    table: Mapping[Any, Sequence[Any]], axes: Sequence[str]
) -> dict[Key, tuple[ArrayLike, ArrayLike, dict[str, float]]]:
    """Return scores, labels and thresholds by key.

    Keys become tuples, names of thresholds text, and thresholds floats.

    Raises:
        ValueError: An empty table, or an entry that does not fit.
    """
    if not isinstance(table, Mapping):
        raise ValueError(
            f"A table of type {type(table).__name__} given; a dict of (scores, labels) by key is "
            "needed."
        )
    if not isinstance(axes, Sequence) or isinstance(axes, str):
        raise ValueError(
            f"axes={axes!r} given; the names of the parts of a key are needed, such as ('Method',)."
        )
    parts = {}
    for key, entry in table.items():
        key = key if isinstance(key, tuple) else (key,)
        if len(key) != len(axes):
            raise ValueError(
                f"Key {key} has {len(key)} parts; one for each of axes={tuple(axes)} is needed."
            )
        if not isinstance(entry, Sequence) or len(entry) not in (2, 3):
            given = f"{len(entry)} parts" if isinstance(entry, Sequence) else type(entry).__name__
            raise ValueError(
                f"{key}: {given} given; (scores, labels) or (scores, labels, thresholds) needed."
            )
        parts[key] = (entry[0], entry[1], checked_thresholds(entry[2] if len(entry) == 3 else {}))
    if not parts:
        raise ValueError("The table is empty; give at least one (scores, labels).")
    return parts


def steps_of_parts(
    parts: Mapping[Key, tuple[ArrayLike, ArrayLike, dict[str, float]]], stops: int
) -> dict[Key, Steps]:
    """Compute the counts of every set of `parts_of_table`; errors name the key."""
    steps = {}
    for key, (scores, labels, thresholds) in parts.items():
        try:
            steps[key] = Steps.of(scores, labels, thresholds, stops=stops)
        except ValueError as error:
            raise ValueError(f"{key}: {error}" if key else str(error)) from error
    return steps


def choose(sets: Mapping[Key, Any], axes: Sequence[str], choice: Any) -> Key:
    """Return a choice as a key of the table; the first key for ``None``.

    Raises:
        ValueError: No such key.
    """
    if choice is None:
        return next(iter(sets))
    key = choice if isinstance(choice, tuple) else (choice,)
    if key not in list(sets):  # compared with each, since a choice may not be hashable
        raise ValueError(
            f"choice={choice!r} is not in the table; choose {', '.join(axes)} from {list(sets)}."
        )
    return key
