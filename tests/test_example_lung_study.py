"""The lung study: the groups differ where they must, chance is chance, both frameworks say the same."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from examples.lung_study.__main__ import main
from examples.lung_study.analysis import analysed, explained
from examples.lung_study.groups import patient_of, phantom_study, radiograph_study


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("PNEUMONIA/person10_bacteria_43.jpeg", "person10"),
        ("PNEUMONIA/person111_bacteria_535.jpeg", "person111"),
        ("NORMAL/IM-0033-0001-0001.jpeg", "IM-0033"),
        ("NORMAL/NORMAL2-IM-0249-0001.jpeg", "NORMAL2-IM-0249"),
        ("other.png", "other"),
    ],
)
def test_patients_are_read_off_file_names(name, patient):
    assert patient_of(name) == patient


def test_phantoms_of_the_two_groups_differ_only_in_the_consolidation():
    study = phantom_study(20)
    assert len(study.images) == len(study.labels) == len(study.regions) == 20
    assert set(study.labels) == {"normal", "consolidation"}


def test_consolidations_draw_the_maps_into_the_lungs(backend):
    study = phantom_study(24)
    found = analysed(study, explained(study, backend.name, methods=("cam", "lrp")), shifts=39)
    for method in ("cam", "lrp"):
        difference = found.comparisons["enrichment"].find("lungs", method=method)
        assert difference.means[0] > 1.5 > difference.means[1]
        assert difference.rank_biserial > 0.8
        assert difference.p_adjusted < 0.05
        sick = [number for number, label in enumerate(study.labels) if label == "consolidation"]
        assert found.chances[method].p_value("lungs", images=sick) == pytest.approx(1 / 40)
        assert np.nanmean(found.chances[method].shifted) == pytest.approx(1, abs=0.15)


def test_both_frameworks_find_the_same_in_forty_radiographs(shared):
    study = radiograph_study(shared / "data")
    assert (study.labels.count("normal"), study.labels.count("pneumonia")) == (20, 20)
    found = []
    for framework in ("torch", "paddle"):
        pytest.importorskip(framework)
        found.append(analysed(study, explained(study, framework, methods=("cam", "grad_cam")), shifts=19))
    for method, normal, sick in (("cam", 0.40, 0.98), ("grad_cam", 0.47, 0.99)):
        for each in found:
            difference = each.comparisons["enrichment"].find("lungs", method=method)
            assert difference.means == pytest.approx((normal, sick), abs=0.006)
            assert difference.rank_biserial == pytest.approx(-0.69, abs=0.006)


def test_the_command_prints_draws_and_warns(tmp_path, capsys, backend):
    main(["--phantoms", "16", "--frameworks", backend.name, "--picture", str(tmp_path / "study.png")])
    said = capsys.readouterr().out
    assert "consolidation (chance)" in said
    assert "tests are not independent" in said
    assert (tmp_path / "study.png").stat().st_size > 10_000
