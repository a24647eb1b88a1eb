"""Do groups differ: the notebook's printed p-values, corrections by hand, effects by counting, honest failure."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from xai_med.errors import RegionError, SettingError, ShapeError
from xai_med.regions import (
    SEVERITY,
    Finding,
    Protocol,
    RegionScores,
    align_with_grades,
    chance_level,
    compare_groups,
    grid,
    score_regions,
)
from xai_med.regions.corrections import bonferroni, holm
from xai_med.regions.effects import cohen_d, rank_biserial
from xai_med.regions.group_tests import mann_whitney

THIRDS = ("left", "middle", "right")


def scores_of(table, *, kind="mean"):
    """Region scores of one class, from an (N, R) table."""
    table = np.asarray(table, dtype=float)
    names = THIRDS[: table.shape[1]]
    targets = (("pneumonia",),) * len(table)
    return RegionScores(table[:, None], kind, "positive", names, targets, np.full(table.shape, 1 / table.shape[1]))


@pytest.fixture
def notebook(shared: Path):
    """Scores and labels that the chest notebook printed."""
    text = (shared / "reference/region_scores_notebook.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    return scores_of([[float(row[name]) for name in THIRDS] for row in rows]), [int(row["label"]) for row in rows]


def test_the_notebooks_printed_p_values_are_reproduced(notebook):
    scores, labels = notebook
    found = compare_groups(scores, labels, protocol="thirds", bootstrap=0)
    assert found.names == ("0", "1")
    left, middle, right = found
    assert left.test == "Student's t"
    assert left.p_value == pytest.approx(0.27663, abs=5e-6)
    assert left.statistic == pytest.approx(-1.1038, abs=5e-5)
    assert middle.p_value == pytest.approx(0.18058, abs=5e-6)
    assert right.p_value == pytest.approx(0.0013486, abs=5e-8)
    assert (middle.statistic, right.statistic) == (150, 81)
    assert [each.is_significant for each in found] == [False, False, True]
    pre_tests = {
        "left": (".62906", ".53931", ".26121"),
        "middle": (".02091", ".15790", ".00274"),
        "right": (".37111", ".82303", ".03359"),
    }
    for each in found:
        printed = [float(word) for word in each.note.replace(",", " ").split() if word[0].isdigit()]
        assert printed == pytest.approx([float(value) for value in pre_tests[each.region]], abs=1.5e-5)


def test_effects_of_the_notebook(notebook):
    scores, labels = notebook
    found = compare_groups(scores, labels, bootstrap=0)
    assert [each.statistic for each in found] == [151, 150, 81]
    assert [round(each.cohen_d, 3) for each in found] == [-0.349, -0.635, -1.228]
    assert [(1 + each.rank_biserial) / 2 for each in found] == pytest.approx([0.3775, 0.375, 0.2025])
    assert [each.means[0] for each in found] == pytest.approx([0.1929, 0.2277, 0.1424], abs=5e-5)
    assert [each.means[1] for each in found] == pytest.approx([0.2171, 0.2819, 0.2085], abs=5e-5)


def test_the_notebooks_one_finding_is_mostly_of_the_maps_strength(notebook):
    scores, labels = notebook
    parts = scores.values[:, 0] * np.array([74, 74, 76])
    shares = scores_of(parts / parts.sum(axis=1, keepdims=True), kind="share")
    found = compare_groups(shares, labels, protocol=Protocol("ours", "mann_whitney", "none", 0.05 / 3, per_method=True))
    assert [each.p_value for each in found] == pytest.approx([0.2977, 0.4570, 0.0275], abs=5e-5)
    assert not any(each.is_significant for each in found)
    total = scores_of(scores.values[:, 0].sum(axis=1, keepdims=True))
    assert next(iter(compare_groups(total, labels, bootstrap=0))).p_value == pytest.approx(0.0499, abs=5e-5)


def test_exact_and_approximate_mann_whitney():
    assert mann_whitney(np.array([1.0, 2, 3]), np.array([4.0, 5, 6])).p_value == pytest.approx(0.1)
    assert "exact" in mann_whitney(np.array([1.0, 2, 3]), np.array([4.0, 5, 6])).name
    assert mann_whitney(np.array([1.0, 2, 3]), np.array([3.0, 5, 6])).name.endswith("exact with ties")


def test_exact_mann_whitney_is_the_share_of_all_divisions_as_extreme():
    from itertools import combinations

    first, second = np.array([0.3, 1.1, 2.4]), np.array([0.9, 2.2, 3.1, 4.0])
    values = np.concatenate([first, second])

    def u_of(places):
        others = [place for place in range(7) if place not in places]
        return sum(values[a] > values[b] for a in places for b in others)

    centre = 3 * 4 / 2
    observed = abs(u_of((0, 1, 2)) - centre)
    extreme = [abs(u_of(places) - centre) >= observed for places in combinations(range(7), 3)]
    assert mann_whitney(first, second).p_value == pytest.approx(np.mean(extreme))


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert bonferroni(np.array([0.01, 0.04, 0.5])).tolist() == pytest.approx([0.03, 0.12, 1.0])
    found = holm(np.array([0.01, np.nan, 0.03]))
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.03])
    assert np.isnan(found[1])


def test_effects_by_counting():
    first, second = np.array([1.0, 2, 5]), np.array([2.0, 3])
    wins = sum(int(a > b) - int(a < b) for a in first for b in second)
    assert rank_biserial(first, second) == pytest.approx(wins / 6)
    u = stats.mannwhitneyu(first, second).statistic
    assert rank_biserial(first, second) == pytest.approx(2 * u / 6 - 1)
    assert cohen_d(np.array([1.0, 3]), np.array([4.0, 6])) == pytest.approx(-3 / np.sqrt(2))


def random_scores(seed, count=20):
    return scores_of(np.random.default_rng(seed).random((count, 3)))


def test_all_tests_of_all_methods_are_corrected_together():
    labels = [0, 1] * 10
    methods = {"cam": random_scores(0), "lrp": random_scores(1)}
    found = compare_groups(methods, labels, bootstrap=0)
    assert [each.p_adjusted for each in found] == pytest.approx(holm([each.p_value for each in found]).tolist())
    apart = compare_groups(methods, labels, protocol="thirds", bootstrap=0)
    assert [each.p_adjusted for each in apart][:3] == pytest.approx(
        bonferroni([each.p_value for each in apart][:3]).tolist()
    )
    assert any("not independent" in caveat for caveat in found.caveats)
    assert found.find("left", method="lrp").method == "lrp"
    with pytest.raises(SettingError, match="2 comparisons"):
        found.find("left")


def test_patients_with_many_images_do_not_make_a_difference_significant():
    random = np.random.default_rng(10)
    patients = np.repeat(np.arange(8), 20)
    table = np.repeat(random.normal(size=8), 20) + 0.01 * random.normal(size=160)
    labels = (patients >= 4).astype(int)
    naive = next(iter(compare_groups(scores_of(table[:, None]), labels, bootstrap=0)))
    fair = next(iter(compare_groups(scores_of(table[:, None]), labels, groups=patients, bootstrap=200)))
    assert naive.p_value < 1e-6
    assert fair.p_value > 0.02
    assert fair.test == "permutation of 8 patients, rank-biserial"
    assert fair.interval[0] <= fair.rank_biserial <= fair.interval[1]


def test_permutation_of_patients_with_one_image_is_the_exact_test():
    table, labels = np.array([0.3, 1.1, 2.4, 0.9, 2.2, 3.1, 4.0]), [0, 0, 0, 1, 1, 1, 1]
    alone = next(iter(compare_groups(scores_of(table[:, None]), labels, groups=range(7), bootstrap=0)))
    assert alone.p_value == pytest.approx(mann_whitney(table[:3], table[3:]).p_value)


def test_the_interval_covers_the_true_effect_about_as_often_as_it_says():
    hits = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        table = np.concatenate([random.normal(0.5, 1, 25), random.normal(0, 1, 25)])[:, None]
        low, high = next(iter(compare_groups(scores_of(table), [0] * 25 + [1] * 25, bootstrap=300))).interval
        hits += low <= 2 * stats.norm.cdf(0.5 / np.sqrt(2)) - 1 <= high
    assert hits >= 50


def test_images_without_a_score_are_left_out_and_counted():
    table = np.random.default_rng(0).random((12, 1))
    table[3] = np.nan
    found = next(iter(compare_groups(scores_of(table), [0] * 6 + [1] * 6, bootstrap=0)))
    assert found.counts == (5, 6)
    assert "1 images have no score" in found.note
    kept = np.delete(table[:, 0], 3)
    assert found.p_value == stats.mannwhitneyu(kept[:5], kept[5:], method="exact").pvalue


def test_what_cannot_be_tested_says_why():
    few = next(iter(compare_groups(scores_of(np.random.default_rng(0).random((5, 1))), [0, 0, 1, 1, 1])))
    assert few.test == "none"
    assert "too few scores" in few.note
    equal = next(iter(compare_groups(scores_of(np.ones((8, 1))), [0, 1] * 4)))
    assert "all scores are equal" in equal.note
    assert np.isnan(equal.p_adjusted)
    assert not equal.is_significant


def test_bad_labels_and_patients_are_refused():
    with pytest.raises(SettingError, match="the labels name 3"):
        compare_groups(random_scores(0, 6), [0, 1, 2, 0, 1, 2])
    with pytest.raises(ShapeError, match=r"\(4,\) labels were given for 6 images"):
        compare_groups(random_scores(0, 6), [0, 1, 0, 1])
    with pytest.raises(SettingError, match="has images in both groups"):
        compare_groups(random_scores(0, 6), [0, 1] * 3, groups=["a", "a", "b", "c", "d", "e"])
    with pytest.raises(SettingError, match="protocol is one of"):
        compare_groups(random_scores(0, 6), [0, 1] * 3, protocol="own")


def test_different_explained_classes_are_a_caveat():
    scores = random_scores(0, 6)
    mixed = RegionScores(
        scores.values, "share", "positive", THIRDS, (("a",), ("b",)) * 3, scores.area_shares
    )  # fmt: skip
    assert any("different classes" in caveat for caveat in compare_groups(mixed, [0, 1] * 3).caveats)
    assert any("how strong" in caveat for caveat in compare_groups(scores, [0, 1] * 3).caveats)


def test_random_maps_are_at_the_level_of_chance_and_a_peak_is_above_it():
    random = np.random.default_rng(0)
    maps = random.random((12, 1, 20, 20))
    thirds = grid((20, 20), (1, 3), names=THIRDS)
    assert chance_level(maps, thirds, shifts=99).p_value("left") > 0.05
    maps[:, :, :, :5] += 2
    level = chance_level(maps, thirds, shifts=99)
    observed, by_chance = level.mean("left")
    assert observed > 1.3 * by_chance
    assert by_chance == pytest.approx(1, abs=0.05)
    assert level.p_value("left") == pytest.approx(0.01)
    assert (level.shifted == chance_level(maps, thirds, shifts=99).shifted).all()


def test_a_region_of_everything_is_never_above_chance():
    level = chance_level(np.random.default_rng(0).random((3, 1, 8, 8)), grid((8, 8), (1, 1)), shifts=19)
    assert level.p_value("row 1, column 1") == 1


def test_alignment_is_spearmans_with_summed_severity():
    table = np.random.default_rng(0).random((8, 3))
    findings = [Finding(n, "left", "opacity", SEVERITY["mild"]) for n in (0, 3)]
    findings += [Finding(3, "left", "effusion", 1.0), Finding(5, "middle", "mass", 0.666)]
    left, middle, right = align_with_grades(scores_of(table), findings)
    severity = np.array([0.333, 0, 0, 1.333, 0, 0, 0, 0])
    assert left.correlation == pytest.approx(stats.spearmanr(table[:, 0], severity).statistic)
    assert left.terms == ("effusion", "opacity")
    assert right.note == "the findings are equally severe in all images"
    assert [left.p_adjusted, middle.p_adjusted] == pytest.approx(holm([left.p_value, middle.p_value]).tolist())


def test_findings_that_do_not_fit_are_refused():
    scores = random_scores(0, 4)
    with pytest.raises(ShapeError, match="is of image 4"):
        align_with_grades(scores, [Finding(4, "left", "mass", 1.0)])
    with pytest.raises(RegionError, match="there is no region 'heart'"):
        align_with_grades(scores, [Finding(0, "heart", "mass", 1.0)])
    with pytest.raises(RegionError, match="give 0 to 1"):
        align_with_grades(scores, [Finding(0, "left", "mass", 2.0)])


def test_a_whole_comparison_of_maps():
    maps = np.random.default_rng(1).random((10, 1, 6, 6))
    found = compare_groups(score_regions(maps, grid((6, 6), (1, 3), names=THIRDS), kind="share"), [0, 1] * 5)
    assert [row["region"] for row in found.rows()] == list(THIRDS)
    assert all(low <= high for low, high in (each.interval for each in found))


def test_few_images_in_perfect_order_are_not_certain():
    """Of three images one order in three is as perfect; of six two in 720."""
    for count, expected in ((3, 2 / 6), (4, 2 / 24), (6, 2 / 720)):
        scores = scores_of(np.linspace(0.1, 0.9, count)[:, None])
        findings = [Finding(n, scores.regions[0], "opacity", n / count) for n in range(count)]
        (found,) = align_with_grades(scores, findings)
        assert found.correlation == pytest.approx(1)
        assert found.p_value == pytest.approx(expected)


def test_two_constant_groups_are_no_case_for_students_t():
    table = np.array([0.0] * 3 + [1.0] * 3)[:, None]
    found = next(iter(compare_groups(scores_of(table), [0] * 3 + [1] * 3, protocol="sumer2023", bootstrap=0)))
    assert found.test.startswith("Mann-Whitney")
    by_default = next(iter(compare_groups(scores_of(table), [0] * 3 + [1] * 3, bootstrap=0)))
    assert by_default.test == "Mann-Whitney U, exact with ties"
    assert by_default.p_value == pytest.approx(2 / 20)


def test_several_images_of_too_few_patients_are_not_tested():
    table = np.random.default_rng(0).random((12, 1))
    groups = np.repeat(["a", "b", "c", "d"], 3)
    found = next(iter(compare_groups(scores_of(table), [0] * 6 + [1] * 6, groups=groups)))
    assert found.test == "none"
    assert found.note == "too few patients for a test: 2 and 2"
    with pytest.raises(SettingError, match="unrelated images"):
        compare_groups(scores_of(table), [0] * 6 + [1] * 6, groups=[np.nan, *range(11)])


def test_different_classes_are_told_of_the_score_that_is_compared():
    random = np.random.default_rng(0).random((8, 2, 1))
    targets = (("a", "b"),) * 4 + (("a", "c"),) * 4
    scores = RegionScores(random, "share", "positive", ("r",), targets, np.full((8, 1), 0.5))
    labels = [0] * 4 + [1] * 4
    assert not any("different classes" in each for each in compare_groups(scores, labels, bootstrap=0).caveats)
    assert any("different classes" in each for each in compare_groups(scores, labels, score=1, bootstrap=0).caveats)
