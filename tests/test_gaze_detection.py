"""Fixations among samples: worked examples, a made scan path, lost eyes, and a brute-force reading."""

import numpy as np
import pytest

from xai_med.errors import SettingError
from xai_med.gaze import Samples, fixations_by_dispersion, fixations_by_velocity, read_samples

ONE = (1.0, 1.0)


def test_the_worked_example_has_two_groups_of_twenty_milliseconds():
    samples = Samples(np.arange(6) / 100, [0, 0.05, 0.10, 5.0, 5.05, 5.10], np.zeros(6))
    assert len(fixations_by_velocity(samples, pixels_per_degree=ONE)) == 0
    found = fixations_by_velocity(samples, pixels_per_degree=ONE, shortest_s=0.02)
    assert found.x.tolist() == pytest.approx([0.05, 5.05])
    assert found.duration_s.tolist() == pytest.approx([0.02, 0.02])


def scan_path():
    """Three rests of 300, 200 and 400 ms at 500 Hz, with jumps of 20 ms between, and noise of 0.05 degrees."""
    random = np.random.default_rng(0)
    places = [(2.0, 3.0, 150), (9.0, 3.0, 100), (9.0, 8.0, 200)]
    x, y = [], []
    for number, (px, py, count) in enumerate(places):
        if number:
            steps = np.linspace(0, 1, 12)[1:-1]
            x += list(x[-1] + steps * (px - x[-1]))
            y += list(y[-1] + steps * (py - y[-1]))
        x += list(px + 0.004 * random.normal(size=count))
        y += list(py + 0.004 * random.normal(size=count))
    return Samples(np.arange(len(x)) / 500, x, y), places


@pytest.mark.parametrize("detect", [fixations_by_velocity, fixations_by_dispersion])
def test_both_find_the_rests_of_a_scan_path(detect):
    samples, places = scan_path()
    found = detect(samples, pixels_per_degree=ONE)
    assert len(found) == 3
    np.testing.assert_allclose(np.stack([found.x, found.y], 1), [place[:2] for place in places], atol=0.2)
    np.testing.assert_allclose(found.duration_s, [place[2] / 500 for place in places], atol=0.03)
    assert (np.diff(found.start_s) > 0).all()


@pytest.mark.parametrize("detect", [fixations_by_velocity, fixations_by_dispersion])
def test_pixels_do_not_matter_but_degrees_do(detect):
    samples, _ = scan_path()
    wide = Samples(samples.time_s, samples.x * 40, samples.y * 20)
    found, expected = detect(wide, pixels_per_degree=(40, 20)), detect(samples, pixels_per_degree=ONE)
    np.testing.assert_allclose(found.x / 40, expected.x)
    np.testing.assert_allclose(found.duration_s, expected.duration_s)


@pytest.mark.parametrize("detect", [fixations_by_velocity, fixations_by_dispersion])
def test_a_blink_divides_a_fixation(detect):
    x = np.full(400, 2.0)
    x[180:220] = np.nan
    found = detect(Samples(np.arange(400) / 1000, x, np.full(400, 1.0)), pixels_per_degree=ONE)
    assert found.duration_s.tolist() == pytest.approx([0.179, 0.179])
    assert found.start_s.tolist() == pytest.approx([0, 0.22])


def test_groups_close_in_time_and_place_are_one():
    x = np.concatenate([np.full(100, 2.0), [3.0], np.full(100, 2.0)])
    samples = Samples(np.arange(201) / 1000, x, np.zeros(201))
    assert len(fixations_by_velocity(samples, pixels_per_degree=ONE)) == 1
    assert len(fixations_by_velocity(samples, pixels_per_degree=ONE, join_within_s=0)) == 2


def brute_dispersion(samples, dispersion, shortest):
    """I-DT as the paper prints it, with lists."""
    points = list(zip(samples.time_s, samples.x, samples.y, strict=True))
    found = []
    while points:
        window = []
        while points[len(window) :] and (not window or window[-1][0] - window[0][0] < shortest - 1e-9):
            window.append(points[len(window)])
        if window[-1][0] - window[0][0] < shortest - 1e-9:
            break
        spread = lambda rows: sum(max(axis) - min(axis) for axis in list(zip(*rows, strict=True))[1:])  # noqa: E731
        if spread(window) > dispersion:
            points.pop(0)
            continue
        while len(window) < len(points) and spread([*window, points[len(window)]]) <= dispersion:
            window.append(points[len(window)])
        found.append((np.mean([row[1] for row in window]), window[-1][0] - window[0][0]))
        points = points[len(window) :]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_dispersion_is_the_papers_algorithm(seed):
    random = np.random.default_rng(seed)
    steps = random.normal(size=(60, 2)) * random.choice([0.05, 2.0], size=(60, 1), p=[0.85, 0.15])
    x, y = steps.cumsum(axis=0).T
    samples = Samples(np.arange(60) / 50, x, y)
    found = fixations_by_dispersion(samples, pixels_per_degree=ONE)
    expected = brute_dispersion(samples, 1.0, 0.1)
    assert list(zip(found.x, found.duration_s, strict=True)) == [pytest.approx(each) for each in expected]


def test_an_eye_that_was_never_seen_has_no_fixation():
    samples = Samples(np.arange(5), np.full(5, np.nan), np.full(5, np.nan))
    assert len(fixations_by_velocity(samples, pixels_per_degree=ONE)) == 0
    assert len(fixations_by_dispersion(samples, pixels_per_degree=ONE)) == 0


def test_settings_out_of_range_are_refused():
    samples, _ = scan_path()
    with pytest.raises(SettingError, match="threshold_deg_s is above 0"):
        fixations_by_velocity(samples, pixels_per_degree=ONE, threshold_deg_s=0)
    with pytest.raises(SettingError, match="pixels_per_degree is above 0"):
        fixations_by_dispersion(samples, pixels_per_degree=(0, 1))


def test_samples_are_read_with_lost_eyes(tmp_path):
    path = tmp_path / "samples.tsv"
    path.write_text("timestamp\tgaze_x\tgaze_y\n0\t1\t2\n10\t\t\n20\t3\tnan\n")
    samples = read_samples(path, seconds=0.001)
    assert samples.time_s.tolist() == pytest.approx([0, 0.01, 0.02])
    assert samples.is_seen.tolist() == [True, False, False]


@pytest.mark.parametrize("find", [fixations_by_velocity, fixations_by_dispersion])
def test_samples_that_a_tracker_left_out_are_not_a_long_look(find):
    time = np.concatenate([np.arange(0, 0.15, 0.01), 5 + np.arange(0, 0.15, 0.01)])
    samples = Samples(time, np.full(time.size, 10.0), np.full(time.size, 20.0))
    found = find(samples, pixels_per_degree=(10.0, 10.0))
    assert len(found) == 2
    np.testing.assert_allclose(found.duration_s, 0.14)
    whole = find(samples, pixels_per_degree=(10.0, 10.0), largest_gap_s=6.0)
    assert len(whole) == 1
    slow = Samples(np.arange(0, 3, 0.1), np.full(30, 10.0), np.full(30, 20.0))  # ten samples a second are not gaps
    assert len(find(slow, pixels_per_degree=(10.0, 10.0))) == 1
