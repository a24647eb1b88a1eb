"""Arrays of a ``.pdparams`` file, which is a pickle of NumPy arrays; Paddle's own reader would execute it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.io.numbers import BFLOAT16, array_from, shown
from xai_med.io.pickle_reader import Named, Unfinished, Vocabulary, read_pickle

_NAMES_TABLE = "StructuredToParameterName@@"  # Paddle's own names of the arrays, beside the arrays
_SPLIT_TABLE = "UnpackBigParamInfor@@"


def read_paddle(file: BinaryIO, *, size: int) -> dict[str | int, Any]:
    """Read what ``paddle.save`` wrote of a state dictionary, or of a dictionary around one.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size : int
        Of the file in bytes.

    Returns
    -------
    dict
        Arrays, dictionaries of arrays and plain values. bfloat16, which Paddle writes as uint16, is widened.

    Raises
    ------
    FileFormatError
        It holds anything but arrays, names and plain values.
    """
    content = _finished(read_pickle(file, size=size, vocabulary=_VOCABULARY))
    if not isinstance(content, dict):
        raise FileFormatError("it holds no state dictionary")
    if _SPLIT_TABLE in content:
        raise FileFormatError("it holds arrays cut in pieces; save it again with protocol=4")
    content.pop(_NAMES_TABLE, None)
    return content


def _finished(value: Any) -> Any:
    """Arrays instead of their makers, two levels deep: a dictionary around a state dictionary."""
    if isinstance(value, dict):
        return {key: _array_or(inner, _entries) for key, inner in value.items()}
    return value


def _entries(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _array_or(inner, lambda other: other) for key, inner in value.items() if key != _NAMES_TABLE}


def _array_or(value: Any, otherwise: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], _PickledArray):
        value = value[1]  # with its name, as Paddle writes a tensor
    return value.array() if isinstance(value, _PickledArray) else otherwise(value)


class _PickledKind(Unfinished):
    """A kind of number, as NumPy pickles it."""

    def __init__(self, kind: Any, *_: Any) -> None:
        # Paddle writes the bits of bfloat16 as uint16 and reads them so, and has no uint16
        self.kind = BFLOAT16 if kind == "u2" else kind
        self.is_big_endian = False

    def finish(self, state: Any) -> None:
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise FileFormatError("it holds records instead of numbers")
        self.is_big_endian = order == ">"


class _PickledArray(Unfinished):
    """An array, as NumPy pickles it: first an empty one, then its content."""

    def __init__(self) -> None:
        self._array: Array | None = None

    def array(self) -> Array:
        if self._array is None:
            raise FileFormatError("it holds an array without content")
        return self._array

    def finish(self, state: Any) -> None:
        _, shape, kind, is_column_major, raw = state
        self.fill(raw, kind, shape, column_major=bool(is_column_major))

    def fill(self, raw: Any, kind: Any, shape: Any, *, column_major: bool = False) -> None:
        if not isinstance(kind, _PickledKind) or not isinstance(kind.kind, str):
            raise FileFormatError("it holds an array without a kind of number")
        if not isinstance(raw, bytes | bytearray):
            raise FileFormatError(f"it holds an array of objects (kind {shown(kind.kind)}) instead of numbers")
        self._array = array_from(bytes(raw), kind.kind, shape, big_endian=kind.is_big_endian, column_major=column_major)


def _empty(array_kind: Any, shape: Any, _: Any) -> _PickledArray:
    if array_kind != Named("numpy.ndarray") or shape != (0,):
        raise FileFormatError("it makes an array before its content, as NumPy does not")
    return _PickledArray()


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> _PickledArray:
    array = _PickledArray()
    array.fill(raw, kind, shape, column_major=order == "F")
    return array


def _scalar(kind: Any, raw: Any) -> _PickledArray:
    return _from_buffer(raw, kind, (), "C")


def _encoded(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise FileFormatError("it encodes text, as no array does")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""  # how protocol 2 says it


def _tuple(items: Any) -> tuple[Any, ...]:
    if not isinstance(items, tuple):
        raise FileFormatError("it makes a tuple of something else")
    return items


def _dictionary() -> dict[Any, Any]:
    return {}


def _makers() -> Mapping[str, Callable[..., Any]]:
    makers: dict[str, Callable[..., Any]] = {
        "numpy.dtype": _PickledKind,
        "_codecs.encode": _encoded,
        "collections.OrderedDict": _dictionary,
        "builtins.tuple": _tuple,
        "__builtin__.tuple": _tuple,
        "__builtin__.bytes": _no_bytes,
    }
    for package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        makers[f"{package}.multiarray._reconstruct"] = _empty
        makers[f"{package}.multiarray.scalar"] = _scalar
        makers[f"{package}.numeric._frombuffer"] = _from_buffer
    return MappingProxyType(makers)


_VOCABULARY = Vocabulary(_makers(), frozenset({"numpy.ndarray"}))
