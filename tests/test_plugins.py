"""Methods and backends by decorator, by entry point, and by a package installed in an environment of its own."""

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import xai_med
from xai_med import explain, registry
from xai_med.errors import (
    DtypeError,
    GradientError,
    LayerError,
    MissingDependencyError,
    ModelError,
    NonFiniteError,
    RegistrationError,
    SettingError,
    UnknownNameError,
    UnsupportedOperationError,
)
from xai_med.method import Method
from xai_med.registry import BACKENDS, METHODS, get_backend, get_method, owners, unregister
from xai_med.testing import NETWORKS, check_method, example_input

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "tests" / "plugin"
BUILT_IN = (
    "ablation_cam",
    "attention_gradient",
    "attention_rollout",
    "cam",
    "clear",
    "deconvnet",
    "eigen_cam",
    "eigen_grad_cam",
    "excitation_backprop",
    "expected_gradients",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "input_x_gradient",
    "integrated_gradients",
    "kernel_shap",
    "layer_cam",
    "lime",
    "lrp",
    "occlusion",
    "recipro_cam",
    "rise",
    "score_cam",
    "seg_grad_cam",
    "smooth_grad",
    "xgrad_cam",
)


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch):
    """Nothing registered by hand and nothing loaded; as before afterwards."""
    monkeypatch.setattr(registry, "_by_hand", {METHODS: {}, BACKENDS: {}})
    monkeypatch.setattr(registry, "_loaded", {})


@pytest.fixture
def installed(monkeypatch):
    """A function that pretends that packages with these entry points are installed."""
    real = importlib.metadata.entry_points
    points: list[EntryPoint] = []

    def listed(**chosen: str) -> list[EntryPoint]:
        return [*real(**chosen), *(point for point in points if point.matches(**chosen))]

    def install(group: str, **targets: str) -> None:
        points.extend(EntryPoint(name, target, group) for name, target in targets.items())

    monkeypatch.setattr(importlib.metadata, "entry_points", listed)
    return install


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module which can be imported during the test."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


@pytest.fixture
def example(monkeypatch, installed):
    """The package of tests/plugin, as if it were installed."""
    monkeypatch.setattr(sys, "path", [str(PLUGIN), *sys.path])
    for name in [name for name in sys.modules if name.split(".")[0] == "xai_med_example"]:
        monkeypatch.delitem(sys.modules, name)
    installed(METHODS, place_products="xai_med_example.place_products:place_products")
    installed(BACKENDS, numpy="xai_med_example.backend:NumpyBackend")


def nothing(request, *, strength=1.0):
    """Stand in for a method that is never run."""


def fresh(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---- decorators


def test_a_decorated_function_is_a_method_under_its_name(backend):
    @xai_med.register_method("half_gradient", source="nobody", cost="as gradient", default_target="all")
    def half_gradient(request, *, factor=0.5):
        """Shrink the gradient."""
        from dataclasses import replace

        found = get_method("gradient")(request, {"read_out": "signed_sum"})
        return replace(found, maps=found.maps * factor, values=found.values * factor)

    blueprint = NETWORKS["vgg_like"]()
    model, images = backend.build(blueprint, dtype="float64"), example_input(blueprint)
    whole, half = (explain(model, images, method=name, target="all") for name in ("gradient", "half_gradient"))
    assert isinstance(half_gradient, Method)
    assert abs(half.attribution * 2 - whole.attribution).max() < 1e-12
    assert (half.source, half.settings) == ("nobody", {"factor": 0.5})
    assert half.scores.shape == (2, 3)
    with pytest.raises(SettingError, match="'half_gradient' has no setting 'strength'; it has factor"):
        explain(model, images, method="half_gradient", strength=2)


def test_a_decorated_method_is_listed_with_its_owner():
    xai_med.register_method("anew", source="nobody")(nothing)
    assert "anew" in xai_med.methods()
    assert owners(METHODS)["anew"] == f"{__name__}:nothing"


def test_a_decorated_factory_is_a_backend_under_its_name():
    @xai_med.register_backend("anew")
    def make():
        return "a backend"

    assert "anew" in xai_med.backends()
    assert get_backend("anew") == "a backend"
    assert make() == "a backend"


def test_an_unregistered_name_can_be_taken_again():
    xai_med.register_method("anew", source="first")(nothing)
    assert get_method("anew").source == "first"
    unregister(METHODS, "anew")
    assert "anew" not in xai_med.methods()
    xai_med.register_method("anew", source="second")(nothing)
    assert get_method("anew").source == "second"


@pytest.mark.parametrize("name", ["Grad CAM++", "gräd cam", "Upper", "with-hyphen", "2d", ""])
def test_what_is_not_a_name_is_refused(name):
    with pytest.raises(RegistrationError, match="is not a name; use lower-case letters"):
        xai_med.register_method(name, source="nobody")(nothing)


# ---- listing imports nothing


def test_built_in_names_are_listed():
    assert set(BUILT_IN) <= set(xai_med.methods())
    assert {"paddle", "torch"} <= set(xai_med.backends())


def test_listing_names_imports_neither_frameworks_nor_methods_nor_numpy():
    program = """
import sys, xai_med
from xai_med.registry import BACKENDS, METHODS, owners
assert "cam" in xai_med.methods() and "torch" in xai_med.backends()
assert owners(METHODS)["cam"] == "xai_med.methods.cam:cam" and owners(BACKENDS)
unwanted = ("numpy", "paddle", "torch", "xai_med_torch", "xai_med_paddle", "xai_med.methods.", "xai_med.front_door")
print([name for name in sys.modules if name.startswith(unwanted) and name != "xai_med.methods.table"])
"""
    assert fresh(program).strip() == "[]"


def test_one_method_does_not_import_the_others():
    program = """
import sys
from xai_med.registry import get_method
get_method("gradient")
print(sorted(name for name in sys.modules if name.startswith("xai_med.methods.")))
"""
    assert fresh(program).strip() == "['xai_med.methods.gradient', 'xai_med.methods.table']"


# ---- conflicts


def test_two_decorators_conflict_and_both_owners_are_named():
    def another(request):
        """Take the same name."""

    xai_med.register_method("anew", source="nobody")(nothing)
    with pytest.raises(
        RegistrationError, match=rf"'anew' is already registered by {__name__}:nothing; .*another needs"
    ):
        xai_med.register_method("anew", source="nobody")(another)
    assert get_method("anew").function is nothing


def test_two_backend_factories_conflict_and_both_owners_are_named():
    class First:
        pass

    class Second:
        pass

    xai_med.register_backend("anew")(First)
    with pytest.raises(RegistrationError, match=r"registered by .*First; .*Second needs another name"):
        xai_med.register_backend("anew")(Second)


def test_the_same_function_again_says_to_unregister_it():
    xai_med.register_method("anew", source="nobody")(nothing)
    with pytest.raises(RegistrationError, match=rf"already registered by {__name__}:nothing; unregister it first"):
        xai_med.register_method("anew", source="nobody")(nothing)


def test_a_decorator_conflicts_with_a_built_in_method():
    message = rf"'cam' is already registered by xai_med.methods.cam:cam; {__name__}:nothing needs another name"
    with pytest.raises(RegistrationError, match=message):
        xai_med.register_method("cam", source="nobody")(nothing)


def test_a_decorator_conflicts_with_an_installed_backend():
    with pytest.raises(RegistrationError, match=r"'torch' is already registered by xai_med_torch:TorchBackend"):
        xai_med.register_backend("torch")(dict)


@pytest.mark.parametrize("name", ["cam", "CAM", "Grad-CAM"])
def test_an_entry_point_conflicts_with_a_built_in_method(name, installed):
    installed(METHODS, **{name: "other_package:method"})
    key = name.lower().replace("-", "_")
    message = rf"'{key}' is registered by both xai_med.methods.{key}:{key} and other_package:method; uninstall one"
    with pytest.raises(RegistrationError, match=message):
        xai_med.methods()
    with pytest.raises(RegistrationError, match=message):
        get_method("gradient")


def test_two_entry_points_conflict(installed):
    installed(BACKENDS, jax="first_package:Backend", JAX="second_package:Backend")
    message = r"'jax' is registered by both first_package:Backend and second_package:Backend"
    with pytest.raises(RegistrationError, match=message):
        xai_med.backends()


def test_a_plugin_may_decorate_what_its_entry_point_names(installed, module):
    module(
        "decorated_plugin",
        "from xai_med import register_method\n"
        "@register_method('decorated', source='nobody')\n"
        "def decorated(request):\n"
        "    '''Do nothing.'''\n",
    )
    installed(METHODS, decorated="decorated_plugin:decorated")
    assert get_method("decorated").name == "decorated"
    assert owners(METHODS)["decorated"] == "decorated_plugin:decorated"


# ---- names


@pytest.mark.parametrize("name", ["grad_cam", "Grad-CAM", "GRAD CAM", " grad-cam ", "Grad_Cam"])
def test_hyphens_spaces_and_capitals_are_forgiven(name):
    assert get_method(name) is get_method("grad_cam")


def test_hyphens_are_forgiven_in_entry_points(installed, module):
    module("hyphened_plugin", "from xai_med.methods.gradient import gradient\n")
    installed(METHODS, **{"My-Method": "hyphened_plugin:gradient"})
    assert "my_method" in xai_med.methods()
    assert get_method("my method") is get_method("gradient")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grad_can", r"there is no method 'grad_can'; did you mean grad_cam"),
        ("Gradeint", r"there is no method 'Gradeint'; did you mean gradient"),
        ("xyzzy", r"there is no method 'xyzzy'; there are (?=.*cam, clear, )([a-z_]+, )+xgrad_cam"),
        (3, r"a method is named by a string, got int"),
    ],
)
def test_an_unknown_method_is_refused_with_suggestions(name, message):
    with pytest.raises(UnknownNameError, match=message):
        get_method(name)


def test_an_unknown_backend_is_refused_with_suggestions():
    with pytest.raises(UnknownNameError, match="there is no backend 'pytorch'; did you mean torch"):
        get_backend("pytorch")


def test_a_model_of_no_backend_is_refused_and_backends_are_named():
    with pytest.raises(
        ModelError, match=r"no backend recognises a model of type builtins\.dict; installed are .*torch"
    ):
        registry.find_backend({})


# ---- broken plugins


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("import no_such_library", MissingDependencyError, r"needs no_such_library, which is not installed"),
        (
            "import torch.no_such_part",
            MissingDependencyError,
            r"torch\.no_such_part, which .* pip install 'xai-med\[torch\]'",
        ),
        ("1 / 0", RegistrationError, r"cannot be loaded: ZeroDivisionError: division by zero; update or uninstall"),
        ("def method(: pass", RegistrationError, r"cannot be loaded: SyntaxError"),
        ("other = 1", RegistrationError, r"cannot be loaded: AttributeError: .*no attribute 'method'"),
        ("def method(request): pass", RegistrationError, r"was not made by xai_med\.register_method"),
        ("from xai_med.errors import ModelError\nraise ModelError('ours')", ModelError, "^ours$"),
    ],
)
def test_a_broken_method_is_named_with_what_is_wrong(installed, module, text, error, message):
    if "torch" in text:
        pytest.importorskip("torch")
    module("broken_plugin", text + "\n")
    installed(METHODS, broken="broken_plugin:method")
    assert "broken" in xai_med.methods()
    with pytest.raises(error, match=message) as caught:
        get_method("broken")
    assert error is ModelError or "'broken'" in str(caught.value)
    assert get_method("gradient").name == "gradient"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "import no_such_library",
            MissingDependencyError,
            r"the backend 'broken' \(broken_plugin:Backend\) needs no_such",
        ),
        ("Backend = 3", RegistrationError, r"'broken' is registered as a backend, but 3 cannot be called"),
    ],
)
def test_a_broken_backend_is_named_with_what_is_wrong(installed, module, text, error, message):
    module("broken_plugin", text + "\n")
    installed(BACKENDS, broken="broken_plugin:Backend")
    with pytest.raises(error, match=message):
        get_backend("broken")


def test_a_broken_backend_does_not_disturb_models_of_others(installed, module, backend):
    module("broken_plugin", "import no_such_library\n")
    installed(BACKENDS, a_broken_one="broken_plugin:Backend")
    assert registry.find_backend(backend.build(NETWORKS["vgg_like"]())).name == backend.name


def test_a_missing_module_of_a_plugin_is_told_by_name(installed):
    installed(METHODS, gone="uninstalled_package.part:method")
    message = (
        r"the method 'gone' \(uninstalled_package\.part:method\) needs uninstalled_package, which is not installed"
    )
    with pytest.raises(MissingDependencyError, match=message):
        get_method("gone")


# ---- the example of docs/extending.md, in this process


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "place_products"])
def test_the_example_backend_agrees_with_every_framework(method, backend):
    found = check_method(method, backends=[get_backend("numpy"), backend])
    assert found.between_frameworks < 1e-7
    assert "numpy: densenet_like" in found.worked


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("network", ["resnet_like", "fully_connected_head"])
def test_the_example_backend_compares_classes(network, backend):
    blueprint = NETWORKS[network]()
    numpy, other = (
        explain(b.build(blueprint, dtype="float64"), example_input(blueprint), method="clear", dtype="float64")
        for b in (get_backend("numpy"), backend)
    )
    assert abs(numpy.attribution - other.attribution).max() < 1e-9
    assert (numpy.extras["dominant_class"] == other.extras["dominant_class"]).all()


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("method", ["grad_cam", "place_products"])
@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2"])
def test_the_example_backend_takes_a_layer(method, layer, backend):
    blueprint = NETWORKS["vgg_like"]()
    numpy, other = (
        explain(
            b.build(blueprint, dtype="float64"), example_input(blueprint), method=method, layer=layer, dtype="float64"
        )
        for b in (get_backend("numpy"), backend)
    )
    assert (numpy.layer, numpy.backend, numpy.dtype) == (layer, "numpy", "float64")
    assert other.layer == layer
    assert abs(numpy.attribution - other.attribution).max() < 1e-10


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"method": "lrp"}, UnsupportedOperationError, r"no surrogates for rules.* use method='gradient'"),
        ({"method": "clear", "relu": "guided"}, UnsupportedOperationError, r"no surrogates for rules"),
        (
            {"method": "gradient", "target": xai_med.Probability(0), "activation": "sigmoid"},
            GradientError,
            "not record",
        ),
        ({"method": "grad_cam", "layer": "flat"}, LayerError, r"step 'flat' has shape \(2, 5\), without"),
        (
            {"method": "grad_cam", "layer": "conv3"},
            LayerError,
            r"no step 'conv3'; did you mean one of \['conv2', 'conv1'\]",
        ),
    ],
)
def test_the_example_backend_refuses_what_it_cannot_do(asked, error, message):
    blueprint = NETWORKS["vgg_like"]()
    model, images = get_backend("numpy").build(blueprint), example_input(blueprint)
    with pytest.raises(error, match=message):
        explain(model, images, **asked)


@pytest.mark.usefixtures("example")
def test_the_example_backend_refuses_bad_input():
    blueprint, numpy = NETWORKS["vgg_like"](), get_backend("numpy")
    images = example_input(blueprint)
    with pytest.raises(DtypeError, match="floating NumPy array, got int64"):
        explain(numpy.build(blueprint), images.astype("int64"), method="gradient")
    model = numpy.build(blueprint)
    model.blueprint.steps[0].arrays["weight"][0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"'conv1\.weight' holds NaN"):
        explain(model, images, method="gradient")


@pytest.mark.usefixtures("example")
def test_the_example_backend_loads_weights():
    from xai_med.blueprints.weights import weights_of

    blueprint, numpy = NETWORKS["vgg_like"](), get_backend("numpy")
    model, images = numpy.build(blueprint, dtype="float64"), example_input(blueprint)
    before = model(images)
    numpy.load_weights(model, {**weights_of(blueprint), "classifier.bias": blueprint.steps[-1].arrays["bias"] + 1})
    assert abs(model(images) - before - 1).max() < 1e-12


# ---- the example of docs/extending.md, installed

SCRIPT = """
import sys
import numpy as np
import xai_med
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, example_input

assert "site-packages" in xai_med.__file__ and xai_med.__file__.startswith(sys.prefix), xai_med.__file__
blueprint = NETWORKS["vgg_like"]()
images = example_input(blueprint)
model = get_backend("numpy").build(blueprint, dtype="float64")
names = ("cam", "grad_cam", "Place-Products")
ours = {name: xai_med.explain(model, images, method=name, target="all") for name in names}
assert "torch" not in sys.modules and "paddle" not in sys.modules
for found in ours.values():
    print(found.backend, found.method, found.layer, found.maps.shape)
if WITH_TORCH:
    theirs = get_backend("torch").build(blueprint, dtype="float64")
    found = xai_med.explain(theirs, images, method="place_products", target="all")
    print(found.backend, found.method, found.layer, found.maps.shape)
    np.testing.assert_allclose(found.attribution, ours["Place-Products"].attribution, rtol=0, atol=1e-12)
"""


def run(*command: object, folder: Path) -> str:
    """Run a command in a folder outside the repository; return what it prints."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with the wheels of this repository and of the example, and the folder it lies in.

    Dependencies are those of the running interpreter: its site-packages follow the environment's own on the path.
    """
    for tool in ("pip", "hatchling", "click"):
        pytest.importorskip(tool, reason=f"{tool} is needed to build and install wheels")
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(PLUGIN, folder / "plugin")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    for project in (ROOT, folder / "plugin"):
        run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", folder / "wheels", project, folder=folder)
    venv.create(folder / "env", with_pip=False, symlinks=os.name != "nt")
    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    wheels = sorted((folder / "wheels").glob("*.whl"))
    run(*pip, "--python", scripts / "python", "install", "--no-deps", "--no-index", *wheels, folder=folder)
    (own,) = (folder / "env").rglob("site-packages")
    # a line of a .pth file only extends the path: the .pth of an editable install that lies there is not read
    outer = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    (own / "dependencies.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    return folder, scripts


@pytest.mark.slow
def test_the_installed_example_is_listed_by_the_command_line(environment):
    folder, scripts = environment
    methods = dict(line.split() for line in run(scripts / "xai-med", "methods", folder=folder).splitlines())
    backends = dict(
        line.split() for line in run(scripts / "python", "-m", "xai_med", "backends", folder=folder).splitlines()
    )
    assert methods == {
        **{name: f"xai_med.methods.{name}:{name}" for name in BUILT_IN},
        "place_products": "xai_med_example.place_products:place_products",
    }
    assert backends == {
        "callable": "xai_med.black_box:CallableBackend",
        "numpy": "xai_med_example.backend:NumpyBackend",
        "paddle": "xai_med_paddle:PaddleBackend",
        "torch": "xai_med_torch:TorchBackend",
    }


@pytest.mark.slow
def test_the_installed_example_explains(environment):
    folder, scripts = environment
    has_torch = importlib.util.find_spec("torch") is not None
    (folder / "script.py").write_text(f"WITH_TORCH = {has_torch}\n{SCRIPT}", encoding="utf-8")
    printed = run(scripts / "python", "-W", "error", "script.py", folder=folder).splitlines()
    assert printed == [
        "numpy cam relu2 (2, 3, 11, 9)",
        "numpy grad_cam relu2 (2, 3, 11, 9)",
        "numpy place_products relu2 (2, 3, 11, 9)",
        *(["torch place_products relu (2, 3, 11, 9)"] if has_torch else []),
    ]


@pytest.mark.slow
def test_the_installed_example_passes_the_conformance_kit(environment):
    folder, scripts = environment
    command = (scripts / "python", "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "conformance.py")
    printed = run(*command, "-k", "not framework", folder=folder / "plugin")
    assert " passed" in printed
    assert "failed" not in printed
