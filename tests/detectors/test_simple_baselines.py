"""Trivial scores against scikit-learn, Pillow and numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors as SklearnNeighbours

from ccb_lib import MeanIntensity, NearestNeighbours, PixelPCA, PNGBytes, load_detector
from ccb_lib.detectors import NotReady, simple_baselines
from ccb_lib.io.tensors import load_tensors, save_tensors

ALL = [PixelPCA, MeanIntensity, PNGBytes, NearestNeighbours]


@pytest.fixture(scope="module")
def colour(digits):
    """Digits whose channels differ, 3×32×32."""
    images = digits.train[:60]
    return torch.cat([images, 255 - images, images // 2], dim=1)


def unit(images):
    return images.flatten(1).numpy().astype(np.float64) / 127.5 - 1


def test_pca_leaves_what_scikit_learns_leaves(digits):
    pca = PCA(12, svd_solver="full").fit(unit(digits.train))
    projected = pca.inverse_transform(pca.transform(unit(digits.test)))
    detector = PixelPCA(components=12).fit(digits.train)
    np.testing.assert_allclose(
        detector.decision_function(digits.test),
        ((unit(digits.test) - projected) ** 2).mean(1),
        rtol=1e-3,
    )
    pixels = np.clip((projected[:5] + 1) * 127.5, 0, 255)
    np.testing.assert_allclose(detector.reconstruct(digits.test[:5]).flatten(1), pixels, atol=0.51)


def test_pca_takes_no_more_components_than_there_are(digits):
    images = digits.train[:10]
    detector = PixelPCA().fit(images)
    assert detector.learnt_["components"].shape == (10, 1024)
    assert detector.decision_function(images).max() < 1e-6


def test_mean_intensity_is_the_mean(colour):
    scores = MeanIntensity().fit(colour).decision_function(colour)
    np.testing.assert_allclose(scores, colour.numpy().mean((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_bytes_are_those_of_the_file(colour, channels, tmp_path):
    images = colour[:6, :channels]
    scores = PNGBytes().fit(images).decision_function(images)
    for image, score in zip(images, scores, strict=True):
        Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(tmp_path / "image.png")
        assert score == (tmp_path / "image.png").stat().st_size


@pytest.mark.parametrize("neighbours", [1, 5])
@pytest.mark.parametrize("chunk", [7, 1024])
def test_neighbours_are_scikit_learns(digits, neighbours, chunk, monkeypatch):
    monkeypatch.setattr("ccb_lib.detectors.simple_baselines._CHUNK", chunk)
    oracle = SklearnNeighbours(n_neighbors=neighbours).fit(unit(digits.train))
    distances, rows = oracle.kneighbors(unit(digits.test[:50]))
    detector = NearestNeighbours(neighbours=neighbours).fit(digits.train)
    np.testing.assert_allclose(
        detector.decision_function(digits.test[:50]), distances.mean(1), rtol=1e-5
    )
    assert torch.equal(detector.reconstruct(digits.test[:50]), digits.train[rows[:, 0]])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), rows=st.integers(2, 9), neighbours=st.integers(1, 12))
def test_a_training_image_is_its_own_neighbour(seed, rows, neighbours):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (rows, 1, 32, 32), dtype=np.uint8))
    detector = NearestNeighbours(neighbours=neighbours).fit(images)
    distances = np.linalg.norm(unit(images)[:, None] - unit(images)[None], axis=2)
    expected = np.sort(distances, axis=1)[:, :neighbours].mean(1)
    np.testing.assert_allclose(detector.decision_function(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", ALL)
def test_the_face_is_that_of_all_detectors(cls, colour, tmp_path):
    detector = cls()
    assert detector.fit(colour[:40], calibration=colour[40:50]) is detector
    test = colour[50:]
    terms = detector.score_terms(test, batch_norm="batch", batch_size=64, dropout=True)
    assert np.array_equal(terms.image, terms.latent)
    assert terms.image.dtype == np.float32
    scores = detector.decision_function(test)
    np.testing.assert_allclose(scores, terms.image, rtol=1e-6)
    order = np.random.default_rng(0).permutation(len(test))
    np.testing.assert_allclose(detector.decision_function(test[order]), scores[order], rtol=1e-5)
    assert detector.reconstruct(test).shape == test.shape
    assert detector.reconstruct(test).dtype == torch.uint8
    assert detector.anomaly_map(test).shape == (len(test), 32, 32)
    assert detector.history_ == []

    detector.save(tmp_path / "detector.safetensors")
    loaded = load_detector(tmp_path / "detector.safetensors")
    assert loaded.get_params() == detector.get_params()
    assert np.array_equal(loaded.decision_function(test), scores)
    assert np.array_equal(loaded.predict(test), detector.predict(test))
    with pytest.raises(NotReady, match="fit"):
        cls().decision_function(test)
    with pytest.raises(ValueError, match="1 channel given, 3 needed"):
        detector.decision_function(test[:, :1])


@pytest.mark.parametrize(
    ("cls", "name"), [(PixelPCA, "mean"), (PixelPCA, "components"), (NearestNeighbours, "images")]
)
def test_changed_files_are_refused(cls, name, colour, tmp_path):
    file = tmp_path / "detector.safetensors"
    cls().fit(colour[:20]).save(file)
    tensors, header = load_tensors(file)
    for wrong in (tensors[name][..., :5], tensors[name].double(), tensors[name][:0]):
        save_tensors(file, {**tensors, name: wrong}, header)
        with pytest.raises(ValueError, match="does not fit together"):
            load_detector(file)
    save_tensors(file, {key: value for key, value in tensors.items() if key != name}, header)
    with pytest.raises(ValueError, match="does not fit together"):
        load_detector(file)


@pytest.mark.parametrize(
    ("cls", "wrong"), [(PixelPCA, {"components": 0}), (NearestNeighbours, {"neighbours": 1.5})]
)
def test_wrong_settings_are_refused_by_name(cls, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        cls(**wrong)


def test_neighbours_of_large_images_need_bounded_memory(monkeypatch):
    """No tensor is larger than 100 MB, the pixels of 8192 small colour images as float32."""
    rng, made = np.random.default_rng(0), []
    images = torch.from_numpy(rng.integers(0, 256, (1100, 3, 128, 128), dtype=np.uint8))
    real = simple_baselines.to_unit

    def counted(part):
        made.append(4 * part.numel())
        return real(part)

    monkeypatch.setattr(simple_baselines, "to_unit", counted)
    detector = NearestNeighbours(neighbours=2).fit(images)
    test = images[[3, 700, 1099]]
    made.clear()
    distances, rows = detector._nearest(test)
    assert rows[:, 0].tolist() == [3, 700, 1099]
    assert max(made) < 101e6
    own = torch.stack(
        [
            (real(image) - real(images[row])).norm()
            for image, row in zip(test, rows[:, 1], strict=True)
        ]
    )
    assert torch.allclose(distances[:, 1], own)
