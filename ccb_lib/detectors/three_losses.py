"""Settings that the methods share whose generator has the three losses of Eq. 7."""

from dataclasses import dataclass

from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.detectors.estimator import setting


@dataclass(kw_only=True, eq=False)
class ThreeLossDetector(AdversarialDetector):
    """A detector whose generator has a similarity, an adversarial and a latent loss.

    Attributes:
        loss_weights: (λs, λadv, λlat) of Eq. 7.
        image_distance: D1 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent_distance: D2 of Eq. 2, ``"l2"`` or ``"l1"``.
        latent: Length of z.
    """

    loss_weights: tuple[float, float, float] = (50.0, 1.0, 1.0)
    image_distance: str = setting("l2", training=False, terms=True)
    latent_distance: str = setting("l2", training=False, terms=True)
    latent: int = 100

    def __post_init__(self) -> None:
        """Check the settings; see `Detector`."""
        super().__post_init__()
        self._need_numbers(
            "loss_weights", 3, lambda weight: weight >= 0, "three weights from 0, (λs, λadv, λlat),"
        )
        for name in ("image_distance", "latent_distance"):
            self._need(getattr(self, name) in ("l2", "l1"), name, "'l2' or 'l1'")
        self._need_whole("latent")
