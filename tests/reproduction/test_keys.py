"""Stored runs under today's code: their keys, their images, and what they lack."""

from dataclasses import fields, replace

import numpy as np
import pytest

from ccb_lib.datasets import load_dataset
from ccb_lib.datasets.splits import balanced_draw
from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.protocols import CLEAN, LAST_EPOCH, RELEASED, RELEASED_DRAWS
from ccb_lib.reproduction.registry import NETWORK_METHODS, PAPER_TABLES, table_spec
from ccb_lib.reproduction.reported import reported
from ccb_lib.reproduction.results import load_results, read_results
from ccb_lib.reproduction.runs import (
    AUDIT,
    Run,
    protocols_of,
    store_path,
    table_runs,
)
from ccb_lib.reproduction.store import Store, scored_name
from ccb_lib.reproduction.studies import arm_of, runs_of
from ccb_lib.reproduction.tables import table

FILES = {1: "Table 1", 2: "Tables 2–3", 4: "Tables 4–5", 6: "Tables 6–7"}
STORED = [(number, result) for number in FILES for result in read_results(number).values()]
OF_STUDIES = [
    (studies, result)
    for studies in (("skips", "ablation"), ("lung-ct-98",))  # a file each
    for result in read_results(studies[0]).values()
]


def as_given(manifest):
    """A stored run's choices as a caller gives them."""
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in manifest["settings"].items()}
    options = {k: v for k, v in manifest["options"].items() if k not in ("seed", "source")}
    own = {} if manifest["dataset"] == "cifar10" else {"seed": manifest["seed"]}
    split = (
        {"split_seed": manifest["options"]["seed"]}
        if manifest["options"].get("seed") != own.get("seed")
        else {}
    )
    return settings, options | split


def test_there_is_something_to_compare():
    assert len(STORED) >= 69
    assert len(OF_STUDIES) >= 77


@pytest.mark.parametrize(
    ("number", "result"), STORED, ids=lambda value: getattr(value, "key", value)
)
def test_grids_still_yield_the_key_of_every_stored_run(number, result):
    facts = result.manifest
    settings, options = as_given(facts)
    chain = settings.pop("chain", None)
    if number >= 6:
        settings.pop("log_skips")
    runs = table_runs(
        number,
        methods=[facts["method"]],
        abnormal=facts["abnormal"],
        seeds=facts["seed"] + 1,
        epochs=settings.pop("epochs", 50),
        limit=facts["limit"],
        **options,
        **settings,
    )
    (own,) = [
        run for run in runs if run.seed == facts["seed"] and run.settings.get("chain") == chain
    ]
    assert own.key == result.key == facts["key"]


@pytest.mark.parametrize(
    ("studies", "result"), OF_STUDIES, ids=lambda v: v[0] if isinstance(v, tuple) else v.key
)
def test_studies_still_yield_the_key_of_every_stored_run(studies, result):
    facts = result.manifest
    settings, options = as_given(facts)
    arms_of_it = {study: arm for study in studies if (arm := arm_of(study, facts))}
    runs = [
        run
        for study, arm in arms_of_it.items()
        for run in runs_of(
            study,
            datasets=[facts["dataset"]],
            chosen=[arm],
            seeds=facts["seed"] + 1,
            epochs=settings.get("epochs"),
            width=settings.get("width"),
            limit=facts["limit"],
            split_seed=options.get("split_seed"),
        )
        if list(run.abnormal) == facts["abnormal"] and run.seed == facts["seed"]
    ]
    assert {run.key for run in runs} == {result.key}


def test_settings_of_stored_runs_are_settings_still():
    for _, result in STORED + OF_STUDIES:
        known = {field.name for field in fields(METHODS[result.manifest["method"]])}
        assert set(result.manifest["settings"]) <= known


def test_clean_scores_every_image_that_released_scores():
    """So that CLEAN on RELEASED's images follows from what is stored, on CIFAR-10 the class's
    training images too."""
    compared = 0
    for _, result in STORED:
        for abnormal in result.manifest["abnormal"]:
            natural = result.sets[f"{abnormal}|{CLEAN.test_set}"]
            released = result.sets.get(f"{abnormal}|{RELEASED.test_set}")
            if released is not None:
                assert set(released.ids) <= set(natural.ids)
                assert len(set(natural.ids)) == len(natural)
                compared += 1
            if result.manifest["dataset"] == "cifar10" and result.manifest["limit"] is None:
                assert (len(natural), int(natural.labels.sum())) == (15_000, 6_000)
    assert compared


# ── draws ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("abnormal", ["akiec", "bcc", "df"])
def test_draws_of_real_lesions_are_in_the_natural_test(raw_data, abnormal):
    natural, balanced = (
        load_dataset("ham10000", abnormal=abnormal, test=test, root=raw_data)
        for test in ("natural", "balanced")
    )
    assert set(balanced.test_ids) <= set(natural.test_ids)
    draws = [balanced_draw(natural, protocol.draw) for protocol in RELEASED_DRAWS]
    bad = balanced.test_ids[balanced.test_labels]
    for draw in draws:
        assert len(draw.test) == len(balanced.test)
        assert np.array_equal(draw.test_ids[draw.test_labels], bad)
        assert not draw.test_labels[: len(bad)].any()
        assert set(draw.test_ids) <= set(natural.test_ids)
        assert draw.train is natural.train
    normals = [tuple(draw.test_ids[: len(bad)]) for draw in (balanced, *draws)]
    assert len(set(normals)) == 5
    assert len({frozenset(ids) for ids in normals}) == (
        1 if abnormal == "bcc" else 5
    )  # all 514 are held out


def test_a_draw_follows_from_its_number_and_the_ids_and_thins_the_more_numerous_kind(digits):
    rows = np.concatenate(
        [np.flatnonzero(~digits.test_labels)[:20], np.flatnonzero(digits.test_labels)[:50]]
    )
    few = replace(
        digits,
        test=digits.test[rows],
        **{
            name: getattr(digits, name)[rows]
            for name in ("test_labels", "test_ids", "test_groups", "test_classes")
        },
    )
    one, again, two = (balanced_draw(few, draw) for draw in (1, 1, 2))
    assert np.array_equal(one.test_ids, again.test_ids)
    assert sorted(one.test_ids[:20]) == sorted(few.test_ids[:20])  # all normals, in another order
    assert list(one.test_ids[:20]) != list(few.test_ids[:20])
    assert set(one.test_ids[20:]) != set(two.test_ids[20:])
    assert len(set(one.test_ids)) == 40
    row_of = {name: row for row, name in enumerate(few.test_ids)}
    assert all(
        (image == few.test[row_of[name]]).all()
        for image, name in zip(one.test, one.test_ids, strict=True)
    )
    with pytest.raises(ValueError, match="0 normal and 50 abnormal"):
        balanced_draw(
            replace(few, test_labels=np.ones(70, bool)[20:], test_ids=few.test_ids[20:]), 1
        )


def test_what_each_run_is_scored_under():
    assert protocols_of("cifar10", "ccb-fork", 0) == protocols_of("cifar10", "ccb", 0) == AUDIT
    assert (
        protocols_of("cifar10", "ccb", 1)
        == protocols_of("cifar10", "egbad", 0)
        == (CLEAN, RELEASED, LAST_EPOCH)
    )
    for method in NETWORK_METHODS:
        names = [protocol.name for protocol in protocols_of("ham10000", method, 0)]
        assert len(set(names)) == len(names)
        assert names[:2] == ["clean", "released"]
        assert ("released, draw 4" in names) == ("last epoch" in names) == (method != "anogan")
    assert protocols_of("ham10000", "pca", 0) == (CLEAN, RELEASED)


def test_keys_of_stored_scores_are_those_of_the_files():
    assert (CLEAN.test_set, CLEAN.scores_key) == ("natural", "running, last")
    assert (RELEASED.test_set, RELEASED.scores_key) == (
        "as released",
        "batch, dropout, normals then abnormals, 64, best by test AUC",
    )
    assert LAST_EPOCH.scores_key == "batch, dropout, normals then abnormals, 64, last"
    assert RELEASED_DRAWS[1].test_set == "as released, draw 2"
    assert RELEASED_DRAWS[1].scores_key == RELEASED.scores_key
    known = {scored_name("", protocol) for protocol in (*AUDIT, *RELEASED_DRAWS)}
    stored = {name[name.index("|") :] for _, result in STORED for name in result.scored}
    assert stored <= known


def test_tables_of_one_file_show_the_same_runs():
    for one, other in ((2, 3), (4, 5), (6, 7)):
        assert table_spec(one).file == table_spec(other).file
        assert table_spec(one).classes == table_spec(other).classes
    for number in PAPER_TABLES:
        printed = reported(number)
        assert printed.columns.tolist() == table_spec(number).all_classes
    for wrong in (0, 8, True, "table 1"):
        with pytest.raises(ValueError, match="is needed"):
            table_spec(wrong)
    with pytest.raises(ValueError, match="Tables 1 to 7 is needed"):
        table_spec("skips", paper=True)


# ── starts on one split ───────────────────────────────────────────────────────────────────────────


def test_seeds_may_share_a_split_and_never_stand_for_seeds_that_do_not(tmp_path, other_run):
    own, shared = (table_runs(4, methods=["ccb"], seeds=3, split_seed=split) for split in (None, 0))
    assert [run.options["seed"] for run in own] == [0, 1, 2]
    assert [run.options["seed"] for run in shared] == [0, 0, 0]
    assert [a.key == b.key for a, b in zip(own, shared, strict=True)] == [True, False, False]
    assert (
        table_runs(1, methods=["ccb"], split_seed=0)[0].key == table_runs(1, methods=["ccb"])[0].key
    )
    assert table_runs(1, methods=["ccb"], split_seed=5)[0].options == {"seed": 5}
    assert {
        run.options["seed"]
        for run in runs_of("skips", datasets=["ham10000"], seeds=2, split_seed=7)
    } == {7}
    assert runs_of("skips", datasets=["cifar10"], seeds=1, split_seed=0)[0].options == {}
    stored = next(r for r in read_results(4).values() if r.manifest["method"] == "ccb")
    store = Store(store_path(4, tmp_path))
    store.add(other_run(stored, settings={"epochs": 50}, seed=1, options={"seed": 0}))
    assert set(load_results(4, folder=tmp_path)["other"]) == {"split_seed 0"}
    assert table(4, folder=tmp_path).isna().all(axis=None)
    store.add(other_run(stored, settings={"epochs": 50}, seed=1, options={"seed": 1}))
    assert table(4, folder=tmp_path).loc["ccb"].notna().any()


# ── the fork in tables ────────────────────────────────────────────────────────────────────────────


def test_the_fork_has_rows_of_its_own(tmp_path, other_run):
    assert table(4, folder=tmp_path).index.tolist()[4:7] == ["ccb", "ccb-fork", "pca"]
    for number in (4, 6):
        stored = next(r for r in read_results(number).values() if r.manifest["method"] == "ccb")
        settings = {"epochs": 50} | ({"chain": [4, 3, 2, 1]} if number == 6 else {})
        fork = other_run(stored, settings=settings, method="ccb-fork")
        Store(store_path(number, tmp_path)).add(fork)
        laid_out = table(number, folder=tmp_path)
        row = "ccb-fork" if number == 4 else "ccb-fork 4-3-2-1"
        assert laid_out.dropna(how="all").index.tolist() == [row]
    fork, ccb = (table_runs(6, methods=[name])[0] for name in ("ccb-fork", "ccb"))
    assert fork.key != ccb.key
    assert (
        Run(dataset="ham10000", method="ccb-fork", abnormal=("df",)).identity["method"]
        == "ccb-fork"
    )
