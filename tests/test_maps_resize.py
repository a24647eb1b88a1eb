import numpy as np
import pytest
from scipy import ndimage

from xai_med.errors import ShapeError
from xai_med.maps.resize import interpolation_matrix, nearest_matrix, resize


@pytest.mark.parametrize(("align_corners", "expected"), [(False, [0, 0.25, 0.75, 1]), (True, [0, 1 / 3, 2 / 3, 1])])
def test_two_samples_become_four_by_either_convention(align_corners, expected):
    result = resize(np.array([0.0, 1.0]), (4,), align_corners=align_corners)
    np.testing.assert_allclose(result, expected, atol=1e-15)


def test_a_peak_between_two_pixels_falls_to_three_quarters():
    np.testing.assert_allclose(resize(np.array([0.0, 1.0, 0.0]), (6,)), [0, 0.25, 0.75, 0.75, 0.25, 0], atol=1e-15)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("source", "target"), [(1, 5), (7, 224), (9, 4), (5, 1), (6, 6)])
def test_weights_of_each_new_sample_sum_to_one(source, target, align_corners):
    matrix = interpolation_matrix(source, target, align_corners=align_corners)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-14)


def test_weights_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        interpolation_matrix(3, 4)[0, 0] = 1.0


@pytest.mark.parametrize("shape", [(5,), (4, 7), (3, 4, 5)])
def test_half_pixel_agrees_with_scipy_grid_mode(shape):
    values = np.random.default_rng(0).normal(size=shape)
    factors = [3, 2, 4][: len(shape)]
    expected = ndimage.zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resize(values, expected.shape), expected, atol=1e-12)


def test_only_the_trailing_axes_are_resized():
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    result = resize(values, (8, 10))
    assert result.shape == (2, 3, 8, 10)
    np.testing.assert_allclose(result[1, 2], resize(values[1, 2], (8, 10)), atol=1e-14)


def test_centre_of_mass_does_not_shift():
    values = np.zeros((7, 7))
    values[2, 5] = 1.0
    result = resize(values, (70, 70))
    centre = ndimage.center_of_mass(result)
    np.testing.assert_allclose(centre, [2.5 * 10 - 0.5, 5.5 * 10 - 0.5], atol=1e-9)


def test_more_sizes_than_axes_are_refused():
    with pytest.raises(ShapeError, match="3 sizes were given for a tensor of 2 axes"):
        resize(np.zeros((2, 2)), (4, 4, 4))


@pytest.mark.parametrize(("source", "target"), [(1, 3), (2, 82), (3, 7), (7, 224), (9, 4), (5, 5)])
def test_the_nearest_cell_is_the_one_in_which_a_new_cell_begins(source, target):
    values = np.arange(float(source))
    expected = [max(k for k in range(source) if k * target <= place * source) for place in range(target)]
    np.testing.assert_array_equal(resize(values, (target,), nearest=True), expected)


@pytest.mark.parametrize(("source", "target"), [(3, 7), (7, 224), (14, 224), (9, 4), (4, 9)])
def test_blocks_are_those_of_pytorch(source, target):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.nn.functional.interpolate(torch.arange(float(source))[None, None], size=(target,), mode="nearest")
    np.testing.assert_array_equal(resize(np.arange(float(source)), (target,), nearest=True), theirs[0, 0].numpy())


def test_cells_of_no_size_are_refused():
    with pytest.raises(ShapeError, match="at least 1"):
        nearest_matrix(0, 3)
