"""What all detectors share: common settings, fitting, signs of collapse, saving."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccb_lib.detectors.estimator import NotReady, is_whole, setting
from ccb_lib.detectors.scorer import Scorer
from ccb_lib.environment import choose_device
from ccb_lib.io.images import SIZES, as_images
from ccb_lib.io.tensors import digest, save_tensors
from ccb_lib.metrics.scores import ScoreTerms, all_equal
from ccb_lib.training.types import Turns, finish

FORMAT_VERSION = 1


class CollapsedWarning(UserWarning):
    """A detector was fitted, but treats all images alike: its training collapsed, or has hardly begun."""


@dataclass(kw_only=True, eq=False)
class Detector(Scorer):
    """A score for images, learnt from normal ones alone; higher is more abnormal.

    ``images`` everywhere are uint8 (N, C, H, W), (N, H, W, C) or (N, H, W); a torch ``Dataset``; or
    a list of paths.

    Every detector is a scikit-learn estimator; see `ccb_lib.detectors.estimator.Estimator`.

    >>> from ccb_lib import PixelPCA, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = PixelPCA(components=8).fit(split.train, calibration=split.calibration)
    >>> detector.predict(split.test[:2]).shape
    (2,)

    Attributes:
        image_size: 32, 64 or 128 px demanded; ``None`` takes it from the data.
        channels: 1 or 3 demanded; ``None`` takes it from the data.
        alpha: α of Eq. 2, the weight of the image term, 0 to 1.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        seed: Of everything random.
        history_: After `fit`: one dict an epoch with the mean of each loss; ready for
            ``pandas.DataFrame``.
        origin_: After `fit`: what made it; `save` writes it along: ``images`` (a hash of those
            trained on), ``trained on`` (their number), ``device``, ``torch`` and ``ccb_lib``
            (versions).
        collapsed_: After `fit`: what shows that its training led nowhere, in words; empty where all
            is well. Saved along, and `load_detector` warns of it again.
        calibration_terms_: After `calibrate`: the score terms of the calibration images.
        false_alarms_: After `calibrate`: the share of false alarms that ``threshold_`` allows.
        show_progress: Show a bar where scoring takes long; `fit` sets it to its own ``progress``.
        scoring_folder: A folder where a method whose scoring takes hours keeps each batch's
            results, so that scoring that is stopped and started again goes on; ``None`` keeps
            nothing on disk.
    """

    method: ClassVar[str]
    released_in_train_mode: ClassVar[bool] = True  # whether public code tests with batch statistics
    scores_each_epoch: ClassVar[bool] = True  # whether a protocol may choose among epochs

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
        self._take_numpy()
        self._need_choice("image_size", SIZES)
        self._need_choice("channels", (1, 3))
        self._need_number("alpha", lambda value: 0 <= value <= 1, "a number from 0 to 1")
        self._need(
            is_whole(self.seed) and 0 <= self.seed < 2**31,
            "seed",
            "a whole number from 0 to 2³¹ − 1",
        )
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
        """Tell whether `fit` has ended; for `sklearn.utils.validation.check_is_fitted`."""
        return self.image_size_ is not None and self.channels_ is not None

    def _forget_fit(self) -> None:
        self.image_size_ = self.channels_ = None
        self._forget_calibration()

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
        """Learn what normal images look like.

        >>> from ccb_lib import PixelPCA, load_dataset
        >>> detector = PixelPCA(components=8).fit(load_dataset("digits", abnormal=8).train)
        >>> detector.image_size_, detector.channels_
        (32, 1)

        Args:
            X: Normal images, at least two.
            y: Ignored; there for pipelines.
            calibration: Held-out normal images, for ``threshold_``; see `calibrate`.
            false_alarms: Share of held-out normals that may lie above ``threshold_``.
            resume: A checkpoint file, written after each epoch, and taken up if it exists; a run
                that was killed ends as an unbroken one would have.
            on_epoch_end: Called with the detector, ready to score, and the epoch's number from 1;
                numbers it returns join that epoch's line in ``history_``.
            progress: Show a bar with losses and images per second.

        Returns:
            The detector itself.

        Raises:
            ValueError: Images of a wrong form, fewer than two, or a checkpoint of other settings or
                images.
            TrainingDiverged: A loss is no longer finite.

        Warns:
            CollapsedWarning: Scores do not vary, or the images made from different inputs are all
                alike.
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

    # `fit` repeats this signature, since users and scikit-learn's metadata routing read a method's
    # parameters from it. The body is here alone: training several detectors on one GPU needs a
    # generator, which `fit` runs to its end.
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
        """Do as `fit`, but pause after each training step; for `ccb_lib.training.concurrent`.

        >>> from ccb_lib import MeanIntensity, load_dataset
        >>> from ccb_lib.training.types import finish
        >>> finish(MeanIntensity().fit_turns(load_dataset("digits", abnormal=8).train)).channels_
        1

        Yields:
            Whether others may come in between; see `ccb_lib.training.loop.training`.
        """
        images = as_images(X, image_size=self.image_size, channels=self.channels, name="X")
        if len(images) < 2:
            raise ValueError(
                f"X: {len(images)} image given; at least two normal images are needed to learn "
                "from."
            )
        size, channels = int(images.shape[-1]), int(images.shape[1])
        if calibration is not None:
            calibration = as_images(
                calibration, image_size=size, channels=channels, name="calibration"
            )
        self._forget_fit()  # should what follows be stopped
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
        self._warn_of_collapse(stacklevel=5)  # whoever called fit
        return self

    def _warn_of_collapse(self, stacklevel: int) -> None:
        if self.collapsed_:
            warnings.warn(
                f"{type(self).__name__} treats images alike: {'; '.join(self.collapsed_)}. Its "
                "training collapsed or has hardly begun, and its scores mean nothing. Train "
                "longer, lower learning_rate, or try another seed.",
                CollapsedWarning,
                stacklevel=stacklevel,
            )

    def _made_with(self) -> dict[str, str]:
        from ccb_lib import __version__

        cuda = self.device_.type == "cuda"
        device = (
            torch.cuda.get_device_name(self.device_)
            if cuda
            else f"CPU, {torch.get_num_threads()} threads"
        )
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

    # ── scoring ───────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def reconstruct(self, images: Any) -> Tensor:
        """Rebuild images: (N, C, H, W) uint8 on the CPU.

        >>> from ccb_lib import PixelPCA, load_dataset
        >>> images = load_dataset("digits", abnormal=8).train[:64]
        >>> PixelPCA(components=8).fit(images).reconstruct(images[:2]).shape
        torch.Size([2, 1, 32, 32])
        """

    @abstractmethod
    def anomaly_map(self, images: Any) -> NDArray[np.float32]:
        """Squared error of each pixel, in units of the networks' range [-1, 1]: (N, H, W) float32.

        >>> from ccb_lib import PixelPCA, load_dataset
        >>> images = load_dataset("digits", abnormal=8).train[:64]
        >>> PixelPCA(components=8).fit(images).anomaly_map(images[:2]).shape
        (2, 32, 32)
        """

    # ── files ─────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> None:
        """Write the detector to one safetensors file, settings and calibration in its header; no pickle.

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
        """Return image size and channels of what the detector learnt from."""
        if self.image_size_ is None or self.channels_ is None:
            raise NotReady(
                f"This {type(self).__name__} was not fitted. Call fit(images) first, or "
                "load_detector(path)."
            )
        return self.image_size_, self.channels_

    def _own_images(self, images: Any) -> Tensor:
        size, channels = self._check_fitted()
        return as_images(images, image_size=size, channels=channels)
