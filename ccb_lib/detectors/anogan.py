"""A GAN of normal images, and a search in it for the image most like the one to judge."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.detectors.estimator import setting
from ccb_lib.io.tensors import digest, load_tensors, save_tensors
from ccb_lib.losses import adversarial_loss, discriminator_loss
from ccb_lib.metrics.scores import distance
from ccb_lib.models.baselines import Decoder, Encoder
from ccb_lib.models.modes import frozen
from ccb_lib.training.cuda_graphs import CapturedWork, restored
from ccb_lib.training.types import Losses

_KEPT = 256  # batches whose search results are remembered; each is 100 kB
_SEARCH = 1  # of the way of searching; raise it when that changes, so that no older result is taken up
_BAR_AFTER = 2.0  # seconds of search before a bar is shown


@dataclass(kw_only=True, eq=False)
class AnoGAN(AdversarialDetector):
    """AnoGAN: Schlegl et al., IPMI 2017, arXiv:1703.05921.

    A DCGAN learns normal images. To judge an image, z is searched by gradient for ``search_steps`` steps so that G(z)
    comes near it; what stays, 0.9 · Σ|x − G(z)| + 0.1 · Σ|f(x) − f(G(z))| with f the last features of D, is both the
    loss of the search and the score.

    No code of the authors was found. Public re-implementations differ: LeeDoYup/AnoGAN-tf takes 100 steps, one
    image at a time, at a learning rate of 0.001; the baseline of the authors of EGBAD takes 500 steps at 0.01, 0.001
    from step 200, 0.0005 from step 300, z ~ N(0, 1), and moving averages of the weights; in the same authors'
    repository of ALAD the default weighs the residual by 0.1 and the features by 0.9, at 0.001. All three take sums.

    Here a whole batch is searched at once, and images do not touch: batch norm uses running statistics, the batch's
    loss is the sum of its images' losses, and Adam keeps its state value by value. **All searches start from the same
    z**, drawn once from ``seed``, where the paper draws one for each image: so a score depends on its image alone, not
    on its place in the set, and near images have near scores. The results of recent searches are remembered, and with
    ``scoring_folder`` set each batch's are kept there too.

    Batch norms have PyTorch's momentum and ε, which are those of the first of the three codes and of DCGAN's; the other
    two have 0.01 and 1e-3 and score with averaged weights, which this does not. Latent 100, learning rate 2e-4 and 4×4
    convolutions are DCGAN's and those of ALAD's repository.

    >>> from ccb_lib import AnoGAN, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = AnoGAN(epochs=1, width=4, search_steps=2).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        latent: Length of z.
        prior: z's values are drawn from ``"uniform"`` −1…1 (the paper) or from ``"normal"`` N(0, 1).
        search_steps: Steps of the search for each image.
        search_learning_rate: Adam's, for z; constant.
        search_alpha: Weight of the residual in the search's loss, 0 to 1; ``alpha`` weighs the score alone.
        score_distance: Of both terms: ``"l1-norm"``, a sum; or ``"l1"`` or ``"l2"``, means.
    """

    method: ClassVar[str] = "anogan"
    released_in_train_mode: ClassVar[bool] = False
    scores_each_epoch: ClassVar[bool] = False  # its search is too dear for fifty
    terms_capturable: ClassVar[bool] = False  # its search looks up what was found before
    _made_anew: ClassVar[frozenset[str]] = AdversarialDetector._made_anew | {"_found", "_bar"}

    latent: int = 100
    prior: str = "uniform"
    search_steps: int = setting(500, training=False, terms=True)
    search_learning_rate: float = setting(0.01, training=False, terms=True)
    search_alpha: float = setting(0.9, training=False, terms=True)
    score_distance: str = setting("l1-norm", training=False, terms=True)

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._need_whole("latent", "search_steps")
        self._need(self.prior in ("uniform", "normal"), "prior", "'uniform' or 'normal'")
        self._need_number("search_learning_rate", lambda rate: rate > 0, "a positive number")
        self._need_number("search_alpha", lambda value: 0 <= value <= 1, "a number from 0 to 1")
        self._need(self.score_distance in ("l1-norm", "l1", "l2"), "score_distance", "'l1-norm', 'l1' or 'l2'")
        self._found: dict[str, Tensor] = {}
        self._bar: tqdm | None = None

    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Make DCGAN's G and D with fresh weights."""
        return {
            "generator": Decoder(channels, image_size, self.width, self.latent),
            "discriminator": Encoder(channels, image_size, self.width, 1),
        }

    def training_step(self, x: Tensor) -> Losses:
        """D learns to tell x from G(z); then G to have it taken for x."""
        generator, discriminator = self.networks_["generator"], self.networks_["discriminator"]
        made = generator(self._draw(len(x), x.device))
        real, fake = discriminator(x)[0].flatten(), discriminator(made.detach())[0].flatten()
        d_loss = discriminator_loss(real, fake)
        self._step("discriminator", d_loss)
        with frozen(discriminator):
            g_loss = adversarial_loss(discriminator(made)[0].flatten())
            self._step("generator", g_loss)
        return {"discriminator": d_loss.detach(), "generator": g_loss.detach()}

    def examples(self, x: Tensor) -> Tensor:
        """Images made from as many random z as x has images."""
        return self.networks_["generator"](self._draw(len(x), x.device))

    def rebuild(self, x: Tensor) -> Tensor:
        """G(z) for the z that the search finds."""
        return self.networks_["generator"](self.search(x))

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the search leaves: distance of x and G(z) in pixels, and in D's last features."""
        z = self.search(x)
        return self._distances(x, self.networks_["discriminator"](x)[1], z)

    def search(self, x: Tensor) -> Tensor:
        """Search each image's z; (B, C, H, W) in [-1, 1] → (B, latent, 1, 1).

        Under ``batch_norm="batch"`` the images of a batch do see each other.

        Raises:
            ValueError: A file in ``scoring_folder`` is broken or was renamed.
        """
        key = self._key(x)
        if key not in self._found:
            if len(self._found) >= _KEPT:
                self._found.clear()
            self._found[key] = self._kept_or_searched(x, key)
        return self._found[key]

    def _key(self, x: Tensor) -> str:
        """Name all that a search's result follows from: images, weights, modes, settings."""
        modules = [module for net in self.networks_.values() for module in net.modules()]
        modes = torch.tensor([module.training for module in modules])
        used = [tensor for net in self.networks_.values() for tensor in net.parameters()]
        # With batch statistics running ones are not used, and every pass changes them.
        used += [b for m in modules if not m.training for b in m.buffers(recurse=False)]
        settings = (
            _SEARCH,
            self.prior,
            self.search_steps,
            self.search_learning_rate,
            self.search_alpha,
            self.score_distance,
            self.seed,
        )
        return hashlib.sha256(f"{digest(x, modes, *used)} {settings}".encode()).hexdigest()

    def _kept_or_searched(self, x: Tensor, key: str) -> Tensor:
        """Take the result of an earlier search from ``scoring_folder``, or search and put it there."""
        if self.scoring_folder is None:
            return self._search(x)
        path = self.scoring_folder / f"{key}.safetensors"
        if path.is_file():
            tensors, header = load_tensors(path)
            if header != {"kind": "search", "key": key} or tensors["z"].shape[0] != len(x):
                raise ValueError(f"{path} is not the search that its name says. Delete it.")
            if self._bar is not None:
                self._bar.update(len(x) * self.search_steps)
            return tensors["z"].to(x.device)
        found = self._search(x)
        save_tensors(path, {"z": found}, {"kind": "search", "key": key})
        return found

    def _search(self, x: Tensor) -> Tensor:
        generator, discriminator = self.networks_["generator"], self.networks_["discriminator"]
        start = self._draw(1, torch.device("cpu"), torch.Generator().manual_seed(self.seed))  # equal on every device
        z = start.to(x.device).repeat(len(x), 1, 1, 1).requires_grad_()
        optimizer = self._adam([z], self.search_learning_rate, betas=(0.9, 0.999))
        with torch.no_grad():
            _, features = discriminator(x)

        def step() -> None:
            image, latent = self._distances(x, features, z)
            optimizer.zero_grad()
            (self.search_alpha * image + (1 - self.search_alpha) * latent).sum().backward()
            optimizer.step()

        with frozen(generator), frozen(discriminator), torch.enable_grad():
            if self.fast_:
                step = CapturedWork(
                    step, x.device, restored=partial(restored, [z], [optimizer]), what="a step of AnoGAN's search"
                )
            for _ in range(self.search_steps):
                step()
                if self._bar is not None:
                    self._bar.update(len(x))
        return z.detach()

    def _distances(self, x: Tensor, features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Distances of x and G(z), and of their features in D: (B,) each."""
        made = self.networks_["generator"](z)
        _, features_made = self.networks_["discriminator"](made)
        return distance(x, made, self.score_distance), distance(features, features_made, self.score_distance)

    def _batches(self, images: Tensor, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, ...]]:
        """As `AdversarialDetector._batches`, with a bar over all images' steps where the search takes long."""
        self._bar = tqdm(
            total=len(images) * self.search_steps,
            desc="AnoGAN search",
            unit=" steps",
            unit_scale=True,
            delay=_BAR_AFTER,
            leave=False,
            disable=not self.show_progress,
        )
        try:
            with self._bar:
                yield from super()._batches(images, *args, **kwargs)
        finally:
            self._bar = None

    def _draw(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw z from the prior: (count, latent, 1, 1)."""
        draw = torch.randn if self.prior == "normal" else torch.rand
        z = draw(count, self.latent, 1, 1, device=device, generator=generator)
        return z if self.prior == "normal" else 2 * z - 1
