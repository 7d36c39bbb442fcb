"""The second reading of the paper's method: Skip-GANomaly's training with chains as skips."""

from dataclasses import dataclass
from typing import ClassVar

from ccb_lib.detectors.skip_ganomaly import SkipGANomaly


@dataclass(kw_only=True, eq=False)
class CCBFork(SkipGANomaly):
    """Skip-GANomaly with chains of convolution blocks instead of its plain skips.

    No code of Zhang et al. is public, so this is a conjecture: their settings (λ 50, 1 and 1,
    learning rate 2e-4, batch 64, the form of the score) are those of the public Skip-GANomaly code,
    and the simplest explanation is a fork of that code. So all else is as in Skip-GANomaly: Eq. 5
    is in 1-norm, G is updated first, D minimises the latent distance too and is reinitialised when
    its loss collapses. The chains' weights start from N(0, 0.02) as all others do. There is no
    dropout: in that code only the blocks beyond the fifth have dropout, and a network for 32 px has
    five.

    The differences from the public code that `SkipGANomaly` lists hold here too.

    >>> from ccb_lib import CCBFork, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = CCBFork(epochs=1, width=4, device="cpu").fit(split.train[:128], progress=False)
    >>> detector.decision_function(split.test[:2]).shape
    (2,)
    """

    method: ClassVar[str] = "ccb-fork"

    chain: tuple[int | None, ...] = (4, 3, 2, 1)
    chain_init: str = "dcgan"
