"""CCB's ancestor: the same U-Net with plain skips, and a discriminator that minimises the latent distance too."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ccb_lib.detectors.unet import UNetDetector
from ccb_lib.losses import discriminator_loss, latent_loss
from ccb_lib.models.ccb import counted_twice, reinitialise_where
from ccb_lib.training.types import Losses


@dataclass(kw_only=True, eq=False)
class SkipGANomaly(UNetDetector):
    """Skip-GANomaly: Akçay, Atapour-Abarghouei and Breckon, IJCNN 2019, arXiv:1901.08954.

    The U-Net has plain skips and no dropout, and Eq. 5 is in 1-norm; every setting of `UNetDetector` is
    one of Skip-GANomaly. With chains in the place of its skips it is `CCBFork`.

    What its public code (samet-akcay/skip-ganomaly) does and its paper does not say: D minimises the latent distance
    beside Eq. 4, G learns before D from the same x̂, and D's weights are drawn anew when its loss collapses. All three
    are done here. What that code does and this does not: it tests with batch norm in training mode on an unshuffled
    test set, scales the scores by the test set's minimum and maximum, and keeps the epoch with the best test AUC (see
    the chapter on protocols); it adds a tensor called noise to the input, which is never filled; and it deepens the
    generator with the image, log2(size) blocks, where this keeps five.

    >>> from ccb_lib import SkipGANomaly, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = SkipGANomaly(epochs=1, width=4).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        renew_below: Loss under which D's weights are drawn anew; 0 never does.
    """

    method: ClassVar[str] = "skip-ganomaly"

    chain: tuple[int | None, ...] = (0, 0, 0, 0)
    dropout: float = 0.0
    similarity: str = "l1"
    renew_below: float = 1e-5

    def training_step(self, x: Tensor) -> Losses:
        """G learns by Eq. 7; then D by Eq. 4 and by the distance of z and ẑ, which it makes small as well."""
        discriminator = self.networks_["discriminator"]
        x_hat, delivered = self._rebuild_watched(x)
        real_logits, z = discriminator(x)
        with counted_twice(discriminator):  # D does not change before both losses have seen x̂ through it
            fake_logits, z_hat = discriminator(x_hat)
        losses = self._generator_losses(x, x_hat, z.detach(), fake_logits, z_hat)
        self._step("generator", losses["total"], keep_graph=True)

        d_loss = discriminator_loss(real_logits, fake_logits) + latent_loss(z, z_hat)
        self._step("discriminator", d_loss)
        reinitialise_where(d_loss < self.renew_below, discriminator)
        return self._seen(d_loss, losses, delivered)
