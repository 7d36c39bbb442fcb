import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ccb_lib.metrics import ScoreTerms, auc
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name


def made(key="a" * 16, rows=200, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) >= rows * 3 // 5
    ids = np.array([f"test/bild_{k}.png" for k in range(rows)])
    tests = TestSet(labels, ids, ids, np.where(labels, "cat", "dög"))

    def terms(n):
        return ScoreTerms(*(rng.gamma(2, scale, n).astype(np.float32) for _ in range(2)))

    name = scored_name("cat", "natural", "running, last")
    other = scored_name("cat", "natural", "running, best by test AUC")
    return Result(
        {"key": key, "method": "ccb"},
        {"cat|natural": tests},
        {name: Scored(terms(rows), terms(20), 3), other: Scored(terms(rows), None, 2)},
        {other: [0.5, 0.7, 0.6]},
    )


def same(a, b):
    assert a.manifest == b.manifest
    assert a.aucs == b.aucs
    for name, tests in a.sets.items():
        for column in ("labels", "ids", "groups", "classes"):
            assert np.array_equal(getattr(tests, column), getattr(b.sets[name], column))
    for name, found in a.scored.items():
        assert found.epoch == b.scored[name].epoch
        for term, other in zip(found.test, b.scored[name].test, strict=True):
            assert other == pytest.approx(term, rel=2**-11)
        assert (found.calibration is None) == (b.scored[name].calibration is None)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_round_trip_keeps_eleven_bits(tmp_path, scale):
    result = made(scale=scale)
    Store(tmp_path / "t.safetensors").add(result)
    same(result, Store.read(tmp_path / "t.safetensors").results[result.key])


def test_rounding_moves_an_auc_by_less_than_a_thousandth(tmp_path):
    result = made(rows=15_000)
    Store(tmp_path / "t.safetensors").add(result)
    stored = Store.read(tmp_path / "t.safetensors").results[result.key]
    (name, found), labels = next(iter(result.scored.items())), result.sets["cat|natural"].labels
    assert auc(stored.scored[name].test.image, labels) == pytest.approx(auc(found.test.image, labels), abs=1e-3)


def test_a_test_set_that_runs_share_is_stored_once(tmp_path):
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    Store(one).add(made("a" * 16, rows=3000))
    Store(two).add(made("a" * 16, rows=3000), made("b" * 16, rows=3000, seed=1))
    with safe_open(two, framework="pt") as file:
        assert sum(name.startswith("set/") for name in file.keys()) == 4  # noqa: SIM118
    assert two.stat().st_size < 2 * one.stat().st_size


def test_table_1_at_three_seeds_stays_under_30_mb(tmp_path):
    """150 runs of 15,000 + 2,250 images: CLEAN and RELEASED for all, the audit's ten feedings for 20 of them."""
    bytes_a_pair = 2 * 2 * (15_000 + 2_250)
    feedings = 150 * 2 + 20 * 8
    Store(tmp_path / "t.safetensors").add(made(rows=15_000))
    overhead = (tmp_path / "t.safetensors").stat().st_size - 2 * 2 * (15_000 * 2 + 20)
    sets = 10
    assert feedings * bytes_a_pair + sets * overhead < 34e6
    assert feedings * 2 * 2 * 15_000 + sets * overhead < 30e6


def test_equal_scores_are_stored_once(tmp_path):
    result = made(rows=3000)
    first = next(iter(result.scored))
    twice = Scored(ScoreTerms(*[result.scored[first].test.image] * 2), None, 0)
    Store(tmp_path / "1.safetensors").add(Result(result.manifest, result.sets, {first: twice}, {}))
    with safe_open(tmp_path / "1.safetensors", framework="pt") as file:
        assert sum(name.startswith("terms/") for name in file.keys()) == 1  # noqa: SIM118


def test_files_of_two_machines_merge_and_adding_keeps_what_others_wrote(tmp_path):
    here, there = Store(tmp_path / "here.safetensors"), Store(tmp_path / "there.safetensors")
    here.add(made("a" * 16))
    there.add(made("a" * 16), made("b" * 16, seed=1))
    meanwhile = Store.read(tmp_path / "here.safetensors")
    meanwhile.add(made("c" * 16, seed=2))
    assert here.merge(tmp_path / "there.safetensors") == 1
    assert set(Store.read(tmp_path / "here.safetensors").results) == {"a" * 16, "b" * 16, "c" * 16}
    with pytest.raises(FileNotFoundError, match="No results at"):
        here.merge(tmp_path / "nowhere")


class TestVerification:
    @pytest.fixture
    def parts(self, tmp_path):
        path = tmp_path / "t.safetensors"
        Store(path).add(made())
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["ccb_lib"])
        return path, load_file(path), header

    def rewrite(self, path, tensors, header):
        save_file(tensors, path, metadata={"ccb_lib": json.dumps(header)})

    def test_missing_scores(self, parts):
        path, tensors, header = parts
        tensors.pop(next(name for name in tensors if name.startswith("terms/")))
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="run aaaaaaaaaaaaaaaa does not fit together"):
            Store.read(path)

    def test_scores_for_other_images(self, parts):
        path, tensors, header = parts
        name = next(name for name, t in tensors.items() if name.startswith("terms/") and len(t) == 200)
        tensors[name] = tensors[name][:-1].clone()
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="scores for 200 images"):
            Store.read(path)

    def test_changed_labels(self, parts):
        path, tensors, header = parts
        name = next(name for name in tensors if name.endswith("/labels"))
        other = made(rows=200)
        tensors[name] = torch.from_numpy(np.frombuffer(__import__("zlib").compress(bytes(200)), np.uint8).copy())
        assert len(other.sets["cat|natural"]) == 200
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="not the one that was scored"):
            Store.read(path)

    def test_scores_that_are_not_finite(self, parts):
        path, tensors, header = parts
        name = next(name for name in tensors if name.startswith("terms/"))
        tensors[name][3] = float("nan")
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="not finite"):
            Store.read(path)

    def test_another_version_or_kind(self, parts):
        path, tensors, header = parts
        self.rewrite(path, tensors, {**header, "version": 7})
        with pytest.raises(ValueError, match="version 7"):
            Store.read(path)
        self.rewrite(path, tensors, {**header, "kind": "detector"})
        with pytest.raises(ValueError, match="'detector'"):
            Store.read(path)
