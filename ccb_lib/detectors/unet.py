"""What CCB and its ancestor share: a U-Net that rebuilds, and a discriminator whose features are compared."""

from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor, nn

from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.detectors.estimator import is_whole, setting
from ccb_lib.losses import adversarial_loss, latent_loss, similarity_loss, total_loss
from ccb_lib.metrics.scores import distance
from ccb_lib.models.ccb import LEVELS, Discriminator, Generator
from ccb_lib.models.diagnostics import rms, watching_skips
from ccb_lib.training.types import Losses


@dataclass(kw_only=True, eq=False)
class UNetDetector(AdversarialDetector):
    """Networks, losses of the generator and score of the methods that rebuild images with a U-Net.

    A method adds its training step and its defaults: `CCB`, `SkipGANomaly` and `CCBFork`.

    Attributes:
        chain: Length of each skip's chain, from shallow to deep (the paper prints deep to shallow):
            0 is a plain skip, ``None`` no skip.
        chain_init: ``"he"`` or ``"dcgan"``, how the chains' weights start.
        chain_batch_norm: Batch norm inside the chains.
        chain_residual: Residual sums inside the chains.
        chain_residual_start: How the residual sums start. ``"he"``: each block adds a branch as
            large as its input, so a chain of four starts with several times its input. ``"zero"``:
            each branch is multiplied by a learnt number that starts at 0, so every chain starts as
            a plain skip (ReZero, Bachlechner et al., 2021, arXiv:2003.04887).
        dropout: Rate in the two deepest decoder blocks, 0 to under 1.
        similarity: Eq. 5 as ``"l2"``, ``"l1"`` or ``"norm"``.
        loss_weights: (λs, λadv, λlat) of Eq. 7.
        image_distance: D1 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent_distance: D2 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent: Length of z.
        generator_width: Channels of G's first convolution where they differ from ``width``; to give
            a plain skip as many parameters as chains have, without touching D.
        log_skips: Put into ``history_`` what each skip delivers, ``skip 1`` … ``skip 4`` from
            shallow to deep, as root mean squares over a batch; ``skip 1 spread`` …, the same about
            the batch's mean, which is what a skip tells of *this* image (a chain whose biases alone
            speak has none); and ``skip 1 gradient`` ….
    """

    chain: tuple[int | None, ...]
    chain_init: str = "he"
    chain_batch_norm: bool = False
    chain_residual: bool = False
    chain_residual_start: str = "he"
    dropout: float
    similarity: str
    loss_weights: tuple[float, float, float] = (50.0, 1.0, 1.0)
    image_distance: str = setting("l2", training=False, terms=True)
    latent_distance: str = setting("l2", training=False, terms=True)
    latent: int = 100
    generator_width: int | None = None
    log_skips: bool = setting(False, training=False)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._check_losses()
        wanted = f"{LEVELS} lengths from 0 to 1000, or None for no skip,"
        chain = self._need_tuple("chain", wanted)
        lengths = all(
            length is None or (is_whole(length) and 0 <= length <= 1000) for length in chain
        )
        self._need(len(chain) == LEVELS and lengths, "chain", wanted)
        self._need(self.chain_init in ("he", "dcgan"), "chain_init", "'he' or 'dcgan'")
        starts = ("he", "zero")
        self._need(self.chain_residual_start in starts, "chain_residual_start", "'he' or 'zero'")
        self._need_number("dropout", lambda rate: 0 <= rate < 1, "a rate from 0 to under 1")
        self._need(self.similarity in ("l2", "l1", "norm"), "similarity", "'l2', 'l1' or 'norm'")
        if self.generator_width is not None:
            self._need_whole("generator_width")
        compiled = self.log_skips and self.fast == "compiled"
        self._need(not compiled, "log_skips", "False with fast='compiled', which sees no hooks,")

    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        blocks = sum(length or 0 for length in self.chain)
        if blocks > len(tensors):  # a hostile file must not have them built to find out
            raise ValueError(
                f"chains of {blocks} blocks given with {len(tensors)} tensors; each block has two"
            )
        super()._load_state(tensors)

    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Make G and D of Fig. 1 with fresh weights."""
        # D first: its start must not depend on how many numbers G's skips draw.
        discriminator = Discriminator(channels, image_size, self.width, self.latent)
        generator = Generator(
            channels,
            self.generator_width or self.width,
            self.chain,
            chain_init=self.chain_init,
            chain_batch_norm=self.chain_batch_norm,
            chain_residual=self.chain_residual,
            chain_residual_start=self.chain_residual_start,
            dropout=self.dropout,
        )
        return {"generator": generator, "discriminator": discriminator}

    def _rebuild_watched(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Make x̂, and with ``log_skips`` collect what the skips deliver, deep to shallow as G calls them."""
        delivered: list[Tensor] = []
        with (
            watching_skips(self.networks_["generator"], delivered)
            if self.log_skips
            else nullcontext()
        ):
            return self.networks_["generator"](x), delivered

    def _seen(self, d_loss: Tensor, losses: Losses, delivered: list[Tensor]) -> Losses:
        """What a step tells: its losses, and the sizes of what skips delivered and of the gradients that came back."""
        levels = [level for level in range(LEVELS, 0, -1) if self.chain[level - 1] is not None]
        seen = {"discriminator": d_loss, **losses}
        for level, signal in sorted(zip(levels, delivered, strict=False), key=lambda pair: pair[0]):
            about_mean = signal.detach() - signal.detach().mean(0)
            seen |= {f"skip {level}": rms(signal), f"skip {level} spread": rms(about_mean)}
            if signal.grad is not None:
                seen[f"skip {level} gradient"] = rms(signal.grad)
        return {name: value.detach() for name, value in seen.items()}

    def _generator_losses(
        self, x: Tensor, x_hat: Tensor, z: Tensor, fake_logits: Tensor, z_hat: Tensor
    ) -> Losses:
        """Eqs. 5, 4 and 6, and Eq. 7 as ``total``; z is that of x, without gradient."""
        losses = {
            "similarity": similarity_loss(x, x_hat, self.similarity),
            "adversarial": adversarial_loss(fake_logits),
            "latent": latent_loss(z, z_hat),
        }
        return {**losses, "total": total_loss(*losses.values(), weights=self.loss_weights)}

    def rebuild(self, x: Tensor) -> Tensor:
        """M of Eq. 1: x → x̂."""
        return self.networks_["generator"](x)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms of Eq. 2: distance of x and x̂ in pixels, and of z and ẑ in D's features."""
        x_hat = self.rebuild(x)
        _, z = self.networks_["discriminator"](x)
        _, z_hat = self.networks_["discriminator"](x_hat)
        return distance(x, x_hat, self.image_distance), distance(z, z_hat, self.latent_distance)
