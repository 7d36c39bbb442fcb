import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ccb_lib import load_dataset


@pytest.mark.parametrize("abnormal", range(10))
def test_the_parts_are_disjoint_and_whole(abnormal):
    split = load_dataset("digits", abnormal=abnormal)
    parts = [
        split.train_ids,
        split.calibration_ids,
        split.test_ids[~split.test_labels],
        split.test_ids[split.test_labels],
    ]
    rows = np.concatenate(parts)
    assert len(rows) == len(set(rows)) == 1797
    assert [round(len(p) / (1797 - len(parts[3])), 1) for p in parts[:3]] == [0.7, 0.1, 0.2]
    target = load_digits().target
    classes = [target[[int(i.split("/")[1]) for i in part]] for part in parts]
    assert all((c != abnormal).all() for c in classes[:3])
    assert (classes[3] == abnormal).all()
    assert (split.test_classes == np.concatenate(classes[2:]).astype(str)).all()


def test_pixels_are_the_real_digits(digits):
    assert digits.train.dtype == torch.uint8
    assert digits.train.shape[1:] == (1, 32, 32)
    raw = load_digits().images
    row = int(digits.train_ids[0].split("/")[1])
    blocks = digits.train[0, 0].float().unfold(0, 4, 4).unfold(1, 4, 4).mean((-1, -2)) * 16 / 255
    assert np.corrcoef(blocks.numpy().ravel(), raw[row].ravel())[0, 1] > 0.97


def test_the_split_follows_the_seed_alone():
    a, b, c = (load_dataset("digits", abnormal=3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(a.train, b.train)
    assert not np.array_equal(a.train_ids, c.train_ids)
    # what a normal image is used for does not depend on which digit is abnormal
    other = load_dataset("digits", abnormal=4)
    assert not set(a.test_ids[~a.test_labels]) & set(other.train_ids)


@pytest.mark.parametrize("size", [64, 128])
def test_other_sizes(size):
    assert load_dataset("digits", abnormal=0, image_size=size).image_size == size


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"name": "mnist", "abnormal": 1}, "Unknown data set 'mnist'. There are: digits, cifar10"),
        ({"name": "digits", "abnormal": 10}, "Choose one of: 0, 1, 2"),
        ({"name": "digits", "abnormal": True}, "abnormal=True"),
        ({"name": "digits", "abnormal": 1, "image_size": 33}, "image_size=33"),
        ({"name": "digits", "abnormal": 1, "sede": 3}, "no option sede; it has image_size, seed"),
    ],
)
def test_wrong_calls_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        load_dataset(**call)


def test_it_says_what_it_is(digits):
    assert repr(digits).splitlines() == [
        "AnomalySplit('digits', abnormal='8', 1×32×32:",
        "  train 1130 normal, calibration 164 normal,",
        "  test 329 normal + 174 abnormal)",
    ]
