"""What is explained: classes, differences of classes, probabilities, masks, any function of the output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from xai_med.backend.tensors import shape_of
from xai_med.errors import TargetError
from xai_med.selection import (
    Context,
    Selection,
    from_scores,
    integers,
    linear,
    refuse_dense,
    select_classes,
    select_signs,
)

ClassName: TypeAlias = int | str


class Target(Protocol):
    """Anything that can be explained."""

    def select(self, context: Context) -> Selection:
        """Apply the target to a batch.

        Raises
        ------
        TargetError
            It does not fit the model's output.
        """
        ...


@dataclass(frozen=True)
class Classes:
    """The same classes for every image: ``Classes(3, 5)`` or ``Classes("edema", "mass")``."""

    names: tuple[ClassName, ...]

    def __init__(self, *names: ClassName) -> None:
        if not names:
            raise TargetError("Classes() needs at least one class")
        object.__setattr__(self, "names", names)

    def select(self, context: Context) -> Selection:
        """Select the same columns of every row."""
        indices = [context.index(name) for name in self.names]
        return select_classes(context, np.tile(np.asarray(indices, dtype=np.int64), (context.images, 1)))


@dataclass(frozen=True)
class All:
    """Every class of the model."""

    def select(self, context: Context) -> Selection:
        """Select all columns."""
        return select_classes(context, np.tile(np.arange(context.classes), (context.images, 1)))


@dataclass(frozen=True)
class Predicted:
    """The class with the largest logit, image by image; for a single logit its sign decides."""

    def select(self, context: Context) -> Selection:
        """Select one column per row."""
        refuse_dense(context, "the predicted class")
        values = context.values
        if context.classes == 1:
            return select_signs(context, np.where(values[:, :1] >= 0, 1.0, -1.0))
        return select_classes(context, values.argmax(axis=1)[:, None])


@dataclass(frozen=True, eq=False)
class PerImage:
    """Classes chosen image by image.

    Parameters
    ----------
    names : sequence of N, or array of shape (N, K)
        Indices or names.
    """

    names: Any

    def select(self, context: Context) -> Selection:
        """Select columns row by row."""
        rows = [row if isinstance(row, list | tuple) else [row] for row in _rows(self.names)]
        if len(rows) != context.images:
            raise TargetError(
                f"{len(rows)} targets were given for a batch of {context.images} images; give one per image, "
                f"or Classes(...) for several classes of every image"
            )
        if len({len(row) for row in rows}) != 1:
            raise TargetError("every image needs the same number of classes")
        indices = np.asarray([[context.index(name) for name in row] for row in rows], dtype=np.int64)
        if not any(isinstance(name, str) for row in rows for name in row):
            _refuse_indicators(indices, context.classes)
        return select_classes(context, indices)


@dataclass(frozen=True)
class Sign:
    """The positive or the negative answer of a single-logit model."""

    is_positive: bool

    def select(self, context: Context) -> Selection:
        """Select the logit or its negation, unless a class of this name was given."""
        word = "positive" if self.is_positive else "negative"
        if context.class_names is not None and word in context.class_names and context.classes > 1:
            return Classes(word).select(context)
        if context.classes != 1:
            raise TargetError(
                f"target 'positive' and 'negative' are for models with one logit, this one has {context.classes}"
            )
        refuse_dense(context, "a sign")
        return select_signs(context, np.full((context.images, 1), 1.0 if self.is_positive else -1.0))


@dataclass(frozen=True)
class Contrast:
    """Why one class rather than another: the difference of two logits.

    Parameters
    ----------
    this, rather_than : int or str
        Class indices or names.
    """

    this: ClassName
    rather_than: ClassName

    def select(self, context: Context) -> Selection:
        """Select a difference of columns."""
        refuse_dense(context, "a contrast")
        first, second = context.index(self.this), context.index(self.rather_than)
        if first == second:
            raise TargetError(f"a contrast needs two different classes, got {self.this!r} twice")
        coefficients = np.zeros((context.images, 1, context.classes))
        coefficients[:, 0, first], coefficients[:, 0, second] = 1.0, -1.0
        label = f"{context.label(first)} rather than {context.label(second)}"
        return linear(context, coefficients, ((label,),) * context.images, np.full((context.images, 1), -1))


@dataclass(frozen=True)
class Probability:
    """The probability of classes instead of their logits; saturates, so prefer the logit.

    Parameters
    ----------
    names : tuple
        Class indices or names.
    """

    names: tuple[ClassName, ...]

    def __init__(self, *names: ClassName) -> None:
        if not names:
            raise TargetError("Probability() needs at least one class")
        object.__setattr__(self, "names", names)

    def select(self, context: Context) -> Selection:
        """Select columns after the sigmoid or softmax."""
        refuse_dense(context, "a probability")
        chosen = select_classes(context, Classes(*self.names).select(context).indices)
        tensors, logits = context.tensors, context.logits.values
        if context.activation is None:
            raise TargetError("it is not known how the model turns logits into probabilities; give activation=")
        if context.activation == "sigmoid":
            squashed = 1.0 / (1.0 + tensors.exp(-logits))
        else:
            shifted = tensors.exp(logits - tensors.stop_gradient(tensors.amax(logits, (1,), keep=True)))
            squashed = shifted / tensors.sum(shifted, (1,), keep=True)
        columns = [int(index) for index in chosen.indices[0]]
        labels = tuple(tuple(f"probability of {name}" for name in row) for row in chosen.labels)
        return from_scores(context, tensors.take(squashed, columns, 1), labels)


@dataclass(frozen=True, eq=False)
class Mask:
    """A class of a dense output, summed over a mask.

    Parameters
    ----------
    name : int or str
        Class.
    mask : ndarray of shape (*space) or (N, *space), bool or weights
        In the output's space.
    """

    name: ClassName
    mask: Any

    def select(self, context: Context) -> Selection:
        """Select a channel under the mask."""
        shape = shape_of(context.logits.values)
        if not context.logits.is_dense:
            raise TargetError(f"a mask needs a dense output (N, C, *space), the model returns {shape}")
        index = context.index(self.name)
        mask = np.asarray(self.mask, dtype=np.float64)
        if mask.shape not in (shape[2:], (shape[0], *shape[2:])):
            raise TargetError(f"the mask has shape {mask.shape}, the output's space is {shape[2:]}")
        if not np.isfinite(mask).all():
            raise TargetError("the mask holds NaN or infinite weights; clean it before explaining")
        if not mask.any():
            raise TargetError("the mask is empty")
        cotangent = np.zeros(shape)
        cotangent[:, index] = mask
        scores = (context.values * cotangent).reshape(shape[0], -1).sum(axis=1, keepdims=True)
        labels = ((f"{context.label(index)} in mask",),) * shape[0]
        return Selection(context.logits.values, (cotangent,), scores, labels, np.full((shape[0], 1), index), None)


@dataclass(frozen=True, eq=False)
class FunctionOfOutput:
    """Any function of what the model returned.

    Parameters
    ----------
    function : callable
        Takes the model's output, returns a native tensor of shape (N,) or (N, K).
    """

    function: Callable[[Any], Any]

    def select(self, context: Context) -> Selection:
        """Evaluate the function."""
        scores = self.function(context.output)
        if not context.is_tensor(scores):
            raise TargetError(
                f"the target function must return a tensor of the model's framework, got {type(scores).__name__}"
            )
        shape = shape_of(scores)
        if len(shape) not in (1, 2) or shape[0] != context.images:
            raise TargetError(
                f"the target function must return one score per image, of shape ({context.images},) or "
                f"({context.images}, K), got {shape}"
            )
        if len(shape) == 1:
            scores = context.tensors.reshape(scores, (shape[0], 1))
        name = getattr(self.function, "__name__", type(self.function).__name__)
        labels = tuple(f"{name}[{k}]" if shape[1:] not in ((), (1,)) else name for k in range(shape_of(scores)[1]))
        return from_scores(context, scores, (labels,) * shape[0])


def _refuse_indicators(indices: Any, classes: int) -> None:
    """Refuse a one-hot or multi-hot code, which would be read as classes 0 and 1."""
    differ = bool((indices != indices[:1]).any())  # of two classes, both may be meant, in one order for all images
    if indices.shape[1] == classes and classes > 1 and indices.max() <= 1 and (classes > 2 or differ):
        raise TargetError(
            f"the target holds {classes} zeros and ones for each image, one for each class: an indicator (one-hot) "
            f"where class indices are expected; give target.argmax(axis=1), or a list of indices for each image"
        )


def _rows(names: Any) -> Sequence[Any]:
    if isinstance(names, list | tuple):
        return names
    array = integers(names)
    return [list(row) for row in array] if array.ndim == 2 else list(array)
