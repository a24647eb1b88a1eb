"""PyTorch as the tracer sees it: differentiation, context, and the state of models."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from xai_med.backend.framework import Inventory, Observer
from xai_med.backend.tensors import Tensors
from xai_med.backend.tracing.evaluation import evaluation_mode
from xai_med.errors import DtypeError, GradientError, ModelError, NonFiniteError
from xai_med_torch.interception import intercepted
from xai_med_torch.surroundings import no_autocast, no_inference_mode, undisturbed
from xai_med_torch.tensors import TENSORS


class TorchFramework:
    """`Framework` for PyTorch."""

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
        return _reaches([tensor.grad_fn], leaf)

    @property
    def sees_every_write(self) -> bool:
        """Every method of a tensor is seen."""
        return True

    def is_recomputing(self) -> bool:
        """Whether `torch.utils.checkpoint` runs the model here, and again for its derivatives."""
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
        return hooks is not None and getattr(hooks[0], "__module__", "") == "torch.utils.checkpoint"

    def pullback(
        self,
        outputs: torch.Tensor,
        cotangent: torch.Tensor,
        to: torch.Tensor,
        *,
        keep: bool,
        differentiable: bool,
    ) -> torch.Tensor | None:
        """One vector-Jacobian product, without touching any ``.grad``."""
        if not outputs.requires_grad or not (outputs is to or self.reaches(outputs, to)):
            return None
        try:
            (result,) = torch.autograd.grad(
                outputs,
                to,
                grad_outputs=cotangent,
                retain_graph=keep,
                create_graph=differentiable,
                allow_unused=True,
            )
        except GradientError:
            raise
        except RuntimeError as error:
            raise GradientError(f"PyTorch could not differentiate the model: {error}") from error
        return result

    # ---- running a model

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """No gradients to begin with, no autocast, no inference mode, no compiler; all restored on exit."""
        with no_inference_mode(), no_autocast(), undisturbed():
            yield

    def evaluation_mode(self, model: nn.Module) -> AbstractContextManager[bool]:
        """Clear the training flag of each module, and set it again."""
        return evaluation_mode(model.modules())

    def intercepted(self, observer: Observer) -> AbstractContextManager[None]:
        """Report every operation and module of this thread."""
        return intercepted(observer)

    # ---- looking at a model

    def check_model(self, model: nn.Module) -> Inventory:
        """Refuse models that cannot be explained as they are."""
        if isinstance(model, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            raise ModelError(
                "the model is a TorchScript module, whose operations cannot be seen; explain the Python module"
            )
        if hasattr(model, "_orig_mod"):
            raise ModelError(
                "the model was compiled with torch.compile, whose operations cannot be seen; "
                "explain the original module, model._orig_mod"
            )
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise ModelError(f"the model is wrapped in {type(model).__name__}; explain model.module")
        for part in model.modules():
            is_compiled = hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None
            if is_compiled or isinstance(part, torch.jit.ScriptModule):
                raise ModelError(
                    f"a part of the model ({type(part).__name__}) is scripted or compiled; explain the original"
                )
        return _check_weights(model)

    def layers(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Modules by dotted name."""
        return dict(model.named_modules())

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


def _reaches(nodes: list[Any], leaf: torch.Tensor) -> bool:
    """Whether a walk through a graph of derivatives comes to a leaf.

    Raises
    ------
    GradientError
        On the way lies an operation without a derivative, at which PyTorch would only warn.
    """
    pending, seen, source, is_reached = list(nodes), set(), leaf.grad_fn, False
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        following = [each for each, _ in node.next_functions]
        if node.name().endswith("WarnNotImplemented"):
            if _reaches(following, leaf):
                raise GradientError(
                    "PyTorch has no derivative for an operation of the model, as of quantised layers; explain the "
                    "model before it was quantised, or use method='cam', which needs no gradients"
                )
            continue
        is_reached = is_reached or node is source or getattr(node, "variable", None) is leaf
        pending.extend(following)
    return is_reached


def _not_floating(dtype: object) -> str:
    return (
        f"images must be floating point, got {dtype}; convert and scale them as the model was trained, "
        f"such as x.astype('float32') / 255"
    )


def _check_weights(model: nn.Module) -> Inventory:
    """Initialised, in memory, on one device, floating, finite."""
    devices = set()
    sums = []
    with torch.inference_mode(False), torch.no_grad():
        named = [*model.named_parameters(), *model.named_buffers()]
        for name, tensor in named:
            if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
                raise ModelError(
                    f"{name} is not initialised yet (a lazy layer); run the model once, or load its weights"
                )
            if tensor.is_meta or isinstance(tensor, FakeTensor):
                place = "a FakeTensor" if isinstance(tensor, FakeTensor) else "on the meta device"
                raise ModelError(f"{name} is {place} and holds no values; load the model's weights")
            if tensor.is_inference():
                raise ModelError(
                    f"{name} was created under inference_mode, which forbids gradients; "
                    f"build or load the model outside of it"
                )
            devices.add(tensor.device)
            if tensor.is_floating_point():
                sums.append((name, tensor.detach().sum(dtype=torch.float64)))
        if len(devices) > 1:
            raise ModelError(f"the model is spread over {sorted(map(str, devices))}; put it on one device")
        if sums and not bool(torch.isfinite(torch.stack([value for _, value in sums])).all()):
            bad = next(name for name, value in sums if not bool(torch.isfinite(value)))
            raise NonFiniteError(
                f"{bad} holds NaN or infinite values, so that no map can be trusted; load sound weights"
            )
        values = sum(tensor.numel() for _, tensor in named if tensor.is_floating_point())
        return Inventory(len(named), values, tuple(sorted({TENSORS.dtype(tensor) for _, tensor in named})))
