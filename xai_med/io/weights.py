"""Weights as named arrays, from the files of either framework and to safetensors; no file is ever executed."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.io.numbers import MOST_BYTES, shown
from xai_med.io.paddle_weights import read_paddle
from xai_med.io.safetensors_weights import read_safetensors
from xai_med.io.torch_weights import read_torch

_SAFETENSORS, _TORCH, _PADDLE = "a safetensors file", "a zip archive as of torch.save", "a pickle as of paddle.save"
_BY_ENDING: Mapping[str, str] = MappingProxyType(
    {".safetensors": _SAFETENSORS, ".pt": _TORCH, ".pth": _TORCH, ".pdparams": _PADDLE}
)
_WRITERS: Mapping[str, str] = MappingProxyType({_TORCH: "torch", _PADDLE: "paddle"})
_REMARKED_WRITERS: Mapping[str, str] = MappingProxyType({"pt": "torch", "pd": "paddle"})  # as safetensors abbreviates


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Read-only, in the order of the file.
    writer : str or None
        The framework that wrote it, where the format or the file says so.
    """

    arrays: Mapping[str, Array]
    writer: str | None


def read_weights(
    path: str | os.PathLike[str], *, key: str | None = None, strip_prefix: str | None = None
) -> Mapping[str, Array]:
    """Read the named arrays of a file of weights.

    Parameters
    ----------
    path : path
        The ending says what it is, and the content must agree: ``.safetensors``; ``.pt`` or ``.pth`` as ``torch.save``
        writes a state dictionary; ``.pdparams`` as ``paddle.save`` does. Nothing in the file is executed.
    key : str, optional
        Under which entry the state dictionary lies, where a checkpoint holds more than that.
    strip_prefix : str, optional
        Taken off every name, such as ``"module."``.

    Returns
    -------
    mapping of str to ndarray
        Read-only; numbers as in the file, bfloat16 widened to float32.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileFormatError
        Of another format, damaged, larger than `xai_med.io.numbers.MOST_BYTES`, holding anything but arrays, NaN or
        infinity; or `key` or `strip_prefix` are missing or do not fit.
    """
    return read_weights_file(path, key=key, strip_prefix=strip_prefix).arrays


def read_weights_file(
    path: str | os.PathLike[str], *, key: str | None = None, strip_prefix: str | None = None
) -> WeightsFile:
    """Read named arrays, and which framework wrote them; arguments and errors are those of `read_weights`."""
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"there is no weights file {place}")
    try:
        with place.open("rb") as file:
            entries, writer = _content(file, place.suffix)
        entries = _state(entries, key)
        _refuse_other_than_arrays(entries)
        _refuse_non_finite(entries)
        return WeightsFile(MappingProxyType(_stripped(entries, strip_prefix)), writer)
    except FileFormatError as error:
        raise FileFormatError(f"{place} cannot be read as weights: {error}") from error


def write_weights(path: str | os.PathLike[str], arrays: Mapping[str, Array], *, overwrite: bool = False) -> None:
    """Write arrays to a safetensors file.

    Raises
    ------
    FileExistsError
        The file is there and `overwrite` is false.
    FileFormatError
        The name of the file does not end in ``.safetensors``, without which it could not be read again.
    """
    place = Path(path)
    if place.suffix.lower() != ".safetensors":
        raise FileFormatError(f"{place.name!r} must end in .safetensors")
    if place.exists() and not overwrite:
        raise FileExistsError(f"{place} exists; give another path or overwrite=True")
    writer = optional_import("safetensors.numpy", extra="torch")
    # safetensors stores the memory as it lies, whatever the strides say
    writer.save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, str(place))


def _content(file: BinaryIO, ending: str) -> tuple[dict[str | int, Any], str | None]:
    """Entries and writer of an opened file."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        raise FileFormatError(f"it is no regular file of at most {MOST_BYTES} bytes")
    named, beginning = _BY_ENDING.get(ending.lower()), file.read(9)
    if named is None:
        raise FileFormatError(f"its ending {shown(ending)} is none of {', '.join(_BY_ENDING)}")
    if not _begins_as(named, beginning):
        found = next((kind for kind in (_TORCH, _SAFETENSORS, _PADDLE) if _begins_as(kind, beginning)), None)
        raise FileFormatError(f"by its ending it is {named}, by its first bytes {found or 'no file of weights'}")
    file.seek(0)
    if named == _SAFETENSORS:
        arrays, remarks = read_safetensors(file, size=status.st_size)
        return arrays, _REMARKED_WRITERS.get(remarks.get("format", ""))
    entries = read_torch(file) if named == _TORCH else read_paddle(file, size=status.st_size)
    return entries, _WRITERS[named]


def _begins_as(kind: str, beginning: bytes) -> bool:
    if kind == _TORCH:
        return beginning.startswith(b"PK\x03\x04")
    if kind == _SAFETENSORS:
        return beginning[8:] == b"{"  # behind the length of the header
    return beginning[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _state(entries: dict[str | int, Any], key: str | None) -> dict[str | int, Any]:
    """The state dictionary, which may be one entry of a checkpoint."""
    within = [name for name, value in entries.items() if isinstance(value, dict) and _arrays_in(value)]
    if key is not None:
        if not isinstance(entries.get(key), dict):
            raise FileFormatError(f"it has no dictionary {key!r}; dictionaries of arrays are {_list(within)}")
        return dict(entries[key])
    if within:
        choice = "state_dict" if "state_dict" in within else within[0]
        raise FileFormatError(
            f"the arrays lie inside of {_list(within)}, beside {len(entries) - len(within)} other entries; "
            f"give key={shown(choice)} to read one of them"
        )
    return entries


def _refuse_other_than_arrays(entries: Mapping[str | int, Any]) -> None:
    others = [name for name, value in entries.items() if not isinstance(value, np.ndarray) or not isinstance(name, str)]
    if others:
        raise FileFormatError(f"{_list(others)} are no arrays; save the state dictionary alone")
    if not entries:
        raise FileFormatError("it holds no arrays")
    total = sum(array.nbytes for array in entries.values())
    if total > MOST_BYTES:  # many names may share the same bytes of the file
        raise FileFormatError(f"its arrays have {total} bytes together, at most {MOST_BYTES} are read")


def _refuse_non_finite(entries: Mapping[str | int, Any]) -> None:
    bad = [name for name, array in entries.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if bad:
        raise FileFormatError(f"it holds NaN or infinite values in {_list(bad)}")


def _stripped(entries: Mapping[str | int, Any], prefix: str | None) -> dict[str, Array]:
    names = [str(name) for name in entries]
    if prefix:
        others = [name for name in names if not name.startswith(prefix) or name == prefix]
        if others:
            raise FileFormatError(f"{_list(others)} do not begin with the prefix {prefix!r}")
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, entries.values(), strict=True))


def _arrays_in(entries: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, np.ndarray) for value in entries.values())


def _list(names: list[Any]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name) if isinstance(name, int) else shown(name) for name in names[:5]) + more
