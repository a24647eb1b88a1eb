"""The CheXNet example: every layout of weights arrives at the same network, in either framework."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage", reason="scikit-image is not installed")

from examples.chexnet.__main__ import build, main, random_weights
from examples.chexnet.architecture import FINDINGS, parts
from examples.chexnet.layouts import for_paddle, for_torch, paddle_name, recognise
from examples.chexnet.profiles import PROFILES, prepare
from xai_med import explain
from xai_med.errors import FileFormatError, SettingError
from xai_med.io.weights import read_weights, write_weights

SHARED = Path(__file__).parents[1].parent / "shared"
KERMANY = SHARED / "data" / "models" / "densenet121_kermany96.safetensors"
NIH = SHARED / "data" / "cxr14"


@pytest.fixture(scope="module")
def weights():
    return random_weights(seed=3, classes=4)


def older(weights):
    """As arnoweng/CheXNet and zoogzog/chexnet keep them."""
    names = {}
    for name, array in weights.items():
        old = name.replace(".norm1.", ".norm.1.").replace(".norm2.", ".norm.2.")
        old = old.replace(".conv1.", ".conv.1.").replace(".conv2.", ".conv.2.")
        old = old.replace("classifier.", "classifier.0.")
        names[f"module.densenet121.{old}"] = array
    return names


def published_paddle(weights):
    """As jm12138/Paddle-CheXNet keeps them."""
    converted = for_paddle(weights)
    return {f"densenet121.{name.replace('out.', 'out.0.')}": array for name, array in converted.items()}


LAYOUTS = {
    "torchvision": for_torch,
    "torchvision, with counts of batches": lambda w: {
        **w, **{f"{p.name}.num_batches_tracked": np.array(3) for p in parts(4, 3) if p.kind == "norm"}
    },
    "wrapped": lambda w: {f"module.{name}": array for name, array in w.items()},
    "arnoweng": older,
    "paddle": for_paddle,
    "paddle_chexnet": published_paddle,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_recognised_to_the_bit(weights, layout):
    found = recognise(LAYOUTS[layout](weights))
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_names_are_one_to_one():
    names = [paddle_name(part.name) for part in parts(14, 3)]
    assert len(set(names)) == len(names) == 121 + 121  # 120 convolutions and a linear layer, 121 batch norms


def test_a_square_head_is_transposed_all_the_same():
    """With as many classes as features a shape cannot tell."""
    square = random_weights(seed=4, classes=1024)
    np.testing.assert_array_equal(for_paddle(square)["out.weight"], square["classifier.weight"].T)
    np.testing.assert_array_equal(recognise(for_paddle(square))["classifier.weight"], square["classifier.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("features.norm5.weight"), "1 arrays are missing"),
        (lambda w: w.update(other=np.zeros(3)), "1 are unknown"),
        (lambda w: w.update({"features.norm5.bias": np.zeros(5)}), r"is \(5,\)"),
        (lambda w: w.pop("classifier.weight"), "no 'classifier.weight'"),
        (lambda w: w.update({"module.features.norm5.bias": np.zeros(1024)}), "prefix"),
    ],
    ids=["missing", "surplus", "shape", "head", "twice"],
)
def test_other_weights_are_refused(weights, change, message):
    changed = dict(weights)
    change(changed)
    with pytest.raises(FileFormatError, match=message):
        recognise(changed)


def test_a_paddle_file_without_its_head_is_refused(weights):
    changed = for_paddle(weights)
    del changed["out.weight"]
    with pytest.raises(FileFormatError, match=r"out\.weight"):
        recognise(changed)


@pytest.mark.parametrize("channels", [3, 1])
def test_both_frameworks_give_the_same_probabilities_and_maps(channels):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    weights = random_weights(seed=1, classes=3, channels=channels)
    x = np.random.default_rng(0).standard_normal((2, channels, 96, 64)).astype(np.float32)
    found = {name: explain(build(weights, name), x, method="cam", target="all") for name in ("torch", "paddle")}
    np.testing.assert_allclose(found["torch"].probabilities, found["paddle"].probabilities, atol=2e-5)
    spread = np.ptp(found["torch"].maps)
    assert np.abs(found["torch"].maps - found["paddle"].maps).max() < 1e-5 * spread
    assert found["torch"].all_passed
    assert found["paddle"].all_passed


@pytest.mark.skipif(not KERMANY.is_file(), reason="the trained DenseNet-121 is not beside the repository (../shared)")
def test_trained_weights_go_there_and_back_and_give_the_stated_logits(tmp_path):
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    main(["convert", str(KERMANY), str(tmp_path / "paddle.safetensors"), "--to", "paddle"])
    main(["convert", str(tmp_path / "paddle.safetensors"), str(tmp_path / "torch.safetensors"), "--to", "torch"])
    original, again = recognise(read_weights(KERMANY)), read_weights(tmp_path / "torch.safetensors")
    for name, array in original.items():
        np.testing.assert_array_equal(again[name], array)
    x = np.random.default_rng(0).standard_normal((2, 3, 96, 96)).astype(np.float32)
    with torch.no_grad():
        expected = build(again, "torch")(torch.from_numpy(x)).numpy()
    converted = recognise(read_weights(tmp_path / "paddle.safetensors"))
    with paddle.no_grad():
        found = build(converted, "paddle")(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.skipif(not KERMANY.is_file(), reason="the trained DenseNet-121 is not beside the repository (../shared)")
@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_stated_logits_of_real_radiographs(framework):
    pytest.importorskip(framework)
    import json

    stated = json.loads(KERMANY.with_suffix(".json").read_text(encoding="utf-8"))
    with (SHARED / "data" / "cxr" / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mean, deviation = (np.array(stated["input"][name]).reshape(3, 1, 1) for name in ("mean", "std"))
    images = []
    for number in (0, 1, 20, 21):
        with Image.open(SHARED / "data" / "cxr" / rows[number]["file"]) as image:
            pixels = np.asarray(image.convert("L").resize((96, 96), Image.Resampling.BOX)) / 255
        images.append((np.repeat(pixels[None], 3, axis=0) - mean) / deviation)
    network = build(recognise(read_weights(KERMANY)), framework)
    found = explain(network, np.stack(images).astype(np.float32), method="cam", target="all")
    np.testing.assert_allclose(found.scores, stated["reference_logits"], atol=2e-3)


@pytest.mark.skipif(not NIH.is_dir(), reason="the published montages are not beside the repository (../shared)")
@pytest.mark.parametrize("image", ["00000001_000", "00000001_001", "00000001_002", "00000002_000", "00000003_000"])
def test_preparation_of_the_published_montages_is_exact(image):
    prepared = prepare(NIH / "images" / f"{image}.png", PROFILES["paddle_chexnet"])
    with np.load(NIH / "published_cams.npz") as archive:
        np.testing.assert_array_equal(prepared.shown[..., 0], archive[f"{image}_image224"])


def test_profiles_give_what_their_networks_take():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 500, 3)).astype(np.uint8)
    for name, crops, channels in (("paddle_chexnet", 1, 3), ("arnoweng", 10, 3), ("torchxrayvision", 1, 1)):
        prepared = PROFILES[name].prepare(pixels)
        assert prepared.crops.shape == (crops, channels, 224, 224), name
        assert prepared.shown.shape == (224, 224, 3)
        assert prepared.crops.dtype == np.float32
    ten = PROFILES["arnoweng"].prepare(pixels).crops
    np.testing.assert_array_equal(ten[5], ten[0][:, :, ::-1])
    white = np.full((300, 300, 3), 255, np.uint8)
    assert np.abs(PROFILES["torchxrayvision"].prepare(white).crops - 1024).max() < 1e-3
    assert np.abs(PROFILES["torchxrayvision"].prepare(np.zeros_like(white)).crops + 1024).max() < 1e-3


def test_a_folder_of_radiographs_becomes_montages(tmp_path, capsys):
    pytest.importorskip("torch")
    folder = tmp_path / "in"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "=b.png"):
        Image.fromarray(random.integers(0, 256, (256, 256)).astype(np.uint8)).save(folder / name)
    write_weights(tmp_path / "w.safetensors", random_weights(seed=0))
    settings = ["--weights", str(tmp_path / "w.safetensors"), "--output", str(tmp_path / "out")]
    main(["montage", str(folder), *settings])
    with Image.open(tmp_path / "out" / "a_cam.png") as image:
        assert image.size == (5 * 224, 3 * 224)
    lines = (tmp_path / "out" / "probabilities.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",")[1:] == list(FINDINGS)
    assert [line.split(",")[0] for line in lines[1:]] == ["'=b.png", "a.png"]
    main(["montage", str(folder), *settings, "--style", "honest"])
    with pytest.raises(SettingError, match="14 outputs, 2 names"):
        main(["montage", str(folder), *settings, "--classes", "a,b"])
    with pytest.raises(SettingError, match="3 channels"):
        main(["montage", str(folder), *settings, "--profile", "torchxrayvision"])
    with pytest.raises(FileNotFoundError, match=r"no \.png"):
        main(["montage", str(tmp_path / "out" / ".."), *settings])


def test_without_weights_both_frameworks_agree_on_phantoms(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    main(["try", "--output", str(tmp_path)])
    said = capsys.readouterr().out
    assert float(said.split("differ by ")[1].split(" ")[0]) < 1e-5
    assert (tmp_path / "paddle" / "phantom_1_cam.png").is_file()


def test_the_shorter_side_is_256_for_every_size():
    for height, width in ((392, 392), (784, 392), (392, 784), (1027, 1024)):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        assert PROFILES["arnoweng"].prepare(pixels).crops.shape == (10, 3, 224, 224)


def test_torchxrayvision_mixes_the_edge_with_middle_grey():
    """Its own sequence: scale to -1024..1024, middle square, then resize with 0 beyond the edge."""
    from skimage.transform import resize as reference

    pixels = np.random.default_rng(0).integers(0, 256, (333, 500, 3)).astype(np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    scaled = (2 * (grey.astype(np.float32) / 255.0) - 1.0) * 1024
    start = 500 // 2 - 333 // 2
    expected = reference(scaled[:, start : start + 333][None], (1, 224, 224), mode="constant", preserve_range=True)
    found = PROFILES["torchxrayvision"].prepare(pixels).crops[0]
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_rescaled_probabilities_are_refused_by_name(weights):
    with pytest.raises(FileFormatError, match="op_threshs"):
        recognise({**weights, "op_threshs": np.full(4, 0.1)})


def test_pictures_of_one_stem_do_not_overwrite_each_other(tmp_path):
    pytest.importorskip("torch")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "b.png"):
        Image.fromarray(np.zeros((256, 256), np.uint8)).save(folder / name)
    write_weights(tmp_path / "w.safetensors", random_weights(seed=0))
    main(["montage", str(folder), "--weights", str(tmp_path / "w.safetensors"), "--output", str(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "a.jpg_cam.png", "a.png_cam.png", "b_cam.png"
    ]  # fmt: skip
