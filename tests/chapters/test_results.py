"""What readers see of stored results; the stored trivial scores of HAM10000 are the example."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from ccb_lib import CLEAN
from ccb_lib.chapters.explorers import explorer_cells, results_explorer
from ccb_lib.chapters.results import (
    long_form,
    note,
    other_choices,
    reading,
    reported_released_clean,
    runs_caption,
    with_intervals,
)
from ccb_lib.chapters.table_settings import other_settings, settings_run
from ccb_lib.metrics import anomaly_score
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import CLASSES, NETWORK_METHODS, PAPER_METHODS, TRIVIAL_METHODS
from ccb_lib.reproduction.reported import reported
from ccb_lib.reproduction.results import load_results, read_results, scores_of
from ccb_lib.reproduction.runs import key_of
from ccb_lib.reproduction.settings import PAPER, at_settings, described
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.tables import (
    reported_and_measured,
    runs_in_words,
)

REPORTED = [display_name(method) for method in PAPER_METHODS]
RESULTS = Path(__file__).parents[2] / "data" / "results"


def test_missing_cells_are_named_and_reported_ones_are_the_papers():
    style = reported_released_clean(4, folder="/nowhere")
    assert style.data.index.tolist() == [(name, "reported") for name in REPORTED]
    assert style.data.loc[("CCB", "reported"), "bcc"] == "0.973"
    assert (
        style.caption
        == f"Not run: {', '.join([*map(display_name, (*NETWORK_METHODS, *TRIVIAL_METHODS))])}."
    )
    assert reported_released_clean(6, folder="/nowhere").caption.startswith(
        "Not run: 4-3-2-1 blocks, "
    )


@pytest.mark.parametrize("number", range(1, 8))
def test_every_table_is_laid_out_as_in_the_paper(number):
    shown, paper = reported_released_clean(number, folder="/nowhere").data, reported(number)
    assert shown.index.tolist() == [(name, "reported") for name in paper.index]
    wanted = [[f"{value:.3f}" for value in row] for row in paper.select_dtypes("number").to_numpy()]
    assert shown.to_numpy().tolist() == wanted
    assert shown.columns.tolist() == [
        name.replace("_", " ") for name in paper.select_dtypes("number")
    ]
    assert reported_released_clean(number, folder="/nowhere", missing=False).data.empty


def the_papers(method):
    """The stored run of a trivial score at the paper's settings."""
    found = (result.manifest for result in read_results(4, RESULTS).values())
    keys = [
        facts["key"]
        for facts in found
        if facts["method"] == method and facts["options"] == {"seed": 0}
    ]
    return read_results(4, RESULTS)[keys[0]]


def test_a_hole_in_a_method_that_was_run_is_named(tmp_path):
    kept = the_papers("pca")
    scored = {name: value for name, value in kept.scored.items() if name.startswith("df|")}
    Store(tmp_path / "tables4-5.safetensors").add(replace(kept, scored=scored))
    style = reported_released_clean(4, folder=tmp_path)
    assert (style.data.loc[("PCA", "clean")] == "not run").tolist() == [True, True, False, True]
    assert "PCA" not in style.caption


def test_trivial_rows_have_measured_numbers_alone():
    shown, frame = (
        reported_released_clean(4, folder=RESULTS).data,
        reported_and_measured(4, folder=RESULTS),
    )
    assert shown.loc["PCA"].index.tolist() == ["released", "clean"]
    assert shown.loc[("PCA", "clean"), "akiec"] == f"{frame.loc[('pca', 'akiec'), 'clean']:.3f}"
    whole = reported_released_clean(4, folder=RESULTS, missing=False)
    assert len(whole.data) < len(shown)
    assert "Not run" not in whole.caption


def test_at_other_settings_trivial_rows_stand_only_where_they_change():
    small = {**PAPER, "width": 8}
    shown, frame = (
        reported_released_clean(4, settings=small, missing=False, folder=RESULTS).data,
        reported_and_measured(4, settings=small),
    )
    assert not set(shown.index.unique(0)) & set(map(display_name, TRIVIAL_METHODS))
    assert "without a network" in reading(4, folder=RESULTS).data
    assert "without a network" not in reading(4, settings=small, folder=RESULTS).data
    assert shown.loc[("CCB", "clean"), "df"] == f"{frame.loc[('ccb', 'df'), 'clean']:.3f}"


def test_intervals_hold_scikit_learns_auc():
    frame = with_intervals(4, folder=RESULTS, replicates=50)
    frame = frame[frame["method"].isin(["pca", "mean-intensity"])]
    assert len(frame) == 8
    assert ((frame["low"] < frame["auc"]) & (frame["auc"] < frame["high"])).all()
    lines = at_settings(load_results(4, protocols=(CLEAN,), folder=RESULTS), PAPER)
    line = lines.query("method == 'pca' and abnormal == 'df'").iloc[0]
    scored, tests = scores_of(read_results(4, RESULTS)[line["key"]], "df", CLEAN)
    expected = roc_auc_score(tests.labels, anomaly_score(scored.test, line["alpha"]))
    assert frame.query("method == 'pca' and abnormal == 'df'")["auc"].item() == pytest.approx(
        expected
    )
    assert line["auc"] == pytest.approx(expected)


def test_lesions_are_what_intervals_resample():
    tests = next(iter(read_results(4, RESULTS).values())).sets["df|natural"]
    assert len(set(tests.groups)) < len(tests.groups)
    # no lesion is normal and abnormal at once
    assert not set(tests.groups[tests.labels]) & set(tests.groups[~tests.labels])
    assert tests.labels.sum() == 115


def test_figures_get_gaps_where_nothing_was_run():
    frame = long_form(4, folder="/nowhere")
    assert set(frame["source"]) == {"reported", "released", "clean"}
    assert frame.groupby("source")["value"].count().to_dict() == {
        "clean": 0,
        "reported": 20,
        "released": 0,
    }


def test_sentences_count_what_there_is():
    text = reading(4, folder="/nowhere").data
    assert text == ("The paper reports 20 cells. Measured here: 0; at the paper's settings: 0.")
    frame = reported_and_measured(4, folder=RESULTS)
    gap = (frame["released"] - frame["reported"]).abs()
    both = f"mean absolute difference {gap.mean():.3f}, largest {gap.max():.3f}"
    assert both in reading(4, folder=RESULTS).data
    best = reported_and_measured(4, folder=RESULTS)
    best = best[best["reported"].isna()]["clean"].groupby("abnormal").max().mean()
    assert f"{best:.3f}" in reading(4, folder=RESULTS).data


def test_an_explorer_where_there_are_scores_and_a_way_to_get_them_where_not():
    assert "ccb table 6 --run" in results_explorer(6, folder="/nowhere").data
    assert "ccb table 2 --run" in note(2).data
    html = results_explorer(4, folder=RESULTS).to_html()
    assert re.search(r"PCA", html)
    assert "akiec" in html


def test_an_explorer_of_a_table_opens_on_ccb_where_it_was_run():
    method, kind = results_explorer(4, folder=RESULTS).choice
    assert method.split(",")[0] == "CCB"  # and not "CCB fork"
    assert kind == "akiec"  # the first class
    other = results_explorer(4, folder=RESULTS, choice=("GANomaly", "df"))
    assert other.choice == ("GANomaly", "df")


def test_an_explorer_of_all_settings_opens_on_a_network_and_keeps_the_papers_order():
    cells = explorer_cells(4, settings=settings_run(4, folder=RESULTS), folder=RESULTS)
    names = list(dict.fromkeys(name for name, _ in cells))
    networks = [name for name in names if name in REPORTED or "epochs" in name]
    assert names[: len(networks)] == networks
    assert {"SkipGANomaly, 50 epochs, width 8", "CCB, 50 epochs, width 8"} <= set(networks)
    simple = [display_name(name) for name in TRIVIAL_METHODS]
    assert names[len(networks) :][: len(simple)] == simple
    assert list(dict.fromkeys(name for _, name in cells)) == list(CLASSES["ham10000"])
    line = (
        load_results(4, protocols=(CLEAN,), folder=RESULTS)
        .query("method == 'ccb' and abnormal == 'df'")
        .iloc[0]
    )
    scores, labels, _ = cells["CCB, 50 epochs, width 8", "df"]
    assert roc_auc_score(labels, scores) == pytest.approx(line["auc"])
    assert "CCB, 50 epochs, width 8" in results_explorer(4, folder=RESULTS).to_html()
    # one setting alone needs no name
    assert {
        name
        for name, _ in explorer_cells(
            4, settings={**PAPER, "width": 8}, folder=RESULTS, methods=["ccb"]
        )
    } == {"CCB"}


def test_settings_are_said_in_words_and_the_papers_come_first():
    assert described(PAPER) == "50 epochs"
    assert described({**PAPER, "epochs": 3.0, "width": 16.0, "limit": 200}) == (
        "3 epochs, at most 200 images of each part, width 16"
    )
    assert settings_run(1, folder="/nowhere") == [PAPER]
    assert settings_run(4, folder=RESULTS)[0] == PAPER


def test_captions_name_every_network_that_is_shown():
    style = reported_released_clean(4, folder=RESULTS)
    words = runs_in_words(4, folder=RESULTS)
    assert words["ganomaly"].startswith("50 epochs, width 64, ")
    assert words["ganomaly"].endswith("; the paper's settings")
    for method, said in words.items():
        assert f"{display_name(method)}: {said}." in style.caption
    assert "copy of 200×150 pixels" in style.caption
    assert "Bold: measured at the paper's settings." in style.caption
    html = style.to_html()
    assert html.count("font-weight: bold") >= 1
    assert "GANomaly: 50 epochs" in runs_caption(4, folder=RESULTS).data
    assert runs_caption(4, folder="/nowhere").data == "*No network was run.*"


def test_settings_that_a_table_does_not_show_are_listed(tmp_path, other_run):
    # One run at the paper's settings and one of fewer epochs: the second is not in the main table.
    store = Store(tmp_path / "tables4-5.safetensors")
    for run in read_results(4, RESULTS).values():
        if run.manifest["method"] == "ganomaly" and not run.manifest["options"].get("normal"):
            store.add(run, other_run(run, settings={"epochs": 3}))
    assert [described(settings) for settings in other_settings(4, folder=tmp_path)] == ["3 epochs"]
    listed = [described(settings) for settings in other_settings(4, folder=RESULTS)]
    assert "normal: nv" in listed  # scores without a network have no epochs
    assert other_settings(4, folder="/nowhere") == []


def test_other_choices_are_laid_out_beside_each_other():
    shown = other_choices(4, folder=RESULTS)
    assert shown.columns.tolist() == ["mean", *CLASSES["ham10000"]]
    rows = shown.xs(("SkipGANomaly", "clean"), level=(0, 1))
    assert rows.index.tolist() == ["α 0", "α 0.5", "α 1", "min-max 0.2"]
    values = rows.loc["α 1"].astype(float)
    assert values["mean"] == pytest.approx(values.drop("mean").mean(), abs=1e-3)
    assert other_choices(4, folder="/nowhere").empty


def test_trivial_scores_on_other_images_have_settings_of_their_own(tmp_path):
    store = Store(tmp_path / "tables4-5.safetensors")
    for result in read_results(4, RESULTS).values():
        if result.manifest["method"] == "pca" and "normal" not in result.manifest["options"]:
            other = {**result.manifest, "options": {"seed": 0, "normal": "nv"}}
            store.add(replace(result, manifest={**other, "key": key_of(other)}))
    alone = {**PAPER, "epochs": None, "normal": "nv"}
    assert settings_run(4, folder=tmp_path) == [PAPER, alone]
    assert described(alone) == "normal: nv"
    shown = reported_released_clean(4, settings=alone, missing=False, folder=tmp_path).data
    assert shown.index.unique(0).tolist() == ["PCA"]
    names = {
        name
        for name, _ in explorer_cells(4, settings=settings_run(4, folder=tmp_path), folder=tmp_path)
    }
    assert names == {"PCA, normal: nv"}
    assert described({**PAPER, "normal": "nv"}) == "50 epochs, normal: nv"
