"""PaddlePaddle as the tracer sees it: differentiation, context, and the state of models."""

import copy
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any

import numpy as np
import paddle
from paddle.jit.dy2static.program_translator import StaticFunction

from xai_med.backend.framework import Inventory, Observer
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.backend.tracing.lookahead import marking_last
from xai_med.backend.tracing.parts import parts_of
from xai_med.errors import DtypeError, GradientError, ModelError, OpaqueModelError
from xai_med_paddle.interception import intercepted, is_recomputing
from xai_med_paddle.tensors import TENSORS
from xai_med_paddle.weights import check_weights

_gradient_lock = threading.Lock()  # two threads in paddle.grad at once end the process by a segmentation fault


class PaddleFramework:
    """`Framework` for PaddlePaddle."""

    @property
    def tensors(self) -> Tensors:
        """PaddlePaddle's tensor operations."""
        return TENSORS

    # ---- automatic differentiation

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a ``paddle.Tensor``."""
        return isinstance(value, paddle.Tensor)

    def is_recording(self) -> bool:
        """Whether gradients are enabled in this thread."""
        return bool(paddle.is_grad_enabled())

    def start_recording(self) -> None:
        """Enable gradients; `isolated` restores them."""
        paddle.set_grad_enabled(True)

    def stop_recording(self) -> None:
        """Disable gradients."""
        paddle.set_grad_enabled(False)

    def leaf(self, tensor: Tensor) -> Tensor:
        """A detached copy that requires a gradient; ``detach`` alone would share memory."""
        copied = paddle.assign(tensor.detach())
        copied.stop_gradient = False
        return copied

    def copy(self, tensor: Tensor) -> Tensor:
        """Copy, with its gradient."""
        return paddle.assign(tensor)

    def overwrite(self, target: Tensor, value: Tensor) -> None:
        """Copy in place, with its gradient; no public function of Paddle does both."""
        paddle._C_ops.assign_out_(value, target)

    def base(self, tensor: Tensor) -> Tensor | None:  # noqa: ARG002 (Paddle does not tell)
        """Return None: Paddle does not tell what a view looks at."""
        return None

    def reaches(self, tensor: Tensor, leaf: Tensor) -> bool:  # noqa: ARG002 (nor which leaf a graph ends in)
        """Return False: Paddle's graph does not name its leaves."""
        return False

    @property
    def sees_every_write(self) -> bool:
        """``set_value`` writes below all that can be seen."""
        return False

    def is_recomputing(self) -> bool:
        """Whether ``recompute`` runs the model here, and again for its derivatives."""
        return is_recomputing()

    def pullback(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Tensor, *, differentiable: bool
    ) -> Iterator[Tensor] | None:
        """Vector-Jacobian products, without touching any ``.grad``."""
        if differentiable:
            raise GradientError(
                "PaddlePaddle cannot differentiate the gradients of most operations (batch norm, max pool, flatten "
                "and others have no second derivative); leave out differentiable=True, or use method='cam', which "
                "needs no gradients"
            )
        found = self.pullback_to_each(outputs, cotangents, [to])
        return None if found is None else (result for (result,) in found)

    def pullback_to_each(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, ...]] | None:
        """Vector-Jacobian products to several tensors."""
        if outputs.stop_gradient:
            return None
        products = (_products(outputs, each, to, keep=not is_last) for each, is_last in marking_last(cotangents))
        first = next(products, None)
        return None if first is None else chain([first], (each for each in products if each is not None))

    # ---- running a model

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """No gradients to begin with, no autocast; both restored on exit."""
        _require_dynamic_mode()
        with paddle.no_grad():
            if not paddle.amp.is_autocast_enabled():
                yield
                return
            with paddle.amp.auto_cast(enable=False):
                yield

    def intercepted(self, observer: Observer) -> AbstractContextManager[None]:
        """Report every operation and layer of this thread."""
        return intercepted(observer)

    # ---- looking at a model

    def check_model(self, model: Any, layers: Mapping[str, Any], *, afresh: bool) -> Inventory:  # noqa: ARG002 (every value is always read)
        """Refuse models that cannot be explained as they are."""
        _require_dynamic_mode()
        for name, layer in layers.items():
            _check_layer(layer, name)
        return check_weights(layers)

    def layers(self, model: Any) -> Mapping[str, Any]:
        """Layers by dotted name."""
        return dict(parts_of(model, "_sub_layers"))

    def dtype(self, model: Any) -> str:
        """Dtype of the first floating parameter."""
        like = _first_floating(model)
        return "float32" if like is None else TENSORS.dtype(like)

    def batch(self, x: Any, model: Any) -> Tensor:
        """A private copy of images."""
        like = _first_floating(model)
        like = paddle.zeros([], dtype="float32") if like is None else like
        if like.place.is_cpu_place() and like.dtype in (paddle.float16, paddle.bfloat16):
            raise DtypeError(
                f"the model's weights are {like.dtype}, for which PaddlePaddle has no operations on the CPU; "
                f"choose dtype='float32'"
            )
        if isinstance(x, np.ndarray):
            if x.dtype.kind != "f":
                raise DtypeError(_not_floating(x.dtype))
            return TENSORS.from_numpy(x, like)
        if not isinstance(x, paddle.Tensor):
            raise DtypeError(
                f"images must be a paddle.Tensor or a NumPy array for a PaddlePaddle model, got {type(x).__name__}"
            )
        if not x.is_floating_point():
            raise DtypeError(_not_floating(x.dtype))
        if x.dtype != like.dtype:
            raise DtypeError(
                f"the images are {x.dtype} and the model's weights {like.dtype}; "
                f"give x.astype('{TENSORS.dtype(like)}'), or choose dtype= for both"
            )
        if str(x.place) != str(like.place):
            raise DtypeError(f"the images are on {x.place} and the model on {like.place}; move one of them")
        return paddle.assign(x.detach())

    def with_dtype(self, model: Any, dtype: str) -> Any:
        """A deep copy with other floating weights."""
        with paddle.no_grad():
            try:
                return copy.deepcopy(model).to(dtype=dtype)
            except (TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise ModelError(f"the model could not be copied to compute in {dtype}: {error}") from error

    def versions(self) -> Mapping[str, str]:
        """PaddlePaddle's version."""
        return {"paddle": str(paddle.__version__)}


def _products(outputs: Tensor, cotangent: Tensor, to: Sequence[Tensor], *, keep: bool) -> tuple[Tensor, ...] | None:
    """Vector-Jacobian products of one cotangent; None where nothing arrives at one of the tensors."""
    with _gradient_lock:
        try:
            results = paddle.grad(
                [outputs], list(to), grad_outputs=[cotangent], retain_graph=keep, create_graph=False, allow_unused=True
            )
        except (RuntimeError, ValueError, SystemError, OSError, NotImplementedError) as error:
            raise GradientError(f"PaddlePaddle could not differentiate the model: {error}") from error
    return None if any(result is None for result in results) else tuple(results)


def _require_dynamic_mode() -> None:
    if not paddle.in_dynamic_mode():
        raise ModelError("PaddlePaddle is in static mode, where operations do not run; call paddle.disable_static()")


def _first_floating(model: Any) -> Tensor | None:
    for _, layer in parts_of(model, "_sub_layers"):
        for parameter in layer._parameters.values():
            if parameter is not None and parameter.is_floating_point():
                return parameter
    return None


def _not_floating(dtype: object) -> str:
    return (
        f"images must be floating point, got {dtype}; convert and scale them as the model was trained, "
        f"such as x.astype('float32') / 255"
    )


def _check_layer(layer: Any, name: str) -> None:
    """Refuse layers whose operations do not run in Python."""
    where = f"layer {name!r}" if name else "the model"
    if isinstance(layer, paddle.jit.TranslatedLayer) or type(layer).__name__ == "PirTranslatedLayer":
        raise OpaqueModelError(
            f"{where} was loaded by paddle.jit.load, and its operations cannot be seen; "
            f"build the original Python layer and load its state_dict"
        )
    if isinstance(layer.forward, StaticFunction):
        raise OpaqueModelError(
            f"{where} was compiled with paddle.jit.to_static, and its operations cannot be seen; "
            f"undo it with layer.forward = layer.forward.rollback(), or explain the model before to_static"
        )
    if isinstance(layer, paddle.DataParallel):
        raise ModelError(f"{where} is wrapped in paddle.DataParallel; explain model._layers")
