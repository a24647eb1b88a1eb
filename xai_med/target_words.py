"""What a caller may write for a target: an index, a sequence, an array, a word, a function."""

from typing import Any

from xai_med.errors import TargetError
from xai_med.selection import integers
from xai_med.targets import All, Classes, FunctionOfOutput, PerImage, Predicted, Sign, Target


def as_target(target: Any) -> Target:
    """Turn what a caller may write into a target.

    Parameters
    ----------
    target : int, sequence, array, str, callable or Target
        See `xai_med.explain`.

    Raises
    ------
    TargetError
        Nothing that can be explained.
    """
    # a tensor of classes may have a method of this name, which selects rows
    if not hasattr(target, "shape") and callable(getattr(target, "select", None)):
        return target  # type: ignore[no-any-return]
    if isinstance(target, str):
        words: dict[str, Target] = {
            "all": All(),
            "predicted": Predicted(),
            "positive": Sign(is_positive=True),
            "negative": Sign(is_positive=False),
        }
        return words.get(target) or Classes(target)
    if callable(target):
        return FunctionOfOutput(target)
    if isinstance(target, list | tuple):
        if not target:
            raise TargetError("no target was given: the sequence is empty")
        return PerImage(target)
    array = integers(target)
    if array.ndim == 0:
        return Classes(int(array))
    if array.ndim > 2 or array.size == 0:
        raise TargetError(f"an array of targets has shape (N,) or (N, K), got {array.shape}")
    return PerImage(array)
