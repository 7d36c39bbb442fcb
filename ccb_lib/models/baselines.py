"""Networks of the baselines: DCGAN's encoder and generator, BiGAN's discriminator, averages.

All convolutions are 4×4 and have no bias: batch norm follows most of them and would cancel it.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ccb_lib.models.ccb import down_to_4x4
from ccb_lib.models.initialisation import initialise
from ccb_lib.models.modes import batch_norms
from ccb_lib.models.small_maps import Conv2d, ConvTranspose2d


class Encoder(nn.Module):
    """DCGAN's encoder (Radford et al., 2016): blocks down to 4×4, then one convolution to a vector.

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
        """(B, C, H, W) in [-1, 1] → vector (B, outputs, 1, 1), features (B, width·H/8, 4, 4)."""
        features = self.blocks(x)
        return self.head(features), features


class Decoder(nn.Module):
    """DCGAN's generator: a vector to 4×4, then each block doubles the size and halves the channels.

    At 32 px and ``width=64``: ``latent`` × 1 × 1 → 256×4×4 → 128×8×8 → 64×16×16 → 3×32×32.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels of the last map before the image.
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
    """GANomaly's G: an autoencoder, and a second encoder that encodes the reconstruction.

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
    """BiGAN's D(x, z) (Donahue et al., 2017): distinguishes (x, E(x)) from (G(z), z).

    The features of x at 4×4 and of z are flattened and concatenated. One hidden layer follows; its
    output is the features that feature matching compares.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels of the first block; z's two layers have 4 times as many, the joint one 8
            times.
        latent: Length of z.
        dropout: Rate after each layer that has z among its inputs, 0 to under 1.
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
        """(B, C, H, W) in [-1, 1] and (B, latent, 1, 1) → logits (B,) and features (B, 8·width).

        Logits are higher for (x, E(x)).
        """
        features = self.of_both(torch.cat([self.of_x(x), self.of_z(z)], dim=1))
        return self.logit(features).flatten(), features


class MovingAverage(nn.Module):
    """A network whose weights are an exponential moving average of another network's weights.

    Its running statistics are copied from the other network.

    The average starts at the other network's weights. Every update has the same decay, as in
    TensorFlow's ``ExponentialMovingAverage`` without ``num_updates``.

    Args:
        network: The network to follow; it is copied, not kept.
        decay: Share of the old average kept at each update, 0 to under 1. A short
            training needs a small one: after n updates the initial random weights still have the
            share decayⁿ of the average.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average one step towards the weights of ``network``."""
        averages = list(self.network.parameters())
        differences = torch._foreach_sub(list(network.parameters()), averages)
        torch._foreach_add_(averages, differences, alpha=1 - self.decay)
        for floats in (True, False):  # one kernel for statistics and one for counters
            copies, sources = (
                [buffer for buffer in net.buffers() if buffer.is_floating_point() == floats]
                for net in (self.network, network)
            )
            if copies:
                torch._foreach_copy_(copies, sources)

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the averaged network returns for these inputs."""
        return self.network(*inputs)


def set_batch_norms(network: nn.Module, momentum: float, eps: float) -> None:
    """Set the momentum and ε of every batch norm of a network.

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
    """Keep running statistics unchanged by forward passes in training mode inside the block.

    Batch norms still normalise with the batch statistics.

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
