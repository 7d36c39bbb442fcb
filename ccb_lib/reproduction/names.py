"""Display names of data sets, classes, methods, measures and initialisations."""

# The paper reports no number of CCB fork; the other names are those that its tables print.
_METHODS = {
    "anogan": "AnoGAN",
    "egbad": "EGBAD",
    "ganomaly": "GANomaly",
    "skip-ganomaly": "SkipGANomaly",
    "ccb": "CCB",
    "ccb-fork": "CCB fork",
}
METHOD_OF = {shown: method for method, shown in _METHODS.items()}


def display_name(name: str) -> str:
    """Return the display name of a data set, class, method, measure or initialisation.

    >>> display_name("ground_glass"), display_name("png-bytes"), display_name("ccb-fork")
    ('ground glass', 'PNG bytes', 'CCB fork')
    """
    names = {
        "cifar10": "CIFAR-10",
        "ham10000": "HAM10000",
        "ild": "ILD",
        "lung_ct_98": "98 slices of lung CT",
        "chest-ct": "chest CT",
        "brain-mri": "brain MRI",
        "auc": "AUC",
        "f1": "F1",
        "pca": "PCA",
        "mean-intensity": "mean intensity",
        "png-bytes": "PNG bytes",
        "nearest-neighbours": "nearest neighbours",
        "he": "He's rule",
        "dcgan": "N(0, 0.02)",
        **_METHODS,
    }
    return names.get(name, str(name).replace("_", " "))
