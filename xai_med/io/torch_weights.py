"""Arrays of a ``.pt`` or ``.pth`` file: a zip archive with a pickle of names and one entry for each storage.

PyTorch itself is not needed. Its ``torch.load(weights_only=True)`` reads the same arrays, and the tests compare the two
bit for bit; but before 2.6 it could be made to execute code (CVE-2025-32434), and it takes whatever memory a file asks
for.
"""

import io
import math
import zipfile
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.io.numbers import BFLOAT16, array_from, checked_shape, shown
from xai_med.io.pickle_reader import Named, Vocabulary, read_pickle
from xai_med.io.zip_directory import open_zip, read_entry

_STORAGES: Mapping[str, str] = MappingProxyType(
    {
        "torch.DoubleStorage": "f8",
        "torch.FloatStorage": "f4",
        "torch.HalfStorage": "f2",
        "torch.BFloat16Storage": BFLOAT16,
        "torch.LongStorage": "i8",
        "torch.IntStorage": "i4",
        "torch.ShortStorage": "i2",
        "torch.CharStorage": "i1",
        "torch.ByteStorage": "u1",
        "torch.BoolStorage": "b1",
    }
)


def read_torch(file: BinaryIO) -> dict[str | int, Any]:
    """Read what ``torch.save`` wrote of a state dictionary, or of a dictionary around one.

    Returns
    -------
    dict
        Arrays, dictionaries of arrays and plain values. Strides are kept, bfloat16 is widened.

    Raises
    ------
    FileFormatError
        It holds a module, a program or anything but tensors, names and plain values.
    """
    with open_zip(file, compressed=False) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        folder = pickles[0].removesuffix("data.pkl") if len(pickles) == 1 else ""
        if not folder:
            raise FileFormatError("it is a zip archive that torch.save did not write")
        if f"{folder}constants.pkl" in names or any(name.startswith(f"{folder}code/") for name in names):
            raise FileFormatError("it is a TorchScript program, not weights; save its state_dict() instead")
        if f"{folder}byteorder" in names and read_entry(archive, f"{folder}byteorder") != b"little":
            raise FileFormatError("it was written on a big-endian machine, which is not read")
        pickled = read_entry(archive, pickles[0])
        vocabulary = _vocabulary(_Storages(archive, f"{folder}data/"))
        content = read_pickle(io.BytesIO(pickled), size=len(pickled), vocabulary=vocabulary)
    if not isinstance(content, dict):
        raise FileFormatError("it holds no state dictionary")
    return content


class _Storages:
    """The numbers that tensors look at, each read once."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        self._read: dict[tuple[str, str], Array] = {}

    def __call__(self, reference: Any) -> Array:
        """Numbers (count,) of a reference ``("storage", kind, entry, device, count)``."""
        word, named, entry, _, count = reference
        kind = _STORAGES.get(named.place) if isinstance(named, Named) else None
        if word != "storage" or kind is None or not isinstance(entry, str):
            raise FileFormatError("it refers to numbers in a way that torch.save does not")
        if (entry, kind) not in self._read:
            raw = read_entry(self._archive, self._folder + entry)
            self._read[entry, kind] = array_from(raw, kind, (count,))
        found = self._read[entry, kind]
        if found.shape != (count,):
            raise FileFormatError(f"its storage {shown(entry)} has two sizes")
        return found


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Array:
    """The view of a storage that a tensor is."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise FileFormatError("it holds a tensor without numbers")
    shape, steps = checked_shape(size), checked_shape(stride)
    (start,) = checked_shape((offset,))
    if len(shape) != len(steps):
        raise FileFormatError(f"it holds a tensor of shape {shape} with {len(steps)} strides")
    count = math.prod(shape)
    if count == 0:
        return storage[:0].reshape(shape)
    last = start + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if last >= len(storage) or count > len(storage):
        raise FileFormatError(
            f"it holds a tensor of shape {shape} that looks beyond its {len(storage)} numbers, or twice at the same; "
            "save .clone() of an expanded tensor"
        )
    strides = tuple(step * storage.itemsize for step in steps)
    return np.lib.stride_tricks.as_strided(storage[start:], shape, strides, writeable=False)


def _parameter(tensor: Any, *_: Any) -> Array:
    if not isinstance(tensor, np.ndarray):
        raise FileFormatError("it holds a parameter that is no tensor")
    return tensor


def _dictionary() -> dict[Any, Any]:
    return {}


def _vocabulary(stored: Callable[[Any], Any]) -> Vocabulary:
    makers: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "collections.OrderedDict": _dictionary,
    }
    return Vocabulary(MappingProxyType(makers), frozenset(_STORAGES), stored)
