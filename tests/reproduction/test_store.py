import copy
import json
import zlib

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ccb_lib.evaluation.protocols import CLEAN, CLEAN_BEST_EPOCH
from ccb_lib.io.tensors import digest
from ccb_lib.metrics import ScoreTerms, auc
from ccb_lib.reproduction import store
from ccb_lib.reproduction.runs import Run
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name


def run(name="a"):
    return Run(dataset="cifar10", method="ccb", abnormal=("cat",), seed=ord(name))


def made(named="a", rows=200, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) >= rows * 3 // 5
    ids = np.array([f"test/bild_{k}.png" for k in range(rows)])
    tests = TestSet(labels, ids, ids, np.where(labels, "cat", "dög"))

    def terms(n):
        return ScoreTerms(*(rng.gamma(2, scale, n).astype(np.float32) for _ in range(2)))

    name = scored_name("cat", CLEAN)
    other = scored_name("cat", CLEAN_BEST_EPOCH)
    return Result(
        {**run(named).identity, "key": run(named).key, "seconds": 1.5},
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
    assert auc(stored.scored[name].test.image, labels) == pytest.approx(
        auc(found.test.image, labels), abs=1e-3
    )


def test_a_test_set_that_runs_share_is_stored_once(tmp_path):
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    Store(one).add(made("a", rows=3000))
    Store(two).add(made("a", rows=3000), made("b", rows=3000, seed=1))
    with safe_open(two, framework="pt") as file:
        assert sum(name.startswith("set/") for name in file.keys()) == 4  # noqa: SIM118
    assert two.stat().st_size < 2 * one.stat().st_size


def test_table_1_at_three_seeds_stays_under_30_mb(tmp_path):
    """150 runs of 15,000 + 2,250 images: CLEAN and RELEASED for all, the audit's ten feedings for
    20 of them."""
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
    here.add(made("a"))
    there.add(made("a"), made("b", seed=1))
    meanwhile = Store.read(tmp_path / "here.safetensors")
    meanwhile.add(made("c", seed=2))
    assert here.merge(tmp_path / "there.safetensors") == 1
    assert set(Store.read(tmp_path / "here.safetensors").results) == {
        run(name).key for name in "abc"
    }
    with pytest.raises(FileNotFoundError, match="No results at"):
        here.merge(tmp_path / "nowhere")


class TestVerification:
    @pytest.fixture
    def parts(self, tmp_path):
        path = tmp_path / "t.safetensors"
        Store(path).add(made())
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["ccb_lib"])
        del header["sha256"]  # files of older versions have none; it has a test of its own
        return path, load_file(path), header

    def rewrite(self, path, tensors, header):
        save_file(tensors, path, metadata={"ccb_lib": json.dumps(header)})

    def test_missing_scores(self, parts):
        path, tensors, header = parts
        tensors.pop(next(name for name in tensors if name.startswith("terms/")))
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match=f"run {run().key} does not fit together"):
            Store.read(path)

    def test_scores_for_other_images(self, parts):
        path, tensors, header = parts
        name = next(
            name for name, t in tensors.items() if name.startswith("terms/") and len(t) == 200
        )
        old, short = name.removeprefix("terms/"), tensors.pop(name)[:-1].clone()
        tensors[f"terms/{digest(short)}"] = short
        self.rewrite(path, tensors, json.loads(json.dumps(header).replace(old, digest(short))))
        with pytest.raises(ValueError, match="scores for 200 images"):
            Store.read(path)

    def test_changed_labels(self, parts):
        path, tensors, header = parts
        name = next(name for name in tensors if name.endswith("/labels"))
        other = made(rows=200)
        tensors[name] = torch.from_numpy(np.frombuffer(zlib.compress(bytes(200)), np.uint8).copy())
        assert len(other.sets["cat|natural"]) == 200
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="not the one that was scored"):
            Store.read(path)

    def test_scores_that_are_not_finite(self, parts):
        path, tensors, header = parts
        name = next(name for name in tensors if name.startswith("terms/"))
        old, tensors[name][3] = name.removeprefix("terms/"), float("nan")
        new = digest(tensors[name])
        tensors[f"terms/{new}"] = tensors.pop(name)
        self.rewrite(path, tensors, json.loads(json.dumps(header).replace(old, new)))
        with pytest.raises(ValueError, match="not finite"):
            Store.read(path)

    def test_scores_that_do_not_match_their_digest(self, parts):
        path, tensors, header = parts
        name = next(name for name in tensors if name.startswith("terms/"))
        tensors[name] = tensors[name].flip(0)
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="do not match the digest"):
            Store.read(path)

    @pytest.mark.parametrize("change", [{"seed": 5}, {"key": "a" * 16}, {"settings": {"width": 8}}])
    def test_a_key_of_other_settings(self, parts, change):
        path, tensors, header = parts
        header["runs"][run().key]["manifest"] |= change
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="its key is not that of its settings"):
            Store.read(path)

    def test_a_changed_header(self, parts):
        path, tensors, header = parts
        with safe_open(path, framework="pt") as file:
            text = file.metadata()["ccb_lib"]
        changed = text.replace('"seconds": 1.5', '"seconds": 2.5')
        save_file(tensors, path, metadata={"ccb_lib": changed})
        with pytest.raises(ValueError, match="does not match the digest stored with it"):
            Store.read(path)
        header["runs"][run().key]["manifest"]["seconds"] = (
            2.5  # a file without a digest still loads
        )
        self.rewrite(path, tensors, header)
        assert Store.read(path).results[run().key].manifest["seconds"] == 2.5

    def test_no_flipped_bit_changes_a_result(self, tmp_path):
        path, result = tmp_path / "t.safetensors", made()
        Store(path).add(result)
        whole, refused = path.read_bytes(), []
        stored = Store.read(path).results
        rng = np.random.default_rng(0)
        for at, bit in zip(
            rng.integers(len(whole), size=300), rng.integers(8, size=300), strict=True
        ):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                read = Store.read(path).results
            except ValueError as error:
                refused.append(str(error))
                continue
            assert read.keys() == stored.keys()
            same(read[result.key], stored[result.key])
        assert all(str(path) in message for message in refused)
        assert len(refused) >= 270  # the others changed nothing that is read

    def test_another_version_or_kind(self, parts):
        path, tensors, header = parts
        self.rewrite(path, tensors, {**header, "version": 7})
        with pytest.raises(ValueError, match="version 7"):
            Store.read(path)
        self.rewrite(path, tensors, {**header, "kind": "detector"})
        with pytest.raises(ValueError, match="'detector'"):
            Store.read(path)

    @pytest.mark.parametrize("runs", [None, [], "x", 3])
    def test_a_header_without_runs(self, parts, runs):
        path, tensors, header = parts
        self.rewrite(path, tensors, {**header, "runs": runs})
        with pytest.raises(ValueError, match="has no runs by their keys"):
            Store.read(path)

    def test_a_header_of_other_kinds_of_values(self, parts):
        """Whatever stands in the place of whatever entry, the error is the store's own."""
        path, tensors, header = parts
        entries, refused = list(places(header["runs"])), 0
        for place in entries:
            for value in (None, [], {}, "x", -1, 10**30):
                changed = copy.deepcopy(header)
                inner = changed["runs"]
                for step in place[:-1]:
                    inner = inner[step]
                inner[place[-1]] = value
                self.rewrite(path, tensors, changed)
                try:
                    Store.read(path)
                except ValueError as error:
                    refused += str(path) in str(error)
        assert refused > 3 * len(entries)

    def test_a_column_that_unpacks_to_gigabytes(self, parts, monkeypatch):
        path, tensors, header = parts
        monkeypatch.setattr(store, "_LONGEST", 10_000)
        name = next(name for name in tensors if name.endswith("/ids"))
        packed = bytearray(zlib.compress(bytes(20_000)))
        tensors[name] = torch.frombuffer(packed, dtype=torch.uint8)
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match="more than 10,000 bytes"):
            Store.read(path)


def places(value, path=()):
    """The place of every entry of nested dicts and lists."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))
