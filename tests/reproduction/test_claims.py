"""The paper's untested claims: each figure against numbers worked by hand or SciPy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from ccb_lib.evaluation.protocols import CLEAN, RELEASED
from ccb_lib.metrics import anomaly_score
from ccb_lib.reproduction.claims import (
    AREAS,
    by_normal_class,
    lesion_areas,
    score_by_area,
    similar_against_others,
    stability,
)
from ccb_lib.reproduction.results import read_results, scores_of
from ccb_lib.reproduction.store import Store

RESULTS = Path(__file__).parents[2] / "data" / "results"


def test_spread_jitter_and_collapses(ganomaly, tmp_path, other_run):
    one = ganomaly
    name = f"{{}}|as released|{RELEASED.scores_key}"
    aucs = {name.format("df"): [0.5, 0.7, 0.6], name.format("bcc"): [0.9, 0.9, 0.8]}
    one = replace(one, aucs=aucs)
    flipped = {
        key: replace(s, test=type(s.test)(-s.test.image, -s.test.latent)) if "natural" in key else s
        for key, s in one.scored.items()
    }
    other = other_run(one, seed=1, options={"seed": 1}, warnings=["treats images alike"])
    other = replace(other, scored=flipped, aucs={})
    Store(tmp_path / "tables4-5.safetensors").add(one, other)
    (line,) = stability(4, folder=tmp_path).to_dict("records")
    assert (line["seeds"], line["runs"], line["collapsed"]) == (2, 2, 1)
    assert line["over epochs, released"] == pytest.approx((0.2 + 0.1 + 0 + 0.1) / 4)
    assert np.isnan(line["over epochs, clean"])
    aucs = [_auc(one, abnormal) for abnormal in one.manifest["abnormal"]]
    spread = abs(2 * np.mean(aucs) - 1) / np.sqrt(2)  # of m and 1 - m
    assert line["over seeds"] == pytest.approx(spread)
    assert line["AUC"] == pytest.approx(0.5)


def _auc(run, abnormal):
    scored, tests = scores_of(run, abnormal, CLEAN)
    return roc_auc_score(tests.labels, anomaly_score(scored.test, run.manifest["alpha"]))


def test_each_normal_class_by_itself_is_scikit_learns():
    frame = by_normal_class(1, folder=RESULTS).query("method == 'png-bytes' and abnormal == 'bird'")
    assert len(frame) == 9
    runs = read_results(1, RESULTS).values()
    run = next(
        r
        for r in runs
        if r.manifest["method"] == "png-bytes" and r.manifest["abnormal"] == ["bird"]
    )
    scored, tests = scores_of(run, "bird", CLEAN)
    for line in frame.itertuples():
        chosen = np.isin(tests.classes, ["bird", line.normal])
        assert line.auc == pytest.approx(
            roc_auc_score(tests.classes[chosen] == "bird", scored.test.image[chosen])
        )
    assert frame.loc[frame["similar"], "normal"].tolist() == ["airplane"]
    laid_out = similar_against_others(frame).loc[("png-bytes", "bird")]
    ranks = rankdata(frame["auc"], "min")
    assert laid_out["rank"] == ranks[frame["similar"].to_numpy()].item()
    assert laid_out["against the others"] == pytest.approx(
        frame.loc[~frame["similar"], "auc"].mean()
    )


def test_every_stored_image_has_an_area(ganomaly):
    areas = lesion_areas(RESULTS)
    tests = ganomaly.sets["bcc|natural"]
    assert len(areas) == 10015
    assert areas.index.is_unique
    assert areas.between(0, 1).all()
    assert set(tests.ids) <= set(areas.index)


def test_score_by_area_is_a_rank_correlation(ganomaly, tmp_path):
    run = ganomaly
    Store(tmp_path / "tables4-5.safetensors").add(run)
    scored, tests = scores_of(run, "df", CLEAN)
    scores = anomaly_score(scored.test, run.manifest["alpha"])
    # areas that rise with the scores of the abnormal images
    area = pd.Series(rankdata(scores), index=pd.Index(tests.ids, name="image"), name="area")
    (area / area.max()).to_csv(tmp_path / AREAS)
    line = score_by_area(4, folder=tmp_path).set_index("abnormal").loc["df"]
    assert line["spearman"] == pytest.approx(1)
    order = scores[tests.labels].argsort()
    abnormal = np.flatnonzero(tests.labels)[order]
    third = len(abnormal) // 3
    for column, rows in (
        ("smallest third", abnormal[: third + 1]),
        ("largest third", abnormal[-third - 1 :]),
    ):
        chosen = np.concatenate([np.flatnonzero(~tests.labels), rows])
        assert line[column] == pytest.approx(
            roc_auc_score(tests.labels[chosen], scores[chosen]), abs=0.02
        )
    assert line["images"] == 115


def test_without_areas_it_says_how_to_measure_them(tmp_path):
    assert lesion_areas(tmp_path).empty
    with pytest.raises(ValueError, match=r"lesion_areas\.py"):
        score_by_area(4, folder=tmp_path)
