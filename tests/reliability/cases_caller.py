"""Nothing of the caller changes: model, input and random state, also after an error."""

import gc
import random
from functools import partial
from typing import Any

import numpy as np

from reliability.net import (
    Net,
    drawn,
    images,
    make,
    plain_class_weights,
    plain_layers,
)
from reliability.subject import NoMapError
from reliability.trial import RaisedError, Trial, apart, changed, warned
from reliability.verdict import ALL, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.CALLER, methods=ALL)


class InUserCodeError(Exception):
    """Raised by the caller's model."""


def _trained(trial: Trial, *, norm: bool = False, dropout: bool = False) -> Net:
    """A network with parts that behave otherwise in training mode."""
    kit = trial.kit
    first, *others = plain_layers(kit).items()
    middle = {"norm": kit.batch_norm(_statistics())} if norm else {}
    last = {"drop": kit.dropout(0.5)} if dropout else {}

    def body(s: Any, x: Any) -> Any:
        features = s.conv1(x)
        return s.relu2(s.conv2(s.relu1(s.norm(features) if norm else features)))

    def head(s: Any, features: Any) -> Any:
        pooled = s.pool(features).flatten(1)
        return s.fc(s.drop(pooled) if dropout else pooled)

    layers = {**dict([first]), **middle, **dict(others), **last}  # merging goes by the order of registration
    return make(kit, layers, body, head, images(), class_weights=plain_class_weights())


def _statistics() -> dict[str, np.ndarray]:
    return {
        "weight": drawn(21, 4, scale=0.2) + 1,
        "bias": drawn(22, 4, scale=0.2),
        "running_mean": drawn(23, 4, scale=0.3),
        "running_var": np.abs(drawn(24, 4)) + 0.5,
    }


def different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def nothing_left(trial: Trial) -> Verdict:
    net = trial.usual_net()
    before = trial.kit.state(net.model)
    trial.ask(net)
    gc.collect()
    return changed("changed", different(before, trial.kit.state(net.model)))


def parameter_gradients(trial: Trial) -> Verdict:
    net = trial.usual_net()
    trial.kit.loss(net.model, net.native).backward()
    before = trial.kit.gradients(net.model)
    trial.ask(net)
    after = trial.kit.gradients(net.model)
    return changed(".grad of", [name for name in before if not np.array_equal(before[name], after[name])])


def flags(trial: Trial) -> Verdict:
    net = trial.usual_net()
    modules = trial.kit.modules(net.model)
    for position, module in enumerate(modules):
        module.training = position % 2 == 0
    before = [module.training for module in modules]
    trial.ask(net)
    after = [module.training for module in trial.kit.modules(net.model)]
    return changed("training flags", [] if after == before else "of submodules changed")


def running_statistics(trial: Trial) -> Verdict:
    net = _trained(trial, norm=True)
    net.model.train()
    before = trial.kit.state(net.model)
    trial.ask(net, has_norm=True)
    after = trial.kit.state(net.model)
    return changed("changed", [key for key in different(before, after) if key == "norm._buffers"])


def dropout(trial: Trial) -> Verdict:
    net = _trained(trial, dropout=True)
    net.model.train()
    first = trial.ask(net)
    net.model.train()
    second = trial.ask(net)
    if np.array_equal(first.values, second.values):
        return Verdict(Kind.RIGHT)
    return warned(first, "train|eval|dropout") or Verdict(Kind.WRONG, "two maps of the same image differ")


def input_untouched(trial: Trial) -> Verdict:
    net = trial.usual_net()
    x = net.native
    before = trial.kit.tensor_state(x)
    trial.ask(net, x=x)
    after = trial.kit.tensor_state(x)
    names = ("values", "requires_grad", "grad", "version", "attributes", "hooks")
    return changed("of the input", [name for name, a, b in zip(names, before, after, strict=False) if a != b])


def twice(trial: Trial) -> Verdict:
    net = trial.usual_net()
    x = net.native
    first = trial.ask(net, x=x)
    second = trial.ask(net, x=x)
    return changed("the second map differs by", apart(first.values, second.values))


def random_state(trial: Trial) -> Verdict:
    net = trial.usual_net()
    draws = []
    for ask in (lambda: None, lambda: trial.ask(net)):
        random.seed(3)
        np.random.seed(3)
        trial.kit.seed(3)
        ask()
        draws.append((random.random(), np.random.random(), trial.kit.draw()))
    names = ("random", "numpy", "framework")
    return changed("numbers drawn from", [name for name, a, b in zip(names, *draws, strict=True) if a != b])


def raises_forward(trial: Trial, error: type[Exception] = InUserCodeError) -> Verdict:
    def raises(*_: Any) -> None:
        raise error("from the caller's code")

    return _after_an_error(trial, "conv2", raises, error)


def raises_backward(trial: Trial) -> Verdict:
    def raises(_: Any) -> None:
        raise InUserCodeError("from the caller's code")

    def attaches(_: Any, inputs: Any) -> None:
        if trial.kit.requires_gradient(inputs[0]):
            inputs[0].register_hook(raises)

    behind_the_layer = "fc" if trial.method == "grad_cam" else "conv2"
    return _after_an_error(trial, behind_the_layer, attaches, InUserCodeError)


def _after_an_error(trial: Trial, layer: str, hook: Any, error: type[Exception]) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    before = trial.kit.state(net.model)
    handle = trial.kit.before(getattr(net.model, layer), hook)
    try:
        trial.ask(net)
    except RaisedError as raised:
        if isinstance(raised.__cause__, NoMapError):
            return Verdict(Kind.WRONG, f"the model's {error.__name__} was swallowed: {raised.__cause__}")
        if "from the caller's code" not in str(raised.__cause__):
            raise
    else:
        return Verdict(Kind.WRONG, f"the model's {error.__name__} did not reach the caller")
    finally:
        handle.remove()
    gc.collect()
    left = different(before, trial.kit.state(net.model))
    return changed("left behind", left) if left else trial.compared(trial.ask(net), net, wanted)


CASES = (
    _case(
        "nothing left on the model",
        sentence="no hooks, flags, attributes or values changed after a normal call",
        run=nothing_left,
    ),
    _case(
        ".grad of parameters", sentence="parameters' .grad untouched (user is mid-training)", run=parameter_gradients
    ),
    _case("training flags", sentence="train/eval flag of every submodule preserved", run=flags),
    _case(
        "running statistics",
        sentence="model in train mode: BatchNorm running statistics unchanged by an explanation",
        run=running_statistics,
    ),
    _case(
        "dropout in training mode",
        sentence="model in train mode with dropout: same map twice, or a warning/refusal",
        run=dropout,
        may_refuse=True,
    ),
    _case(
        "input untouched",
        sentence="input tensor untouched (values, requires_grad, grad, attributes)",
        run=input_untouched,
    ),
    _case("same map twice", sentence="second call on the same tensor gives the same map", run=twice),
    _case("random state", sentence="global RNG not consumed", run=random_state),
    _case(
        "error in forward", sentence="model raises in forward: nothing left behind, next map right", run=raises_forward
    ),
    _case(
        "IndexError in forward",
        sentence="model raises IndexError in forward: it reaches the caller, nothing left behind",
        run=lambda trial: raises_forward(trial, IndexError),
    ),
    _case(
        "error in backward",
        sentence="model raises in backward: nothing left behind, next map right",
        run=raises_backward,
        methods=("grad_cam", "gradient", "lrp", "clear", "guided"),
    ),
)
