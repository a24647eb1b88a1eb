"""The page, looked at in a real browser: sliders change pixels, keys move, nothing is asked of a network."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from xai_med.errors import SettingError, ShapeError
from xai_med.explanation import Explanation
from xai_med.render.page import html_page, save_page

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("jinja2", reason="Jinja2 is not installed")

SCRIPT = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def explained(method="cam", *, names=("edema", "mass"), images=2, signed=False, seed=0):
    """An explanation of made images, without a model."""
    random = np.random.default_rng(seed)
    maps = random.random((images, len(names), 24, 32)).astype(np.float32)
    if signed:
        maps -= 0.5
    return Explanation(
        maps=maps,
        attribution=maps,
        scores=np.ones((images, len(names))),
        probabilities=np.full((images, len(names)), 0.5),
        targets=(tuple(names),) * images,
        class_indices=np.arange(len(names))[None].repeat(images, 0),
        method=method,
        settings={},
        layer="features",
        rules=(),
        backend="torch",
        versions={},
        dtype="float32",
        checks=(),
        input=np.random.default_rng(1).random((images, 1, 24, 32)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in the browser, with what it said and asked for."""

    def __init__(self, browser, path: Path):
        self.messages, self.requests = [], []
        self.page = browser.new_page(viewport={"width": 1000, "height": 800})
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.resolve().as_uri())
        self.page.wait_for_selector("body[data-ready=yes]")

    def pixels(self, name="overlay"):
        data = self.page.evaluate(
            f"() => Array.from(document.getElementById('{name}').getContext('2d').getImageData(0, 0, 32, 24).data)"
        )
        return np.array(data).reshape(24, 32, 4)

    def set(self, name, value):
        self.page.evaluate(
            "([name, value]) => { const field = document.getElementById(name);"
            " if (field.type === 'checkbox') field.checked = value; else field.value = value;"
            " field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input')); }",
            [name, value],
        )

    def text(self, name):
        return self.page.text_content(f"#{name}")


@pytest.fixture
def opened(browser, tmp_path):
    pages = []

    def open_page(explanations, **settings):
        pages.append(Opened(browser, save_page(tmp_path / "page.html", explanations, **settings)))
        return pages[-1]

    yield open_page
    for each in pages:
        each.page.close()


def test_the_overlay_is_the_one_that_the_library_draws(opened):
    from xai_med.render import overlay, to_bytes

    given = explained()
    page = opened(given)
    expected = to_bytes(overlay(given.input[0], given.maps[0, 0])).astype(int)
    assert np.abs(page.pixels()[..., :3] - expected).max() <= 3
    assert (
        page.pixels("original")[..., 0] == to_bytes((given.input[0, 0] - given.input[0].min()) / np.ptp(given.input[0]))
    ).all()


def test_each_control_changes_pixels(opened):
    page = opened([explained(), explained("lrp", signed=True, seed=3)])
    before = page.pixels()
    for name, value in (("opacity", 20), ("threshold", 60), ("by-value", False), ("class", "1"), ("method", "1")):
        page.set(name, value)
        after = page.pixels()
        assert (after != before).any(), name
        before = after
    page.set("opacity", 0)
    np.testing.assert_array_equal(page.pixels(), page.pixels("original"))


def test_the_threshold_shows_the_image_itself(opened):
    given = explained()
    page = opened(given)
    page.set("threshold", 50)
    hidden = given.maps[0, 0] < 0.499 * given.maps[0, 0].max()
    np.testing.assert_array_equal(page.pixels()[hidden], page.pixels("original")[hidden])
    assert (page.pixels()[~hidden] != page.pixels("original")[~hidden]).any()


def test_one_scale_for_all_classes_makes_a_weak_map_weak(opened):
    given = explained()
    weak = np.array(given.maps)
    weak[0, 1] *= 0.01
    page = opened(Explanation(**{**vars(given), "maps": weak}))
    page.set("class", "1")
    own = np.abs(page.pixels().astype(int) - page.pixels("original")).sum()
    page.set("shared", True)
    assert np.abs(page.pixels().astype(int) - page.pixels("original")).sum() < 0.05 * own


def test_the_value_under_the_cursor_is_the_maps(opened):
    given = explained(signed=True)
    page = opened(given)
    page.page.focus("#overlay")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("Shift+ArrowUp")
    assert page.text("value").startswith("column 17, row 2: ")
    value = float(page.text("value").split(": ")[1].split(" ")[0])
    assert value == pytest.approx(float(given.maps[0, 0, 2, 17]), abs=2e-4)
    box = page.page.locator("#original").bounding_box()
    page.page.mouse.move(box["x"] + box["width"] * (5.5 / 32), box["y"] + box["height"] * (7.5 / 24))
    assert page.text("value").startswith("column 5, row 7: ")


def test_all_works_by_keyboard(opened):
    page = opened([explained(), explained("lrp")])
    reached = []
    for _ in range(14):
        page.page.keyboard.press("Tab")
        reached.append(page.page.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
    for name in ("method", "class", "opacity", "threshold", "by-value", "shared", "original", "overlay", "BUTTON"):
        assert name in reached
    before = page.pixels()
    page.page.focus("#opacity")
    page.page.keyboard.press("ArrowLeft")
    assert (page.pixels() != before).any()


def test_images_are_chosen_from_a_gallery(opened):
    page = opened(explained(images=3), names=["a.png", "b.png", "c.png"])
    first = page.pixels("original")
    page.page.click("#images button:nth-child(2)")
    page.page.wait_for_function("() => document.querySelectorAll('#images button')[1].ariaPressed === 'true'")
    page.page.wait_for_timeout(100)
    assert (page.pixels("original") != first).any()
    assert page.page.text_content("#images button:nth-child(3)") == "c.png"


def test_names_are_text_and_never_run(opened):
    page = opened(explained(names=(SCRIPT, "</script>" + SCRIPT)), names=[SCRIPT, "b"], title=SCRIPT)
    assert page.page.title() == SCRIPT
    assert SCRIPT in page.text("caption")
    assert page.page.text_content("h1") == SCRIPT
    assert SCRIPT in page.page.text_content("#images button")
    assert page.messages == []


def test_nothing_leaves_the_file_and_nothing_is_complained_of(opened):
    page = opened([explained(), explained("lrp", signed=True)])
    page.set("opacity", 50)
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    blocked = page.page.evaluate("() => fetch('https://example.org/').then(() => 'asked').catch(() => 'blocked')")
    assert blocked == "blocked"


def test_the_document_names_no_other_address():
    text = html_page(explained())
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in text.replace("&#39;", "'")


def test_failed_checks_are_said(opened):
    from xai_med.checks import Check

    given = explained()
    bad = Explanation(**{**vars(given), "checks": (Check("sum of maps", 3.0, 1e-3),)})
    page = opened(bad)
    assert "Failed checks: sum of maps: 3" in page.text("failed")
    assert page.page.is_visible("#failed")
    assert not opened(given).page.is_visible("#failed")


def test_what_cannot_be_shown_is_refused(tmp_path):
    with pytest.raises(SettingError, match="of different images"):
        html_page([explained(), explained(images=1)])
    with pytest.raises(SettingError, match="no explanation"):
        html_page([])
    with pytest.raises(SettingError, match=r"\.html file"):
        save_page(tmp_path / "page.txt", explained())
    with pytest.raises(SettingError, match="3 names were given for 2 images"):
        html_page(explained(), names=["a", "b", "c"])
    without = Explanation(**{**vars(explained()), "input": None})
    with pytest.raises(SettingError, match="were not kept"):
        html_page(without)
    volume = Explanation(**{**vars(explained()), "maps": np.zeros((2, 2, 3, 4, 5), np.float32)})
    with pytest.raises(ShapeError, match="two-dimensional"):
        html_page(volume)


def test_an_explanation_gives_and_saves_its_page(tmp_path):
    given = explained()
    assert given.to_html(names=["a", "b"], title="mine") == html_page(given, names=["a", "b"], title="mine")
    written = given.save(tmp_path / "page.html", names=["a", "b"], title="mine")
    assert written.read_text(encoding="utf-8") == given.to_html(names=["a", "b"], title="mine")
    with pytest.raises(SettingError, match=r"\.html for a page"):
        given.save(tmp_path / "page.txt")


def test_ends_of_a_signed_scale_say_for_and_against(opened):
    page = opened([explained(), explained("lrp", signed=True, seed=3)])
    assert "(" not in page.text("low") + page.text("high")
    page.set("method", "1")
    assert page.text("low").endswith("(against)")
    assert page.text("high").endswith("(for)")


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(browser, tmp_path):
    """The notebook's page holds a secret that a script in a class name would like to read, and a frame that works."""
    frame = explained(names=(SCRIPT, "b"))._repr_html_()
    (tmp_path / "notebook.html").write_text(f"<title>notebook</title><body>{frame}</body>", encoding="utf-8")
    page = browser.new_page()
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto((tmp_path / "notebook.html").as_uri())
    inner = page.frames[1]
    inner.wait_for_selector("body[data-ready=yes]")
    before = inner.evaluate("() => document.getElementById('overlay').toDataURL()")
    inner.evaluate(
        "() => { const field = document.getElementById('opacity'); field.value = 5;"
        " field.dispatchEvent(new Event('input')); }"
    )
    assert inner.evaluate("() => document.getElementById('overlay').toDataURL()") != before
    assert SCRIPT in inner.text_content("#caption")
    assert page.title() == "notebook"
    assert messages == []
    blocked = inner.evaluate("() => { try { return parent.document.title; } catch (error) { return 'blocked'; } }")
    assert blocked == "blocked"
    page.close()


def test_what_a_notebook_cannot_show_as_a_page_is_left_to_the_picture():
    given = explained()
    assert Explanation(**{**vars(given), "input": None})._repr_html_() is None
    volume = np.zeros((2, 2, 3, 4, 5), np.float32)
    assert Explanation(**{**vars(given), "maps": volume})._repr_html_() is None
    huge = np.broadcast_to(np.float32(0), (1, 3, 1024, 1024))
    assert Explanation(**{**vars(given), "maps": huge})._repr_html_() is None


def test_a_value_of_one_image_does_not_stand_under_another(opened):
    page = opened(explained())
    page.page.focus("#overlay")
    page.page.keyboard.press("ArrowRight")
    assert page.text("value").startswith("column")
    page.page.click("#images button:nth-child(2)")
    page.page.wait_for_timeout(100)
    assert page.text("value").startswith("Point at a picture")
