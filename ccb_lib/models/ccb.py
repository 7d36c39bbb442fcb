"""Figs. 1–3: down and up blocks, the chain of convolution blocks, the U-shaped generator and the discriminator."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from ccb_lib.models.modes import BATCH_NORMS, batch_norms
from ccb_lib.models.small_maps import Conv2d, ConvTranspose2d

LEVELS = 4  # skips: every encoder layer but the bottleneck has one

Chain = Sequence[int | None]


def down_block(inputs: int, outputs: int, *, batch_norm: bool = True, activation: bool = True) -> nn.Sequential:
    """Halve the size: conv 4×4 stride 2 → batch norm → LeakyReLU 0.2 (Fig. 3, left)."""
    layers: list[nn.Module] = [Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    if activation:
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers)


def up_block(inputs: int, outputs: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Double the size: ReLU → transposed conv 4×4 stride 2 → batch norm (→ dropout) (Fig. 3, right).

    The ReLU comes first, as in pix2pix, so that it acts on decoder map and skip alike.
    """
    layers = [
        nn.ReLU(),
        ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


def down_to_4x4(channels: int, image_size: int, width: int, *, first_norm: bool = False) -> nn.Sequential:
    """Halve the size until it is 4×4, doubling the channels: three blocks at 32 px, four at 64, five at 128.

    Args:
        channels: Of the image.
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
        residual: Add the input to the output: the other reading of the paper's "direct connections".
        start: Of a residual block. ``"he"`` adds the branch as it is; ``"zero"`` multiplies it by a
            learnt number that starts at 0 (weights of 0 would not do: no gradient passes a ReLU at 0).
    """

    def __init__(self, channels: int, *, batch_norm: bool = False, residual: bool = False, start: str = "he") -> None:
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
    """The CCB of Fig. 2: ``length`` blocks in a line between an encoder layer and its decoder layer.

    Length 0 is the identity, the plain skip of a U-Net.
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
        chain: Length of each skip's chain from shallow to deep: 0 is a plain skip, ``None`` no skip at all.
            The paper prints the lengths from bottom to top, so its [1, 2, 3, 4] is (4, 3, 2, 1) here.
        chain_init: ``"he"`` draws a chain's weights so that its signal keeps its size; ``"dcgan"`` from N(0, 0.02)
            as everywhere else.
        chain_batch_norm: Batch norm inside the chains.
        chain_residual: Residual sums inside the chains.
        chain_residual_start: ``"he"`` or ``"zero"``, see `ConvBlock`.
        dropout: Rate in the two deepest decoder blocks, 0 to 1.
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
        # One stream of random numbers for each part: generators that differ in the skips alone start alike elsewhere.
        streams = [torch.Generator().manual_seed(int(s)) for s in torch.randint(2**62, (3,), device="cpu")]
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.encoder = nn.ModuleList([down_block(channels, widths[0], batch_norm=False)])
        self.encoder.extend(down_block(a, b) for a, b in pairwise(widths[:4]))
        # The bottleneck ends in the ReLU that opens the decoder, so it has no activation of its own.
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

        # Decoder block k doubles the size of what comes up and of skip 4 − k beside it.
        beside = [0] + [w if has else 0 for w, has in zip(widths[3::-1], self.has_skip[::-1], strict=True)]
        outputs = [*widths[3::-1], channels]
        inputs = [widths[4], *widths[3::-1]]
        self.decoder = nn.ModuleList(
            up_block(inputs[k] + beside[k], outputs[k], dropout=dropout if k < 2 else 0.0) for k in range(4)
        )
        self.decoder.append(
            nn.Sequential(
                nn.ReLU(),
                ConvTranspose2d(inputs[4] + beside[4], channels, 4, stride=2, padding=1),
                nn.Tanh(),
            )
        )
        for part, stream in zip((self.encoder, self.decoder, self.skips), streams, strict=True):
            initialise(part, stream)
        if chain_init == "he":
            for module in self.skips.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=streams[2])

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) in [-1, 1] → the five encoder maps, shallow to deep; the last is the bottleneck."""
        maps = []
        for block in self.encoder:
            x = block(x)
            maps.append(x)
        return maps

    def decode(self, maps: list[Tensor]) -> list[Tensor]:
        """Encoder maps, shallow to deep → the five decoder maps, deep to shallow; the last is x̂ in [-1, 1]."""
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
    """D of Fig. 1: tells x from x̂, and gives the features z and ẑ on the way (Eq. 1).

    Blocks halve the size down to 4×4 (three at 32 px, four at 64, five at 128), doubling the channels; a 4×4 conv
    makes z, and a 3×3 conv one logit.

    Args:
        channels: 1 or 3.
        image_size: 32, 64 or 128.
        width: Channels of the first block.
        latent: Length of z.
    """

    def __init__(self, channels: int = 3, image_size: int = 32, width: int = 64, latent: int = 100) -> None:
        super().__init__()
        self.blocks = down_to_4x4(channels, image_size, width)
        self.features = Conv2d(width * image_size // 8, latent, 4, bias=False)
        self.logit = Conv2d(latent, 1, 3, padding=1, bias=False)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [-1, 1] → logits (B,), higher is more real, and z (B, latent, 1, 1)."""
        z = self.features(self.blocks(x))
        return self.logit(z).flatten(), z


def initialise(network: nn.Module, stream: torch.Generator | None = None) -> None:
    """DCGAN's start: convolutions from N(0, 0.02), batch norms from N(1, 0.02), biases 0.

    Args:
        network: Whose weights are drawn in place.
        stream: Where the numbers come from; torch's own by default.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=stream)
        elif isinstance(module, BATCH_NORMS):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=stream)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def reinitialise_where(collapsed: Tensor, network: nn.Module) -> None:
    """Draw a network's weights anew where its loss has collapsed; its batch statistics stay.

    Args:
        collapsed: A bool scalar on the network's device. On a GPU nothing waits for its value: new weights are always
            drawn and then chosen or not, so that a step stays one unbroken piece of work.
        network: Started as by `initialise`.
    """
    if collapsed.is_cuda:
        _choose_renewed(collapsed, network)
    elif collapsed:
        initialise(network)


@torch.no_grad()
def _choose_renewed(collapsed: Tensor, network: nn.Module) -> None:
    """`reinitialise_where` without a branch: old · (1 − c) + new · c, exact for c = 0 and 1."""
    parameters = list(network.parameters())
    share = collapsed.to(parameters[0].dtype)
    old = torch._foreach_mul(parameters, 1 - share)
    initialise(network)
    torch._foreach_mul_(parameters, share)
    torch._foreach_add_(parameters, old)


@contextmanager
def counted_twice(network: nn.Module, passes: int = 1) -> Iterator[None]:
    """Let running statistics change as if all that passes through the network in the block passed twice in a row.

    For a forward pass that two losses share where each would make its own; nothing but running statistics could tell.
    k passes make a statistic r = (1 − m)ᵏ r₀ + s, where s is what the batches give; once more, they make it
    (1 − m)ᵏ r + s = r + (1 − m)ᵏ (r − r₀).

    Args:
        network: In training mode, its batch norms with one momentum m.
        passes: k, forward passes in the block.
    """
    norms = batch_norms(network)
    # .data, since autograd minds changes to these buffers, which its backward in training mode never reads.
    running = [buffer.data for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    before = [buffer.clone() for buffer in running]
    yield
    if norms:
        kept = (1 - norms[0].momentum) ** passes
        torch._foreach_add_(running, torch._foreach_sub(running, before), alpha=kept)
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], passes)


def count_parameters(network: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
