"""docs/methods: pages say what docstrings say, their code runs, and what captions tell of the pictures holds."""

import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from xai_med.demo.phantoms import phantoms
from xai_med.methods.table import BUILT_IN
from xai_med.registry import get_method
from xai_med.testing import NETWORKS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "methods"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("method_pages")


def run(name):
    """The names that a page's code defines."""
    pytest.importorskip("torch", reason="the pages use PyTorch")
    if name in ("kernel_shap", "lime"):
        pytest.importorskip("skimage", reason="scikit-image is not installed")
    (code,) = BLOCK.findall((PAGES / f"{name}.md").read_text(encoding="utf-8"))
    scope = {}
    exec(compile(code, f"docs/methods/{name}.md", "exec"), scope)
    return scope


def peaks(name):
    """Where the map of each finding is largest, and how far that is from the nodule's and the effusion's pixels."""
    scope = run(name)
    found = [np.unravel_index(each.argmax(), each.shape) for each in scope["explanation"].maps[0]]
    return [[np.hypot(*(np.argwhere(mask) - peak).T).min() for mask in scope["chest"].masks[0, :2]] for peak in found]


# the text


def test_pages_and_index_are_up_to_date(script):
    pytest.importorskip("torch", reason="counts are of both frameworks")
    pytest.importorskip("paddle", reason="counts are of both frameworks")
    assert script.outdated() == []


def test_a_page_that_was_changed_by_hand_is_found(script, tmp_path, monkeypatch):
    shutil.copytree(PAGES, tmp_path / "methods")
    (tmp_path / "methods" / "cam.md").write_text("CAM", encoding="utf-8")
    (tmp_path / "methods" / "mine.md").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(script, "PAGES", tmp_path / "methods")
    assert script.outdated() == ["cam.md", "mine.md (of no method)"]


def test_a_picture_that_is_missing_large_or_shown_nowhere_is_found(script, tmp_path, monkeypatch):
    shutil.copytree(script.IMAGES, tmp_path / "images")
    (tmp_path / "images" / "cam.png").unlink()
    (tmp_path / "images" / "old.png").write_bytes(b"")
    (tmp_path / "images" / "lrp.png").write_bytes(bytes(script.LARGEST_PICTURE))
    monkeypatch.setattr(script, "IMAGES", tmp_path / "images")
    assert script.outdated() == ["cam.png (missing)", "lrp.png (60000 bytes)", "old.png (shown nowhere)"]


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_links_and_pictures_of_a_page_exist(page):
    text = re.sub(r"```.*?```", "", (PAGES / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target in LINK.findall(text) if "://" not in target]
    assert targets
    for target in targets:
        assert (PAGES / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("name", BUILT_IN)
def test_page_has_a_row_for_every_setting_and_every_error(name):
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for setting in get_method(name).settings:
        assert f"\n| `{setting}` | " in text
    for error in re.findall(r"^    (\w+Error)$", get_method(name).function.__doc__, re.MULTILINE):
        assert f"\n| `{error}` | " in text
    assert "``" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_the_index_lists_every_method_once():
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", text, re.MULTILINE)) == sorted(BUILT_IN)


@pytest.mark.parametrize("name", ["cam", "guided_backprop", "seg_grad_cam"])
def test_counts_of_the_index_are_those_of_the_kit(name, script):
    pytest.importorskip("torch", reason="counts are of both frameworks")
    pytest.importorskip("paddle", reason="counts are of both frameworks")
    stated = script.written((PAGES / "README.md").read_text(encoding="utf-8"))
    assert set(stated) == set(BUILT_IN)
    assert stated[name] == script.measured(name)


def test_counts_that_do_not_add_up_to_the_kit_are_not_taken_over(script):
    row = "| [`cam`](cam.md) | family | line | cost | needs | source | {0} | {0} | `a`, `b` |"
    assert set(script.written(row.format(len(NETWORKS) - 2))) == {"cam"}
    assert not script.written(row.format(len(NETWORKS) - 3))


# docstrings


def test_a_docstring_is_taken_apart(script):
    docstrings = importlib.import_module("method_docs.docstrings")

    def method():
        """Do it.

        First
        paragraph.

        Parameters
        ----------
        a, b : int
            Of
            both.
        c : str

        Raises
        ------
        ShapeError
            Never.
        """

    found = docstrings.docstring(method)
    assert (found.summary, found.more) == ("Do it.", "First\nparagraph.")
    assert found.sections == {
        "Parameters": [("a, b : int", "Of both."), ("c : str", "")],
        "Raises": [("ShapeError", "Never.")],
    }


def test_code_in_docstrings_becomes_markdown_and_methods_become_links(script):
    docstrings = importlib.import_module("method_docs.docstrings")
    found = docstrings.as_markdown('As for ``gradient``; ``"abs"`` or `x`.', ["gradient"])
    assert found == 'As for [`gradient`](gradient.md); `"abs"` or `x`.'
    assert docstrings.in_cell("int | None") == "int \\| None"


# the examples, and what is said of their pictures


@pytest.mark.parametrize("name", BUILT_IN)
def test_code_of_a_page_runs(name):
    explanation = run(name)["explanation"]
    assert explanation.method == name
    assert np.isfinite(explanation.maps).all()


def test_the_phantom_has_a_nodule_on_one_side_and_an_effusion_on_the_other_and_no_more(script):
    examples = importlib.import_module("method_docs.examples")
    chest = phantoms(1, seed=examples.SEED, prevalence=0.4)
    assert chest.labels[0].tolist() == [True, True, False, False]
    nodule, effusion = (np.argwhere(mask).mean(axis=0) for mask in chest.masks[0, :2])
    assert nodule[1] < 64 < effusion[1]
    assert nodule[0] < 43
    assert effusion[0] > 85


@pytest.mark.parametrize("name", ["deconvnet", "guided_backprop"])
def test_without_a_class_the_map_of_the_effusion_is_brightest_at_the_rim_of_the_nodule(name):
    _, (from_nodule, from_effusion) = peaks(name)
    assert 0 < from_nodule < 4
    assert from_effusion > 40


def test_the_two_maps_of_eigen_cam_are_the_same():
    nodule, effusion = run("eigen_cam")["explanation"].maps[0]
    np.testing.assert_allclose(nodule, effusion, rtol=1e-5)


def test_score_cam_needs_another_baseline_than_black_here():
    scope = run("score_cam")
    (nodule, _), _ = peaks("score_cam")
    assert nodule == 0
    effusion = scope["explanation"].maps[0, 1]
    assert effusion[scope["chest"].masks[0, 0]].max() > effusion.max() / 2  # it marks the nodule too
    black = scope["explain"](scope["model"], scope["chest"].images, method="score_cam", target=0).maps[0, 0]
    row, column = np.unravel_index(black.argmax(), black.shape)
    assert row < 43
    assert column > 112  # the nodule is at column 40; lungs end before 112
    assert not scope["chest"].lungs[0][:, 112:].any()


def test_smooth_grad_needs_less_noise_than_the_default_here():
    scope = run("smooth_grad")
    nodule = scope["chest"].masks[0, 0]
    more = scope["explain"](scope["model"], scope["chest"].images, method="smooth_grad", target=0, samples=25)
    shares = [each[nodule].sum() / each.sum() for each in (scope["explanation"].maps[0, 0], more.maps[0, 0])]
    assert shares[0] > 2 * shares[1]


def test_a_picture_keeps_the_colours_of_its_scale(script):
    image_library = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pictures = importlib.import_module("method_docs.pictures")
    rows = np.linspace(0, 255, 100).astype(np.uint8)
    scale = np.stack([rows, rows[::-1], np.full(100, 30, np.uint8)], axis=1)[:, None].repeat(5, axis=1)
    noise = np.random.default_rng(0).integers(0, 255, (100, 300, 1)).repeat(3, axis=2).astype(np.uint8)
    drawn = np.concatenate([noise, scale], axis=1)
    kept = np.asarray(pictures.few_colours(image_library.fromarray(drawn)).convert("RGB")).astype(int)
    assert np.abs(kept - drawn)[:, 300:].max() <= 8
    assert np.abs(kept - drawn)[:, :300].max() <= 4
    assert len(np.unique(kept[:, 300:].reshape(-1, 3), axis=0)) > 60
