"""Skip-GANomaly, which CCB is derived from: a U-Net with plain skip connections."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ccb_lib.detectors.unet import UNetDetector
from ccb_lib.losses import discriminator_loss, latent_loss
from ccb_lib.models.initialisation import reinitialise_where
from ccb_lib.models.modes import counted_twice
from ccb_lib.training.types import Losses


@dataclass(kw_only=True, eq=False)
class SkipGANomaly(UNetDetector):
    """Skip-GANomaly: Akçay, Atapour-Abarghouei and Breckon, IJCNN 2019, arXiv:1901.08954.

    The U-Net has plain skips and no dropout, and Eq. 5 is in 1-norm; every setting of
    `UNetDetector` is a setting of this class. `CCBFork` is this method with chains instead of its
    skips.

    Three things are as in its public code (samet-akcay/skip-ganomaly), though its paper does not
    mention them: D minimises the latent distance beside Eq. 4, G is updated before D from the same
    x̂, and D's weights are reinitialised when its loss collapses. Five things are not as in that
    code: it tests with batch norm in training mode on an unshuffled test set, scales the scores by
    the test set's minimum and maximum, and keeps the epoch with the best test AUC (see the chapter
    on protocols); it adds a tensor called noise to the input, which is never filled; and the depth
    of its generator grows with the image, log2(size) blocks, where this class has five.

    >>> from ccb_lib import SkipGANomaly, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = SkipGANomaly(epochs=1, width=4).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        renew_below: D's weights are reinitialised when its loss falls below this value; 0 turns
            that off.
    """

    method: ClassVar[str] = "skip-ganomaly"

    chain: tuple[int | None, ...] = (0, 0, 0, 0)
    dropout: float = 0.0
    similarity: str = "l1"
    renew_below: float = 1e-5

    def training_step(self, x: Tensor) -> Losses:
        """Update G by Eq. 7, then D by Eq. 4 plus the distance of z and ẑ: D minimises both."""
        discriminator = self.networks_["discriminator"]
        x_hat, skip_outputs = self._rebuild_and_log(x)
        real_logits, z = discriminator(x)
        # Both losses use this pass of x̂: D does not change between them. `counted_twice` updates
        # the running statistics as if each loss had made its own pass.
        with counted_twice(discriminator):
            fake_logits, z_hat = discriminator(x_hat)
        losses = self._generator_losses(x, x_hat, z.detach(), fake_logits, z_hat)
        self._step("generator", losses["total"], keep_graph=True)

        d_loss = discriminator_loss(real_logits, fake_logits) + latent_loss(z, z_hat)
        self._step("discriminator", d_loss)
        reinitialise_where(d_loss < self.renew_below, discriminator)
        return self._logged(d_loss, losses, skip_outputs)
