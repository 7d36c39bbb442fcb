"""The threshold explorer, live in a notebook; where no kernel runs, its page shows the same figures without one."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Self

import traitlets
from numpy.typing import ArrayLike

from ccb_lib.explorer.pages import TITLE, choose, parts_of_table, steps_of_table
from ccb_lib.explorer.render import (
    PREVALENCES,
    as_text,
    axis_values,
    checked_title,
    figures_at,
    figures_of_nothing,
    is_slider,
    panels_html,
    percent,
    plot_html,
    render,
    style,
)
from ccb_lib.explorer.steps import Steps
from ccb_lib.metrics import (
    Metrics,
    alarms,
    checked_pair,
    checked_prevalence,
    checked_threshold,
    rising,
)

try:
    import ipywidgets
except ImportError as error:
    raise ImportError(
        'ThresholdExplorer needs ipywidgets: pip install "ccb-lib[widgets]". Without it, '
        "ccb_lib.explorer.explorer_html() writes the same explorer as a page."
    ) from error


class ThresholdExplorer(ipywidgets.VBox):
    """A threshold to move, with all that follows from it: one object, two faces.

    In a notebook with a kernel it is a widget whose figures are counted from the scores. Where
    there is no kernel (a built page, a viewer of notebooks) the same figures come from counts
    stored at some hundreds of stops, shown by a script that needs nothing from the network.

    >>> scores, labels = [0.1, 0.2, 0.3, 0.4], [False, False, True, True]
    >>> explorer = ThresholdExplorer(scores, labels, thresholds={"normal 95 %": 0.25, "high": 0.35})
    >>> explorer.metrics.recall
    1.0
    >>> explorer.observe(lambda change: print(change["new"].recall), "metrics")
    >>> explorer.threshold = 0.35
    0.5

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal; one kind alone will do.
        thresholds: Named thresholds, each a button; it starts at the first, or without any in the
            middle.
        prevalence: Share of abnormal images to weigh to at first; ``None`` is as tested.
        title: Shown above.

    Attributes:
        threshold: φ, any number but NaN; abnormal if and only if score > φ. Set it, or observe it.
        prevalence: Share of abnormal images that precision, accuracy and F1 are weighed to, between
            0 and 1; ``None`` is as tested. Set it, or observe it.
        choice: For an explorer of a table, the key shown, a tuple. Set it, or observe it.
        metrics: `ccb_lib.metrics.Metrics` at the threshold, counted anew from all scores; ``None``
            where a key of a table was not run. Observe it.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, a threshold that is NaN, or
            a prevalence outside 0…1.
    """

    threshold = traitlets.Float()
    prevalence = traitlets.Float(None, allow_none=True)
    choice = traitlets.Tuple()
    metrics = traitlets.Instance(Metrics, allow_none=True, read_only=True)

    def __init__(
        self,
        scores: ArrayLike,
        labels: ArrayLike,
        thresholds: Mapping[str, float] | None = None,
        *,
        prevalence: float | None = None,
        title: str = TITLE,
    ) -> None:
        self._set_up({(): (scores, labels, thresholds or {})}, (), None, prevalence, title, 400)

    @classmethod
    def from_table(
        cls,
        table: Mapping[Any, Sequence[Any]],
        *,
        axes: Sequence[str] = ("Method", "Class"),
        choice: Any = None,
        prevalence: float | None = None,
        title: str = TITLE,
        stops: int = 120,
    ) -> Self:
        """Explore the labelled sets of a table, one at a time.

        Args:
            table: By key, (scores, labels) or (scores, labels, thresholds). A key has one value for
                each axis; an axis whose values are all floats (α, say) becomes a slider. Keys that
                are missing show as not run.
            axes: What the parts of a key are called.
            choice: The key to start at; by default the first.
            prevalence: As for one set.
            title: As for one set.
            stops: How many thresholds each set offers where it has more distinct scores.

        Raises:
            ValueError: A table that is empty or does not fit its axes, or as for one set; the key
                is named.
        """
        explorer = cls.__new__(cls)
        explorer._set_up(table, tuple(axes), choice, prevalence, title, stops)
        return explorer

    def _set_up(
        self,
        table: Mapping[Any, Sequence[Any]],
        axes: tuple[str, ...],
        choice: Any,
        prevalence: float | None,
        title: str,
        stops: int,
    ) -> None:
        checked_prevalence(prevalence)
        self._axes, self._title, self._stops = axes, checked_title(title), stops
        self._parts, self._steps = parts_of_table(table, axes), steps_of_table(table, axes, stops)
        self._rising = {}  # for each key the abnormal and the normal scores in order, so that a count is a search
        for key, (scores, labels, _) in self._parts.items():
            scores, labels = checked_pair(scores, labels)
            self._rising[key] = (rising(scores[labels]), rising(scores[~labels]))
        self._values = [axis_values(self._steps, axis) for axis in range(len(axes))]
        self._writing = True  # while controls are being set to what is, they must not set what is
        self._make_controls()
        choosers = [self._choosers] if axes else []
        super().__init__(
            [self._head, *choosers, self._plot, self._slider, self._at, self._panels, self._weigh]
        )
        self.add_class("ccb-explorer")
        self.choice = choose(self._steps, axes, choice)
        self.prevalence = prevalence
        self._enter(None)

    # ── what follows from what ────────────────────────────────────────────────────────────────────

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal: dict[str, Any]) -> float:
        return checked_threshold(proposal["value"])

    @traitlets.validate("prevalence")
    def _check_prevalence(self, proposal: dict[str, Any]) -> float | None:
        return checked_prevalence(proposal["value"])

    @traitlets.validate("choice")
    def _check_choice(self, proposal: dict[str, Any]) -> tuple:
        choice = proposal["value"]
        if len(choice) != len(self._axes) or any(
            part not in values for part, values in zip(choice, self._values, strict=True)
        ):
            wanted = dict(zip(self._axes, self._values, strict=True))
            raise ValueError(f"choice={choice} given; one value for each of {wanted} is needed.")
        return choice

    @traitlets.observe("choice")
    def _choose(self, change: dict[str, Any]) -> None:
        if not self._writing:
            self._enter(change["old"])

    @traitlets.observe("threshold", "prevalence")
    def _change(self, change: dict[str, Any]) -> None:
        if not self._writing:
            self._refresh()

    def _enter(self, left: tuple | None) -> None:
        """Show the chosen set; keep the named threshold of the one that was left, else the threshold itself."""
        self._writing = True
        steps, named = self._steps.get(self.choice), self._parts.get(self.choice, ((), (), {}))[2]
        for chooser, value in zip(self._choosers.children, self.choice, strict=True):
            chooser.value = value
        for control in (self._slider, self._at, self._weigh):
            control.layout.display = None if steps else "none"
        if steps:
            self._offer(steps, named)
        self._writing = False
        before = self._parts[left][2] if left in self._parts else {}
        kept = next(
            (name for name, phi in before.items() if phi == self.threshold and name in named), None
        )
        if kept is not None:
            self.threshold = named[kept]
        elif steps and left is None:
            self.threshold = next(iter(named.values()), float(steps.thresholds[steps.start]))
        self._refresh()

    def _refresh(self) -> None:
        """Count at the threshold and write every figure."""
        steps, metrics = self._steps.get(self.choice), None
        figures = figures_of_nothing(tuple(map(as_text, self.choice)))
        self._writing = True
        if steps:
            tp, fp = (int(alarms(kind, self.threshold)) for kind in self._rising[self.choice])
            counts = {"tp": tp, "fp": fp, "tn": steps.normal - fp, "fn": steps.abnormal - tp}
            metrics = Metrics.from_counts(self.threshold, **counts, prevalence=self.prevalence)
            figures = figures_at(steps, metrics)
            self._point_controls(steps)
        self._plot.value = plot_html(steps, figures)
        self._panels.value = panels_html(steps, figures)
        self._writing = False
        self.set_trait("metrics", metrics)  # last: who is told may set a threshold in turn

    # ── controls ──────────────────────────────────────────────────────────────────────────────────

    def _make_controls(self) -> None:
        title = f'<p class="ccb-title">{escape(self._title)}</p>'
        self._head = ipywidgets.HTML(f"<style>{style()}</style>{title}")
        self._plot, self._panels = ipywidgets.HTML(), ipywidgets.HTML()
        wide = {
            "layout": {"width": "auto", "flex": "1 1 16rem"},
            "style": {"description_width": "initial"},
        }
        self._choosers = _row(
            [self._make_chooser(i, name, wide) for i, name in enumerate(self._axes)]
        )
        self._slider = ipywidgets.IntSlider(
            description="Threshold", readout=False, style=wide["style"]
        )
        self._slider.layout.width = "auto"
        self._bind(
            self._slider, "threshold", lambda at: float(self._steps[self.choice].thresholds[at])
        )
        self._number = ipywidgets.FloatText(
            description="Threshold", style=wide["style"], layout={"width": "13rem"}
        )
        self._bind(self._number, "threshold", float)
        self._named = ipywidgets.HBox()
        self._at = _row([self._number, self._named])
        self._share = ipywidgets.SelectionSlider(
            options=["–"], description="Prevalence", readout=False, **wide
        )
        self._bind(
            self._share, "prevalence", lambda share: None if share == self._tested() else share
        )
        self._percent = ipywidgets.BoundedFloatText(
            description="in percent",
            min=0.001,
            max=99.999,
            style=wide["style"],
            layout={"width": "11rem"},
        )
        self._bind(self._percent, "prevalence", lambda percent: percent / 100)
        self._as_tested = ipywidgets.Button(description="as in this test set")
        self._as_tested.on_click(lambda _: self.set_trait("prevalence", None))
        self._weigh = _row([self._share, self._percent, self._as_tested])

    def _make_chooser(self, axis: int, name: str, wide: dict[str, Any]) -> ipywidgets.Widget:
        values = self._values[axis]
        options = [(as_text(value), value) for value in values]
        kind = ipywidgets.SelectionSlider if is_slider(values) else ipywidgets.Dropdown
        layout = wide if is_slider(values) else {"style": wide["style"]}
        chooser = kind(options=options, description=as_text(name), **layout)
        self._bind(
            chooser, "choice", lambda value: (*self.choice[:axis], value, *self.choice[axis + 1 :])
        )
        return chooser

    def _make_button(self, name: str, phi: float) -> ipywidgets.Button:
        button = ipywidgets.Button(
            description=as_text(name), layout={"width": "auto"}, tooltip=f"φ = {phi:.4g}"
        )
        button.on_click(lambda _: self.set_trait("threshold", phi))
        return button

    def _bind(self, control: ipywidgets.Widget, trait: str, meant: Callable[[Any], Any]) -> None:
        """Let a control set a trait to what its value means."""

        def set_trait(change: dict[str, Any]) -> None:
            if not self._writing:
                self.set_trait(trait, meant(change["new"]))

        control.observe(set_trait, "value")

    def _tested(self) -> float:
        return self._steps[self.choice].tested

    def _offer(self, steps: Steps, named: Mapping[str, float]) -> None:
        """Fit the controls to a set: its stops, its named thresholds, its own prevalence."""
        self._slider.max = len(steps.thresholds) - 1
        self._named.children = [self._make_button(name, phi) for name, phi in named.items()]
        shares = sorted({*PREVALENCES, steps.tested})
        self._share.options = [(percent(share), share) for share in shares]
        for control in (self._share, self._percent, self._as_tested):
            control.disabled = not (steps.normal and steps.abnormal)

    def _point_controls(self, steps: Steps) -> None:
        """Set the controls to what is."""
        self._slider.value = steps.nearest(self.threshold)
        # A widget's message is JSON, which has no infinity; the outermost stop has the same
        # verdicts.
        finite = math.isfinite(self.threshold)
        self._number.value = (
            self.threshold if finite else float(steps.thresholds[self._slider.value])
        )
        for button, phi in zip(
            self._named.children, self._parts[self.choice][2].values(), strict=True
        ):
            (button.add_class if phi == self.threshold else button.remove_class)("ccb-on")
        share = steps.tested if self.prevalence is None else self.prevalence
        shares = [value for _, value in self._share.options]
        self._share.value = next((value for value in shares if value >= share), shares[-1])
        self._percent.value = float(percent(share).rstrip("\u00a0%"))
        (self._as_tested.add_class if self.prevalence is None else self._as_tested.remove_class)(
            "ccb-on"
        )

    # ── the other face ────────────────────────────────────────────────────────────────────────────

    def to_html(self) -> str:
        """Write the explorer as a self-contained piece of HTML, as it stands now; see `ccb_lib.explorer`."""
        steps, choice = dict(self._steps), self.choice
        if choice in steps:
            steps[choice] = Steps.of(*self._parts[choice], start=self.threshold, stops=self._stops)
        else:
            choice = next(iter(steps))
        return render(steps, self._axes, choice, prevalence=self.prevalence, title=self._title)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "text/html": self.to_html()}

    def __repr__(self) -> str:
        chosen = f" of {', '.join(map(str, self.choice))}" if self.choice else ""
        return (
            f"ThresholdExplorer{chosen}: {self.metrics if self.metrics is not None else 'not run'}"
        )


def _row(controls: Sequence[ipywidgets.Widget]) -> ipywidgets.HBox:
    row = ipywidgets.HBox(list(controls), layout={"flex_flow": "row wrap", "align_items": "center"})
    row.add_class("ccb-row")
    return row


# The widget base class hides it from notebooks behind (*args, **kwargs).
_parameters = list(inspect.signature(ThresholdExplorer.__init__).parameters.values())[1:]
ThresholdExplorer.__signature__ = inspect.Signature(_parameters)
