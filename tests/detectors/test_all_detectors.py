"""What the paper's method, its fork and its four baselines have in common, tested once over all
six."""

import math
import warnings

import numpy as np
import pytest
import torch

import ccb_lib
from ccb_lib import CCB, load_dataset, load_detector
from ccb_lib.detectors import METHODS, CollapsedWarning, NotReady
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.io.images import to_unit
from ccb_lib.io.tensors import load_tensors, save_tensors
from ccb_lib.training.types import TrainingDiverged

SIX = {
    "ccb": {"chain": (1, 1, None, 0)},
    "ccb-fork": {"chain": (1, 1, None, 0)},
    "skip-ganomaly": {},
    "ganomaly": {},
    "egbad": {"average_decay": 0.9, "batch_norm_momentum": 0.1},  # its own need some thousand steps
    "anogan": {"search_steps": 4, "search_learning_rate": 0.1},
}


def small(method, **settings):
    return METHODS[method](
        **{"epochs": 1, "width": 4, "latent": 8, "batch_size": 16, **SIX[method], **settings}
    )


@pytest.fixture(scope="module", params=SIX)
def fitted(request, digits):
    return small(request.param).fit(
        digits.train[:96], calibration=digits.calibration[:20], progress=False
    )


@pytest.fixture(params=SIX)
def method(request):
    return request.param


def image_sets(digits, size, channels):
    images = torch.nn.functional.interpolate(digits.train[:24], size=(size, size)).repeat(
        1, channels, 1, 1
    )
    return images[:18], images[18:]


# ── training ──────────────────────────────────────────────────────────────────────────────────────


def test_every_parameter_of_every_network_moves_in_a_step(method, digits):
    detector = small(method)
    torch.manual_seed(0)
    detector.networks_ = detector.build(32, 1)
    detector.optimizers_ = detector.build_optimizers()
    before = {name: value.clone() for name, value in detector._state().items()}
    losses = detector.training_step(to_unit(digits.train[:16]))
    after = detector._state()
    parameters = [
        f"{name}.{key}"
        for name, net in detector.networks_.items()
        for key, _ in net.named_parameters()
    ]
    assert parameters
    assert [name for name in parameters if torch.equal(before[name], after[name])] == []
    assert all(
        torch.isfinite(loss) and loss.ndim == 0 and not loss.requires_grad
        for loss in losses.values()
    )


def test_each_epoch_leaves_one_line_of_finite_losses(fitted):
    assert [line["epoch"] for line in fitted.history_] == [1]
    assert all(np.isfinite(list(line.values())).all() for line in fitted.history_)


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(method, digits):
    scores = [
        small(method, seed=seed)
        .fit(digits.train[:32], progress=False)
        .decision_function(digits.test[:8])
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2], rtol=1e-5)


def test_a_resumed_run_ends_where_an_unbroken_one_does(method, digits, tmp_path):
    images, file = digits.train[:32], tmp_path / "checkpoint.safetensors"
    small(method, epochs=1).fit(images, resume=file, progress=False)
    resumed = small(method, epochs=2).fit(images, resume=file, progress=False)
    unbroken = small(method, epochs=2).fit(images, progress=False)
    assert np.array_equal(resumed.decision_function(images), unbroken.decision_function(images))
    assert len(resumed.history_) == 2


def test_a_diverged_run_is_reported(method, digits):
    with pytest.raises(TrainingDiverged, match="stopped being finite"):
        small(method, learning_rate=1e30, epochs=3).fit(digits.train[:64], progress=False)


# ── a collapsed run ───────────────────────────────────────────────────────────────────────────────


def last_convolution(detector):
    """The convolution whose output is the image."""
    generators = (net for name, net in detector.networks_.items() if name.endswith("generator"))
    for generator in generators:
        yield [
            module for module in generator.modules() if isinstance(module, torch.nn.ConvTranspose2d)
        ][-1]


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_generator_that_makes_but_one_image_is_reported(
    method, digits, calibrated, monkeypatch, tmp_path
):
    cls = METHODS[method]
    step = cls.training_step

    def collapsing_step(self, x):
        losses = step(self, x)
        for convolution in last_convolution(self):
            convolution.weight.data.zero_()
        return losses

    monkeypatch.setattr(cls, "training_step", collapsing_step)
    calibration = digits.calibration[:8] if calibrated else None
    detector, words = small(method), "images it makes differ by 0 where"
    with pytest.warns(CollapsedWarning, match=words) as caught:
        detector.fit(digits.train[:32], calibration=calibration, progress=False)
    assert caught[0].filename == __file__
    # a file keeps what was said of it
    detector.save(tmp_path / "m.safetensors")
    with pytest.warns(CollapsedWarning, match=words) as caught:
        loaded = load_detector(tmp_path / "m.safetensors")
    assert caught[0].filename == __file__
    assert loaded.collapsed_ == detector.collapsed_ != []


@pytest.mark.parametrize("calibrated", [True, False])
def test_scores_that_do_not_vary_are_reported(method, digits, calibrated, monkeypatch):
    monkeypatch.setattr(
        METHODS[method], "terms", lambda self, x: (torch.ones(len(x)), torch.ones(len(x)))
    )
    calibration = digits.calibration[:8] if calibrated else None
    named = (
        "calibration images all have the same score"
        if calibrated
        else "training images all have the same score"
    )
    with pytest.warns(CollapsedWarning, match=named):
        small(method).fit(digits.train[:32], calibration=calibration, progress=False)


def test_a_run_that_learns_is_not_reported(method, digits, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapsedWarning)
        # At the default decay the averaged weights would still be at their random start after so
        # few steps.
        short = {"average_decay": 0.5} if method == "egbad" else {}
        detector = small(method, epochs=12, learning_rate=2e-3, **short)
        detector.fit(digits.train[:96], calibration=digits.calibration[:16], progress=False)
        detector.save(tmp_path / "m.safetensors")
        assert load_detector(tmp_path / "m.safetensors").collapsed_ == []
    tensors, header = load_tensors(tmp_path / "m.safetensors")
    del header["collapsed"]  # as older versions wrote it
    save_tensors(tmp_path / "old.safetensors", tensors, header)
    assert load_detector(tmp_path / "old.safetensors").collapsed_ == []


# ── scoring ───────────────────────────────────────────────────────────────────────────────────────


def test_scores_and_both_terms_vary(fitted, digits):
    terms = fitted.score_terms(digits.test[:40])
    for values in (*terms, fitted.decision_function(digits.test[:40])):
        assert values.shape == (40,)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert np.ptp(values) > 1e-4 * values.max()


def test_a_score_depends_on_its_image_alone(fitted, digits):
    images = digits.test[:30]
    scores = fitted.decision_function(images)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(fitted.decision_function(images[order]), scores[order], rtol=1e-4)
    for size in (1, 7, 29):
        np.testing.assert_allclose(
            fitted.score_terms(images, batch_size=size).image,
            fitted.score_terms(images).image,
            rtol=1e-4,
        )
    strange = torch.cat([images[:5], torch.zeros_like(images[:9]), 255 - images[:16]])
    np.testing.assert_allclose(fitted.decision_function(strange)[:5], scores[:5], rtol=1e-4)


def test_the_batchs_own_statistics_are_used_on_demand_and_leave_no_trace(fitted, digits):
    images = digits.test[:70]
    running, state = fitted.score_terms(images), {k: v.clone() for k, v in fitted._state().items()}
    batch = fitted.score_terms(images, batch_norm="batch", batch_size=64, dropout=True)
    assert not np.allclose(batch.image, running.image, rtol=1e-3)
    assert np.isfinite(batch.image).all()
    assert np.isfinite(batch.latent).all()
    again = fitted.score_terms(images, batch_norm="batch", batch_size=64, dropout=True)
    assert np.array_equal(again.image, batch.image)
    assert all(torch.equal(state[k], v) for k, v in fitted._state().items())
    assert not any(module.training for net in fitted.networks_.values() for module in net.modules())
    assert np.array_equal(fitted.score_terms(images).image, running.image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 64])
def test_sizes_and_channels(method, digits, size, channels):
    train, test = image_sets(digits, size, channels)
    detector = small(method).fit(train, calibration=train, progress=False)
    assert detector.decision_function(test).shape == (6,)
    rebuilt = detector.reconstruct(test)
    assert rebuilt.shape == test.shape
    assert rebuilt.dtype == torch.uint8
    assert detector.anomaly_map(test).shape == (6, size, size)
    assert set(detector.predict(test)) <= {0, 1}
    with pytest.raises(ValueError, match="channel" if channels == 1 else "was given|given"):
        detector.decision_function(image_sets(digits, size, 4 - channels)[1])


def test_the_anomaly_map_is_the_squared_error_of_the_reconstruction(fitted, digits):
    images = digits.test[:6]
    squared = (to_unit(images) - to_unit(fitted.reconstruct(images))).square().mean(1).numpy()
    np.testing.assert_allclose(
        fitted.anomaly_map(images), squared, atol=0.02
    )  # rounding to uint8 moves 1/255


def test_without_calibration_there_is_no_verdict(method, digits):
    detector = small(method).fit(digits.train[:16], progress=False)
    with pytest.raises(NotReady, match="calibrate"):
        detector.predict(digits.test[:2])
    with pytest.raises(NotReady, match="fit"):
        small(method).decision_function(digits.test[:2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"width": 1.5},
        {"learning_rate": 0},
        {"alpha": 2},
        {"latent": 0},
        {"image_size": 33},
    ],
)
def test_wrong_settings_are_refused_by_name(method, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        small(method, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": True},
        {"batch_size": "64"},
        {"learning_rate": math.inf},
        {"learning_rate": math.nan},
        {"learning_rate": "x"},
        {"alpha": "x"},
        {"alpha": None},
        {"seed": True},
        {"channels": True},
        {"image_size": 32.0},
        {"betas": 5},
        {"betas": ("x", 0.9)},
        {"device": 7.5},
    ],
    ids=str,
)
def test_settings_of_a_wrong_kind_are_refused_by_name(method, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        small(method, **wrong)


@pytest.mark.parametrize(
    "wrong", [{"chain": 4}, {"chain": "4321"}, {"chain": (True, 0, 0, 0)}, {"loss_weights": None}]
)
def test_sequences_of_a_wrong_kind_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CCB(**wrong)


def test_settings_may_come_from_numpy(digits, tmp_path):
    """As they do from a search over np.arange; files hold plain numbers."""
    one, tenth = np.int64(1), np.float32(0.5)
    detector = CCB(
        epochs=one,
        width=2 * one,
        latent=one,
        alpha=tenth,
        chain=np.array([1, 0, 0, 0]),
        device="cpu",
    )
    same = CCB(epochs=1, width=2, latent=1, alpha=0.5, chain=[one, np.int64(0), 0, 0], device="cpu")
    assert detector.get_params() == same.get_params()
    detector.fit(digits.train[:8], progress=False).save(tmp_path / "d.safetensors")
    assert load_detector(tmp_path / "d.safetensors").epochs == 1


def test_a_detector_is_not_saved_as_a_folder(fitted, tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Give the name of a file"):
        fitted.save(tmp_path)


def test_long_chains_in_a_file_are_refused_at_once(tmp_path, monkeypatch, digits):
    file = tmp_path / "d.safetensors"
    CCB(epochs=1, width=2, latent=1, device="cpu").fit(digits.train[:8], progress=False).save(file)
    tensors, header = load_tensors(file)
    settings = {**header["settings"], "chain": [1000] * 4}
    save_tensors(file, tensors, {**header, "settings": settings})
    monkeypatch.setattr(CCB, "build", None)  # building them takes many seconds
    with pytest.raises(ValueError, match="chains of 4000 blocks given with"):
        load_detector(file)


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_loaded_detector_scores_as_the_saved_one(fitted, digits, tmp_path):
    fitted.save(tmp_path / "detector.safetensors")
    loaded = load_detector(tmp_path / "detector.safetensors")
    images = digits.test[:20]
    assert type(loaded) is type(fitted)
    assert loaded.get_params() == fitted.get_params()
    assert loaded.history_ == fitted.history_
    assert loaded.threshold_ == fitted.threshold_
    for terms in zip(loaded.score_terms(images), fitted.score_terms(images), strict=True):
        assert np.array_equal(*terms)
    assert torch.equal(loaded.reconstruct(images), fitted.reconstruct(images))
    assert np.array_equal(loaded.predict(images), fitted.predict(images))


def wider(tensors, header):
    return tensors, {**header, "settings": {**header["settings"], "width": 10**12}}


def endless(tensors, header):
    return tensors, {**header, "settings": {**header["settings"], "width": 4096, "latent": 10**7}}


def other_shape(tensors, header):
    name = sorted(tensors)[0]
    return {**tensors, name: torch.zeros(3)}, header


def other_dtype(tensors, header):
    name = sorted(tensors)[0]
    return {**tensors, name: tensors[name].to(torch.float64)}, header


def not_finite(tensors, header):
    name = next(name for name, tensor in sorted(tensors.items()) if tensor.is_floating_point())
    return {**tensors, name: torch.full_like(tensors[name], torch.nan)}, header


def one_missing(tensors, header):
    return dict(sorted(tensors.items())[1:]), header


def one_more(tensors, header):
    return {**tensors, "extra": torch.zeros(1)}, header


def another_method(tensors, header):
    methods = list(SIX)  # the first three have the same networks
    return tensors, {**header, "method": methods[(methods.index(header["method"]) + 3) % 6]}


def unequal_calibration(tensors, header):
    calibration = {**header["calibration"], "image": header["calibration"]["image"][:-1]}
    return tensors, {**header, "calibration": calibration}


def history_of_text(tensors, header):
    return tensors, {**header, "history": [{"epoch": "<script>"}]}


def unknown_setting(tensors, header):
    return tensors, {**header, "settings": {**header["settings"], "surprise": 1}}


@pytest.mark.parametrize(
    "change",
    [
        wider,
        endless,
        other_shape,
        other_dtype,
        not_finite,
        one_missing,
        one_more,
        another_method,
        unequal_calibration,
        history_of_text,
        unknown_setting,
    ],
)
def test_a_changed_file_is_refused_before_it_costs_memory(fitted, tmp_path, change):
    file = tmp_path / "detector.safetensors"
    fitted.save(file)
    tensors, header = change(*load_tensors(file))
    del header["weights"]  # older files have no digest of the weights; it has a test of its own
    save_tensors(file, tensors, header)
    with pytest.raises(ValueError, match="does not fit together"):
        load_detector(file)


def test_weights_with_a_flipped_bit_are_refused(fitted, tmp_path):
    file = tmp_path / "detector.safetensors"
    fitted.save(file)
    flipped = bytearray(file.read_bytes())
    flipped[-8] ^= 1  # the last bytes of the file are those of a tensor
    file.write_bytes(flipped)
    with pytest.raises(ValueError, match="weights do not match the digest"):
        load_detector(file)


@pytest.mark.parametrize("method", ["no such", ["ccb"], None])
def test_a_file_of_an_unknown_method_is_refused(method, fitted, tmp_path):
    file = tmp_path / "detector.safetensors"
    fitted.save(file)
    tensors, header = load_tensors(file)
    save_tensors(file, tensors, {**header, "method": method})
    with pytest.raises(ValueError, match="known are ccb, ccb-fork, skip-ganomaly"):
        load_detector(file)


# ── the face ──────────────────────────────────────────────────────────────────────────────────────


def test_all_are_public_under_their_names():
    assert {cls.__name__ for cls in METHODS.values()} <= set(ccb_lib.__all__)
    assert all(
        getattr(ccb_lib, cls.__name__) is cls and cls.method == name
        for name, cls in METHODS.items()
    )
    deep = [name for name, cls in METHODS.items() if issubclass(cls, AdversarialDetector)]
    assert deep == list(SIX)


def test_all_five_run_on_a_slice_of_cifar10(method, raw_data):
    split = load_dataset("cifar10", abnormal="airplane", root=raw_data)
    detector = small(method, epochs=2).fit(split.train[:64], progress=False)
    test = torch.cat([split.test[:8], split.test[-8:]])
    scores = detector.decision_function(test)
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0
