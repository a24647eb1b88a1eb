"""One file for one explanation: named arrays and a JSON header in an ``.npz``, without pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import FileFormatError, SettingError
from xai_med.io.npz import read_npz
from xai_med.io.numbers import shown

if TYPE_CHECKING:
    from xai_med.explanation import Explanation

FORMAT = "xai_med explanation 1"
_ARRAYS = ("maps", "attribution", "scores", "probabilities", "class_indices", "input")
_TEXTS = ("method", "layer", "backend", "dtype", "activation", "source")
_MAY_BE_NONE = ("layer", "activation")
_NEEDED = ("maps", "attribution", "scores", "class_indices")
_EXTRAS = "extras/"
_SHORT = 64  # of a longer array among the settings, such as reference images, the file keeps a fingerprint


def write_explanation(explanation: "Explanation", path: Path) -> None:
    """Write all arrays bit for bit, and all provenance.

    Raises
    ------
    SettingError
        A setting is not a plain value (a composite of one's own, say) and cannot be written faithfully.
    """
    header: dict[str, Any] = {name: getattr(explanation, name) for name in _TEXTS}
    header["format"] = FORMAT
    header["targets"] = [list(row) for row in explanation.targets]
    header["rules"] = list(explanation.rules)
    header["versions"] = dict(explanation.versions)
    header["settings"] = {name: _plain(name, value) for name, value in explanation.settings.items()}
    header["checks"] = [asdict(check) for check in explanation.checks]
    arrays = {name: getattr(explanation, name) for name in _ARRAYS if getattr(explanation, name) is not None}
    arrays.update({f"{_EXTRAS}{name}": array for name, array in explanation.extras.items()})
    text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, header=text, **arrays)


def read_explanation(path: Path) -> dict[str, Any]:
    """Read the fields of an explanation.

    Raises
    ------
    FileFormatError
        Not written by `write_explanation`, damaged, holding objects, or unpacking to far more than its size.
    """
    try:
        with path.open("rb") as file:
            arrays = read_npz(file)
        values = _described(_header(arrays))
        values.update({name: arrays.pop(name, None) for name in _ARRAYS})
        values["extras"] = {name.removeprefix(_EXTRAS): array for name, array in arrays.items()}
        _check_arrays(values, unknown=[name for name in arrays if not name.startswith(_EXTRAS)])
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not an explanation written by save(): {error}") from error
    return values


def _header(arrays: dict[str, Array]) -> dict[str, Any]:
    """Take the header out of the arrays."""
    if "header" not in arrays:
        raise FileFormatError("it has no header")
    try:
        header = json.loads(arrays.pop("header").tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"its header cannot be read: {shown(str(error))}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileFormatError(f"its header is not of the format {FORMAT!r}")
    return header


def _described(header: dict[str, Any]) -> dict[str, Any]:
    """Everything but the arrays, of the types that an explanation has."""
    try:
        values: dict[str, Any] = {name: header[name] for name in _TEXTS}
        values["targets"] = tuple(tuple(row) for row in header["targets"])
        values["rules"] = tuple(header["rules"])
        values["versions"], values["settings"] = dict(header["versions"]), dict(header["settings"])
        values["checks"] = tuple(Check(**check) for check in header["checks"])
        texts = [*values["rules"], *values["versions"].values(), *(name for row in values["targets"] for name in row)]
        texts += [values[name] for name in _TEXTS if name not in _MAY_BE_NONE or values[name] is not None]
        for check in values["checks"]:
            texts += [check.name, check.note, check.key, str(check)]  # str: its numbers are numbers
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"its header lacks a field, or one is of another type: {shown(str(error))}") from error
    if not all(isinstance(text, str) for text in texts):
        raise FileFormatError("its header has something else where a text belongs")
    return values


def _check_arrays(values: Mapping[str, Any], *, unknown: Sequence[str]) -> None:
    """Shapes that belong together."""
    if unknown:
        raise FileFormatError(f"it holds an unexpected {shown(unknown[0])}")
    missing = [name for name in _NEEDED if values[name] is None]
    if missing:
        raise FileFormatError(f"it lacks {', '.join(missing)}")
    scores = values["scores"].shape
    fitting = (
        len(scores) == 2
        and values["maps"].ndim >= 3
        and values["maps"].shape[:2] == scores
        and values["attribution"].shape[:2] == scores
        and values["class_indices"].shape == scores
        and values["class_indices"].dtype.kind == "i"
        and (values["probabilities"] is None or values["probabilities"].shape == scores)
        and (values["input"] is None or values["input"].shape[:1] == scores[:1])
        and [len(row) for row in values["targets"]] == [scores[1]] * scores[0]
        and all(array.shape[:1] == scores[:1] for array in values["extras"].values())
    )
    if not fitting:
        raise FileFormatError("its arrays are not of one number of images and scores")


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    described = getattr(value, "describe", None)
    if callable(described):
        return {"name": getattr(value, "name", type(value).__name__), "rules": list(described())}
    if isinstance(value, list | tuple):
        return [_plain(name, part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(name, part) for key, part in value.items()}
    array = _as_array(value)
    if array is None:
        raise SettingError(f"setting {name}={value!r} cannot be written to a file")
    if array.size <= _SHORT:
        return array.tolist()
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


def _as_array(value: Any) -> Array | None:
    """A numeric array, or a tensor that NumPy can read; None for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return array if array.dtype.kind in "fiub" else None
