import pytest

from ccb_lib.chapters.plan import plan_table
from ccb_lib.evaluation.protocols import CLEAN, RELEASED, SINGLE_CHANGES
from ccb_lib.io.project_data import project_data
from ccb_lib.io.tensors import save_tensors
from ccb_lib.reproduction.plan import plan_path, read_plan, state_of
from ccb_lib.reproduction.registry import CHAINS
from ccb_lib.reproduction.runs import (
    AUDIT,
    Run,
    missing_protocols,
    store_path,
    table_runs,
    work_folder,
)
from ccb_lib.reproduction.store import Result, Store, scored_name
from ccb_lib.reproduction.studies import runs_of

GOOD = """
[[entry]]
name = "one"
why = "a reason"
table = 4
methods = ["ccb", "skip-ganomaly"]
seeds = [0, 2]
epochs = 5
"""


def read(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return read_plan(path)


def manifest_of(run):
    return {**run.identity, "key": run.key, "alpha": 0.9, "device": "CPU", "seconds": 1.0}


def keys(runs):
    return [run.key for run in runs]


@pytest.fixture(scope="module")
def plan():
    return {entry.name: entry for entry in read_plan(project_data("results") / "plan.toml")}


# ── the project's own plan ────────────────────────────────────────────────────────────────────────


def test_the_plan_has_the_runs_that_were_decided(plan):
    assert {name: len(entry.runs()) for name, entry in plan.items()} == {
        "ham10000-first": 3 * 3,
        "ham10000-baselines": 2,
        "ham10000-anogan": 1,
        "cifar10-first": 2 * 10,
        "cifar10-others": 3 * 10,
        "cifar10-curves": 2,
        "skips-first": 2 * 4,
        "skips-last": 2 * 4,
        "chains-he": 5,
        "chains-dcgan": 5,
        "ham10000-nv": 3 * 3,
        "ham10000-baselines-more-seeds": 3 * 2,
        "cifar10-anogan": 10,
    }
    assert [name for name, entry in plan.items() if entry.must] == [
        "ham10000-first", "ham10000-baselines", "cifar10-first",
    ]  # fmt: skip
    every = [run for entry in plan.values() for run in entry.runs()]
    in_files = [
        (store_path(entry.source), run.key) for entry in plan.values() for run in entry.runs()
    ]
    assert len(set(in_files)) == len(in_files)
    assert {run.settings["epochs"] for run in every} == {3, 50}
    assert not any("width" in run.settings or "image_size" in run.options for run in every)


def test_runs_have_the_keys_of_the_commands_table_and_study(plan):
    runs = plan["ham10000-first"].runs()
    assert set(keys(runs)) == set(
        keys(table_runs(4, methods=["skip-ganomaly", "ccb", "ccb-fork"], seeds=3))
    )
    assert [(run.seed, run.method) for run in runs[:4]] == [
        (0, "skip-ganomaly"), (0, "ccb"), (0, "ccb-fork"), (1, "skip-ganomaly"),
    ]  # fmt: skip
    by_class = plan["cifar10-first"].runs()
    assert [(run.abnormal, run.method) for run in by_class[:3]] == [
        (("airplane",), "skip-ganomaly"),
        (("airplane",), "ccb-fork"),
        (("automobile",), "skip-ganomaly"),
    ]
    study = {"datasets": ["ham10000"], "chosen": ["ccb", "identity"]}
    parts = [plan[name].runs() for name in ("skips-first", "skips-last")]
    assert keys(parts[0] + parts[1]) == keys(runs_of("skips", **study, seeds=8))
    lengths = plan["chains-he"].runs()
    assert keys(lengths) == keys(run for run in table_runs(6) if run.dataset == "ham10000")
    assert [run.settings["chain"] for run in lengths] == list(CHAINS)
    assert {run.settings["chain_init"] for run in plan["chains-dcgan"].runs()} == {"dcgan"}


def test_curves_are_recorded_under_both_protocols(plan):
    for run in plan["cifar10-curves"].runs():
        assert run.protocols == AUDIT
        chosen_by_epoch = {
            protocol.batch_norm for protocol in run.protocols if protocol.epoch != "last"
        }
        assert {"batch", "running"} <= chosen_by_epoch


def test_the_status_page_counts_what_is_stored(tmp_path, plan):
    frame = plan_table(tmp_path)
    assert frame["entry"].tolist() == list(plan)
    assert frame["runs done"].tolist()[0] == "0 of 9"
    run = plan["ham10000-first"].runs()[1]
    Store(store_path(4, tmp_path)).add(Result(manifest_of(run)))
    assert plan_table(tmp_path)["runs done"].tolist()[0] == "1 of 9"


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def test_a_good_entry_is_read(tmp_path):
    (entry,) = read(tmp_path, GOOD)
    assert (entry.source, entry.seeds, entry.must, entry.settings) == (
        4,
        (0, 2),
        False,
        {"epochs": 5},
    )
    assert set(keys(entry.runs())) == set(
        keys(table_runs(4, methods=entry.rows, seeds=[0, 2], epochs=5))
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "one"', "", "entry 1, key name: missing"),
        (
            'name = "one"',
            'name = "One!"',
            "entry 'One!', key name: 'One!' given; a name of lower-case letters",
        ),
        ('why = "a reason"', "", "entry 'one', key why: missing; one line"),
        ('why = "a reason"', 'why = "a\\nb"', "key why: .* one line"),
        ("table = 4", "", "entry 'one', keys table and study: exactly one of them"),
        ("table = 4", 'table = 4\nstudy = "skips"', "keys table and study: exactly one of them"),
        ("table = 4", "table = 8", "key table: 8 given; a table, 1 to 7,"),
        ("table = 4", "table = true", "key table: True given"),
        ("table = 4", 'study = "chains"', "key study: 'chains' given; one of skips"),
        ("table = 4", 'study = "skips"', "key methods: unknown here; the keys are arms"),
        ('"ccb", ', '"resnet", ', "key methods: .* given; a list of some of ccb"),
        ("seeds = [0, 2]", "", "key seeds: missing"),
        ("seeds = [0, 2]", "seeds = 3", "key seeds: 3 given; a list of different whole numbers"),
        ("seeds = [0, 2]", "seeds = [0, 0]", "key seeds:"),
        ("seeds = [0, 2]", "seeds = [-1]", "key seeds:"),
        ("epochs = 5", "epochs = 0", "key epochs: 0 given; a whole number from 1"),
        ("epochs = 5", "epoch = 5", "key epoch: unknown here; the keys are .*epochs"),
        ("epochs = 5", "image_size = 33", "key image_size: 33 given; one of 32, 64, 128"),
        ("epochs = 5", 'chain_init = "best"', "key chain_init: 'best' given; one of he, dcgan"),
        ("epochs = 5", 'normal = "nv+df"', "key normal: 'nv.df' given; some of"),
        (
            "epochs = 5",
            'classes = ["cat"]',
            r"key classes: \['cat'\] given; a list of some of akiec",
        ),
        ("epochs = 5", "classes = []", "key classes:"),
        ("epochs = 5", 'datasets = ["ild"]', "key datasets: .* some of ham10000"),
        ("epochs = 5", "must = 1", "key must: 1 given; true or false"),
    ],
)
def test_an_error_names_the_entry_and_the_key(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        read(tmp_path, GOOD.replace(old, new))


def test_what_is_no_plan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="entry 'one', key name: given twice"):
        read(tmp_path, GOOD + GOOD)
    with pytest.raises(ValueError, match="is not TOML"):
        read(tmp_path, "[[entry")
    with pytest.raises(ValueError, match=r"a list of \[\[entry\]\] is needed"):
        read(tmp_path, GOOD + "[other]\n")
    with pytest.raises(ValueError, match="keys datasets and classes: together they leave no run"):
        read(tmp_path, GOOD.replace("table = 4", 'table = 6\ndatasets = ["ild"]\nclasses = ["df"]'))
    with pytest.raises(FileNotFoundError, match="No plan at"):
        read_plan(tmp_path / "none.toml")


def test_a_folder_with_a_plan_of_its_own_is_asked_first(tmp_path):
    assert plan_path(tmp_path) == project_data("results") / "plan.toml"
    read(tmp_path, GOOD)
    assert plan_path(tmp_path) == tmp_path / "plan.toml"


# ── states ────────────────────────────────────────────────────────────────────────────────────────


def test_a_state_tells_done_from_under_way_from_missing(tmp_path):
    (entry,) = read(tmp_path, GOOD)
    done, under_way, *missing = entry.runs()
    path = store_path(4, tmp_path)
    Store(path).add(Result(manifest_of(done)))
    checkpoint = work_folder(path) / f"{under_way.key}.safetensors"
    save_tensors(checkpoint, {}, {"history": [{"epoch": 1}, {"epoch": 2}]})
    state = state_of(entry, folder=tmp_path)
    assert keys(state.done) == [done.key]
    assert keys(state.missing) == keys([under_way, *missing])
    assert state.under_way == {under_way.key: 2}
    assert [(run.key, protocols) for run, protocols in state.without_scores] == [
        (done.key, list(done.protocols))
    ]
    assert state_of(entry, folder=tmp_path, work=tmp_path / "elsewhere").under_way == {}


def test_a_file_that_several_entries_share_is_read_once(tmp_path, plan, monkeypatch):
    entries = [entry for entry in plan.values() if entry.source == 4]
    assert len(entries) > 1
    Store(store_path(4, tmp_path)).add(Result(manifest_of(entries[0].runs()[0])))
    read_by, original = [], Store.read.__func__
    monkeypatch.setattr(
        Store, "read", classmethod(lambda cls, path: (read_by.append(path), original(cls, path))[1])
    )
    for entry in entries:
        state_of(entry, folder=tmp_path)
    assert len(read_by) == 1


def test_a_stored_run_that_lacks_a_protocol_is_found():
    run = Run(
        dataset="cifar10",
        method="ccb",
        abnormal=("cat", "dog"),
        protocols=(CLEAN, RELEASED, SINGLE_CHANGES[-1]),
    )
    both = {scored_name(name, p): None for name in ("cat", "dog") for p in (CLEAN, RELEASED)}
    assert (
        missing_protocols(run, Result({}, scored=both)) == []
    )  # the last one shares CLEAN's scores
    del both[scored_name("dog", RELEASED)]
    assert missing_protocols(run, Result({}, scored=both)) == [RELEASED]
    assert missing_protocols(run, Result({})) == list(run.protocols)
