"""Arrays of a ``.safetensors`` file: a JSON header that says where each array lies, then the numbers."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.io.numbers import BFLOAT16, array_from, shown

MOST_HEADER_BYTES = 100_000_000
"""The format's own limit."""

_METADATA = "__metadata__"
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "F64": "f8",
        "F32": "f4",
        "F16": "f2",
        "BF16": BFLOAT16,
        "I64": "i8",
        "I32": "i4",
        "I16": "i2",
        "I8": "i1",
        "U64": "u8",
        "U32": "u4",
        "U16": "u2",
        "U8": "u1",
        "BOOL": "b1",
    }
)


def read_safetensors(file: BinaryIO, *, size: int) -> tuple[dict[str | int, Any], Mapping[str, str]]:
    """Read all arrays and the remarks of who wrote them.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size : int
        Of the file in bytes.

    Returns
    -------
    arrays : dict
        In the order of the file. bfloat16 is widened.
    remarks : mapping of str to str
        The file's metadata.

    Raises
    ------
    FileFormatError
        The header is damaged or too large, names an array twice, or its arrays overlap, leave gaps, or do not fill
        the file; or a kind of number is not read.
    """
    header, body = _header(file, size)
    remarks = header.pop(_METADATA, {})
    if not isinstance(remarks, dict) or not all(isinstance(value, str) for value in remarks.values()):
        raise FileFormatError("its metadata are not texts by name")
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    arrays: dict[str | int, Any] = {}
    position = 0
    for name, (kind, shape, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != position or not begin <= end <= body:
            raise FileFormatError(
                f"{shown(name)} lies at {begin}..{end} of {body} bytes, where the array before ends at {position}; "
                "arrays must neither overlap nor leave gaps"
            )
        arrays[name] = _array(name, file.read(end - begin), kind, shape)
        position = end
    if position != body:
        raise FileFormatError(f"its arrays end at {position} of {body} bytes")
    return {name: arrays[name] for name in header}, remarks


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes follow it."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MOST_HEADER_BYTES):
        raise FileFormatError(f"its header is to have {length} bytes, the file has {size}")
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"its header is no JSON: {shown(str(error))}") from error
    if not isinstance(header, dict):
        raise FileFormatError("its header is no JSON object")
    return header, size - 8 - length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise FileFormatError(f"its header names {shown(name)} twice")
        found[name] = value
    return found


def _entry(name: str, entry: Any) -> tuple[str, Any, int, int]:
    """Kind, shape, begin and end of an array."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    is_sound = (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(offset) is int and offset >= 0 for offset in offsets)
    )
    if not is_sound or offsets is None or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FileFormatError(f"its header describes {shown(name)} without dtype, shape and two data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _KINDS:
        raise FileFormatError(
            f"{shown(name)} holds numbers of the kind {shown(entry['dtype'])}; read are {', '.join(_KINDS)}"
        )
    return _KINDS[entry["dtype"]], entry["shape"], offsets[0], offsets[1]


def _array(name: str, raw: bytes, kind: str, shape: Any) -> Array:
    try:
        return array_from(raw, kind, shape)
    except FileFormatError as error:
        raise FileFormatError(f"{shown(name)}: {error}") from error
