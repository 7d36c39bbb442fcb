"""Scoring with trained networks: batches, memory layout, captured graphs, and their tensors."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ccb_lib.detectors.base import Detector
from ccb_lib.environment import seeded
from ccb_lib.io.images import to_uint8, to_unit
from ccb_lib.io.tensors import check_tensors
from ccb_lib.metrics.anomaly_scores import ScoreTerms, error_map
from ccb_lib.models.modes import scoring_mode
from ccb_lib.training.cuda_graphs import CapturedFunction

_SCORING_BATCH = 256  # images at 32 px
_LARGER = 8  # factor on CUDA, where launching a kernel costs the same for any batch size
_CHANNELS_LAST_FROM = 8  # width; a narrower network scores about 5 % slower so on a CPU (ccb bench)
_UPLOAD = 2**28  # bytes of images copied to the device at once


class NetworkScorer(Detector):
    """The scoring of a detector with networks; `AdversarialDetector` adds settings and training."""

    terms_capturable: ClassVar[bool] = True  # whether `terms` runs without waiting for the device

    width: int
    fast_: bool | str
    networks_: dict[str, nn.Module]
    # Captured scoring graphs. A graph reads weights at fixed addresses, so there are graphs only
    # during training, when the weights stay at their addresses.
    _captured: dict[Any, CapturedFunction] | None

    @abstractmethod
    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Build the networks by name, with newly initialised weights."""

    @abstractmethod
    def rebuild(self, x: Tensor) -> Tensor:
        """M of Eq. 1: x → x̂, (B, C, H, W) float32 in [-1, 1]."""

    @abstractmethod
    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms of Eq. 2 for (B, C, H, W) in [-1, 1].

        Returns:
            (B,) float32 each, higher is more abnormal.
        """

    def score_terms(
        self,
        images: Any,
        *,
        batch_norm: str = "running",
        batch_size: int | None = None,
        dropout: bool = False,
    ) -> ScoreTerms:
        """Return both terms of Eq. 2 for each image.

        >>> from ccb_lib import CCB, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> detector = CCB(epochs=1, width=4).fit(split.train[:64], progress=False)
        >>> terms = detector.score_terms(split.test[:5], batch_norm="batch")
        >>> terms.image.shape, terms.latent.shape
        ((5,), (5,))

        With the defaults a score depends on its image alone. The other values reproduce published
        test loops; see the chapter on protocols.

        Args:
            images: N images.
            batch_norm: ``"running"`` uses the running statistics of training, ``"batch"`` the
                statistics of each batch. Neither changes the detector.
            batch_size: Images scored together; it affects scores only with ``"batch"`` statistics,
                whose default is 256.
            dropout: Leave dropout active; its draws follow from the detector's seed.

        Returns:
            ScoreTerms(image, latent), (N,) float32 each, higher is more abnormal.

        Raises:
            NotReady: The detector was not fitted.
            ValueError: Images of an unsupported form, or an unknown ``batch_norm``.
        """
        images = self._own_images(images)
        parts = list(self._batches(images, self.terms, batch_norm, batch_size, dropout))
        image, latent = (
            torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)
        )
        return ScoreTerms(image=image, latent=latent)

    def reconstruct(self, images: Any) -> Tensor:
        """Reconstruct images by Eq. 1.

        Returns:
            (N, C, H, W) uint8 on the CPU.
        """
        batches = self._batches(
            self._own_images(images), lambda x: (to_uint8(self.rebuild(x)).cpu(),)
        )
        return torch.cat([part for (part,) in batches])

    def anomaly_map(self, images: Any) -> NDArray[np.float32]:
        """Squared error of each pixel in the range [-1, 1], averaged over channels.

        Returns:
            (N, H, W) float32.
        """
        batches = self._batches(
            self._own_images(images), lambda x: (error_map(x, self.rebuild(x)).cpu(),)
        )
        return torch.cat([part for (part,) in batches]).numpy()

    def _batches(
        self,
        images: Tensor,
        function: Callable[[Tensor], tuple[Tensor, ...]],
        batch_norm: str = "running",
        batch_size: int | None = None,
        dropout: bool = False,
    ) -> Iterator[tuple[Tensor, ...]]:
        """Apply ``function`` to batches in [-1, 1]; yield its results."""
        size = (
            self._scoring_batch(int(images.shape[-1]), batch_norm)
            if batch_size is None
            else batch_size
        )
        if size < 1:
            raise ValueError(f"batch_size={batch_size} given; a whole number from 1 is needed.")
        if batch_norm == "running":  # batches of equal size need little padding
            size = -(-len(images) // -(-len(images) // size))
        upload = size * max(1, _UPLOAD // (size * images[0].numel()))
        with (
            scoring_mode(self.networks_, batch_norm, dropout),
            seeded(self.seed, self.device_),
            torch.no_grad(),
        ):
            for part in (
                part for sent in images.split(upload) for part in sent.to(self.device_).split(size)
            ):
                # Kernels may round differently at another batch size. Padding a short last batch
                # keeps scores bit-equal in any order. With batch statistics the padding would
                # change the scores.
                fill = size - len(part) if len(images) > size and batch_norm == "running" else 0
                batch = torch.cat([part, part[:1].expand(fill, -1, -1, -1)]) if fill else part
                x = to_unit(batch, self._layout)
                results = self._as_captured(function, x, batch_norm, dropout)(x)
                yield tuple(result[: len(part)] for result in results)

    def _scoring_batch(self, image_size: int, batch_norm: str) -> int:
        """Number of images scored together; for batch statistics it is the same on every device."""
        if batch_norm != "running" or self.device_.type != "cuda" or not self.fast_:
            return _SCORING_BATCH
        return _SCORING_BATCH * _LARGER * 32**2 // image_size**2

    def _as_captured(
        self,
        function: Callable[[Tensor], tuple[Tensor, ...]],
        x: Tensor,
        batch_norm: str,
        dropout: bool,
    ) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """Return ``function``, captured as a CUDA graph for small batches during training.

        For a small batch, launching the kernels takes longer than running them.
        """
        small = len(x) <= _SCORING_BATCH and x.is_cuda
        able = self.terms_capturable and function == self.terms
        if self._captured is None or not (self.fast_ and small and able):
            return function
        key = tuple(x.shape), batch_norm, dropout
        if key not in self._captured:
            self._captured[key] = CapturedFunction(function, x)
        return self._captured[key]

    def _state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": v
            for name, net in self.networks_.items()
            for key, v in net.state_dict().items()
        }

    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        with torch.device("meta"):  # no memory is allocated before the file's shapes are checked
            self.networks_ = self.build(*self._check_fitted())
        check_tensors(tensors, self._state())
        for name, network in self.networks_.items():
            own = {
                k.removeprefix(f"{name}."): v
                for k, v in tensors.items()
                if k.startswith(f"{name}.")
            }
            network.load_state_dict(own, assign=True)
            self._placed(network).eval()

    def _placed(self, network: nn.Module) -> nn.Module:
        """Move a network to the detector's device and memory layout."""
        return network.to(self.device_, memory_format=self._layout)

    @property
    def _layout(self) -> torch.memory_format:
        """The memory layout of images and weights in which convolutions are fastest."""
        last = self.fast_ and (self.device_.type == "cuda" or self.width >= _CHANNELS_LAST_FROM)
        return torch.channels_last if last else torch.contiguous_format
