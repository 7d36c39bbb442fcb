"""The base class of all detectors that train networks: settings, training, signs of collapse."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from ccb_lib.detectors.estimator import setting
from ccb_lib.detectors.network_scorer import NetworkScorer
from ccb_lib.environment import seeded
from ccb_lib.io.images import to_unit
from ccb_lib.metrics.anomaly_scores import all_equal
from ccb_lib.training.fast_steps import FastSteps
from ccb_lib.training.loop import eager_steps, training
from ccb_lib.training.types import Losses, Steps, Turns

# Training collapsed if the standard deviation of generated images is below this share of that of
# training images.
_COLLAPSED_BELOW = 0.01


@dataclass(kw_only=True, eq=False)
class AdversarialDetector(NetworkScorer):
    """A detector whose networks are trained against each other.

    Attributes:
        epochs: Number of passes over the training images.
        batch_size: Images per training step.
        width: Channels of the first convolution; those of the others are multiples of it.
        learning_rate: Learning rate of Adam, constant.
        betas: (β1, β2) of Adam.
        fast: ``True`` uses the fast path. On CUDA a training step is captured as one CUDA graph and
            runs in bfloat16 where that is safe (see `ccb_lib.training.fast_steps`). On every device
            Adam is fused, and images and weights have the channels-last layout, except in the
            narrowest networks. ``"compiled"`` also compiles the networks, which takes minutes at
            the start. ``False`` uses plain eager PyTorch. A run may resume with another value.
            ``None``, the default, uses the fast path on a CPU only: **the captured graph has not
            been checked on a GPU yet**, so there it must be requested.
        networks_: After `fit`: the networks by name.
    """

    _rebuilt_on_copy: ClassVar[frozenset[str]] = NetworkScorer._rebuilt_on_copy | {
        "fast_",
        "networks_",
        "optimizers_",
        "_captured",
    }

    epochs: int = setting(50, training=False)  # a run may resume with more epochs
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
        self._need(
            self.fast in (None, True, False, "compiled"), "fast", "True, False, 'compiled' or None"
        )
        self._captured = None
        self.networks_ = {}
        self.optimizers_: dict[str, Optimizer] = {}

    def _derive(self) -> None:
        super()._derive()
        self.fast_ = self.device_.type != "cuda" if self.fast is None else self.fast

    # ── what each method defines ──────────────────────────────────────────────────────────────────

    def build_optimizers(self) -> dict[str, Optimizer]:
        """Build one Adam for each network, by the same names."""
        return {name: self._adam(network.parameters()) for name, network in self.networks_.items()}

    @abstractmethod
    def training_step(self, x: Tensor) -> Losses:
        """Train one step on (B, C, H, W) float32 in [-1, 1]; return detached scalar losses."""

    # ── what every method shares ──────────────────────────────────────────────────────────────────

    def _fit(
        self,
        images: Tensor,
        *,
        resume: str | Path | None,
        on_epoch_end: Callable[[int], dict[str, float] | None] | None,
        progress: bool,
    ) -> Turns[list[dict[str, float]]]:
        size, channels = int(images.shape[-1]), int(images.shape[1])
        self.make_networks(size, channels)
        settings = self.training_settings()
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in settings.items()
        }

        def ready_to_score(epoch: int) -> dict[str, float] | None:
            self.image_size_, self.channels_ = size, channels
            try:
                return on_epoch_end(epoch) if on_epoch_end else None
            finally:  # an interrupted fit leaves the detector not fitted
                self.image_size_ = self.channels_ = None

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
                steps=self.make_steps(),
            )
        finally:
            self._captured = None
            for optimizer in self.optimizers_.values():
                # Gradients may lie in the memory of a captured graph; this releases them.
                optimizer.zero_grad(set_to_none=True)
        for network in self.networks_.values():
            network.eval()
        return history

    def make_networks(self, image_size: int, channels: int) -> None:
        """Make the networks, with the weights of the seed, and their optimisers."""
        with seeded(self.seed, self.device_):
            built = self.build(image_size, channels)
            self.networks_ = {name: self._placed(network) for name, network in built.items()}
        self.optimizers_ = self.build_optimizers()

    def make_steps(self) -> Steps:
        """Return the function that takes the steps of an epoch, by the plain or the fast path."""
        if not self.fast_:
            return eager_steps
        return FastSteps(layout=self._layout, compiled=self.fast_ == "compiled")

    def examples(self, x: Tensor) -> Tensor:
        """Generate as many images as x has, (B, C, H, W); mode collapse makes them nearly equal."""
        return self.rebuild(x)

    def _signs_of_collapse(self, images: Tensor) -> Iterator[str]:
        yield from super()._signs_of_collapse(images)
        if self.calibration_terms_ is None and all_equal(
            self.decision_function(images[:: len(images) // 8 + 1])
        ):
            yield "training images all have the same score"
        sample = images[:: len(images) // 64 + 1]
        made = torch.cat([part for (part,) in self._batches(sample, lambda x: (self.examples(x),))])
        spread, wanted = (batch.std(dim=0).mean().item() for batch in (made, to_unit(sample)))
        if spread < _COLLAPSED_BELOW * wanted:
            differ = f"{spread:.2g} where training images differ by {wanted:.2g}"
            yield f"the images it makes differ by {differ}"

    def _step(self, name: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """Update one network by the gradient of ``loss``.

        ``keep_graph`` keeps the autograd graph for another loss of the same forward pass.
        """
        self.optimizers_[name].zero_grad(set_to_none=True)
        # Autocast is for the forward pass only: backward uses the precision of each forward
        # operation.
        with torch.autocast(loss.device.type, enabled=False):
            loss.backward(inputs=list(self.networks_[name].parameters()), retain_graph=keep_graph)
        self.optimizers_[name].step()

    def _adam(
        self, parameters: Iterable[Tensor], learning_rate: float | None = None, **settings: Any
    ) -> Adam:
        """Build Adam; a captured step needs its step count on the device (``capturable``)."""
        kind = {"fused": True, "capturable": self.device_.type == "cuda"} if self.fast_ else {}
        return Adam(
            parameters,
            lr=learning_rate or self.learning_rate,
            **{"betas": self.betas, **kind, **settings},
        )
