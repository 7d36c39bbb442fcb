"""EGBAD, a BiGAN: an encoder learns the inverse of the generator, so scoring needs no search."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.detectors.estimator import setting
from ccb_lib.losses import adversarial_loss, discriminator_loss
from ccb_lib.metrics.anomaly_scores import distance
from ccb_lib.models.baselines import (
    Decoder,
    Encoder,
    JointDiscriminator,
    MovingAverage,
    set_batch_norms,
    uncounted,
)
from ccb_lib.models.modes import frozen
from ccb_lib.training.types import Losses

_NETWORKS = ("encoder", "generator", "discriminator")
_FIRST_VERSION = {"batch_norm_momentum": 0.1, "batch_norm_eps": 1e-5}  # PyTorch's


@dataclass(kw_only=True, eq=False)
class EGBAD(AdversarialDetector):
    """EGBAD, efficient GAN-based anomaly detection: Zenati et al., 2018, arXiv:1802.06222.

    D(x, z) distinguishes pairs (x, E(x)) from pairs (G(z), z), z ~ N(0, 1). The score weights ‖x −
    G(E(x))‖₁ by α = 0.9 and feature matching, the 1-norm between D's features of (x, E(x)) and of
    (G(E(x)), E(x)), by 0.1. The paper also offers a cross entropy instead of feature matching.

    Its public code (houssamzenati/Efficient-GAN-Anomaly-Detection) scores with moving averages of
    the weights, which the paper does not mention, in inference mode and on a shuffled test set; so
    does this class. That code has networks for 28 px digits and for tabular data only. The networks
    here, the learning rate and the batch size are those for CIFAR-10 in the ALAD repository of the
    same authors. Batch norms have the momentum and ε of that repository (TensorFlow's defaults).
    Their running statistics change where they change there: those of each network in its own update
    only, E's by one forward pass, D's by its two, G's by G(z) and by G(E(x)). The moving averages
    have a decay of 0.999 per step.

    Differences from the ALAD networks: no spectral norm; no biases before batch norms; a dropout
    rate of 0.5 (as in the EGBAD code) instead of 0.2; weights start from N(0, 0.02) and batch norms
    from N(1, 0.02), instead of N(0, 0.01) and 1. The step of D and the step of G and E use the same
    batch, where both codes draw two.

    >>> from ccb_lib import EGBAD, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = EGBAD(epochs=1, width=4).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        latent: Length of z.
        dropout: Dropout rate in D's layers that take z, 0 to under 1.
        average_decay: Decay of the weights' moving averages; ``None`` scores with the last weights.
            Training for a few hundred steps needs a smaller value: after n steps the random initial
            weights still have weight decayⁿ in the average.
        batch_norm_momentum: Weight of a new batch in the running statistics, above 0 to 1; 0.01 is
            a momentum of 0.99 in TensorFlow. Training for a few hundred steps needs a larger value.
        batch_norm_eps: ε of batch norms, above 0; TensorFlow's default.
        score_distance: Distance of both terms: ``"l1-norm"``, a sum; or ``"l1"`` or ``"l2"``,
            means, which give 3072 pixels no more weight than 1024 features.
    """

    method: ClassVar[str] = "egbad"
    released_on: ClassVar[tuple[str, ...] | None] = ()  # it tests in inference mode

    batch_size: int = 32
    width: int = 128
    latent: int = 100
    dropout: float = 0.5
    average_decay: float | None = 0.999
    batch_norm_momentum: float = 0.01
    batch_norm_eps: float = 1e-3
    score_distance: str = setting("l1-norm", training=False, terms=True)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._need_whole("latent")
        self._need_number("dropout", lambda rate: 0 <= rate < 1, "a rate from 0 to under 1")
        if self.average_decay is not None:
            self._need_number(
                "average_decay", lambda decay: 0 <= decay < 1, "a share from 0 to under 1, or None"
            )
        self._need_number(
            "batch_norm_momentum", lambda share: 0 < share <= 1, "a share above 0, up to 1,"
        )
        self._need_number("batch_norm_eps", lambda eps: eps > 0, "a number above 0")
        self._need(
            self.score_distance in ("l1-norm", "l1", "l2"),
            "score_distance",
            "'l1-norm', 'l1' or 'l2'",
        )

    @classmethod
    def _upgrade(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if "batch_norm_eps" not in settings:
            settings.update(_FIRST_VERSION)
            for name in [name for name in tensors if name.endswith(".updates")]:
                del tensors[name]  # moving averages counted their updates

    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Build E, G and D with newly initialised weights, and their moving averages."""
        shape = (channels, image_size, self.width)
        networks: dict[str, nn.Module] = {
            "encoder": Encoder(*shape, self.latent, first_norm=True),
            "generator": Decoder(*shape, self.latent),
            "discriminator": JointDiscriminator(*shape, self.latent, self.dropout),
        }
        for network in networks.values():
            set_batch_norms(network, self.batch_norm_momentum, self.batch_norm_eps)
        if self.average_decay is not None:
            averages = {
                f"averaged_{name}": MovingAverage(networks[name], self.average_decay)
                for name in _NETWORKS
            }
            networks |= averages
        return networks

    def build_optimizers(self) -> dict[str, Optimizer]:
        """Build one Adam for each trained network."""
        return {name: self._adam(self.networks_[name].parameters()) for name in _NETWORKS}

    def training_step(self, x: Tensor) -> Losses:
        """Update D to distinguish the two kinds of pairs; then update G and E against D."""
        encoder, generator, discriminator = (self.networks_[name] for name in _NETWORKS)
        encoded, _ = encoder(x)  # used by D and by E's update: E does not change in between
        with torch.no_grad(), uncounted(generator):
            z = self._draw(x)
            generated = generator(z)
        d_loss = discriminator_loss(
            discriminator(x, encoded.detach())[0], discriminator(generated, z)[0]
        )
        self._step("discriminator", d_loss)

        with frozen(discriminator), uncounted(discriminator):
            z = self._draw(x)
            g_loss = adversarial_loss(discriminator(generator(z), z)[0])
            # This pass only updates G's running statistics with G(E(x)), as the public code does.
            with torch.no_grad():
                generator(encoded)
            self._step("generator", g_loss)
            e_loss = adversarial_loss(-discriminator(x, encoded)[0])  # −log(1 − D(x, E(x)))
            self._step("encoder", e_loss)

        if self.average_decay is not None:
            for name in _NETWORKS:
                self.networks_[f"averaged_{name}"].update(self.networks_[name])
        return {
            "discriminator": d_loss.detach(),
            "generator": g_loss.detach(),
            "encoder": e_loss.detach(),
        }

    def rebuild(self, x: Tensor) -> Tensor:
        """Encode and generate: x → G(E(x))."""
        encoder, generator, _ = self._scoring_networks()
        return generator(encoder(x)[0])

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of x and G(E(x)) in pixels, and of D's features of each with E(x)."""
        encoder, generator, discriminator = self._scoring_networks()
        z, _ = encoder(x)
        x_hat = generator(z)
        _, features = discriminator(x, z)
        _, features_hat = discriminator(x_hat, z)
        return distance(x, x_hat, self.score_distance), distance(
            features, features_hat, self.score_distance
        )

    def _scoring_networks(self) -> tuple[nn.Module, ...]:
        prefix = "" if self.average_decay is None else "averaged_"
        return tuple(self.networks_[prefix + name] for name in _NETWORKS)

    def _draw(self, x: Tensor) -> Tensor:
        """Draw z from N(0, 1), one for each image of x."""
        return torch.randn(len(x), self.latent, 1, 1, device=x.device)
