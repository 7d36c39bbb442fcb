"""The waterfall as readers see it: figure, tables and sentences say what the frame says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ccb_lib.chapters.claims import definitions, shown_stability
from ccb_lib.chapters.verdict import (
    effects_in_words,
    false_alarms_observed,
    headline,
    waterfall_table,
    waterfalls,
    what_is_missing,
    what_was_run,
    with_enough_seeds,
)
from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.metrics import anomaly_score
from ccb_lib.plots.waterfall import waterfall_figure
from ccb_lib.reproduction.claims import stability
from ccb_lib.reproduction.results import read_results, scores_of
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.waterfall import BEST, LAST, REPORTED, SAME, STEPS, effects, macro

RESULTS = Path(__file__).parents[2] / "data" / "results"


def test_the_table_holds_the_means():
    frame = waterfalls((1, 4), folder=RESULTS)
    shown, means = (
        waterfall_table(frame),
        macro(frame).set_index(["dataset", "method", "step"])["mean"],
    )
    assert shown.loc[("HAM10000", "GANomaly"), SAME] == f"{means['ham10000', 'ganomaly', SAME]:.3f}"
    reported = means["cifar10", "skip-ganomaly", REPORTED]
    assert shown.loc[("CIFAR-10", "SkipGANomaly"), REPORTED] == f"{reported:.3f}"
    assert shown.loc[("HAM10000", "GANomaly"), REPORTED] == "not reported"


def test_sentences_hold_both_effects():
    frame = waterfalls((4,), folder=RESULTS)
    text = effects_in_words(frame).data
    found = effects(frame).set_index(["method", "effect"])["mean"]
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("- **HAM10000, GANomaly, 50 epochs, width 64,")
    ]
    assert (
        f"choosing the epoch by test labels {found['ganomaly', 'choice of the epoch']:+.3f}" in line
    )
    assert f"batch statistics {found['ganomaly', 'batch statistics']:+.3f}" in line
    assert "RELEASED was applied to it here" in line
    assert "other normals" not in effects_in_words(waterfalls((1,), folder=RESULTS)).data
    assert effects_in_words(waterfalls(folder="/nowhere")).data == "*Networks: not run.*"


def test_two_seeds_have_a_spread_in_words_and_table(ganomaly, tmp_path, other_run):
    run = ganomaly
    second = other_run(run, seed=1, options={"seed": 1})
    Store(tmp_path / "tables4-5.safetensors").add(run, second)
    frame = waterfalls((4,), folder=tmp_path)
    assert "± 0.000" in waterfall_table(frame).loc[("HAM10000", "GANomaly"), SAME]
    assert "2 seeds" in effects_in_words(frame).data


def test_the_figure_has_a_panel_a_network_and_a_point_a_step(legible):
    frame = waterfalls((1, 4), folder=RESULTS)
    figure = legible(waterfall_figure(frame))
    groups = list(frame.groupby(["dataset", "method"], sort=False))
    assert len(figure.axes) == len(groups)
    means = macro(frame).set_index(["dataset", "method", "step"])["mean"]
    for ax, (group, part) in zip(figure.axes, groups, strict=True):
        drawn = ax.containers[0].lines[0].get_ydata().astype(float)
        expected = [means[(*group, step)] for step in STEPS["auc"]]
        assert np.allclose(drawn, expected, equal_nan=True)
        texts = {text.get_text() for text in ax.texts}
        assert ("not\nreported" in texts) == bool(np.isnan(expected[0]))
        assert (
            f"{part['epochs'].iloc[0]:g} epochs, width {part['width'].iloc[0]:g}"
            in ax.get_title(loc="left")
        )


def test_a_step_that_is_not_stored_is_named(legible):
    frame = waterfalls((4,), metric="accuracy", folder=RESULTS).query("method == 'ganomaly'")
    frame = frame.assign(value=frame["value"].where(~frame["step"].isin([LAST, BEST])))
    (ax,) = legible(waterfall_figure(frame)).axes
    assert [text.get_text() for text in ax.texts].count("not\nstored") == 2
    both = pd.concat([frame, waterfalls((4,), folder=RESULTS)])
    with pytest.raises(ValueError, match="draw one at a time"):
        waterfall_figure(both)
    with pytest.raises(ValueError, match="No runs of networks"):
        waterfall_figure(frame.iloc[:0])


def test_what_was_run_and_what_is_missing(ganomaly, tmp_path):
    Store(tmp_path / "tables4-5.safetensors").add(ganomaly)
    line = what_was_run(tmp_path).loc[("HAM10000", "GANomaly")]
    assert line.to_dict() == {
        "epochs": 50, "width": 64, "seeds": 1, "classes": "4 of 4", "device": "CPU",
        "setting": "the paper's",
    }  # fmt: skip
    assert "8 of 210 reported cells" in what_is_missing(tmp_path).data
    assert "0 of 210 reported cells" in what_is_missing("/nowhere").data
    assert "Table 6: 0 of 40" in what_is_missing("/nowhere").data
    assert what_was_run("/nowhere").empty


def test_false_alarms_are_counted_among_test_normals():
    line = (
        false_alarms_observed(4, folder=RESULTS)
        .query("method == 'pca' and abnormal == 'df'")
        .iloc[0]
    )
    runs = read_results(4, RESULTS).values()
    run = next(
        r for r in runs if r.manifest["method"] == "pca" and r.manifest["options"] == {"seed": 0}
    )
    scored, tests = scores_of(run, "df", CLEAN)
    alpha = run.manifest["alpha"]
    phi = np.quantile(anomaly_score(scored.calibration, alpha), 0.95, method="inverted_cdf")
    normals = anomaly_score(scored.test, alpha)[~tests.labels]
    assert line["observed"] == pytest.approx((normals > phi).mean(), abs=0.005)
    assert line["normals"] == (~tests.labels).sum()


def test_networks_of_few_seeds_are_named_and_not_shown():
    table = pd.DataFrame({"seeds": [1, 5, 1]}, index=["ganomaly", "ccb", "pca"])
    shown, said = with_enough_seeds(table)
    assert shown.index.tolist() == ["ccb", "pca"]
    assert said == "Not shown, because fewer than 5 seeds were run: GANomaly (1)."
    assert with_enough_seeds(table.loc[["pca"]])[1] == ""


def test_stability_is_laid_out_by_setting():
    frame = stability("skips", folder=RESULTS)
    shown = shown_stability(frame)
    assert len(shown) == len(frame)
    line = shown.loc[("HAM10000, 20 epochs, width 8, normal: nv", "CCB, plain skips")]
    source = frame.query(
        "dataset == 'ham10000' and chain == '0-0-0-0' and epochs == 20 and width == 8"
    )
    source = source[source["other"].isna()].iloc[0]
    assert line["over seeds"] == f"{source['over seeds']:.3f}"
    assert line["over epochs, clean"] == "–"
    assert definitions()["weight of the image term"].tolist() == [0.9, 0.9]


def test_the_headline_holds_the_means_and_the_classes():
    frame = waterfalls((1, 4), folder=RESULTS)
    text, means = headline(frame).data, macro(frame).set_index(["dataset", "method", "step"])
    for (dataset, method), classes in {
        ("ham10000", "ganomaly"): "4 of 4",
        ("cifar10", "ccb-fork"): "of 10",
    }.items():
        best, same = (means.loc[(dataset, method, step), "mean"] for step in (BEST, SAME))
        assert f"{best:.3f} as released and {same:.3f} clean" in text
        assert f"{classes} classes" in text
    assert "reported" in text
    assert "not run" in headline(waterfalls((2,), folder="/nowhere")).data
