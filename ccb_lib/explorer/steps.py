"""The data that an explorer shows: counts at each position of the threshold, without the scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ccb_lib.metrics import (
    Metrics,
    ThresholdCounts,
    alarms,
    auc,
    between,
    checked_pair,
    checked_threshold,
    count_at_thresholds,
)

BARS = 44  # of each histogram
_LARGEST, _SMALLEST = 1e300, 1e-300  # beyond these, sums and quotients overflow or underflow
ROC_SIZE = 200  # points of the ROC curve are rounded to a grid of this many steps per side


@dataclass(frozen=True, eq=False)
class Steps:
    """The counts of one labelled set at up to some hundreds of thresholds.

    A stop is a position of the threshold slider. The size does not grow with the number of images.

    Attributes:
        thresholds: (K,) float64, ascending: the stops, from all images called abnormal to none.
            They are short decimals between two scores of the set, so that the displayed number is
            exactly the threshold that is counted at.
        tp: (K,) int64, abnormal images above each stop.
        fp: (K,) int64, normal images above each stop.
        cuts: (S,) float64, the distinct scores, ascending, if there is a stop between any two of
            them, so that the counts at every threshold are known; else empty.
        named: The stop of each named threshold, by name.
        start: The initial stop.
        abnormal: Number of abnormal images.
        normal: Number of normal images.
        auc: Area under the ROC curve; NaN if there is only one kind of image.
        axis: Lowest and highest score shown.
        ticks: Positions along the axis, 0 to 1, with their labels.
        beyond: A sentence on how many scores lie beyond the axis; empty if none do.
        bars: (2, BARS) int64, a histogram of the normal and one of the abnormal scores along the
            axis; scores beyond it are counted in the outermost bars.
        roc: (P, 2) int64, the ROC curve from all scores, in steps of 1 / ROC_SIZE: false-alarm
            rate, recall.
    """

    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    cuts: NDArray[np.float64]
    named: dict[str, int]
    start: int
    abnormal: int
    normal: int
    auc: float
    axis: tuple[float, float]
    ticks: list[tuple[float, str]]
    beyond: str
    bars: NDArray[np.int64]
    roc: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        scores: ArrayLike,
        labels: ArrayLike,
        thresholds: Mapping[str, float] | None = None,
        *,
        start: float | None = None,
        stops: int = 400,
    ) -> "Steps":
        """Count a labelled set at every distinct threshold, or at ``stops`` of them if it has more.

        Args:
            scores: (N,) scores, higher is more abnormal.
            labels: (N,) bool or 0/1, true is abnormal.
            thresholds: Named thresholds; each gets a stop with the same predictions. ±inf gets the
                last stop on its side.
            start: Initial threshold; by default the first named one, or one in the middle.
            stops: Maximum number of stops besides the named ones; at least 10.

        Raises:
            ValueError: Scores that are not finite, labels that are not 0/1, a threshold that is not
                a number, or too few stops.
        """
        scores, labels = (part.numpy(force=True) for part in checked_pair(scores, labels))
        thresholds = checked_thresholds(thresholds)
        if not isinstance(stops, Integral) or stops < 10:
            raise ValueError(
                f"stops={stops} given; at least 10 are needed. Some hundreds make the slider move "
                "smoothly."
            )
        if np.abs(scores).max() > _LARGEST:
            raise ValueError(
                f"scores: from {scores.min():g} to {scores.max():g} is too wide a range to draw. "
                "Scale the scores."
            )
        cuts = ThresholdCounts(*(part.numpy() for part in count_at_thresholds(scores, labels)))
        axis = _axis(scores, labels)
        margin = _room(cuts.scores[0], cuts.scores[-1])
        edges = np.concatenate([[cuts.scores[0] - margin], cuts.scores, [cuts.scores[-1] + margin]])
        wanted = [*thresholds.values()] + ([] if start is None else [checked_threshold(start)])
        gap_of = np.searchsorted(cuts.scores, wanted, side="right").tolist()
        asked = [_stop(phi, edges, gap) for phi, gap in zip(wanted, gap_of, strict=True)]
        # One stop per gap between distinct scores is enough, since all its thresholds count the
        # same.
        free = set(_choose(cuts, scores, labels, axis, stops).tolist()) - set(gap_of)
        points = np.array(sorted({*asked, *(_middle(edges, gap) for gap in free)}))
        at = np.searchsorted(points, asked).tolist()
        tp, fp = (
            alarms(np.sort(part), points).numpy() for part in (scores[labels], scores[~labels])
        )
        low, high = axis
        return cls(
            thresholds=points,
            tp=tp,
            fp=fp,
            cuts=cuts.scores if len(cuts.scores) < stops else cuts.scores[:0],
            named=dict(zip(thresholds, at, strict=False)),
            start=len(points) // 2 if not at else at[0] if start is None else at[-1],
            abnormal=int(labels.sum()),
            normal=int((~labels).sum()),
            auc=auc(scores, labels) if labels.any() and not labels.all() else math.nan,
            axis=axis,
            ticks=_ticks(low, high),
            beyond=_beyond(int((scores < low).sum()), int((scores > high).sum()), low, high),
            bars=np.stack(
                [
                    np.histogram(scores[kind].clip(low, high), bins=BARS, range=axis)[0]
                    for kind in (~labels, labels)
                ]
            ),
            roc=_roc(cuts),
        )

    @property
    def tested(self) -> float:
        """The share of abnormal images in this set."""
        return self.abnormal / (self.abnormal + self.normal)

    def nearest(self, threshold: float) -> int:
        """Return the index of the stop nearest to a threshold, which may be infinite."""
        return int(np.abs(self.thresholds - np.clip(threshold, *self.thresholds[[0, -1]])).argmin())

    def same_alarms(self, before: Metrics) -> int:
        """Return the stop whose false-alarm rate is nearest to that of another score's metrics.

        Of several it is the lowest, at which most abnormal images are found. It is the last stop if
        nothing was called abnormal, and the initial stop if either set has no normal images.
        """
        if not before.tp + before.fp:
            return len(self.thresholds) - 1
        if not self.normal or not before.fp + before.tn:
            return self.start
        return int(np.abs(self.fp / self.normal - before.fp / (before.fp + before.tn)).argmin())


def checked_thresholds(thresholds: Mapping[str, float] | None) -> dict[str, float]:
    """Return named thresholds as text and floats; raise ValueError if one is not a number."""
    if not isinstance(thresholds, Mapping | None):
        raise ValueError(
            f"thresholds={thresholds!r} given; numbers by name are needed, such as {{'mine': 0.5}}."
        )
    checked = {}
    for name, phi in (thresholds or {}).items():
        try:
            checked[str(name)] = float(phi)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"thresholds: {name!r} is {phi!r}; a number is needed.") from error
        if math.isnan(checked[str(name)]):
            raise ValueError(f"thresholds: {name!r} is NaN; a number is needed.")
    return checked


def shortest(value: float, low: float, high: float, digits: int = 1) -> float:
    """Round to the fewest significant digits that keep a value strictly between low and high.

    At least ``digits`` digits are kept.
    """
    for places in range(digits, 18):
        rounded = float(f"{value:.{places}g}")
        if low < rounded < high:
            return rounded
    return float(value)


def _stop(phi: float, edges: NDArray[np.float64], gap: int) -> float:
    """Return a short decimal in the same gap between scores as φ, so with the same predictions."""
    if math.isinf(phi):
        return _middle(edges, gap)
    low = edges[gap] if gap > 0 else -math.inf
    high = edges[gap + 1] if gap + 2 < len(edges) else math.inf
    return shortest(phi, low, high, digits=4)


def _middle(edges: NDArray[np.float64], gap: int) -> float:
    low, high = edges[gap], edges[gap + 1]
    return shortest(float(between(low, high)), low, high)


def _axis(scores: NDArray, labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Cover the bulk of both kinds, so that outliers do not compress the rest into one bar."""
    kinds = [kind for kind in (scores[labels], scores[~labels]) if len(kind)]
    bulk_low, bulk_high = (
        pick(np.quantile(kind, q) for kind in kinds) for pick, q in ((min, 0.01), (max, 0.99))
    )
    spread = bulk_high - bulk_low
    low, high = max(scores.min(), bulk_low - spread), min(scores.max(), bulk_high + spread)
    room = _room(low, high)
    return float(low - room), float(high + room)


def _room(low: float, high: float) -> float:
    """Return the margin beside a range: 2 % of it or, if it is nearly 0, of its magnitude."""
    largest = max(abs(low), abs(high))
    room = 0.02 * (high - low) if high - low > 1e-9 * largest else 0.02 * largest
    return max(room, _SMALLEST) if largest else 0.02


def _choose(
    cuts: ThresholdCounts,
    scores: NDArray,
    labels: NDArray[np.bool_],
    axis: tuple[float, float],
    stops: int,
) -> NDArray:
    """Choose gaps between scores: evenly along the axis and over the ranks of each kind."""
    count = len(cuts.scores) + 1
    if count <= stops:
        return np.arange(count)
    places = [np.linspace(*axis, stops // 2)]
    ranks = np.linspace(0, 1, (stops - 2) // 4)
    places += [np.quantile(kind, ranks) for kind in (scores[labels], scores[~labels]) if len(kind)]
    gaps = np.searchsorted(cuts.scores, np.concatenate(places), side="right")
    return np.unique([0, *gaps, count - 1])


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low) / 7
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    decimals = max(0, -math.floor(math.log10(step)))
    form = f".{decimals}f" if decimals < 7 and abs(high) < 1e12 else ".6g"
    values = step * np.arange(math.ceil(low / step), math.floor(high / step) + 1)
    return [
        (round((value - low) / (high - low), 4), f"{value + 0.0:{form}}")
        for value in values.tolist()
    ]


def _beyond(below: int, above: int, low: float, high: float) -> str:
    parts = [
        f"{count:,} score{'s' if count > 1 else ''} {side} {edge:.3g}"
        for count, side, edge in ((below, "below", low), (above, "above", high))
        if count
    ]
    return f"{' and '.join(parts)} counted in the outermost bar." if parts else ""


def _roc(cuts: ThresholdCounts) -> NDArray[np.int64]:
    abnormal, normal = cuts.tp[0], cuts.fp[0]
    if not (abnormal and normal):
        return np.empty((0, 2), dtype=np.int64)
    points = np.stack([cuts.fp[::-1] / normal, cuts.tp[::-1] / abnormal], axis=1)
    points = np.rint(points * ROC_SIZE).astype(np.int64)
    return points[np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]]
