"""What all detectors share: settings, the face that users call, calibration, saving and loading."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccb_lib.environment import choose_device
from ccb_lib.io.images import SIZES, as_images
from ccb_lib.io.tensors import digest, save_tensors
from ccb_lib.scores import ScoreTerms, all_equal, anomaly_score
from ccb_lib.thresholds import conformal_p_values, normal_quantile
from ccb_lib.training.types import Turns, finish

FORMAT_VERSION = 1


class NotReady(RuntimeError):  # noqa: N818  (it says what is wrong)
    """The detector was not fitted, or not calibrated."""


class CollapsedWarning(UserWarning):
    """A detector was fitted, but treats all images alike: its training collapsed, or has hardly begun."""


@dataclass(kw_only=True, eq=False)
class Detector(ABC):
    """A score for images, learnt from normal ones alone; higher is more abnormal.

    ``images`` everywhere are uint8 (N, C, H, W), (N, H, W, C) or (N, H, W); a torch ``Dataset``; or a list of paths.

    Attributes:
        image_size: 32, 64 or 128 px demanded; ``None`` takes it from the data.
        channels: 1 or 3 demanded; ``None`` takes it from the data.
        alpha: α of Eq. 2, the weight of the image term, 0 to 1.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        seed: Of everything random.
        history_: After `fit`: one dict an epoch with the mean of each loss; ready for ``pandas.DataFrame``.
        origin_: After `fit`: what made it; `save` writes it along: ``images`` (a hash of those trained on),
            ``trained on`` (their number), ``device``, ``torch`` and ``ccb_lib`` (versions).
        collapsed_: After `fit`: what shows that its training led nowhere, in words; empty where all is well. Saved
            along, and `load_detector` warns of it again.
        calibration_terms_: After `calibrate`: the score terms of the calibration images.
        false_alarms_: After `calibrate`: the share of false alarms that ``threshold_`` allows.
        show_progress: Show a bar where scoring takes long; `fit` sets it to its own ``progress``.
        scoring_folder: A folder where a method whose scoring takes hours keeps each batch's results, so
            that scoring that is stopped and started again goes on; ``None`` keeps nothing on disk.
    """

    method: ClassVar[str]
    released_in_train_mode: ClassVar[bool] = True  # whether public code tests with batch statistics
    scores_each_epoch: ClassVar[bool] = True  # whether a protocol may choose among epochs

    image_size: int | None = None
    channels: int | None = None
    alpha: float = 0.9
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: A setting lies outside its range.
        """
        self._need(
            self.image_size in (None, *SIZES),
            "image_size",
            f"one of {SIZES}, or None to take it from the data",
        )
        self._need(self.channels in (None, 1, 3), "channels", "1, 3, or None to take it from the data")
        self._need(0 <= self.alpha <= 1, "alpha", "a number from 0 to 1")
        self._need(isinstance(self.seed, int) and 0 <= self.seed < 2**31, "seed", "a whole number from 0 to 2³¹ − 1")
        self.device_ = choose_device(self.device)
        self.image_size_: int | None = None
        self.channels_: int | None = None
        self.history_: list[dict[str, float]] = []
        self.origin_: dict[str, str | int] = {}
        self.collapsed_: list[str] = []
        self.calibration_terms_: ScoreTerms | None = None
        self.false_alarms_ = 0.05
        self.show_progress = True
        self.scoring_folder: Path | None = None
        self._threshold: float | None = None

    def _need(self, holds: bool, name: str, needed: str) -> None:
        if not holds:
            raise ValueError(f"{type(self).__name__}: {name}={getattr(self, name)!r} given; {needed} is needed.")

    def _need_whole(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            self._need(isinstance(value, int) and value >= 1, name, "a whole number from 1")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name, as scikit-learn's ``get_params`` does; ``deep`` changes nothing."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    # ── fitting ───────────────────────────────────────────────────────────────────────────────────────────────

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        calibration: Any = None,
        false_alarms: float = 0.05,
        resume: str | Path | None = None,
        on_epoch_end: Callable[[Self, int], dict[str, float] | None] | None = None,
        progress: bool = True,
    ) -> Self:
        """Learn what normal images look like.

        Args:
            X: Normal images, at least two.
            y: Ignored; there for pipelines.
            calibration: Held-out normal images, for ``threshold_``; see `calibrate`.
            false_alarms: Share of held-out normals that may lie above ``threshold_``.
            resume: A checkpoint file, written after each epoch, and taken up if it exists; a run that was killed ends
                as an unbroken one would have.
            on_epoch_end: Called with the detector, ready to score, and the epoch's number from 1; numbers it returns
                join that epoch's line in ``history_``.
            progress: Show a bar with losses and images per second.

        Returns:
            The detector itself.

        Raises:
            ValueError: Images of a wrong form, fewer than two, or a checkpoint of other settings or images.
            TrainingDiverged: A loss is no longer finite.

        Warns:
            CollapsedWarning: Scores do not vary, or the images made from different inputs are all alike.
        """
        return finish(
            self.fit_turns(
                X,
                calibration=calibration,
                false_alarms=false_alarms,
                resume=resume,
                on_epoch_end=on_epoch_end,
                progress=progress,
            )
        )

    def fit_turns(
        self,
        X: Any,
        *,
        calibration: Any = None,
        false_alarms: float = 0.05,
        resume: str | Path | None = None,
        on_epoch_end: Callable[[Self, int], dict[str, float] | None] | None = None,
        progress: bool = True,
    ) -> Turns[Self]:
        """Do as `fit`, handing over after each training step; for `ccb_lib.training.concurrent.side_by_side`.

        Yields:
            Whether others may come in between; see `ccb_lib.training.loop.training`.
        """
        images = as_images(X, image_size=self.image_size, channels=self.channels, name="X")
        if len(images) < 2:
            raise ValueError(f"X: {len(images)} image given; at least two normal images are needed to learn from.")
        size, channels = int(images.shape[-1]), int(images.shape[1])
        if calibration is not None:
            calibration = as_images(calibration, image_size=size, channels=channels, name="calibration")
        self.image_size_ = self.channels_ = None  # not fitted, should what follows be stopped
        self.calibration_terms_ = self._threshold = None
        self.show_progress = progress
        callback = None if on_epoch_end is None else lambda epoch: on_epoch_end(self, epoch)
        self.history_ = yield from self._fit(images, resume=resume, on_epoch_end=callback, progress=progress)
        self.image_size_, self.channels_ = size, channels
        self.origin_ = {"images": digest(images), "trained on": len(images), **self._made_with()}
        if calibration is not None:
            self.calibrate(calibration, false_alarms)
        self.collapsed_ = list(self._signs_of_collapse(images))
        self._warn_of_collapse(stacklevel=5)  # whoever called fit
        return self

    def _warn_of_collapse(self, stacklevel: int) -> None:
        if self.collapsed_:
            warnings.warn(
                f"{type(self).__name__} treats images alike: {'; '.join(self.collapsed_)}. Its training collapsed or "
                "has hardly begun, and its scores mean nothing. Train longer, lower learning_rate, or try another "
                "seed.",
                CollapsedWarning,
                stacklevel=stacklevel,
            )

    def _made_with(self) -> dict[str, str]:
        from ccb_lib import __version__

        cuda = self.device_.type == "cuda"
        device = torch.cuda.get_device_name(self.device_) if cuda else f"CPU, {torch.get_num_threads()} threads"
        return {"device": device, "torch": torch.__version__, "ccb_lib": __version__}

    def _signs_of_collapse(self, images: Tensor) -> Iterator[str]:
        """Say what shows that `fit` led nowhere; ``images`` are those of training."""
        if self.calibration_terms_ is not None and all_equal(self.calibration_scores_):
            yield "the calibration images all have the same score"

    @abstractmethod
    def _fit(
        self,
        images: Tensor,
        *,
        resume: str | Path | None,
        on_epoch_end: Callable[[int], dict[str, float] | None] | None,
        progress: bool,
    ) -> Turns[list[dict[str, float]]]:
        """Learn from (N, C, H, W) uint8, handing over between steps; return the history."""

    # ── scoring ───────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def score_terms(
        self,
        images: Any,
        *,
        batch_norm: str = "running",
        batch_size: int | None = None,
        dropout: bool = False,
    ) -> ScoreTerms:
        """Return both terms of Eq. 2 for each image."""

    def decision_function(self, images: Any) -> NDArray[np.float32]:
        """Score images by Eq. 2.

        Returns:
            (N,) float32, higher is more abnormal; a score depends on its image alone.
        """
        return anomaly_score(self.score_terms(images), self.alpha)

    def calibrate(self, normals: Any, false_alarms: float = 0.05) -> Self:
        """Set ``threshold_`` from normal images that were not trained on.

        Args:
            normals: Normal images.
            false_alarms: Share of them that may lie above the threshold, between 0 and 1.
        """
        terms = self.score_terms(normals)
        normal_quantile(anomaly_score(terms, self.alpha), false_alarms)  # refuses bad input before anything changes
        self.calibration_terms_, self.false_alarms_, self._threshold = terms, false_alarms, None
        return self

    @property
    def calibration_scores_(self) -> NDArray[np.float32]:
        """(M,) float32, the scores of the calibration images under the present α."""
        if self.calibration_terms_ is None:
            raise NotReady(
                f"This {type(self).__name__} has no calibration images. Call calibrate(normals) with held-out normal "
                "images, or give fit(…, calibration=normals)."
            )
        return anomaly_score(self.calibration_terms_, self.alpha)

    @property
    def threshold_(self) -> float:
        """φ of Eq. 3: the quantile of the calibration scores, or what it was set to by hand."""
        if self._threshold is not None:
            return self._threshold
        return normal_quantile(self.calibration_scores_, self.false_alarms_)

    @threshold_.setter
    def threshold_(self, value: float) -> None:
        if not np.isfinite(value):
            raise ValueError(f"threshold_={value} given; a finite number is needed.")
        self._threshold = float(value)

    def predict(self, images: Any) -> NDArray[np.int_]:
        """Eq. 3: 1 (abnormal) where the score > ``threshold_``, else 0; (N,) int.

        Raises:
            NotReady: There is no threshold; calibrate() sets one.
        """
        threshold = self.threshold_
        return (self.decision_function(images) > threshold).astype(int)

    def p_values(self, images: Any) -> NDArray[np.float64]:
        """Split conformal p-values against the calibration images: (N,) in (0, 1], lower is more abnormal.

        See `ccb_lib.thresholds.conformal_p_values` for the guarantee.
        """
        return conformal_p_values(self.decision_function(images), self.calibration_scores_)

    @abstractmethod
    def reconstruct(self, images: Any) -> Tensor:
        """Rebuild images: (N, C, H, W) uint8 on the CPU."""

    @abstractmethod
    def anomaly_map(self, images: Any) -> NDArray[np.float32]:
        """Squared error of each pixel, in units of the networks' range [-1, 1]: (N, H, W) float32."""

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _state(self) -> dict[str, Tensor]:
        """Return everything learnt, by name."""

    @abstractmethod
    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `_state` gave; ``image_size_`` and ``channels_`` are set."""

    def save(self, path: str | Path) -> None:
        """Write the detector to one safetensors file, settings and calibration in its header; no pickle.

        Raises:
            NotReady: The detector was not fitted.
            OSError: The folder cannot be written to.
        """
        self._check_fitted()
        terms = self.calibration_terms_
        header = {
            "kind": "detector",
            "version": FORMAT_VERSION,
            "method": self.method,
            "settings": {**self.get_params(), "device": "auto"},
            "image_size": self.image_size_,
            "channels": self.channels_,
            "history": self.history_,
            "origin": self.origin_,
            "collapsed": self.collapsed_,
            "calibration": terms and {"image": terms.image.tolist(), "latent": terms.latent.tolist()},
            "false_alarms": self.false_alarms_,
            "threshold": self._threshold,
        }
        save_tensors(path, self._state(), header)

    def _check_fitted(self) -> tuple[int, int]:
        """Return image size and channels of what the detector learnt from."""
        if self.image_size_ is None or self.channels_ is None:
            raise NotReady(
                f"This {type(self).__name__} was not fitted. Call fit(images) first, or load_detector(path)."
            )
        return self.image_size_, self.channels_

    def _own_images(self, images: Any) -> Tensor:
        size, channels = self._check_fitted()
        return as_images(images, image_size=size, channels=channels)
