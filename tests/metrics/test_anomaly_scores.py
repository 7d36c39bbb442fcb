import numpy as np
import pytest
import torch

from ccb_lib.metrics.anomaly_scores import ScoreTerms, anomaly_score, distance, error_map


def test_score_by_hand():
    terms = ScoreTerms(np.float32([1, 2]), np.float32([10, 0]))
    assert anomaly_score(terms) == pytest.approx([0.9 + 1, 1.8])
    assert anomaly_score(terms, 0) == pytest.approx([10, 0])
    assert anomaly_score(terms, 1).dtype == np.float32


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha):
    with pytest.raises(ValueError, match="from 0 to 1"):
        anomaly_score(ScoreTerms(np.float32([1]), np.float32([1])), alpha)


def test_distances_by_hand():
    a = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    b = torch.tensor([[3.0, -4.0], [1.0, 1.0]])
    assert distance(a, b).tolist() == [12.5, 0]
    assert distance(a, b, "l1").tolist() == [3.5, 0]


def test_error_map_averages_over_channels():
    x = torch.zeros(1, 2, 1, 2)
    x_hat = torch.tensor([[[1.0, 0.0]], [[3.0, 2.0]]])[None]
    assert error_map(x, x_hat).tolist() == [[[5.0, 2.0]]]
