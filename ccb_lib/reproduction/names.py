"""Display names of data sets and classes."""


def display_name(name: str) -> str:
    """Return the display name of a data set or class.

    >>> display_name("ground_glass"), display_name("ild")
    ('ground glass', 'ILD')
    """
    names = {
        "cifar10": "CIFAR-10",
        "ham10000": "HAM10000",
        "ild": "ILD",
        "lung_ct_98": "98 slices of lung CT",
        "chest-ct": "chest CT",
        "brain-mri": "brain MRI",
    }
    return names.get(name, str(name).replace("_", " "))
