import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ccb_lib

PACKAGE = Path(ccb_lib.__file__).parent


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


OF_OTHERS = {"_asdict", "_fields", "_replace", "_make"}  # of named tuples


def private(name):
    return name.startswith("_") and not name.startswith("__") and name not in OF_OTHERS


def uses_of_private_names(path):
    """Yield the private names that a module reads from others, and those that it defines."""
    read, defined = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = ast.unparse(node.value)
            own = owner in ("self", "cls", "super()")
            if isinstance(node.ctx, ast.Store) or own:
                defined.add(node.attr)
            else:
                read.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ccb_lib"):
            read |= {alias.name for alias in node.names if private(alias.name)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    return read, defined


def test_no_package_uses_private_names_of_another():
    packages = {}
    for path in PACKAGE.rglob("*.py"):
        packages.setdefault(path.relative_to(PACKAGE).parts[0], []).append(path)
    uses = {
        package: [set.union(*sets) for sets in zip(*map(uses_of_private_names, paths), strict=True)]
        for package, paths in packages.items()
    }
    of_library = set.union(*(defined for _, defined in uses.values()))  # not names of PyTorch
    foreign = {package: (read - defined) & of_library for package, (read, defined) in uses.items()}
    assert not any(foreign.values()), foreign
