"""The 70 maps that Paddle-CheXNet published, re-rendered: an oracle for resize, colour and blend."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xai_med.render import chexnet_levels, chexnet_montage, chexnet_tile

SHARED = Path(__file__).parents[1].parent / "shared"
CSV = SHARED / "reference" / "paddle_chexnet_cams_7x7.csv"
NPZ = SHARED / "data" / "cxr14" / "published_cams.npz"
MONTAGES = SHARED / "data" / "cxr14" / "published_cam"
IDS = ["00000001_000", "00000001_001", "00000001_002", "00000002_000", "00000003_000"]
SIDE = 224

pytestmark = pytest.mark.skipif(
    not (CSV.is_file() and NPZ.is_file() and MONTAGES.is_dir()),
    reason="the published montages are not beside the repository (../shared)",
)


@pytest.fixture(scope="module")
def published():
    with np.load(NPZ) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def rounded_cams():
    """Maps (14, 7, 7) per image, rounded to three decimals."""
    with CSV.open() as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    cells = [f"r{row}c{column}" for row in range(7) for column in range(7)]
    return {
        image: np.array([[float(row[c]) for c in cells] for row in rows if row["image"] == image]).reshape(-1, 7, 7)
        for image in IDS
    }


def tiles_of(image):
    pixels = np.asarray(Image.open(MONTAGES / f"{image}.png").convert("RGB"))
    return pixels.reshape(3, SIDE, 5, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(15, SIDE, SIDE, 3)


def outside_captions(published, image):
    return np.unpackbits(published[f"{image}_valid"])[: 14 * SIDE * SIDE].reshape(14, SIDE, SIDE).astype(bool)


@pytest.mark.parametrize("source", ["csv", "npz"])
@pytest.mark.parametrize("image", IDS)
def test_every_tile_equals_the_published_pixels_within_two_levels(published, rounded_cams, image, source):
    cams = rounded_cams[image] if source == "csv" else published[f"{image}_cam7"]
    valid = outside_captions(published, image)
    grey = published[f"{image}_image224"]
    assert valid.mean() > 0.98
    for cam, tile, mask in zip(cams, tiles_of(image)[1:], valid, strict=True):
        difference = np.abs(chexnet_tile(grey, cam).astype(int) - tile.astype(int))[mask]
        assert difference.max() <= 2
        assert difference.mean() < 0.25


@pytest.mark.parametrize("source", ["csv", "npz"])
@pytest.mark.parametrize("image", IDS)
def test_every_map_equals_the_published_levels_within_one(published, rounded_cams, image, source):
    cams = rounded_cams[image] if source == "csv" else published[f"{image}_cam7"]
    levels = np.stack([chexnet_levels(cam, (SIDE, SIDE)) for cam in cams])
    difference = np.abs(levels.astype(int) - published[image].astype(int))
    assert difference[outside_captions(published, image)].max() <= 1


@pytest.mark.parametrize("image", IDS)
def test_the_whole_montage_differs_only_under_the_captions(published, rounded_cams, image):
    captions = ["Pleural_Thickening: 99.99%"] * 14
    ours = chexnet_montage(published[f"{image}_image224"], rounded_cams[image], captions).astype(int)
    theirs = np.asarray(Image.open(MONTAGES / f"{image}.png").convert("RGB")).astype(int)
    assert ours.shape == theirs.shape
    above = np.arange(ours.shape[0]) % SIDE < 200
    assert np.abs(ours - theirs)[above].max() <= 2
