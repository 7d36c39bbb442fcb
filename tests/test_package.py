import ast
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


HEAVY = {"pandas", "matplotlib", "seaborn", "torchvision", "ipywidgets", "pydicom", "distributed"}


def loaded_after(code, modules):
    """Which of some modules are imported once the code has run in a fresh Python."""
    code = f"import sys; {code}; print(sorted({modules} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return ast.literal_eval(result.stdout.strip())


def test_the_package_alone_loads_nothing_heavy():
    assert (
        loaded_after("import ccb_lib; dir(ccb_lib)", HEAVY | {"torch", "numpy", "sklearn", "scipy"})
        == []
    )


def test_detectors_load_no_more_than_torch_and_scikit_learn():
    own = HEAVY - {"pandas"}  # scikit-learn itself imports pandas where it is installed
    assert loaded_after("from ccb_lib import CCB, load_detector", own) == []


def test_the_installed_version_is_the_one_it_says():
    from importlib.metadata import version

    assert version("ccb-lib") == ccb_lib.__version__
