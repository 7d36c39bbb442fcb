"""The base class of all detectors: common settings, fitting, signs of collapse, saving."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ccb_lib.detectors.estimator import NotReady, is_whole, setting
from ccb_lib.detectors.scorer import Scorer
from ccb_lib.environment import choose_device
from ccb_lib.io.images import SIZES, as_images
from ccb_lib.io.tensors import digest, save_tensors
from ccb_lib.metrics import normal_quantile
from ccb_lib.metrics.anomaly_scores import ScoreTerms, all_equal
from ccb_lib.training.types import Turns, finish

FORMAT_VERSION = 1


class CollapsedWarning(UserWarning):
    """The fitted detector gives all images nearly the same score or output.

    Its training collapsed, or was too short.
    """


@dataclass(kw_only=True, eq=False)
class Detector(Scorer):
    """A score for images, learnt from normal images alone; higher is more abnormal.

    In all methods ``images`` are uint8 (N, C, H, W), (N, H, W, C) or (N, H, W); a torch
    ``Dataset``; or a list of paths.

    Every detector is a scikit-learn estimator; see `ccb_lib.detectors.estimator.Estimator`.

    >>> from ccb_lib import PixelPCA, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = PixelPCA(components=8).fit(split.train, calibration=split.calibration)
    >>> detector.predict(split.test[:2]).shape
    (2,)

    Attributes:
        image_size: Required image size, 32, 64 or 128 px; ``None`` takes it from the data.
        channels: Required number of channels, 1 or 3; ``None`` takes it from the data.
        alpha: α of Eq. 2, the weight of the image term, 0 to 1.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        seed: Seed of every random draw.
        history_: After `fit`: one dict per epoch with the mean of each loss; ``pandas.DataFrame``
            takes it as it is.
        origin_: After `fit`: where the detector comes from, stored by `save`: ``images`` (a hash of
            the training images), ``trained on`` (their number), ``device``, ``torch`` and
            ``ccb_lib`` (versions).
        collapsed_: After `fit`: the signs that training collapsed, one text each; empty if there
            are none. `save` stores them, and `load_detector` warns of them again.
        calibration_terms_: After `calibrate`: the score terms of the calibration images.
        false_alarms_: After `calibrate`: the share of false alarms that ``threshold_`` allows.
        show_progress: Show a progress bar where scoring takes long; `fit` sets it to its own
            ``progress``.
        scoring_folder: A folder where a method whose scoring takes hours stores the results of each
            batch, so that interrupted scoring resumes; ``None`` stores nothing on disk.
    """

    method: ClassVar[str]
    # The data sets that the public code tests as RELEASED does; ``None`` is all.
    released_on: ClassVar[tuple[str, ...] | None] = None
    scores_each_epoch: ClassVar[bool] = True  # whether a protocol may choose an epoch

    image_size: int | None = None
    channels: int | None = None
    alpha: float = setting(0.9, training=False)
    device: str = setting("auto", training=False)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: A setting lies outside its range.
        """
        self._convert_numpy()
        self._need_choice("image_size", SIZES)
        self._need_choice("channels", (1, 3))
        self._need_number("alpha", lambda value: 0 <= value <= 1, "a number from 0 to 1")
        valid_seed = is_whole(self.seed) and 0 <= self.seed < 2**31
        self._need(valid_seed, "seed", "a whole number from 0 to 2³¹ − 1")
        self._derive()
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

    def _derive(self) -> None:
        self.device_ = choose_device(self.device)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` has ended; for `sklearn.utils.validation.check_is_fitted`."""
        return self.image_size_ is not None and self.channels_ is not None

    def _reset_fit(self) -> None:
        self.image_size_ = self.channels_ = None
        self._reset_calibration()

    # ── fitting ───────────────────────────────────────────────────────────────────────────────────

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
        """Fit the detector to normal images.

        >>> from ccb_lib import PixelPCA, load_dataset
        >>> detector = PixelPCA(components=8).fit(load_dataset("digits", abnormal=8).train)
        >>> detector.image_size_, detector.channels_
        (32, 1)

        Args:
            X: Normal images, at least two.
            y: Ignored; accepted for scikit-learn's pipelines.
            calibration: Held-out normal images, for ``threshold_``; see `calibrate`.
            false_alarms: Share of the calibration images that may lie above ``threshold_``.
            resume: A checkpoint file, written after each epoch. If it exists, training resumes from
                it; an interrupted run ends as an uninterrupted one would.
            on_epoch_end: Called after each epoch with the detector, ready to score, and the epoch's
                number from 1. The numbers that it returns are added to that epoch's entry in
                ``history_``.
            progress: Show a progress bar with losses and images per second.

        Returns:
            The detector itself.

        Raises:
            ValueError: Images of an unsupported form, fewer than two images, a share of false
                alarms outside 0…1, or a checkpoint of other settings or images.
            TrainingDiverged: A loss is no longer finite.

        Warns:
            CollapsedWarning: All scores are equal, or the images generated from different inputs
                are nearly the same (mode collapse).
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

    # `fit` repeats this signature, which users and scikit-learn read there. The body is here
    # because training several detectors on one GPU needs a generator; `fit` runs it to its end.
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
        """Fit like `fit`, but pause after each training step; for `ccb_lib.training.concurrent`.

        >>> from ccb_lib import MeanIntensity, load_dataset
        >>> from ccb_lib.training.types import finish
        >>> finish(MeanIntensity().fit_turns(load_dataset("digits", abnormal=8).train)).channels_
        1

        Yields:
            Whether another detector may train a step now; see `ccb_lib.training.loop.training`.
        """
        images = as_images(X, image_size=self.image_size, channels=self.channels, name="X")
        if len(images) < 2:
            raise ValueError(
                f"X: {len(images)} image given; training needs at least two normal images."
            )
        size, channels = int(images.shape[-1]), int(images.shape[1])
        if calibration is not None:
            normal_quantile([0.0], false_alarms)  # a wrong share is reported before the training
            calibration = as_images(
                calibration, image_size=size, channels=channels, name="calibration"
            )
        self._reset_fit()  # so that an interrupted fit leaves the detector not fitted
        self.show_progress = progress
        callback = None if on_epoch_end is None else lambda epoch: on_epoch_end(self, epoch)
        self.history_ = yield from self._fit(
            images, resume=resume, on_epoch_end=callback, progress=progress
        )
        self.image_size_, self.channels_ = size, channels
        self.origin_ = {"images": digest(images), "trained on": len(images), **self._made_with()}
        if calibration is not None:
            self.calibrate(calibration, false_alarms)
        self.collapsed_ = list(self._signs_of_collapse(images))
        self._warn_of_collapse(stacklevel=5)  # the caller of fit
        return self

    def _warn_of_collapse(self, stacklevel: int) -> None:
        if self.collapsed_:
            warnings.warn(
                f"{type(self).__name__} treats images alike: {'; '.join(self.collapsed_)}. Its "
                "training collapsed or was too short, and its scores carry no information. Train "
                "longer, lower learning_rate, or try another seed.",
                CollapsedWarning,
                stacklevel=stacklevel,
            )

    def _made_with(self) -> dict[str, str]:
        from ccb_lib import __version__

        on_cuda = self.device_.type == "cuda"
        cpu = f"CPU, {torch.get_num_threads()} threads"
        device = torch.cuda.get_device_name(self.device_) if on_cuda else cpu
        return {"device": device, "torch": torch.__version__, "ccb_lib": __version__}

    def _signs_of_collapse(self, images: Tensor) -> Iterator[str]:
        """Describe the signs that training collapsed; ``images`` are the training images."""
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
        """Train on (N, C, H, W) uint8, yielding between steps; return the history."""

    # ── files ─────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> None:
        """Write the detector to one safetensors file, without pickle.

        The header holds the settings and the calibration.

        >>> import tempfile
        >>> from ccb_lib import PixelPCA, load_dataset, load_detector
        >>> images = load_dataset("digits", abnormal=8).train[:64]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     PixelPCA(components=8).fit(images).save(f"{folder}/pca.safetensors")
        ...     load_detector(f"{folder}/pca.safetensors").components
        8

        Raises:
            NotReady: The detector was not fitted.
            OSError: The folder cannot be written to.
        """
        self._check_fitted()
        terms, state = self.calibration_terms_, self._state()
        header = {
            "kind": "detector",
            "version": FORMAT_VERSION,
            "weights": digest(*(state[name] for name in sorted(state))),
            "method": self.method,
            "settings": {**self.get_params(), "device": "auto"},
            "image_size": self.image_size_,
            "channels": self.channels_,
            "history": self.history_,
            "origin": self.origin_,
            "collapsed": self.collapsed_,
            "calibration": terms
            and {"image": terms.image.tolist(), "latent": terms.latent.tolist()},
            "false_alarms": self.false_alarms_,
            "threshold": self._threshold,
        }
        save_tensors(path, state, header)

    def _check_fitted(self) -> tuple[int, int]:
        """Return the size and the channels of the training images; raise NotReady before `fit`."""
        if self.image_size_ is None or self.channels_ is None:
            raise NotReady(
                f"This {type(self).__name__} was not fitted. Call fit(images) first, or "
                "load_detector(path)."
            )
        return self.image_size_, self.channels_

    def _own_images(self, images: Any) -> Tensor:
        size, channels = self._check_fitted()
        return as_images(images, image_size=size, channels=channels)
