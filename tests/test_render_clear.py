import numpy as np
import pytest

from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.render import clear_figure, clear_picture, displayed

# the worked example: classes and responses of a 4 x 4 image, two classes
CLASSES = np.full((4, 4), -1)
RESPONSE = np.zeros((4, 4))
for _y, _x, _class, _response in [(1, 1, 0, 3.0), (1, 2, 1, 2.0), (3, 1, 1, 4.0), (3, 2, 0, 2.0)]:
    CLASSES[_y, _x], RESPONSE[_y, _x] = _class, _response


def legend_texts(figure):
    legend = figure.legends[0]
    return [text.get_text() for text in legend.get_texts()], legend.get_title().get_text()


def test_the_worked_example():
    result = clear_picture(CLASSES, RESPONSE, number_of_classes=2)
    np.testing.assert_allclose(result[1, 1], [0.75, 0, 0])
    np.testing.assert_allclose(result[3, 1], [0, 1, 1])
    np.testing.assert_allclose(result[1, 2], [0, 0.5, 0.5])
    np.testing.assert_array_equal(result[0, 0], 0)


def test_no_class_is_black_whatever_its_response():
    response = np.full((4, 4), 4.0)
    assert not clear_picture(CLASSES, response, number_of_classes=2)[CLASSES < 0].any()


@pytest.mark.parametrize("factor", [1e-10, 1e10])
def test_brightness_does_not_depend_on_the_scale_of_responses(factor):
    np.testing.assert_allclose(
        clear_picture(CLASSES, RESPONSE * factor, number_of_classes=2),
        clear_picture(CLASSES, RESPONSE, number_of_classes=2),
    )


def test_responses_that_are_zero_give_a_black_picture():
    assert not clear_picture(CLASSES, np.zeros((4, 4)), number_of_classes=2).any()


def test_given_hues_replace_the_default():
    result = clear_picture(CLASSES, RESPONSE, number_of_classes=2, hues=[1 / 3, 2 / 3])
    np.testing.assert_allclose(result[3, 1], [0, 0, 1], atol=1e-12)


def test_opacity_mixes_with_the_image():
    image = np.arange(16.0).reshape(4, 4)
    result = clear_picture(CLASSES, RESPONSE, number_of_classes=2, image=image, opacity=0.25)
    expected = 0.25 * clear_picture(CLASSES, RESPONSE, number_of_classes=2) + 0.75 * displayed(image, space=2)
    np.testing.assert_allclose(result, expected)


@pytest.mark.parametrize(
    ("classes", "response", "settings", "error", "text"),
    [
        (CLASSES * 1.0, RESPONSE, {}, DtypeError, "integers, got dtype float64"),
        (CLASSES, RESPONSE[:2], {}, ShapeError, "share one shape"),
        (CLASSES + 1, RESPONSE, {}, SettingError, "from -1 .* to 1, got 0 to 2"),
        (CLASSES, -RESPONSE, {}, SettingError, "at least 0, got -4"),
        (CLASSES, RESPONSE, {"hues": [0.1]}, SettingError, "hues needs 2 numbers"),
        (CLASSES, RESPONSE, {"opacity": 0.5}, SettingError, "needs an image"),
        (CLASSES, RESPONSE, {"image": np.zeros((5, 4))}, ShapeError, "differ in space"),
    ],
)
def test_what_cannot_be_coloured_is_refused(classes, response, settings, error, text):
    with pytest.raises(error, match=text):
        clear_picture(classes, response, number_of_classes=2, **settings)


def test_the_legend_names_only_classes_that_occur_and_the_empty_pixels():
    names = ["$\\a{$", "never", "_c"]
    classes = np.where(CLASSES == 1, 2, CLASSES)
    figure = clear_figure(classes, RESPONSE, names=names, image=np.zeros((4, 4)), title="$\\x{$")
    figure.canvas.draw()
    labels, title = legend_texts(figure)
    assert labels == ["$\\a{$", "_c", "no class: 75.0 % of pixels"]
    assert title == "full brightness: response 4"
    assert len(figure.axes) == 2


def test_the_colours_of_the_legend_are_those_of_the_picture():
    figure = clear_figure(CLASSES, RESPONSE, names=["a", "b"])
    faces = [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]
    np.testing.assert_allclose(faces, [(1, 0, 0), (0, 1, 1), (0, 0, 0)])


def test_classes_of_similar_hue_are_named():
    figure = clear_figure(CLASSES, RESPONSE, names=[f"class {number}" for number in range(14)])
    assert "similar colours: class 0 / class" in legend_texts(figure)[1]


def test_an_empty_picture_says_so():
    figure = clear_figure(CLASSES, np.zeros((4, 4)), names=["a", "b"])
    figure.canvas.draw()
    assert legend_texts(figure) == (["no class: 100.0 % of pixels"], "no class responds anywhere")


def test_one_name_for_all_classes_is_refused():
    with pytest.raises(SettingError, match="one name per class, got the text 'ab'"):
        clear_figure(CLASSES, RESPONSE, names="ab")
