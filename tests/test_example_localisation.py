"""The localisation example: published numbers of the haemorrhage network, the same in both frameworks."""

import json

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")

from examples.localisation import cases
from examples.localisation.__main__ import main, maps_of, run
from examples.localisation.judge import judged, metrics
from examples.real.models import statement


@pytest.fixture(scope="module")
def haemorrhages(shared):
    return cases._haemorrhages(shared / "data")


def test_cam_of_the_haemorrhage_network_is_where_the_reference_says(haemorrhages, shared, backend):
    reference = statement(shared / "data", "haemorrhage_vgg64")["localisation_reference"]
    found = run(haemorrhages, backend.name, methods=("cam",))["cam"]
    assert found["peak in finding"].mean == pytest.approx(reference["pointing_hit"])
    assert found["peak nearer than 4 px"].mean == pytest.approx(reference["pointing_hit_within_4px"])
    assert found["pixel AUC"].mean == pytest.approx(reference["mean_pixel_auc"], abs=5e-4)
    assert found["pixel AUC"].images == 100


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp", "clear"])
def test_both_frameworks_judge_every_method_alike(haemorrhages, method):
    found = []
    for framework in ("torch", "paddle"):
        pytest.importorskip(framework)
        maps = maps_of(haemorrhages.build(framework), haemorrhages, method)
        found.append(judged(maps, haemorrhages.masks, tolerance_px=4.0))
    for title in metrics(tolerance_px=4.0):
        assert found[0][title].mean == pytest.approx(found[1][title].mean, abs=0.011), title  # one image of a hundred


def test_a_map_of_the_finding_itself_is_judged_perfect_and_noise_is_not():
    masks = np.zeros((5, 12, 12), bool)
    for number in range(5):
        masks[number, number : number + 4, 3:7] = True
    perfect = judged(masks.astype(np.float32), masks, tolerance_px=2.0)
    assert {title: each.mean for title, each in perfect.items() if title != "share / area"} == {
        title: 1.0 for title in perfect if title != "share / area"
    }
    assert perfect["share / area"].mean == pytest.approx(9)
    noise = judged(np.random.default_rng(0).random(masks.shape), masks, tolerance_px=2.0)
    assert noise["share / area"].mean == pytest.approx(1, abs=0.2)
    assert noise["pixel AUC"].mean == pytest.approx(0.5, abs=0.1)


def test_phantoms_are_judged_by_every_method(tmp_path, capsys, backend):
    main(["--framework", backend.name, "--phantoms", "12", "--output", str(tmp_path / "numbers.json")])
    said = capsys.readouterr().out
    assert said.count("trained in") == 4
    numbers = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["phantoms: nodule"]["cam"]["pixel AUC"]["mean"] > 0.9
    assert set(numbers["phantoms: nodule"]) == {
        "cam", "grad_cam", "gradient", "lrp", "clear", "the middle", "noise"
    }  # fmt: skip


def test_all_real_cases_can_be_made(shared):
    made = cases.real_cases(shared / "data")
    assert [case.masks.shape for case in made] == [(100, 64, 64), (7, 96, 96), (3, 128, 128), (3, 128, 128)]
    assert all(case.masks.any(axis=(1, 2)).all() for case in made)
    assert all(case.images.shape[2:] == case.masks.shape[1:] for case in made)
