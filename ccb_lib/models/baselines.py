"""Networks of the baselines: DCGAN's encoder and generator, BiGAN's joint discriminator, averages.

All convolutions are 4×4 and have no bias: batch norm follows most of them and would cancel it.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ccb_lib.models.ccb import down_to_4x4, initialise
from ccb_lib.models.modes import batch_norms
from ccb_lib.models.small_maps import Conv2d, ConvTranspose2d


class Encoder(nn.Module):
    """DCGAN's (Radford et al., 2016) way down: blocks to 4×4, then one convolution to a vector.

    At 32 px and ``width=64``: 3×32×32 → 64×16×16 → 128×8×8 → 256×4×4 → ``outputs`` × 1 × 1.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels of the first block; each further one has twice as many.
        outputs: Length of the vector; 1 makes a discriminator.
        first_norm: Batch norm in the first block too.
    """

    def __init__(
        self, channels: int, image_size: int, width: int, outputs: int, *, first_norm: bool = False
    ) -> None:
        super().__init__()
        self.blocks = down_to_4x4(channels, image_size, width, first_norm=first_norm)
        self.head = Conv2d(width * image_size // 8, outputs, 4, bias=False)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [-1, 1] → (B, outputs, 1, 1), and the last block's features (B, width·H/8, 4, 4)."""
        features = self.blocks(x)
        return self.head(features), features


class Decoder(nn.Module):
    """DCGAN's generator: a vector to 4×4, then each block doubles the size and halves the channels.

    At 32 px and ``width=64``: ``latent`` × 1 × 1 → 256×4×4 → 128×8×8 → 64×16×16 → 3×32×32.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels before the image.
        latent: Length of z.
    """

    def __init__(self, channels: int, image_size: int, width: int, latent: int) -> None:
        super().__init__()
        widths = [width * 2**k for k in reversed(range(image_size.bit_length() - 3))]
        up = [ConvTranspose2d(latent, widths[0], 4, bias=False)]
        up += [
            ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False) for a, b in pairwise(widths)
        ]
        blocks = [nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()) for conv in up]
        last = ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False)
        self.blocks = nn.Sequential(*blocks, nn.Sequential(last, nn.Tanh()))
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent, 1, 1) → (B, C, H, W) in [-1, 1]."""
        return self.blocks(z)


class EncoderDecoderEncoder(nn.Module):
    """GANomaly's G: an autoencoder, and a second encoder that reads what it made.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: As in `Encoder` and `Decoder`.
        latent: Length of z.
    """

    def __init__(self, channels: int, image_size: int, width: int, latent: int) -> None:
        super().__init__()
        self.encoder = Encoder(channels, image_size, width, latent)
        self.decoder = Decoder(channels, image_size, width, latent)
        self.second_encoder = Encoder(channels, image_size, width, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) in [-1, 1] → x̂ like x; z of x and ẑ of x̂, (B, latent, 1, 1) each."""
        z, _ = self.encoder(x)
        x_hat = self.decoder(z)
        z_hat, _ = self.second_encoder(x_hat)
        return x_hat, z, z_hat


class JointDiscriminator(nn.Module):
    """BiGAN's D(x, z) (Donahue et al., 2017): tells (x, E(x)) from (G(z), z).

    Features of x at 4×4 and of z, each flat, meet in one hidden layer, whose output is what feature
    matching compares.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels of the first block; z's two layers have 4 times as many, the joint one 8
            times.
        latent: Length of z.
        dropout: Rate after each layer that sees z, 0 to under 1.
    """

    def __init__(
        self, channels: int, image_size: int, width: int, latent: int, dropout: float = 0.5
    ) -> None:
        super().__init__()

        def dense(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2), nn.Dropout(dropout)]

        self.of_x = nn.Sequential(*down_to_4x4(channels, image_size, width), nn.Flatten())
        self.of_z = nn.Sequential(
            nn.Flatten(), *dense(latent, 4 * width), *dense(4 * width, 4 * width)
        )
        self.of_both = nn.Sequential(*dense(width * image_size // 8 * 16 + 4 * width, 8 * width))
        self.logit = nn.Linear(8 * width, 1)
        initialise(self)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) and (B, latent, 1, 1) → logits (B,), higher for (x, E(x)), and features (B, 8·width)."""
        features = self.of_both(torch.cat([self.of_x(x), self.of_z(z)], dim=1))
        return self.logit(features).flatten(), features


class MovingAverage(nn.Module):
    """A network whose weights are an exponential moving average of another's; its batch statistics are the other's.

    The average starts at the followed network's weights and moves by the same share at every
    update, as TensorFlow's ``ExponentialMovingAverage`` does where no count of updates is given.

    Args:
        network: What to follow; it is copied, not kept.
        decay: Share of the old average kept at each update, 0 to under 1. A training of few steps
            needs a small one: after n updates decayⁿ of the average is still the random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move one step towards ``network``."""
        mine = list(self.network.parameters())
        way = torch._foreach_sub(list(network.parameters()), mine)
        torch._foreach_add_(mine, way, alpha=1 - self.decay)
        for floats in (True, False):  # one kernel for each kind
            copies, sources = (
                [buffer for buffer in net.buffers() if buffer.is_floating_point() == floats]
                for net in (self.network, network)
            )
            if copies:
                torch._foreach_copy_(copies, sources)

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the network followed would return."""
        return self.network(*inputs)


def set_batch_norms(network: nn.Module, momentum: float, eps: float) -> None:
    """Give every batch norm of a network this momentum and this ε.

    Args:
        network: Changed in place.
        momentum: Weight of a new batch in the running statistics, above 0 to 1: PyTorch's meaning,
            which is 1 − TensorFlow's momentum.
        eps: Added to the variance.
    """
    for norm in batch_norms(network):
        norm.momentum, norm.eps = momentum, eps


@contextmanager
def uncounted(network: nn.Module) -> Iterator[None]:
    """Inside the block, forward passes in training mode leave running statistics as they are.

    Batch norms still use the batch's own statistics.

    Args:
        network: In training mode.
    """
    norms = batch_norms(network)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
