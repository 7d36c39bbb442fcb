"""The HTML of the explorer, shared by `explorer_html` and the widget."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from html import escape
from importlib.resources import files
from itertools import pairwise
from string import Template
from typing import Any

from ccb_lib.explorer.steps import BARS, ROC_SIZE, Steps
from ccb_lib.metrics import CONFUSION_METRICS, Metrics, checked_prevalence, shown

PREVALENCES = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15),
    *(0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
)

# What the rules of `ccb_lib.metrics.RULES` mean, shown for the one that is selected.
RULE_NOTES = {
    "normal 95 %": "φ: at most 5\u00a0% of the calibration {unit} lie above",
    "conformal 5 %": "φ: on average, at most 5\u00a0% of new, similar normal {unit} lie above",
    "min-max 0.2": "φ: the scores of this test set scaled to 0…1, cut at 0.2",
    "oracle F1": "φ: the highest F1 on these test labels",
    "oracle accuracy": "φ: the highest accuracy on these test labels",
    "oracle Youden": "φ: the highest sensitivity + specificity − 1 on these test labels",
}

ONE_POINT = "(sensitivity + specificity) / 2 at the only operating point"

Key = tuple[Any, ...]


def render(
    sets: Mapping[Key, Steps],
    axes: Sequence[str],
    choice: Key,
    *,
    prevalence: float | None,
    title: str,
    unit: str,
) -> str:
    """Write an explorer as HTML; the initial state is readable without the script too.

    Args:
        sets: The counts of each set by key; a key has a value for each axis.
        axes: Names of the parts of a key; none for a single set, whose key is ``()``.
        choice: Initial key.
        prevalence: Initial share of abnormal images to weight to; ``None`` is the share in the set.
        title: Heading.
        unit: What is counted, in the plural.

    Raises:
        ValueError: A prevalence outside 0…1, or a title or unit that is not text.
    """
    prevalence, unit = checked_prevalence(prevalence), checked_text("unit", unit)
    steps = sets[choice]
    values = [axis_values(sets, axis) for axis in range(len(axes))]
    data = {
        "axes": [{"values": [name_of(value) for value in of_axis]} for of_axis in values],
        "choice": _numbers(values, choice),
        "prevalence": prevalence,
        "prevalences": PREVALENCES,
        "unit": unit,
        "rules": {rule: note.format(unit=unit) for rule, note in RULE_NOTES.items()},
        "cells": {
            ",".join(map(str, _numbers(values, key))): _cell(of_key) for key, of_key in sets.items()
        },
    }
    at, tp, fp = steps.start, int(steps.tp[steps.start]), int(steps.fp[steps.start])
    metrics = Metrics.from_counts(
        steps.thresholds[at], tp, fp, steps.normal - fp, steps.abnormal - tp, prevalence
    )
    figures = figures_at(
        steps, metrics, unit, next((name for name, stop in steps.named.items() if stop == at), "")
    )
    page = Template(file_text("page.html")).substitute(
        title=escape(checked_text("title", title)),
        css=file_text("style.css"),
        script=file_text("script.js"),
        choices="".join(_chooser(axis, name, values[axis]) for axis, name in enumerate(axes)),
        plot=plot_html(steps, figures, slider=True),
        panels=panels_html(steps, figures),
        # HTML ends a script element at "</script" even inside a JSON string, so every "<" is
        # escaped.
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )
    return as_text(page)


def as_text(value: Any) -> str:
    """Convert to text that UTF-8 can encode; lone surrogates, as in broken file names, become �."""
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def name_of(value: Any) -> str:
    """Convert to the text of a button, a menu or a choice; one without text gets one."""
    text = as_text(value)
    return text if text.strip() else "(no name)"


def checked_text(name: str, value: Any) -> str:
    """Return the text of an argument; raise ValueError if it is not text."""
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} given; text is needed.")
    return as_text(value)


def figures_at(steps: Steps, metrics: Metrics, unit: str, rule: str) -> dict[str, str]:
    """Format every figure of one state: counts, rates, positions in the plots, the sentences."""
    share = percent(steps.tested if metrics.prevalence is None else metrics.prevalence)
    low, high = steps.axis
    return {
        **{name: f"{getattr(metrics, name):,}" for name in ("tp", "fp", "tn", "fn")},
        **{name: shown(getattr(metrics, name)) for name in CONFUSION_METRICS},
        "prevalence": share + (", as tested" if metrics.prevalence is None else ""),
        "unit": unit,
        "unit_first": unit[:1].upper() + unit[1:],
        "rule": RULE_NOTES.get(rule, "").format(unit=unit),
        "summary": _summary(steps, metrics, share, unit),
        "x": f"{100 * min(1.0, max(0.0, (metrics.threshold - low) / (high - low))):.2f}%",
        "roc_x": f"{ROC_SIZE * metrics.fp / max(1, steps.normal):.2f}",
        "roc_y": f"{ROC_SIZE - ROC_SIZE * metrics.tp / max(1, steps.abnormal):.2f}",
    }


def plot_html(steps: Steps, figures: Mapping[str, str], *, slider: bool = False) -> str:
    """Write the histogram with the threshold."""
    normal_bars, abnormal_bars = _bars(steps)
    return Template(file_text("plot.html")).substitute(
        normal=f"{steps.normal:,}",
        abnormal=f"{steps.abnormal:,}",
        unit=escape(figures["unit"]),
        x=figures["x"],
        bars=BARS,
        normal_bars=normal_bars,
        abnormal_bars=abnormal_bars,
        slider=file_text("slider.html") if slider else "",
        ticks="".join(
            f'<span style="left:{100 * at:.2f}%">{escape(text)}</span>' for at, text in steps.ticks
        ),
        beyond=escape(steps.beyond),
    )


def panels_html(steps: Steps, figures: Mapping[str, str]) -> str:
    """Write the summary, the confusion matrix, the rates and the ROC curve."""
    area, note = _area(steps)
    return Template(file_text("panels.html")).substitute(
        {name: escape(text) for name, text in figures.items()},
        roc=_roc(steps),
        auc=shown(steps.auc),
        area=area,
        area_note=note,
    )


def _cell(steps: Steps) -> dict[str, Any]:
    return {
        "t": steps.thresholds.tolist(),
        "tp": _decrements(steps.tp.tolist()),
        "fp": _decrements(steps.fp.tolist()),
        "cuts": steps.cuts.tolist(),
        "named": [(name_of(name), stop) for name, stop in steps.named.items()],
        "start": steps.start,
        "axis": steps.axis,
        "ticks": steps.ticks,
        "beyond": steps.beyond,
        "bars": _bars(steps),
        "roc": _roc(steps),
        "auc": shown(steps.auc),
        "area": _area(steps),
    }


def _area(steps: Steps) -> tuple[str, str]:
    """Return what the area under the ROC curve is called, and a note on it.

    With two distinct scores the curve has one point between its ends. The area under it says no
    more than that point, and must not be taken for the AUC of a score.
    """
    return ("balanced accuracy", ONE_POINT) if len(steps.cuts) == 2 else ("AUC", "")


def _decrements(counts: list[int]) -> list[int]:
    """Store descending counts as the first count and the decrements, which have fewer digits."""
    return counts[:1] + [before - after for before, after in pairwise(counts)]


def _bars(steps: Steps) -> tuple[str, str]:
    """Draw both histograms as SVG outlines: normal upwards, abnormal downwards, on one scale."""
    shares = steps.bars / [[max(1, steps.normal)], [max(1, steps.abnormal)]]
    heights = 98 * shares / shares.max()
    heights[steps.bars > 0] = heights[steps.bars > 0].clip(min=2)  # a single image stays visible
    outlines = []
    for base, direction, row in ((99, -1, heights[0]), (101, 1, heights[1])):
        outline = "".join(
            f"V{base + direction * round(height)}H{i + 1}" for i, height in enumerate(row.tolist())
        )
        outlines.append(f"M0 {base}{outline}V{base}Z")
    return outlines[0], outlines[1]


def _roc(steps: Steps) -> str:
    return "".join(
        f"{'L' if i else 'M'}{x} {ROC_SIZE - y}" for i, (x, y) in enumerate(steps.roc.tolist())
    )


def _summary(steps: Steps, metrics: Metrics, share: str, unit: str) -> str:
    found = f"{metrics.tp:,} of {steps.abnormal:,} abnormal {unit} found"
    alarms = f"{metrics.fp:,} of {steps.normal:,} normal {unit} called abnormal"
    if not (steps.abnormal and steps.normal):
        return f"{found if steps.abnormal else alarms}."
    prevalence = steps.tested if metrics.prevalence is None else metrics.prevalence
    images = 100  # or another round number, which holds some of either kind
    while images < 10**15 and images * min(prevalence, 1 - prevalence) < 10:
        images *= 10
    # Both kinds are rounded first and then divided, so that the four counts add up.
    abnormal = math.floor(images * prevalence + 0.5)
    right = math.floor(abnormal * (metrics.tp / steps.abnormal) + 0.5)
    wrong = math.floor((images - abnormal) * (metrics.fp / steps.normal) + 0.5)
    said = ", ".join(
        f"{name} {'fewer than 1' if occurred and not count else f'{count:,}'}"
        for name, count, occurred in (
            ("abnormal found", right, metrics.tp),
            ("missed", abnormal - right, metrics.fn),
            ("false alarms", wrong, metrics.fp),
            ("correctly called normal", images - abnormal - wrong, metrics.tn),
        )
    )
    return f"{found}, {alarms}. Of {images:,} {unit} examined at a prevalence of {share}: {said}."


def percent(share: float) -> str:
    """Format a share in percent with three significant digits, as the script does."""
    percent = Decimal(100 * share)
    rounded = (
        percent.quantize(Decimal(1).scaleb(percent.adjusted() - 2), ROUND_HALF_UP)
        if percent
        else percent
    )
    return f"{rounded.normalize():f}\u00a0%"


def _numbers(values: Sequence[Sequence[Any]], key: Key) -> list[int]:
    return [of_axis.index(value) for of_axis, value in zip(values, key, strict=True)]


def _chooser(axis: int, name: str, values: Sequence[Any]) -> str:
    """Write the control of an axis; the script fills it with the values that can be chosen."""
    label = escape(name_of(name))
    if is_slider(values):
        return (
            f'<label class="ccb-field ccb-grow">{label} <input type="range" data-axis="{axis}" '
            'min="0" step="1"> <output></output></label>'
        )
    return f'<label class="ccb-field">{label} <select data-axis="{axis}"></select></label>'


def file_text(name: str) -> str:
    """Return the text of a template, the script or the style sheet of this package."""
    return (files("ccb_lib.explorer") / name).read_text(encoding="utf-8").strip()


def axis_values(keys: Iterable[Key], axis: int) -> list[Any]:
    """Return the values of one axis: floats ascending, others in order of first appearance."""
    values = list(dict.fromkeys(key[axis] for key in keys))
    return sorted(values) if all(isinstance(value, float) for value in values) else values


def completed(sets: Mapping[Key, Any], choice: Key, changed: int) -> Key:
    """Return the key of a set that has the values of ``choice`` up to axis ``changed``.

    The later values are kept where a set has them, else replaced by the first that can be chosen.
    """
    for axis in range(changed + 1, len(choice)):
        values = available(sets, choice[:axis])
        if choice[axis] not in values:
            choice = (*choice[:axis], values[0], *choice[axis + 1 :])
    return choice


def available(sets: Mapping[Key, Any], before: Key) -> list[Any]:
    """Return the values of an axis for which there are sets, given those of the axes before it."""
    found = {key[len(before)] for key in sets if key[: len(before)] == before}
    return [value for value in axis_values(sets, len(before)) if value in found]


def is_slider(values: Sequence[Any]) -> bool:
    """Return whether an axis is a slider instead of a list: all its values are floats."""
    return all(isinstance(value, float) for value in values)
