"""The CLEAR studies: strong features carry the decision, boxes hold lesions, both frameworks train alike."""

from functools import cache

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("tqdm", reason="tqdm is not installed")

from examples.clear.__main__ import main
from examples.clear.attentive import boxes_with_lesions, most_attentive
from examples.clear.digits import PUBLISHED, experiment, mnist, random_features, small_digits, strong_features, table
from examples.clear.fundus import GRADES, draw, retina
from examples.clear.network import Plan
from examples.clear.training import Labelled, predicted, trained
from examples.real.images import fundus_photographs, haemorrhage_patches
from examples.real.models import haemorrhage_vgg64
from xai_med import explain

FRAMEWORKS = ("torch", "paddle")
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # said by Paddle's batch norm


@pytest.fixture(scope="module")
def digits():
    return small_digits()


@pytest.fixture
def network(backend):
    return _trained(backend.name)


@cache
def _trained(framework):
    train, _ = small_digits()
    return trained(train, 10, framework, Plan(epochs=6, batch_size=16, learning_rate=4e-3))


def test_published_figures_are_the_papers():
    assert tuple(PUBLISHED.values()) == (0.9926, 0.7989, 0.4345)


def test_decisions_need_the_strong_features_more_than_other_ink(network, digits, backend):
    _, test = digits
    found = experiment(network, test, backend.name)
    full, strong, without, control = found.accuracies.values()
    assert full > 0.9
    assert full > control > without + 0.15  # what CLEAR names matters more than as much other ink
    assert strong < full
    assert 0 < found.kept < 1
    np.testing.assert_array_equal(found.is_right, predicted(network, test.images, backend.name) == test.labels)
    assert "43.45 %" in table(found)


def test_strong_features_are_where_the_true_class_responds(network, digits):
    _, test = digits
    few = Labelled(test.images[:4], test.labels[:4])
    strong = strong_features(network, few)
    for number, label in enumerate(few.labels):
        response = explain(network, few.images, method="clear", target=int(label)).maps[number, 0]
        np.testing.assert_array_equal(strong[number, 0], response > 0.2 * response.max())


def test_the_control_takes_as_much_other_ink_where_there_is_some():
    ink = np.zeros((2, 1, 3, 3), bool)
    ink[0, 0, 0], ink[0, 0, 1] = True, True
    ink[1, 0, 2] = True
    strong = np.zeros_like(ink)
    strong[0, 0, 0, :2] = True
    strong[1, 0, 2] = True
    control = random_features(strong, ink, seed=0)
    assert control[0].sum() == 2
    assert not (control[0] & strong[0]).any()
    assert not (control & ~ink).any()
    np.testing.assert_array_equal(control[1], strong[1])  # nothing else is left


def test_both_frameworks_begin_alike(digits):
    losses = []
    train, _ = digits
    for framework in FRAMEWORKS:
        pytest.importorskip(framework)
        module = pytest.importorskip(f"examples.clear.{framework}_training")
        steps = module.train(train.images, train.labels, 10, Plan(epochs=1))
        losses.append([next(steps)[0] for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)


def test_nothing_to_train_on_is_an_error(digits, backend):
    train, _ = digits
    with pytest.raises(ValueError, match="at least one epoch"):
        trained(train, 10, backend.name, Plan(epochs=0))


def test_a_lesion_decides_the_grade_and_lies_on_the_retina():
    drawn = draw(40, seed=0)
    assert drawn.images.shape == (40, 3, 64, 64)
    assert drawn.images.min() >= 0
    assert drawn.images.max() <= 1
    np.testing.assert_array_equal(np.bincount(drawn.grades), [8] * len(GRADES))
    np.testing.assert_array_equal(drawn.masks.any(axis=(1, 2)), drawn.grades > 0)
    assert not (drawn.masks & ~retina()).any()


class Found:
    """A result whose two classes dominate as told."""

    scores = np.array([[0.0, 1.0]])

    def __init__(self, dominant, response):
        self.extras = {"dominant_class": dominant[None], "dominant_response": response[None]}


def test_the_box_holds_the_strongest_place_of_the_predicted_class():
    dominant, response = np.ones((8, 8), int), np.zeros((8, 8))
    response[1:3, 2:5] = 0.8
    response[1, 2] = 1.0
    response[6, 6] = 0.9  # as strong, elsewhere
    response[4, 4], dominant[4, 4] = 5.0, 0  # stronger, of the other class
    box = most_attentive(Found(dominant, response), 0)
    assert (box.x, box.y, box.width, box.height) == (2, 1, 3, 2)
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 2, 4] = True
    hits = boxes_with_lesions(Found(dominant, response), masks, np.ones((8, 8), bool))
    assert hits.boxed.mean == 1
    assert 0 < hits.chance < 0.3


def test_no_box_where_no_place_speaks_for_the_predicted_class():
    assert most_attentive(Found(np.zeros((4, 4), int), np.ones((4, 4))), 0) is None


def test_boxes_of_unseen_patches_hold_haemorrhages_in_both_frameworks(shared, backend):
    patches, labels, masks = haemorrhage_patches(shared / "data")
    chosen = labels == 1
    network = backend.build(haemorrhage_vgg64(shared / "data"))
    found = explain(network, patches[chosen], method="clear", target="all", class_names=("none", "haemorrhage"))
    hits = boxes_with_lesions(found, masks[chosen], np.ones((64, 64), bool))
    assert hits.boxed.mean > hits.chance + 0.2


def test_whole_photographs_are_enhanced_as_the_patches_were(shared):
    found = fundus_photographs(shared / "data")
    assert found.images.shape == (5, 3, 712, 1072)
    np.testing.assert_array_equal(found.masks.any(axis=(1, 2)), [True, True, True, False, False])
    patches, _, _ = haemorrhage_patches(shared / "data")
    retina = found.colours.sum(axis=3) > 90
    for image, shown in zip(found.images, retina, strict=True):
        for channel, patch in zip(image, patches.transpose(1, 0, 2, 3), strict=True):
            assert abs(channel[shown].mean() - patch.mean()) < 0.5
            assert 0.5 < channel[shown].std() / patch.std() < 2


def test_digits_are_read_from_a_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "few.npz", x_train=pixels, y_train=np.arange(6), x_test=pixels[:2], y_test=np.arange(2))
    train, test = mnist(tmp_path / "few.npz")
    assert train.images.shape == (6, 1, 28, 28)
    np.testing.assert_allclose(test.images[:, 0], pixels[:2] / 255, rtol=1e-6)


@pytest.mark.parametrize("study", [["digits"], ["grades", "--train", "100", "--test", "20"]])
def test_the_commands_print_and_draw(study, tmp_path, capsys, backend):
    main([*study, "--epochs", "1", "--framework", backend.name, "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "published" in printed or "most attentive" in printed
    (picture,) = tmp_path.glob("*.png")
    assert picture.stat().st_size > 20_000
