"""Numbers as they lie in files: which kinds are read, and how raw bytes become an array."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError

MOST_BYTES = 16 * 2**30
"""Of all arrays of one file together; what a file declares is compared with it before memory is taken."""

BFLOAT16 = "bfloat16"
"""The upper half of a float32; NumPy has no such kind, so it is widened, which is exact."""

KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
"""Kinds of number that are read, in NumPy's words; `BFLOAT16` besides."""


def item_size(kind: str) -> int:
    """Bytes of one number.

    Raises
    ------
    FileFormatError
        The kind is not read.
    """
    if kind == BFLOAT16:
        return 2
    if kind not in KINDS:
        raise FileFormatError(f"it holds numbers of the kind {shown(kind)}; read are {', '.join(KINDS)} and bfloat16")
    return int(kind[1:])


def checked_shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of sizes.

    Raises
    ------
    FileFormatError
        It is no sequence of sizes, or larger than any file that is read.
    """
    is_shape = (
        isinstance(shape, Sequence)
        and not isinstance(shape, str | bytes)
        and len(shape) <= 32
        and all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MOST_BYTES for size in shape)
    )
    if not is_shape:
        raise FileFormatError("it declares an array whose shape is no list of sizes, or is too large to be read")
    if math.prod(size for size in shape if size) > MOST_BYTES:
        raise FileFormatError(f"it declares an array of shape {tuple(shape)}, which is too large to be read")
    return tuple(shape)


def array_from(raw: bytes, kind: str, shape: Any, *, big_endian: bool = False, column_major: bool = False) -> Array:
    """Read raw bytes as an array, not copied except where the kind must be converted.

    Parameters
    ----------
    raw : bytes
        All of the numbers.
    kind : str
        Of `KINDS`, or `BFLOAT16`, which gives float32 of the same values.
    shape : sequence of int
        As the file declares it.
    big_endian, column_major : bool
        How the bytes lie.

    Returns
    -------
    ndarray, read-only

    Raises
    ------
    FileFormatError
        Kind or shape is not read, or the bytes are too few or too many.
    """
    sizes = checked_shape(shape)
    needed = math.prod(sizes) * item_size(kind)
    if len(raw) != needed:
        raise FileFormatError(f"it declares {kind} of shape {sizes}, {needed} bytes, and holds {len(raw)} of them")
    order = ">" if big_endian else "<"
    if kind == BFLOAT16:
        upper = np.frombuffer(raw, f"{order}u2").astype(np.uint32)
        values = (upper << 16).view(np.float32)
    else:
        stored = np.frombuffer(raw, order + kind)
        values = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    values = values.reshape(sizes, order="F" if column_major else "C")
    values.setflags(write=False)
    return values


def shown(name: object) -> str:
    """A text from a file, short enough for a message; of anything else only the type."""
    if not isinstance(name, str):
        return f"a {type(name).__name__}"
    return repr(name if len(name) <= 80 else name[:77] + "...")
