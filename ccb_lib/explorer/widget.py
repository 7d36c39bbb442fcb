"""The threshold explorer as a live widget; without a kernel its page shows the same figures."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

from numpy.typing import ArrayLike

from ccb_lib.explorer.controls import ExplorerControls, traitlets
from ccb_lib.explorer.pages import TITLE, choose, parts_of_table, steps_of_parts
from ccb_lib.explorer.render import (
    axis_values,
    checked_text,
    figures_at,
    panels_html,
    plot_html,
    render,
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


class ThresholdExplorer(ExplorerControls):
    """An explorer of the threshold of a score, as a live widget and as a static page.

    In a notebook with a kernel it is a widget that computes its figures from the scores. Without a
    kernel (a built page, a notebook viewer) a script shows the same figures from counts stored at
    up to some hundreds of thresholds. The script needs no network.

    >>> scores, labels = [0.1, 0.2, 0.3, 0.4], [False, False, True, True]
    >>> explorer = ThresholdExplorer(scores, labels, thresholds={"normal 95 %": 0.25, "high": 0.35})
    >>> explorer.metrics.recall
    1.0
    >>> explorer.observe(lambda change: print(change["new"].recall), "metrics")
    >>> explorer.threshold = 0.35
    0.5

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal; one kind alone is accepted.
        thresholds: Named thresholds; each gets a button. The initial threshold is the first of
            them, or one in the middle if there are none.
        prevalence: Initial share of abnormal images to weight to; ``None`` is the share in the set.
        title: Heading.
        unit: What is counted, in the plural, such as "patches".

    Attributes:
        threshold: φ, any number but NaN; abnormal if and only if score > φ. It can be set and
            observed.
        prevalence: Share of abnormal images to which precision, NPV, accuracy and F1 are weighted,
            between 0 and 1; ``None`` is the share in the set. It can be set and observed.
        choice: The key shown, a tuple, in an explorer of a table. It can be set to any key of the
            table, and observed. A selected named threshold stays selected where the new set has it;
            else the threshold is set so that the false-alarm rate stays about the same.
        metrics: `ccb_lib.metrics.Metrics` at the threshold, computed from all scores. It can be
            observed.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, a threshold that is NaN, a
            prevalence outside 0…1, or a title or unit that is not text.
    """

    metrics = traitlets.Instance(Metrics, allow_none=True, read_only=True)

    def __init__(
        self,
        scores: ArrayLike,
        labels: ArrayLike,
        thresholds: Mapping[str, float] | None = None,
        *,
        prevalence: float | None = None,
        title: str = TITLE,
        unit: str = "images",
    ) -> None:
        table = {(): (scores, labels, thresholds or {})}
        self._set_up(table, (), None, prevalence, title, unit, 400)

    @classmethod
    def from_table(
        cls,
        table: Mapping[Any, Sequence[Any]],
        *,
        axes: Sequence[str] = ("Method", "Class"),
        choice: Any = None,
        prevalence: float | None = None,
        title: str = TITLE,
        unit: str = "images",
        stops: int = 120,
    ) -> Self:
        """Make an explorer of the labelled sets of a table, one shown at a time.

        Args:
            table: By key, (scores, labels) or (scores, labels, thresholds). A key has one value for
                each axis; an axis whose values are all floats (α, say) becomes a slider. The
                controls offer only keys of the table.
            axes: Names of the parts of a key.
            choice: Initial key; by default the first.
            prevalence: As for one set.
            title: As for one set.
            unit: As for one set.
            stops: Maximum number of slider positions of each set if it has more distinct scores.

        Raises:
            ValueError: A table that is empty or does not fit its axes, or as for one set; the
                message names the key.
        """
        explorer = cls.__new__(cls)
        explorer._set_up(table, tuple(axes), choice, prevalence, title, unit, stops)
        return explorer

    def _set_up(
        self,
        table: Mapping[Any, Sequence[Any]],
        axes: tuple[str, ...],
        choice: Any,
        prevalence: float | None,
        title: str,
        unit: str,
        stops: int,
    ) -> None:
        prevalence = checked_prevalence(prevalence)
        self._axes, self._stops, self._rule = axes, stops, None
        self._title, self._unit = checked_text("title", title), checked_text("unit", unit)
        self._parts = parts_of_table(table, axes)
        self._steps = steps_of_parts(self._parts, stops)
        # For each key the sorted scores of both kinds, so that counting is a binary search.
        self._sorted_scores = {}
        for key, (scores, labels, _) in self._parts.items():
            scores, labels = checked_pair(scores, labels)
            self._sorted_scores[key] = (rising(scores[labels]), rising(scores[~labels]))
        self._updating = True
        self._make_controls(
            axes, [axis_values(self._steps, axis) for axis in range(len(axes))], self._title
        )
        super().__init__(
            [
                *(self._head, *([self._choosers] if axes else []), self._plot, self._slider),
                *(self._threshold_row, self._panels, self._prevalence_row),
            ]
        )
        self.add_class("ccb-explorer")
        self.choice = choose(self._steps, axes, choice)
        self.prevalence = prevalence
        self._show_choice()

    # ── validating and observing ──────────────────────────────────────────────────────────────────

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal: dict[str, Any]) -> float:
        return checked_threshold(proposal["value"])

    @traitlets.validate("prevalence")
    def _check_prevalence(self, proposal: dict[str, Any]) -> float | None:
        return checked_prevalence(proposal["value"])

    @traitlets.validate("choice")
    def _check_choice(self, proposal: dict[str, Any]) -> tuple:
        return choose(self._steps, self._axes, proposal["value"])

    @traitlets.observe("choice")
    def _choose(self, change: dict[str, Any]) -> None:
        if not self._updating:
            self._show_choice()

    @traitlets.observe("threshold", "prevalence")
    def _change(self, change: dict[str, Any]) -> None:
        if not self._updating:
            if change["name"] == "threshold":
                self._rule = self._active()
            self._refresh()

    def _show_choice(self) -> None:
        """Show the chosen set at the selected rule or, without it, at the same false-alarm rate."""
        self._updating = True
        steps, named = self._steps[self.choice], self._parts[self.choice][2]
        self._fit_choosers()
        self._fit_controls(steps, named)
        self._updating = False
        stop = steps.start if self.metrics is None else steps.same_alarms(self.metrics)
        self._go(named[self._rule] if self._rule in named else self._phi(stop), self._rule)

    def _go(self, phi: float, rule: str | None) -> None:
        """Set the threshold; a rule stays selected also where this set does not have it."""
        self.threshold = phi
        self._rule = self._active() if rule is None else rule
        self._refresh()

    def _phi(self, stop: int) -> float:
        """Return the threshold of a stop: the named one where there is one, unrounded."""
        steps, named = self._steps[self.choice], self._parts[self.choice][2]
        return next(
            (phi for name, phi in named.items() if steps.named[name] == stop),
            float(steps.thresholds[stop]),
        )

    def _active(self) -> str | None:
        """Return the name of the threshold; where several rules share it, the selected one."""
        active = [
            name for name, phi in self._parts[self.choice][2].items() if phi == self.threshold
        ]
        return self._rule if self._rule in active else next(iter(active), None)

    def _refresh(self) -> None:
        """Compute the counts at the threshold and update every figure."""
        steps = self._steps[self.choice]
        self._updating = True
        tp, fp = (int(alarms(kind, self.threshold)) for kind in self._sorted_scores[self.choice])
        metrics = Metrics.from_counts(
            self.threshold, tp, fp, steps.normal - fp, steps.abnormal - tp, self.prevalence
        )
        figures = figures_at(steps, metrics, self._unit, self._active() or "")
        self._sync_controls(steps, self._parts[self.choice][2])
        self._plot.value = plot_html(steps, figures)
        self._panels.value = panels_html(steps, figures)
        self._updating = False
        self.set_trait("metrics", metrics)  # last: an observer may set a threshold in turn

    # ── as a page ─────────────────────────────────────────────────────────────────────────────────

    def to_html(self) -> str:
        """Write the explorer in its current state as self-contained HTML; see `explorer_html`."""
        now = Steps.of(*self._parts[self.choice], start=self.threshold, stops=self._stops)
        return render(
            {**self._steps, self.choice: now},
            self._axes,
            self.choice,
            prevalence=self.prevalence,
            title=self._title,
            unit=self._unit,
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**kwargs) | {
            "text/plain": repr(self),
            "text/html": self.to_html(),
        }

    def __repr__(self) -> str:
        chosen = f" of {', '.join(map(str, self.choice))}" if self.choice else ""
        return f"ThresholdExplorer{chosen}: {self.metrics}"


# The widget base class replaces the signature by (*args, **kwargs), which notebooks would show.
_parameters = list(inspect.signature(ThresholdExplorer.__init__).parameters.values())[1:]
ThresholdExplorer.__signature__ = inspect.Signature(_parameters)
