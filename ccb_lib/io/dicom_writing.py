"""Writing small DICOM files for examples and tests; needs pydicom."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccb_lib.io.dicom import import_pydicom
from ccb_lib.io.writing import replacing


def write_image(
    path: Path,
    raw: NDArray[np.integer],
    *,
    number: int | None = None,
    location: float | None = None,
    series: str = "",
    slope: float | None = 1.0,
    intercept: float | None = -1024.0,
    spacing: tuple[float, float] = (1.0, 1.0),
    modality: str = "CT",
) -> None:
    """Write a small DICOM file of one grey image, for examples and tests; it has no patient tags.

    Args:
        path: The file; its folder is created.
        raw: (H, W) integers from −32768 to 32767.
        number: InstanceNumber.
        location: SliceLocation in mm.
        series: SeriesInstanceUID.
        slope: RescaleSlope; ``None`` omits the tag.
        intercept: RescaleIntercept; ``None`` omits the tag.
        spacing: PixelSpacing in mm, rows first.
        modality: Modality, such as ``"CT"``.

    Raises:
        ImportError: pydicom is not installed.
        OSError: The folder cannot be written to.
    """
    pydicom = import_pydicom()
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    facts = {
        "Modality": modality,
        "SeriesInstanceUID": series or None,
        "InstanceNumber": number,
        "SliceLocation": location,
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
    }
    for tag, value in facts.items():
        if value is not None:
            setattr(data, tag, value)
    data.PixelSpacing = list(spacing)
    data.Rows, data.Columns = raw.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.PixelData = raw.astype("<i2").tobytes()
    with replacing(path) as part:
        data.save_as(part, enforce_file_format=True)
