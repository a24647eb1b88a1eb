"""The gaze-supervision example: the tag gives answers away, gaze teaches the network to look, both frameworks alike."""

import json

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="tqdm is not installed")

from examples.gaze_supervision.__main__ import PLANS, build, fit, main, measured, table
from examples.gaze_supervision.learner import Plan
from examples.gaze_supervision.phantoms_with_tag import TAG, draw

FRAMEWORKS = ("torch", "paddle")
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # said by Paddle's batch norm


def test_the_tag_goes_with_the_label_as_often_as_told():
    biased, unbiased = draw(600, seed=0, agreement=0.97), draw(600, seed=1, agreement=0.5)
    assert (biased.is_tagged == biased.labels).mean() == pytest.approx(0.97, abs=0.02)
    assert (unbiased.is_tagged == unbiased.labels).mean() == pytest.approx(0.5, abs=0.06)
    corner = unbiased.images[:, 0, -TAG - 2 : -2, 2 : TAG + 2]
    np.testing.assert_array_equal((corner == 1).all(axis=(1, 2)), unbiased.is_tagged)


def test_gaze_is_simulated_for_the_share_told_and_mostly_on_the_finding():
    cases = draw(400, seed=2, agreement=0.5, gaze_share=0.5)
    is_positive = cases.labels > 0
    assert not cases.has_gaze[~is_positive].any()
    assert cases.has_gaze[is_positive].mean() == pytest.approx(0.5, abs=0.08)
    np.testing.assert_array_equal(cases.gaze.any(axis=(1, 2)), cases.has_gaze)
    looked = np.flatnonzero(cases.has_gaze)
    peaks = [cases.gaze[number].argmax() for number in looked]
    on_finding = [cases.masks[number].ravel()[peak] for number, peak in zip(looked, peaks, strict=True)]
    assert np.mean(on_finding) > 0.9


@pytest.mark.parametrize("plan", PLANS)
def test_the_first_steps_are_the_same_in_both_frameworks(plan):
    cases = draw(32, seed=3, agreement=0.97)
    losses = []
    for framework in FRAMEWORKS:
        pytest.importorskip(framework)
        learner = build(framework, PLANS[plan], seed=0)
        losses.append([learner.step(cases.images, cases.labels, cases.gaze, cases.has_gaze) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)


def test_images_without_gaze_are_trained_on_their_labels(backend):
    cases = draw(16, seed=4, agreement=0.97)
    nobody = np.zeros(16, bool)
    with_plan, without = (build(backend.name, plan, seed=0) for plan in (PLANS["and gaze on CAM"], Plan()))
    assert with_plan.step(cases.images, cases.labels, cases.gaze, nobody) == pytest.approx(
        without.step(cases.images, cases.labels, cases.gaze, nobody)
    )


def test_gaze_makes_the_network_look_at_the_finding(backend):
    train, test = draw(320, seed=5, agreement=0.97), draw(160, seed=6, agreement=0.5)
    found = {}
    for name in ("labels alone", "and gaze on CAM"):
        learner = build(backend.name, PLANS[name], seed=0)
        fit(learner, Plan(epochs=4), train, seed=0, title=name)
        found[name] = measured(learner, test)
    assert found["and gaze on CAM"]["mass"] > found["labels alone"]["mass"] + 0.1


def test_the_command_prints_a_table_and_writes_its_numbers(tmp_path, capsys, backend):
    output = tmp_path / "numbers.json"
    main(["--framework", backend.name, "--seeds", "2", "--epochs", "1", "--train", "48", "--test", "40",
          "--output", str(output)])  # fmt: skip
    written = json.loads(output.read_text(encoding="utf-8"))
    assert [len(found) for found in written["rows"].values()] == [2, 2, 2]
    assert capsys.readouterr().out.strip() == table(written["rows"], backend.name)
