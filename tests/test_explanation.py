"""The frozen result: words, files and pictures."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from xai_med import Explanation, explain
from xai_med.errors import FileFormatError, SettingError
from xai_med.rules import epsilon_plus
from xai_med.testing import NETWORKS, example_input


@pytest.fixture
def make(backend):
    """Explain two images of a tiny network."""

    def explained(network="sigmoid_output", images=2, **asked):
        blueprint = NETWORKS[network]()
        asked.setdefault("target", "all")
        return explain(backend.build(blueprint), example_input(blueprint, images, 0), **asked)

    return explained


def test_nothing_can_be_changed(make):
    found = make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.maps = None
    with pytest.raises(ValueError, match="read-only"):
        found.maps[0] = 1
    with pytest.raises(TypeError):
        found.settings["relu"] = False


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp", "clear"])
def test_all_is_read_back_bit_for_bit(make, tmp_path, method):
    found = make(method=method)
    again = Explanation.load(found.save(tmp_path / "result.npz"))
    for entry in dataclasses.fields(Explanation):
        first, second = getattr(found, entry.name), getattr(again, entry.name)
        if isinstance(first, np.ndarray):
            assert first.dtype == second.dtype
            assert first.tobytes() == second.tobytes()
        elif entry.name == "extras":
            assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in second.items()}
        else:
            assert first == second, entry.name


def test_file_holds_no_pickle(make, tmp_path):
    path = make().save(tmp_path / "result.npz")
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind != "O" for name in file.files)


def test_a_composite_of_one_s_own_is_written_in_words(make, tmp_path):
    found = make(method="lrp", composite=epsilon_plus(epsilon=1e-4))
    again = Explanation.load(found.save(tmp_path / "result.npz"))
    assert again.settings["composite"]["name"] == "epsilon_plus"
    assert again.rules == found.rules


def test_a_damaged_or_foreign_file_is_refused(make, tmp_path):
    path = make().save(tmp_path / "result.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileFormatError, match="not an explanation"):
        Explanation.load(path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(FileFormatError, match="not an explanation"):
        Explanation.load(tmp_path / "other.npz")
    header = np.frombuffer(json.dumps({"format": "xai_med explanation 1"}).encode(), dtype=np.uint8)
    np.savez(tmp_path / "empty.npz", header=header)
    with pytest.raises(FileFormatError, match="lacks a field"):
        Explanation.load(tmp_path / "empty.npz")
    np.savez(tmp_path / "objects.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="not an explanation"):
        Explanation.load(tmp_path / "objects.npz")


def test_an_unknown_ending_is_refused(make, tmp_path):
    with pytest.raises(SettingError, match=r"ends in '\.gif'"):
        make().save(tmp_path / "result.gif")


def test_captions_tell_the_probability_that_the_model_gives(make, backend):
    found = make()
    blueprint = NETWORKS["sigmoid_output"]()
    native = backend.build(blueprint)(backend.tensor(example_input(blueprint, 2, 0)))
    probability = float(backend.tensors.to_numpy(native)[1, 2])
    assert found.captions(1)[2] == f"class 2: {100 * probability:.2f} %"


def test_softmax_probabilities_sum_to_one(make):
    assert np.allclose(make("softmax_output").probabilities.sum(axis=1), 1)


def test_without_a_known_activation_captions_tell_the_logit(make):
    found = make("resnet_like")
    assert found.probabilities is None
    assert found.captions(0)[0] == f"class 0: logit {found.scores[0, 0]:.3g}"


def test_activation_given_by_the_caller_is_used(make):
    found = make("resnet_like", activation="sigmoid")
    assert np.allclose(found.probabilities, 1 / (1 + np.exp(-found.scores)))


def test_negative_answer_of_one_logit_has_the_other_probability(make):
    positive = make("single_logit", target="positive", activation="sigmoid")
    negative = make("single_logit", target="negative", activation="sigmoid")
    assert np.allclose(positive.probabilities + negative.probabilities, 1)
    assert np.allclose(positive.maps, -negative.maps)


def test_summary_names_method_classes_checks_and_source(make, backend):
    text = make(method="lrp").summary()
    for part in ("lrp", "class 2", backend.name, "noted   lost_share", "rule: convolution: z_plus", "source: Bach"):
        assert part in text


def test_provenance_tells_versions_and_precision(make, backend):
    found = make(dtype="float64")
    assert set(found.versions) == {"xai_med", "numpy", backend.name}
    assert found.dtype == "float64"
    assert found.attribution.dtype == np.float64
    assert found.maps.dtype == np.float32


@pytest.mark.parametrize("network", ["vgg_like", "signal", "volume"])
def test_every_dimension_is_drawn(make, tmp_path, network):
    pytest.importorskip("matplotlib")
    path = make(network, method="gradient").save(tmp_path / "picture.png", image=1)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 5000


def test_clear_is_drawn_by_classes_and_by_overlays(make):
    pytest.importorskip("matplotlib")
    found = make(method="clear")
    titles = [axes.get_title() for axes in found.figure().axes]
    assert titles == ["original", "dominant class"]
    assert len([axes for axes in found.figure(overlays=True).axes if "%" in axes.get_title()]) == 3


def test_a_picture_needs_the_image(make):
    pytest.importorskip("matplotlib")
    with pytest.raises(SettingError, match="keep_input=False"):
        make(keep_input=False).figure()
    with pytest.raises(SettingError, match=r"holds 2 \(0\.\.1\)"):
        make().figure(image=2)


def test_notebooks_get_a_picture_or_the_text(make):
    pytest.importorskip("matplotlib")
    assert make()._repr_png_().startswith(b"\x89PNG")
    assert make(keep_input=False)._repr_png_() is None
    assert "Explanation cam" in repr(make())


def test_settings_that_hold_numbers_are_written_and_long_arrays_by_their_fingerprint(tmp_path):
    images = np.random.default_rng(0).normal(size=(1, 2, 6, 6))
    long = np.random.default_rng(1).normal(size=(2, 6, 6))
    for given, expected in (
        ({"patch": (2, 3)}, {"patch": [2, 3]}),
        ({"baseline": np.array([0.5, 1.0])}, {"baseline": [0.5, 1.0]}),
        ({"baseline": long}, {"baseline": {"shape": [2, 6, 6], "dtype": "float64"}}),
    ):
        found = explain(lambda x: x.sum(axis=(2, 3)), images, method="occlusion", **given)
        read = Explanation.load(found.save(tmp_path / "one.npz")).settings
        (name, value), written = *expected.items(), read[next(iter(expected))]
        if isinstance(value, dict):
            assert written.pop("sha256") == hashlib.sha256(long.tobytes()).hexdigest()
        assert written == value, name
