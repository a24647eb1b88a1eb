"""One file for one explanation: named arrays and a JSON header in an ``.npz``, without pickle."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xai_med.checks import Check
from xai_med.errors import FileFormatError, SettingError

if TYPE_CHECKING:
    from xai_med.explanation import Explanation

FORMAT = "xai_med explanation 1"
_ARRAYS = ("maps", "attribution", "scores", "probabilities", "class_indices", "input")
_TEXTS = ("method", "layer", "backend", "dtype", "activation", "source")


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
    arrays.update({f"extras/{name}": array for name, array in explanation.extras.items()})
    text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, header=text, **arrays)


def read_explanation(path: Path) -> dict[str, Any]:
    """Read the fields of an explanation.

    Raises
    ------
    FileFormatError
        Not written by `write_explanation`, damaged, or holding objects.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
    except FileNotFoundError:
        raise
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise FileFormatError(f"{path} is not an explanation written by save(): {error}") from error
    if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
        raise FileFormatError(f"{path} is not of the format {FORMAT!r}")
    try:
        values: dict[str, Any] = {name: header[name] for name in _TEXTS}
        values["targets"] = tuple(tuple(row) for row in header["targets"])
        values["rules"] = tuple(header["rules"])
        values["versions"], values["settings"] = header["versions"], header["settings"]
        values["checks"] = tuple(Check(**check) for check in header["checks"])
        values.update({name: arrays.get(name) for name in _ARRAYS})
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"{path} lacks a field of an explanation: {error}") from error
    values["extras"] = {
        name.removeprefix("extras/"): array for name, array in arrays.items() if name.startswith("extras/")
    }
    return values


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    described = getattr(value, "describe", None)
    if callable(described):
        return {"name": getattr(value, "name", type(value).__name__), "rules": list(described())}
    raise SettingError(f"setting {name}={value!r} cannot be written to a file")
