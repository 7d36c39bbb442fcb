"""Splits by group: for any table and any seed, nothing is lost and nothing is on two sides."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccb_lib import load_dataset
from ccb_lib.datasets.splits import (
    balanced_draw,
    by_seed,
    choose_classes,
    mixed_parts,
    normal_parts,
    rows_of,
)

# A made-up table: for each group how many normal and how many abnormal images it holds.
tables = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=40)


def columns(table):
    normal, groups = [], []
    for group, (good, bad) in enumerate(table):
        normal += [True] * good + [False] * bad
        groups += [f"g{group}"] * (good + bad)
    ids = np.array([f"i{row}" for row in range(len(groups))], dtype=np.str_)
    return np.array(normal, dtype=bool), np.array(groups, dtype=np.str_), ids


@given(tables, st.integers(0, 30), st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.5]))
def test_no_group_is_on_two_sides_and_no_normal_is_lost(table, pool, seed, calibration):
    normal, groups, ids = columns(table)
    mixed = set(groups[~normal]) & set(groups[normal])
    try:
        parts = normal_parts(normal, groups, ids, pool=pool, seed=seed, calibration=calibration)
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "too few to train" in refused
        free = sum(1 for good, bad in table if good and not bad)
        assert free + bool(mixed) < 3 or pool > np.isin(groups[normal], list(mixed)).sum()
        return
    sides = [set(groups[rows]) for rows in parts]
    assert len(set.union(*sides)) == sum(map(len, sides))  # none is on two sides
    assert all(sides)
    assert mixed <= sides[2]  # a group with an abnormal image is tested on
    assert sorted(np.concatenate(parts).tolist()) == np.flatnonzero(normal).tolist()
    assert len(parts.pool) >= pool
    enough = calibration * (len(parts.calibration) + len(parts.train))
    assert len(parts.calibration) >= enough or len(sides[0]) == 1


@given(tables, st.integers(0, 1000))
def test_the_split_does_not_depend_on_the_order_of_the_table(table, seed):
    normal, groups, ids = columns(table)
    shuffle = np.random.default_rng(seed).permutation(len(ids))
    try:
        parts = normal_parts(normal, groups, ids, pool=2, seed=seed)
    except ValueError:
        return
    again = normal_parts(normal[shuffle], groups[shuffle], ids[shuffle], pool=2, seed=seed)
    for rows, others in zip(parts, again, strict=True):
        assert ids[rows].tolist() == ids[shuffle][others].tolist()


def test_seeds_differ_and_are_kept():
    names = [f"n{k}" for k in range(20)]
    assert by_seed(names, 0) == by_seed(reversed(names), 0)
    assert by_seed(names, 0) != by_seed(names, 1)
    assert by_seed(["a", "b", "c", "d"], 0) == [
        "d",
        "a",
        "c",
        "b",
    ]  # fixed for ever: splits must not move


def test_a_missing_name_leaves_the_order_of_the_others():
    names = [f"n{k}" for k in range(50)]
    assert [name for name in by_seed(names, 3) if name != "n7"] == by_seed(
        [n for n in names if n != "n7"], 3
    )


def test_rows_follow_the_seeds_order():
    ids = np.array(["a", "b", "c", "d"])
    assert ids[rows_of(np.array([True, True, False, True]), ids, 0)].tolist() == ["d", "a", "b"]
    assert rows_of(np.zeros(4, dtype=bool), ids, 0).dtype == np.intp


def test_classes_are_chosen_once_and_in_order():
    classes = ("akiec", "bcc", "df")
    assert choose_classes("df+akiec+df", classes, "x") == ("akiec", "df")
    assert choose_classes(["bcc"], classes, "x") == ("bcc",)
    for wrong in ("melanoma", ["bcc", "nose"], "", [], True, None):
        with pytest.raises(ValueError, match="akiec, bcc, df"):
            choose_classes(wrong, classes, "x")


@given(
    tables, st.integers(0, 30), st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.5]), st.data()
)
def test_groups_with_abnormal_images_train_where_they_must(table, pool, seed, calibration, data):
    normal, groups, ids = columns(table)
    holders = sorted(set(groups[normal].tolist()))
    first = set(data.draw(st.lists(st.sampled_from(holders), max_size=3))) if holders else set()
    options = {"pool": pool, "seed": seed, "calibration": calibration, "first": first}
    if len(holders) < 3:
        with pytest.raises(ValueError, match="At least three groups are needed"):
            mixed_parts(normal, groups, ids, **options)
        return
    parts = mixed_parts(normal, groups, ids, **options)
    sides = [set(groups[rows].tolist()) for rows in parts]
    assert all(sides)
    assert len(set.union(*sides)) == sum(map(len, sides))  # none is on two sides
    assert sorted(np.concatenate(parts).tolist()) == np.flatnonzero(normal).tolist()
    assert len(parts.pool) >= pool or len(sides[0] | sides[1]) == 2
    assert (
        not first or sides[2] <= first or first <= sides[2]
    )  # those named are held out before all others


@pytest.mark.parametrize("more", ["normal", "abnormal"])
def test_a_draw_is_fixed_by_its_number_and_the_ids_alone(more):
    """Stored scores belong to these draws, so their images and their order must never change."""
    split = load_dataset("digits", abnormal=8)
    rows = np.r_[:40, -30:0] if more == "normal" else np.r_[:30, -40:0]
    odd = ("", " ", "é", "/x.png")  # endings of ids
    ids = np.array([f"i{row}{odd[row % 4]}" for row in range(70)])
    columns = ("test", "test_labels", "test_groups", "test_classes")
    split = replace(split, test_ids=ids, **{name: getattr(split, name)[rows] for name in columns})

    def drawn(of):
        return sorted(of, key=lambda k: hashlib.sha256(f"3:draw:{ids[k]}".encode()).digest())[:30]

    good, bad = range(70 - split.test_labels.sum()), range(70 - split.test_labels.sum(), 70)
    expected = [*drawn(good), *(drawn(bad) if more == "abnormal" else bad)]
    found = balanced_draw(split, 3)
    assert found.test_ids.tolist() == ids[expected].tolist()
    for name in columns:
        assert (getattr(found, name) == getattr(split, name)[expected]).all()
