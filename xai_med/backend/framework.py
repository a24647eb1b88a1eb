"""What an adapter supplies: a framework's automatic differentiation, interception and models."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from xai_med.backend.operations import Call
from xai_med.backend.tensors import Tensor, Tensors


@dataclass(frozen=True)
class Inventory:
    """What was looked at when a model was checked.

    Parameters
    ----------
    tensors : int
        Parameters and buffers, all initialised, in memory and on one device.
    values : int
        Numbers in those of floating dtype, all finite.
    dtypes : tuple of str
        Of all, sorted.
    """

    tensors: int
    values: int
    dtypes: tuple[str, ...]


class Observer(Protocol):
    """Who is told of every operation and module of a running model."""

    def call(self, call: Call) -> Any:
        """Run one function for the model; the result is what the model gets."""
        ...

    def depends_on_input(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed from the network's input."""
        ...

    def enter_module(self, module: Any) -> None:
        """Take note that a module begins to run."""
        ...

    def leave_module(self, module: Any, output: Any) -> Any:
        """Take note that a module has run; the result is what it hands on."""
        ...


class Framework(Protocol):
    """A framework as the tracer sees it. No method, no rule and no resizing lives behind it."""

    @property
    def tensors(self) -> Tensors:
        """The framework's tensor operations."""
        ...

    # ---- automatic differentiation

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a native tensor."""
        ...

    def is_recording(self) -> bool:
        """Whether derivatives are being recorded in this thread."""
        ...

    def start_recording(self) -> None:
        """Record derivatives from here on, until the context of `isolated` ends."""
        ...

    def stop_recording(self) -> None:
        """Record no derivatives from here on."""
        ...

    def leaf(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor at which differentiation begins."""
        ...

    def copy(self, tensor: Tensor) -> Tensor:
        """A copy of the values through which derivatives flow."""
        ...

    def overwrite(self, target: Tensor, value: Tensor) -> None:
        """Write `value` into `target` in place, derivatives included."""
        ...

    def base(self, tensor: Tensor) -> Tensor | None:
        """The tensor whose memory a view shares, None where it is no view or this cannot be told."""
        ...

    def reaches(self, tensor: Tensor, leaf: Tensor) -> bool:
        """Whether derivatives of `tensor` reach `leaf`, as far as the framework lets one look."""
        ...

    @property
    def sees_every_write(self) -> bool:
        """Whether each way in which a model can overwrite one of its tensors is reported as a call."""
        ...

    def is_recomputing(self) -> bool:
        """Whether what runs now will run again, unseen, for its derivatives, as under activation checkpointing."""
        ...

    def pullback(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Tensor, *, differentiable: bool
    ) -> Iterator[Tensor] | None:
        """Vector-Jacobian products over one graph; None where `outputs` does not depend on `to`.

        Parameters
        ----------
        outputs : tensor
            What cotangents are given for.
        cotangents : iterable of tensor
            Each of the shape of `outputs`; taken one after the other, so that they need not be there all at once.
        to : tensor
            Where differentiation began.
        differentiable : bool
            Whether the results themselves can be differentiated; the graph is then kept.

        Raises
        ------
        GradientError
            The framework cannot differentiate the model.
        """
        ...

    def pullback_to_each(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, ...]] | None:
        """Vector-Jacobian products to several tensors of one graph, also to results on the way; None as above.

        Parameters
        ----------
        outputs, cotangents
            As of `pullback`.
        to : sequence of tensor
            What the output was computed from.

        Raises
        ------
        GradientError
            The framework cannot differentiate the model.
        """
        ...

    # ---- running a model

    def isolated(self) -> AbstractContextManager[None]:
        """Shield a computation from the caller's context: no gradients, no autocast, no inference mode."""
        ...

    def intercepted(self, observer: Observer) -> AbstractContextManager[None]:
        """Report every operation and module of this thread to `observer`."""
        ...

    # ---- looking at a model

    def check_model(self, model: Any, layers: Mapping[str, Any], *, afresh: bool) -> Inventory:
        """Refuse what cannot be explained; tell what was looked at.

        Parameters
        ----------
        model : object
            The caller's.
        layers : mapping of str to object
            All of its parts, as `layers` gives them.
        afresh : bool
            Look at every value, also of tensors that were found finite before and not written since.

        Raises
        ------
        ModelError
            Compiled, scripted, not initialised, without storage, or on several devices.
        NonFiniteError
            A weight or buffer is NaN or infinite; the message names it.
        """
        ...

    def layers(self, model: Any) -> Mapping[str, Any]:
        """Modules by dotted name."""
        ...

    def dtype(self, model: Any) -> str:
        """Floating dtype of the model's first floating weight, ``"float32"`` where it has none."""
        ...

    def batch(self, x: Any, model: Any) -> Tensor:
        """A private copy of images as a native tensor.

        A NumPy array is brought to the model's device and dtype; a native tensor keeps its own.

        Raises
        ------
        DtypeError
            Neither a tensor of this framework nor an array, or not of a floating dtype.
        """
        ...

    def with_dtype(self, model: Any, dtype: str) -> Any:
        """A deep copy of a model with floating weights of another dtype."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Name and version of the framework."""
        ...
