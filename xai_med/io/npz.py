"""Arrays of an ``.npz`` archive, each compared with its declared size before memory is taken; no objects."""

import io
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.io.numbers import array_from, shown
from xai_med.io.zip_directory import open_zip, read_entry

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy reads headers as Python literals and lets some of the parser's own errors through
_UNREADABLE_HEADER = (ValueError, KeyError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError)


def read_npz(file: BinaryIO) -> dict[str, Array]:
    """Read all arrays by name. The names are keys and nothing else: no entry is ever unpacked into a file.

    Raises
    ------
    FileFormatError
        No sound archive, unpacking to too much, or an entry that is no array of numbers, or declares another size
        than it has.
    """
    with open_zip(file, compressed=True) as archive:
        return {name.removesuffix(".npy"): _array(name, read_entry(archive, name)) for name in archive.namelist()}


def _array(name: str, content: bytes) -> Array:
    stream = io.BytesIO(content)
    try:
        read_header = _HEADER_READERS[np.lib.format.read_magic(stream)]
        shape, is_column_major, dtype = read_header(stream)
    except _UNREADABLE_HEADER as error:
        raise FileFormatError(f"its entry {shown(name)} is no array: {shown(str(error))}") from error
    try:
        return array_from(
            content[stream.tell() :],
            dtype.str[1:],
            shape,
            big_endian=dtype.str[0] == ">",
            column_major=is_column_major,
        )
    except FileFormatError as error:
        raise FileFormatError(f"{shown(name)}: {error}") from error
