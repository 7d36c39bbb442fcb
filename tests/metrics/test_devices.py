"""On a GPU, without one: the work on tensors runs on a fake ``cuda:0``, which refuses to mix
devices."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from ccb_lib.metrics import (
    ScoreTerms,
    anomaly_score,
    auc,
    bootstrap_interval,
    conformal_p_values,
    confusion_metrics,
    counts,
    distance,
    error_map,
    metrics_at,
    oracle_f1,
    paired,
    ranking,
    replicates,
)


@pytest.fixture
def cuda():
    """A function that makes float tensors on a fake ``cuda:0``."""
    with FakeTensorMode(shape_env=ShapeEnv()):
        yield lambda *shape, dtype=torch.float64: torch.ones(*shape, dtype=dtype, device="cuda:0")


def on_cuda(*tensors):
    return all(tensor.device == torch.device("cuda:0") for tensor in tensors)


@pytest.mark.parametrize("kind", ["l2", "l1", "l1-norm"])
def test_scores(cuda, kind):
    x = cuda(4, 3, 32, 32, dtype=torch.float32)
    terms = ScoreTerms(distance(x, x, kind), distance(cuda(4, 100), cuda(4, 100), kind))
    scores = anomaly_score(terms)
    assert on_cuda(*terms, scores, error_map(x, x))
    assert scores.shape == (4,)
    assert scores.dtype == torch.float32
    assert error_map(x, x).shape == (4, 32, 32)


def test_thresholds_and_counts(cuda):
    scores, thresholds = counts.rising(cuda(50)), cuda(7)
    found = counts.alarms(scores, thresholds)
    ends = counts.next_to(scores[[0, -1]], scores.new_tensor([-torch.inf, torch.inf]))
    assert on_cuda(scores, found, ends, counts.between(scores[:-1], scores[1:]))
    assert found.shape == (7,)


def test_rankings(cuda):
    abnormal, normal = cuda(20), cuda(30)
    assert on_cuda(ranking.twice_won(abnormal, normal), ranking.precisions(abnormal, normal, 0.1))


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_confusion(cuda, prevalence):
    assert on_cuda(*confusion_metrics(*[cuda(8)] * 4, prevalence).values())


def test_replicates(cuda):
    ranks = object.__new__(replicates._Ranks)  # its order needs data; what is done with it does not
    index = cuda(20, dtype=torch.int64)
    ranks.abnormal, ranks.normal, ranks.below, ranks.up_to, ranks.ties, ranks.first = (
        *[index] * 4,
        True,
        index,
    )
    drawn = cuda(5, 40, dtype=torch.float32)
    values = [
        ranks.auc(drawn),
        ranks.average_precision(drawn, None),
        ranks.average_precision(drawn, 0.1),
        ranks.sensitivity(drawn, 0.95),
        replicates._confusion_metric("f1", cuda(20) > 0, cuda(20) > 0, index, 0.1)(drawn),
    ]
    assert on_cuda(*values)
    assert {(value.dtype, tuple(value.shape)) for value in values} == {(torch.float64, (5,))}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_gives_what_the_cpu_gives():
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.3
    scores = rng.normal(size=500).round(1) + labels
    there, labels_there = torch.from_numpy(scores).cuda(), torch.from_numpy(labels).cuda()
    assert auc(there, labels_there) == auc(there, labels) == auc(scores, labels)
    assert metrics_at(there, labels_there, 0.4) == metrics_at(scores, labels, 0.4)
    assert oracle_f1(there, labels_there) == oracle_f1(scores, labels)
    p_values = conformal_p_values(there, scores[~labels])
    assert p_values.is_cuda
    np.testing.assert_array_equal(p_values.cpu(), conformal_p_values(scores, scores[~labels]))
    for metric in replicates.BOOTSTRAP_METRICS:
        found = bootstrap_interval(there, labels_there, metric, threshold=0.4, replicates=100)
        assert found == pytest.approx(
            bootstrap_interval(scores, labels, metric, threshold=0.4, replicates=100)
        )
    pairs = [
        paired.Pair(s, "x", scores + s, scores, labels, np.arange(500).astype(str))
        for s in range(3)
    ]
    moved = [
        pair._replace(a=torch.from_numpy(pair.a).cuda(), b=there, labels=labels_there)
        for pair in pairs
    ]
    for name, found in paired.paired_differences(moved, replicates=50).items():
        assert found == pytest.approx(paired.paired_differences(pairs, replicates=50)[name])
