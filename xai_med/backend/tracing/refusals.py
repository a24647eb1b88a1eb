"""What is refused while a model runs, before an operation can do harm or a wrong map can come of it."""

from collections.abc import Callable
from typing import TypeAlias

from xai_med.backend.framework import Framework
from xai_med.backend.operations import Call, Details, Kind
from xai_med.backend.record import Node
from xai_med.backend.tensors import Tensor
from xai_med.backend.tracing.weak import TensorMap
from xai_med.errors import NotApplicableError, ShapeError, UnsupportedOperationError

Place: TypeAlias = Callable[[], str]
"""Tells where the model is, in words; asked only for a message."""


def refuse_call(call: Call, details: Details, parents: tuple[Node, ...], *, images: int, place: Place) -> None:
    """Refuse a call by what was read off it.

    Raises
    ------
    ShapeError
        The batch axis is missing.
    NotApplicableError
        The call is random, would change the model, or couples the images of the batch.
    """
    if details.space is not None and len(parents[0].shape) != details.space + 2:
        raise ShapeError(
            f"{call.name} works on {details.space} space axes and got a tensor of shape {parents[0].shape}; "
            f"images must come as (N, C, *space): add the batch axis with x[None]"
        )
    if details.channels is not None and parents[0].index == 0 and parents[0].shape[1] != details.channels:
        raise ShapeError(
            f"the images have {parents[0].shape[1]} channels, {call.name} in {place()} reads {details.channels}; give "
            f"images as the model was trained"
        )
    if details.is_active:
        refuse_random(call, place)
    if details.changes_model:
        raise NotApplicableError(
            f"{call.name} in {place()} would update the model's running statistics though the model is in "
            f"evaluation mode; make it depend on the module's training flag"
        )
    if details.couples_images and images > 1:
        raise NotApplicableError(
            f"{call.name} in {place()} uses statistics of the batch, so that the result for one image "
            f"depends on the others; explain one image at a time"
        )


def refuse_random(call: Call, place: Place) -> None:
    """Refuse an operation that draws random numbers."""
    raise NotApplicableError(
        f"{call.name} in {place()} is random in evaluation mode, so that two explanations of one image "
        f"would differ; make it depend on the module's training flag, or remove it"
    )


def refuse_hidden(call: Call, framework: Framework, nodes: TensorMap[Node], leaf: Tensor | None, place: Place) -> None:
    """Refuse what no rule can act on: a value that came of unseen operations, or operations that will run again."""
    if framework.is_recomputing():
        raise UnsupportedOperationError(
            f"{call.name} in {place()} runs under checkpointing, which computes it once more, without rules, for its "
            f"derivatives; switch checkpointing off in evaluation mode, or use method='grad_cam'"
        )
    for value in (*call.args, *call.kwargs.values()):
        for item in value if isinstance(value, list | tuple) else (value,):
            is_unknown = framework.is_tensor(item) and nodes.get(item) is None
            if is_unknown and leaf is not None and framework.reaches(item, leaf):
                raise UnsupportedOperationError(
                    f"{call.name} in {place()} receives what came of an operation out of sight, such as a scripted "
                    f"function or a custom autograd function, where no rule can act; use method='grad_cam'"
                )


def refuse_unfollowed_write(call: Call, framework: Framework, nodes: TensorMap[Node], place: Place) -> None:
    """Refuse to write where derivatives do not follow: the values of a tensor change, and its derivatives do not."""
    written = call.args[0]
    if not framework.is_tensor(written):
        return
    for tensor in (written, framework.base(written)):
        node = nodes.get(tensor)
        if node is None:
            continue
        if node.kind is Kind.DETACH:
            raise UnsupportedOperationError(
                f"{call.name} in {place()} writes into a detached tensor, which shares its memory with the one that it "
                f"was detached from, where derivatives do not follow; write into a copy, x.detach().clone()"
            )
        if node.is_differentiable and not framework.is_recording():
            raise UnsupportedOperationError(
                f"{call.name} in {place()} writes into the result of {node.name} with gradients switched off, where "
                f"derivatives do not follow; write into a copy"
            )
