"""Results from elsewhere: what is hashed, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from ccb_lib.cli.group import main
from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.reproduction.contribution import check_contribution, hashed
from ccb_lib.reproduction.results import read_results, scores_of
from ccb_lib.reproduction.runs import Run
from ccb_lib.reproduction.store import Store, TestSet

RESULTS = Path(__file__).parents[2] / "data" / "results"


def with_ids(result, ids, column="ids"):
    sets = {}
    for name, tests in result.sets.items():
        columns = {n: getattr(tests, n) for n in ("labels", "ids", "groups", "classes")}
        sets[name] = TestSet(**{**columns, column: np.array([ids] * len(tests))})
    return replace(result, sets=sets)


def of_geneva(result, **sets):
    """The same scores as if they were of the Geneva database, with a key that fits."""
    made = Run(
        dataset="ild",
        method="ganomaly",
        abnormal=("fibrosis",),
        settings={"epochs": 50},
        options={"seed": 0},
    )
    named = {
        name.replace("df", "fibrosis"): tests
        for name, tests in result.sets.items()
        if name.startswith("df")
    }
    scored = {
        name.replace("df", "fibrosis"): s
        for name, s in result.scored.items()
        if name.startswith("df")
    }
    facts = {**result.manifest, **made.identity, "key": made.key}
    return replace(result, manifest=facts, sets=named, scored=scored, aucs={})


@pytest.mark.parametrize("table", [1, 4, 6, "skips", "lung-ct-98"])
def test_all_stored_results_pass(table):
    check_contribution(read_results(table, RESULTS).values(), table)


def test_hashing_keeps_scores_and_groups_and_passes(ganomaly):
    other = hashed(ganomaly)
    check_contribution([other], 4)
    tests, before = other.sets["df|natural"], ganomaly.sets["df|natural"]
    assert not set(tests.ids) & set(before.ids)
    assert len(set(tests.groups)) == len(set(before.groups))
    assert set(tests.ids) <= set(other.sets["bcc|natural"].ids) | set(tests.ids[tests.labels])
    scored, labelled = scores_of(other, "df", CLEAN)
    own, mine = scores_of(ganomaly, "df", CLEAN)
    assert roc_auc_score(labelled.labels, scored.test.latent) == roc_auc_score(
        mine.labels, own.test.latent
    )
    assert hashed(ganomaly).sets["df|natural"].key == tests.key


def test_names_of_files_and_patients_are_refused(ganomaly):
    for text in (
        "/home/x/ISIC_0024306.jpg",
        "C:\\data\\1.png",
        "DOE^JANE",
        "Jane Doe",
        "../1",
        "scan.dcm",
    ):
        with pytest.raises(ValueError, match="ids are not of the data set's public form"):
            check_contribution([with_ids(ganomaly, text)], 4)
    with pytest.raises(ValueError, match="groups are not of the data set's public form"):
        check_contribution([with_ids(ganomaly, "DOE^JANE", "groups")], 4)
    with pytest.raises(ValueError, match="class names are not plain words"):
        check_contribution([with_ids(ganomaly, "/data/nv", "classes")], 4)


def test_ids_of_the_geneva_database_must_be_hashed(ganomaly):
    made = of_geneva(with_ids(ganomaly, "6:0,16"))
    with pytest.raises(ValueError, match="--export FILE"):
        check_contribution([made], 2)
    check_contribution([hashed(made)], 2)


def test_a_manifest_that_does_not_fit_is_refused(ganomaly):
    facts = ganomaly.manifest
    cases = (
        ({**facts, "settings": {"epochs": 3}}, 4, "its settings give the key"),
        ({**facts, "device": "/home/x/gpu"}, 4, "looks like a path"),
        ({**facts, "method": "resnet"}, 4, "has the method 'resnet'; one of ccb"),
        ({name: facts[name] for name in facts if name != "settings"}, 4, "lacks settings"),
        (facts, 1, "needs cifar10"),
    )
    for manifest, table, message in cases:
        with pytest.raises(ValueError, match=message):
            check_contribution([replace(ganomaly, manifest=manifest)], table)
    strange = Run(dataset="ham10000", method="ccb", abnormal=("mel",))
    with pytest.raises(ValueError, match=r"classes \['mel'\]"):
        check_contribution(
            [replace(ganomaly, manifest={**facts, **strange.identity, "key": strange.key})], 4
        )


def test_a_file_goes_from_one_machine_to_another(ganomaly, tmp_path):
    theirs, ours, file = tmp_path / "theirs", tmp_path / "ours", tmp_path / "scores.safetensors"
    Store(theirs / "tables2-3.safetensors").add(of_geneva(with_ids(ganomaly, "6/CT-1/7:0,16")))
    done = CliRunner().invoke(main, ["table", "2", "--results", str(theirs), "--export", str(file)])
    assert done.exit_code == 0, done.output
    assert "1 runs written" in done.output
    assert b"CT-1" not in file.read_bytes()
    again = CliRunner().invoke(
        main, ["table", "2", "--results", str(theirs), "--export", str(file)]
    )
    assert again.exit_code == 2
    assert "exists already" in again.output
    taken = CliRunner().invoke(main, ["table", "2", "--results", str(ours), "--merge", str(file)])
    assert "1 runs added" in taken.output
    assert "GANomaly: 50 epochs, width 64, 1 seed, 1 of 4 classes" in taken.output
    refused = CliRunner().invoke(
        main,
        [
            "table",
            "2",
            "--results",
            str(tmp_path / "no"),
            "--merge",
            str(theirs / "tables2-3.safetensors"),
        ],
    )
    assert refused.exit_code == 1
    assert "may name files or patients" in refused.output
    assert not (tmp_path / "no").exists()
