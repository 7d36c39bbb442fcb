"""AnoGAN: a GAN of normal images and a search for the generated image nearest to a given one."""

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
from ccb_lib.metrics.anomaly_scores import distance
from ccb_lib.models.baselines import Decoder, Encoder
from ccb_lib.models.modes import frozen
from ccb_lib.training.cuda_graphs import CapturedWork, restored
from ccb_lib.training.types import Losses

_CACHED = 256  # batches whose search results are kept in memory; each is 100 kB
_SEARCH = 1  # version of the search; raise it when the search changes, so that no old file is read
_BAR_AFTER = 2.0  # seconds of search before a bar is shown


@dataclass(kw_only=True, eq=False)
class AnoGAN(AdversarialDetector):
    """AnoGAN: Schlegl et al., IPMI 2017, arXiv:1703.05921.

    A DCGAN is trained on normal images. To score an image, gradient descent on z for
    ``search_steps`` steps brings G(z) near the image. What remains, 0.9 · Σ|x − G(z)| + 0.1 ·
    Σ|f(x) − f(G(z))| with f the last features of D, is both the loss of the search and the score.

    No code of the authors was found. Public re-implementations differ: LeeDoYup/AnoGAN-tf uses 100
    steps, one image at a time, at a learning rate of 0.001. The baseline of the authors of EGBAD
    uses 500 steps at 0.01, 0.001 from step 200 and 0.0005 from step 300, z ~ N(0, 1), and moving
    averages of the weights. The ALAD repository of the same authors weights the residual by 0.1 and
    the features by 0.9 by default, at 0.001. All three use sums.

    Here a whole batch is searched at once, and its images do not affect each other: batch norm uses
    running statistics, the batch's loss is the sum of its images' losses, and Adam's state is
    elementwise. **All searches start from the same z**, drawn once from ``seed``, where the paper
    draws one for each image. So a score depends on its image alone, not on its place in the set,
    and similar images have similar scores. The results of recent searches are cached in memory; if
    ``scoring_folder`` is set, those of each batch are also stored there.

    Batch norms have PyTorch's momentum and ε, which are those of DCGAN and of the first of the
    three re-implementations. The other two have 0.01 and 1e-3 and score with averaged weights,
    which this class does not. Latent length 100, learning rate 2e-4 and 4×4 convolutions are those
    of DCGAN and of the ALAD repository.

    >>> from ccb_lib import AnoGAN, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = AnoGAN(epochs=1, width=4, search_steps=2).fit(split.train[:64], progress=False)
    >>> detector.decision_function(split.test[:3]).shape
    (3,)

    Attributes:
        latent: Length of z.
        prior: Distribution of z: ``"uniform"`` on −1…1 (the paper) or ``"normal"``, N(0, 1).
        search_steps: Gradient steps of the search for each image.
        search_learning_rate: Learning rate of Adam on z, constant.
        search_alpha: Weight of the residual in the loss of the search, 0 to 1; ``alpha`` affects
            the score only.
        score_distance: Distance of both terms: ``"l1-norm"``, a sum; or ``"l1"`` or ``"l2"``,
            means.
    """

    method: ClassVar[str] = "anogan"
    released_on: ClassVar[tuple[str, ...] | None] = ()  # it tests in inference mode
    scores_each_epoch: ClassVar[bool] = False  # searching after each epoch would take too long
    terms_capturable: ClassVar[bool] = False  # the search reads a cache on the host
    _rebuilt_on_copy: ClassVar[frozenset[str]] = AdversarialDetector._rebuilt_on_copy | {
        "_found",
        "_bar",
    }

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
        self._need(
            self.score_distance in ("l1-norm", "l1", "l2"),
            "score_distance",
            "'l1-norm', 'l1' or 'l2'",
        )
        self._found: dict[str, Tensor] = {}
        self._bar: tqdm | None = None

    def build(self, image_size: int, channels: int) -> dict[str, nn.Module]:
        """Build G and D of DCGAN with newly initialised weights."""
        return {
            "generator": Decoder(channels, image_size, self.width, self.latent),
            "discriminator": Encoder(channels, image_size, self.width, 1),
        }

    def training_step(self, x: Tensor) -> Losses:
        """Update D to distinguish x from G(z); then update G so that D takes G(z) for x."""
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
        """Generate as many images from random z as x has images."""
        return self.networks_["generator"](self._draw(len(x), x.device))

    def rebuild(self, x: Tensor) -> Tensor:
        """G(z) for the z that the search found."""
        return self.networks_["generator"](self.search(x))

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of x and G(z) after the search, in pixels and in D's last features."""
        z = self.search(x)
        return self._distances(x, self.networks_["discriminator"](x)[1], z)

    def search(self, x: Tensor) -> Tensor:
        """Search z for each image: (B, C, H, W) in [-1, 1] → (B, latent, 1, 1).

        With ``batch_norm="batch"`` the images of a batch do affect each other.

        Raises:
            ValueError: A file in ``scoring_folder`` is damaged or was renamed.
        """
        key = self._key(x)
        if key not in self._found:
            if len(self._found) >= _CACHED:
                self._found.clear()
            self._found[key] = self._cached_or_searched(x, key)
        return self._found[key]

    def _key(self, x: Tensor) -> str:
        """Hash all that the result of a search depends on: images, weights, modes, settings."""
        modules = [module for net in self.networks_.values() for module in net.modules()]
        modes = torch.tensor([module.training for module in modules])
        used = [tensor for net in self.networks_.values() for tensor in net.parameters()]
        # With batch statistics the running statistics are not used, and each forward pass changes
        # them, so they must not be part of the key.
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

    def _cached_or_searched(self, x: Tensor, key: str) -> Tensor:
        """Read an earlier result from ``scoring_folder``, or search and store the result there."""
        if self.scoring_folder is None:
            return self._search(x)
        path = self.scoring_folder / f"{key}.safetensors"
        if path.is_file():
            tensors, header = load_tensors(path)
            if header != {"kind": "search", "key": key} or tensors["z"].shape[0] != len(x):
                raise ValueError(f"{path} is not the search result of its name. Delete it.")
            if self._bar is not None:
                self._bar.update(len(x) * self.search_steps)
            return tensors["z"].to(x.device)
        found = self._search(x)
        save_tensors(path, {"z": found}, {"kind": "search", "key": key})
        return found

    def _search(self, x: Tensor) -> Tensor:
        generator, discriminator = self.networks_["generator"], self.networks_["discriminator"]
        # Drawn on the CPU, so that z is the same on every device.
        start = self._draw(1, torch.device("cpu"), torch.Generator().manual_seed(self.seed))
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
                    step,
                    x.device,
                    restored=partial(restored, [z], [optimizer]),
                    what="a step of AnoGAN's search",
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
        return distance(x, made, self.score_distance), distance(
            features, features_made, self.score_distance
        )

    def _batches(self, images: Tensor, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, ...]]:
        """Like `AdversarialDetector._batches`, with a progress bar where the search takes long."""
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

    def _draw(
        self, count: int, device: torch.device, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw z from the prior: (count, latent, 1, 1)."""
        draw = torch.randn if self.prior == "normal" else torch.rand
        z = draw(count, self.latent, 1, 1, device=device, generator=generator)
        return z if self.prior == "normal" else 2 * z - 1
