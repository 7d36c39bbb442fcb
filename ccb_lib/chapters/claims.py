"""Tables of the chapter on claims: stability as text, and the definitions of two scores."""

import pandas as pd

from ccb_lib.detectors import METHODS
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.settings import CHOICES, described

_MEASURES = ("AUC", "over seeds", "over epochs, released", "over epochs, clean")


def shown_stability(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `stability` as text, one row for each setting and method or chain.

    Args:
        frame: From `ccb_lib.reproduction.claims.stability`. The frames of several tables may be
            joined.

    Returns:
        Rows (setting, method); ``–`` for a missing value. ``collapsed`` is such as "0 of 4" runs.

    Example:
        >>> from ccb_lib.reproduction.claims import stability
        >>> "over seeds" in shown_stability(stability(4))
        True
    """
    rows = {}
    for line in frame.to_dict("records"):
        settings = {name: None if pd.isna(line[name]) else line[name] for name in CHOICES}
        common = described({**settings, "chain_init": None, "other": None})
        setting = f"{display_name(line['dataset'])}, {common}"
        parts = [display_name(line["method"]), _chain(line["chain"])]
        parts += [
            f"from {display_name(settings['chain_init'])}" if settings["chain_init"] else "",
            display_name(settings["other"] or "").removesuffix(" True"),
        ]
        texts = {name: "–" if pd.isna(line[name]) else f"{line[name]:.3f}" for name in _MEASURES}
        counts = {"seeds": line["seeds"], "collapsed": f"{line['collapsed']} of {line['runs']}"}
        rows[setting, ", ".join(part for part in parts if part)] = texts | counts
    shown = pd.DataFrame.from_dict(rows, orient="index", columns=["seeds", *_MEASURES, "collapsed"])
    return shown.sort_index(level=0, sort_remaining=False, kind="stable")


def _chain(chain: str | None) -> str:
    if chain is None or pd.isna(chain):
        return ""
    names = {"0-0-0-0": "plain skips", "none-none-none-none": "no skips"}
    return names.get(chain, f"{chain} blocks")


def definitions() -> pd.DataFrame:
    """Return the two terms of the scores of AnoGAN and EGBAD, and α, the weight of the first.

    Returns:
        One row a method. The weight is the default of this library.

    Example:
        >>> definitions().loc["AnoGAN", "weight of the image term"]
        0.9
    """
    rows = {
        "anogan": (
            "image less the nearest generated image",
            "features of the discriminator, image less generated",
        ),
        "egbad": (
            "image less its reconstruction",
            "features of the discriminator of (image, latent vector)",
        ),
    }
    return pd.DataFrame(
        {
            display_name(method): {
                "first term": first,
                "second term": second,
                "weight of the image term": METHODS[method].__dataclass_fields__["alpha"].default,
            }
            for method, (first, second) in rows.items()
        }
    ).T
