"""What a method is asked to do, and what it gives back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xai_med.backend.axes import has_image_axes
from xai_med.backend.network import Network, Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places.locate import Locator
from xai_med.backend.places.tokens import attends, layer_lattice, token_features
from xai_med.backend.pooling import before_partial_pools
from xai_med.backend.record import Node
from xai_med.backend.start import AtLayer, AtPool
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.backend.tracing.trace import CUT
from xai_med.checks import Check
from xai_med.errors import GradientError, LayerError, NotApplicableError, OutputError, SettingError
from xai_med.logits import Logits, OutputChoice, read_logits
from xai_med.selection import Context, Selection
from xai_med.targets import Target


@dataclass(frozen=True, eq=False)
class Explained:
    """A target applied to one trace.

    Parameters
    ----------
    logits : Logits
        What was found in the model's output.
    selection : Selection
        The scores to explain.
    activation : str or None
        How the model turns logits into probabilities, as far as known.
    all_logits : ndarray of shape (N, C) or (N, C, *space), float64
        Every logit, also of classes that are not explained.
    was_training : bool
        Whether a part of the model was found in training mode; it ran in evaluation mode all the same.
    cuts : tuple of str
        Operations that the model shields from derivatives, while other paths to the output stay open.
    """

    logits: Logits
    selection: Selection
    activation: str | None
    all_logits: Array
    was_training: bool = False
    cuts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number K of explained scores of each image."""
        return int(self.selection.scores.shape[1])

    def coefficients(self, method: str) -> Array:
        """Weights of the logits, (N, K, C), for methods that need a score linear in them.

        Raises
        ------
        NotApplicableError
            The target is not linear in the logits.
        """
        if self.selection.coefficients is None:
            raise NotApplicableError(
                f"{method} explains a logit or a difference of logits, not {self.selection.labels[0][0]!r}; "
                f"choose classes or a Contrast, or use method='gradient'"
            )
        return self.selection.coefficients


@dataclass(frozen=True, eq=False)
class Request:
    """One question: this model, these images, this target.

    Parameters
    ----------
    network : Network
        The model behind its adapter.
    batch : tensor of shape (N, C, *space)
        A private copy of the images.
    target : Target
        What to explain.
    layer : object
        Module or dotted name, None to find it.
    output : str, int, callable or None
        Which part of a structured output.
    class_names : tuple of str or None
        Names of the outputs.
    activation : str or None
        ``"sigmoid"``, ``"softmax"`` or unknown.
    differentiable : bool
        Whether the attribution keeps its graph.
    is_opaque : bool
        Whether the model's operations cannot be seen, so that it can only be asked.
    """

    network: Network
    batch: Tensor
    target: Target
    layer: Any = None
    output: OutputChoice = None
    class_names: tuple[str, ...] | None = None
    activation: str | None = None
    differentiable: bool = False
    is_opaque: bool = False

    @property
    def space(self) -> tuple[int, ...]:
        """Sizes of the input's space axes."""
        return shape_of(self.batch)[2:]

    def explained(self, trace: Trace) -> Explained:
        """Find the logits in a trace and apply the target."""
        logits = read_logits(trace, self.output)
        images, rows = shape_of(self.batch)[0], shape_of(logits.values)[0]
        if rows != images:
            raise OutputError(
                f"the model returned {rows} rows for {images} images; it must return one row per image, "
                f"or output= must point to what does"
            )
        if images > 1:
            _stop_where_images_mix(logits, trace)
        if self.class_names is not None and len(self.class_names) != shape_of(logits.values)[1]:
            raise SettingError(
                f"{len(self.class_names)} class names were given, the model has {shape_of(logits.values)[1]} outputs"
            )
        if logits.squash and self.activation and logits.squash != self.activation:
            raise SettingError(f"activation={self.activation!r} was given, the model itself ends in a {logits.squash}")
        activation = logits.squash or self.activation
        context = Context(trace.output, logits, trace.tensors, self.class_names, activation, trace.is_tensor)
        with trace.recording():
            selection = self.target.select(context)
        if selection.outputs is logits.values:
            _refuse_cut(logits, trace)
        return Explained(logits, selection, activation, context.values, trace.was_training, _cuts(logits, trace))

    def cotangents(self, explained: Explained, trace: Trace) -> Iterator[Tensor]:
        """Native seeds, one per explained score."""
        for cotangent in explained.selection.cotangents:
            yield trace.tensors.from_numpy(np.asarray(cotangent, dtype=np.float64), explained.selection.outputs)

    def without_layer(self, method: str) -> None:
        """Refuse a layer where the method works at the input."""
        if self.layer is not None:
            raise SettingError(f"{method} is taken at the input and has no layer; remove layer=")

    @contextmanager
    def features(self, *, uneven: bool = False) -> Iterator[Trace]:
        """A trace that begins at the asked layer, or at the tensor entering the global pool.

        Where that tensor holds tokens, windows or channels last, its places are arranged: what is captured is
        always (N, C, *layer space), and class tokens are not in it.

        Parameters
        ----------
        uneven : bool
            Whether the caller heeds ``trace.lattice``, as cells that do not divide the image evenly need.

        Raises
        ------
        LayerError
            The layer's cells could not be followed to places in the image.
        """
        start = AtPool() if self.layer is None else AtLayer(*self.network.find_layer(self.layer))
        with self.network.trace(self.batch, start=start, differentiable=self.differentiable) as trace:
            better = self._better_start(start, trace)
            if better is None:
                yield trace
                return
        if better.lattice is not None and not better.lattice.is_even and not uneven:
            raise LayerError(
                "the cells of the layer do not divide the image evenly, and this method cannot place them; pad the "
                "images to a multiple of the model's patches and windows, or choose another layer"
            )
        with self.network.trace(self.batch, start=better, differentiable=self.differentiable) as trace:
            yield trace

    def _better_start(self, start: AtPool | AtLayer, trace: Trace) -> AtPool | AtLayer | None:
        """Where a second pass must begin, as only the complete record of the first shows; None for no such need."""
        if isinstance(start, AtLayer) and (trace.captured is not None or trace.watched_node is None):
            return None
        logits = read_logits(trace, self.output)
        captured = trace.captured_node
        if captured is not None and not any(
            attends(node) for node in logits.node.ancestors() if node.index > captured.index
        ):
            return None
        if shape_of(self.batch)[0] > 1:
            _stop_where_images_mix(logits, trace)
        locator = Locator(trace, self.batch)
        if isinstance(start, AtLayer):
            node = trace.watched_node
            return replace(start, lattice=None if node is None else layer_lattice(node, locator, start.name))
        node = token_features(logits.node, locator, trace)
        if node is None or node.index == 0:
            return None if trace.late_producer is None else AtPool(trace.late_producer)
        node = before_partial_pools(node)
        if has_image_axes(node, len(self.space)):
            return AtPool(node.index)
        return AtPool(node.index, locator.lattice(node))


class MixedImagesError(Exception):
    """The model mixes images of a batch, or may; never reaches the caller: images are then explained one by one."""


def _stop_where_images_mix(logits: Logits, trace: Trace) -> None:
    """Stop where the record cannot show that each row of the logits depends on its own image alone."""
    if trace.left:
        node = trace.left[0]
        raise MixedImagesError(f"a number was read from the result of {node.name} in {trace.layer_name(node)!r}")
    for node in logits.node.ancestors():
        if not _keeps_images_apart(node):
            raise MixedImagesError(f"{node.name} in {trace.layer_name(node)!r} may mix the images of a batch")


def _keeps_images_apart(node: Node) -> bool:
    """Whether images lie along the first axis of a result, or along another one that values were only moved to."""
    if node.kind in (Kind.PERMUTE, Kind.ROUTING):
        return "N" in node.axes
    return node.axes[:1] == ("N",)


def _refuse_cut(logits: Logits, trace: Trace) -> None:
    """Refuse where every path is cut: a framework's derivative of rounding is zero, and so would be the map."""
    start = trace.captured_node
    is_open = start is None or start in logits.node.ancestors(differentiable_only=True)
    if not (is_open and logits.node.is_differentiable):
        raise GradientError(CUT)


def _cuts(logits: Logits, trace: Trace) -> tuple[str, ...]:
    """Operations behind the start that the model itself shields from derivatives, while other paths stay open."""
    start = trace.captured_node
    if start is None:
        return ()
    return tuple(
        f"{node.name} in {trace.layer_name(node)!r}"
        for node in logits.node.ancestors()
        if node.index > start.index
        and not node.is_differentiable
        and node.kind is not Kind.STEP  # comparisons choose, as in x * (x > 0), and shield nothing
        and any(parent.is_differentiable for parent in node.parents)
    )


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method found, where it arises.

    Parameters
    ----------
    values : tensor
        Native: (N, K, C, *space) at the input, (N, K, *layer space) for CAM methods.
    maps : tensor of shape (N, K, *some space)
        The read-out of `values`: one signed number per cell, not resized.
    explained : Explained
        Scores and names.
    layer : str or None
        Where the attribution arises; None for the input.
    checks : tuple of Check
        Identities measured on this result.
    rules : tuple of str
        Rules that were in force.
    extras : mapping of str to ndarray
        Further arrays that belong to the result, each with N first.
    """

    values: Tensor
    maps: Tensor
    explained: Explained
    layer: str | None = None
    checks: tuple[Check, ...] = ()
    rules: tuple[str, ...] = ()
    extras: Mapping[str, Array] = field(default_factory=dict)
