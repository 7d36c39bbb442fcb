"""From the two terms of Eq. 2 to scores, a threshold, predictions and p-values."""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metadata_routing import UNUSED
from torch import Tensor

from ccb_lib.detectors.estimator import Estimator, NotReady
from ccb_lib.metrics.anomaly_scores import ScoreTerms, anomaly_score
from ccb_lib.metrics.shift import compare_with_calibration, warn_of_shift
from ccb_lib.metrics.thresholds import conformal_p_values, normal_quantile


class Scorer(Estimator):
    """What every detector derives from score terms, α and calibration images; see `Detector`."""

    # Images are data; scikit-learn must not route them as metadata.
    __metadata_request__predict: ClassVar = {"images": UNUSED}
    __metadata_request__decision_function: ClassVar = {"images": UNUSED}

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

    @abstractmethod
    def reconstruct(self, images: Any) -> Tensor:
        """Reconstruct images: (N, C, H, W) uint8 on the CPU.

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

    def decision_function(self, images: Any) -> NDArray[np.float32]:
        """Score images by Eq. 2.

        >>> from ccb_lib import PixelPCA, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> PixelPCA(components=8).fit(split.train[:64]).decision_function(split.test[:3]).shape
        (3,)

        Args:
            images: N images, in any form that `Detector` lists.

        Returns:
            (N,) float32, higher is more abnormal; a score depends on its image alone.

        Raises:
            NotReady: The detector was not fitted.
            ValueError: Images of an unsupported form.
        """
        return anomaly_score(self.score_terms(images), self.alpha)

    def calibrate(self, normals: Any, false_alarms: float = 0.05) -> Self:
        """Set ``threshold_`` from normal images that were not trained on.

        >>> from ccb_lib import MeanIntensity, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> detector = MeanIntensity().fit(split.train)
        >>> detector = detector.calibrate(split.calibration, false_alarms=0.1)
        >>> bool((detector.calibration_scores_ > detector.threshold_).mean() <= 0.1)
        True

        Args:
            normals: Normal images.
            false_alarms: Share of them that may lie above the threshold, between 0 and 1.

        Returns:
            The detector itself.

        Raises:
            NotReady: The detector was not fitted.
            ValueError: Images of an unsupported form, or a share outside 0…1.
        """
        terms = self.score_terms(normals)
        # Raises ValueError for bad input before the detector changes.
        normal_quantile(anomaly_score(terms, self.alpha), false_alarms)
        self.calibration_terms_, self.false_alarms_, self._threshold = terms, false_alarms, None
        return self

    @property
    def calibration_scores_(self) -> NDArray[np.float32]:
        """(M,) float32, the scores of the calibration images at the current α."""
        if self.calibration_terms_ is None:
            raise NotReady(
                f"This {type(self).__name__} has no calibration images. Call calibrate(normals) "
                "with held-out normal images, or give fit(…, calibration=normals)."
            )
        return anomaly_score(self.calibration_terms_, self.alpha)

    @property
    def threshold_(self) -> float:
        """φ of Eq. 3: the quantile of the calibration scores, or the value that the user set."""
        if self._threshold is not None:
            return self._threshold
        return normal_quantile(self.calibration_scores_, self.false_alarms_)

    @threshold_.setter
    def threshold_(self, value: float) -> None:
        if not np.isfinite(value):
            raise ValueError(f"threshold_={value} given; a finite number is needed.")
        self._threshold = float(value)

    def predict(self, images: Any) -> NDArray[np.int_]:
        """Eq. 3: 1 (abnormal) where the score > ``threshold_``, else 0.

        >>> from ccb_lib import MeanIntensity, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> detector = MeanIntensity().fit(split.train, calibration=split.calibration)
        >>> sorted({int(label) for label in detector.predict(split.test)})
        [0, 1]

        Args:
            images: N images, in any form that `Detector` lists.

        Returns:
            (N,) int.

        Raises:
            NotReady: There is no threshold; calibrate() sets one.

        Warns:
            ShiftWarning: The images differ from the calibration images by more than an abnormal
                half can explain. It is a false warning for at most one set in a thousand. See
                `ccb_lib.metrics.shift.compare_with_calibration`.
        """
        threshold, scores = self.threshold_, self.decision_function(images)
        if self.calibration_terms_ is not None:
            warn_of_shift(
                compare_with_calibration(scores, self.calibration_scores_, threshold), stacklevel=2
            )
        return (scores > threshold).astype(int)

    def fit_predict(
        self, X: Any, y: Any = None, *, calibration: Any = None, **options: Any
    ) -> NDArray[np.int_]:
        """Call `fit`, then `predict` on the same images.

        >>> from ccb_lib import PixelPCA, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> detector = PixelPCA(components=8)
        >>> labels = detector.fit_predict(split.train[:64], calibration=split.calibration)
        >>> set(labels.tolist()) <= {0, 1}
        True

        Args:
            X: Normal images, at least two.
            y: Ignored; accepted for scikit-learn's pipelines.
            calibration: Held-out normal images, from which the threshold is set.
            **options: Passed to `fit`.

        Returns:
            (N,) int: 1 (abnormal) where the score > ``threshold_``, else 0; the outlier detectors
            of scikit-learn return -1 and 1.

        Raises:
            ValueError: ``calibration`` is missing, or as in `fit`.
        """
        if calibration is None:
            raise ValueError(
                f"{type(self).__name__}.fit_predict was given no calibration images, which the "
                "threshold is set from. Give calibration= held-out normal images."
            )
        return self.fit(X, y, calibration=calibration, **options).predict(X)

    def p_values(self, images: Any) -> NDArray[np.float64]:
        """Split conformal p-values against the calibration images.

        See `ccb_lib.metrics.thresholds.conformal_p_values`.

        >>> from ccb_lib import MeanIntensity, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> detector = MeanIntensity().fit(split.train, calibration=split.calibration)
        >>> bool((detector.p_values(split.test) > 0).all())
        True

        Args:
            images: N images, in any form that `Detector` lists.

        Returns:
            (N,) float64 in (0, 1], lower is more abnormal.

        Raises:
            NotReady: There are no calibration images.
        """
        return conformal_p_values(self.decision_function(images), self.calibration_scores_)

    def _reset_calibration(self) -> None:
        self.calibration_terms_ = self._threshold = None
