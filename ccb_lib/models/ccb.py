"""The networks of Figs. 1–3: blocks, the chain of convolution blocks, generator, discriminator."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ccb_lib.models.initialisation import initialise, initialise_he
from ccb_lib.models.small_maps import Conv2d, ConvTranspose2d

LEVELS = 4  # skips: every encoder layer but the bottleneck has one

Chain = Sequence[int | None]


def down_block(
    inputs: int, outputs: int, *, batch_norm: bool = True, activation: bool = True
) -> nn.Sequential:
    """Halve the size: conv 4×4 stride 2 → batch norm → LeakyReLU 0.2 (Fig. 3, left)."""
    layers: list[nn.Module] = [Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    if activation:
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers)


def up_block(inputs: int, outputs: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Double the size: ReLU → transposed conv 4×4 stride 2 → batch norm → dropout (Fig. 3, right).

    The ReLU comes first, as in pix2pix, so that it acts on both the decoder map and the skip.
    There is no dropout layer at rate 0.
    """
    layers = [
        nn.ReLU(),
        ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


def down_to_4x4(
    channels: int, image_size: int, width: int, *, first_norm: bool = False
) -> nn.Sequential:
    """Halve the size down to 4×4 and double the channels in each block.

    That is three blocks at 32 px, four at 64 and five at 128.

    Args:
        channels: Channels of the image.
        image_size: 32, 64 or 128.
        width: Channels of the first block.
        first_norm: Batch norm in the first block too.
    """
    widths = [width * 2**k for k in range(image_size.bit_length() - 3)]
    blocks = [down_block(channels, widths[0], batch_norm=first_norm)]
    return nn.Sequential(*blocks, *(down_block(a, b) for a, b in pairwise(widths)))


class ConvBlock(nn.Module):
    """One block of a chain: 3×3 conv → ReLU, size and channels kept (Fig. 2).

    Args:
        channels: C, of input and output.
        batch_norm: Put a batch norm between convolution and ReLU.
        residual: Add the input to the output: another interpretation of the paper's "direct
            connections".
        start: How a residual block starts. ``"he"`` adds the branch unchanged. ``"zero"``
            multiplies the branch by a learnt number that starts at 0. (Weights of 0 would not do: a
            ReLU at 0 passes no gradient.)
    """

    def __init__(
        self, channels: int, *, batch_norm: bool = False, residual: bool = False, start: str = "he"
    ) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.residual = residual
        if residual and start == "zero":
            self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        y = self.norm(self.conv(x)).relu()
        if not self.residual:
            return y
        return x + self.gain * y if hasattr(self, "gain") else x + y


class ChainOfConvBlocks(nn.Sequential):
    """The CCB of Fig. 2: ``length`` blocks in series from an encoder layer to its decoder layer.

    Length 0 is the identity, the plain skip of a U-Net.

    Args:
        channels: C, of input and output.
        length: The number of blocks, 0 or more.
        batch_norm, residual, start: See `ConvBlock`.
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        batch_norm: bool = False,
        residual: bool = False,
        start: str = "he",
    ) -> None:
        settings = {"batch_norm": batch_norm, "residual": residual, "start": start}
        super().__init__(*(ConvBlock(channels, **settings) for _ in range(length)))


class Generator(nn.Module):
    """G of Fig. 1: five blocks down, five up, a chain of convolution blocks on each of four skips.

    At 32 px and ``width=64`` (channels × height × width):
    3×32×32 → 64×16×16 → 128×8×8 → 256×4×4 → 512×2×2 → 512×1×1, and back.

    Args:
        channels: 1 or 3.
        width: Channels of the first block; the others have 2, 4, 8 and 8 times as many.
        chain: Length of the chain of each skip, from shallow to deep: 0 is a plain skip, ``None``
            is no skip. The paper lists the lengths from deep to shallow: its [1, 2, 3, 4] is
            (4, 3, 2, 1) here.
        chain_init: ``"he"`` is He initialisation, which keeps the size of the signal along a chain.
            ``"dcgan"`` is N(0, 0.02), as in all other convolutions.
        chain_batch_norm: Batch norm inside the chains.
        chain_residual: Residual sums inside the chains.
        chain_residual_start: ``"he"`` or ``"zero"``, see `ConvBlock`.
        dropout: Rate in the two deepest decoder blocks, 0 to under 1.

    Raises:
        ValueError: ``chain_init`` has another value.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        chain: Chain = (4, 3, 2, 1),
        *,
        chain_init: str = "he",
        chain_batch_norm: bool = False,
        chain_residual: bool = False,
        chain_residual_start: str = "he",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if chain_init not in ("he", "dcgan"):
            raise ValueError(f"chain_init={chain_init!r} given; choose he or dcgan.")
        # Each part has its own generator of random numbers. So two networks that differ only in
        # their skips have the same initial weights in encoder and decoder.
        streams = [
            torch.Generator().manual_seed(int(s)) for s in torch.randint(2**62, (3,), device="cpu")
        ]
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.encoder = nn.ModuleList([down_block(channels, widths[0], batch_norm=False)])
        self.encoder.extend(down_block(a, b) for a, b in pairwise(widths[:4]))
        # The bottleneck has no activation: the decoder's first block begins with a ReLU.
        self.encoder.append(down_block(widths[3], widths[4], batch_norm=False, activation=False))

        self.skips = nn.ModuleList(
            nn.Module()
            if length is None
            else ChainOfConvBlocks(
                w,
                length,
                batch_norm=chain_batch_norm,
                residual=chain_residual,
                start=chain_residual_start,
            )
            for w, length in zip(widths, chain, strict=False)
        )
        self.has_skip = [length is not None for length in chain]

        # The input of decoder block k is the map of block k − 1 with the output of skip 4 − k.
        skip_channels = [0] + [
            w if has else 0 for w, has in zip(widths[3::-1], self.has_skip[::-1], strict=True)
        ]
        outputs = [*widths[3::-1], channels]
        inputs = [widths[4], *widths[3::-1]]
        self.decoder = nn.ModuleList(
            up_block(inputs[k] + skip_channels[k], outputs[k], dropout=dropout if k < 2 else 0.0)
            for k in range(4)
        )
        self.decoder.append(
            nn.Sequential(
                nn.ReLU(),
                ConvTranspose2d(inputs[4] + skip_channels[4], channels, 4, stride=2, padding=1),
                nn.Tanh(),
            )
        )
        for part, stream in zip((self.encoder, self.decoder, self.skips), streams, strict=True):
            initialise(part, stream)
        if chain_init == "he":
            initialise_he(self.skips, streams[2])

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) in [-1, 1] → five encoder maps, shallow to deep (the bottleneck last)."""
        maps = []
        for block in self.encoder:
            x = block(x)
            maps.append(x)
        return maps

    def decode(self, maps: list[Tensor]) -> list[Tensor]:
        """Five encoder maps, shallow to deep → five decoder maps, deep to shallow (x̂ last)."""
        y = maps[-1]
        decoded = []
        for k, block in enumerate(self.decoder):
            if k > 0 and self.has_skip[LEVELS - k]:
                y = torch.cat([y, self.skips[LEVELS - k](maps[LEVELS - k])], dim=1)
            y = block(y)
            decoded.append(y)
        return decoded

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] → x̂ of the same shape and range (Eq. 1)."""
        return self.decode(self.encode(x))[-1]


class Discriminator(nn.Module):
    """D of Fig. 1: distinguishes x from x̂ and computes the features z and ẑ (Eq. 1).

    Blocks halve the size down to 4×4 (three at 32 px, four at 64, five at 128), doubling the
    channels; a 4×4 conv makes z, and a 3×3 conv one logit.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels of the first block.
        latent: Length of z.
    """

    def __init__(
        self, channels: int = 3, image_size: int = 32, width: int = 64, latent: int = 100
    ) -> None:
        super().__init__()
        self.blocks = down_to_4x4(channels, image_size, width)
        self.features = Conv2d(width * image_size // 8, latent, 4, bias=False)
        self.logit = Conv2d(latent, 1, 3, padding=1, bias=False)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [-1, 1] → logits (B,), higher is more real, and z (B, latent, 1, 1)."""
        z = self.features(self.blocks(x))
        return self.logit(z).flatten(), z


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
