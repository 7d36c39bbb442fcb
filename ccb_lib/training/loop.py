"""The training loop: seeded epochs, progress, checkpoints that resume to the same result."""

import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ccb_lib.environment import seeded
from ccb_lib.io.images import to_unit
from ccb_lib.io.tensors import digest
from ccb_lib.training.checkpoints import load_checkpoint, save_checkpoint
from ccb_lib.training.types import EpochCallback, Losses, Steps, Trainable, TrainingDiverged, Turns

_LOOK_EVERY = 0.25  # seconds between readings of the losses; each waits for the device


def eager_steps(trainable: Trainable, images: Tensor, order: Tensor, seed: int) -> Iterator[Losses]:
    """Take the steps of one epoch eagerly; `ccb_lib.training.fast_steps` is the fast form.

    Args:
        trainable: Its networks are in training mode.
        images: (N, C, H, W) uint8 on the networks' device.
        order: (steps, B) int64 on the same device: for each step the rows of ``images`` in its
            batch.
        seed: Seeds all random numbers of the steps.

    Yields:
        After each step, the sum of each loss over the epoch so far: scalars on the device.
    """
    sums: Losses = {}
    with seeded(seed, images.device):
        for rows in order:
            losses = trainable.training_step(to_unit(images[rows]))
            sums = {
                name: sums[name] + loss if sums else loss.clone() for name, loss in losses.items()
            }
            yield sums


def training(
    trainable: Trainable,
    images: Tensor,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    settings: dict[str, Any],
    title: str = "training",
    resume: str | Path | None = None,
    on_epoch_end: EpochCallback | None = None,
    progress: bool = True,
    steps: Steps = eager_steps,
) -> Turns[list[dict[str, float]]]:
    """Train for ``epochs`` epochs over shuffled images; an incomplete last batch is dropped.

    The image order and the dropout of an epoch depend on (seed, epoch) alone, so a resumed
    run ends with the same result as an uninterrupted one: bit-equal on a CPU with the same number
    of threads.

    Args:
        trainable: Networks, optimisers and a step.
        images: (N, C, H, W) uint8, at least two.
        epochs: The total number of epochs.
        batch_size: Images in a step; all images if there are fewer.
        seed: Seeds the image order and the dropout.
        device: The device of the networks.
        settings: Values that must be equal for a checkpoint to be loaded; anything JSON can hold.
        title: The label of the progress bar.
        resume: A checkpoint file. Training resumes from it if it exists, and every epoch overwrites
            it.
        on_epoch_end: Called with the epoch's number, from 1, before the checkpoint is written. The
            numbers that it returns are added to the epoch's entry in the history.
        progress: Show a progress bar with losses and images per second.
        steps: Takes the steps of one epoch.

    Yields:
        After each step, whether another run may take a step before the next step of this one. It
        may if ``steps`` has a true attribute ``independent``, which promises that the steps leave
        the global random generators unchanged.

    Returns:
        The history, one dict for each epoch: ``epoch``, the mean of each loss, ``seconds``, and
        what ``on_epoch_end`` returned.

    Raises:
        ValueError: The checkpoint is damaged, or was made with other settings or images.
        TrainingDiverged: A loss became NaN or infinite.
    """
    settings = {**settings, "images": digest(images)}
    history = load_checkpoint(trainable, resume, settings, epochs) if resume is not None else []
    images = images.to(device)
    batch_size = min(batch_size, len(images))
    per_epoch = len(images) // batch_size
    bar = tqdm(
        total=epochs * per_epoch * batch_size,
        initial=len(history) * per_epoch * batch_size,
        unit=" images",
        unit_scale=True,
        disable=not progress,
    )
    with bar:
        for epoch in range(len(history) + 1, epochs + 1):
            bar.set_description(f"{title} {epoch}/{epochs}")
            begun = time.perf_counter()
            for network in trainable.networks_.values():
                network.train()
            # The factor exceeds any number of epochs, so no two pairs (seed, epoch) share a seed.
            epoch_seed = seed * 1_000_003 + epoch
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch_seed))
            order = order[: per_epoch * batch_size].view(per_epoch, batch_size).to(device)
            monitor = _LossMonitor(bar, batch_size, f"epoch {epoch}")
            # Closed at once on an error, so that the steps restore the random generators.
            with closing(steps(trainable, images, order, epoch_seed)) as taking:
                for sums in taking:
                    monitor.after_step(sums)
                    yield getattr(steps, "independent", False)
            means = monitor.now()
            for network in trainable.networks_.values():
                network.eval()
            line = {"epoch": epoch, **means, "seconds": time.perf_counter() - begun}
            line |= (on_epoch_end(epoch) or {}) if on_epoch_end else {}
            history.append(line)
            if resume is not None:
                save_checkpoint(trainable, resume, settings, history)
    return history


class _LossMonitor:
    """Shows an epoch's mean losses and raises if one is not finite.

    It reads the losses only every `_LOOK_EVERY` seconds, since each reading waits for the device.
    """

    def __init__(self, bar: tqdm, batch_size: int, where: str) -> None:
        self.bar, self.batch_size, self.where = bar, batch_size, where
        self.sums: Losses = {}
        self.taken = self.shown = 0
        self.last = time.perf_counter()

    def after_step(self, sums: Losses) -> None:
        self.sums = sums
        self.taken += 1
        if time.perf_counter() - self.last > _LOOK_EVERY:
            self.now()

    def now(self) -> dict[str, float]:
        """Update the progress bar and return the mean of each loss so far."""
        means = dict(
            zip(
                self.sums,
                (torch.stack(list(self.sums.values())) / self.taken).tolist(),
                strict=True,
            )
        )
        self.last = time.perf_counter()
        self.bar.update((self.taken - self.shown) * self.batch_size)
        self.shown = self.taken
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:  # a sum that met a NaN or ∞ never becomes finite again
            raise TrainingDiverged(
                f"The {' and '.join(broken)} loss stopped being finite in {self.where}, by step "
                f"{self.taken}. Training was stopped. Lower learning_rate or the loss weights, or "
                "try another seed; with resume= the last complete epoch is kept."
            )
        return means
