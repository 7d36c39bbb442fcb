"""The common part of CCB and Skip-GANomaly: U-Net, discriminator, generator losses, score."""

from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor, nn

from ccb_lib.detectors.estimator import is_whole, setting
from ccb_lib.detectors.three_losses import ThreeLossDetector
from ccb_lib.losses import adversarial_loss, latent_loss, similarity_loss, total_loss
from ccb_lib.metrics.anomaly_scores import distance
from ccb_lib.models.ccb import LEVELS, Discriminator, Generator
from ccb_lib.models.diagnostics import rms, watching_skips
from ccb_lib.training.types import Losses


@dataclass(kw_only=True, eq=False)
class UNetDetector(ThreeLossDetector):
    """Networks, generator losses and score of the methods that reconstruct images with a U-Net.

    Each method adds its training step and its defaults: `CCB`, `SkipGANomaly` and `CCBFork`.

    Attributes:
        chain: Number of blocks in each skip's chain, from shallow to deep (the paper lists them
            from deep to shallow): 0 is a plain skip, ``None`` no skip.
        chain_init: ``"he"`` or ``"dcgan"``, the initialisation of the chains' weights.
        chain_batch_norm: Whether the chains have batch norm.
        chain_residual: Whether the blocks of chains are residual.
        chain_residual_start: Initialisation of residual blocks. ``"he"``: each block adds a branch
            as large as its input, so the output of a chain of four is first several times its
            input. ``"zero"``: each branch is multiplied by a learnt scalar that starts at 0, so
            every chain starts as a plain skip (ReZero, Bachlechner et al., 2021, arXiv:2003.04887).
        dropout: Dropout rate in the two deepest decoder blocks, 0 to under 1.
        similarity: Eq. 5 as ``"l2"``, ``"l1"`` or ``"norm"``.
        loss_weights: (λs, λadv, λlat) of Eq. 7.
        image_distance: D1 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent_distance: D2 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent: Length of z.
        generator_width: Channels of G's first convolution; ``None`` takes ``width``. A larger value
            gives a generator with plain skips as many parameters as one with chains, without
            changing D.
        log_skips: Log the output of each skip in ``history_``, from shallow to deep: ``skip 1`` …
            ``skip 4``, its root mean square over a batch; ``skip 1 spread`` …, the root mean square
            of its deviation from the batch mean, the part that depends on the image (0 for a chain
            whose output comes from its biases alone); and ``skip 1 gradient`` …, that of its
            gradient.
    """

    chain: tuple[int | None, ...]
    chain_init: str = "he"
    chain_batch_norm: bool = False
    chain_residual: bool = False
    chain_residual_start: str = "he"
    dropout: float
    similarity: str
    generator_width: int | None = None
    log_skips: bool = setting(False, training=False)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
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
        self._need(not compiled, "log_skips", "False with fast='compiled', which runs no hooks,")

    def _load_state(self, tensors: dict[str, Tensor]) -> None:
        blocks = sum(length or 0 for length in self.chain)
        if blocks > len(tensors):  # refuse a hostile file before building its blocks
            raise ValueError(
                f"chains of {blocks} blocks given with {len(tensors)} tensors; each block has two"
            )
        super()._load_state(tensors)

    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Build G and D of Fig. 1 with newly initialised weights."""
        # D first: its initial weights must not depend on how many numbers G's skips draw.
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

    def _rebuild_and_log(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute x̂ and, with ``log_skips``, the outputs of the skips, from deep to shallow."""
        skip_outputs: list[Tensor] = []
        with (
            watching_skips(self.networks_["generator"], skip_outputs)
            if self.log_skips
            else nullcontext()
        ):
            return self.networks_["generator"](x), skip_outputs

    def _logged(self, d_loss: Tensor, losses: Losses, skip_outputs: list[Tensor]) -> Losses:
        """The detached losses of a step and the root mean squares of skip outputs and gradients."""
        levels = [level for level in range(LEVELS, 0, -1) if self.chain[level - 1] is not None]
        logged = {"discriminator": d_loss, **losses}
        for level, signal in sorted(
            zip(levels, skip_outputs, strict=False), key=lambda pair: pair[0]
        ):
            about_mean = signal.detach() - signal.detach().mean(0)
            logged |= {f"skip {level}": rms(signal), f"skip {level} spread": rms(about_mean)}
            if signal.grad is not None:
                logged[f"skip {level} gradient"] = rms(signal.grad)
        return {name: value.detach() for name, value in logged.items()}

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
