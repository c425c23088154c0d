"""Folders of images as data: decoded, resized, cropped and normalised as the model was trained."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spikec.ir import InvalidData, SpikecError, UsageError
from spikec.ir.options import configure, read_call
from spikec.ir.reading import check_file
from spikec.ir.types import Array

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_HINT = "such as --images 'resize=256,crop=224,mean=0.485+0.456+0.406,std=0.229+0.224+0.225'"


@dataclass(frozen=True)
class Preparation:
    """What turns an image file into the model's input.

    Pixels are divided by 255; then `mean` is subtracted and the rest divided by `std`.

    Attributes:
        resize: Pixels of the shorter side, by bilinear interpolation; none leaves the size.
        crop: Pixels of the square around the middle; none takes all.
        mean: Of each channel, or one for all.
        std: Of each channel, or one for all.
    """

    resize: int | None = None
    crop: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def apply(self, image: Image, channels: int) -> Array:
        """The image as (height, width, channels) float32."""
        import PIL.Image

        image = image.convert("L" if channels == 1 else "RGB")
        width, height = image.size
        if self.resize is not None:
            scale = self.resize / min(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
            image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
        if self.crop is not None:
            left, top = (width - self.crop) // 2, (height - self.crop) // 2
            image = image.crop((left, top, left + self.crop, top + self.crop))
        pixels = np.asarray(image, np.float32).reshape(image.size[1], image.size[0], channels) / 255
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        prepared: Array = (pixels - mean) / std
        return prepared


def read_preparation(text: str | None) -> Preparation:
    """The preparation that `--images` means; raises ParseError for what it cannot."""
    name, given = read_call(f"images{{{text or ''}}}", "option")
    return configure(Preparation, name, given, "option")


def read_images(
    folder: Path, shape: tuple[int, ...], preparation: Preparation
) -> tuple[Array, Array | None]:
    """All images of a folder, in the order of their names.

    Args:
        folder: Of images; or of folders of images, one a class in the order of their names.
        shape: The model's input, channels first or last.
        preparation: What to do with each.

    Returns:
        Samples (N, *shape), and the classes (N,) where there are folders.

    Raises:
        InvalidData: for a folder without images, a file that is none, and an image of another size.
        UsageError: where Pillow is not installed.
    """
    if importlib.util.find_spec("PIL") is None:
        raise UsageError("images need Pillow (pip install spikec[images])")
    if len(shape) != 3 or not {shape[0], shape[-1]} & {1, 3}:
        raise InvalidData(f"the model's input {list(shape)} is no image", loc=str(folder))
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = (
        [(path, None) for path in _images(folder)]
        if not classes
        else [(path, label) for label, inner in enumerate(classes) for path in _images(inner)]
    )
    if not files:
        raise InvalidData("holds no images", loc=str(folder))
    samples = np.empty((len(files), *shape), np.float32)
    for sample, (path, _) in zip(samples, files, strict=True):
        sample[:] = _read(path, shape, preparation)
    labels = np.array([label for _, label in files]) if classes else None
    return samples, labels


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read(path: Path, shape: tuple[int, ...], preparation: Preparation) -> Array:
    import PIL.Image

    first = shape[0] in (1, 3)
    check_file(path, error=InvalidData)
    try:
        with PIL.Image.open(path) as image:
            pixels = preparation.apply(image, shape[0] if first else shape[-1])
    except SpikecError:
        raise
    except Exception as error:  # Pillow raises many unrelated kinds, SyntaxError among them
        raise InvalidData(f"cannot be read as an image: {error}", loc=str(path)) from None
    sample: Array = pixels.transpose(2, 0, 1) if first else pixels
    if sample.shape != shape:
        raise InvalidData(
            f"the image becomes {list(sample.shape)}, the model expects {list(shape)}",
            loc=str(path),
            hint=f"say how to resize and crop it, {_HINT}",
        )
    return sample
