"""Names of data sets and classes as readers see them."""


def display_name(name: str) -> str:
    """Write a name of the code as a reader would: ``ground_glass`` as "ground glass", ``ild`` as "ILD"."""
    names = {
        "cifar10": "CIFAR-10",
        "ham10000": "HAM10000",
        "ild": "ILD",
        "lung_ct_98": "98 slices of lung CT",
        "chest-ct": "chest CT",
        "brain-mri": "brain MRI",
    }
    return names.get(name, str(name).replace("_", " "))
