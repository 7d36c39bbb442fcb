"""The scikit-learn side of detectors: settings by name, `clone`, copies and pickles."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from torch import Tensor


class NotReady(NotFittedError, RuntimeError):  # noqa: N818  (the name states the problem)
    """The detector was not fitted, or not calibrated."""


def setting(default: Any, *, training: bool, terms: bool = False) -> Any:
    """Declare a setting of a detector and what depends on it.

    Training depends on every setting that is declared with a plain default instead.

    Args:
        default: The default value.
        training: Whether training depends on it. If not, a run may resume with another value.
        terms: Whether the two score terms of trained networks depend on it.

    Returns:
        A dataclass field.
    """
    return field(default=default, metadata={"training": training, "terms": terms})


class Estimator(BaseEstimator, ABC):
    """The part of a detector that follows scikit-learn's conventions.

    A detector can be cloned, copied, pickled, used in a grid search and put at the end of a
    ``Pipeline``. Two differences from scikit-learn's outlier detectors are intended. Labels are 0
    (normal) and 1 (abnormal) instead of 1 and -1. A higher `decision_function` is more abnormal, so
    that ``scoring="roc_auc"`` is right for these labels.

    A search that chooses settings by the labels of test images is an **oracle**, as in this
    example. Fold -1 is used for training only, so all its images must be normal. ``refit=False``
    stops the search from training on fold 0, which holds abnormal images.

    >>> import numpy as np
    >>> import torch
    >>> from sklearn.model_selection import GridSearchCV, PredefinedSplit
    >>> from ccb_lib import PixelPCA, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> images = torch.cat([split.train, split.test])
    >>> labels = np.r_[np.zeros(len(split.train)), split.test_labels]
    >>> folds = PredefinedSplit(np.r_[np.full(len(split.train), -1), np.zeros(len(split.test))])
    >>> oracle = GridSearchCV(
    ...     PixelPCA(), {"components": [4, 16]}, cv=folds, scoring="roc_auc", refit=False
    ... )
    >>> sorted(oracle.fit(images, labels).best_params_)
    ['components']
    """

    _estimator_type: ClassVar[str] = "outlier_detector"  # for scikit-learn before 1.6
    # Attributes that a copy rebuilds, because they follow from the settings and `_state`.
    _rebuilt_on_copy: ClassVar[frozenset[str]] = frozenset({"device_"})

    def __sklearn_tags__(self) -> Any:
        """Declare an outlier detector for images."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = self._estimator_type
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name; ``deep`` is ignored.

        >>> from ccb_lib import MeanIntensity
        >>> MeanIntensity().get_params()["alpha"]
        1.0
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Change settings; if one value is invalid, none of them changes.

        A fitted detector stays fitted, and moves to a new ``device``, unless training depends on a
        setting that changed. Its calibration is dropped if the score terms depend on a setting that
        changed.

        >>> from ccb_lib import CCB
        >>> CCB().set_params(alpha=0.5).alpha
        0.5

        Args:
            **params: New values by name.

        Returns:
            The detector itself.

        Raises:
            ValueError: An unknown name, or a value outside its range.
        """
        if unknown := sorted(params.keys() - self.get_params().keys()):
            raise ValueError(
                f"{type(self).__name__} has no setting {', '.join(unknown)}; it has "
                f"{', '.join(self.get_params())}."
            )
        checked = type(self)(**{**self.get_params(), **params})
        changed = [f for f in fields(self) if getattr(self, f.name) != getattr(checked, f.name)]
        for each in changed:
            setattr(self, each.name, getattr(checked, each.name))
        self._derive()
        if any(_training_depends(each) for each in changed):
            self._reset_fit()
        elif self.__sklearn_is_fitted__() and changed:
            if any(each.metadata.get("terms") for each in changed):
                self._reset_calibration()
            self._load_state(self._state())  # moves it to the current device
        return self

    def training_settings(self) -> dict[str, Any]:
        """Return the settings that training depends on; a checkpoint must have the same ones.

        >>> from ccb_lib import CCB
        >>> "width" in CCB().training_settings(), "alpha" in CCB().training_settings()
        (True, False)
        """
        return {
            each.name: getattr(self, each.name) for each in fields(self) if _training_depends(each)
        }

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles: settings, calibration, tensors on the CPU."""
        kept = {
            name: value for name, value in vars(self).items() if name not in self._rebuilt_on_copy
        }
        if self.__sklearn_is_fitted__():
            kept["_learnt"] = {name: tensor.cpu() for name, tensor in self._state().items()}
        return kept

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore from `__getstate__`; ``device="auto"`` chooses a device of this machine.

        Raises:
            ValueError: This machine does not have the requested device.
        """
        kept = dict(state)
        learnt = kept.pop("_learnt", None)
        type(self).__init__(self, **{each.name: kept.pop(each.name) for each in fields(self)})
        vars(self).update(kept)
        if learnt is not None:
            self._load_state(learnt)

    def _need(self, holds: bool, name: str, needed: str) -> None:
        if not holds:
            raise ValueError(
                f"{type(self).__name__}: {name}={getattr(self, name)!r} given; {needed} is needed."
            )

    def _need_whole(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            self._need(is_whole(value) and value >= 1, name, "a whole number from 1")

    def _need_choice(self, name: str, choices: tuple[int, ...]) -> None:
        value = getattr(self, name)
        chosen = value is None or (is_whole(value) and value in choices)
        self._need(chosen, name, f"one of {choices}, or None to take it from the data")

    def _need_number(self, name: str, holds: Callable[[float], bool], needed: str) -> None:
        value = getattr(self, name)
        self._need(_is_finite(value) and holds(value), name, needed)

    def _need_numbers(
        self, name: str, count: int, holds: Callable[[float], bool], needed: str
    ) -> None:
        values = self._need_tuple(name, needed)
        self._need(
            len(values) == count and all(_is_finite(v) and holds(v) for v in values), name, needed
        )

    def _need_tuple(self, name: str, needed: str) -> tuple:
        """Convert a setting that may be any sequence to a tuple."""
        value = getattr(self, name)
        self._need(isinstance(value, Sequence) and not isinstance(value, str), name, needed)
        setattr(self, name, tuple(value))
        return getattr(self, name)

    def _convert_numpy(self) -> None:
        """Convert NumPy values of settings to plain numbers and tuples, which files can hold."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.generic | np.ndarray):
                value = value.tolist()
                setattr(self, each.name, tuple(value) if isinstance(value, list) else value)
            elif isinstance(value, tuple | list) and any(
                isinstance(part, np.generic) for part in value
            ):
                plain = (part.item() if isinstance(part, np.generic) else part for part in value)
                setattr(self, each.name, type(value)(plain))

    # `Detector` defines `__sklearn_is_fitted__`, `_reset_fit` and `_derive`, which computes the
    # attributes that follow from the settings alone; `Scorer` defines `_reset_calibration`.

    @abstractmethod
    def _state(self) -> dict[str, Tensor]:
        """Return all learnt tensors by name."""

    @abstractmethod
    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        """Load the tensors of `_state`; image size and channels are already set."""

    @classmethod
    def _upgrade(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Bring settings and tensors of a file of an earlier version up to date, in place."""


def is_whole(value: Any) -> bool:
    """Return whether a setting is a whole number; True and False do not count as numbers."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _training_depends(each: Any) -> bool:
    return each.metadata.get("training", True)
