"""Conversion of all accepted forms of images to one uint8 tensor (N, C, H, W)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ccb_lib.io.image_files import eight_bits, read_images

SIZES = (32, 64, 128)  # five down-sampling blocks need a multiple of 32

_WANTED = (
    "uint8 values 0…255, shaped (N, C, H, W), (N, H, W, C) or (N, H, W) with C = 1 or 3; "
    "or a torch Dataset of such images, or a list of paths"
)


def as_images(
    images: Any, *, image_size: int | None = None, channels: int | None = None, name: str = "images"
) -> Tensor:
    """Convert images of any accepted form to one tensor.

    Args:
        images: uint8 tensor or array (N, C, H, W), (N, H, W, C) or (N, H, W); a torch ``Dataset``
            whose items (or first parts of items) are uint8 (C, H, W) tensors, arrays or PIL images;
            or a list of paths. Files are cropped to a centred square and resized to ``image_size``.
        image_size: The required height and width, in pixels; ``None`` accepts 32, 64 and 128.
        channels: The required number of channels, 1 or 3; ``None`` accepts both.
        name: The name of the images in error messages.

    Returns:
        (N, C, H, W) uint8, contiguous, on the device of the input.

    Raises:
        ValueError: The shape, dtype, size or channels are wrong, the set is empty, or files cannot
            be read. The message says what was given, what is needed and how to convert it.
    """
    if _is_path(images):
        raise ValueError(
            f"{name}: one path was given ({images}); give a list of paths, such as "
            f"[{str(images)!r}]."
        )
    if isinstance(images, Dataset):
        images = _stack_dataset(images, name)
    elif (
        isinstance(images, Sequence)
        and not isinstance(images, str | bytes)
        and len(images)
        and _is_path(images[0])
    ):
        if others := {type(item).__name__ for item in images if not _is_path(item)}:
            raise ValueError(
                f"{name}: a list of paths with {', '.join(sorted(others))} was given; "
                "give a list of paths only."
            )
        if image_size is None:
            raise ValueError(
                f"{name}: paths need an image size. Pass image_size= one of {SIZES} to the "
                "detector, or give the images as an array."
            )
        return read_images(
            [Path(path) for path in images], image_size=image_size, channels=channels or 3
        )
    tensor = _as_tensor(images, name)
    tensor = _channels_first(tensor, name)
    _check_size(tensor, image_size, channels, name)
    return tensor.contiguous()


def to_unit(images: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
    """Scale uint8 0…255 to float32 in [-1, 1], the range of the networks' tanh outputs."""
    return images.to(torch.float32, memory_format=memory_format).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Scale float images in [-1, 1] back to uint8 0…255, rounding to nearest."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path)


def _stack_dataset(dataset: Dataset, name: str) -> Tensor:
    if not hasattr(dataset, "__len__"):
        raise ValueError(
            f"{name}: a {type(dataset).__name__} without a length was given; give a map-style "
            "Dataset."
        )
    stacked = []
    for item in (dataset[i] for i in range(len(dataset))):
        image = item[0] if isinstance(item, tuple | list) else item
        if isinstance(image, Image.Image):
            pixels = np.array(eight_bits(image))
            image = torch.from_numpy(
                pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            )
        stacked.append(torch.as_tensor(image))
    if not stacked:
        raise ValueError(f"{name}: the Dataset is empty. Give {_WANTED}.")
    if len({tuple(image.shape) for image in stacked}) > 1:
        sizes = sorted({tuple(image.shape) for image in stacked})
        raise ValueError(
            f"{name}: the Dataset's images differ in shape ({sizes[:5]}). Resize them to one size."
        )
    return torch.stack(stacked)


def _as_tensor(images: Any, name: str) -> Tensor:
    if not isinstance(images, Tensor):
        try:
            tensor = torch.from_numpy(np.ascontiguousarray(images))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: {type(images).__name__} given ({error}). Give {_WANTED}."
            ) from error
    else:
        tensor = images
    if tensor.numel() == 0:
        raise ValueError(
            f"{name}: an empty set of shape {tuple(tensor.shape)} was given. Give at least one "
            "image."
        )
    if tensor.dtype != torch.uint8:
        raise ValueError(f"{name}: dtype {_described(tensor)}")
    return tensor


def _described(tensor: Tensor) -> str:
    """Describe pixels of a wrong dtype, and how to scale them."""
    if tensor.is_complex() or tensor.dtype == torch.bool:
        return f"{tensor.dtype} was given; uint8 from 0 to 255 is needed."
    values = tensor.detach().to(torch.float64)
    unknown = "" if bool(values.isfinite().all()) else " with NaN or infinity"
    low, high = (float(end) for end in values.nan_to_num(0.0, 0.0, 0.0).aminmax())
    given = (
        f"{tensor.dtype} from {low:g} to {high:g}{unknown} was given; "
        "uint8 from 0 to 255 is needed."
    )
    if unknown:
        return f"{given} Remove or replace these values first."
    if tensor.is_floating_point() and low >= -1 and high <= 1:
        scaled = "images * 255" if low >= 0 else "(images + 1) * 127.5"
        lowest = 0 if low >= 0 else -1
        return f"{given} For floats in [{lowest}, 1]: ({scaled}).round().astype('uint8')."
    if low >= 0 and high <= 255:
        return f"{given} The values fit: images.round().astype('uint8')."
    if low >= 0 and high <= 65535:
        bits, white = ("12", 4095) if high <= 4095 else ("16", 65535)
        return f"{given} For {bits} bits: (images / {white / 255:g}).round().astype('uint8')."
    return (
        f"{given} Choose the values of black and white: ccb_lib.io.windows.to_window(images, "
        "(-1000, 400)) for Hounsfield units of lungs."
    )


def _channels_first(tensor: Tensor, name: str) -> Tensor:
    shape = tuple(tensor.shape)
    if (
        tensor.ndim == 3
        and (shape[0] not in (1, 3) or shape[1] == shape[2])
        and shape[2] not in (1, 3)
    ):
        return tensor[:, None]
    if tensor.ndim == 4 and shape[1] in (1, 3):
        return tensor
    if tensor.ndim == 4 and shape[3] in (1, 3):
        return tensor.permute(0, 3, 1, 2)
    hint = (
        " This looks like a single image: add a first axis with images[None]."
        if tensor.ndim in (2, 3)
        else ""
    )
    raise ValueError(f"{name}: shape {shape} was given; {_WANTED} is needed.{hint}")


def _check_size(tensor: Tensor, image_size: int | None, channels: int | None, name: str) -> None:
    _, have, height, width = tensor.shape
    sizes = SIZES if image_size is None else (image_size,)
    if height != width or height not in sizes:
        raise ValueError(
            f"{name}: images of {height}×{width} were given; "
            f"{' or '.join(f'{s}×{s}' for s in sizes)} is needed. Crop and resize them first, or "
            "give their paths, which are cropped and resized on reading."
        )
    if channels is not None and have != channels:
        raise ValueError(
            f"{name}: {have} channel{'s' if have > 1 else ''} given, {channels} needed. "
            + (
                "Repeat the grey channel: images.repeat(1, 3, 1, 1)."
                if channels == 3
                else "Average the colours first."
            )
        )
