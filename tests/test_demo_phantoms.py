import json
from importlib import resources

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import rankdata

from xai_med.blueprints.weights import weights_of
from xai_med.demo.network import FEATURES, INPUT_SHAPE, WEIGHTS_FILE, architecture, demo_blueprint
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.errors import SettingError

SEED = 11
COUNT = 60


@pytest.fixture(scope="module")
def drawn():
    return phantoms(COUNT, seed=SEED)


@pytest.fixture(scope="module")
def healthy():
    return phantoms(COUNT, seed=SEED, prevalence=0.0)


@pytest.fixture(scope="module")
def unseen():
    return phantoms(400, seed=77)


def test_same_seed_gives_the_same_phantoms(drawn):
    again = phantoms(COUNT, seed=SEED)
    for name in ("images", "labels", "masks", "lungs"):
        np.testing.assert_array_equal(getattr(again, name), getattr(drawn, name))


def test_another_seed_gives_other_phantoms(drawn):
    other = phantoms(COUNT, seed=SEED + 1)
    assert (other.images != drawn.images).any(axis=(1, 2, 3)).all()
    assert (other.labels != drawn.labels).any()


def test_fewer_phantoms_are_a_prefix_of_more(drawn):
    few = phantoms(5, seed=SEED)
    np.testing.assert_array_equal(few.images, drawn.images[:5])
    np.testing.assert_array_equal(few.masks, drawn.masks[:5])


def test_images_are_float32_within_zero_and_one(drawn):
    assert drawn.images.dtype == np.float32
    assert drawn.images.shape == (COUNT, *INPUT_SHAPE)
    assert drawn.images.min() >= 0
    assert drawn.images.max() <= 1


@pytest.mark.parametrize("name", ["images", "labels", "masks", "lungs"])
def test_arrays_are_read_only(drawn, name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(drawn, name)[0] = 0


def test_result_says_names_and_seed(drawn):
    assert drawn.names == FINDINGS == ("nodule", "effusion", "enlarged heart", "consolidation")
    assert drawn.seed == SEED


def test_masks_are_empty_exactly_where_the_finding_is_absent(unseen):
    np.testing.assert_array_equal(unseen.masks.any(axis=(2, 3)), unseen.labels)


@pytest.mark.parametrize("finding", ["nodule", "effusion", "consolidation"])
def test_lung_findings_lie_within_the_lungs(unseen, finding):
    assert not (unseen.masks[:, FINDINGS.index(finding)] & ~unseen.lungs).any()


def test_enlarged_heart_lies_beside_the_lungs(unseen):
    assert not (unseen.masks[:, FINDINGS.index("enlarged heart")] & unseen.lungs).any()


def test_nodules_are_not_hidden_by_other_findings(unseen):
    others = unseen.masks[:, 1] | unseen.masks[:, 2] | unseen.masks[:, 3]
    assert not (unseen.masks[:, 0] & others).any()


@pytest.mark.parametrize(("prevalence", "expected"), [(0.0, False), (1.0, True)])
def test_certain_prevalence_decides_every_label(prevalence, expected):
    assert (phantoms(4, seed=1, prevalence=prevalence).labels == expected).all()


def test_findings_are_as_frequent_as_asked_and_independent(unseen):
    np.testing.assert_allclose(unseen.labels.mean(axis=0), 0.35, atol=0.1)
    correlation = np.corrcoef(unseen.labels.T.astype(float)) - np.eye(len(FINDINGS))
    assert np.abs(correlation).max() < 0.2


@pytest.mark.parametrize("index", range(len(FINDINGS)), ids=FINDINGS)
def test_finding_changes_the_image_within_its_mask_and_hardly_elsewhere(drawn, healthy, index):
    alone = drawn.labels[:, index] & (drawn.labels.sum(axis=1) == 1)
    assert alone.any()
    for case in np.flatnonzero(alone):
        change = np.abs(drawn.images[case, 0] - healthy.images[case, 0])
        mask = drawn.masks[case, index]
        assert change[ndimage.binary_dilation(mask, iterations=4)].sum() > 0.95 * change.sum()
        assert change[mask].mean() > 0.04


def test_two_healthy_draws_of_one_patient_are_equal(drawn, healthy):
    untouched = ~drawn.labels.any(axis=1)
    assert untouched.any()
    np.testing.assert_array_equal(drawn.images[untouched], healthy.images[untouched])


def test_other_sizes_show_the_same_scene(drawn):
    large = phantoms(8, seed=SEED, size=256)
    halved = large.lungs.reshape(8, 128, 2, 128, 2).mean(axis=(2, 4)) > 0.5
    assert (halved == drawn.lungs[:8]).mean() > 0.98


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be an integer of at least 1, got 0"),
        ({"count": 2.0}, "count must be an integer"),
        ({"count": True}, "count must be an integer"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"size": 32}, "size must be an integer of at least 64, got 32"),
        ({"prevalence": 1.5}, "prevalence is a probability, got 1.5"),
        ({"prevalence": float("nan")}, "prevalence is a probability, got nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    settings = {"count": 2, "seed": 0} | arguments
    with pytest.raises(SettingError, match=message):
        phantoms(settings.pop("count"), **settings)


def test_architecture_is_the_same_for_the_same_seed():
    first, second = weights_of(architecture(3)), weights_of(architecture(3))
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key])


def test_architecture_refuses_a_seed_that_is_none():
    with pytest.raises(SettingError, match="seed must be an integer of at least 0, got -1"):
        architecture(-1)


def test_network_is_small_and_its_record_fits():
    folder = resources.files("xai_med.demo")
    record = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    learned = {key: array for key, array in weights_of(demo_blueprint()).items() if "running_" not in key}
    assert record["parameters"] == sum(array.size for array in learned.values()) < 250_000
    assert set(record["test"]["auc"]) == set(FINDINGS)
    assert len((folder / WEIGHTS_FILE).read_bytes()) < 1_000_000


def test_network_has_a_features_layer_and_ends_in_probabilities():
    steps = {step.name: step for step in demo_blueprint().steps}
    assert steps["average"].inputs == (FEATURES,)
    assert list(steps.values())[-1].operation == "sigmoid"


def _torch_scores(blueprint, images):
    torch = pytest.importorskip("torch")
    network = pytest.importorskip("xai_med_torch.blueprint").build(blueprint)
    with torch.no_grad():
        return np.concatenate([network(torch.tensor(part)).numpy() for part in np.array_split(images, 8)])


def _paddle_scores(blueprint, images):
    paddle = pytest.importorskip("paddle")
    network = pytest.importorskip("xai_med_paddle.blueprint").build(blueprint)
    with paddle.no_grad():
        return np.concatenate([network(paddle.to_tensor(part)).numpy() for part in np.array_split(images, 8)])


@pytest.fixture(scope="module", params=[_torch_scores, _paddle_scores], ids=["torch", "paddle"])
def scores(request, unseen):
    return request.param(demo_blueprint(), unseen.images).astype(np.float64)


def test_shipped_network_gives_probabilities(scores):
    assert scores.shape == (400, len(FINDINGS))
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("index", range(len(FINDINGS)), ids=FINDINGS)
def test_shipped_network_finds_what_it_has_not_seen(scores, unseen, index):
    is_present = unseen.labels[:, index]
    present, absent = is_present.sum(), (~is_present).sum()
    rank_sum = rankdata(scores[:, index])[is_present].sum()
    assert (rank_sum - present * (present + 1) / 2) / (present * absent) >= 0.97
