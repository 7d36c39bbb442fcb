"""The HTML of the explorer, shared by `explorer_html` and the widget."""

import json
import math
from collections.abc import Mapping, Sequence
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
        "axes": [{"values": [str(value) for value in of_axis]} for of_axis in values],
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
    choosers = [_chooser(axis, name, values[axis], choice[axis]) for axis, name in enumerate(axes)]
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


def figures_not_run(choice: Key) -> dict[str, str]:
    """Format the figures of a key that was not run, with the keys of `figures_at`."""
    names = ("tp", "fp", "tn", "fn", *CONFUSION_METRICS, "prevalence")
    summary = f"Not run: no scores for {', '.join(map(str, choice))}."
    return dict.fromkeys(names, "–") | {
        "summary": summary,
        "x": "0%",
        "roc_x": "0",
        "roc_y": str(ROC_SIZE),
    }


def plot_html(steps: Steps | None, figures: Mapping[str, str], *, slider: bool = False) -> str:
    """Write the histogram with the threshold; empty for a key that was not run."""
    normal_bars, abnormal_bars = _bars(steps) if steps else ("", "")
    ticks = steps.ticks if steps else []
    return _template("plot.html").substitute(
        normal=f"{steps.normal:,}" if steps else "–",
        abnormal=f"{steps.abnormal:,}" if steps else "–",
        x=figures["x"],
        bars=BARS,
        normal_bars=normal_bars,
        abnormal_bars=abnormal_bars,
        slider=_text("slider.html") if slider else "",
        ticks="".join(
            f'<span style="left:{100 * at:.2f}%">{escape(text)}</span>' for at, text in ticks
        ),
        beyond=escape(steps.beyond if steps else ""),
    )


def panels_html(steps: Steps | None, figures: Mapping[str, str]) -> str:
    """Write the summary, the confusion matrix, the rates and the ROC curve."""
    texts = {name: escape(text) for name, text in figures.items()}
    return _template("panels.html").substitute(
        texts, roc=_roc(steps) if steps else "", auc=shown(steps.auc) if steps else "–"
    )


def style() -> str:
    """Return the style sheet of the page and the widget."""
    return _text("style.css")


def _cell(steps: Steps) -> dict[str, Any]:
    return {
        "t": steps.thresholds.tolist(),
        "tp": _decrements(steps.tp.tolist()),
        "fp": _decrements(steps.fp.tolist()),
        "named": list(steps.named.items()),
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
    right = "No alarms."
    if not math.isnan(metrics.precision):
        of_100 = math.floor(100 * metrics.precision + 0.5)
        right = f"At a prevalence of {share}, {of_100} of 100 alarms are right."
    return f"{', '.join(parts)}. {right}"


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


def _chooser(axis: int, name: str, values: Sequence[Any], chosen: Any) -> str:
    at, label = values.index(chosen), escape(str(name))
    if is_slider(values):
        return (
            f'<label class="ccb-field ccb-grow">{label} <input type="range" data-axis="{axis}" '
            f'min="0" max="{len(values) - 1}" step="1" value="{at}"> '
            f"<output>{escape(str(chosen))}</output></label>"
        )
    options = "".join(
        f'<option value="{i}"{" selected" if i == at else ""}>{escape(str(value))}</option>'
        for i, value in enumerate(values)
    )
    return f'<label class="ccb-field">{label} <select data-axis="{axis}">{options}</select></label>'


def _text(name: str) -> str:
    return (files("ccb_lib.explorer") / name).read_text(encoding="utf-8").strip()


def _template(name: str) -> Template:
    return Template(_text(name))


def axis_values(sets: Mapping[Key, Any], axis: int) -> list[Any]:
    """Return the values of one axis: floats ascending, others in order of first appearance."""
    values = list(dict.fromkeys(key[axis] for key in sets))
    return sorted(values) if all(isinstance(value, float) for value in values) else values


def is_slider(values: Sequence[Any]) -> bool:
    """Return whether an axis is a slider instead of a list: all its values are floats."""
    return all(isinstance(value, float) for value in values)
