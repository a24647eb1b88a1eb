"""Opens zip archives whose directory is sound: nothing is unpacked before its size was looked at."""

import io
import os
import zipfile
import zlib
from typing import BinaryIO

from xai_med.errors import FileFormatError
from xai_med.io.numbers import MOST_BYTES, shown

FREE_BYTES = 256 * 2**20
"""Up to here a compressed archive may unpack to as much as it likes: maps of zeros pack a thousandfold."""

MOST_EXPANSION = 100
"""Larger archives unpack to at most this many times their size."""

_ENCRYPTED = 0x1
_CHUNK = 2**20


def open_zip(file: BinaryIO, *, compressed: bool) -> zipfile.ZipFile:
    """Open an archive, and refuse one that is not what it says or unpacks to too much.

    Parameters
    ----------
    file : binary file
        Seekable.
    compressed : bool
        Whether entries may be deflated. Otherwise all must be stored as they are, and together fit in the file.

    Raises
    ------
    FileFormatError
        No archive, encrypted, another compression, a name twice, or a declared size beyond the limits.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise FileFormatError(f"it is no sound zip archive: {error}") from error
    entries = archive.infolist()
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
    names: set[str] = set()
    for entry in entries:
        if entry.filename in names:
            raise FileFormatError(f"it holds {shown(entry.filename)} twice")
        names.add(entry.filename)
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in methods:
            raise FileFormatError(
                f"its entry {shown(entry.filename)} is encrypted, or packed in a way that is not read"
            )
    total = sum(entry.file_size for entry in entries)
    limit = min(MOST_BYTES, max(FREE_BYTES, MOST_EXPANSION * size) if compressed else size)
    if total > limit:
        raise FileFormatError(f"its {size} bytes declare {total} bytes of content, at most {limit} are read")
    return archive


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """All bytes of one entry, as many as its directory declares.

    Raises
    ------
    FileFormatError
        There is none, or it is damaged.
    """
    content = io.BytesIO()
    try:
        left = archive.getinfo(name).file_size
        with archive.open(name) as entry:
            # without a length, `read` unpacks all before it looks at the declared size
            while chunk := entry.read(min(left, _CHUNK)):
                content.write(chunk)
                left -= len(chunk)
    except KeyError:
        raise FileFormatError(f"it lacks the entry {shown(name)}") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        raise FileFormatError(f"its entry {shown(name)} is damaged: {error}") from error
    if left:
        raise FileFormatError(f"its entry {shown(name)} ends {left} bytes too early")
    return content.getvalue()
