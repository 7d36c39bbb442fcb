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

Key = tuple[Any, ...]


def render(
    sets: Mapping[Key, Steps],
    axes: Sequence[str],
    choice: Key,
    *,
    prevalence: float | None,
    title: str,
) -> str:
    """Write an explorer as HTML; the initial state is readable without the script too.

    Args:
        sets: The counts of each set by key; a key has a value for each axis.
        axes: Names of the parts of a key; none for a single set, whose key is ``()``.
        choice: Initial key.
        prevalence: Initial share of abnormal images to weight to; ``None`` is the share in the set.
        title: Heading.

    Raises:
        ValueError: A prevalence outside 0…1.
    """
    prevalence = checked_prevalence(prevalence)
    steps = sets[choice]
    values = [axis_values(sets, axis) for axis in range(len(axes))]
    data = {
        "axes": [{"values": [name_of(value) for value in of_axis]} for of_axis in values],
        "choice": _numbers(values, choice),
        "prevalence": prevalence,
        "prevalences": PREVALENCES,
        "cells": {
            ",".join(map(str, _numbers(values, key))): _cell(of_key) for key, of_key in sets.items()
        },
    }
    at, tp, fp = steps.start, int(steps.tp[steps.start]), int(steps.fp[steps.start])
    metrics = Metrics.from_counts(
        steps.thresholds[at], tp, fp, steps.normal - fp, steps.abnormal - tp, prevalence
    )
    figures = figures_at(steps, metrics)
    title = checked_title(title)
    choosers = [_chooser(axis, name, values[axis]) for axis, name in enumerate(axes)]
    page = _template("page.html").substitute(
        title=escape(title),
        css=style(),
        script=_text("script.js"),
        choices="".join(choosers),
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


def checked_title(title: Any) -> str:
    """Return a title; raise ValueError if it is not text."""
    if not isinstance(title, str):
        raise ValueError(f"title={title!r} given; text is needed, such as 'Move the threshold'.")
    return as_text(title)


def figures_at(steps: Steps, metrics: Metrics) -> dict[str, str]:
    """Format every figure of one state: counts, rates, positions in the plots, the summary."""
    share = percent(steps.tested if metrics.prevalence is None else metrics.prevalence)
    low, high = steps.axis
    return {
        **{name: f"{getattr(metrics, name):,}" for name in ("tp", "fp", "tn", "fn")},
        **{name: shown(getattr(metrics, name)) for name in CONFUSION_METRICS},
        "prevalence": share + (", as tested" if metrics.prevalence is None else ""),
        "summary": _summary(steps, metrics, share),
        "x": f"{100 * min(1.0, max(0.0, (metrics.threshold - low) / (high - low))):.2f}%",
        "roc_x": f"{ROC_SIZE * metrics.fp / max(1, steps.normal):.2f}",
        "roc_y": f"{ROC_SIZE - ROC_SIZE * metrics.tp / max(1, steps.abnormal):.2f}",
    }


def plot_html(steps: Steps, figures: Mapping[str, str], *, slider: bool = False) -> str:
    """Write the histogram with the threshold."""
    normal_bars, abnormal_bars = _bars(steps)
    return _template("plot.html").substitute(
        normal=f"{steps.normal:,}",
        abnormal=f"{steps.abnormal:,}",
        x=figures["x"],
        bars=BARS,
        normal_bars=normal_bars,
        abnormal_bars=abnormal_bars,
        slider=_text("slider.html") if slider else "",
        ticks="".join(
            f'<span style="left:{100 * at:.2f}%">{escape(text)}</span>' for at, text in steps.ticks
        ),
        beyond=escape(steps.beyond),
    )


def panels_html(steps: Steps, figures: Mapping[str, str]) -> str:
    """Write the summary, the confusion matrix, the rates and the ROC curve."""
    texts = {name: escape(text) for name, text in figures.items()}
    return _template("panels.html").substitute(texts, roc=_roc(steps), auc=shown(steps.auc))


def style() -> str:
    """Return the style sheet of the page and the widget."""
    return _text("style.css")


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
    }


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


def _summary(steps: Steps, metrics: Metrics, share: str) -> str:
    found = f"{metrics.tp:,} of {steps.abnormal:,} abnormal images found"
    alarms = f"{metrics.fp:,} of {steps.normal:,} normal images called abnormal"
    parts = [text for text, count in ((found, steps.abnormal), (alarms, steps.normal)) if count]
    if len(parts) < 2:
        return f"{parts[0]}."
    abnormal = steps.tested if metrics.prevalence is None else metrics.prevalence
    return f"{', '.join(parts)}. {_per_images(metrics, abnormal, share)}"


def _per_images(metrics: Metrics, abnormal: float, share: str) -> str:
    """Say what happens to a round number of images that holds some of either kind."""
    images = 100
    while images < 10**15 and images * min(abnormal, 1 - abnormal) < 10:
        images *= 10
    recall = metrics.tp / (metrics.tp + metrics.fn)
    false_alarms = metrics.fp / (metrics.fp + metrics.tn)
    found, missed, wrong = (
        "fewer than 1" if 0 < count < 0.5 else f"{math.floor(count + 0.5):,}"
        for count in (
            images * abnormal * recall,
            images * abnormal * (1 - recall),
            images * (1 - abnormal) * false_alarms,
        )
    )
    return (
        f"Of {images:,} images examined at a prevalence of {share}: abnormal found {found}, "
        f"missed {missed}, false alarms {wrong}."
    )


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


def _text(name: str) -> str:
    return (files("ccb_lib.explorer") / name).read_text(encoding="utf-8").strip()


def _template(name: str) -> Template:
    return Template(_text(name))


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
    axis = len(before)
    found = {key[axis] for key in sets if key[:axis] == before}
    return [value for value in axis_values(sets, axis) if value in found]


def is_slider(values: Sequence[Any]) -> bool:
    """Return whether an axis is a slider instead of a list: all its values are floats."""
    return all(isinstance(value, float) for value in values)
