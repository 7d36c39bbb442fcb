import numpy as np
import pytest

from ccb_lib import CCB
from ccb_lib.evaluation.batch_leak import leak_table, mixed_order
from ccb_lib.metrics import anomaly_score
from ccb_lib.reproduction.splits import limited

LABELS = np.arange(1000) % 3 == 0


def changes(order):
    return int(np.abs(np.diff(LABELS[order].astype(int))).sum())


def test_the_two_ends_of_purity():
    assert changes(mixed_order(LABELS, 1.0)) == 1
    # neighbours of a shuffled set differ with probability 2·(1/3)·(2/3)
    assert changes(mixed_order(LABELS, 0.0)) == pytest.approx(999 * 4 / 9, rel=0.15)
    assert (
        changes(mixed_order(LABELS, 1.0))
        < changes(mixed_order(LABELS, 0.8))
        < changes(mixed_order(LABELS, 0.3))
    )


@pytest.mark.parametrize("purity", [0.0, 0.37, 1.0])
def test_every_image_is_fed_once(purity):
    assert sorted(mixed_order(LABELS, purity)) == list(range(1000))


def test_purity_outside_its_range():
    with pytest.raises(ValueError, match="from 0 to 1"):
        mixed_order(LABELS, 1.5)


def test_alone_in_its_batch_an_image_has_no_company_to_give_it_away(digits):
    small = limited(digits, 40)
    detector = CCB(epochs=1, width=4, device="cpu").fit(small.train, progress=False)
    cells = leak_table(detector, small, batch_sizes=(1, 8), purities=(0.0, 1.0))
    assert cells[1.0, 0.0][0] == pytest.approx(cells[1.0, 1.0][0], rel=1e-5)
    assert not np.allclose(cells[8.0, 0.0][0], cells[8.0, 1.0][0], rtol=1e-3)
    alone = detector.score_terms(small.test, batch_norm="batch", batch_size=1)
    assert cells[1.0, 0.0][0] == pytest.approx(anomaly_score(alone, 0.9), rel=1e-5)
