import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ccb_lib.chapters.explorers import explorer_cells
from ccb_lib.cli.group import main
from ccb_lib.evaluation.protocols import CLEAN, RELEASED, RELEASED_DRAWS, STEPS_TO_CLEAN
from ccb_lib.io.project_data import project_data
from ccb_lib.reproduction import plan as plan_module
from ccb_lib.reproduction import runs as runs_module
from ccb_lib.reproduction.execute import _delete_checkpoints, execute, run_missing
from ccb_lib.reproduction.registry import CHAINS, CLASSES
from ccb_lib.reproduction.results import load_results, placebo, read_results, scores_of
from ccb_lib.reproduction.runs import (
    AUDIT,
    Run,
    key_of,
    missing_protocols,
    store_path,
    table_runs,
)
from ccb_lib.reproduction.settings import CHOICES, PAPER, at_settings
from ccb_lib.reproduction.splits import limited
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.tables import reported_and_measured, table

BOTH = (CLEAN, RELEASED)
TINY = {"epochs": 2, "limit": 48, "width": 2}


def digits_run(seed=0, **changes):
    return Run(
        **{
            "dataset": "digits",
            "method": "ccb",
            "abnormal": ("8",),
            "seed": seed,
            "limit": 48,
            "settings": {"epochs": 2, "width": 2, "batch_size": 16},
            **changes,
        }
    )


def equal(a, b):
    """Whether two results hold the same scores, whatever they took."""
    assert a.scored.keys() == b.scored.keys()
    assert a.aucs == b.aucs
    return all(
        found.epoch == b.scored[name].epoch
        and all(np.array_equal(x, y) for x, y in zip(found.test, b.scored[name].test, strict=True))
        for name, found in a.scored.items()
    )


def test_grids_count_what_the_paper_prints():
    assert len(table_runs(1, methods=["ccb"])) == 10
    assert len(table_runs(1, seeds=3)) == 3 * 6 * 10 + 4 * 10  # trivial scores have one seed
    assert [len(run.abnormal) for run in table_runs(4, methods=["ccb"])] == [
        4
    ]  # trained once, tested on four classes
    ablation = table_runs(6, seeds=3)
    assert len(ablation) == 2 * 3 * 5
    assert {run.settings["chain"] for run in ablation} == set(CHAINS)
    assert (
        len({run.key for table in range(1, 8) for run in table_runs(table, seeds=2)})
        == 160 + 20 + 20 + 20
    )
    assert {run.options.get("seed") for run in table_runs(4, seeds=2, methods=["ccb"])} == {0, 1}


def test_grids_refuse_what_the_paper_does_not_have():
    with pytest.raises(ValueError, match="Tables 1 to 7"):
        table_runs(8)
    with pytest.raises(ValueError, match=r"\['resnet'\]; it has ccb"):
        table_runs(1, methods=["resnet"])
    with pytest.raises(ValueError, match=r"Table 1 has no class \['akiec'\]"):
        table_runs(1, abnormal=["akiec"])


def test_a_key_follows_what_matters_alone():
    run = digits_run()
    assert run.key == digits_run(protocols=AUDIT).key
    others = [
        digits_run(1),
        digits_run(limit=49),
        digits_run(method="egbad"),
        digits_run(options={"seed": 1}),
    ]
    assert len({run.key, *(other.key for other in others)}) == 5


def test_a_default_said_aloud_makes_the_same_run():
    aloud = table_runs(
        6, chain_init="he", similarity="l2", width=64, image_size=32, normal="nv+bkl+mel"
    )
    assert [run.key for run in aloud] == [run.key for run in table_runs(6)]
    assert table_runs(6, chain_init="dcgan")[0].key != aloud[0].key
    # What goes without saying differs: Skip-GANomaly's loss is l1 and EGBAD's width 128.
    skip, egbad = (
        table_runs(4, methods=[m], similarity="l2", width=64)[0].settings
        for m in ("skip-ganomaly", "egbad")
    )
    assert skip == {"epochs": 50, "similarity": "l2"}
    assert egbad == {"epochs": 50, "width": 64}


def test_the_order_of_normal_classes_makes_no_other_run():
    keys = [table_runs(4, normal=normal)[0].key for normal in (None, "nv+bkl+mel", "mel+nv+bkl")]
    assert len(set(keys)) == 1


def test_a_class_run_alone_and_with_others_is_one_seed(tmp_path):
    store = Store(store_path(4, tmp_path))
    for result in read_results(4).values():
        if result.manifest["method"] == "pca" and result.manifest["options"] == {"seed": 0}:
            alone = {**result.manifest, "abnormal": ["vasc"]}
            store.add(result, replace(result, manifest={**alone, "key": key_of(alone)}))
    assert len(store.results) == 2
    assert table(4, folder=tmp_path).loc["pca", ("vasc", "seeds")] == 1


def test_runs_with_other_settings_stay_out_of_the_main_cells():
    frame = pd.DataFrame({"method": ["ccb"] * 2, **{name: [None] * 2 for name in CHOICES}})
    frame["epochs"], frame["other"] = 50, [None, "dropout 0.0"]
    assert at_settings(frame, PAPER).index.tolist() == [0]
    assert at_settings(frame, {**PAPER, "other": "dropout 0.0"}).index.tolist() == [1]


def test_settings_find_a_default_said_aloud():
    frame = pd.DataFrame(
        {"method": ["ccb", "ccb", "skip-ganomaly"], "similarity": [None, "l1", None]}
    )
    assert at_settings(frame, {"similarity": "l2"}).index.tolist() == [0]
    assert at_settings(frame, {"similarity": "l1"}).index.tolist() == [1, 2]
    assert at_settings(frame, {"similarity": None}).index.tolist() == [0, 2]


def test_executing_scores_every_protocol_and_says_how(tmp_path):
    run = digits_run(protocols=AUDIT)
    result = execute(run, device="cpu")
    names = {name.split("|", 2)[2] for name in result.scored}
    assert names == {protocol.scores_key for protocol in run.protocols}
    assert result.manifest["trained on"] == 48
    assert {"torch", "device", "commit", "seconds", "images"} <= result.manifest.keys()
    assert all(len(aucs) == 2 for aucs in result.aucs.values())
    assert equal(result, execute(run, device="cpu"))


def test_a_run_killed_between_epochs_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    run = digits_run()
    whole = execute(run, device="cpu")
    from ccb_lib.evaluation.epochs import EpochScores

    original = EpochScores.__call__

    def killed(self, detector, epoch, shared):
        original(self, detector, epoch, shared)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochScores, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        execute(run, device="cpu", work=str(tmp_path))
    monkeypatch.setattr(EpochScores, "__call__", original)
    resumed = execute(run, device="cpu", work=str(tmp_path))
    assert len(resumed.manifest["history"]) == 2
    assert equal(whole, resumed)


def test_recorded_epochs_are_found_again_whatever_order_sets_of_text_have(tmp_path):
    """Each process hashes text anew, so a file's name must follow from its test set, not from a
    count."""
    execute(digits_run(), device="cpu", work=str(tmp_path))
    names = {path.name for path in tmp_path.glob("*, *")}
    assert names == {f"{digits_run().key}-8, as released.safetensors"}


def test_draws_are_scored_under_names_of_their_own_and_the_first_stays(tmp_path):
    plain, drawn = (
        execute(digits_run(protocols=p), device="cpu") for p in (BOTH, (*BOTH, *RELEASED_DRAWS[:2]))
    )
    assert plain.key == drawn.key
    for name, scored in plain.scored.items():
        assert all(
            np.array_equal(a, b) for a, b in zip(scored.test, drawn.scored[name].test, strict=True)
        )
        assert scored.calibration is not None
    assert plain.aucs == {name: drawn.aucs[name] for name in plain.aucs}
    sets = {name: tests for name, tests in drawn.sets.items() if "draw" in name}
    assert sorted(sets) == ["8|as released, draw 1", "8|as released, draw 2"]
    assert all(
        len(set(tests.ids)) == len(tests) and tests.labels.mean() == 0.5 for tests in sets.values()
    )
    assert (
        len({tests.key for tests in drawn.sets.values()}) == 3
    )  # digits has one test for clean and released
    store = Store(tmp_path / "t.safetensors")
    store.add(drawn)
    read = Store.read(store.path).results[drawn.key]
    assert [scores_of(read, "8", p)[0].calibration for p in RELEASED_DRAWS[:2]] == [None, None]
    assert missing_protocols(digits_run(), plain) == []
    wanted = digits_run(protocols=(*BOTH, *RELEASED_DRAWS[:1]))
    assert missing_protocols(wanted, plain) == [RELEASED_DRAWS[0]]


def test_only_what_is_missing_is_run_and_one_failure_spares_the_others(tmp_path):
    store = Store(tmp_path / "t.safetensors")
    runs = [
        digits_run(0),
        digits_run(1, settings={"epochs": 40, "learning_rate": 1e30, "width": 2}),
        digits_run(2),
    ]
    failed = run_missing(runs, store, device="cpu", work=str(tmp_path / "work"), progress=False)
    assert list(failed) == [str(runs[1])]
    assert "TrainingDiverged" in failed[str(runs[1])]
    assert set(Store.read(store.path).results) == {runs[0].key, runs[2].key}
    left = {
        path.name.split("-")[0].removesuffix(".safetensors")
        for path in (tmp_path / "work").iterdir()
    }
    assert left <= {runs[1].key}  # what is stored needs no checkpoint
    stamp = store.path.stat().st_mtime_ns
    assert not run_missing(runs[::2], Store.read(store.path), device="cpu", progress=False)
    assert store.path.stat().st_mtime_ns == stamp


def test_processes_side_by_side_give_the_same_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = [digits_run(0), digits_run(1)]
    alone, together = Store(tmp_path / "1.safetensors"), Store(tmp_path / "2.safetensors")
    assert not run_missing(runs, alone, device="cpu", progress=False)
    assert not run_missing(runs, together, device="cpu", progress=False, parallel=2)
    for run in runs:
        assert equal(alone.results[run.key], together.results[run.key])


_POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from ccb_lib.environment import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process by signal")
def test_the_worker_of_a_killed_process_ends(tmp_path):
    (tmp_path / "pool.py").write_text(_POOL)
    words = [sys.executable, str(tmp_path / "pool.py")]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    # The worker inherited stdout, so the pipe is closed when the worker has ended.
    try:
        assert parent.communicate(timeout=30)[0] == ""
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def test_checkpoints_that_another_process_deleted_are_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda *_: [tmp_path / "key.safetensors"])
    _delete_checkpoints(tmp_path, "key")


def test_limited_keeps_the_parts_together(digits):
    small = limited(digits, 10)
    assert (len(small.train), len(small.calibration), len(small.test)) == (10, 10, 20)
    assert small.test_labels.sum() == 10
    assert [len(getattr(small, f"{part}_ids")) for part in ("train", "calibration", "test")] == [
        10,
        10,
        20,
    ]


@pytest.mark.skipif(os.name != "posix", reason="kills a process by signal")
def test_a_dask_cluster_finishes_although_a_worker_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    distributed = pytest.importorskip("distributed")
    runs = [
        digits_run(seed, settings={"epochs": 6, "width": 2, "batch_size": 16}) for seed in range(3)
    ]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victim = next(iter(client.run(os.getpid).values()))
        store = Store(tmp_path / "t.safetensors")
        from threading import Timer

        def kill():
            while not list((tmp_path / "work").glob("*.safetensors")):  # a run is under way
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)

        killer = Timer(0, kill)
        killer.start()
        failed = run_missing(
            runs,
            store,
            executor=client.get_executor(),
            device="cpu",
            work=str(tmp_path / "work"),
            progress=False,
        )
        killer.join()
    assert failed == {}
    for run in runs:
        assert equal(execute(run, device="cpu"), store.results[run.key])


@pytest.fixture(scope="module")
def results(made_cifar, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    runs = table_runs(
        1, methods=["ccb", "skip-ganomaly", "egbad", "pca"], abnormal=["airplane", "frog"], **TINY
    )
    assert not run_missing(
        runs, Store(store_path(1, folder)), root=str(made_cifar), device="cpu", progress=False
    )
    return folder


@pytest.mark.filterwarnings("ignore:CIFAR-10 in .* not 60,000")
class TestTable1:
    def test_a_frame_of_every_run_class_and_protocol(self, results):
        frame = load_results(
            1,
            folder=results,
            protocols=(CLEAN, RELEASED, *STEPS_TO_CLEAN[1:-1]),
            alphas=(None, 0.0, 1.0),
        )
        counts = frame.groupby(["method", "protocol"]).size()
        assert counts["ccb", "clean"] == counts["ccb", "shuffled"] == 2 * 3
        assert counts["egbad", "released"] == 2 * 3
        assert ("egbad", "shuffled") not in counts
        assert frame["auc"].between(0, 1).all()
        assert set(frame[frame["imposed"]]["method"]) == {"egbad"}

    def test_table_and_comparison(self, results):
        settings = {"epochs": 2, "limit": 48, "width": 2}
        laid_out = table(1, settings=settings, folder=results)
        assert laid_out.loc["ccb", ("frog", "seeds")] == 1
        frame = load_results(1, folder=results)
        own = frame[
            (frame.method == "ccb") & (frame.abnormal == "frog") & (frame.protocol == "clean")
        ].auc.item()
        assert laid_out.loc["ccb", ("frog", "mean")] == own
        assert np.isnan(laid_out.loc["ccb", ("cat", "mean")])
        assert np.isnan(laid_out.loc["anogan", ("frog", "mean")])
        compared = reported_and_measured(1, settings=settings, folder=results)
        assert compared.loc[("ccb", "frog"), "reported"] == 0.977
        assert compared.loc[("ccb", "frog"), "clean"] == own
        assert compared.loc[("ccb", "frog"), "clean − reported"] == pytest.approx(own - 0.977)
        assert compared.loc[("pca", "frog"), ["released", "clean"]].nunique() == 1
        # runs of other settings never stand in the paper's cells, the trivial ones of fewer images
        # included
        assert reported_and_measured(1, folder=results)[["released", "clean"]].isna().all(axis=None)

    def test_placebo_takes_the_classes_own_detectors(self, results):
        frame = placebo(settings={"epochs": 2, "limit": 48, "width": 2}, folder=results)
        assert frame.loc[("ccb", "airplane"), "detectors"] == 1  # of frog's
        assert frame.loc[("ccb", "cat"), "detectors"] == 2
        assert np.isnan(frame.loc[("ccb", "cat"), "clean"])
        frame = frame.dropna()
        assert (frame["unseen adds"] == frame["clean"] - frame["placebo"]).all()

    def test_explorer_cells(self, results):
        cells = explorer_cells(
            1, settings={"epochs": 2, "limit": 48, "width": 2}, folder=results, methods=["ccb"]
        )
        assert set(cells) == {("CCB", "airplane"), ("CCB", "frog")}
        scores, labels, thresholds = cells["CCB", "frog"]
        assert len(scores) == len(labels)
        assert set(thresholds) == {"normal 95 %", "oracle F1"}

    def test_the_command_shows_and_completes(self, results, made_cifar):
        common = [
            "--results",
            str(results),
            "--epochs",
            "2",
            "--limit",
            "48",
            "--width",
            "2",
            "--root",
            str(made_cifar),
        ]
        shown = CliRunner().invoke(main, ["table", "1", *common, "--method", "ccb", "egbad"])
        assert shown.exit_code == 0, shown.output
        lines = shown.output.splitlines()
        assert lines[1:3] == [
            f"  {name}: 2 epochs, width 2, 1 seed, 2 of 10 classes, CPU"
            for name in ("EGBAD", "CCB")
        ]
        assert lines[3] == (
            "released: as the public code tests; clean: each image by itself; "
            "–: not reported or not run; "
            "*: imposed; the method's own code tests otherwise"
        )
        assert "0.977" in shown.output
        assert shown.output.count("*") == 3  # egbad's two released cells, and the legend
        assert len(lines) == 2 + 2 + 2 + 20 + 1  # about, runs, headings, reported cells, not run
        unrun = ", ".join(name for name in CLASSES["cifar10"] if name not in ("airplane", "frog"))
        assert lines[-1] == f"Not run: EGBAD ({unrun}); CCB ({unrun})"
        clean = (
            CliRunner()
            .invoke(main, ["table", "1", *common, "--protocol", "clean", "--abnormal", "frog"])
            .output
        )
        assert "*" not in clean
        assert "clean: each image by itself; –: not reported or not run" in clean.splitlines()
        assert "pca" in clean
        assert clean.splitlines()[-1] == (
            "Not run: AnoGAN, GANomaly, CCB fork, mean intensity, PNG bytes, "
            "nearest neighbours (all classes)"
        )
        ran = CliRunner().invoke(
            main,
            [
                "table",
                "1",
                *common,
                "--run",
                "--method",
                "ccb",
                "--abnormal",
                "cat",
                "--device",
                "cpu",
            ],
        )
        assert ran.exit_code == 0, ran.output
        assert {run.abnormal for run in table_runs(1, methods=["ccb"], abnormal=["cat"])} == {
            ("cat",)
        }
        assert (
            len(load_results(1, folder=results).query("abnormal == 'cat' and method == 'ccb'")) == 2
        )

    def test_dask_needs_an_address(self, results):
        result = CliRunner().invoke(
            main, ["table", "1", "--run", "--executor", "dask", "--results", str(results)]
        )
        assert result.exit_code == 2
        assert "--scheduler" in result.output


@pytest.mark.parametrize(
    "words", [["table", "1", "--run"], ["study", "skips", "--run"], ["measure"]]
)
def test_results_are_not_written_into_the_installed_package(tmp_path, monkeypatch, words):
    package = tmp_path / "site/ccb_lib"
    stored = package / "data/results"
    stored.mkdir(parents=True)
    (stored / "plan.toml").write_bytes((project_data("results") / "plan.toml").read_bytes())
    before = sorted(stored.rglob("*"))
    for module in (runs_module, plan_module):
        monkeypatch.setattr(module, "results_folder", lambda: stored)
    monkeypatch.setattr(runs_module, "__file__", str(package / "reproduction/runs.py"))
    monkeypatch.setattr("os.nice", lambda by: by, raising=False)
    monkeypatch.setattr("ccb_lib.reproduction.execute.executing", lambda *_, **__: 1 / 0)
    result = CliRunner().invoke(main, [*words, "--device", "cpu"])
    assert result.exit_code == 1
    assert "belong to the installed package" in result.output
    assert "--results" in result.output
    contribution = tmp_path / "tables4-5.safetensors"
    Store(contribution).add()
    result = CliRunner().invoke(main, ["measure", "--merge", str(contribution)])
    assert "belong to the installed package" in result.output
    assert sorted(stored.rglob("*")) == before
    assert CliRunner().invoke(main, ["table", "1"]).exit_code == 0  # reading stays


@pytest.mark.parametrize(
    "words",
    [
        ["table", "--method", "ccb", "4"],
        ["table", "--method", "ccb", "egbad", "4"],
        ["table", "4", "--method", "ccb", "egbad"],
        ["table", "--abnormal", "df", "vasc", "4", "--method", "ccb"],
        ["study", "--arm", "ccb", "skips"],
        ["study", "--arm", "ccb", "--data", "cifar10", "ham10000", "skips"],
        ["study", "skips", "--arm", "ccb", "wide identity"],
    ],
)
def test_a_table_or_study_may_follow_a_list(tmp_path, words):
    result = CliRunner().invoke(main, [*words, "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output


def test_tables_4_and_6_on_real_images(raw_data, tmp_path):
    how = {"root": str(raw_data), "device": "cpu", "progress": False}
    for number, chosen in ((4, {"methods": ["ccb", "png-bytes"]}), (6, {})):
        runs = [
            run
            for run in table_runs(number, abnormal=["df"], **TINY, **chosen)
            if run.dataset == "ham10000"
        ][:2]
        assert not run_missing(runs, Store(store_path(number, tmp_path)), **how)
    frame = load_results(4, folder=tmp_path)
    assert set(frame["method"]) == {"ccb", "png-bytes"}
    assert frame["f1"].between(0, 1).all()
    assert (
        len(
            table(6, settings={"epochs": 2, "limit": 48, "width": 2}, folder=tmp_path).dropna(
                how="all"
            )
        )
        == 2
    )


def test_no_results_is_an_empty_table_not_an_error(tmp_path):
    for number in range(1, 8):
        assert load_results(number, folder=tmp_path).empty
        frame = reported_and_measured(number, folder=tmp_path)
        assert frame["reported"].notna().any()
        assert frame[["released", "clean"]].isna().all(axis=None)
    assert placebo(folder=tmp_path).empty
    assert explorer_cells(1, folder=tmp_path) == {}


def test_settings_pick_rows():
    frame = pd.DataFrame(
        {"method": ["ccb", "ccb", "pca"], "epochs": [50, 2, np.nan], "limit": [None, None, None]}
    )
    assert list(at_settings(frame, {"epochs": 50, "limit": None}).index) == [0, 2]
