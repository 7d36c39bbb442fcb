from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from ccb_lib import CLEAN
from ccb_lib.chapters.chains import chain_summary, skip_signal, what_length_does
from ccb_lib.chapters.studies import difference_table, in_words, p_text, primary
from ccb_lib.cli.group import main
from ccb_lib.metrics import ScoreTerms, anomaly_score
from ccb_lib.models.ccb import Generator, count_parameters
from ccb_lib.plots.studies import difference_forest, signal_lines
from ccb_lib.reproduction.comparisons import (
    Setting,
    arm_table,
    differences,
    planned,
    settings_run,
    study_frame,
)
from ccb_lib.reproduction.execute import run_missing
from ccb_lib.reproduction.registry import STUDIES
from ccb_lib.reproduction.results import read_results, scores_of
from ccb_lib.reproduction.runs import Run, key_of, store_path, table_runs
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name
from ccb_lib.reproduction.studies import arm_of, arms, runs_of, wide_as_chains

TINY = {"epochs": 1, "width": 2, "limit": 48}


def test_arms_differ_from_ccb_in_one_thing_each():
    assert arms("skips")["ccb"] == {}
    assert arms("skips")["identity"] == {"chain": (0, 0, 0, 0)}
    assert all(len(own) == 1 for name, own in arms("ablation").items() if name != "ccb")
    with pytest.raises(ValueError, match="there are skips, ablation, lung-ct-98"):
        arms("skip")


def test_where_no_width_fits_there_is_no_wide_arm():
    assert wide_as_chains(4) is None
    assert "wide identity" not in arms("skips", 4)


@pytest.mark.parametrize("width", [8, 16, 64])
def test_the_wide_arm_has_as_many_parameters_as_chains_give(width):
    wanted, plain = (
        count_parameters(Generator(3, w, c))
        for w, c in ((width, (4, 3, 2, 1)), (width, (0, 0, 0, 0)))
    )
    wide, wider = (
        count_parameters(Generator(3, wide_as_chains(width) + more, (0, 0, 0, 0)))
        for more in (0, 1)
    )
    assert plain < wide
    assert abs(wide - wanted) < abs(wider - wanted)


def test_runs_are_those_that_were_planned():
    runs = runs_of("skips")
    assert len(runs) == 8 * (10 + 1) * 5
    assert len({run.key for run in runs}) == len(runs)
    assert {run.settings["epochs"] for run in runs if run.dataset == "cifar10"} == {15}
    skin = [run for run in runs if run.dataset == "ham10000"]
    assert {run.settings["epochs"] for run in skin} == {50}
    assert {run.options["normal"] for run in skin} == {"nv"}
    assert [run.seed for run in skin] == sorted(run.seed for run in skin)
    assert {run.protocols for run in runs} == {(CLEAN,)}
    with pytest.raises(ValueError, match=r"skips has no arm \['chain'\]; it has ccb, identity"):
        runs_of("skips", chosen=["chain"])
    with pytest.raises(
        ValueError, match=r"ablation has no data set \['ild'\]; it has cifar10, ham10000"
    ):
        runs_of("ablation", datasets=["ild"])


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("width", [None, 8])
def test_a_stored_run_knows_its_arm(study, width):
    found = [arm_of(study, run.identity) for run in runs_of(study, seeds=1, width=width)]
    assert set(found) == set(arms(study))
    assert arm_of("ablation", runs_of("skips", chosen=["identity"])[0].identity) is None


def test_nv_normals_and_logged_skips_are_part_of_grids():
    assert {run.options.get("normal") for run in table_runs(4, normal="nv")} == {"nv"}
    assert {run.options.get("normal") for run in table_runs(6, normal="nv")} == {
        "nv",
        None,
    }  # ILD has no nevi
    assert all(run.settings["log_skips"] for run in table_runs(6))


@pytest.fixture(scope="module")
def folder(made_cifar, tmp_path_factory):
    results = tmp_path_factory.mktemp("studies")
    runs = runs_of("skips", datasets=["cifar10"], chosen=["ccb", "identity"], seeds=2, **TINY)
    runs = [run for run in runs if run.abnormal[0] in ("bird", "truck")]
    runs += runs_of("ablation", datasets=["cifar10"], chosen=["no dropout"], **TINY)
    assert not run_missing(
        runs,
        Store(store_path("skips", results)),
        root=str(made_cifar),
        device="cpu",
        progress=False,
    )
    return results


@pytest.mark.filterwarnings("ignore:CIFAR-10 in .* not 60,000")
class TestViews:
    here = Setting("cifar10", 1, 2, 48)

    def test_one_file_serves_both_studies(self, folder):
        assert settings_run("skips", folder) == settings_run("ablation", folder) == [self.here]
        assert set(study_frame("skips", folder)["arm"]) == {"ccb", "identity"}
        assert set(study_frame("ablation", folder)["arm"]) == {"ccb", "no dropout"}

    def test_an_arm_by_itself_compares_nothing(self, folder, tmp_path):
        store = Store(store_path("skips", tmp_path))
        store.add(
            *[
                r
                for r in read_results("skips", folder).values()
                if arm_of("ablation", r.manifest) == "ccb"
            ]
        )
        assert settings_run("ablation", tmp_path) == settings_run("skips", tmp_path) == []
        assert arm_table("ablation", tmp_path) == {}

    def test_the_table_has_means_and_counts(self, folder):
        shown = arm_table("skips", folder)[self.here]
        frame = study_frame("skips", folder).query("arm == 'identity'")
        assert shown.loc["identity", "bird"].startswith(
            f"{frame[frame['abnormal'] == 'bird']['auc'].mean():.3f} ± "
        )
        assert shown.loc["identity", "macro"].startswith(f"{frame['auc'].mean():.3f} ± ")
        assert shown["seeds"].tolist() == [2, 2]

    def test_differences_are_those_of_the_scores(self, folder):
        found = differences("skips", self.here, replicates=50, folder=folder).set_index(
            ["arm", "abnormal"]
        )
        aucs = {}
        for result in read_results("skips", folder).values():
            arm, (name,) = arm_of("skips", result.manifest), result.manifest["abnormal"]
            scored, tests = scores_of(result, name, CLEAN)
            if arm:
                aucs[arm, name, result.manifest["seed"]] = roc_auc_score(
                    tests.labels, anomaly_score(scored.test, 0.9)
                )
        expected = [aucs["ccb", "bird", s] - aucs["identity", "bird", s] for s in (0, 1)]
        assert found.loc[("ccb", "bird"), "difference"] == pytest.approx(sum(expected) / 2)
        assert found["seeds"].tolist() == [2, 2, 2]
        assert (found["low"] <= found["high"]).all()
        macro, classes = found.loc[("ccb", "macro")], found.drop(("ccb", "macro"))
        assert macro["adjusted_p"] == macro["p"]  # one test, named beforehand
        assert (classes["adjusted_p"] >= classes["p"]).all()
        assert set(found["verdict"]) == {"undecided"}  # 2 of 8 planned seeds
        assert set(found["planned_seeds"]) == {8}

    def test_differences_are_shown_with_every_p_and_no_verdict_below_the_planned_seeds(
        self, folder
    ):
        found = differences("skips", self.here, replicates=50, folder=folder)
        shown = difference_table(found)
        assert shown.index.tolist() == [("ccb", "macro"), ("ccb", "bird"), ("ccb", "truck")]
        assert set(shown["verdict"]) == {"no verdict"}
        assert shown.loc[("ccb", "bird"), "difference"] == f"{found.loc[1, 'difference']:+.3f}"
        assert shown.loc[("ccb", "bird"), "adjusted p"] == p_text(found.loc[1, "adjusted_p"])
        whole = found.assign(seeds=8, verdict="worse")
        assert set(difference_table(whole)["verdict"]) == {"worse"}
        assert in_words(whole.iloc[0]).startswith("ccb is **worse**: ")
        assert "with one seed, no verdict" in in_words(found.assign(seeds=1).iloc[0])

    def test_planned_figures_that_were_not_run_say_so_and_how(self, folder):
        text = primary(folder).data
        assert text.count("not run") == 2
        assert "ccb study skips --run --data ham10000 --device cuda" in text
        assert [str(s) for s in planned("skips")] == [
            "CIFAR-10, 15 epochs, width 64",
            "HAM10000, 50 epochs, width 64",
        ]

    def test_a_verdict_waits_for_every_class_and_seed(self, folder, tmp_path):
        """Runs of the planned epochs and width, but of two classes and seeds: the figure is not
        there yet."""
        part = Store(store_path("skips", tmp_path))
        for result in read_results("skips", folder).values():
            facts = result.manifest
            if arm_of("skips", facts):
                settings = {k: v for k, v in facts["settings"].items() if k != "width"} | {
                    "epochs": 15
                }
                facts = {**facts, "settings": settings, "limit": None}
                part.add(replace(result, manifest={**facts, "key": key_of(facts)}))
        assert settings_run("skips", tmp_path) == [Setting("cifar10", 15)]
        assert primary(tmp_path).data.count("not run") == 2

    def test_arms_trained_in_different_ways_are_not_paired(self, folder, tmp_path):
        mixed = Store(store_path("skips", tmp_path))
        for result in read_results("skips", folder).values():
            on = "NVIDIA X" if arm_of("skips", result.manifest) == "ccb" else "CPU, 1 threads"
            mixed.add(replace(result, manifest={**result.manifest, "device": on}))
        with pytest.raises(ValueError, match=r"trained in different ways \(GPU, fast, CPU, fast\)"):
            differences("skips", self.here, folder=tmp_path)

    def test_the_command(self, folder, made_cifar):
        shown = CliRunner().invoke(main, ["study", "skips", "--results", str(folder)])
        assert shown.exit_code == 0, shown.output
        assert "identity" in shown.output
        more = ["study", "lung-ct-98", "--results", str(folder)]
        assert "ccb study lung-ct-98 --run" in CliRunner().invoke(main, more).output
        assert (
            "All of it, 6 networks" in CliRunner().invoke(main, more).output
        )  # trivial scores are none
        wrong = CliRunner().invoke(
            main, ["study", "skips", "--arm", "longest", "--results", str(folder)]
        )
        assert wrong.exit_code == 2
        assert "no arm ['longest']; it has ccb, identity" in wrong.output


def test_what_was_not_run_says_what_it_takes(tmp_path):
    output = CliRunner().invoke(main, ["study", "skips", "--results", str(tmp_path)]).output
    assert "- CIFAR-10, 15 epochs, width 64: not run.\n" in output
    assert "- HAM10000, 50 epochs, width 64: not run." in output
    assert (
        "All of it, 440 networks: ccb study skips --run --device cuda --fast\n" in output
    )  # 5 arms, 11 sets, 8 seeds
    small = "--run --width 8 --epochs 2 --limit 500 --seeds 1"
    assert f"A try without a GPU, 55 networks, small ones: ccb study skips {small}\n" in output
    assert "**" not in output


def test_the_signal_is_read_from_the_history(tmp_path):
    """Stored runs of three chains: one alive, one whose biases alone speak, one silent; other data
    and sizes apart."""
    store = Store(store_path(6, tmp_path))
    for chain, signal, spread in (
        ((4, 3, 2, 1), 2.0, 1.0),
        ((8, 6, 4, 2), 3.0, 0.0),
        ((16, 12, 8, 4), 0.0, 0.0),
    ):
        store.add(chain_result(chain, signal, spread))
    store.add(
        chain_result((4, 3, 2, 1), 9.0, 9.0, limit=5),
        chain_result((4, 3, 2, 1), 9.0, 9.0, dataset="ild"),
    )
    frame = skip_signal(6, tmp_path)
    assert set(frame["setting"]) == {"2 epochs", "2 epochs, at most 5 images of each part"}
    frame = frame[frame["setting"] == "2 epochs"]
    assert len(frame) == 3 * 2 * 4
    assert frame.query("chain == '4-3-2-1' and skip == 2 and epoch == 2")["signal"].item() == 2.0
    summary = chain_summary(frame, 6, tmp_path).loc["he"]
    assert summary["least spread / signal"].tolist() == ["0.25", "0", "0"]
    assert summary.loc["4-3-2-1", "at skip"] == 3
    assert summary.loc["8-6-4-2", "AUC"] == "1.000"
    assert summary["seeds"].tolist() == ["1"] * 3
    assert skip_signal(6, "/nowhere").empty


@pytest.mark.parametrize(
    ("losses", "aucs", "said"),
    [
        ((0.01, 0.02), (0.6, 0.5), "This is not the pattern of overfitting"),
        ((0.02, 0.01), (0.6, 0.5), "This is the pattern of overfitting"),
        ((0.02, 0.01), (0.5, 0.6), "The AUC does not fall."),
    ],
)
def test_overfitting_is_told_from_its_opposite(losses, aucs, said):
    index = pd.MultiIndex.from_tuples(
        [("he", "4-3-2-1"), ("he", "32-24-16-8"), ("dcgan", "4-3-2-1")]
    )
    columns = {"training loss": [*losses, 0.5], "AUC": [*aucs, 0.5]}
    table = pd.DataFrame(columns, index=index).map("{:.4f}".format)
    text = what_length_does(table.assign(seeds=["2", "3", "1"]))
    assert said in text
    assert "one seed" not in text
    assert "This rests on one seed." in what_length_does(table.assign(seeds=["1", "3", "3"]))
    assert "N(0, 0.02)" not in text  # one chain tells nothing of length


def chain_result(chain, signal, spread, limit=None, dataset="ham10000"):
    abnormal = "df" if dataset == "ham10000" else "fibrosis"
    line = {f"skip {k}": signal for k in range(1, 5)} | {
        f"skip {k} spread": spread / (2 if k == 3 else 1) for k in range(1, 5)
    }
    line |= {f"skip {k} gradient": 1e-3 for k in range(1, 5)} | {"similarity": 0.1}
    run = Run(dataset=dataset, method="ccb", abnormal=(abnormal,), limit=limit,
              settings={"epochs": 2, "chain": chain, "log_skips": True})  # fmt: skip
    history = [{"epoch": 1, **line}, {"epoch": 2, **line}]
    manifest = {
        **run.identity,
        "key": run.key,
        "history": history,
        "alpha": 0.9,
        "device": "CPU",
        "fast": True,
        "seconds": 1.0,
    }
    tests = TestSet(np.array([False, True]), *[np.array(["a", "b"])] * 3)
    terms = ScoreTerms(*[np.array([0.0, 1.0], dtype=np.float32)] * 2)
    name = scored_name(abnormal, CLEAN)
    return Result(manifest, {f"{abnormal}|natural": tests}, {name: Scored(terms, terms, 2)})


def test_figures_of_differences_and_signals_are_legible(legible):
    rows = [("none", "macro", -0.05), ("none", "ground_glass", 0.01), ("residual", "macro", 0.1)]
    forest = pd.DataFrame(
        [
            {"arm": arm, "abnormal": name, "difference": d, "low": d - 0.03, "high": d + 0.04}
            for arm, name, d in rows
        ]
    )
    figure = difference_forest(forest)
    legible(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["none", "residual"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["macro", "ground glass"]
    signals = pd.DataFrame(
        [
            {
                "chain": chain,
                "chain_init": start,
                "epochs": 2,
                "epoch": 2,
                "skip": skip,
                "spread": 0.0 if start == "dcgan" and chain[0] == "3" else 10.0**-skip,
            }
            for chain in ("4-3-2-1", "32-24-16-8")
            for start in ("he", "dcgan")
            for skip in range(1, 5)
        ]
    )
    figure = signal_lines(signals)
    legible(figure)
    assert figure.axes[0].get_xticklabels()[0].get_text() == "4-3-2-1"
    crosses = [
        line for line in figure.axes[1].lines if line.get_marker() == "x" and len(line.get_xdata())
    ]
    assert len(crosses) == 4
    for empty, draw in ((forest.iloc[:0], difference_forest), (signals.iloc[:0], signal_lines)):
        with pytest.raises(ValueError, match="first"):
            draw(empty)
