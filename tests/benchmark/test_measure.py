"""Measuring: what is timed, how it is divided and summarised, and what is told of the machine.
Clocks are fakes."""

import itertools
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ccb_lib.benchmark import measure, parts, targets
from ccb_lib.benchmark.cells import Cell, benchmark_cells
from ccb_lib.benchmark.files import about, read, stored_benchmarks, write
from ccb_lib.benchmark.measure import (
    Clock,
    Trainer,
    in_turns,
    measure_scores,
    measure_steps,
    spread,
)
from ccb_lib.benchmark.targets import Target, measure_targets, promised
from ccb_lib.cli.group import main
from ccb_lib.detectors import METHODS
from ccb_lib.models import small_maps

CPU = torch.device("cpu")
TINY = Cell(method="ganomaly", width=2, batch=4, channels=1)
FIVE = ("ccb", "skip-ganomaly", "ganomaly", "egbad", "anogan")


@pytest.fixture
def fake_clock(monkeypatch):
    """Work is done, and takes 1, 2, 3 … seconds."""
    seconds = itertools.count(1)

    def call(self, work):
        work()
        return float(next(seconds))

    monkeypatch.setattr(Clock, "__call__", call)


def test_spread_is_median_and_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 100.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert spread([1.23456789])["median"] == 1.235


def test_variants_take_turns_and_the_first_round_does_not_count(fake_clock):
    log = []
    seconds = in_turns({"a": lambda: log.append("a"), "b": lambda: log.append("b")}, Clock(CPU), 2)
    assert log == ["a", "b", "a", "b", "a", "b"]
    assert seconds == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_the_clock_counts_work_and_not_waiting_for_other_programs(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    clock = Clock(CPU)
    assert clock.name == "processor time"
    assert clock(lambda: __import__("time").sleep(0.05)) < 0.04
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert Clock(CPU).name == "wall time"
    assert Clock(CPU)(lambda: __import__("time").sleep(0.05)) >= 0.05


def test_milliseconds_are_those_of_one_step_of_one_detector(fake_clock):
    rows = measure_steps(
        [Cell(**{**TINY.__dict__, "detectors": 3})], device="cpu", steps=2, repeats=2
    )
    assert [row["path"] for row in rows] == ["eager", "fast"]
    # Two starts of two calls each, a warm-up round, then eager 7 and 9 s, fast 8 and 10 s: 2 steps
    # of 3 detectors.
    assert rows[0]["median"] == pytest.approx(8e3 / 6, rel=1e-3)
    assert rows[1]["median"] == pytest.approx(9e3 / 6, rel=1e-3)
    assert rows[1]["ratio"] == pytest.approx((7 / 8 + 9 / 10) / 2, rel=1e-3)
    assert rows[0]["ratio"] == 1.0
    for row in rows:
        assert row["low"] <= row["median"] <= row["high"]
        assert (row["method"], row["width"], row["batch"], row["detectors"]) == (
            "ganomaly",
            2,
            4,
            3,
        )
        assert (row["steps"], row["repeats"], row["memory"], row["unit"]) == (2, 2, None, "ms")
        json.dumps(row)


def test_every_detector_takes_every_step():
    trainer = Trainer(Cell(**{**TINY.__dict__, "detectors": 2}), "fast", "cpu")
    before = [{k: v.clone() for k, v in d._state().items()} for d in trainer.detectors]
    trainer(3)
    for detector, old in zip(trainer.detectors, before, strict=True):
        state = detector._state()
        assert not torch.equal(
            state["generator.encoder.head.weight"], old["generator.encoder.head.weight"]
        )
        assert state["generator.encoder.blocks.1.1.num_batches_tracked"] == 3


def test_a_step_that_fails_is_no_measurement(monkeypatch):
    trainer = Trainer(TINY, "eager", "cpu")
    monkeypatch.setattr(trainer.detectors[0], "training_step", lambda x: {}["missing"])
    with pytest.raises(KeyError):
        trainer(1)


@pytest.mark.parametrize("method", FIVE)
def test_images_are_scored_through_the_face_and_divided_by_seconds(method, fake_clock, monkeypatch):
    scored = []
    cls = METHODS[method]
    score_terms = cls.score_terms
    monkeypatch.setattr(
        cls, "score_terms", lambda self, x: scored.append(len(x)) or score_terms(self, x)
    )
    cell = Cell(method=method, width=2, channels=1)
    rows = measure_scores(cell, device="cpu", count=6, repeats=2, search_steps=2)
    assert scored == [6] * 6
    assert rows[0]["median"] == pytest.approx(np.median([6 / 3, 6 / 5]), rel=1e-3)
    assert rows[1]["median"] == pytest.approx(np.median([6 / 4, 6 / 6]), rel=1e-3)
    assert ("search_steps" in rows[0]) == (method == "anogan")


def test_anogan_searches_anew_in_every_turn(monkeypatch):
    cls = METHODS["anogan"]
    searches, search = [], cls._search
    monkeypatch.setattr(cls, "_search", lambda self, x: searches.append(1) or search(self, x))
    measure_scores(
        Cell(method="anogan", width=2, channels=1), device="cpu", count=2, repeats=2, search_steps=1
    )
    assert len(searches) == 6


def test_the_grid_moves_along_one_axis_at_a_time():
    groups = benchmark_cells(width=8)
    own = Cell(width=8)
    assert {(cell.method, cell.detectors) for cell in groups["method"]} == {
        (m, n) for m in FIVE for n in (1, 10)
    }
    for name in ("image_size", "batch", "chain", "detectors"):
        values = [getattr(cell, name) for cell in groups[name]]
        assert len(set(values)) == len(values) >= 3
        assert all(
            Cell(**{**cell.__dict__, name: getattr(own, name)}) == own for cell in groups[name]
        )
    assert benchmark_cells(methods=["egbad"], detectors=[1]) == {"method": [Cell(method="egbad")]}


def test_settings_of_a_group_take_turns_too(fake_clock):
    cells = [TINY, Cell(**{**TINY.__dict__, "batch": 8})]
    rows = measure_steps(cells, device="cpu", steps=1, repeats=1, group="batch")
    # Eight calls to start, four to warm up, then 13, 14, 15 and 16 s.
    assert [(row["batch"], row["path"], row["median"]) for row in rows] == [
        (4, "eager", 13e3), (4, "fast", 14e3), (8, "eager", 15e3), (8, "fast", 16e3),
    ]  # fmt: skip
    assert rows[3]["ratio"] == pytest.approx(15 / 16, rel=1e-3)
    assert {row["group"] for row in rows} == {"batch"}


def test_threads_are_set_back(fake_clock):
    before = torch.get_num_threads()
    rows = parts.measure_threads(TINY, counts=(1, 2), steps=1, repeats=1)
    assert torch.get_num_threads() == before
    assert [row["path"] for row in rows] == ["1 thread", "2 threads"]
    assert all(row["best"] <= row["median"] for row in rows)


def test_operations_are_counted_as_the_networks_have_them():
    plain, autocast, fast = parts.count_operations("ccb")
    # G: 5 down, 4 + 3 + 2 + 1 in chains, 5 up; D: 5 layers, seen four times.
    assert {row["most"]["convolution.default"] for row in (plain, autocast, fast)} == {
        5 + 10 + 5 + 4 * 5
    }
    assert fast["median"] < plain["median"] < autocast["median"]
    assert autocast["most"]["_to_copy.default"] > 80
    assert fast["most"].get("_to_copy.default", 0) < 20


def test_the_lower_bound_is_what_the_layers_say():
    found = parts.lower_bound(
        Cell(width=2, channels=1, batch=6, chain=(0, 0, 0, 1)), bandwidth=1.0, arithmetic=1.0
    )
    # 2 · outputs · inputs · kernel² · pixels: 5 down, a chain of one block at 2×2, 5 up; then D's
    # five layers.
    down = 2 * 16 * (1 * 2 * 256 + 2 * 4 * 64 + 4 * 8 * 16 + 8 * 16 * 4 + 16 * 16 * 1)
    up = 2 * 16 * (16 * 16 * 1 + 32 * 8 * 4 + 16 * 4 * 16 + 8 * 2 * 64 + 4 * 1 * 256)
    chain = 2 * 9 * 16 * 16 * 4
    d = 2 * 16 * (1 * 2 * 256 + 2 * 4 * 64 + 4 * 8 * 16 + 8 * 100) + 2 * 9 * 100
    first_g, first_d = 2 * 16 * 1 * 2 * 256, 2 * 16 * 1 * 2 * 256  # an image needs no gradient
    # G: forward, and backward twice but for its first layer. D: four forwards; backward of x and
    # x̂; then through to x̂.
    wanted = 3 * (down + up + chain) - first_g + 4 * d + 2 * (2 * d - first_d) + d
    assert found["operations"] == 6 * wanted
    assert found["bytes"] == found["ms for Adam"] / 1e3 == 28 * found["parameters"]


def test_a_profile_names_what_takes_the_time():
    rows = parts.profile(TINY, device="cpu", steps=1, top=5)
    assert "all others" in rows[-1]["name"]
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=0.01)
    assert "aten::convolution_backward" in {row["name"] for row in rows}
    assert [row["ms"] for row in rows[:5]] == sorted((row["ms"] for row in rows[:5]), reverse=True)


def test_loads_are_cold_then_warm_and_leave_the_images_alone(tmp_path, monkeypatch):
    (tmp_path / "cifar10/train/cat").mkdir(parents=True)
    (tmp_path / "cifar10/.ccb_cache").mkdir()
    seen = []

    def load(abnormal, root):
        folder = parts.Path(root) / "cifar10"
        seen.append(sorted(path.name for path in folder.iterdir()))
        (folder / ".ccb_cache").mkdir(exist_ok=True)

    monkeypatch.setattr("ccb_lib.datasets.cifar10.load", load)
    rows = parts.measure_load(tmp_path)
    assert seen == [["train"], [".ccb_cache", "train"]]  # what an earlier load left was not taken
    assert [row["path"] for row in rows] == ["cold", "warm"]
    assert list((tmp_path / "cifar10/.ccb_cache").iterdir()) == []


# ── targets ───────────────────────────────────────────────────────────────────────────────────────


def test_a_target_is_reached_on_the_right_side_of_its_limit():
    assert Target("t", 2.0, "ms", measured=2.0).reached
    assert Target("t", 2.0, "ms", measured=2.1).reached is False
    assert Target("t", 2.0, "1/s", at_most=False, measured=2.1).reached
    assert Target("t", 2.0, "ms").reached is None
    assert Target("t", 2.0, "ms").limit_words == "≤ 2 ms"
    assert Target("t", 2.0, "ms").as_row()["reached"] is None


def test_what_a_gpu_must_show_stays_unmeasured_on_a_cpu(monkeypatch):
    monkeypatch.setattr(targets, "_on_cpu", lambda steps, repeats: (1.5, {"ccb": 1.5}))
    said = []
    found = measure_targets("cpu", quick=True, say=said.append)
    assert said == found
    assert [t.reached for t in found] == [None] * 5 + [True]
    assert [t.name for t in found] == [t.name for _, t in promised()]


def test_table_1_in_minutes_is_steps_and_scores_times_what_they_cost(monkeypatch):
    monkeypatch.setattr(targets, "measure_steps", lambda cells, **_: [{"median": 0.5}])
    monkeypatch.setattr(targets, "measure_scores", lambda cell, **_: [{}, {"median": 172_500.0}])
    total, minutes = targets._table_1("cuda", 1, 1, 1)
    # 10 classes × 50 epochs × ⌊42,750 / 64⌋ steps × 0.5 ms, and 10 × (15,000 + 2,250) images at
    # 172,500 a second.
    assert minutes["ccb"] == pytest.approx((500 * 667 * 0.0005 + 1.0) / 60, abs=0.01)
    assert minutes["egbad"] == pytest.approx((500 * 1335 * 0.0005 + 1.0) / 60, abs=0.01)
    assert total == pytest.approx(sum(minutes.values()))
    assert set(minutes) == set(FIVE)


def test_cpu_target_is_the_worst_cell(monkeypatch):
    ratios = iter([1.2, 1.1, *[1.3] * 13])

    def measured(cells, **_):
        rows = [{**cell.__dict__, "path": path} for cell in cells for path in ("eager", "fast")]
        return [row if row["path"] == "eager" else {**row, "ratio": next(ratios)} for row in rows]

    monkeypatch.setattr(targets, "measure_steps", measured)
    worst, cells = targets._on_cpu(1, 1)
    assert worst == 1.1
    assert len(cells) == 15


# ── files and the command ─────────────────────────────────────────────────────────────────────────


def test_a_file_names_its_machine(tmp_path):
    facts = about("cpu")
    assert facts["device"] == "CPU"
    assert facts["torch"] == torch.__version__.split("+")[0] or facts["torch"] == torch.__version__
    for name in ("processor", "machine", "Python", "ccb-lib", "load before (1, 5, 15 minutes)"):
        assert facts[name]
    write(tmp_path / "bench-a.json", [{"what": "step", "median": 1.0}], facts, quick=True)
    ((name, content),) = stored_benchmarks(tmp_path)
    assert name == "bench-a"
    assert content["rows"] == [{"what": "step", "median": 1.0}]
    assert content["machine"] == facts
    assert content["quick"] is True


def test_a_file_names_the_gpu_that_was_measured(monkeypatch):
    of = {None: 0, torch.device("cuda:1"): 1}
    monkeypatch.setattr("ccb_lib.benchmark.files.choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu=None: f"GPU {of[gpu]}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu=None: (of[gpu], 0))
    facts = about("cuda:1")
    assert (facts["device"], facts["GPU"]) == ("GPU 1", "GPU 1")
    assert facts["compute capability"] == "1.0"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2, "machine": {"device": "CPU"}, "rows": []}', '{"format": 1}']
)
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "bench-b.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"bench-b.json is no measurement of `ccb bench`, format 1"
    ):
        read(tmp_path / "bench-b.json")


def ccb(*words):
    return CliRunner().invoke(main, ["bench", *map(str, words)])


SMALL = ("--device", "cpu", "--quick", "--width", 2, "--method", "ganomaly", "--at-once", 1)


def test_the_command_prints_the_machine_and_writes_what_it_measured(tmp_path):
    out = tmp_path / "bench-x.json"
    result = ccb(*SMALL, "--what", "step", "--what", "score", "--what", "operations", "--out", out)
    assert result.exit_code == 0, result.output
    assert "torch:" in result.output
    assert "by method  ganomaly 32 px batch 64 × 1 fast" in result.output
    rows = read(out)["rows"]
    assert [(row["what"], row["path"]) for row in rows[:4]] == [
        ("step", "eager"), ("step", "fast"), ("score", "eager"), ("score", "fast"),
    ]  # fmt: skip
    assert {row["method"] for row in rows} == {"ganomaly"}


def test_the_command_takes_axes_for_ccb(tmp_path, monkeypatch):
    groups = {}
    monkeypatch.setattr(
        measure, "measure_steps", lambda cells, group, **_: groups.update({group: cells}) or []
    )
    words = (
        "--method",
        "ccb",
        "--image-size",
        64,
        "--chain",
        "1,1,1,1",
        "--batch",
        2,
        "--at-once",
        3,
        "--width",
        2,
    )
    assert ccb("--device", "cpu", "--what", "step", *words).exit_code == 0
    own = Cell(width=2)
    changes = {
        g: [{n: v for n, v in c.__dict__.items() if v != getattr(own, n)} for c in groups[g]]
        for g in groups
    }
    assert changes == {
        "method": [{}, {"detectors": 3}],
        "image_size": [{"image_size": 64}],
        "batch": [{"batch": 2}],
        "chain": [{"chain": (1, 1, 1, 1)}],
        "detectors": [{"detectors": 3}],
    }


def test_a_chain_that_is_none_is_refused():
    result = ccb(*SMALL, "--chain", "4,x")
    assert result.exit_code == 2
    assert "'4,x' is no chain; write four lengths as 4,3,2,1" in result.output


def test_missing_images_are_said_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CCB_DATA", str(tmp_path))
    result = ccb(*SMALL, "--what", "load")
    assert result.exit_code == 0
    assert "ccb data fetch cifar10" in result.output


def test_targets_and_profile_by_command(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "_on_cpu", lambda steps, repeats: (0.9, {"ccb": 0.9}))
    monkeypatch.setattr(
        parts, "profile", lambda cell, **_: [{"name": "k", "calls": 2.0, "ms": 1.0, "share": 1.0}]
    )
    out = tmp_path / "bench-t.json"
    result = ccb("--device", "cpu", "--targets", "--profile", "--out", out)
    assert result.exit_code == 0, result.output
    assert (
        "MISSED: The plain path's time over the fast one's, at the worst: 0.9, ≥ 1 times"
        in result.output
    )
    assert (
        "not measured here: CCB, 32 px, batch 64: a step with one detector: –, ≤ 1.5 ms"
        in result.output
    )
    content = read(out)
    assert content["targets"][-1]["reached"] is False
    assert content["profile"]["fast × 1"] == [{"name": "k", "calls": 2.0, "ms": 1.0, "share": 1.0}]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU's memory and kernels need a GPU")
def test_on_a_gpu_memory_is_measured_and_kernels_are_named():
    _, fast = measure_steps([Cell(width=8)], device="cuda", steps=3, repeats=2)
    assert fast["memory"] > 0
    assert fast["clock"] == "wall time"
    assert parts.profile(Cell(width=8), device="cuda", steps=3)[0]["ms"] > 0


@pytest.mark.parametrize("path", ["fast", "padded"])
def test_the_padded_path_alone_multiplies_padding(path, monkeypatch):
    seen = []
    trainer = Trainer(TINY, path, "cpu")
    monkeypatch.setattr(trainer, "_turns", lambda *_: iter(seen.append(small_maps._devices) or ()))
    trainer(1)
    assert seen == [frozenset() if path == "padded" else frozenset({"cpu"})]
    assert small_maps._devices == {"cpu"}
