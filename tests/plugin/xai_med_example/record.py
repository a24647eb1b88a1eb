"""The record of a blueprint: what each step is in the vocabulary of xai_med."""

from collections.abc import Mapping
from types import MappingProxyType

from xai_med.backend.axes import image_axes, result_axes
from xai_med.backend.operations import NO_DETAILS, Details, Kind
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array
from xai_med.blueprints import INPUT, Blueprint
from xai_med.blueprints.validation import PlannedStep, planned

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "convolution": Kind.CONVOLUTION,
        "linear": Kind.LINEAR,
        "batch_norm": Kind.BATCH_NORM,
        "relu": Kind.RELU,
        "silu": Kind.ACTIVATION,
        "sigmoid": Kind.SIGMOID,
        "softmax": Kind.SOFTMAX,
        "max_pool": Kind.MAX_POOL,
        "average_pool": Kind.AVERAGE_POOL,
        "global_average_pool": Kind.AVERAGE_POOL,
        "global_max_pool": Kind.MAX_POOL,
        "flatten": Kind.RESHAPE,
        "concatenate": Kind.CONCATENATE,
        "add": Kind.ADD,
        "multiply": Kind.MULTIPLY,
        "dropout": Kind.DROPOUT,
    }
)
"""The adapter's table. An operation that is missing here would be `Kind.UNKNOWN`, which methods may refuse."""


def record(blueprint: Blueprint, values: Mapping[str, Array]) -> dict[str, Node]:
    """Make the node of each step, by name, in order of execution.

    Parameters
    ----------
    blueprint : Blueprint
        What has run.
    values : mapping of str to ndarray
        The input and the output of every step.
    """
    space = len(blueprint.input_shape) - 1
    nodes = {INPUT: Node(Kind.ROUTING, INPUT, (), values[INPUT].shape, image_axes(space), 0)}
    for index, plan in enumerate(planned(blueprint), start=1):
        step = plan.step
        parents = tuple(nodes[name] for name in step.inputs)
        kind, details = _described(plan, parents[0])
        shape = values[step.name].shape
        axes = result_axes(kind, details, parents, shape, space=space)
        nodes[step.name] = Node(kind, step.name, parents, shape, axes, index, module=step, details=details)
    return nodes


def _described(plan: PlannedStep, parent: Node) -> tuple[Kind, Details]:
    """Kind and details: heads are found by weights, biases, and what the pools cover."""
    step, kind = plan.step, KINDS[plan.step.operation]
    space = tuple(range(2, len(parent.shape)))
    if step.operation in ("convolution", "linear"):
        return kind, Details(weight=step.arrays["weight"], bias=step.arrays.get("bias"), output_axis=0)
    if step.operation == "global_average_pool":
        if plan.options["style"] == "mean":  # drops the space axes, as a mean does in a framework
            return Kind.MEAN, Details(reduced=space)
        return kind, Details(is_global=True)
    if kind is Kind.CONCATENATE:  # along channels: images and space stay where they are
        return kind, Details(untouched=frozenset(range(len(parent.shape))) - {1})
    if step.operation == "average_pool":
        covers = plan.options["padding"] == 0 and {parent.shape[axis] for axis in space} == {plan.options["kernel"]}
        return kind, Details(is_global=covers)
    return kind, NO_DETAILS
