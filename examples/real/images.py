"""Public images, prepared as the trained models want them."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from examples.real.models import statement
from xai_med.backend.tensors import Array
from xai_med.metrics import Box


def pneumonia_mnist(data: Path) -> tuple[Array, Array]:
    """Test split of PneumoniaMNIST: normalised images (624, 1, 28, 28), float32, and labels (624,)."""
    with np.load(data / "pneumoniamnist.npz") as archive:
        pixels, labels = archive["test_images"], archive["test_labels"][:, 0]
    return _normalised(pixels[:, None], statement(data, "pneumonia_vgg28")), labels.astype(int)


def chest_x_rays(data: Path) -> tuple[Array, Array, Array]:
    """Forty radiographs at 128 x 128.

    Returns
    -------
    images : ndarray of shape (40, 1, 128, 128), float32
        Normalised as in training.
    labels : ndarray of shape (40,)
        0 normal, 1 pneumonia.
    lungs : ndarray of shape (40, 128, 128), float64
        Share of each pixel that lies in the lungs.
    """
    rows = _table(data / "cxr" / "labels.csv")
    pixels, lungs = [], []
    for row in rows:
        with Image.open(data / "cxr" / row["file"]) as image:
            pixels.append(np.asarray(image.convert("L").resize((128, 128), Image.Resampling.BOX)))
        with Image.open(data / "cxr" / row["lung_mask"]) as image:
            lungs.append(np.asarray(image.convert("F").resize((128, 128), Image.Resampling.BOX)) / 255.0)
    images = _normalised(np.stack(pixels)[:, None], statement(data, "pneumonia_resnet128"))
    return images, np.array([int(row["label"]) for row in rows]), np.stack(lungs)


def chest_x_ray_files(data: Path) -> tuple[str, ...]:
    """Names of the files of `chest_x_rays`."""
    return tuple(row["file"] for row in _table(data / "cxr" / "labels.csv"))


def haemorrhage_patches(data: Path) -> tuple[Array, Array, Array]:
    """Patches of fundus photographs.

    Returns
    -------
    images : ndarray of shape (160, 3, 64, 64), float32
        Normalised as in training.
    labels : ndarray of shape (160,)
        1 where there is a haemorrhage.
    masks : ndarray of shape (160, 64, 64), bool
        Where it is.
    """
    with np.load(data / "fundus" / "haemorrhage_patches.npz") as archive:
        pixels, labels, masks = (archive[name] for name in ("images", "labels", "haemorrhage_masks"))
    images = _normalised(pixels.transpose(0, 3, 1, 2), statement(data, "haemorrhage_vgg64"))
    return images, labels.astype(int), masks


@dataclass(frozen=True, eq=False)
class FundusPhotographs:
    """Whole photographs, at a quarter of their size.

    Parameters
    ----------
    names : tuple of str
        Of the files.
    colours : ndarray of shape (N, 712, 1072, 3), uint8
    images : ndarray of shape (N, 3, 712, 1072), float32
        Contrast enhanced and normalised as for the network of haemorrhages.
    masks : ndarray of shape (N, 712, 1072), bool
        Where haemorrhages are.
    """

    names: tuple[str, ...]
    colours: Array
    images: Array
    masks: Array


def fundus_photographs(data: Path) -> FundusPhotographs:
    """Three photographs with haemorrhages and two of healthy eyes."""
    folder = data / "fundus"
    lesions = {row["image"]: row["mask"] for row in _table(folder / "lesions.csv") if row["lesion"] == "haemorrhages"}
    names = (*lesions, *(row["image"] for row in _table(folder / "grades.csv")))
    colours = np.stack([_quarter(folder / name, "RGB") for name in names])
    masks = np.zeros(colours.shape[:3], bool)
    for number, mask in enumerate(lesions.values()):
        masks[number] = _quarter(folder / mask, "L") >= 128
    blurred = ndimage.gaussian_filter(colours.astype(np.float64), (0, 14, 14, 0), mode="mirror")
    enhanced = np.clip(np.rint(4 * (colours - blurred) + 128), 0, 255)  # Graham 2015
    images = _normalised(enhanced.transpose(0, 3, 1, 2), statement(data, "haemorrhage_vgg64"))
    return FundusPhotographs(names, colours, images, masks)


def boxed_radiographs(data: Path, model: str, side: int) -> tuple[Array, tuple[str, ...], Array]:
    """Seven radiographs in which radiologists drew a box around a finding.

    Parameters
    ----------
    data : Path
    model : str
        How to normalise.
    side : int
        Pixels of the resized images.

    Returns
    -------
    images : ndarray of shape (7, C, side, side), float32
    findings : tuple of str
    masks : ndarray of shape (7, side, side), bool
    """
    rows = _table(data / "cxr14_boxes" / "boxes.csv")
    pixels, masks = [], []
    for row in rows:
        pixels.append(_grey(data / "cxr14_boxes" / "images" / row["image"], side))
        scale = side / float(row["img_w"]), side / float(row["img_h"])
        x, y, width, height = (float(row[key]) for key in "xywh")
        box = Box(x * scale[0], y * scale[1], width * scale[0], height * scale[1])
        masks.append(box.mask((side, side)))
    images = _normalised(np.stack(pixels)[:, None], statement(data, model))
    return images, tuple(row["label"] for row in rows), np.stack(masks)


def radiographs_with_masks(data: Path, model: str, side: int) -> tuple[Array, list[Mapping[str, Array]]]:
    """Three radiographs with radiologists' masks of lungs, mediastinum, lesions and tubes.

    Parameters
    ----------
    data, model, side
        As in `boxed_radiographs`.

    Returns
    -------
    images : ndarray of shape (3, C, side, side), float32
    masks : list of mapping of str to ndarray of shape (side, side), bool
        By region; which there are differs from image to image.
    """
    rows = _table(data / "cxr_regions" / "regions.csv")
    names = list(dict.fromkeys(row["image"] for row in rows))
    pixels = [_grey(data / "cxr_regions" / name, side) for name in names]
    masks: list[Mapping[str, Array]] = []
    for name in names:
        of_image = {row["region"]: row["mask"] for row in rows if row["image"] == name}
        masks.append({region: _grey(data / "cxr_regions" / path, side) >= 128 for region, path in of_image.items()})
    return _normalised(np.stack(pixels)[:, None], statement(data, model)), masks


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _grey(path: Path, side: int) -> Array:
    """Averaged down to a square, 0 to 255."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((side, side), Image.Resampling.BOX))


def _quarter(path: Path, mode: str) -> Array:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode).resize((image.width // 4, image.height // 4), Image.Resampling.BOX))


def _normalised(pixels: Array, stated: Any) -> Array:
    """Scaled to 0..1, then by the stated mean and deviation of each channel; grey is repeated for colour networks."""
    mean, deviation = (np.reshape(stated["input"][key], (-1, 1, 1)) for key in ("mean", "std"))
    return np.asarray((pixels / 255.0 - mean) / deviation, dtype=np.float32)
