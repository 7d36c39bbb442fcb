"""Estimates of the hours that runs need on this machine, from a few timed steps of each kind."""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

import torch

from ccb_lib.detectors import METHODS
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.detectors.base import CollapsedWarning
from ccb_lib.environment import choose_device
from ccb_lib.evaluation.protocols import Protocol
from ccb_lib.reproduction.defaults import as_json
from ccb_lib.reproduction.runs import Run
from ccb_lib.reproduction.splits import splits_of

# Steps of the timed epoch. An untimed epoch of the same length runs first: the first steps of a
# network are slower, since kernels are chosen and memory is allocated.
_STEPS = {"cpu": 2, "cuda": 20}
_SCORED = 64  # images scored for the timing
_SEARCH = 2  # timed steps of AnoGAN's search


@dataclass(frozen=True)
class Cost:
    """Seconds per step and per image on one device.

    Attributes:
        step: Seconds of one training step.
        image: Seconds per image when images are scored in batches.
        alone: Seconds per image with a batch size of 1.
    """

    step: float
    image: float
    alone: float


@dataclass(frozen=True)
class Sizes:
    """The image shape and the numbers of images of a run.

    Attributes:
        shape: (C, H, W).
        train: Number of training images.
        tests: By class and kind of test set: the number of images to score, without those already
            scored for an earlier set; see `ccb_lib.evaluation.feeding.score_split`.
    """

    shape: tuple[int, int, int]
    train: int
    tests: Mapping[tuple[str, str], int] = field(default_factory=dict)


def seconds_left(
    run: Run, sizes: Sizes, cost: Cost, *, epochs_done: int = 0
) -> tuple[float, float]:
    """Estimate the remaining seconds of a run.

    Args:
        run: The run.
        sizes: Numbers of its images.
        cost: Cost of its steps on this machine, from `timed`.
        epochs_done: Epochs in its checkpoint.

    Returns:
        Seconds of training, seconds of scoring.

    Example:
        >>> of = {"dataset": "cifar10", "method": "anogan", "abnormal": ("cat",)}
        >>> run = Run(**of, settings={"epochs": 2}, protocols=())
        >>> seconds_left(run, Sizes((3, 32, 32), 640), Cost(0.5, 0.01, 0.1))
        (10.0, 0.0)
    """
    method = METHODS[run.method]
    if not issubclass(method, AdversarialDetector):
        return 0.0, 0.0
    batch = run.settings.get("batch_size", method.batch_size)
    epochs = run.settings.get("epochs", method.epochs) - epochs_done
    scoring = 0.0
    for (_, which), images in sizes.tests.items():
        fed: dict[object, tuple[Protocol, int]] = {}
        for protocol in (p for p in run.protocols if p.test_set == which):
            each_epoch = protocol.epoch != "last" and method.scores_each_epoch
            fed[protocol.feeding if each_epoch else protocol.scores_key] = (
                protocol,
                epochs if each_epoch else 1,
            )
        for protocol, times in fed.values():
            each = cost.alone if protocol.batch_size == 1 else cost.image
            extra = sizes.train * cost.image if protocol.batch_norm == "recomputed" else 0.0
            scoring += times * (images * each + extra)
    return epochs * (sizes.train // min(batch, sizes.train)) * cost.step, scoring


def kind_of(run: Run, shape: tuple[int, int, int]) -> str:
    """Return a key of everything that affects the cost of a step; each key is timed once."""
    settings = {
        name: value
        for name, value in as_json(run.settings).items()
        if name not in ("epochs", "chain_init")
    }
    return json.dumps([run.method, shape, settings])


def timed(
    run: Run, shape: tuple[int, int, int], *, device: str = "auto", fast: bool | str | None = None
) -> Cost:
    """Time a few training steps and scores of a run's detector on random images.

    Args:
        run: The run; its method and settings are used.
        shape: (C, H, W) of its images.
        device, fast: As in `ccb_lib.reproduction.execute.execute`.
    """
    method = METHODS[run.method]
    if not issubclass(method, AdversarialDetector):
        return Cost(0.0, 0.0, 0.0)
    settings = {**run.settings, "epochs": 2, "device": device, "fast": fast, "seed": run.seed}
    searching = 1.0
    if "search_steps" in method.__dataclass_fields__:
        searching = settings.get("search_steps", method.search_steps) / _SEARCH  # type: ignore[attr-defined]
        settings["search_steps"] = _SEARCH
    detector = method(**settings)
    steps = _STEPS[choose_device(device).type]
    generator = torch.Generator().manual_seed(0)
    count = steps * detector.batch_size
    images = torch.randint(0, 256, (count, *shape), generator=generator).to(torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedWarning)
        detector.fit(images, progress=False)
    some = images.repeat(-(-_SCORED // count), 1, 1, 1)[:_SCORED]
    begun = perf_counter()
    detector.score_terms(some, batch_size=_SCORED)
    image = (perf_counter() - begun) / len(some)
    begun = perf_counter()
    detector.score_terms(some[:2], batch_size=1)
    alone = (perf_counter() - begun) / 2
    return Cost(detector.history_[-1]["seconds"] / steps, image * searching, alone * searching)


class Estimates:
    """Hours that runs need on this machine.

    Each kind of step is timed once, and each set of images is counted once.

    Args:
        root: Folder of the images.
        device, fast: As in `ccb_lib.reproduction.execute.execute`.

    Attributes:
        costs: Measured costs by `kind_of`.
    """

    def __init__(
        self, *, root: str | None = None, device: str = "auto", fast: bool | str | None = None
    ) -> None:
        self.device, self.fast = device, fast
        self.costs: dict[str, Cost] = {}
        self.root = root
        self._counted: dict[str, Sizes] = {}

    def hours(self, runs: Iterable[Run], under_way: Mapping[str, int]) -> tuple[float, float]:
        """Return the remaining hours of training and of scoring.

        Args:
            runs: The missing runs.
            under_way: Epochs in checkpoints, by the run's key.

        Raises:
            FileNotFoundError: The images are not on this machine.
        """
        training = scoring = 0.0
        for run in runs:
            sizes = self.sizes(run)
            name = kind_of(run, sizes.shape)
            if name not in self.costs:
                self.costs[name] = timed(run, sizes.shape, device=self.device, fast=self.fast)
            parts = seconds_left(
                run, sizes, self.costs[name], epochs_done=under_way.get(run.key, 0)
            )
            training, scoring = training + parts[0] / 3600, scoring + parts[1] / 3600
        return training, scoring

    def sizes(self, run: Run) -> Sizes:
        """Count a run's images.

        Counts of the first seed, and on CIFAR-10 of the first class, are used for all others.
        """
        options = {name: value for name, value in run.options.items() if name != "seed"}
        kinds = list(dict.fromkeys(protocol.test_set for protocol in run.protocols))
        classes = None if run.dataset == "cifar10" else run.abnormal
        key = json.dumps([run.dataset, classes, options, run.limit, kinds])
        if key not in self._counted:
            self._counted[key] = _counted(run, self.root)
        found = self._counted[key]
        if classes is not None:
            return found
        return replace(
            found, tests={(run.abnormal[0], which): n for (_, which), n in found.tests.items()}
        )


def _counted(run: Run, root: str | None) -> Sizes:
    splits = splits_of(run, root)
    protocols = {protocol.test_set: protocol for protocol in run.protocols}
    tests: dict[tuple[str, str], int] = {}
    for (abnormal, which), split in splits.items():
        # Test normals of the natural set, calibration images and abnormal images of further draws
        # are scored once per run.
        first, protocol = abnormal == run.abnormal[0], protocols[which]
        known = 0
        if protocol.draw:
            known = int(split.test_labels.sum())
        elif protocol.batch_norm != "batch" and not first:
            known = int((~split.test_labels).sum())
        tests[abnormal, which] = len(split.test) - known
        if first and not protocol.draw:
            tests[abnormal, which] += len(split.calibration)
    split = next(iter(splits.values()))
    return Sizes(tuple(split.train.shape[1:]), len(split.train), tests)
