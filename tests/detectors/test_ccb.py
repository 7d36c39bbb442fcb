import json
import stat

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ccb_lib import CCB, load_detector
from ccb_lib.detectors import NotReady
from ccb_lib.environment import seeded
from ccb_lib.io.images import to_unit
from ccb_lib.io.tensors import digest

SMALL = {"width": 4, "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def fitted(digits):
    return CCB(epochs=2, **SMALL).fit(
        digits.train[:400], calibration=digits.calibration, progress=False
    )


@pytest.fixture(scope="module")
def scores(fitted, digits):
    return fitted.decision_function(digits.test)


def test_scores_have_the_promised_form_and_vary(scores, digits):
    assert scores.dtype == np.float32
    assert scores.shape == digits.test_labels.shape
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 0.99 * len(scores)


def test_a_score_depends_on_its_image_alone(fitted, scores, digits):
    order = np.random.default_rng(0).permutation(len(scores))
    assert np.array_equal(fitted.decision_function(digits.test[order]), scores[order])
    for size in (1, 7, 64, 1000):
        terms = fitted.score_terms(digits.test[:130], batch_size=size)
        assert 0.9 * terms.image + 0.1 * terms.latent == pytest.approx(scores[:130], rel=1e-5)
    assert fitted.decision_function(digits.test[3:4]) == pytest.approx(scores[3:4], rel=1e-5)


def test_terms_equal_the_formula_in_plain_pytorch(fitted, digits):
    terms = fitted.score_terms(digits.test[:9])
    x = to_unit(digits.test[:9])
    with torch.no_grad():
        x_hat = fitted.networks_["generator"](x)
        z, z_hat = (fitted.networks_["discriminator"](i)[1] for i in (x, x_hat))
    assert terms.image == pytest.approx((x - x_hat).pow(2).mean((1, 2, 3)).numpy(), rel=1e-5)
    assert terms.latent == pytest.approx((z - z_hat).pow(2).mean((1, 2, 3)).numpy(), rel=1e-5)


def test_batch_statistics_make_neighbours_matter_and_change_nothing_for_good(
    fitted, digits, scores
):
    before = {name: value.clone() for name, value in fitted._state().items()}
    order = torch.randperm(128, generator=torch.Generator().manual_seed(0))
    images = digits.test[:128]
    alone = fitted.score_terms(images, batch_norm="batch", batch_size=64).image
    mixed = fitted.score_terms(images[order], batch_norm="batch", batch_size=64).image
    assert not np.allclose(alone[order], mixed, rtol=1e-4)
    with_dropout = fitted.score_terms(images, batch_norm="batch", batch_size=64, dropout=True).image
    assert not np.allclose(alone, with_dropout, rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in fitted._state().items())
    assert np.array_equal(fitted.decision_function(digits.test), scores)
    with pytest.raises(ValueError, match="'running' or 'batch'"):
        fitted.score_terms(images, batch_norm="train")


def test_save_and_load_give_the_same_scores_and_threshold(fitted, scores, digits, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    loaded = load_detector(tmp_path / "m.safetensors")
    assert np.array_equal(loaded.decision_function(digits.test), scores)
    assert loaded.threshold_ == fitted.threshold_
    assert np.array_equal(loaded.p_values(digits.test), fitted.p_values(digits.test))
    assert {**loaded.get_params(), "device": 0} == {**fitted.get_params(), "device": 0}
    assert loaded.history_ == fitted.history_
    assert not any(network.training for network in loaded.networks_.values())
    # nothing but JSON and numbers is in the file
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["ccb_lib"])["method"] == "ccb"
    loaded.fit(digits.train[:64], progress=False)  # loaded weights can be trained on


def test_threshold_predict_and_p_values_agree(fitted, scores, digits):
    assert np.array_equal(fitted.predict(digits.test), (scores > fitted.threshold_).astype(int))
    calibration = fitted.calibration_scores_
    assert (calibration > fitted.threshold_).mean() <= 0.05
    expected = [(1 + (calibration >= s).sum()) / (1 + len(calibration)) for s in scores]
    assert fitted.p_values(digits.test) == pytest.approx(expected)


def test_the_threshold_follows_alpha_and_can_be_moved_by_hand(digits):
    detector = CCB(epochs=1, **SMALL).fit(
        digits.train[:64], calibration=digits.calibration, progress=False
    )
    at_default = detector.threshold_
    detector.alpha = 0.0
    assert detector.threshold_ != at_default
    assert (detector.calibration_scores_ > detector.threshold_).mean() <= 0.05
    detector.threshold_ = 1e9
    assert detector.predict(digits.test).sum() == 0
    with pytest.raises(ValueError, match="finite"):
        detector.threshold_ = float("nan")


def test_without_calibration_predict_names_the_way(digits):
    detector = CCB(epochs=1, **SMALL).fit(digits.train[:64], progress=False)
    with pytest.raises(NotReady, match=r"calibrate\(normals\)"):
        detector.predict(digits.test)
    with pytest.raises(NotReady, match="calibrate"):
        detector.p_values(digits.test)
    detector.calibrate(digits.calibration, false_alarms=0.2)
    assert 0 < (detector.calibration_scores_ > detector.threshold_).mean() <= 0.2
    with pytest.raises(ValueError, match="share between 0 and 1"):
        detector.calibrate(digits.calibration, false_alarms=5)


def test_reconstructions_and_maps_have_the_promised_form(fitted, digits):
    rebuilt = fitted.reconstruct(digits.test[:3])
    assert rebuilt.dtype == torch.uint8
    assert rebuilt.shape == (3, 1, 32, 32)
    maps = fitted.anomaly_map(digits.test[:3])
    assert maps.dtype == np.float32
    assert maps.shape == (3, 32, 32)
    assert maps.mean((1, 2)) == pytest.approx(fitted.score_terms(digits.test[:3]).image, rel=1e-5)


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_channel_count_trains_and_scores(image_size, channels):
    images = torch.randint(0, 256, (4, channels, image_size, image_size), dtype=torch.uint8)
    detector = CCB(epochs=1, width=2, chain=(1, None, 0, 2), device="cpu").fit(
        images, progress=False
    )
    assert len(set(detector.decision_function(images))) == 4


@pytest.mark.parametrize(
    "setting",
    [
        {"similarity": "l1"},
        {"similarity": "norm"},
        {"chain_init": "dcgan"},
        {"chain_residual": True},
        {"chain_residual": True, "chain_residual_start": "zero"},
        {"chain_batch_norm": True},
        {"image_distance": "l1"},
        {"latent_distance": "l1"},
        {"dropout": 0.0},
        {"loss_weights": (1, 0, 0)},
    ],
    ids=str,
)
def test_every_choice_changes_the_scores(setting, digits):
    plain, other = (
        CCB(epochs=1, **SMALL, **s).fit(digits.train[:64], progress=False) for s in ({}, setting)
    )
    assert not np.allclose(
        plain.decision_function(digits.test[:8]),
        other.decision_function(digits.test[:8]),
        rtol=1e-6,
    )
    assert other.get_params()[next(iter(setting))] == next(iter(setting.values()))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"chain": (1, 2, 3)}, "4 lengths from 0"),
        ({"chain": (1, 2, 3, -1)}, "4 lengths from 0"),
        ({"chain_init": "xavier"}, "'he' or 'dcgan'"),
        ({"chain_residual_start": "one"}, "'he' or 'zero'"),
        ({"similarity": "ssim"}, "'l2', 'l1' or 'norm'"),
        ({"loss_weights": (1, 1)}, "three weights"),
        ({"dropout": 1.0}, "from 0 to under 1"),
        ({"alpha": 2}, "from 0 to 1"),
        ({"epochs": 0}, "whole number from 1"),
        ({"width": 2.5}, "whole number from 1"),
        ({"learning_rate": 0}, "positive"),
        ({"image_size": 48}, "32, 64, 128"),
        ({"channels": 2}, "1, 3"),
        ({"seed": -1}, "seed"),
        ({"device": "abacus"}, "Use auto, cpu, cuda or cuda:1"),
        ({"image_distance": "cosine"}, "'l2' or 'l1'"),
    ],
)
def test_wrong_settings_are_refused_with_the_way_out(setting, says):
    with pytest.raises(ValueError, match=says):
        CCB(**setting)


def test_settings_are_keywords_only():
    with pytest.raises(TypeError):
        CCB(50)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), "at least two normal images"),
        (torch.zeros(4, 1, 30, 30, dtype=torch.uint8), "30×30 were given"),
        (torch.zeros(4, 1, 32, 32), "uint8 from 0 to 255"),
        (torch.zeros(0, 1, 32, 32, dtype=torch.uint8), "empty set"),
    ],
)
def test_wrong_training_images_are_refused(images, says):
    with pytest.raises(ValueError, match=says):
        CCB(epochs=1, **SMALL).fit(images, progress=False)


def test_wrong_images_to_score_are_refused(fitted):
    with pytest.raises(ValueError, match="1 needed"):
        fitted.decision_function(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="32×32 is needed"):
        fitted.decision_function(torch.zeros(2, 1, 64, 64, dtype=torch.uint8))
    with pytest.raises(NotReady, match="fit"):
        CCB().decision_function(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(NotReady, match="fit"):
        CCB().save("nowhere.safetensors")


def test_a_fit_that_fails_leaves_no_detector_that_pretends(noise, digits):
    detector = CCB(epochs=1, **SMALL).fit(digits.train[:64], progress=False)
    detector.learning_rate = 1e30
    detector.epochs = 20
    with pytest.raises(RuntimeError, match="finite"):
        detector.fit(noise, progress=False)
    with pytest.raises(NotReady):
        detector.decision_function(noise)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_fit_that_stops_after_an_epoch_leaves_no_detector_that_pretends(digits, error):
    def stop(detector, epoch):
        detector.decision_function(digits.train[:2])  # ready to score
        if epoch == 2:
            raise error

    detector = CCB(epochs=3, **SMALL)
    with pytest.raises(error):
        detector.fit(digits.train[:64], progress=False, on_epoch_end=stop)
    with pytest.raises(NotReady):
        detector.decision_function(digits.train[:2])


def test_a_fit_that_diverges_after_an_epoch_leaves_no_detector_that_pretends(digits):
    def raise_the_rate(detector, epoch):
        detector.optimizers_["generator"].param_groups[0]["lr"] = 1e30

    detector = CCB(epochs=20, **SMALL)
    with pytest.raises(RuntimeError, match="finite"):
        detector.fit(digits.train[:64], progress=False, on_epoch_end=raise_the_rate)
    with pytest.raises(NotReady):
        detector.decision_function(digits.train[:2])


def test_a_wrong_share_of_false_alarms_is_reported_before_the_training(digits, monkeypatch):
    monkeypatch.setattr(CCB, "_fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match="false_alarms=5 given"):
        CCB(epochs=1, **SMALL).fit(digits.train, calibration=digits.calibration, false_alarms=5)


class TestForeignFiles:
    @pytest.fixture
    def saved(self, fitted, tmp_path):
        fitted.save(tmp_path / "m.safetensors")
        with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
            header = json.loads(file.metadata()["ccb_lib"])
        del (
            header["sha256"],
            header["weights"],
        )  # as in older files: digests have tests of their own
        return tmp_path / "m.safetensors", load_file(tmp_path / "m.safetensors"), header

    def rewrite(self, path, tensors, header):
        save_file(tensors, path, metadata={"ccb_lib": json.dumps(header)})

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"kind": "checkpoint"}, "not a detector"),
            ({"version": 99}, "format version 99"),
            ({"method": "os.system"}, "method 'os.system'; known are"),
            ({"settings": {"width": "8"}}, "does not fit together"),
            ({"settings": {"evil": 1}}, "does not fit together"),
            ({"settings": None}, "does not fit together"),
            ({"image_size": None}, "does not fit together"),
            ({"channels": 5}, "does not fit together"),
            ({"collapsed": "yes"}, "does not fit together"),
            ({"collapsed": [1]}, "does not fit together"),
            ({"calibration": {"image": ["x"], "latent": []}}, "does not fit together"),
        ],
    )
    def test_changed_headers(self, saved, changes, says):
        path, tensors, header = saved
        self.rewrite(path, tensors, {**header, **changes})
        with pytest.raises(ValueError, match=says):
            load_detector(path)

    def test_settings_that_would_need_more_memory_than_the_file_holds(self, saved):
        path, tensors, header = saved
        self.rewrite(
            path, tensors, {**header, "settings": {**header["settings"], "width": 100_000}}
        )
        with pytest.raises(ValueError, match="tensors do not fit"):
            load_detector(path)

    def test_missing_tensors(self, saved):
        path, tensors, header = saved
        tensors.pop("discriminator.logit.weight")
        self.rewrite(path, tensors, header)
        with pytest.raises(ValueError, match=r"1 tensors do not fit.*discriminator\.logit\.weight"):
            load_detector(path)

    def test_truncated(self, saved):
        path, _, _ = saved
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            load_detector(path)

    def test_a_device_that_is_not_here(self, saved):
        with pytest.raises(ValueError, match="device='cuda:99'"):
            load_detector(saved[0], device="cuda:99")


def test_a_read_only_folder(fitted, tmp_path):
    folder = tmp_path / "file"
    folder.write_text("no folder")
    with pytest.raises(OSError, match="Choose a folder that you may write to"):
        fitted.save(folder / "m.safetensors")
    assert stat.S_ISREG(folder.stat().st_mode)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_trains_scores_and_agrees_with_the_cpu(digits, tmp_path):
    detector = CCB(epochs=2, width=4, device="cuda").fit(
        digits.train, calibration=digits.calibration, progress=False
    )
    detector.save(tmp_path / "m.safetensors")
    on_cpu = load_detector(tmp_path / "m.safetensors", device="cpu").decision_function(digits.test)
    assert detector.decision_function(digits.test) == pytest.approx(on_cpu, rel=1e-2)


def test_a_slice_of_cifar10(raw_data, tmp_path):
    from ccb_lib import load_dataset

    split = load_dataset("cifar10", abnormal="airplane", root=raw_data)
    detector = CCB(epochs=1, width=4, device="cpu").fit(
        split.train[:256], calibration=split.calibration[:64], progress=False
    )
    some = np.r_[0:64, 9000:9064]
    scores = detector.decision_function(split.test[some])
    detector.save(tmp_path / "m.safetensors")
    assert np.array_equal(
        load_detector(tmp_path / "m.safetensors", device="cpu").decision_function(split.test[some]),
        scores,
    )


def test_a_saved_detector_says_what_made_it(fitted, digits, tmp_path):
    assert fitted.origin_["trained on"] == 400
    assert fitted.origin_["images"] == digest(digits.train[:400])
    assert fitted.origin_["torch"] == torch.__version__
    fitted.save(tmp_path / "m.safetensors")
    assert load_detector(tmp_path / "m.safetensors").origin_ == fitted.origin_


def test_logging_skips_changes_no_weight_and_tells_their_size(digits):
    images = digits.train[:64]
    logged, plain = (
        CCB(epochs=1, **SMALL, log_skips=log).fit(images, progress=False) for log in (True, False)
    )
    assert np.array_equal(logged.decision_function(images), plain.decision_function(images))
    more = logged.history_[0].keys() - plain.history_[0].keys()
    assert more == {f"skip {k}{what}" for k in range(1, 5) for what in ("", " spread", " gradient")}
    assert all(logged.history_[0][name] > 0 for name in more)
    assert all(
        logged.history_[0][f"skip {k} spread"] < logged.history_[0][f"skip {k}"]
        for k in range(1, 5)
    )
    with pytest.raises(ValueError, match="log_skips"):
        CCB(log_skips=True, fast="compiled")


def test_a_wider_generator_leaves_the_discriminator_as_it_is(digits):
    wide, plain = (
        CCB(epochs=1, **SMALL, chain=(0, 0, 0, 0), generator_width=w).fit(
            digits.train[:32], progress=False
        )
        for w in (6, None)
    )
    shapes = [[p.shape for p in d.networks_["discriminator"].parameters()] for d in (wide, plain)]
    assert shapes[0] == shapes[1]
    assert [d.networks_["generator"].encoder[0][0].out_channels for d in (wide, plain)] == [6, 4]


def test_arms_that_differ_in_the_skips_start_alike_elsewhere():
    def built(**settings):
        with seeded(3, torch.device("cpu")):
            return CCB(width=4, **settings).build(32, 3)

    own = built()
    for settings in (
        {"chain": (0, 0, 0, 0)},
        {"chain_residual": True},
        {"chain_init": "dcgan"},
        {"chain": (8, 0, 1, 2)},
    ):
        other = built(**settings)
        for part in ("encoder", "decoder"):
            assert equal_weights(getattr(own["generator"], part), getattr(other["generator"], part))
        assert equal_weights(own["discriminator"], other["discriminator"])
    without, wide = built(chain=(None,) * 4), built(generator_width=5)
    assert equal_weights(own["generator"].encoder, without["generator"].encoder)
    assert equal_weights(own["discriminator"], wide["discriminator"])
    with seeded(4, torch.device("cpu")):
        assert not equal_weights(
            own["generator"].encoder, CCB(width=4).build(32, 3)["generator"].encoder
        )


def equal_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
