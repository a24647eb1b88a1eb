"""Layouts of CheXNet's weights, and how to get from any of them to any other: by name, never by position."""

import re
from collections.abc import Mapping

import numpy as np

from examples.chexnet.architecture import Part, parts
from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError

_OF_NORMS = {"weight": "weight", "bias": "bias", "running_mean": "_mean", "running_var": "_variance"}
"""Arrays of a batch norm, as PyTorch and as PaddlePaddle name them."""

_WRAPPERS = ("module.", "model.", "_orig_mod.", "densenet121.")
"""What data-parallel training, wrappers and the published classes put before every name."""


def recognise(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Bring the weights of any known layout into torchvision's, and check that nothing is missing or left over.

    Known are torchvision (also torchxrayvision and others built on it); arnoweng/CheXNet and zoogzog/chexnet, whose
    names begin with ``module.densenet121.`` and have ``norm.1`` for ``norm1``; PaddlePaddle's DenseNet and
    jm12138/Paddle-CheXNet, whose linear weight lies transposed.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As `xai_med.io.weights.read_weights` gives them.

    Raises
    ------
    FileFormatError
        These are not the weights of a DenseNet-121.
    """
    short = {_unwrapped(name): array for name, array in arrays.items()}
    if len(short) != len(arrays):
        raise FileFormatError("two arrays differ only in a wrapper's prefix; keep one set of weights in the file")
    found = _from_paddle(short) if any(name.startswith("conv1_func.") for name in short) else _from_torch(short)
    classes, channels = _sizes(found)
    return _checked(found, classes, channels)


def for_torch(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Torchvision's layout, as `recognise` gives it."""
    return dict(weights)


def for_paddle(weights: Mapping[str, Array]) -> dict[str, Array]:
    """PaddlePaddle's layout, from torchvision's."""
    converted = {}
    for part in parts(*_sizes(weights)):
        for old, new in _arrays_of(part).items():
            array = weights[f"{part.name}.{old}"]
            is_transposed = part.kind == "linear" and old == "weight"
            converted[f"{paddle_name(part.name)}.{new}"] = array.T if is_transposed else array
    return converted


def paddle_name(name: str) -> str:
    """PaddlePaddle's name of a part that torchvision names so."""
    fixed = {
        "features.conv0": "conv1_func._conv",
        "features.norm0": "conv1_func._batch_norm",
        "features.norm5": "batch_norm",
        "classifier": "out",
    }
    if name in fixed:
        return fixed[name]
    if layer := re.fullmatch(r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)(\d)", name):
        block, number, kind, place = layer.groups()
        inner = "_batch_norm" if kind == "norm" else "_conv"
        return f"db_conv_{int(block) + 1}.conv{int(block) + 1}_{number}.bn_ac_func{place}.{inner}"
    if transition := re.fullmatch(r"features\.transition(\d)\.(norm|conv)", name):
        block, kind = transition.groups()
        inner = "_batch_norm" if kind == "norm" else "_conv"
        return f"tr_conv{int(block) + 1}_blk.conv_ac_func.{inner}"
    raise FileFormatError(f"{name!r} is no part of a DenseNet-121")


def _unwrapped(name: str) -> str:
    while wrapper := next((each for each in _WRAPPERS if name.startswith(each)), None):
        name = name.removeprefix(wrapper)
    return name


def _from_torch(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Older files have a dot in ``norm.1``, published classes a sigmoid behind ``classifier.0``."""
    found = {}
    for name, array in arrays.items():
        if name.endswith(".num_batches_tracked"):
            continue
        if name == "op_threshs":
            raise FileFormatError(
                "the file holds op_threshs, by which torchxrayvision rescales every probability, and this network does "
                "not; save the state dictionary without it to get the plain sigmoid"
            )
        modern = re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", name)
        found[re.sub(r"^classifier\.0\.", "classifier.", modern)] = array
    return found


def _from_paddle(arrays: Mapping[str, Array]) -> dict[str, Array]:
    given = {re.sub(r"^out\.0\.", "out.", name): array for name, array in arrays.items()}
    if "out.weight" not in given or "conv1_func._conv.weight" not in given:
        raise FileFormatError("the file has no 'out.weight' or no first convolution; is it a whole DenseNet-121?")
    found = {}
    for part in parts(given["out.weight"].shape[-1], given["conv1_func._conv.weight"].shape[1]):
        for ours, theirs in _arrays_of(part).items():
            name = f"{paddle_name(part.name)}.{theirs}"
            if name in given:
                array = given.pop(name)
                found[f"{part.name}.{ours}"] = array.T if part.kind == "linear" and ours == "weight" else array
    return {**found, **given}  # what is left over is named by the check


def _arrays_of(part: Part) -> dict[str, str]:
    if part.kind == "norm":
        return _OF_NORMS
    return {"weight": "weight"} if part.kind == "convolution" else {"weight": "weight", "bias": "bias"}


def _sizes(weights: Mapping[str, Array]) -> tuple[int, int]:
    """Classes and channels."""
    for name in ("classifier.weight", "features.conv0.weight"):
        if name not in weights:
            raise FileFormatError(f"the file has no {name!r}; is it a whole DenseNet-121, in a known layout?")
    return weights["classifier.weight"].shape[0], weights["features.conv0.weight"].shape[1]


def _checked(found: Mapping[str, Array], classes: int, channels: int) -> dict[str, Array]:
    expected = {
        f"{part.name}.{array}": part.shape if array == "weight" else part.shape[:1]
        for part in parts(classes, channels)
        for array in _arrays_of(part)
    }
    missing, surplus = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or surplus:
        raise FileFormatError(
            f"not the weights of a DenseNet-121: {len(missing)} arrays are missing ({', '.join(missing[:3])}), "
            f"{len(surplus)} are unknown ({', '.join(surplus[:3])})"
        )
    wrong = [name for name, shape in expected.items() if found[name].shape != shape]
    if wrong:
        raise FileFormatError(f"{wrong[0]} is {found[wrong[0]].shape}, a DenseNet-121 has {expected[wrong[0]]}")
    return {name: np.asarray(found[name], dtype=np.float32) for name in expected}
