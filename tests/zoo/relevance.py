"""LRP in its per-layer form (METHODS 4.3 a) on elementary operations: each hands the relevance of its result to inputs.

Written for the rules that `docs/methods.md` states, and independent of how the library computes them: no surrogates,
no interception of Python functions, no graph of derivatives; only the transpose of one linear operation at a time.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from zoo.elementary import Elementary, name_of

Tensor = torch.Tensor

_ROUTING = frozenset(
    "view _unsafe_view reshape permute transpose t expand clone slice select cat stack unsqueeze squeeze roll alias "
    "constant_pad_nd index split split_with_sizes unbind flip repeat as_strided as_strided_ slice_scatter lift_fresh "
    "select_scatter masked_fill max_pool2d_with_indices max_pool3d_with_indices amax _to_copy max_pool1d".split()
)
"""Each result is one of the inputs, to which its relevance goes."""
_ELEMENTWISE = frozenset(
    "relu silu gelu hardswish hardsigmoid sigmoid tanh elu leaky_relu _prelu_kernel hardtanh softplus mish "
    "clamp_min clamp erf".split()
)
_SHARING = frozenset("mean sum avg_pool2d avg_pool3d avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d".split())
_MATRIX = frozenset("mm bmm addmm baddbmm".split())
_BOUNDED = frozenset("sigmoid hardsigmoid tanh _softmax _safe_softmax hardtanh erf".split())


def relevance(model: Elementary, column: int, epsilon: float = 1e-6) -> np.ndarray:
    """Relevance of one logit at the image, (N, C, *space)."""
    return _Relevance(model, epsilon).of(column)


class _Relevance:
    """Relevance of every value, from the logit back."""

    def __init__(self, model: Elementary, epsilon: float) -> None:
        self._model = model
        self._values = model.values
        self._epsilon = epsilon
        self._found: dict[Node, Any] = {}
        self._of_image = frozenset(model.nodes)
        linear = [node for node in model.nodes if name_of(node) in _MATRIX and len(self._signals(node)) == 1]
        additions = {node: _added(node) for node in linear}
        self._biases = {
            node: add for node, add in additions.items() if add is not None and len(self._signals(add)) == 1
        }

    def of(self, column: int) -> np.ndarray:
        logits = self._values[self._model.logits]
        start = torch.zeros_like(logits)
        start[:, column] = logits[:, column]
        self._found = {self._model.logits: start}
        with torch.no_grad():
            for node in reversed(self._model.nodes):
                if node in self._found and node is not self._model.image:
                    self._hand_on(node, self._found.pop(node))
        arrived: np.ndarray = self._found[self._model.image].numpy()
        return arrived

    # ---- one operation

    def _hand_on(self, node: Node, arriving: Any) -> None:
        name = name_of(node)
        if name == "getitem":
            parts = self._found.setdefault(node.args[0], {})
            parts[node.args[1]] = parts.get(node.args[1], 0) + arriving
            return
        if isinstance(arriving, dict) and name in ("split", "split_with_sizes", "unbind"):
            arriving = [arriving.get(i, torch.zeros_like(part)) for i, part in enumerate(self._values[node])]
        elif isinstance(arriving, dict):
            arriving = arriving[0]  # the values of a norm or max pool; its other results are not used
        for source, amount in self._shares(name, node, arriving):
            self._found[source] = self._found[source] + amount if source in self._found else amount

    def _shares(self, name: str, node: Node, arriving: Any) -> Iterator[tuple[Node, Tensor]]:
        if name in _ROUTING:
            yield from self._transposed(node, arriving)
        elif name in _ELEMENTWISE:
            (source,) = self._signals(node)
            yield source, torch.where(self._values[source] == 0, 0.0, arriving)
        elif name in _SHARING:
            yield from self._in_proportion(node, arriving, self._epsilon)
        elif name in _MATRIX:
            epsilon = 0.0 if node in self._biases else self._epsilon
            for source, amount in self._in_proportion(node, arriving, epsilon):
                yield source, amount / len(self._signals(node))
        elif name in ("add", "sub"):
            # a constant is a bias, which keeps its share; the bias of a matrix product is part of one operation
            is_one = node in self._biases.values() or len(self._signals(node)) > 1
            yield from self._in_proportion(node, arriving, self._epsilon if is_one else 0.0)
        elif name in ("mul", "div"):
            yield from self._product(name, node, arriving)
        elif name in ("_softmax", "_safe_softmax"):
            (source,) = self._signals(node)
            total = arriving.sum(dim=node.args[1], keepdim=True)
            yield source, self._values[source] * (arriving - self._values[node] * total)
        elif name == "native_layer_norm":
            yield node.args[0], self._layer_norm(node, arriving)
        elif name == "native_batch_norm":
            yield from self._batch_norm(node, arriving)
        elif name == "convolution":
            yield node.args[0], self._convolution(node, arriving, None)
        else:
            raise NotImplementedError(f"the oracle has no rule for {name}")

    # ---- rules

    def _transposed(self, node: Node, arriving: Any) -> Iterator[tuple[Node, Tensor]]:
        """The operation's transpose, for each of its signals."""
        signals = self._signals(node)
        leaves = {source: self._values[source].clone().requires_grad_() for source in signals}
        with torch.enable_grad():
            args = torch.fx.map_arg((node.args, dict(node.kwargs)), lambda each: leaves.get(each, self._values[each]))
            if name_of(node) == "as_strided_":
                result = torch.as_strided(args[0][0].clone(), *args[0][1:], **args[1])
            else:
                result = node.target(*args[0], **args[1])  # type: ignore[operator]
        if isinstance(result, tuple | list) and not isinstance(arriving, list):
            result = result[0]
        found = torch.autograd.grad(result, list(leaves.values()), arriving, allow_unused=True)
        for source, amount in zip(signals, found, strict=True):
            if amount is not None:
                yield source, amount

    def _in_proportion(self, node: Node, arriving: Tensor, epsilon: float) -> Iterator[tuple[Node, Tensor]]:
        """a_i w_ij / (z_j + epsilon sign z_j) R_j, z with its bias."""
        per_unit = _divided(arriving, _stabilised(self._values[node], epsilon))
        for source, amount in self._transposed(node, per_unit):
            yield source, self._values[source] * amount

    def _product(self, name: str, node: Node, arriving: Tensor) -> Iterator[tuple[Node, Tensor]]:
        """All to the factor that is weighed; half to each of two equals; a factor that only weighs gets nothing."""
        factors = [each for each in node.args[:2] if each in self._of_image]
        carrying = self._carrying(name, node, factors)
        if len(factors) > 1:
            value = self._values[node]
            arriving = arriving * value / _stabilised(value, self._epsilon)
        for source in carrying:
            own = self._values[source]
            amount = torch.where(own == 0, 0.0, arriving / len(carrying))
            yield source, amount.sum_to_size(own.shape)

    def _carrying(self, name: str, node: Node, factors: list[Node]) -> list[Node]:
        if len(factors) < 2:
            return factors
        if name == "div":
            return factors[:1]
        size = self._values[node].numel()
        for weighs in (lambda each: self._values[each].numel() < size, self._is_bounded):
            carrying = [each for each in factors if not weighs(each)]
            if 0 < len(carrying) < 2:
                return carrying
        return factors

    def _is_bounded(self, node: Node) -> bool:
        """Whether the values come from a sigmoid or its like."""
        while name_of(node) in _ROUTING | {"add", "mul", "div", "getitem"} and len(self._signals(node)) == 1:
            (node,) = self._signals(node)
        return name_of(node) in _BOUNDED

    def _layer_norm(self, node: Node, arriving: Tensor) -> Tensor:
        """Centring is linear, the spread a constant; the shift keeps its share."""
        source, shape, weight, _, epsilon = node.args[:5]
        signal = self._values[source]
        axes = tuple(range(signal.ndim - len(shape), signal.ndim))
        spread = torch.sqrt(signal.var(axes, correction=0, keepdim=True) + epsilon)
        scale = 1.0 if weight is None else self._values[weight]
        per_unit = _divided(arriving, self._values[node][0]) * scale / spread
        return signal * (per_unit - per_unit.mean(axes, keepdim=True))

    def _batch_norm(self, node: Node, arriving: Tensor) -> Iterator[tuple[Node, Tensor]]:
        """Merged with the convolution that it follows; elsewhere relevance passes, but not to a zero."""
        source, weight, bias, mean, variance, is_training, _, epsilon = node.args
        if is_training:
            raise NotImplementedError("the oracle has no rule for a batch norm by the batch's own statistics")
        if name_of(source) != "convolution":
            yield source, torch.where(self._values[source] == 0, 0.0, arriving)
            return
        scale = 1 / torch.sqrt(self._values[variance] + epsilon)
        if weight is not None:
            scale = scale * self._values[weight]
        shift = -self._values[mean] * scale
        if bias is not None:
            shift = shift + self._values[bias]
        yield source.args[0], self._convolution(source, arriving, (scale, shift))

    def _convolution(self, node: Node, arriving: Tensor, norm: tuple[Tensor, Tensor] | None) -> Tensor:
        """Z-plus for signals of either sign, the positive bias in the denominator."""
        source, kernel, offset, *geometry = node.args
        signal, weight = self._values[source], self._values[kernel]
        bias = torch.zeros(()) if offset is None else self._values[offset]
        axis = 1 if geometry[3] else 0
        if norm is not None:
            weight = weight * norm[0].reshape([-1 if at == axis else 1 for at in range(weight.ndim)])
            bias = bias * norm[0] + norm[1]
        space = (1,) * (signal.ndim - 2)
        positive, negative = signal.clamp(min=0), signal.clamp(max=0)
        pairs = ((positive, weight.clamp(min=0)), (negative, weight.clamp(max=0)))

        def convolved(x: Tensor, kernel: Tensor) -> Tensor:
            return torch.ops.aten.convolution(x, kernel, None, *geometry)

        total = sum(convolved(x, w) for x, w in pairs) + bias.clamp(min=0).reshape(-1, *space)
        per_unit = arriving / _stabilised(total, self._epsilon)
        return sum(x * _pulled_back(convolved, x, w, per_unit) for x, w in pairs)  # type: ignore[return-value]

    # ---- the graph

    def _signals(self, node: Node) -> list[Node]:
        return [each for each in node.all_input_nodes if each in self._of_image]


def _pulled_back(convolved: Callable[..., Tensor], x: Tensor, weight: Tensor, cotangent: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(convolved(leaf, weight), leaf, cotangent)[0]


def _stabilised(value: Tensor, epsilon: float) -> Tensor:
    return torch.where(value >= 0, value + epsilon, value - epsilon)


def _divided(amount: Tensor, by: Tensor) -> Tensor:
    """What is zero has no relevance to hand on."""
    return torch.where(by == 0, 0.0, amount / torch.where(by == 0, 1.0, by))


def _added(node: Node) -> Node | None:
    """The addition that directly follows a matrix product, as linear layers with a bias are taken apart."""
    while len(node.users) == 1:
        (node,) = node.users
        if name_of(node) == "add":
            return node
        if name_of(node) not in ("view", "_unsafe_view"):
            return None
    return None
