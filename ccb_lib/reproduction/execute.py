"""Executing runs: train, test under every protocol, keep what was measured, here or on a cluster."""

import shutil
import subprocess
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

from tqdm.auto import tqdm

from ccb_lib.datasets import AnomalySplit
from ccb_lib.detectors import METHODS
from ccb_lib.detectors.base import CollapsedWarning, Detector
from ccb_lib.environment import choose_device
from ccb_lib.evaluation.epochs import EpochBest, EpochScores
from ccb_lib.evaluation.feeding import Shared, score_split
from ccb_lib.reproduction.runs import Run, feeding, kind
from ccb_lib.reproduction.splits import splits_of
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name
from ccb_lib.reproduction.watch import TimeUp, Watch
from ccb_lib.training.concurrent import run_concurrently
from ccb_lib.training.types import Turns, finish


def execute(
    run: Run,
    *,
    root: str | None = None,
    device: str = "auto",
    work: str | None = None,
    fast: bool | str | None = None,
    progress: bool = False,
) -> Result:
    """Train, test under every protocol, and return what was measured.

    Args:
        run: What to do.
        root: Of the images.
        device: As in `Detector`.
        work: A folder for checkpoints: a run that was killed and is executed again goes on from its last whole epoch.
        fast: How networks train, as in `AdversarialDetector`; no part of what makes the run what it is.
        progress: Show a bar.
    """
    return finish(executing(run, root=root, device=device, work=work, fast=fast, progress=progress))


def executing(
    run: Run,
    *,
    root: str | None = None,
    device: str = "auto",
    work: str | None = None,
    fast: bool | str | None = None,
    progress: bool = False,
    watch: Watch | None = None,
) -> Turns[Result]:
    """Do as `execute`, handing over after each training step; for `ccb_lib.training.concurrent.run_concurrently`.

    ``watch`` is told of each step and each epoch, and may stop the run by raising `TimeUp`.
    """
    if watch is not None:
        watch.check()
    begun = time.perf_counter()
    splits = splits_of(run, root)
    first = next(iter(splits.values()))
    settings = {**run.settings, "seed": run.seed, "device": device}
    if "fast" in METHODS[run.method].__dataclass_fields__:
        settings["fast"] = fast
    detector = METHODS[run.method](**settings)
    checkpoint = Path(work) / f"{run.key}.safetensors" if work else None
    detector.scoring_folder = checkpoint and checkpoint.with_suffix(".scoring")
    recorders = _recorders(run, splits, detector, checkpoint)

    def score_epoch(fitted: Detector, epoch: int) -> None:
        shared: Shared = {}
        for recorder in recorders.values():
            recorder(fitted, epoch, shared)
        if watch is not None:
            watch.after_epoch(run, epoch)

    fitting = detector.fit_turns(
        first.train,
        calibration=first.calibration,
        resume=checkpoint,
        on_epoch_end=score_epoch if recorders or watch is not None else None,
        progress=progress,
    )
    if watch is not None:
        watch.begin(run, len(first.train), detector, checkpoint)
        fitting = _watched(run, fitting, watch)
    warned = yield from _collapses(fitting)
    shared: Shared = {}
    scored: dict[str, Scored] = {}
    aucs: dict[str, list[float]] = {}
    for (abnormal, which), split in splits.items():
        for protocol in (p for p in run.protocols if kind(p) == which):
            name = scored_name(abnormal, which, feeding(protocol))
            if name in scored:
                continue
            if protocol.epoch == "last" or not detector.scores_each_epoch:
                found = EpochBest(
                    len(detector.history_), *score_split(detector, split, protocol, shared)
                )
            else:
                found = recorders[abnormal, which].best(protocol)
                aucs[name] = recorders[abnormal, which].aucs[protocol.name]
            # Further draws have an oracle's φ alone; without calibration their file is half as large.
            scored[name] = Scored(
                found.terms, None if protocol.draw else found.calibration, found.epoch
            )
    manifest = {
        **run.identity,
        "key": run.key,
        "alpha": detector.alpha,
        "imposed": not detector.released_in_train_mode,
        **detector.origin_,
        "commit": _commit(),
        "seconds": round(time.perf_counter() - begun, 1),
        "history": detector.history_,
        "warnings": warned,
        "fast": getattr(detector, "fast_", None),
    }
    sets = {
        f"{abnormal}|{which}": TestSet(
            split.test_labels, split.test_ids, split.test_groups, split.test_classes
        )
        for (abnormal, which), split in splits.items()
    }
    return Result(manifest, sets, scored, aucs)


def _watched(run: Run, turns: Turns[Detector], watch: Watch) -> Turns[Detector]:
    """Take the turns, and tell the watch after each."""
    while True:
        try:
            turn = next(turns)
        except StopIteration as end:
            return end.value
        watch.after_step(run)
        yield turn


def _collapses(turns: Turns[Detector]) -> Turns[list[str]]:
    """Take the turns and return what they warned of collapse; other warnings pass, and other work sees no change."""
    collapses: list[str] = []
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            turn = next(turns, None)
        for warning in caught:
            if warning.category is CollapsedWarning:
                collapses.append(str(warning.message))
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        if turn is None:
            return collapses
        yield turn


def _recorders(
    run: Run,
    splits: dict[tuple[str, str], AnomalySplit],
    detector: Detector,
    checkpoint: Path | None,
) -> dict[tuple[str, str], EpochScores]:
    """One recorder for each test set that a protocol chooses an epoch on."""
    recorders = {}
    for (abnormal, which), split in splits.items():
        choosing = [p for p in run.protocols if kind(p) == which and p.epoch != "last"]
        if choosing and detector.scores_each_epoch:
            path = checkpoint and checkpoint.with_name(f"{run.key}-{abnormal}, {which}.safetensors")
            recorders[abnormal, which] = EpochScores(split, choosing, path)
    return recorders


def _commit() -> str:
    """Return this checkout's commit, if it is one."""
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "unknown"


def run_missing(
    runs: Iterable[Run],
    store: Store,
    *,
    executor: Executor | None = None,
    parallel: int = 1,
    root: str | None = None,
    device: str = "auto",
    work: str | None = None,
    fast: bool | str | None = None,
    progress: bool = True,
    watch: Watch | None = None,
) -> dict[str, str]:
    """Execute what the store does not hold, and put each result there as it comes.

    Args:
        runs: What there ought to be.
        store: Where results go; what it holds is not run again.
        executor: Any ``concurrent.futures.Executor``, such as ``dask.distributed.Client(…).get_executor()``; this
            process by default.
        parallel: Processes side by side on this machine, where no executor is given.
        root, device, work, fast: See `execute`.
        progress: Show one bar over all runs, with the time left.
        watch: Told of each step and epoch; may stop runs. For runs in this process alone.

    Returns:
        Runs that failed, with the reason. They leave the others alone and are run again next time.
    """
    missing = [run for run in runs if run.key not in store.results]
    how = {"root": root, "device": device, "work": work, "fast": fast}
    failed = {}
    with tqdm(total=len(missing), unit=" runs", desc="runs", disable=not progress) as bar:

        def begin(run: Run) -> Turns[Result]:
            bar.set_postfix_str(str(run))
            return executing(run, **how, watch=watch)

        def take(run: Run, get: Callable[[], Result]) -> None:
            how_it_ended = "stored"
            try:
                store.add(get())
                if work:
                    _clear(Path(work), run.key)
            except TimeUp:
                return  # its checkpoint stays, and the next call goes on from there
            except Exception as error:  # one run that diverges must not cost the others
                failed[str(run)] = "".join(traceback.format_exception_only(error)).strip()
                how_it_ended = f"failed: {failed[str(run)]}"
            if watch is not None:
                watch.end(run, how_it_ended)
            bar.update()

        if executor is None and parallel == 1:
            # On a GPU several run side by side, as many as fit.
            starts = [partial(begin, run) for run in missing]
            for number, result in run_concurrently(starts, choose_device(device)):
                take(missing[number], partial(_given, result))
            return failed
        own = executor is None
        others = set(active_children())
        chosen = executor or ProcessPoolExecutor(parallel, mp_context=get_context("spawn"))
        try:
            futures = {chosen.submit(execute, run, **how): run for run in missing}
            for future in as_completed(futures):
                take(futures[future], future.result)
        except KeyboardInterrupt:
            for worker in set(active_children()) - others if own else ():
                worker.terminate()  # its run goes on from its last whole epoch next time
            raise
        finally:
            if own:
                chosen.shutdown(cancel_futures=True)
    return failed


def _clear(work: Path, key: str) -> None:
    """Delete what a run that is stored no longer needs; checkpoints are of three times the networks' size."""
    for file in work.glob(f"{key}*.safetensors"):
        file.unlink()
    shutil.rmtree(work / f"{key}.scoring", ignore_errors=True)


def _given(result: Result | Exception) -> Result:
    if isinstance(result, Exception):
        raise result
    return result
