"""Weights travel through files of either framework unchanged, into the model that they fit and into no other."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xai_med import explain, load_weights, read_weights
from xai_med.errors import FileFormatError, ModelError
from xai_med.io.weights import write_weights
from xai_med.registry import get_backend
from xai_med.testing.networks import NETWORKS, example_input

NETWORK = "resnet_like"  # convolutions, batch norm, a linear head


def model_of(backend, *, seed=0, dtype="float32"):
    """The network, with weights moved a little away from the blueprint's by another seed."""
    model = backend.build(NETWORKS[NETWORK](), dtype=dtype)
    if seed:
        random = np.random.default_rng(seed)
        arrays = {
            name: (array * random.uniform(0.5, 1.5, array.shape)).astype(array.dtype)
            for name, array in state_of(model).items()
            if array.dtype.kind == "f"
        }
        backend.load_weights(model, arrays)
    return model


def state_of(model):
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def saved(backend, model, folder):
    """What the framework's own save function writes."""
    if backend.name == "torch":
        import torch

        torch.save(model.state_dict(), folder / "weights.pt")
        return folder / "weights.pt"
    import paddle

    paddle.save(model.state_dict(), str(folder / "weights.pdparams"))
    return folder / "weights.pdparams"


# ---- right


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_filled_from_a_framework_s_own_file_explains_as_the_one_saved(backend, tmp_path, dtype):
    images = example_input(NETWORKS[NETWORK]())
    source, target = model_of(backend, seed=1, dtype=dtype), model_of(backend, dtype=dtype)
    load_weights(target, saved(backend, source, tmp_path))
    first, second, other = (
        explain(model, images, method="grad_cam", target="all")
        for model in (source, target, model_of(backend, dtype=dtype))
    )
    assert_array_equal(second.maps, first.maps)
    assert_array_equal(second.scores, first.scores)
    assert np.abs(other.maps - first.maps).max() > 1e-3 * np.ptp(first.maps)


def test_a_model_filled_from_safetensors_explains_as_the_one_saved(backend, tmp_path):
    pytest.importorskip("safetensors")
    images = example_input(NETWORKS[NETWORK]())
    source, target = model_of(backend, seed=1), model_of(backend)
    write_weights(tmp_path / "w.safetensors", state_of(source))
    load_weights(target, tmp_path / "w.safetensors")
    assert_array_equal(
        explain(target, images, method="lrp", target="all").maps,
        explain(source, images, method="lrp", target="all").maps,
    )


def test_the_documented_conversion_carries_weights_from_torch_to_paddle(tmp_path):
    for framework in ("torch", "paddle"):
        pytest.importorskip(framework)
    import paddle

    torch_backend, paddle_backend = get_backend("torch"), get_backend("paddle")
    images = example_input(NETWORKS[NETWORK]()).astype("float64")
    source, target = (model_of(one, seed=2, dtype="float64") for one in (torch_backend, paddle_backend))
    arrays = dict(read_weights(saved(torch_backend, source, tmp_path)))
    for name, layer in target.named_sublayers():
        if isinstance(layer, paddle.nn.Linear):
            arrays[f"{name}.weight"] = arrays[f"{name}.weight"].T
    names = {".running_mean": "._mean", ".running_var": "._variance"}
    converted = {}
    for name, array in arrays.items():
        for ending, other in names.items():
            name = name.removesuffix(ending) + other if name.endswith(ending) else name
        if not name.endswith("num_batches_tracked"):
            converted[name] = array
    paddle_backend.load_weights(target, converted)
    first, second = (explain(model, images, method="cam", target="all").maps for model in (source, target))
    assert np.abs(first - second).max() < 1e-6 * np.ptp(first)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_is_read_as_paddle_reads_it(tmp_path, protocol):
    paddle = pytest.importorskip("paddle")
    model = model_of(get_backend("paddle"))
    path = tmp_path / "w.pdparams"
    paddle.save(model.state_dict(), str(path), protocol=protocol)
    found, expected = read_weights(path), paddle.load(str(path), return_numpy=True)
    assert list(found) == list(model.state_dict())
    for name, array in found.items():
        assert_array_equal(array, expected[name])
        assert array.dtype == expected[name].dtype


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4", "<i1", "<i8", "|u1", "|b1"])
def test_arrays_pickled_by_numpy_are_read_as_numpy_reads_them(tmp_path, protocol, kind):
    random = np.random.default_rng(0)
    arrays = {
        "rows": random.normal(0, 20, (3, 4)).astype(kind),
        "columns": np.asfortranarray(random.normal(0, 20, (3, 4))).astype(kind, order="F"),
        "none": np.zeros((0, 3), kind),
        "number": np.float64(3).astype(kind),
    }
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    for name, array in read_weights(path).items():
        assert_array_equal(array, arrays[name])
        assert array.dtype == np.dtype(kind).newbyteorder("=")


def torch_states():
    import torch

    torch.manual_seed(0)
    storage = torch.randn(6, 8)
    numbers = {
        str(dtype).removeprefix("torch."): (20 * storage).to(dtype)
        for dtype in (torch.float16, torch.float32, torch.float64, torch.int8, torch.int64, torch.uint8, torch.bool)
    }
    return numbers | {
        "transposed": storage.T,
        "part": storage[1:5:2, 3:],
        "shared": storage,
        "parameter": torch.nn.Parameter(storage.clone()),
        "number": torch.tensor(3.0),
        "none": torch.zeros(0, 3),
        "last": storage.to(memory_format=torch.contiguous_format)[None].permute(0, 2, 1),
    }


def test_what_torch_saves_is_read_as_torch_s_own_safe_loader_reads_it(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch_states(), tmp_path / "w.pth")
    found, expected = read_weights(tmp_path / "w.pth"), torch.load(tmp_path / "w.pth", weights_only=True)
    assert list(found) == list(expected)
    for name, array in found.items():
        assert_array_equal(array, expected[name].detach().numpy())
        assert array.dtype == expected[name].detach().numpy().dtype


def test_bfloat16_is_read_exactly_from_every_format(tmp_path):
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    values = torch.randn(40, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    torch.save({"w": values}, tmp_path / "w.pt")
    paddle.save({"w": paddle.to_tensor(values.float().numpy()).astype("bfloat16")}, str(tmp_path / "w.pdparams"))
    pytest.importorskip("safetensors.torch").save_file({"w": values}, tmp_path / "w.safetensors")
    for path in tmp_path.iterdir():
        found = read_weights(path)["w"]
        assert found.dtype == np.float32
        assert_array_equal(found, values.float().numpy())


def test_bfloat16_goes_back_into_a_bfloat16_model(backend, tmp_path):
    pytest.importorskip("safetensors")
    source = model_of(backend, dtype="bfloat16")
    expected = {
        name: value.astype("float32").numpy() if backend.name == "paddle" else value.float().numpy()
        for name, value in source.state_dict().items()
    }
    write_weights(tmp_path / "w.safetensors", {n: a for n, a in expected.items() if not n.endswith("tracked")})
    target = model_of(backend, dtype="bfloat16")
    load_weights(target, tmp_path / "w.safetensors")
    for name, value in target.state_dict().items():
        wide = value.astype("float32") if backend.name == "paddle" else value.float()
        assert_array_equal(wide.numpy(), expected[name])


def test_arrays_of_a_file_cannot_be_written_to(backend, tmp_path):
    for array in read_weights(saved(backend, model_of(backend), tmp_path)).values():
        assert not array.flags.writeable


def test_a_checkpoint_is_read_by_its_key_and_without_its_prefix(backend, tmp_path):
    import importlib

    library, model = importlib.import_module(backend.name), model_of(backend, seed=3)
    prefixed = {f"module.{name}": value for name, value in model.state_dict().items()}
    path = tmp_path / ("w.pt" if backend.name == "torch" else "w.pdparams")
    library.save({"epoch": 3, "best": 0.5, "state_dict": prefixed, "note": "x", "scores": [1, 2]}, str(path))
    with pytest.raises(FileFormatError, match="inside of 'state_dict', beside 4 other entries; give key='state_dict'"):
        read_weights(path)
    with pytest.raises(FileFormatError, match=r"begin with 'module\.'; give strip_prefix='module\.'"):
        load_weights(model_of(backend), path, key="state_dict")
    target = model_of(backend)
    load_weights(target, path, key="state_dict", strip_prefix="module.")
    for name, array in state_of(model).items():
        assert_array_equal(state_of(target)[name], array)


def test_names_are_changed_as_asked(backend, tmp_path):
    pytest.importorskip("safetensors")
    source, target = model_of(backend, seed=4), model_of(backend)
    state = state_of(source)
    write_weights(tmp_path / "w.safetensors", {f"old_{name}": array for name, array in state.items()})
    load_weights(target, tmp_path / "w.safetensors", rename=lambda name: name.removeprefix("old_"))
    assert_array_equal(state_of(target)["classifier.weight"], state["classifier.weight"])
    mapping = {f"old_{name}": name for name in state}
    load_weights(model_of(backend), tmp_path / "w.safetensors", rename=mapping)
    with pytest.raises(FileFormatError, match=r"rename mentions \['missing'\]"):
        load_weights(target, tmp_path / "w.safetensors", rename={**mapping, "missing": "x"})
    with pytest.raises(FileFormatError, match="the same name 'x'"):
        load_weights(target, tmp_path / "w.safetensors", rename=lambda name: "x")


# ---- or refused, and the model left as it was


def without(name):
    return lambda state: {other: array for other, array in state.items() if other != name}


def changed(name, change):
    return lambda state: {**state, name: change(state[name])}


def first_set_to(value):
    def change(array):
        array = array.copy()
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("classifier.bias"), "classifier.bias is missing"),
        (lambda state: {**state, "more.weight": np.ones(3, np.float32)}, "more.weight is unexpected"),
        (changed("classifier.weight", lambda array: array[:, :-1]), "classifier.weight has shape"),
        (changed("classifier.bias", lambda array: array.astype(np.int64)), "classifier.bias is int64, not floating"),
        (changed("classifier.bias", first_set_to(1 + 2.0**-40)), "classifier.bias is float64 and would be rounded"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(backend, tmp_path, change, message):
    pytest.importorskip("safetensors")
    state = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in state_of(model_of(backend, seed=5)).items()
    }
    write_weights(tmp_path / "w.safetensors", change(state))
    target = model_of(backend)
    before = state_of(target)
    with pytest.raises(FileFormatError, match=message):
        load_weights(target, tmp_path / "w.safetensors")
    for name, array in state_of(target).items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(backend, tmp_path, value):
    import importlib

    state = state_of(model_of(backend))
    state["classifier.weight"].flat[3] = value
    library = importlib.import_module(backend.name)
    path = tmp_path / ("w.pt" if backend.name == "torch" else "w.pdparams")
    tensors = {
        name: library.to_tensor(a) if backend.name == "paddle" else library.tensor(a) for name, a in state.items()
    }
    library.save(tensors, str(path))
    with pytest.raises(FileFormatError, match=r"NaN or infinite values in 'classifier\.weight'"):
        load_weights(model_of(backend), path)


def test_negative_variances_are_refused(backend):
    model = model_of(backend)
    state = state_of(model)
    name = next(name for name in state if name.endswith(("running_var", "_variance")))
    state[name] = -state[name]
    with pytest.raises(FileFormatError, match=f"{name} holds negative variances"):
        backend.load_weights(model, state)


def test_the_other_framework_s_file_is_refused_even_where_all_shapes_fit(tmp_path):
    """A square linear layer: names and shapes agree, and the weights would be transposed in silence."""
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    in_torch, in_paddle = torch.nn.Sequential(torch.nn.Linear(3, 3)), paddle.nn.Sequential(paddle.nn.Linear(3, 3))
    torch.save(in_torch.state_dict(), tmp_path / "w.pt")
    paddle.save(in_paddle.state_dict(), str(tmp_path / "w.pdparams"))
    with pytest.raises(FileFormatError, match="written by torch and the model is of paddle"):
        load_weights(in_paddle, tmp_path / "w.pt")
    with pytest.raises(FileFormatError, match="written by paddle and the model is of torch"):
        load_weights(in_torch, tmp_path / "w.pdparams")
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(in_torch.state_dict(), tmp_path / "w.safetensors", metadata={"format": "pt"})
    with pytest.raises(FileFormatError, match="written by torch and the model is of paddle"):
        load_weights(in_paddle, tmp_path / "w.safetensors")
    load_weights(in_torch, tmp_path / "w.safetensors")


def test_tied_weights_that_differ_in_the_file_are_refused():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    backend, state = get_backend("torch"), state_of(model)
    backend.load_weights(model, {**state, "0.weight": state["0.weight"] * 2, "1.weight": state["1.weight"] * 2})
    backend.load_weights(model, {name: array for name, array in state.items() if name != "1.weight"})
    assert_array_equal(model[1].weight.detach().numpy(), state["1.weight"])
    with pytest.raises(FileFormatError, match=r"0\.weight and 1\.weight are one array in the model and differ"):
        backend.load_weights(model, {**state, "1.weight": state["1.weight"] * 2})


def test_models_that_cannot_be_filled_are_refused():
    torch = pytest.importorskip("torch")

    class Copies(torch.nn.Linear):
        def state_dict(self, *arguments, **options):
            state = super().state_dict(*arguments, **options)
            return {name: value.clone() for name, value in state.items()}

    backend = get_backend("torch")
    ones = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)}
    with torch.inference_mode():
        made_there = torch.nn.Linear(3, 2)
    for model, message in [
        (torch.nn.Linear(3, 2, device="meta"), "has no memory yet"),
        (torch.nn.LazyLinear(2), "has no memory yet"),
        (made_there, "created under inference_mode"),
        (Copies(3, 2), "could not be filled"),
    ]:
        with pytest.raises(ModelError, match=message):
            backend.load_weights(model, ones)


def test_weights_are_loaded_under_inference_mode_too():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    with torch.inference_mode():
        get_backend("torch").load_weights(model, {"weight": np.ones((2, 3)), "bias": np.ones(2)})
    assert model.weight.detach().numpy().sum() == 6
    assert model.weight.requires_grad
    assert not model.weight.is_inference()


def test_a_wrapper_is_told_to_be_taken_off():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    with pytest.raises(
        FileFormatError, match=r"names of the model begin with 'module\.'; load the weights into the module"
    ):
        get_backend("torch").load_weights(torch.nn.DataParallel(model), state_of(model))


@pytest.mark.parametrize("options", [{"key": "state"}, {"strip_prefix": "net."}])
def test_a_key_or_prefix_that_is_not_there_is_refused(backend, tmp_path, options):
    path = saved(backend, model_of(backend), tmp_path)
    with pytest.raises(FileFormatError, match=r"has no dictionary 'state'|do not begin with the prefix 'net\.'"):
        read_weights(path, **options)


def test_the_command_line_reads_the_frameworks_own_files(backend, tmp_path, monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    pytest.importorskip("click")
    from xai_med.cli import main
    from xai_med.explanation import Explanation

    (tmp_path / f"models_{backend.name}.py").write_text(
        "from xai_med.registry import get_backend\nfrom xai_med.demo.network import architecture\n\n\n"
        f"def make():\n    return get_backend({backend.name!r}).build(architecture(seed=0))\n"
    )
    monkeypatch.chdir(tmp_path)
    from xai_med.demo.network import demo_blueprint

    trained = backend.build(demo_blueprint())
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    pillow.fromarray(pixels).save("chest.png")
    path = saved(backend, trained, tmp_path)
    arguments = ["explain", "chest.png", "--model", f"models_{backend.name}:make", "--weights", str(path)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--target", "all", "--output", "e.npz"])
    assert not ended.value.code
    expected = explain(trained, (pixels / 255).astype(np.float32)[None, None], method="cam", target="all")
    assert_array_equal(Explanation.load("e.npz").maps, expected.maps)
