"""Detectors as scikit-learn estimators: clone, settings, pipelines, searches, copies."""

import ast
import copy
import inspect
import io
import pickle
import textwrap
from dataclasses import fields

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from ccb_lib import CCB, GANomaly, MeanIntensity, NearestNeighbours, PixelPCA
from ccb_lib.detectors import METHODS, NotReady
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.io.tensors import load_tensors

DEEP = [name for name, cls in METHODS.items() if issubclass(cls, AdversarialDetector)]


def small(method, **settings):
    deep = {"epochs": 1, "width": 4, "latent": 8, "batch_size": 16} if method in DEEP else {}
    search = {"search_steps": 3} if method == "anogan" else {}
    return METHODS[method](**deep, **search, device="cpu", **settings)


@pytest.fixture(scope="module", params=METHODS)
def fitted(request, digits):
    return small(request.param).fit(
        digits.train[:48], calibration=digits.calibration[:20], progress=False
    )


@pytest.fixture
def ccb(digits):
    return small("ccb").fit(digits.train[:48], calibration=digits.calibration[:20], progress=False)


# ── settings ──────────────────────────────────────────────────────────────────────────────────────


def test_base_classes_name_no_setting_of_a_subclass():
    bases = [cls for cls in AdversarialDetector.__mro__ if cls.__module__.startswith("ccb_lib")]
    own = {field.name for field in fields(AdversarialDetector)}
    of_subclasses = {field.name for cls in METHODS.values() for field in fields(cls)} - own
    for base in bases:
        nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))))
        named = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        named |= {node.value for node in nodes if isinstance(node, ast.Constant)}
        # The terms of a score are "image" and "latent" too.
        named &= of_subclasses - {"latent"}
        assert named == set()


# Frozen: checkpoints hold every other setting, and are loaded only where those are equal.
NOT_OF_TRAINING = {
    "device",
    "epochs",
    "alpha",
    "image_distance",
    "latent_distance",
    "score_distance",
    "fast",
}
NOT_OF_TRAINING |= {"log_skips", "search_steps", "search_learning_rate", "search_alpha"}


@pytest.mark.parametrize("method", DEEP)
def test_training_depends_on_the_settings_that_checkpoints_hold(method):
    detector = METHODS[method]()
    expected = {
        name: value for name, value in detector.get_params().items() if name not in NOT_OF_TRAINING
    }
    assert detector.training_settings() == expected


def test_a_checkpoint_holds_the_settings_of_training(digits, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    detector = GANomaly(epochs=1, width=4, device="cpu", alpha=0.3).fit(
        digits.train[:64], resume=path, progress=False
    )
    held = load_tensors(path)[1]["settings"]
    wanted = {
        "method": "ganomaly",
        "image_size": None,
        "channels": None,
        "seed": 0,
        "batch_size": 64,
        "width": 4,
        "learning_rate": 2e-4,
        "betas": [0.5, 0.999],
        "loss_weights": [50.0, 1.0, 1.0],
        "latent": 100,
        "renew_below": 1e-5,
    }
    assert {name: held[name] for name in wanted} == wanted
    assert not NOT_OF_TRAINING & held.keys()
    other = {"epochs": 2, "alpha": 0.7, "latent_distance": "l1", "fast": not detector.fast_}
    assert (
        len(
            clone(detector)
            .set_params(**other)
            .fit(digits.train[:64], resume=path, progress=False)
            .history_
        )
        == 2
    )
    with pytest.raises(ValueError, match=r"other settings \(width: 4 → 8;"):
        clone(detector).set_params(width=8).fit(digits.train[:64], resume=path, progress=False)


@pytest.mark.parametrize("method", METHODS)
def test_a_clone_has_the_settings_and_is_not_fitted(method, digits):
    detector = small(method, alpha=0.25).fit(digits.train[:16], progress=False)
    cloned = clone(detector)
    assert type(cloned) is type(detector)
    assert cloned.get_params() == detector.get_params()
    assert list(cloned.get_params()) == [field.name for field in fields(cloned)]
    check_is_fitted(detector)
    with pytest.raises(NotFittedError):
        check_is_fitted(cloned)
    with pytest.raises(NotFittedError, match="fit"):
        cloned.decision_function(digits.test[:2])


def test_sequences_are_kept_as_tuples_and_can_be_cloned():
    detector = CCB(betas=[0.4, 0.9], chain=[1, 2, None, 0], loss_weights=[1, 2, 3])
    assert clone(detector).get_params() == detector.get_params()
    assert detector.set_params(betas=[0.1, 0.2]).betas == (0.1, 0.2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"alpha": 5}, "alpha=5 given; a number from 0 to 1"),
        ({"alpha": 0.5, "width": 0}, "width=0 given"),
        ({"device": "cuda:99"}, "device='cuda:99'"),
        ({"breadth": 3}, "CCB has no setting breadth; it has image_size, channels, alpha"),
        ({"ccb__alpha": 0.5}, "CCB has no setting ccb__alpha"),
    ],
)
def test_wrong_settings_change_nothing(wrong, says, ccb, digits):
    before, scores = ccb.get_params(), ccb.decision_function(digits.test[:4])
    with pytest.raises(ValueError, match=says):
        ccb.set_params(**wrong)
    assert ccb.get_params() == before
    assert np.array_equal(ccb.decision_function(digits.test[:4]), scores)


def test_what_is_derived_follows_the_settings():
    detector = CCB(device="cpu", fast=False)
    assert (detector.fast_, detector.device_.type) == (False, "cpu")
    assert detector.set_params(fast=True).fast_ is True
    assert detector.set_params(device="meta").device_.type == "meta"
    assert detector.set_params(fast=None).fast_ is True  # on every device but CUDA


def test_alpha_moves_scores_and_threshold(ccb, digits):
    terms, threshold = ccb.score_terms(digits.test), ccb.threshold_
    assert np.array_equal(ccb.set_params(alpha=0.0).decision_function(digits.test), terms.latent)
    assert ccb.threshold_ != threshold
    assert (ccb.calibration_scores_ > ccb.threshold_).mean() <= 0.05


def test_the_layout_may_change_after_training(ccb, digits):
    scores, threshold = ccb.decision_function(digits.test), ccb.threshold_
    ccb.set_params(fast=False, device="auto", epochs=7)
    assert ccb.decision_function(digits.test) == pytest.approx(scores, rel=1e-5)
    assert ccb.threshold_ == threshold


def test_a_distance_of_the_score_needs_a_new_calibration(ccb, digits):
    terms = ccb.score_terms(digits.test)
    ccb.set_params(image_distance="l1")
    assert not np.allclose(ccb.score_terms(digits.test).image, terms.image)
    with pytest.raises(NotReady, match="calibrate"):
        ccb.predict(digits.test)


@pytest.mark.parametrize(
    "setting", [{"width": 8}, {"seed": 1}, {"learning_rate": 1e-3}, {"chain": (0, 0, 0, 0)}]
)
def test_a_setting_of_training_needs_a_new_fit(setting, ccb, digits, tmp_path):
    ccb.set_params(
        **{name: getattr(ccb, name) for name in setting}
    )  # the same values change nothing
    check_is_fitted(ccb)
    ccb.set_params(**setting)
    with pytest.raises(NotFittedError, match="fit"):
        ccb.decision_function(digits.test)
    with pytest.raises(NotReady):
        ccb.save(tmp_path / "m.safetensors")


def test_neighbours_are_counted_when_scoring(digits):
    detector = NearestNeighbours(neighbours=1).fit(digits.train[:50])
    other = NearestNeighbours(neighbours=4).fit(digits.train[:50])
    scores = detector.set_params(neighbours=4).decision_function(digits.test)
    assert np.array_equal(scores, other.decision_function(digits.test))


# ── pipelines and searches ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["ccb", "pca"])
def test_a_pipeline_fits_scores_and_predicts(method, digits):
    step = type(small(method)).__name__.lower()
    pipeline = make_pipeline(FunctionTransformer(lambda images: 255 - images), small(method))
    with pytest.raises(NotFittedError):
        check_is_fitted(pipeline)
    options = {"calibration": 255 - digits.calibration[:20], "progress": False}
    pipeline.fit(digits.train[:48], **{f"{step}__{name}": value for name, value in options.items()})
    check_is_fitted(pipeline)
    alone = small(method).fit(
        255 - digits.train[:48], calibration=255 - digits.calibration[:20], progress=False
    )
    assert np.array_equal(
        pipeline.decision_function(digits.test), alone.decision_function(255 - digits.test)
    )
    assert np.array_equal(pipeline.predict(digits.test), alone.predict(255 - digits.test))
    pipeline.set_params(**{f"{step}__alpha": 0.0})
    assert pipeline[-1].alpha == 0.0
    assert type(alone).__name__ in pipeline._repr_html_()


def test_a_notebook_shows_a_detector_in_any_state(fitted):
    uncalibrated = clone(fitted)
    for detector in (uncalibrated, fitted):
        assert type(detector).__name__ in detector._repr_html_()
    assert repr(uncalibrated) == repr(fitted)


@pytest.mark.parametrize("as_input", [torch.as_tensor, np.asarray], ids=["torch", "numpy"])
def test_a_search_by_test_labels_finds_the_best_auc(as_input, digits):
    """An oracle: the labels of the test images choose."""
    train = digits.train[:60]
    images, labels = torch.cat([train, digits.test]), np.r_[np.zeros(60), digits.test_labels]
    folds = PredefinedSplit(np.r_[np.full(60, -1), np.zeros(len(digits.test))])
    grid = {"components": [2, 8, 32]}
    search = GridSearchCV(
        PixelPCA(), grid, cv=folds, scoring="roc_auc", refit=False, error_score="raise"
    )
    search.fit(as_input(images), labels, progress=False)
    expected = [
        roc_auc_score(
            digits.test_labels, PixelPCA(components=k).fit(train).decision_function(digits.test)
        )
        for k in grid["components"]
    ]
    assert search.cv_results_["mean_test_score"] == pytest.approx(expected, abs=1e-12)
    assert search.best_params_ == {"components": grid["components"][int(np.argmax(expected))]}


def test_a_search_on_normals_alone_refits(digits):
    """No oracle: held-out normals should have small reconstruction errors."""
    normals = digits.train[:80]
    folds = PredefinedSplit(np.r_[np.full(60, -1), np.zeros(20)])

    def negative_error(detector, images, labels=None):
        return -float(detector.decision_function(images).mean())

    search = GridSearchCV(
        PixelPCA(), {"components": [2, 16]}, cv=folds, scoring=negative_error, error_score="raise"
    )
    search.fit(normals, progress=False)
    assert search.best_params_ == {"components": 16}
    alone = PixelPCA(components=16).fit(normals).decision_function(digits.test)
    assert np.array_equal(search.decision_function(digits.test), alone)


def test_fit_predict_gives_zeros_and_ones(digits):
    images, calibration = digits.train[:40], digits.calibration[:30]
    labels = PixelPCA(components=4).fit_predict(images, calibration=calibration, false_alarms=0.5)
    detector = PixelPCA(components=4).fit(images, calibration=calibration, false_alarms=0.5)
    assert np.array_equal(labels, detector.predict(images))
    assert set(np.r_[labels, detector.predict(digits.test)]) == {0, 1}
    with pytest.raises(ValueError, match="calibration= held-out normal images"):
        PixelPCA().fit_predict(images)


def test_scikit_learn_knows_what_it_is():
    assert is_outlier_detector(CCB())
    routing = MeanIntensity().get_metadata_routing()
    assert "calibration" in routing.fit.requests
    assert routing.predict.requests == routing.decision_function.requests == {}


# ── copies ────────────────────────────────────────────────────────────────────────────────────────


def through_joblib(detector):
    file = io.BytesIO()
    joblib.dump(detector, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda detector: pickle.loads(pickle.dumps(detector)),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_scores_the_same_bit_by_bit(how, fitted, digits):
    copied = COPIES[how](fitted)
    assert copied.get_params() == fitted.get_params()
    for theirs, own in zip(
        copied.score_terms(digits.test[:20]), fitted.score_terms(digits.test[:20]), strict=True
    ):
        assert np.array_equal(theirs, own)
    assert copied.threshold_ == fitted.threshold_
    assert np.array_equal(copied.predict(digits.test[:20]), fitted.predict(digits.test[:20]))
    assert torch.equal(copied.reconstruct(digits.test[:4]), fitted.reconstruct(digits.test[:4]))
    assert (copied.history_, copied.origin_) == (fitted.history_, fitted.origin_)


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "joblib"])
def test_a_copy_can_be_trained_without_changing_the_original(how, fitted, digits):
    scores = fitted.decision_function(digits.test[:8])
    COPIES[how](fitted).fit(digits.test[:32], progress=False)
    assert np.array_equal(fitted.decision_function(digits.test[:8]), scores)


@pytest.mark.parametrize("how", COPIES)
def test_an_unfitted_copy_fits_as_the_original(how, digits):
    detector = small("ccb", seed=5)
    copied = COPIES[how](detector)
    with pytest.raises(NotReady):
        copied.decision_function(digits.test)
    a, b = (
        d.fit(digits.train[:32], progress=False).decision_function(digits.test[:8])
        for d in (copied, detector)
    )
    assert np.array_equal(a, b)


def test_a_threshold_set_by_hand_is_copied(ccb):
    ccb.threshold_ = 0.125
    assert copy.deepcopy(ccb).threshold_ == 0.125


def test_the_detector_of_an_epoch_can_be_kept(digits):
    kept = {}

    def keep(detector, epoch):
        kept[epoch] = copy.deepcopy(detector)

    images = digits.train[:48]
    small("ccb").set_params(epochs=2).fit(images, on_epoch_end=keep, progress=False)
    first = small("ccb").fit(images, progress=False)
    assert np.array_equal(
        kept[1].decision_function(digits.test), first.decision_function(digits.test)
    )
    assert not np.array_equal(
        kept[2].decision_function(digits.test), first.decision_function(digits.test)
    )


def test_a_pickle_for_another_machine_is_refused_by_name(ccb):
    ccb.device = "cuda:99"
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        pickle.loads(pickle.dumps(ccb))
