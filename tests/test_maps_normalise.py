import numpy as np
import pytest

from xai_med.errors import DtypeError, NonFiniteError, SettingError, ShapeError
from xai_med.maps.normalise import divide_by_absolute_max, divide_by_max, min_max, sum_to_one

CAM_CLASS_1 = np.array([[0.5, 6.0], [3.0, 0.5]])
ALL = [min_max, divide_by_max, divide_by_absolute_max, sum_to_one]


def test_min_max_of_the_worked_cam():
    result = min_max(CAM_CLASS_1, 2)
    np.testing.assert_allclose(result.values, [[0, 1], [0.4545454545, 0]], atol=1e-9)
    assert not result.constant


def test_relu_then_max_of_the_worked_cam():
    result = divide_by_max(np.maximum(CAM_CLASS_1, 0), 2)
    np.testing.assert_allclose(result.values, [[1 / 12, 1], [0.5, 1 / 12]], atol=1e-15)


def test_absolute_max_keeps_zero_and_signs():
    np.testing.assert_allclose(divide_by_absolute_max([[1.0, -4.0], [0.0, 2.0]], 2).values, [[0.25, -1], [0, 0.5]])


def test_sum_to_one_sums_to_one():
    np.testing.assert_allclose(sum_to_one([1.0, 3.0], 1).values, [0.25, 0.75])


@pytest.mark.parametrize("normalise", ALL)
@pytest.mark.parametrize("factor", [1e-10, 1e-30, 1e10])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_epsilon_eats_a_small_map(normalise, factor, dtype):
    maps = np.random.default_rng(0).random((3, 5, 6)).astype(dtype)
    scaled = normalise((maps * factor).astype(dtype), 2)
    np.testing.assert_allclose(scaled.values, normalise(maps, 2).values, rtol=1e-5, atol=1e-6)
    assert not scaled.constant.any()


@pytest.mark.parametrize("normalise", ALL)
def test_a_zero_map_gives_zeros_and_the_flag_beside_maps_that_do_not(normalise):
    maps = np.stack([np.zeros((2, 3)), np.arange(6.0).reshape(2, 3)])
    result = normalise(maps, 2)
    assert result.constant.tolist() == [True, False]
    assert not result.values[0].any()
    assert result.values[1].any()


def test_a_constant_map_has_no_range():
    result = min_max(np.full((2, 2), 7.0), 2)
    assert result.constant
    assert not result.values.any()


def test_a_map_without_positive_values_has_no_maximum():
    result = divide_by_max([[-1.0, -2.0]], 2)
    assert result.constant
    assert not result.values.any()


def test_maps_are_normalised_each_by_itself_over_the_space_axes_only():
    maps = np.random.default_rng(1).normal(size=(2, 3, 4, 5, 6))
    result = min_max(maps, 3)
    assert result.constant.shape == (2, 3)
    np.testing.assert_array_equal(result.values.min(axis=(2, 3, 4)), 0)
    np.testing.assert_array_equal(result.values.max(axis=(2, 3, 4)), 1)


def test_dtype_stays_and_the_input_is_not_written_to():
    maps = np.arange(4, dtype=np.float32)
    maps.setflags(write=False)
    assert min_max(maps, 1).values.dtype == np.float32


def test_the_result_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        min_max([0.0, 1.0], 1).values[0] = 1.0


@pytest.mark.parametrize(
    ("maps", "space", "error", "text"),
    [
        ([0.0, np.nan], 1, NonFiniteError, r"maps holds 1 values .* first at \(1,\)"),
        ([1j], 1, DtypeError, "real numbers, got dtype complex128"),
        ([0.0], 2, ShapeError, "2 space axes"),
        (np.zeros((2, 0)), 1, ShapeError, "no elements"),
        ([-1.7e308, 1.7e308], 1, NonFiniteError, "too large for float64"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_cannot_be_normalised_is_refused(maps, space, error, text):
    with pytest.raises(error, match=text):
        min_max(maps, space)


def test_a_sum_of_signed_values_is_refused():
    with pytest.raises(SettingError, match="without negative values, the smallest is -1"):
        sum_to_one([2.0, -1.0], 1)
