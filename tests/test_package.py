import subprocess
import sys

import pytest

import ccb_lib


@pytest.mark.parametrize("name", ccb_lib.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(ccb_lib, name) is not None


def test_unknown_names_are_refused_with_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'Nothing'; it offers .*CCB"):
        ccb_lib.Nothing  # noqa: B018


def test_import_and_detectors_cost_torch_and_numpy_alone():
    heavy = {"sklearn", "pandas", "matplotlib", "seaborn", "torchvision", "ipywidgets", "pydicom", "distributed"}
    code = f"import sys, ccb_lib; from ccb_lib import CCB, load_detector; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_installed_version_is_the_one_it_says():
    from importlib.metadata import version

    assert version("ccb-lib") == ccb_lib.__version__
