"""Whatever the architecture: relevance and guided signals through code that no module shows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from reliability.kit import Kit
from reliability.net import (
    Net,
    body_stages,
    drawn,
    flat_head,
    head_stages,
    images,
    make,
    plain_class_weights,
    plain_head,
    plain_layers,
)
from reliability.stages import Affine, Joined, Largest, Pass, Rectifier, Sum
from reliability.trial import Trial
from reliability.verdict import Case, Section, Verdict

_case = partial(Case, section=Section.ARCHITECTURE, methods=("lrp",))


def built(
    kit: Kit,
    body: Callable[[Any, Any], Any],
    stages: Callable[[Any], tuple[Any, ...]],
    head: Callable[[Any, Any], Any] = plain_head,
    **extra: Any,
) -> Net:
    """The plain layers, wired otherwise."""
    layers = {**plain_layers(kit), **extra}
    return make(kit, layers, body, head, images(), class_weights=plain_class_weights(), stages=stages)


def _rectified(kit: Kit) -> Callable[[Any, Any], Any]:
    return lambda s, x: kit.rectified(s.conv2(kit.rectified(s.conv1(x))))


def functional_relu(trial: Trial) -> Verdict:
    kit = trial.kit
    return trial.right(built(kit, _rectified(kit), lambda m: (*body_stages(m), *head_stages(m))))


def guided_functional_relu(trial: Trial) -> Verdict:
    kit = trial.kit
    layers = {**plain_layers(kit), "fc": kit.linear(drawn(5, 3, 4 * 6 * 7, scale=0.3))}
    stages = lambda m: (*body_stages(m), Affine("linear", lambda t: m.fc(t.flatten(1))))  # noqa: E731
    return trial.right(make(kit, layers, _rectified(kit), flat_head, images(), stages=stages))


def functional_mean(trial: Trial) -> Verdict:
    def stages(m: Any) -> tuple[Any, ...]:
        return (*body_stages(m), Affine("average", lambda t: t.mean((2, 3))), Affine("linear", m.fc))

    body = lambda s, x: s.relu2(s.conv2(s.relu1(s.conv1(x))))  # noqa: E731
    return trial.right(built(trial.kit, body, stages, head=lambda s, f: s.fc(f.mean((2, 3)))))


def functional_residual(trial: Trial) -> Verdict:
    def body(s: Any, x: Any) -> Any:
        h = s.relu1(s.conv1(x))
        return s.relu2(h + s.conv2(h))

    def stages(m: Any) -> tuple[Any, ...]:
        branch = Sum((Affine("convolution", m.conv2),))
        return (Affine("convolution", m.conv1), Rectifier(), branch, Rectifier(), *head_stages(m))

    return trial.right(built(trial.kit, body, stages))


def bare_parameter(trial: Trial) -> Verdict:
    kit = trial.kit

    def stages(m: Any) -> tuple[Any, ...]:
        second = Affine("convolution", lambda t: kit.convolved(t, m.weight, 1))
        return (Affine("convolution", m.conv1), Rectifier(), second, Rectifier(), *head_stages(m))

    def body(s: Any, x: Any) -> Any:
        return s.relu2(kit.convolved(s.relu1(s.conv1(x)), s.weight, 1))

    return trial.right(built(kit, body, stages, weight=kit.parameter(drawn(2, 4, 4, 3, 3, scale=0.4))))


def batch_norm(trial: Trial) -> Verdict:
    """The oracle knows a convolution with its batch norm as one linear map."""
    kit = trial.kit
    norms = {f"norm{n}": kit.batch_norm(statistics(n)) for n in (1, 2)}

    def stages(m: Any) -> tuple[Any, ...]:
        first = Affine("convolution", lambda t: m.norm1(m.conv1(t)))
        second = Affine("convolution", lambda t: m.norm2(m.conv2(t)))
        return (first, Rectifier(), second, Rectifier(), *head_stages(m))

    def body(s: Any, x: Any) -> Any:
        return s.relu2(s.norm2(s.conv2(s.relu1(s.norm1(s.conv1(x))))))

    plain = plain_layers(kit)
    order = ("conv1", "norm1", "relu1", "conv2", "norm2", "relu2", "pool", "fc")
    layers = {name: {**plain, **norms}[name] for name in order}  # merging goes by the order of registration
    net = make(kit, layers, body, plain_head, images(), class_weights=plain_class_weights(), stages=stages)
    return trial.right(net, has_norm=True)


def statistics(seed: int) -> dict[str, np.ndarray]:
    """Weights and running statistics of a batch norm of four channels."""
    return {
        "weight": drawn(30 + seed, 4, scale=0.2) + 1,
        "bias": drawn(40 + seed, 4, scale=0.2),
        "running_mean": drawn(50 + seed, 4, scale=0.3),
        "running_var": np.abs(drawn(60 + seed, 4)) + 0.5,
    }


def concatenated(trial: Trial) -> Verdict:
    kit = trial.kit

    def body(s: Any, x: Any) -> Any:
        h = s.relu1(s.conv1(x))
        return kit.joined(h, s.relu2(s.conv2(h)))

    def stages(m: Any) -> tuple[Any, ...]:
        branch = Joined((Affine("convolution", m.conv2), Rectifier()))
        return (Affine("convolution", m.conv1), Rectifier(), branch, *head_stages(m))

    return trial.right(built(kit, body, stages, fc=kit.linear(drawn(8, 3, 8))))


def max_pool(trial: Trial, *, functional: bool) -> Verdict:
    kit = trial.kit

    def body(s: Any, x: Any) -> Any:
        h = s.relu1(s.conv1(x))
        return s.relu2(s.conv2(kit.largest(h, 2) if functional else s.largest(h)))

    def stages(m: Any) -> tuple[Any, ...]:
        first, second = (Affine("convolution", layer) for layer in (m.conv1, m.conv2))
        return (first, Rectifier(), Largest(2), second, Rectifier(), *head_stages(m))

    return trial.right(built(kit, body, stages, largest=kit.max_pool(2)))


def in_place_relu(trial: Trial) -> Verdict:
    body = lambda s, x: s.relu2(s.conv2(s.relu1(s.conv1(x))))  # noqa: E731
    layers = plain_layers(trial.kit, in_place=True)
    extra = {name: layers[name] for name in ("relu1", "relu2")}
    return trial.right(built(trial.kit, body, lambda m: (*body_stages(m), *head_stages(m)), **extra))


def guided_smooth(trial: Trial, activation: str) -> Verdict:
    """There is no ReLU to guide: the plain gradient under the name of guided backpropagation is wrong."""
    kit = trial.kit
    layers = {
        **plain_layers(kit),
        "relu1": kit.activation(activation),
        "relu2": kit.activation(activation),
        "fc": kit.linear(drawn(5, 3, 4 * 6 * 7, scale=0.3)),
    }
    body = lambda s, x: s.relu2(s.conv2(s.relu1(s.conv1(x))))  # noqa: E731
    net = make(kit, layers, body, flat_head, images(), stages=lambda m: (Pass(m),))
    return trial.refuses_or_warns(net, "no ReLU to guide", "no relu|not.*relu|silu|gelu|has none")


_BY_FUNCTION = "function|module|add|unsupported"

CASES = (
    _case(
        "guided through F.relu",
        sentence="F.relu instead of nn.ReLU (guided backprop): right or refused",
        run=guided_functional_relu,
        methods=("guided",),
        may_refuse=True,
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP through F.relu",
        sentence="F.relu instead of nn.ReLU (LRP): right or refused",
        run=functional_relu,
        may_refuse=True,
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP through a functional mean",
        sentence="LRP through x.mean((2,3)) instead of nn.AdaptiveAvgPool2d: right or refused",
        run=functional_mean,
        may_refuse=True,
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP through a functional residual",
        sentence="LRP through a functional residual add (h + f(h)): relevance conserved and right, or refused",
        run=functional_residual,
        may_refuse=True,
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP with a bare parameter",
        sentence="LRP with F.conv2d on a bare Parameter: right or refused",
        run=bare_parameter,
        may_refuse=True,
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP through batch norm",
        sentence="LRP through eval-mode BatchNorm equals LRP of the folded network",
        run=batch_norm,
    ),
    _case(
        "LRP through concatenation",
        sentence="LRP through torch.cat (DenseNet block) with a tensor used by two layers",
        run=concatenated,
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP through nn.MaxPool2d",
        sentence="LRP through nn.MaxPool2d: winner takes all, conserved",
        run=lambda trial: max_pool(trial, functional=False),
    ),
    _case(
        "LRP through F.max_pool2d",
        sentence="LRP through F.max_pool2d: winner takes all, conserved",
        run=lambda trial: max_pool(trial, functional=True),
        trouble=_BY_FUNCTION,
    ),
    _case(
        "LRP through ReLUs in place",
        sentence="nn.ReLU(inplace=True) everywhere (torchvision default): right (LRP)",
        run=in_place_relu,
        trouble="in.?place",
    ),
    *(
        _case(
            f"guided {name}",
            sentence=f"guided backprop on a {name.upper()} network: refusal or warning, not the plain gradient",
            run=partial(guided_smooth, activation=name),
            methods=("guided",),
            may_refuse=True,
            trouble="relu",
        )
        for name in ("silu", "gelu")
    ),
)
