"""The paper's method: an adversarial autoencoder whose skips are chains of convolution blocks."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ccb_lib.detectors.unet import UNetDetector
from ccb_lib.losses import discriminator_loss
from ccb_lib.models.modes import frozen
from ccb_lib.training.types import Losses


@dataclass(kw_only=True, eq=False)
class CCB(UNetDetector):
    """The improved adversarial autoencoder of Zhang et al., J Digit Imaging 2022.

    No code of the authors is public. Defaults follow the paper. What the paper does not state
    follows Skip-GANomaly, from which the method is derived. Each such choice is an argument (see
    `UNetDetector`), and the chapter on training lists them all. `CCBFork` is the other reading:
    Skip-GANomaly's own training with chains instead of its skips.

    Two choices are not arguments. The paper gives every down block a batch norm; here, as in the
    public code of Skip-GANomaly, the first and the last have none. D is updated before G from the
    same x̂, where that code updates G first; the paper does not state the order.

    >>> from ccb_lib import CCB, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = CCB(epochs=1, width=4).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)
    """

    method: ClassVar[str] = "ccb"

    chain: tuple[int | None, ...] = (4, 3, 2, 1)
    dropout: float = 0.5
    similarity: str = "l2"

    def training_step(self, x: Tensor) -> Losses:
        """Update D by Eq. 4 on x and a detached x̂, then G by Eq. 7; only G gets the latent loss."""
        discriminator = self.networks_["discriminator"]
        x_hat, skip_outputs = self._rebuild_and_log(x)

        real_logits, _ = discriminator(x)
        fake_logits, _ = discriminator(x_hat.detach())
        d_loss = discriminator_loss(real_logits, fake_logits)
        self._step("discriminator", d_loss)

        # D has changed since its pass of x, so z must be computed again. x and x̂ cannot share a
        # pass, because batch norm would mix their statistics.
        with torch.no_grad():
            _, z = discriminator(x)
        with frozen(discriminator):
            fake_logits, z_hat = discriminator(x_hat)
            losses = self._generator_losses(x, x_hat, z, fake_logits, z_hat)
            self._step("generator", losses["total"])
        return self._logged(d_loss, losses, skip_outputs)
