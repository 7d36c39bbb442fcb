"""The likeliest original of the paper's method: Skip-GANomaly's training, with chains instead of skips."""

from dataclasses import dataclass
from typing import ClassVar

from ccb_lib.detectors.skip_ganomaly import SkipGANomaly


@dataclass(kw_only=True, eq=False)
class CCBFork(SkipGANomaly):
    """Skip-GANomaly with chains of convolution blocks in the place of its plain skips.

    No code of Zhang et al. is public, so this is a conjecture: their settings (λ 50, 1 and 1,
    learning rate 2e-4, batch 64, the form of the score) are those of the public Skip-GANomaly code,
    and the simplest reading is a fork of that code. So everything is Skip-GANomaly's (Eq. 5 in
    1-norm, G learns first, D minimises the latent distance too and is drawn anew when its loss
    collapses), the chains' weights start from N(0, 0.02) as all others do, and there is no dropout:
    in that code dropout sits only in the blocks beyond the fifth, and 32 px have five.

    What `SkipGANomaly` says of its public code holds here too.

    >>> from ccb_lib import CCBFork, load_dataset
    >>> split = load_dataset("digits", abnormal=8)
    >>> detector = CCBFork(epochs=1, width=4, device="cpu").fit(split.train[:128], progress=False)
    >>> detector.decision_function(split.test[:2]).shape
    (2,)
    """

    method: ClassVar[str] = "ccb-fork"

    chain: tuple[int | None, ...] = (4, 3, 2, 1)
    chain_init: str = "dcgan"
