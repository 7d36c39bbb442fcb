import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ccb_lib import AnoGAN, GANomaly, MeanIntensity, SkipGANomaly
from ccb_lib.detectors import NotReady
from ccb_lib.evaluation.comparison import compare_detectors, readable
from ccb_lib.models.ccb import count_parameters

SMALL = {"epochs": 2, "width": 4, "latent": 8}


@pytest.fixture(scope="module")
def some(digits):
    rows = np.r_[0:25, -25:0]
    return digits.test[rows], digits.test_labels[rows]


@pytest.fixture(scope="module")
def table(digits, some):
    detectors = {
        "GANomaly": GANomaly(**SMALL).fit(digits.train[:64], progress=False),
        "mean intensity": MeanIntensity().fit(digits.train),
    }
    return detectors, compare_detectors(detectors, *some, replicates=100)


def test_a_line_holds_what_the_detector_says_of_itself(table, some):
    detectors, lines = table
    images, labels = some
    ganomaly, line = detectors["GANomaly"], lines.loc["GANomaly"]
    terms = ganomaly.score_terms(images)
    assert line["parameters"] == sum(count_parameters(net) for net in ganomaly.networks_.values())
    assert line["s / epoch"] == pytest.approx(
        np.median([epoch["seconds"] for epoch in ganomaly.history_])
    )
    assert line["ms / image"] > 0
    assert line["AUC"] == pytest.approx(roc_auc_score(labels, terms.latent))
    assert line["AUC"] == pytest.approx(line["AUC, latent term"])
    assert line["AUC, image term"] == pytest.approx(roc_auc_score(labels, terms.image))
    assert line["low"] <= line["AUC"] <= line["high"]


def test_what_a_trivial_score_has_not_is_missing(table, some):
    line = table[1].loc["mean intensity"]
    assert line[["parameters", "s / epoch", "AUC, image term", "AUC, latent term"]].isna().all()
    assert line["AUC"] == pytest.approx(
        roc_auc_score(some[1], some[0].float().mean((1, 2, 3)).numpy())
    )
    shown = readable(table[1]).loc["mean intensity"]
    assert list(shown[["parameters", "s / epoch", "image term", "latent term"]]) == ["–"] * 4
    interval = shown["AUC, 95 % interval"].replace("\N{NO-BREAK SPACE}", " ")
    assert interval == f"{line['AUC']:.3f} ({line['low']:.3f} to {line['high']:.3f})"
    assert (
        readable(table[1]).loc["GANomaly", "parameters"]
        == f"{table[1].loc['GANomaly', 'parameters']:,.0f}"
    )


def test_detectors_that_were_not_fitted_and_labels_of_one_kind_are_refused(table, some):
    images, labels = some
    with pytest.raises(NotReady, match="fit"):
        compare_detectors({"Skip-GANomaly": SkipGANomaly()}, images, labels)
    with pytest.raises(ValueError, match="kind"):
        compare_detectors(table[0], images[:10], labels[:10])


def test_a_search_is_timed_once_and_not_twice(digits, some, monkeypatch):
    detector = AnoGAN(**SMALL, search_steps=2).fit(digits.train[:32], progress=False)
    searches = []
    search = AnoGAN._search
    monkeypatch.setattr(
        AnoGAN, "_search", lambda self, x: searches.append(len(x)) or search(self, x)
    )
    compare_detectors(
        {"AnoGAN": detector}, some[0], torch.as_tensor(some[1]).numpy(), replicates=10
    )
    assert searches == [50]
