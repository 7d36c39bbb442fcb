import math

import pytest
import torch

from ccb_lib.models.ccb import Generator
from ccb_lib.models.diagnostics import (
    linear_cka,
    rms,
    semantic_gap,
    signal_along_chain,
    watching_skips,
)


def test_cka_of_equal_rotated_and_unrelated_features():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(torch.randn(5, 5))
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1, abs=1e-5)
    assert linear_cka(x, torch.randn(200, 5, generator=torch.Generator().manual_seed(1))) < 0.1


def test_cka_equals_the_feature_space_formula():
    x, y = torch.randn(30, 4).double(), torch.randn(30, 6).double()
    xc, yc = x - x.mean(0), y - y.mean(0)
    expected = (xc.T @ yc).norm() ** 2 / ((xc.T @ xc).norm() * (yc.T @ yc).norm())
    assert linear_cka(x, y) == pytest.approx(expected.item())
    with pytest.raises(ValueError, match="30 and 29"):
        linear_cka(x, y[:29])


def test_a_chain_from_n_0_002_dies_and_hes_lives():
    """One layer of C channels scales the rms by 0.02·√(9C/2); at the border a little less."""
    dcgan, he = (signal_along_chain(64, 32, init=init) for init in ("dcgan", "he"))
    assert dcgan[4] == pytest.approx((0.02 * math.sqrt(9 * 64 / 2)) ** 4, rel=0.4)
    assert 5e-5 < dcgan[8] < 5e-4
    assert dcgan[32] < 1e-14
    assert he[32] > 0.05


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(ValueError, match="init='He' given; choose he or dcgan"):
        signal_along_chain(4, 2, init="He")


def test_plain_skips_deliver_what_the_encoder_made():
    generator = Generator(1, 4, (0, None, 0, 2)).train()
    lines = semantic_gap(generator, torch.rand(20, 1, 32, 32))
    assert [line["level"] for line in lines] == [1, 3, 4]
    assert lines[0]["encoder"] == lines[0]["skip"]
    assert lines[2]["encoder"] != lines[2]["skip"]
    assert all(0 <= line["encoder"] <= 1 for line in lines)
    assert generator.training


def test_watched_skips_tell_signal_and_the_decoders_gradient():
    """By hand: with loss Σ y² over what skip 1 delivers, its gradient is 2y, whatever the
    encoder's own way adds."""
    generator = Generator(1, 4, (0, None, 0, 2), dropout=0.0)
    x = torch.rand(3, 1, 32, 32)
    delivered = []
    with watching_skips(generator, delivered):
        generator(x)
    assert [tuple(signal.shape[1:]) for signal in delivered] == [
        (32, 2, 2),
        (16, 4, 4),
        (4, 16, 16),
    ]
    shallow = delivered[-1]
    (shallow.square().sum() + 5 * generator.encode(x)[1].sum()).backward()
    assert torch.equal(shallow.grad, 2 * shallow)
    assert rms(torch.tensor([3.0, -4.0])).item() == pytest.approx(math.sqrt(12.5))


def test_watching_ends_with_its_block_and_changes_no_number():
    generator = Generator(1, 4).eval()
    x, delivered = torch.rand(2, 1, 32, 32), []
    plain = generator(x)
    with watching_skips(generator, delivered):
        assert torch.equal(generator(x), plain)
    generator(x)
    assert len(delivered) == 4
