"""What every release must do, with the library installed and nothing else of the repository.

Run outside the checkout: ``python smoke.py``. Prints one JSON line of versions if all is well.
"""

import json
import platform
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Import, show a table, train, save, load, score, and draw an explorer."""
    import numpy as np
    import torch

    import ccb_lib
    from ccb_lib import CCB, load_dataset, load_detector
    from ccb_lib.explorer import explorer_html

    package = Path(ccb_lib.__file__).parent
    assert "site-packages" in package.parts, f"{package} is not an installed package"
    table = subprocess.run(
        [Path(sys.executable).with_name("ccb"), "table", "4"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "bcc" in table, table

    split = load_dataset("digits", abnormal=8)
    detector = CCB(epochs=1, width=4, device="cpu", seed=0)
    detector.fit(split.train, calibration=split.calibration, progress=False)
    scores = detector.decision_function(split.test)
    assert np.isfinite(scores).all()
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "m.safetensors")
        again = load_detector(Path(folder) / "m.safetensors", device="cpu")
    assert np.array_equal(again.decision_function(split.test), scores)
    assert set(again.predict(split.test)) <= {0, 1}

    assert "<script" in explorer_html(scores, split.test_labels)
    if find_spec("ipywidgets"):
        ccb_lib.ThresholdExplorer(scores, split.test_labels).threshold = 0.1
    else:
        assert "pip install ipywidgets" in _error_of("ThresholdExplorer")

    versions = {"python": platform.python_version(), "torch": torch.__version__}
    print(json.dumps({**versions, "ccb_lib": ccb_lib.__version__, "numpy": np.__version__}))


def _error_of(name: str) -> str:
    """Return the message of the ImportError that a public name raises."""
    import ccb_lib

    try:
        getattr(ccb_lib, name)
    except ImportError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
