"""Draws the pictures of the how-to pages, of phantoms only: ``python scripts/pictures.py``.

Needs the extras torch, paddle, viz, examples and dev, and a Chromium for the picture of the page.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from examples.chexnet.__main__ import main as chexnet  # noqa: E402
from examples.clear.__main__ import main as clear  # noqa: E402
from examples.lung_study.__main__ import main as lung_study  # noqa: E402
from xai_med.demo.network import demo_blueprint  # noqa: E402
from xai_med.demo.phantoms import phantoms  # noqa: E402
from xai_med.registry import get_backend  # noqa: E402

IMAGES = ROOT / "docs" / "images"


def regions(folder: Path) -> Path:
    """Every image's enrichment, by method and group."""
    lung_study(["--frameworks", "torch", "--picture", str(folder / "study.png")])
    return folder / "study.png"


def montage(folder: Path) -> Path:
    """The layout of a montage."""
    chexnet(["try", "--output", str(folder)])
    return folder / "torch" / "phantom_0_cam.png"


def gaze(folder: Path) -> Path:
    """A phantom, somebody's simulated gaze on it, its heat map, and the map of a network."""
    import numpy as np
    from matplotlib.figure import Figure

    from xai_med import Classes, explain
    from xai_med.gaze import Screen, fixations_by_velocity, heat_map
    from xai_med.gaze.fixations import Samples
    from xai_med.render import overlay

    chest = phantoms(1, seed=8, prevalence=1.0)
    random, time = np.random.default_rng(0), np.arange(0, 3, 1 / 120)
    nodule = np.argwhere(chest.masks[0, 0]).mean(axis=0)
    places = np.array([nodule, (40.0, 88.0), nodule + 2, (96.0, 40.0), nodule - 1, (64.0, 64.0)])
    seen = places[(time // 0.5).astype(int)] + random.normal(0, 0.3, (time.size, 2))
    screen = Screen(distance_mm=650, pitch_mm=3.3)
    samples = Samples(time, seen[:, 1], seen[:, 0])
    fixations = fixations_by_velocity(samples, pixels_per_degree=screen.pixels_per_degree)
    looked = heat_map(fixations, (128, 128), sigma_px=screen.pixels_per_degree, scale="max")
    cam = explain(_model(), chest.images, method="cam", target=Classes(0)).maps[0, 0]
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    image = chest.images[0]
    titles = ("phantom", "fixations, area by duration", "heat map, one degree", "CAM of nodule, positive part")
    for axes, title in zip(figure.subplots(1, 4), titles, strict=True):
        axes.set_axis_off()
        axes.set_title(title, fontsize=10)
        if title.startswith("heat"):
            axes.imshow(overlay(image, looked))
        elif title.startswith("CAM"):
            axes.imshow(overlay(image, np.maximum(cam, 0)))
        else:
            axes.imshow(image[0], cmap="gray")
        if title.startswith("fixations"):
            axes.plot(fixations.x - 0.5, fixations.y - 0.5, color="cyan", lw=0.8)
            axes.scatter(fixations.x - 0.5, fixations.y - 0.5, s=400 * fixations.duration_s, color="cyan", alpha=0.5)
    figure.savefig(folder / "gaze.png", dpi=110)
    return folder / "gaze.png"


def localisation(folder: Path) -> Path:
    """Maps of a nodule with the boxes that a rule makes of them, and where the nodule is."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from xai_med import Classes, explain
    from xai_med.metrics import box_from_map
    from xai_med.render import overlay

    chest = phantoms(1, seed=8, prevalence=1.0)
    image, mask = chest.images[0], chest.masks[0, 0]
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    for axes, method in zip(figure.subplots(1, 5), ("cam", "grad_cam", "gradient", "lrp", "clear"), strict=True):
        values = explain(_model(), chest.images, method=method, target=Classes(0)).maps[0, 0]
        box = box_from_map(values, "cam")
        axes.imshow(overlay(image, values))
        axes.contour(mask, levels=[0.5], colors="cyan", linewidths=1)
        if box is not None:
            corner = (box.x - 0.5, box.y - 0.5)  # pixels are drawn around their centres
            axes.add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor="yellow", lw=1.5))
        axes.set_axis_off()
        axes.set_title(method, fontsize=10)
    figure.savefig(folder / "localisation.png", dpi=110)
    return folder / "localisation.png"


def clear_grades(folder: Path) -> Path:
    """A drawn photograph of each grade, with the region that speaks most for it."""
    clear(["grades", "--output", str(folder)])
    return folder / "grades.png"


def page(folder: Path) -> Path:
    """The page in a browser, as a user sees it."""
    from playwright.sync_api import sync_playwright

    from xai_med import explain
    from xai_med.render import save_page

    chests = phantoms(6, seed=5, prevalence=0.6)
    found = [
        explain(_model(), chests.images, method=name, target="all", class_names=chests.names) for name in ("cam", "lrp")
    ]
    path = save_page(folder / "page.html", found, names=[f"phantom {number}" for number in range(6)])
    browsers = ("chromium", "chromium-headless-shell", "google-chrome")
    program = next(filter(None, map(shutil.which, browsers)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1100, "height": 900})
        view.goto(path.resolve().as_uri())
        view.wait_for_selector("body[data-ready=yes]")
        view.focus("#overlay")
        for _ in range(3):
            view.keyboard.press("Shift+ArrowRight")
        view.screenshot(path=str(folder / "page.png"))
        browser.close()
    return folder / "page.png"


PICTURES = {
    "regions.png": regions,
    "chexnet.png": montage,
    "gaze.png": gaze,
    "localisation.png": localisation,
    "clear_grades.png": clear_grades,
    "page.png": page,
}


def _model() -> Any:
    return get_backend("torch").build(demo_blueprint())


def main() -> None:
    """Draw all, or those named."""
    for name in sys.argv[1:] or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(PICTURES[name](Path(folder)), IMAGES / name)
        print(IMAGES / name)


if __name__ == "__main__":
    main()
