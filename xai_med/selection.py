"""A target applied to the logits of a batch: what is pulled back, and what it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array, Tensor, Tensors, shape_of
from xai_med.errors import TargetError
from xai_med.logits import Logits


@dataclass(frozen=True, eq=False)
class Selection:
    """A target applied to the logits of a batch.

    Parameters
    ----------
    outputs : tensor
        What cotangents are pulled back from: the logits, or scores computed from them.
    cotangents : tuple of ndarray, each of the shape of `outputs`
        One per explained score.
    scores : ndarray of shape (N, K), float64
        The explained quantity.
    labels : tuple of N tuples of K str
        Names for pictures and text.
    indices : ndarray of shape (N, K), int64
        Class index, -1 where the score is not one class.
    coefficients : ndarray of shape (N, K, C) or None
        Weights of the logits where the score is linear in them and the output is not dense.
    """

    outputs: Tensor
    cotangents: tuple[Array, ...]
    scores: Array
    labels: tuple[tuple[str, ...], ...]
    indices: Array
    coefficients: Array | None


@dataclass(frozen=True, eq=False)
class Context:
    """What a target may know.

    Parameters
    ----------
    output : object
        What the model returned.
    logits : Logits
        Found in it.
    tensors : Tensors
        Operations of the framework; what a target computes with them is recorded.
    class_names : tuple of str or None
        Of the model's outputs.
    activation : str or None
        ``"sigmoid"`` or ``"softmax"``: from the trace, or from the caller.
    is_tensor : callable
        Whether a value is a native tensor.
    """

    output: Any
    logits: Logits
    tensors: Tensors
    class_names: tuple[str, ...] | None
    activation: str | None
    is_tensor: Callable[[object], bool]

    @property
    def values(self) -> Array:
        """The logits as a float64 array."""
        return self.tensors.to_numpy(self.logits.values).astype(np.float64)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return shape_of(self.logits.values)[1]

    @property
    def images(self) -> int:
        """Number of images."""
        return shape_of(self.logits.values)[0]

    def label(self, index: int) -> str:
        """Name of a class."""
        return self.class_names[index] if self.class_names else f"class {index}"

    def index(self, name: object) -> int:
        """Class index from an index or a name.

        Raises
        ------
        TargetError
            No such class, or not an index at all.
        """
        if isinstance(name, str):
            if self.class_names is None:
                raise TargetError(f"class {name!r} was asked for by name; give class_names= with one name per output")
            if name not in self.class_names:
                raise TargetError(f"there is no class {name!r}; the classes are {', '.join(self.class_names)}")
            if self.class_names.count(name) > 1:
                raise TargetError(
                    f"{self.class_names.count(name)} classes are called {name!r}; give the index of the one you mean"
                )
            return self.class_names.index(name)
        array = integers(name)
        if array.ndim:
            raise TargetError(
                f"one class index or name was expected, got {name!r}; "
                f"several classes are written Classes(0, 2), or one row per image"
            )
        index = int(array)
        if index < 0:
            raise TargetError(
                f"class {index} was asked for; indices count from 0, so the last class is {self.classes - 1}"
            )
        if index >= self.classes:
            hint = (
                "; a single-logit model takes target='positive' or 'negative'"
                if self.classes == 1
                else f"; use target={self.classes - 1} for the last"
            )
            raise TargetError(
                f"class {index} was asked for, the model has {self.classes} "
                f"output{'s' * (self.classes != 1)} (0..{self.classes - 1}){hint}"
            )
        return index


def integers(value: Any) -> Array:
    """An integer array from an integer, a sequence, or a tensor; nothing is rounded."""
    if isinstance(value, bool | np.bool_):
        raise TargetError(f"a target is a class index, got the boolean {value}; write 0 or 1")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(f"a target is a class index or name, got {type(value).__name__}") from error
    if array.dtype.kind not in "iu":
        raise TargetError(f"a target is a class index or name, got {value!r} of dtype {array.dtype}")
    return array


def refuse_dense(context: Context, what: str) -> None:
    """Refuse a target that needs one score per image where the model gives one per pixel."""
    if context.logits.is_dense:
        shape = shape_of(context.logits.values)
        raise TargetError(
            f"the model returns {shape}, one value per pixel, where {what} is not one score per image; "
            f"give Mask(class, mask) or a function of the output"
        )


def select_classes(context: Context, indices: Array) -> Selection:
    """Select one class per entry of `indices`, (N, K)."""
    refuse_dense(context, "a class")
    images, count = indices.shape
    coefficients = np.zeros((images, count, context.classes), dtype=np.float32)
    np.put_along_axis(coefficients, indices[:, :, None], 1.0, axis=2)
    labels = tuple(tuple(context.label(int(index)) for index in row) for row in indices)
    return linear(context, coefficients, labels, indices)


def select_signs(context: Context, signs: Array) -> Selection:
    """Select the logit of a single-logit model, or its negation; `signs` is (N, 1) of 1 or -1."""
    name = context.class_names[0] if context.class_names else None
    words = [("positive" if sign > 0 else "negative") for sign in signs[:, 0]]
    labels = tuple((f"{name}: {word}" if name else word,) for word in words)
    return linear(context, signs[:, :, None], labels, np.where(signs > 0, 0, -1))


def linear(context: Context, coefficients: Array, labels: tuple[tuple[str, ...], ...], indices: Array) -> Selection:
    """Select scores that are linear in the logits, with `coefficients` (N, K, C)."""
    # image by image: for a thousand classes the coefficients of a batch are large
    scores = np.stack(
        [rows.astype(np.float64) @ logits for rows, logits in zip(coefficients, context.values, strict=True)]
    )
    cotangents = tuple(coefficients[:, k] for k in range(coefficients.shape[1]))
    return Selection(context.logits.values, cotangents, scores, labels, indices.astype(np.int64), coefficients)


def from_scores(context: Context, scores: Tensor, labels: tuple[tuple[str, ...], ...]) -> Selection:
    """Select scores that a target has computed itself, (N, K)."""
    values = context.tensors.to_numpy(scores).astype(np.float64)
    if not np.isfinite(values).all():
        raise TargetError("the target's score is NaN or infinite for this input")
    count = values.shape[1]
    cotangents = []
    for k in range(count):
        cotangent = np.zeros(values.shape)
        cotangent[:, k] = 1.0
        cotangents.append(cotangent)
    return Selection(scores, tuple(cotangents), values, labels, np.full(values.shape, -1), None)
