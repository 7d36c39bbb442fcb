"""The training losses of Eqs. 4–7, one function each."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Eq. 4, the loss that D minimises: −E log D(x) − E log(1 − D(x̂)), on logits.

    Args:
        real_logits, fake_logits: (B,) logits of x and of x̂, higher is more real.

    Returns:
        A scalar, lower is better for D; 2 log 2 = 1.386 if D gives every image the probability 0.5.

    Example:
        >>> import torch
        >>> discriminator_loss(torch.zeros(2), torch.zeros(2))
        tensor(1.3863)
    """
    # softplus(−t) = −log sigmoid(t) and softplus(t) = −log(1 − sigmoid(t)), without overflow
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Eq. 4, the loss that G minimises, non-saturating: −E log D(x̂), on logits.

    Eq. 4 read literally makes G minimise E log(1 − D(x̂)), whose gradient vanishes when D is
    confident. −log D(x̂) has the same fixed point (Goodfellow et al., 2014).

    Args:
        fake_logits: (B,) logits of x̂.

    Returns:
        A scalar, lower is better for G; log 2 = 0.693 if D gives every x̂ the probability 0.5.

    Example:
        >>> import torch
        >>> adversarial_loss(torch.zeros(2))
        tensor(0.6931)
    """
    return F.softplus(-fake_logits).mean()


def similarity_loss(x: Tensor, x_hat: Tensor, kind: str = "l2") -> Tensor:
    """Eq. 5: ``E |x − x̂|₂``, under one of three interpretations.

    Args:
        x, x_hat: (B, C, H, W) in [-1, 1].
        kind: ``"l2"``, the mean squared error; ``"l1"``, the mean absolute error (Skip-GANomaly);
            ``"norm"``, the literal 2-norm of each image's difference, √(CHW) = 55 times its RMSE at
            3×32×32.

    Returns:
        A scalar.

    Raises:
        ValueError: ``kind`` has another value.

    Example:
        >>> import torch
        >>> similarity_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5))
        tensor(0.2500)
    """
    if kind == "l1":
        return F.l1_loss(x_hat, x)
    if kind == "l2":
        return F.mse_loss(x_hat, x)
    if kind != "norm":
        raise ValueError(f"kind={kind!r} given; choose l2, l1 or norm.")
    return (x - x_hat).flatten(1).norm(dim=1).mean()


def latent_loss(z: Tensor, z_hat: Tensor) -> Tensor:
    """Eq. 6: ``E |z − ẑ|₂``, as the mean squared difference (Skip-GANomaly's code).

    Args:
        z, z_hat: Features of x and x̂, the same shape.

    Returns:
        A scalar.

    Example:
        >>> import torch
        >>> latent_loss(torch.zeros(1, 100), torch.ones(1, 100))
        tensor(1.)
    """
    return F.mse_loss(z_hat, z)


def total_loss(
    similarity: Tensor,
    adversarial: Tensor,
    latent: Tensor,
    weights: tuple[float, float, float] = (50.0, 1.0, 1.0),
) -> Tensor:
    """Eq. 7: L = λs·Ls + λadv·Ladv + λlat·Llat, the total loss that G minimises.

    Args:
        similarity, adversarial, latent: Scalars of Eqs. 5, 4 and 6.
        weights: (λs, λadv, λlat); the paper uses 50, 1, 1.

    Returns:
        A scalar.

    Example:
        >>> import torch
        >>> total_loss(torch.tensor(0.1), torch.tensor(0.7), torch.tensor(0.2))
        tensor(5.9000)
    """
    s, a, lat = weights
    return s * similarity + a * adversarial + lat * latent
