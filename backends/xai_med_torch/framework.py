"""PyTorch as the tracer sees it: differentiation, context, and the state of models."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from xai_med.backend.framework import Inventory, Observer
from xai_med.backend.tensors import Tensors
from xai_med.backend.tracing.parts import parts_of
from xai_med.errors import DtypeError, ModelError, OpaqueModelError
from xai_med_torch.interception import intercepted
from xai_med_torch.pullbacks import pullbacks, pullbacks_to_each
from xai_med_torch.reverse import find_ways
from xai_med_torch.surroundings import no_autocast, no_inference_mode, undisturbed
from xai_med_torch.tensors import TENSORS
from xai_med_torch.weights import check_weights


class TorchFramework:
    """`Framework` for PyTorch; one for each explanation."""

    def __init__(self) -> None:
        self._has_hooks = False

    @property
    def tensors(self) -> Tensors:
        """PyTorch's tensor operations."""
        return TENSORS

    # ---- automatic differentiation

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a ``torch.Tensor``."""
        return isinstance(value, torch.Tensor)

    def is_recording(self) -> bool:
        """Whether gradients are enabled in this thread."""
        return torch.is_grad_enabled()

    def start_recording(self) -> None:
        """Enable gradients; `isolated` restores them."""
        torch.set_grad_enabled(True)

    def stop_recording(self) -> None:
        """Disable gradients."""
        torch.set_grad_enabled(False)

    def leaf(self, tensor: torch.Tensor) -> torch.Tensor:
        """A detached copy that requires a gradient; ``detach`` alone would share memory."""
        return tensor.detach().clone().requires_grad_()

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Clone, with its gradient."""
        return tensor.clone()

    def overwrite(self, target: torch.Tensor, value: torch.Tensor) -> None:
        """Copy in place."""
        target.copy_(value)

    def base(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The tensor that a view looks at."""
        return tensor._base if tensor._is_view() else None

    def reaches(self, tensor: torch.Tensor, leaf: torch.Tensor) -> bool:
        """Walk the graph of derivatives, from a tensor that has one."""
        return tensor.grad_fn is not None and find_ways(tensor, leaf) is not None

    @property
    def sees_every_write(self) -> bool:
        """Every method of a tensor is seen."""
        return True

    def is_recomputing(self) -> bool:
        """Whether `torch.utils.checkpoint` runs the model here, and again for its derivatives."""
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
        return hooks is not None and getattr(hooks[0], "__module__", "") == "torch.utils.checkpoint"

    def pullback(
        self, outputs: torch.Tensor, cotangents: Iterable[torch.Tensor], to: torch.Tensor, *, differentiable: bool
    ) -> Iterator[torch.Tensor] | None:
        """Vector-Jacobian products, without touching any ``.grad``."""
        return pullbacks(outputs, cotangents, to, differentiable=differentiable, has_hooks=self._has_hooks)

    def pullback_to_each(
        self, outputs: torch.Tensor, cotangents: Iterable[torch.Tensor], to: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, ...]] | None:
        """Vector-Jacobian products to several tensors, by the engine."""
        return pullbacks_to_each(outputs, cotangents, to)

    # ---- running a model

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """No gradients to begin with, no autocast, no inference mode, no compiler; all restored on exit."""
        with no_inference_mode(), no_autocast(), undisturbed():
            yield

    @contextmanager
    def intercepted(self, observer: Observer) -> Iterator[None]:
        """Report every operation and module of this thread."""
        with intercepted(observer) as interception:
            try:
                yield
            finally:
                self._has_hooks = self._has_hooks or interception.has_hooks

    # ---- looking at a model

    def check_model(self, model: nn.Module, layers: Mapping[str, nn.Module], *, afresh: bool) -> Inventory:
        """Refuse models that cannot be explained as they are."""
        if isinstance(model, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            raise OpaqueModelError(
                "the model is a TorchScript module, whose operations cannot be seen; explain the Python module"
            )
        if "_orig_mod" in model._modules:
            raise OpaqueModelError(
                "the model was compiled with torch.compile, whose operations cannot be seen; "
                "explain the original module, model._orig_mod"
            )
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise ModelError(f"the model is wrapped in {type(model).__name__}; explain model.module")
        for part in layers.values():
            is_compiled = "_orig_mod" in part._modules or part._compiled_call_impl is not None
            if is_compiled or isinstance(part, torch.jit.ScriptModule):
                raise OpaqueModelError(
                    f"a part of the model ({type(part).__name__}) is scripted or compiled; explain the original"
                )
        return check_weights(layers, afresh=afresh)

    def layers(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Modules by dotted name."""
        return dict(parts_of(model, "_modules"))

    def dtype(self, model: nn.Module) -> str:
        """Dtype of the first floating parameter."""
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return TENSORS.dtype(parameter)
        return "float32"

    def batch(self, x: Any, model: nn.Module) -> torch.Tensor:
        """A private copy of images."""
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        with torch.inference_mode(False), torch.no_grad():
            if isinstance(x, np.ndarray):
                if x.dtype.kind != "f":
                    raise DtypeError(_not_floating(x.dtype))
                # PyTorch reads neither negative strides nor the other byte order
                plain = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
                return torch.tensor(plain, dtype=like.dtype, device=like.device)
            if not isinstance(x, torch.Tensor):
                raise DtypeError(
                    f"images must be a torch.Tensor or a NumPy array for a PyTorch model, got {type(x).__name__}"
                )
            if not x.is_floating_point():
                raise DtypeError(_not_floating(x.dtype))
            if x.dtype != like.dtype:
                raise DtypeError(
                    f"the images are {x.dtype} and the model's weights {like.dtype}; "
                    f"give x.to({like.dtype}), or choose dtype= for both"
                )
            if x.is_meta or isinstance(x, FakeTensor):
                raise DtypeError("the images hold no values (a FakeTensor, or on the meta device); give real ones")
            if x.device != like.device:
                raise DtypeError(f"the images are on {x.device} and the model on {like.device}; move one of them")
            return (x.detach() if x.layout is torch.strided else x.detach().to_dense()).clone()

    def with_dtype(self, model: nn.Module, dtype: str) -> nn.Module:
        """A deep copy with other floating weights."""
        with torch.inference_mode(False), torch.no_grad():
            try:
                return copy.deepcopy(model).to(getattr(torch, dtype))
            except (TypeError, RuntimeError, AttributeError) as error:
                raise ModelError(f"the model could not be copied to compute in {dtype}: {error}") from error

    def versions(self) -> Mapping[str, str]:
        """PyTorch's version."""
        return {"torch": str(torch.__version__)}


def _not_floating(dtype: object) -> str:
    return (
        f"images must be floating point, got {dtype}; convert and scale them as the model was trained, "
        f"such as x.astype('float32') / 255"
    )
