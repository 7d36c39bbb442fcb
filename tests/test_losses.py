import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ccb_lib.losses import (
    adversarial_loss,
    discriminator_loss,
    latent_loss,
    similarity_loss,
    total_loss,
)


def test_adversarial_losses_by_hand():
    zero = torch.zeros(3)
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert adversarial_loss(zero).item() == pytest.approx(math.log(2))
    # logit ln 3 is a probability of 3/4
    logit = torch.tensor([math.log(3)])
    assert discriminator_loss(logit, -logit).item() == pytest.approx(-2 * math.log(0.75))
    assert adversarial_loss(logit).item() == pytest.approx(-math.log(0.75))


def test_adversarial_losses_equal_binary_cross_entropy():
    real, fake = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    expected = bce(real, torch.ones(16)) + bce(fake, torch.zeros(16))
    assert torch.allclose(discriminator_loss(real, fake), expected)
    assert torch.allclose(adversarial_loss(fake), bce(fake, torch.ones(16)))


def test_losses_do_not_overflow():
    big = torch.tensor([1e4])
    assert torch.isfinite(discriminator_loss(-big, big))
    assert torch.isfinite(adversarial_loss(-big))


def test_similarity_by_hand():
    x = torch.zeros(2, 1, 1, 2)
    x_hat = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    assert similarity_loss(x, x_hat, "l2").item() == pytest.approx((9 + 16) / 4)
    assert similarity_loss(x, x_hat, "l1").item() == pytest.approx(7 / 4)
    assert similarity_loss(x, x_hat, "norm").item() == pytest.approx((5 + 0) / 2)


def test_an_unknown_kind_of_similarity_is_refused():
    with pytest.raises(ValueError, match="kind='L2' given; choose l2, l1 or norm"):
        similarity_loss(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), "L2")


def test_the_literal_norm_is_55_times_the_rmse_at_32_px():
    x, x_hat = torch.zeros(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
    rmse = similarity_loss(x, x_hat, "l2").sqrt()
    assert similarity_loss(x, x_hat, "norm") / rmse == pytest.approx(
        math.sqrt(3 * 32 * 32), rel=1e-5
    )


def test_the_norm_has_a_finite_gradient_at_a_perfect_copy():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    similarity_loss(x.detach(), x, "norm").backward()
    assert torch.isfinite(x.grad).all()


def test_latent_and_total_by_hand():
    assert latent_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0])).item() == pytest.approx(
        4.5
    )
    parts = torch.tensor(0.1), torch.tensor(2.0), torch.tensor(3.0)
    assert total_loss(*parts).item() == pytest.approx(50 * 0.1 + 2 + 3)
    assert total_loss(*parts, weights=(1, 10, 100)).item() == pytest.approx(0.1 + 20 + 300)
