"""What metrics and thresholds accept: checks that name what is wrong."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_scores(scores: ArrayLike, name: str = "scores") -> NDArray[np.float64]:
    """Return scores as (N,) float64.

    Args:
        scores: One axis of finite numbers.
        name: What to call them in errors.

    Raises:
        ValueError: No scores, more than one axis, or scores that are not finite numbers.
    """
    try:
        array = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}. One axis of finite numbers is needed.") from error
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape} given; one axis of at least one number is needed.")
    if broken := int(np.size(array) - np.isfinite(array).sum()):
        raise ValueError(f"{name}: {broken} of {array.size} are NaN or infinite; find out why before judging by them.")
    return array


def checked_pair(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores as (N,) float64 and labels as (N,) bool.

    Args:
        scores: One axis of finite numbers.
        labels: As many bools, or zeros and ones.

    Raises:
        ValueError: Scores that are not finite, or labels that are not one 0/1 per score.
    """
    scores, labels = checked_scores(scores), np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(
            f"labels: shape {labels.shape} given for scores of {scores.shape}; one label per score is needed."
        )
    if labels.dtype != bool and not np.isin(labels, (0, 1)).all():
        found = ", ".join(map(repr, np.unique(labels.astype(str))[:5].tolist()))
        raise ValueError(f"labels: {found} given; bools or 0 and 1 are needed, true or 1 for abnormal.")
    return scores, labels.astype(bool)


def both_kinds(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores as (N,) float64 and labels as (N,) bool.

    Args:
        scores: One axis of finite numbers.
        labels: As many bools, or zeros and ones, both of them present.
        name: The measure that needs both kinds, for errors.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, or labels that are not 0/1.
    """
    scores, labels = checked_pair(scores, labels)
    if labels.all() or not labels.any():
        kind, other = ("abnormal", "normal") if labels.all() else ("normal", "abnormal")
        raise ValueError(f"All {len(labels)} images are {kind}; {name} compares two kinds. Add {other} images.")
    return scores, labels


def checked_prevalence(prevalence: float | None) -> float | None:
    """Return the prevalence, or raise ValueError where it is no share strictly between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence={prevalence} given; a share between 0 and 1, such as 0.05, or None is needed.")
    return prevalence


def checked_specificity(specificity: float) -> float:
    """Return the specificity, or raise ValueError where it is no share from 0 to 1."""
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity={specificity} given; a share from 0 to 1, such as 0.95, is needed.")
    return specificity


def checked_threshold(threshold: float) -> float:
    """Return the threshold, or raise ValueError where it is NaN; ±inf calls nothing or everything abnormal."""
    if math.isnan(threshold):
        raise ValueError("threshold=nan given; a number is needed.")
    return float(threshold)
