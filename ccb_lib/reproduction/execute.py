"""Execution of runs: train, score under every protocol, return results; locally or on a cluster."""

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
from ccb_lib.environment import choose_device, end_with_parent
from ccb_lib.evaluation.epochs import EpochBest, EpochScores
from ccb_lib.evaluation.feeding import Shared, score_split
from ccb_lib.reproduction.runs import Run
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
    """Train a detector, score it under every protocol, and return the results.

    Args:
        run: The run.
        root: Folder of the images.
        device: As in `Detector`.
        work: Folder of checkpoints. An interrupted run resumes from its last complete epoch.
        fast: How networks train, as in `AdversarialDetector`. It is not part of the run's key.
        progress: Show a progress bar.
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
    """Execute a run as a generator that yields after each training step.

    `ccb_lib.training.concurrent.run_concurrently` interleaves such generators on one GPU.
    Arguments are those of `execute`. ``watch`` is called after each step and each epoch, and may
    stop the run by raising `TimeUp`.
    """
    watch = watch or Watch(say=lambda _: None)
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
        watch.after_epoch(run, epoch)

    fitting = detector.fit_turns(
        first.train,
        calibration=first.calibration,
        resume=checkpoint,
        on_epoch_end=score_epoch,
        progress=progress,
    )
    watch.begin(run, len(first.train), detector, checkpoint)
    warned = yield from _watched(run, fitting, watch)
    shared: Shared = {}
    scored: dict[str, Scored] = {}
    aucs: dict[str, list[float]] = {}
    for (abnormal, which), split in splits.items():
        for protocol in (p for p in run.protocols if p.test_set == which):
            name = scored_name(abnormal, protocol)
            if name in scored:
                continue
            if protocol.epoch == "last" or not detector.scores_each_epoch:
                found = EpochBest(
                    len(detector.history_), *score_split(detector, split, protocol, shared)
                )
            else:
                found = recorders[abnormal, which].best(protocol)
                aucs[name] = recorders[abnormal, which].aucs[protocol.name]
            # Further draws are tested at the oracle's φ only. Leaving their calibration scores out
            # halves the file.
            scored[name] = Scored(
                found.terms, None if protocol.draw else found.calibration, found.epoch
            )
    manifest = {
        **run.identity,
        "key": run.key,
        "alpha": detector.alpha,
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


def _watched(run: Run, turns: Turns[Detector], watch: Watch) -> Turns[list[str]]:
    """Run a generator, call the watch after each step, and return the warnings of mode collapse.

    All other warnings are re-issued.

    Warnings are recorded within one step only: the state of `warnings` is global, and other
    generators run between two steps.
    """
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
        watch.after_step(run)
        yield turn


def _recorders(
    run: Run,
    splits: dict[tuple[str, str], AnomalySplit],
    detector: Detector,
    checkpoint: Path | None,
) -> dict[tuple[str, str], EpochScores]:
    """Return one recorder per test set on which a protocol selects an epoch."""
    recorders = {}
    for (abnormal, which), split in splits.items():
        choosing = [p for p in run.protocols if p.test_set == which and p.epoch != "last"]
        if choosing and detector.scores_each_epoch:
            path = checkpoint and checkpoint.with_name(f"{run.key}-{abnormal}, {which}.safetensors")
            recorders[abnormal, which] = EpochScores(split, choosing, path)
    return recorders


def _commit() -> str:
    """Return the short commit of this checkout, or "unknown"."""
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
    """Execute the runs that a store lacks, and store each result when it is complete.

    Args:
        runs: The runs wanted.
        store: Receives the results. Runs that it holds are not executed.
        executor: Any ``concurrent.futures.Executor``, such as
            ``dask.distributed.Client(…).get_executor()``; this process by default.
        parallel: Number of processes on this machine, if no executor is given.
        root, device, work, fast: See `execute`.
        progress: Show one progress bar over all runs, with the remaining time.
        watch: Called after each step and epoch; may stop runs. It is used only for runs in this
            process.

    Returns:
        Failed runs with the reason. A failure does not stop the others. Failed runs are executed
        again by the next call.
    """
    missing = [run for run in runs if run.key not in store.results]
    how = {"root": root, "device": device, "work": work, "fast": fast}
    failed = {}
    watch = watch or Watch(say=lambda _: None)
    with tqdm(total=len(missing), unit=" runs", desc="runs", disable=not progress) as bar:

        def begin(run: Run) -> Turns[Result]:
            bar.set_postfix_str(str(run))
            return executing(run, **how, watch=watch)

        def take(run: Run, get: Callable[[], Result]) -> None:
            how_it_ended = "stored"
            try:
                store.add(get())
                if work:
                    _delete_checkpoints(Path(work), run.key)
            except TimeUp:
                return  # its checkpoint stays; the next call resumes from it
            except Exception as error:  # one failed run must not stop the others
                failed[str(run)] = "".join(traceback.format_exception_only(error)).strip()
                how_it_ended = f"failed: {failed[str(run)]}"
            watch.end(run, how_it_ended)
            bar.update()

        if executor is None and parallel == 1:
            # On a GPU several runs are interleaved, as many as fit into its memory.
            starts = [partial(begin, run) for run in missing]
            for number, result in run_concurrently(starts, choose_device(device)):
                take(missing[number], partial(_result_or_raise, result))
            return failed
        own = executor is None
        others = set(active_children())
        chosen = executor or ProcessPoolExecutor(
            parallel, mp_context=get_context("spawn"), initializer=end_with_parent
        )
        try:
            futures = {chosen.submit(execute, run, **how): run for run in missing}
            for future in as_completed(futures):
                take(futures[future], future.result)
        except KeyboardInterrupt:
            for worker in set(active_children()) - others if own else ():
                worker.terminate()  # the next call resumes its run from the last complete epoch
            raise
        finally:
            if own:
                chosen.shutdown(cancel_futures=True)
    return failed


def _delete_checkpoints(work: Path, key: str) -> None:
    """Delete the checkpoints of a stored run; each is three times the size of its networks."""
    for file in work.glob(f"{key}*.safetensors"):
        file.unlink(missing_ok=True)  # a second process may have stored the same run
    shutil.rmtree(work / f"{key}.scoring", ignore_errors=True)


def _result_or_raise(result: Result | Exception) -> Result:
    if isinstance(result, Exception):
        raise result
    return result
