"""How few pixels hold a map: definitions written as loops, limits, and maps that hold nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import NonFiniteError, ShapeError
from xai_med.metrics import complexity, sparseness

MAPS = st.lists(st.floats(-100, 100), min_size=1, max_size=30).filter(lambda each: any(abs(x) > 1e-3 for x in each))


def slow_gini(values):
    """One less twice the weighed shares, as Chalasani et al. print it."""
    sizes = sorted(abs(value) for value in values)
    count, total = len(sizes), sum(sizes)
    return 1 - 2 * sum(size / total * (count - rank + 0.5) / count for rank, size in enumerate(sizes, start=1))


def gini_of_pairs(values):
    """Mean difference of two pixels as a share of twice the mean."""
    sizes = [abs(value) for value in values]
    return sum(abs(a - b) for a in sizes for b in sizes) / (2 * len(sizes) * sum(sizes))


@settings(deadline=None)
@given(values=MAPS)
def test_the_gini_index_is_that_of_two_printed_definitions(values):
    assert sparseness(values) == pytest.approx(slow_gini(values), abs=1e-9)
    assert sparseness(values) == pytest.approx(gini_of_pairs(values), abs=1e-9)


@settings(deadline=None)
@given(values=MAPS)
def test_complexity_is_the_entropy_of_shares(values):
    sizes = [abs(value) for value in values]
    shares = [size / sum(sizes) for size in sizes]
    assert complexity(values) == pytest.approx(-sum(p * math.log(p) for p in shares if p > 0), abs=1e-9)


@settings(deadline=None)
@given(values=MAPS, scale=st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300), seed=st.integers(0, 100))
def test_neither_depends_on_scale_sign_or_place(values, scale, seed):
    moved = np.random.default_rng(seed).permutation(values) * (scale / 1e3)
    assert sparseness(moved) == pytest.approx(sparseness(values), abs=1e-7)
    assert complexity(moved) == pytest.approx(complexity(values), abs=1e-7)


@pytest.mark.parametrize("shape", [(12,), (3, 4), (2, 3, 2)])
def test_limits(shape):
    one = np.zeros(shape)
    one.flat[5] = -3
    assert sparseness(one) == pytest.approx(1 - 1 / 12)
    assert complexity(one) == 0
    assert sparseness(np.full(shape, -2.0)) == pytest.approx(0)
    assert complexity(np.full(shape, -2.0)) == pytest.approx(math.log(12))


def test_a_map_of_zeros_has_neither():
    assert math.isnan(sparseness(np.zeros((3, 4))))
    assert math.isnan(complexity(np.zeros((3, 4))))
    for measure in (sparseness, complexity):
        with pytest.raises(ShapeError, match="no pixels"):
            measure(np.zeros((0, 4)))
        with pytest.raises(NonFiniteError, match="NaN"):
            measure([1, np.nan])
