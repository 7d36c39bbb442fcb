"""What detectors made of networks share: building, training, scoring in batches, states."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ccb_lib.detectors.base import Detector
from ccb_lib.detectors.estimator import setting
from ccb_lib.environment import seeded
from ccb_lib.io.images import to_uint8, to_unit
from ccb_lib.io.tensors import check_tensors
from ccb_lib.metrics.scores import ScoreTerms, all_equal, error_map
from ccb_lib.models.modes import scoring_mode
from ccb_lib.training.cuda_graphs import CapturedFunction
from ccb_lib.training.fast_steps import FastSteps
from ccb_lib.training.loop import eager_steps, training
from ccb_lib.training.types import Losses, Turns

_SCORING_BATCH = 256  # images at 32 px
_LARGER = 8  # times as many on CUDA, where a launch costs the same however much it does
_CHANNELS_LAST_FROM = 8  # width; below it a CPU scores some 5 % slower in that layout (ccb bench)
_UPLOAD = 2**28  # bytes of images sent to a device at once
_ALIKE = 0.01  # standard deviation of made images to that of real ones under which a generator makes but one image


@dataclass(kw_only=True, eq=False)
class AdversarialDetector(Detector):
    """A detector of networks that learn against each other.

    Attributes:
        epochs: How often training sees every image.
        batch_size: Images in a training step.
        width: Channels of the first convolution; the others follow in proportion.
        learning_rate: Adam's, constant.
        betas: Adam's (β1, β2).
        fast: ``True`` takes the fast path: on CUDA a step recorded as one graph, in bfloat16 where that is safe, see
            `ccb_lib.training.fast_steps`; everywhere Adam in one piece and, but for the narrowest networks, the
            channels of images and weights last in memory. ``"compiled"`` compiles the networks as well, which
            takes minutes at the start. ``False`` is PyTorch's plain way. A run may be resumed the other way. ``None``
            takes it on a CPU alone:
            **the recorded graph has not been checked on a GPU yet**, so there it must be asked for.
        networks_: After `fit`: the networks by name.
    """

    terms_capturable: ClassVar[bool] = True  # whether `terms` never waits for the device
    _made_anew: ClassVar[frozenset[str]] = Detector._made_anew | {"fast_", "networks_", "optimizers_", "_captured"}

    epochs: int = setting(50, training=False)  # a run may be resumed to more
    batch_size: int = 64
    width: int = 64
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    fast: bool | str | None = setting(None, training=False)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._need_whole("epochs", "batch_size", "width")
        self._need_number("learning_rate", lambda rate: rate > 0, "a positive number")
        self._need_numbers("betas", 2, lambda beta: 0 <= beta < 1, "two numbers from 0 to under 1")
        self._need(self.fast in (None, True, False, "compiled"), "fast", "True, False, 'compiled' or None")
        self._captured: dict[Any, CapturedFunction] | None = None  # graphs of scoring, while weights stay in place
        self.networks_: dict[str, nn.Module] = {}
        self.optimizers_: dict[str, Optimizer] = {}

    def _derive(self) -> None:
        super()._derive()
        self.fast_ = self.device_.type != "cuda" if self.fast is None else self.fast

    def _check_losses(self) -> None:
        """Check the settings that methods with Eqs. 2 and 7 have in common."""
        self._need_numbers("loss_weights", 3, lambda weight: weight >= 0, "three weights from 0, (λs, λadv, λlat),")
        for name in ("image_distance", "latent_distance"):
            self._need(getattr(self, name) in ("l2", "l1"), name, "'l2' or 'l1'")
        self._need_whole("latent")

    # ── what a method says of itself ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Make the networks by name, with fresh weights."""

    def build_optimizers(self) -> dict[str, Optimizer]:
        """Make one Adam for each network, by the same names."""
        return {name: self._adam(network.parameters()) for name, network in self.networks_.items()}

    @abstractmethod
    def training_step(self, x: Tensor) -> Losses:
        """Take one step on (B, C, H, W) float32 in [-1, 1]; return detached scalar losses."""

    @abstractmethod
    def rebuild(self, x: Tensor) -> Tensor:
        """M of Eq. 1: x → x̂, (B, C, H, W) float32 in [-1, 1]."""

    @abstractmethod
    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms of Eq. 2 for (B, C, H, W) in [-1, 1]: (B,) float32 each, higher is more abnormal."""

    # ── the face ──────────────────────────────────────────────────────────────────────────────────────────────

    def _fit(
        self,
        images: Tensor,
        *,
        resume: str | Path | None,
        on_epoch_end: Callable[[int], dict[str, float] | None] | None,
        progress: bool,
    ) -> Turns[list[dict[str, float]]]:
        size, channels = int(images.shape[-1]), int(images.shape[1])
        with seeded(self.seed, self.device_):
            self.networks_ = {name: self._placed(net) for name, net in self.build(size, channels).items()}
        self.optimizers_ = self.build_optimizers()
        settings = self.training_settings()
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}

        def ready_to_score(epoch: int) -> dict[str, float] | None:
            self.image_size_, self.channels_ = size, channels
            return on_epoch_end(epoch) if on_epoch_end else None

        self._captured = {}
        try:
            history = yield from training(
                self,
                images,
                epochs=self.epochs,
                batch_size=self.batch_size,
                seed=self.seed,
                device=self.device_,
                settings={"method": self.method, **settings},
                title=type(self).__name__,
                resume=resume,
                on_epoch_end=ready_to_score if on_epoch_end else None,
                progress=progress,
                steps=FastSteps(layout=self._layout, compiled=self.fast_ == "compiled") if self.fast_ else eager_steps,
            )
        finally:
            self._captured = None
            for optimizer in self.optimizers_.values():
                optimizer.zero_grad(set_to_none=True)  # gradients may lie in a graph's memory
        for network in self.networks_.values():
            network.eval()
        return history

    def examples(self, x: Tensor) -> Tensor:
        """Images that the generator makes, as many as x has, (B, C, H, W); all alike where its modes collapsed."""
        return self.rebuild(x)

    def _signs_of_collapse(self, images: Tensor) -> Iterator[str]:
        yield from super()._signs_of_collapse(images)
        if self.calibration_terms_ is None and all_equal(self.decision_function(images[:: len(images) // 8 + 1])):
            yield "training images all have the same score"
        sample = images[:: len(images) // 64 + 1]
        made = torch.cat([part for (part,) in self._batches(sample, lambda x: (self.examples(x),))])
        spread, wanted = (batch.std(dim=0).mean().item() for batch in (made, to_unit(sample)))
        if spread < _ALIKE * wanted:
            yield f"the images it makes differ by {spread:.2g} where training images differ by {wanted:.2g}"

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

        The defaults let a score depend on its image alone. The other values exist to show what published test loops
        did; see the chapter on protocols.

        Args:
            images: N images.
            batch_norm: ``"running"`` statistics of training, or the ``"batch"``'s own. Either way the detector is left
                as it was.
            batch_size: Images scored together; matters only to ``"batch"`` statistics, which take 256 by default.
            dropout: Leave dropout active, drawn from the detector's seed.

        Returns:
            ScoreTerms(image, latent), (N,) float32 each, higher is more abnormal.

        Raises:
            NotReady: The detector was not fitted.
            ValueError: Images of a wrong form, or an unknown ``batch_norm``.
        """
        images = self._own_images(images)
        parts = list(self._batches(images, self.terms, batch_norm, batch_size, dropout))
        image, latent = (torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True))
        return ScoreTerms(image=image, latent=latent)

    def reconstruct(self, images: Any) -> Tensor:
        """Rebuild images by Eq. 1.

        Returns:
            (N, C, H, W) uint8 on the CPU.
        """
        batches = self._batches(self._own_images(images), lambda x: (to_uint8(self.rebuild(x)).cpu(),))
        return torch.cat([part for (part,) in batches])

    def anomaly_map(self, images: Any) -> NDArray[np.float32]:
        """Squared error of each pixel, averaged over channels: (N, H, W) float32, in units of the range [-1, 1]."""
        batches = self._batches(self._own_images(images), lambda x: (error_map(x, self.rebuild(x)).cpu(),))
        return torch.cat([part for (part,) in batches]).numpy()

    def _batches(
        self,
        images: Tensor,
        function: Callable[[Tensor], tuple[Tensor, ...]],
        batch_norm: str = "running",
        batch_size: int | None = None,
        dropout: bool = False,
    ) -> Iterator[tuple[Tensor, ...]]:
        """Apply ``function`` to batches in [-1, 1]; yield what it returns."""
        size = self._scoring_batch(int(images.shape[-1]), batch_norm) if batch_size is None else batch_size
        if size < 1:
            raise ValueError(f"batch_size={batch_size} given; a whole number from 1 is needed.")
        if batch_norm == "running":  # even batches leave little to fill up
            size = -(-len(images) // -(-len(images) // size))
        upload = size * max(1, _UPLOAD // (size * images[0].numel()))
        with scoring_mode(self.networks_, batch_norm, dropout), seeded(self.seed, self.device_), torch.no_grad():
            for part in (part for sent in images.split(upload) for part in sent.to(self.device_).split(size)):
                # Kernels may round differently at another batch size. Filling up a short last batch keeps scores
                # bit-equal in any order; with batch statistics the filling would change them.
                fill = size - len(part) if len(images) > size and batch_norm == "running" else 0
                batch = torch.cat([part, part[:1].expand(fill, -1, -1, -1)]) if fill else part
                x = to_unit(batch, self._layout)
                results = self._as_captured(function, x, batch_norm, dropout)(x)
                yield tuple(result[: len(part)] for result in results)

    def _scoring_batch(self, image_size: int, batch_norm: str) -> int:
        """Images scored together; batch statistics see the same ones on every device."""
        if batch_norm != "running" or self.device_.type != "cuda" or not self.fast_:
            return _SCORING_BATCH
        return _SCORING_BATCH * _LARGER * 32**2 // image_size**2

    def _as_captured(
        self, function: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor, batch_norm: str, dropout: bool
    ) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """Replay the scoring of small batches between epochs, where launching it would take longer than doing it."""
        small = len(x) <= _SCORING_BATCH and x.is_cuda
        able = self.terms_capturable and function == self.terms
        if self._captured is None or not (self.fast_ and small and able):
            return function
        key = tuple(x.shape), batch_norm, dropout
        if key not in self._captured:
            self._captured[key] = CapturedFunction(function, x)
        return self._captured[key]

    def _state(self) -> dict[str, Tensor]:
        return {f"{name}.{key}": v for name, net in self.networks_.items() for key, v in net.state_dict().items()}

    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        with torch.device("meta"):  # no memory is taken before the file's shapes are known to fit
            self.networks_ = self.build(*self._check_fitted())
        check_tensors(tensors, self._state())
        for name, network in self.networks_.items():
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            network.load_state_dict(own, assign=True)
            self._placed(network).eval()

    def _placed(self, network: nn.Module) -> nn.Module:
        """Move a network to the detector's device and into its layout."""
        return network.to(self.device_, memory_format=self._layout)

    @property
    def _layout(self) -> torch.memory_format:
        """The order of images and weights in memory in which convolutions are fastest."""
        last = self.fast_ and (self.device_.type == "cuda" or self.width >= _CHANNELS_LAST_FROM)
        return torch.channels_last if last else torch.contiguous_format

    def _step(self, name: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """Let one optimiser follow the gradient of ``loss``; ``keep_graph`` where another loss shares its forward."""
        self.optimizers_[name].zero_grad(set_to_none=True)
        with torch.autocast(loss.device.type, enabled=False):  # backward takes each operation's own precision
            loss.backward(inputs=list(self.networks_[name].parameters()), retain_graph=keep_graph)
        self.optimizers_[name].step()

    def _adam(self, parameters: Iterable[Tensor], learning_rate: float | None = None, **settings: Any) -> Adam:
        """Make the Adam that this detector's path uses; a recorded step needs its count on the device."""
        kind = {"fused": True, "capturable": self.device_.type == "cuda"} if self.fast_ else {}
        return Adam(parameters, lr=learning_rate or self.learning_rate, **{"betas": self.betas, **kind, **settings})
