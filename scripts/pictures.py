"""Draws the pictures of the how-to pages, of phantoms only: ``python scripts/pictures.py``.

Needs the extras torch, paddle, viz, examples and dev, and a Chromium for the picture of the page.
"""

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from examples.chexnet.__main__ import main as chexnet  # noqa: E402
from examples.lung_study.__main__ import main as lung_study  # noqa: E402

IMAGES = ROOT / "docs" / "images"


def regions(folder: Path) -> Path:
    """Every image's enrichment, by method and group."""
    lung_study(["--frameworks", "torch", "--picture", str(folder / "study.png")])
    return folder / "study.png"


def montage(folder: Path) -> Path:
    """The layout of a montage."""
    chexnet(["try", "--output", str(folder)])
    return folder / "torch" / "phantom_0_cam.png"


def page(folder: Path) -> Path:
    """The page in a browser, as a user sees it."""
    from playwright.sync_api import sync_playwright

    from xai_med import explain
    from xai_med.demo.network import demo_blueprint
    from xai_med.demo.phantoms import phantoms
    from xai_med.registry import get_backend

    chests = phantoms(6, seed=5, prevalence=0.6)
    model = get_backend("torch").build(demo_blueprint())
    found = [
        explain(model, chests.images, method=name, target="all", class_names=chests.names) for name in ("cam", "lrp")
    ]
    from xai_med.render import save_page

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


PICTURES = {"regions.png": regions, "chexnet.png": montage, "page.png": page}


def main() -> None:
    """Draw all, or those named."""
    for name in sys.argv[1:] or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(PICTURES[name](Path(folder)), IMAGES / name)
        print(IMAGES / name)


if __name__ == "__main__":
    main()
