"""Fills a model with the weights of a file: all of them, or none and a message that names what does not fit."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from xai_med.backend.network import Backend
from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.io.weights import read_weights_file
from xai_med.registry import find_backend, get_backend

Renaming = Mapping[str, str] | Callable[[str], str]


def load_weights(
    model: Any,
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    strip_prefix: str | None = None,
    rename: Renaming | None = None,
    backend: str | Backend | None = None,
) -> None:
    """Fill a model with all the arrays of a file, in place.

    Parameters
    ----------
    model : torch.nn.Module, paddle.nn.Layer, or another backend's model
        Untouched where anything does not fit.
    path, key, strip_prefix
        See `xai_med.io.weights.read_weights`.
    rename : mapping or callable, optional
        From names in the file, without the prefix, to names in the model's state dictionary.
    backend : str or Backend, optional
        By default the one that recognises the model.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileFormatError
        The file cannot be read safely; another framework wrote it, whose linear layers keep their weights transposed;
        or its names, shapes and numbers are not exactly those of the model.
    """
    if backend is None:
        chosen = find_backend(model)
    else:
        chosen = get_backend(backend) if isinstance(backend, str) else backend
    file = read_weights_file(path, key=key, strip_prefix=strip_prefix)
    if file.writer not in (None, chosen.name):
        raise FileFormatError(
            f"{path} was written by {file.writer} and the model is of {chosen.name}: linear weights of the two lie "
            "transposed to each other, and their batch norms have other names; convert it as docs/files.md shows"
        )
    chosen.load_weights(model, _renamed(file.arrays, rename))


def _renamed(arrays: Mapping[str, Array], rename: Renaming | None) -> dict[str, Array]:
    if rename is None:
        return dict(arrays)
    if isinstance(rename, Mapping):
        unknown = sorted(set(rename) - set(arrays))
        if unknown:
            raise FileFormatError(f"rename mentions {unknown[:5]}, which the file does not hold")
        names = [rename.get(name, name) for name in arrays]
    else:
        names = [rename(name) for name in arrays]
    found: dict[str, Array] = {}
    for name, (old, array) in zip(names, arrays.items(), strict=True):
        if name in found:
            raise FileFormatError(f"rename gives {old!r} and another array the same name {name!r}")
        found[name] = array
    return found
