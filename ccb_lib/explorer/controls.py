"""The parts of the live explorer: ipywidgets that show its state and set it."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ccb_lib.explorer.render import (
    PREVALENCES,
    Key,
    available,
    completed,
    file_text,
    is_slider,
    name_of,
    percent,
)
from ccb_lib.explorer.steps import Steps

try:
    import ipywidgets
    import traitlets  # a requirement of ipywidgets
except ImportError as error:
    raise ImportError(
        "ThresholdExplorer needs ipywidgets: pip install ipywidgets. Without it, "
        "ccb_lib.explorer.explorer_html() writes the same explorer as a page."
    ) from error

_STYLE = {"description_width": "initial"}
_WIDE = {"layout": {"width": "auto", "flex": "1 1 16rem"}, "style": _STYLE}


class ExplorerControls(ipywidgets.VBox):
    """The parts of `ccb_lib.explorer.widget.ThresholdExplorer`, which computes what they show.

    A control sets a trait when the user changes it. While ``_updating`` is true, controls are being
    set from the traits and must not set them in turn.
    """

    threshold = traitlets.Float()
    prevalence = traitlets.Float(None, allow_none=True)
    choice = traitlets.Tuple()

    _steps: dict[Key, Steps]
    _updating: bool

    def _make_controls(
        self, axes: Sequence[str], values: Sequence[Sequence[Any]], title: str
    ) -> None:
        """Build all parts; ``axes`` and ``values`` are the names and the values of the axes."""
        self._head = ipywidgets.HTML(
            f'<style>{file_text("style.css")}</style><p class="ccb-title">{escape(title)}</p>'
        )
        self._plot, self._panels = ipywidgets.HTML(), ipywidgets.HTML()
        self._choosers = _row(
            [self._make_chooser(i, name, values[i]) for i, name in enumerate(axes)]
        )
        self._slider = ipywidgets.IntSlider(description="Threshold", readout=False, style=_STYLE)
        self._slider.layout.width = "auto"
        self._bind(self._slider, "threshold", self._phi)
        self._number = ipywidgets.FloatText(
            description="Threshold", style=_STYLE, layout={"width": "13rem"}
        )
        self._bind(self._number, "threshold", float)
        self._named = ipywidgets.HBox()
        self._threshold_row = _row([self._number, self._named])
        self._share = ipywidgets.SelectionSlider(
            options=["–"], description="Prevalence", readout=False, **_WIDE
        )
        self._bind(
            self._share,
            "prevalence",
            lambda share: None if share == self._steps[self.choice].tested else share,
        )
        self._percent = ipywidgets.BoundedFloatText(
            description="in percent", min=0.001, max=99.999, style=_STYLE, layout={"width": "11rem"}
        )
        self._bind(self._percent, "prevalence", lambda percent: percent / 100)
        self._as_tested = ipywidgets.Button(description="as in this test set")
        self._as_tested.on_click(lambda _: self.set_trait("prevalence", None))
        self._prevalence_row = _row([self._share, self._percent, self._as_tested])

    def _make_chooser(self, axis: int, name: str, values: Sequence[Any]) -> ipywidgets.Widget:
        given = {"options": _named(values), "description": name_of(name)}
        chooser = (
            ipywidgets.SelectionSlider(**given, **_WIDE)
            if is_slider(values)
            else ipywidgets.Dropdown(**given, style=_STYLE)
        )
        self._bind(
            chooser,
            "choice",
            lambda value: completed(
                self._steps, (*self.choice[:axis], value, *self.choice[axis + 1 :]), axis
            ),
        )
        return chooser

    def _fit_choosers(self) -> None:
        """Offer on each axis the values for which there are sets, and select the current one."""
        for axis, chooser in enumerate(self._choosers.children):
            chooser.options = _named(available(self._steps, self.choice[:axis]))
            chooser.value = self.choice[axis]

    def _make_button(self, name: str, phi: float) -> ipywidgets.Button:
        button = ipywidgets.Button(
            description=name_of(name), layout={"width": "auto"}, tooltip=f"φ = {phi:.4g}"
        )
        button.on_click(lambda _: self._go(phi, name))
        return button

    def _bind(self, control: ipywidgets.Widget, trait: str, meaning: Callable[[Any], Any]) -> None:
        """Set a trait to ``meaning(value)`` whenever a control's value changes."""

        def set_trait(change: dict[str, Any]) -> None:
            if not self._updating:
                self.set_trait(trait, meaning(change["new"]))

        control.observe(set_trait, "value")

    def _fit_controls(self, steps: Steps, named: Mapping[str, float]) -> None:
        """Fit the controls to a set: its stops, its named thresholds, its own prevalence."""
        self._slider.max = len(steps.thresholds) - 1
        self._named.children = [self._make_button(name, phi) for name, phi in named.items()]
        self._share.options = [
            (percent(share), share) for share in sorted({*PREVALENCES, steps.tested})
        ]
        for control in (self._share, self._percent, self._as_tested):
            control.disabled = not (steps.normal and steps.abnormal)

    def _sync_controls(self, steps: Steps, named: Mapping[str, float]) -> None:
        """Set the controls to the current threshold and prevalence."""
        self._slider.value = steps.nearest(self.threshold)
        # A widget's message is JSON, which has no infinity; the outermost stop has the same
        # predictions.
        self._number.value = (
            self.threshold
            if math.isfinite(self.threshold)
            else float(steps.thresholds[self._slider.value])
        )
        for button, phi in zip(self._named.children, named.values(), strict=True):
            _highlight(button, phi == self.threshold)
        share = steps.tested if self.prevalence is None else self.prevalence
        shares = [value for _, value in self._share.options]
        self._share.value = next((value for value in shares if value >= share), shares[-1])
        self._percent.value = float(percent(share).rstrip("\u00a0%"))
        _highlight(self._as_tested, self.prevalence is None)


def _named(values: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(name_of(value), value) for value in values]


def _highlight(button: ipywidgets.Button, on: bool) -> None:
    (button.add_class if on else button.remove_class)("ccb-on")


def _row(controls: Sequence[ipywidgets.Widget]) -> ipywidgets.HBox:
    row = ipywidgets.HBox(list(controls), layout={"flex_flow": "row wrap", "align_items": "center"})
    row.add_class("ccb-row")
    return row
