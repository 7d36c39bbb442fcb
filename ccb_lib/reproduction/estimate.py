"""How long runs would take on this machine: a few steps of each kind are timed, and images are counted."""

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
from ccb_lib.reproduction.runs import Run, as_json, feeding, kind
from ccb_lib.reproduction.splits import splits_of

_STEPS = {"cpu": 2, "cuda": 20}  # of the epoch that is timed; one of as many warms up
_SCORED = 64  # images whose scoring is timed
_SEARCH = 2  # steps of AnoGAN's search that are timed


@dataclass(frozen=True)
class Cost:
    """Seconds on one device.

    Attributes:
        step: Of a training step.
        image: Of scoring an image among others.
        alone: Of scoring an image by itself, as a protocol with a batch size of 1 does.
    """

    step: float
    image: float
    alone: float


@dataclass(frozen=True)
class Sizes:
    """The images of a run.

    Attributes:
        shape: (C, H, W).
        train: Training images.
        tests: By class and kind of test set: the images to score, without those that an earlier set has
            scored; see `ccb_lib.evaluation.feeding.score_split`.
    """

    shape: tuple[int, int, int]
    train: int
    tests: Mapping[tuple[str, str], int] = field(default_factory=dict)


def seconds_left(
    run: Run, sizes: Sizes, cost: Cost, *, epochs_done: int = 0
) -> tuple[float, float]:
    """Estimate what a run needs yet.

    Args:
        run: What is to be done.
        sizes: Of its images.
        cost: Of its kind on this machine.
        epochs_done: Epochs in its checkpoint.

    Returns:
        Seconds of training, and of scoring.

    Example:
        >>> run = Run(dataset="cifar10", method="anogan", abnormal=("cat",), settings={"epochs": 2}, protocols=())
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
        for protocol in (p for p in run.protocols if kind(p) == which):
            each_epoch = protocol.epoch != "last" and method.scores_each_epoch
            fed[protocol.feeding if each_epoch else feeding(protocol)] = (
                protocol,
                epochs if each_epoch else 1,
            )
        for protocol, times in fed.values():
            each = cost.alone if protocol.batch_size == 1 else cost.image
            extra = sizes.train * cost.image if protocol.batch_norm == "recomputed" else 0.0
            scoring += times * (images * each + extra)
    return epochs * (sizes.train // min(batch, sizes.train)) * cost.step, scoring


def kind_of(run: Run, shape: tuple[int, int, int]) -> str:
    """Name all that decides what a step of a run costs: runs alike in it need to be timed once."""
    settings = {
        name: value
        for name, value in as_json(run.settings).items()
        if name not in ("epochs", "chain_init")
    }
    return json.dumps([run.method, shape, settings])


def timed(
    run: Run, shape: tuple[int, int, int], *, device: str = "auto", fast: bool | str | None = None
) -> Cost:
    """Train and score a run's detector on random images for a few steps, and return what each cost.

    Args:
        run: Whose method and settings.
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
    """Hours that runs need on this machine; each kind of step is timed once, each set of images counted once.

    Args:
        root: Of the images.
        device, fast: As in `ccb_lib.reproduction.execute.execute`.

    Attributes:
        costs: What was timed, by `kind_of`.
    """

    def __init__(
        self, *, root: str | None = None, device: str = "auto", fast: bool | str | None = None
    ) -> None:
        self.device, self.fast = device, fast
        self.costs: dict[str, Cost] = {}
        self.root = root
        self._counted: dict[str, Sizes] = {}

    def hours(self, runs: Iterable[Run], under_way: Mapping[str, int]) -> tuple[float, float]:
        """Return the hours of training and of scoring that runs need yet.

        Args:
            runs: Those that are missing.
            under_way: Epochs done, by the run's key.

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
        """Count a run's images; another seed's split, and another class of CIFAR-10, count as the first one's."""
        options = {name: value for name, value in run.options.items() if name != "seed"}
        kinds = list(dict.fromkeys(kind(protocol) for protocol in run.protocols))
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
    protocols = {kind(protocol): protocol for protocol in run.protocols}
    tests: dict[tuple[str, str], int] = {}
    for (abnormal, which), split in splits.items():
        # Normals of a natural test, calibration images and abnormal images of draws are scored once a run.
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
