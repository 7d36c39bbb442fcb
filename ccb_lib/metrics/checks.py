"""Checks of the arguments of metrics and thresholds: tensors on any device, or array-likes."""

import math
from numbers import Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Scores = ArrayLike | Tensor


def checked_scores(scores: Scores, name: str = "scores") -> Tensor:
    """Return scores as a tensor (N,) float64.

    A tensor stays on its device, or moves to the CPU if its device has no float64 (MPS). The result
    has no gradient.

    Args:
        scores: One axis of finite numbers.
        name: Name of the argument in errors.

    Raises:
        ValueError: No scores, more than one axis, or scores that are not finite numbers.

    Example:
        >>> checked_scores([1, 2])
        tensor([1., 2.], dtype=torch.float64)
    """
    try:
        tensor = _as_double(scores)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}. One axis of finite numbers is needed.") from error
    if tensor.ndim != 1 or not len(tensor):
        raise ValueError(
            f"{name}: shape {tuple(tensor.shape)} given; one axis of at least one number is needed."
        )
    if broken := len(tensor) - int(tensor.isfinite().sum()):
        raise ValueError(
            f"{name}: {broken} of {len(tensor)} are NaN or infinite; finite scores are needed. "
            "Find the cause before you use them."
        )
    return tensor


def checked_pair(scores: Scores, labels: Scores) -> tuple[Tensor, Tensor]:
    """Return scores as (N,) float64 and labels as (N,) bool, both on the device of the scores.

    Args:
        scores: One axis of finite numbers.
        labels: As many bools, or zeros and ones.

    Raises:
        ValueError: Scores that are not finite, or labels that are not one 0/1 per score.

    Example:
        >>> checked_pair([0.5, 1.5], [0, 1])[1]
        tensor([False,  True])
    """
    scores = checked_scores(scores)
    try:
        labels = labels.detach() if isinstance(labels, Tensor) else np.asarray(labels)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"labels: {error}. One label per score is needed.") from error
    if tuple(labels.shape) != tuple(scores.shape):
        raise ValueError(
            f"labels: shape {tuple(labels.shape)} given for scores of {tuple(scores.shape)}; one "
            "label per score is needed."
        )
    abnormal = labels == 1
    if not (abnormal | (labels == 0)).all():
        values = labels.numpy(force=True) if isinstance(labels, Tensor) else labels
        found = ", ".join(map(repr, np.unique(values.astype(str))[:5].tolist()))
        raise ValueError(
            f"labels: {found} given; bools or 0 and 1 are needed, true or 1 for abnormal."
        )
    return scores, torch.as_tensor(abnormal, device=scores.device)


def both_kinds(scores: Scores, labels: Scores, name: str) -> tuple[Tensor, Tensor]:
    """Return scores as (N,) float64 and labels as (N,) bool, as `checked_pair` does.

    Args:
        scores: One axis of finite numbers.
        labels: As many bools, or zeros and ones; both values must occur.
        name: Name of the metric in errors.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, or labels that are not 0/1.
    """
    scores, labels = checked_pair(scores, labels)
    if int(labels.sum()) in (0, len(labels)):
        kind, other = ("abnormal", "normal") if labels[0] else ("normal", "abnormal")
        raise ValueError(
            f"All {len(labels)} images are {kind}; {name} needs images of both kinds. Add {other} "
            "images."
        )
    return scores, labels


def checked_prevalence(prevalence: float | None) -> float | None:
    """Return the prevalence as a float or None; raise ValueError unless it is None or in (0, 1)."""
    if prevalence is not None and not (isinstance(prevalence, Real) and 0 < prevalence < 1):
        raise ValueError(
            f"prevalence={prevalence} given; a share between 0 and 1, such as 0.05, or None is "
            "needed."
        )
    return None if prevalence is None else float(prevalence)


def checked_specificity(specificity: float) -> float:
    """Return the specificity; raise ValueError unless it is from 0 to 1."""
    if not 0 <= specificity <= 1:
        raise ValueError(
            f"specificity={specificity} given; a share from 0 to 1, such as 0.95, is needed."
        )
    return specificity


def checked_threshold(threshold: float) -> float:
    """Return the threshold as a float; raise ValueError if it is NaN or not a number.

    At inf no image is abnormal, at -inf every image is.
    """
    try:
        checked = float(threshold)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"threshold={threshold!r} given; a number is needed.") from error
    if math.isnan(checked):
        raise ValueError("threshold=nan given; a number is needed.")
    return checked


def _as_double(values: Scores) -> Tensor:
    if not isinstance(values, Tensor):
        return torch.from_numpy(np.array(values, dtype=np.float64, order="C"))
    values = values.detach()
    return (values.cpu() if values.device.type == "mps" else values).double()
