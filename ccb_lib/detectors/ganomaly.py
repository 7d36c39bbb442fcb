"""GANomaly: an autoencoder with a second encoder; the score is the distance of both encodings."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ccb_lib.detectors.estimator import setting
from ccb_lib.detectors.three_losses import ThreeLossDetector
from ccb_lib.losses import discriminator_loss, latent_loss, similarity_loss, total_loss
from ccb_lib.metrics import distance
from ccb_lib.models.baselines import Encoder, EncoderDecoderEncoder
from ccb_lib.models.initialisation import reinitialise_where
from ccb_lib.models.modes import counted_twice
from ccb_lib.training.types import Losses


@dataclass(kw_only=True, eq=False)
class GANomaly(ThreeLossDetector):
    """GANomaly: Akçay, Atapour-Abarghouei and Breckon, ACCV 2018, arXiv:1805.06725.

    The score is the latent term alone, so ``alpha`` is 0; `score_terms` gives the image term beside
    it.

    Two things are as in its public code (samet-akcay/ganomaly) and not as in its paper: the score
    is the mean squared difference of z and ẑ (the paper has the 1-norm: ``latent_distance="l1"``),
    and D's weights are reinitialised when its loss collapses. Three things are not as in that code:
    the code tests with batch norm in training mode, scales the scores by the test set's minimum and
    maximum, and keeps the epoch with the best test AUC. The code does not shuffle its CIFAR-10 test
    set, normals first; it shuffles folders of images, such as HAM10000. The copy of GANomaly in
    samet-akcay/skip-ganomaly shuffles neither, so on HAM10000 and ILD the protocol RELEASED is the
    test loop of that copy. That copy also detaches x̂ before feature matching, so that its
    adversarial term never reaches G: ``loss_weights=(50, 0, 1)``.

    >>> from ccb_lib import GANomaly, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = GANomaly(epochs=1, width=4).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        loss_weights: (contextual, adversarial, encoder): λs, λadv and λlat of Eq. 7.
        image_distance: D1 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent_distance: D2 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent: Length of z.
        renew_below: D's weights are reinitialised when its loss falls below this value; 0 turns
            that off.
    """

    method: ClassVar[str] = "ganomaly"
    # It shuffles the images of folders, such as those of HAM10000.
    released_on: ClassVar[tuple[str, ...] | None] = ("cifar10",)

    alpha: float = setting(0.0, training=False)
    renew_below: float = 1e-5

    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Build G (two encoders and a decoder) and D with newly initialised weights."""
        return {
            "generator": EncoderDecoderEncoder(channels, image_size, self.width, self.latent),
            "discriminator": Encoder(channels, image_size, self.width, 1),
        }

    def training_step(self, x: Tensor) -> Losses:
        """Update G to match x in pixels, in D's features and in z; then D by half of Eq. 4."""
        discriminator = self.networks_["discriminator"]
        x_hat, z, z_hat = self.networks_["generator"](x)
        # Both losses use these two passes: D does not change between them. `counted_twice` updates
        # the running statistics as if each loss had made its own passes.
        with counted_twice(discriminator, passes=2):
            real_logits, features = discriminator(x)
            fake_logits, features_hat = discriminator(x_hat)
        losses = {
            "similarity": similarity_loss(x, x_hat, "l1"),
            "adversarial": latent_loss(features.detach(), features_hat),
            "latent": latent_loss(z, z_hat),
        }
        losses["total"] = total_loss(*losses.values(), weights=self.loss_weights)
        self._step("generator", losses["total"], keep_graph=True)

        losses["discriminator"] = discriminator_loss(real_logits, fake_logits) / 2
        self._step("discriminator", losses["discriminator"])
        reinitialise_where(losses["discriminator"] < self.renew_below, discriminator)
        return {name: loss.detach() for name, loss in losses.items()}

    def rebuild(self, x: Tensor) -> Tensor:
        """Encode and decode: x → x̂."""
        return self.networks_["generator"](x)[0]

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of x and x̂ in pixels, and of their encodings z and ẑ."""
        x_hat, z, z_hat = self.networks_["generator"](x)
        return distance(x, x_hat, self.image_distance), distance(z, z_hat, self.latent_distance)
