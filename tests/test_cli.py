"""The command line explains the user's own image by the user's own model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xai_med.cli import load_model, main
from xai_med.errors import SettingError
from xai_med.explanation import Explanation
from xai_med.methods.table import BUILT_IN
from xai_med.registry import get_method

MODELS = """
from xai_med.demo.network import demo_blueprint
from xai_med.registry import get_backend

def in_torch():
    return get_backend("torch").build(demo_blueprint())

def in_paddle():
    return get_backend("paddle").build(demo_blueprint())

not_a_function = 3
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with an image and a module of models, as the working directory."""
    pillow = pytest.importorskip("PIL.Image")
    pytest.importorskip("click")
    from xai_med.demo.phantoms import phantoms

    pixels = np.round(255 * phantoms(1, seed=4).images[0, 0]).astype(np.uint8)
    pillow.fromarray(pixels).save(tmp_path / "chest.png")
    (tmp_path / "my_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_models", None)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code or 0


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_an_image_is_explained_and_drawn(desk, capsys, framework):
    pytest.importorskip(framework)
    assert (
        run("explain", "chest.png", "--model", f"my_models:in_{framework}", "--method", "Grad-CAM", "--target", "all")
        == 0
    )
    assert (desk / "chest_grad_cam.png").stat().st_size > 5000
    assert "grad_cam at features" in capsys.readouterr().out


def test_names_and_data_files_are_taken(desk):
    pytest.importorskip("torch")
    names = "nodule,effusion,heart,consolidation"
    code = run(
        "explain",
        "chest.png",
        "--model",
        "my_models:in_torch",
        "--classes",
        names,
        "--target",
        "effusion",
        "--output",
        "e.npz",
    )
    assert code == 0
    assert Explanation.load("e.npz").targets == (("effusion",),)


def test_another_librarys_array_is_written_beside_ours(desk):
    pytest.importorskip("torch")
    arguments = ["explain", "chest.png", "--model", "my_models:in_torch", "--method", "cam", "--target", "0"]
    assert run(*arguments, "--profile", "torchcam", "--output", "theirs.npz") == 0
    found = Explanation.load("theirs.npz")
    assert found.settings["profile"] == "torchcam"
    assert found.extras["torchcam"].shape == found.attribution.shape
    assert found.extras["torchcam"].min() == 0
    assert found.attribution.min() != 0
    assert "there is no profile 'torchcan'" in str(run(*arguments, "--profile", "torchcan"))


def test_weights_are_loaded_all_or_refused(desk):
    torch = pytest.importorskip("torch")
    from safetensors.numpy import save_file

    from xai_med.demo.network import demo_blueprint
    from xai_med.registry import get_backend

    model = get_backend("torch").build(demo_blueprint())
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    save_file({name: np.zeros_like(value) for name, value in state.items()}, "zeros.safetensors")
    state.popitem()
    save_file(state, "short.safetensors")
    arguments = ["explain", "chest.png", "--model", "my_models:in_torch", "--method", "gradient", "--target", "0"]
    assert run(*arguments, "--weights", "zeros.safetensors", "--output", "z.npz") == 0
    assert not Explanation.load("z.npz").maps.any()
    assert "missing" in str(run(*arguments, "--weights", "short.safetensors"))
    assert isinstance(model, torch.nn.Module)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("my_models", "MODULE:FUNCTION"),
        ("no_such_module:f", "no module"),
        ("my_models:nothing", "has no 'nothing'"),
        ("my_models:not_a_function", "is a int"),
    ],
)
def test_a_wrong_place_of_the_model_is_named(desk, place, message):
    with pytest.raises(SettingError, match=message):
        load_model(place)


def test_errors_are_one_line_without_traceback(desk):
    pytest.importorskip("torch")
    code = run("explain", "chest.png", "--model", "my_models:in_torch", "--target", "9")
    assert str(code).startswith("xai-med: TargetError: class 9 was asked for, the model has 4 outputs")


@pytest.mark.parametrize("what", ["methods", "backends"])
def test_names_are_listed_with_their_owners(what):
    pytest.importorskip("click")
    done = subprocess.run([sys.executable, "-m", "xai_med", what], capture_output=True, text=True, check=True)
    expected = {
        "methods": "grad_cam                xai_med.methods.grad_cam:grad_cam",
        "backends": "xai_med_torch:TorchBackend",
    }
    assert expected[what] in done.stdout


def test_cards_of_named_methods_are_printed(capsys):
    pytest.importorskip("click")
    run("methods", "occlusion", "lrp")
    printed = capsys.readouterr().out
    for line in (
        "occlusion\n  source: Zeiler, Fergus 2014",
        "  models that can only be asked: yes",
        "  refuses, SettingError: A size that does not fit the image",
        "lrp\n  source: Bach et al. 2015",
        "  claims: linear_in_target, mirror_equivariant",
        "  refuses, UnsupportedOperationError: An operation on the way has no rule; it is named.",
    ):
        assert line in printed
    assert "References" not in printed


def test_a_card_of_no_method_is_refused_in_one_line():
    pytest.importorskip("click")
    assert str(run("methods", "grad_can")).startswith("xai-med: UnknownNameError: there is no method 'grad_can'")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_method_says_what_it_refuses(name):
    refusals = get_method(name).refuses
    assert refusals
    assert all(kind.endswith("Error") and words for kind, words in refusals.items())


def test_working_directory_does_not_stay_on_the_path(desk):
    before = list(sys.path)
    load_model("my_models:in_torch") if Path("my_models.py").exists() and _has("torch") else None
    assert sys.path == before


def _has(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None
