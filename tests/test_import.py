"""Importing the library is cheap, brings nothing that was not asked for, and shows documented names."""

import builtins
import inspect
import subprocess
import sys

import pytest

import xai_med
from xai_med import errors

HEAVY = ("PIL", "click", "jinja2", "matplotlib", "numpy", "paddle", "safetensors", "scipy", "skimage", "torch", "tqdm")
EXCEPTIONS = [value for value in vars(errors).values() if isinstance(value, type)]
BUILT_IN_EXCEPTIONS = {value for value in vars(builtins).values() if isinstance(value, type)} - {Exception, object}


def fresh(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", HEAVY)
def test_import_does_not_bring(name):
    assert fresh(f"import sys, xai_med; print({name!r} in sys.modules)").strip() == "False"


@pytest.mark.parametrize("name", ["PIL", "click", "matplotlib", "paddle", "torch"])
def test_the_front_door_and_the_targets_do_not_bring(name):
    program = f"import sys; from xai_med import Classes, attribute, explain; print({name!r} in sys.modules)"
    assert fresh(program).strip() == "False"


def test_import_takes_less_than_a_fifth_of_a_second():
    program = "import time; start = time.process_time(); import xai_med; print(time.process_time() - start)"
    assert min(float(fresh(program)) for _ in range(5)) < 0.2


def test_public_names_are_sorted():
    assert list(xai_med.__all__) == sorted(set(xai_med.__all__))


def test_public_names_are_complete():
    for name in xai_med.__all__:
        assert getattr(xai_med, name) is not None
    shown = {
        name
        for name in dir(xai_med)
        if not name.startswith("_") and getattr(getattr(xai_med, name), "__module__", "").startswith("xai_med")
    }
    assert shown == set(xai_med.__all__) - {"__version__"}


@pytest.mark.parametrize("name", sorted(set(xai_med.__all__) - {"__version__"}))
def test_public_name_has_a_docstring(name):
    written = vars(getattr(xai_med, name)).get("__doc__") or getattr(xai_med, name).__doc__
    assert written
    assert not written.startswith(f"{name}(")  # made by dataclass, not by an author


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'xai_med' has no attribute 'explane'"):
        _ = xai_med.explane


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda exception: exception.__name__)
def test_exception_is_ours(exception):
    assert issubclass(exception, errors.XaiMedError)
    assert inspect.getdoc(exception)


@pytest.mark.parametrize(
    "exception", [e for e in EXCEPTIONS if e is not errors.XaiMedError], ids=lambda exception: exception.__name__
)
def test_exception_is_also_a_built_in_one(exception):
    assert len(EXCEPTIONS) > 15
    assert set(exception.__mro__) & (BUILT_IN_EXCEPTIONS - {BaseException})
