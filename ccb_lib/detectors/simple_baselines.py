"""Baselines without networks: on some data sets they beat the networks."""

import io
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ccb_lib.detectors.base import Detector
from ccb_lib.detectors.estimator import setting
from ccb_lib.io.images import to_uint8, to_unit
from ccb_lib.io.tensors import check_tensors
from ccb_lib.metrics import ScoreTerms, error_map
from ccb_lib.training.types import Turns

_CHUNK = 1024  # images processed at once
_PIXELS = 8 * _CHUNK * 3 * 32**2  # pixels of training images compared at once: 100 MB as float32


@dataclass(kw_only=True, eq=False)
class TrivialDetector(Detector):
    """A score of one term, given as both terms of Eq. 2, so that it is the same for every α.

    Training has no epochs and no batches. So ``resume``, ``on_epoch_end`` and the protocols'
    ``batch_norm``, ``batch_size`` and ``dropout`` are accepted and ignored, and ``history_`` is
    empty.
    """

    scores_each_epoch: ClassVar[bool] = False  # there are no epochs
    _rebuilt_on_copy: ClassVar[frozenset[str]] = Detector._rebuilt_on_copy | {"learnt_"}

    # Both terms are equal, so α does not matter; at 1 the sum of Eq. 2 is exact.
    alpha: float = setting(1.0, training=False)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self.learnt_: dict[str, Tensor] = {}

    def _fit(
        self,
        images: Tensor,
        *,
        resume: str | Path | None,
        on_epoch_end: Callable[[int], dict[str, float] | None] | None,
        progress: bool,
    ) -> Turns[list[dict[str, float]]]:
        self.learnt_ = {
            name: tensor.to(self.device_) for name, tensor in self.learn(images).items()
        }
        yield from ()  # no training steps
        return []

    def learn(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the tensors to keep, by name, from (N, C, H, W) uint8; none by default."""
        return {}

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """(B, C, H, W) uint8 on the detector's device → (B,) float32, higher is more abnormal."""

    def rebuild(self, x: Tensor) -> Tensor:
        """Reconstruct images, (B, C, H, W) uint8 → the same; by default return them unchanged."""
        return x

    def score_terms(
        self,
        images: Any,
        *,
        batch_norm: str = "running",
        batch_size: int | None = None,
        dropout: bool = False,
    ) -> ScoreTerms:
        """Return the score of each image as both terms of Eq. 2.

        Args:
            images: N images.
            batch_norm: Ignored: there is no batch norm.
            batch_size: Ignored: a score depends on its image alone.
            dropout: Ignored: there is no dropout.

        Returns:
            ScoreTerms(image, latent), both the same (N,) float32, higher is more abnormal.

        Raises:
            NotReady: The detector was not fitted.
            ValueError: Images of an unsupported form.
        """
        values = self._chunks(images, self.scores).float().numpy()
        return ScoreTerms(image=values, latent=values)

    def reconstruct(self, images: Any) -> Tensor:
        """Reconstruct images with `rebuild`: (N, C, H, W) uint8 on the CPU."""
        return self._chunks(images, self.rebuild)

    def anomaly_map(self, images: Any) -> NDArray[np.float32]:
        """Squared difference from `reconstruct` in [-1, 1], averaged over channels.

        Returns:
            (N, H, W) float32.
        """
        return self._chunks(
            images, lambda x: error_map(to_unit(x), to_unit(self.rebuild(x)))
        ).numpy()

    def _chunks(self, images: Any, function: Callable[[Tensor], Tensor]) -> Tensor:
        own = self._own_images(images)
        return torch.cat([function(part.to(self.device_)).cpu() for part in own.split(_CHUNK)])

    def _state(self) -> dict[str, Tensor]:
        return self.learnt_

    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        check_tensors(tensors, self._wanted(tensors))
        self.learnt_ = {name: tensor.to(self.device_) for name, tensor in tensors.items()}

    def _wanted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors on the meta device, with the shapes and dtypes that a file must hold."""
        return {}


@dataclass(kw_only=True, eq=False)
class PixelPCA(TrivialDetector):
    """Mean squared residual of a principal component analysis of the pixels in [-1, 1].

    scikit-learn chooses the solver. At the sizes of the tables it is the randomised solver, which
    approximates the components; it uses the detector's seed.

    >>> from ccb_lib import PixelPCA, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = PixelPCA(components=8).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        components: Number of components; at most the number of training images and of pixels.
    """

    method: ClassVar[str] = "pca"

    components: int = 256

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._need_whole("components")

    def learn(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the mean (P,) and the components (K, P) of P = C·H·W pixels with scikit-learn."""
        from sklearn.decomposition import PCA

        pixels = to_unit(images.cpu()).flatten(1).numpy()
        pca = PCA(min(self.components, *pixels.shape), random_state=self.seed).fit(pixels)
        return {
            "mean": torch.from_numpy(pca.mean_),
            "components": torch.from_numpy(pca.components_).contiguous(),
        }

    def scores(self, x: Tensor) -> Tensor:
        """Mean squared residual of each image."""
        pixels = to_unit(x).flatten(1)
        return (pixels - self._project(pixels)).square().mean(1)

    def rebuild(self, x: Tensor) -> Tensor:
        """Project images onto the components and clip them to 0…255."""
        return to_uint8(self._project(to_unit(x).flatten(1)).view(x.shape))

    def _project(self, pixels: Tensor) -> Tensor:
        mean, components = self.learnt_["mean"], self.learnt_["components"]
        return mean + (pixels - mean) @ components.T @ components

    def _wanted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        size, channels = self._check_fitted()
        pixels, rows = channels * size**2, max(1, min(self.components, len(tensors["components"])))
        return {
            "mean": torch.empty(pixels, device="meta"),
            "components": torch.empty(rows, pixels, device="meta"),
        }


@dataclass(kw_only=True, eq=False)
class MeanIntensity(TrivialDetector):
    """The mean of all pixels and channels, 0 to 255: a brighter image is more abnormal.

    >>> from ccb_lib import MeanIntensity, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = MeanIntensity().fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)
    """

    method: ClassVar[str] = "mean-intensity"

    def scores(self, x: Tensor) -> Tensor:
        """Mean of each image."""
        return x.float().flatten(1).mean(1)

    def rebuild(self, x: Tensor) -> Tensor:
        """Return a constant image of the mean, which is all that the score depends on."""
        return self.scores(x).round().to(torch.uint8).view(-1, 1, 1, 1).expand_as(x)


@dataclass(kw_only=True, eq=False)
class PNGBytes(TrivialDetector):
    """The size of the image as a PNG file in bytes: an image harder to compress is more abnormal.

    >>> from ccb_lib import PNGBytes, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = PNGBytes().fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)
    """

    method: ClassVar[str] = "png-bytes"

    def scores(self, x: Tensor) -> Tensor:
        """Bytes of each image's PNG file with Pillow's default settings."""
        return torch.tensor(
            [float(_png_bytes(image)) for image in x.cpu().permute(0, 2, 3, 1).numpy()]
        )


@dataclass(kw_only=True, eq=False)
class NearestNeighbours(TrivialDetector):
    """Mean Euclidean distance of the pixels in [-1, 1] to the nearest training images.

    All training images are kept, and are saved with the detector.

    >>> from ccb_lib import NearestNeighbours, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = NearestNeighbours(neighbours=3).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        neighbours: Number of distances averaged; at most the number of training images.
    """

    method: ClassVar[str] = "nearest-neighbours"

    neighbours: int = setting(5, training=False, terms=True)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._need_whole("neighbours")

    def learn(self, images: Tensor) -> dict[str, Tensor]:
        """Keep the images, (N, C, H, W) uint8."""
        return {"images": images}

    def scores(self, x: Tensor) -> Tensor:
        """Mean distance to the nearest training images."""
        return self._nearest(x)[0].mean(1)

    def rebuild(self, x: Tensor) -> Tensor:
        """Return the nearest training image."""
        return self.learnt_["images"][self._nearest(x)[1][:, 0]]

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return distances to the k nearest images, (B, k), nearest first, and their indices."""
        known, pixels = self.learnt_["images"], to_unit(x).flatten(1)
        k = min(self.neighbours, len(known))
        step = max(1, min(8 * _CHUNK, _PIXELS // pixels.shape[1]))
        squares = torch.empty(len(x), 0, device=x.device)
        rows = torch.empty(len(x), 0, dtype=torch.long, device=x.device)
        for first in range(0, len(known), step):
            others = to_unit(known[first : first + step]).flatten(1)
            # |x − y|² less |x|², which does not affect the order: (B, n).
            found = others.square().sum(1) - 2 * pixels @ others.T
            squares = torch.cat([squares, found], dim=1)
            new_rows = torch.arange(first, first + len(others), device=x.device)
            rows = torch.cat([rows, new_rows.expand(len(x), -1)], dim=1)
            squares, order = squares.topk(min(k, squares.shape[1]), largest=False)
            rows = rows.gather(1, order)
        # The expanded square above loses precision, so the distances of the k found are computed
        # directly.
        columns = [(pixels - to_unit(known[row]).flatten(1)).norm(dim=1) for row in rows.T]
        distances, order = torch.stack(columns, dim=1).sort(dim=1)
        return distances, rows.gather(1, order)

    def _wanted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        size, channels = self._check_fitted()
        shape = (max(1, len(tensors["images"])), channels, size, size)
        return {"images": torch.empty(shape, dtype=torch.uint8, device="meta")}


def _png_bytes(image: NDArray[np.uint8]) -> int:
    """Size of an (H, W, C) image as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.tell()
