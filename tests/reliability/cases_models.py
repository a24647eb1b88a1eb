"""Whatever the architecture: outputs, wrappers, and other numbers of axes."""

import warnings
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from reliability.convention import up_to_scale
from reliability.net import (
    flat,
    images,
    make,
    plain,
    plain_body,
    plain_class_weights,
    plain_head,
    plain_layers,
    plain_stages,
)
from reliability.trial import DoesNotApplyError, Trial, warned
from reliability.verdict import ALL, METHODS, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.ARCHITECTURE, methods=ALL)
_TORCH = ("torch",)
Output = namedtuple("Output", ["logits", "features"])


def structured(trial: Trial, wrap: Callable[[Any], Any]) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    original = net.model.forward
    net.model.forward = lambda x: wrap(original(x))
    return trial.compared(trial.ask(net), net, wanted)


def two_inputs(trial: Trial) -> Verdict:
    net = trial.usual_net()
    original = net.model.forward
    net.model.forward = lambda x, scale: original(x * scale)
    return trial.refuses(net, "the second input was not given")


def lazy(trial: Trial) -> Verdict:
    """A map is right if it is that of the weights which the first run drew."""
    kit = trial.kit
    layers = {**plain_layers(kit), "conv2": kit.lazy_convolution(4)}
    model = kit.network(layers, plain_body, plain_head)
    net = plain(kit)
    found = trial.ask(net, model=model)
    after = replace(net, exact=kit.exact(model))
    return trial.compared(found, after, trial.expected(after))


def scripted(trial: Trial) -> Verdict:
    kit = trial.kit
    net = plain(kit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        layers = plain_layers(kit)
        fc = layers.pop("fc")
        model = kit.scripted(kit.network({**layers, "flat": kit.flatten(), "fc": fc}, plain_body, plain_head))
        wanted = trial.expected(net)
        found = trial.ask(net, model=model)
    return trial.compared(found, net, wanted)


def compiled(trial: Trial) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = trial.kit.compiled(net.model, net.native)
        layer = f"_orig_mod.{net.layer}" if trial.method in ("cam", "grad_cam") else None
        found = trial.ask(net, model=model, layer=layer, classifier="_orig_mod.fc")
    return trial.compared(found, net, wanted)


def data_parallel(trial: Trial) -> Verdict:
    net = trial.usual_net()
    layer = f"module.{net.layer}" if trial.method in ("cam", "grad_cam") else None
    return trial.right(net, model=trial.kit.data_parallel(net.model), layer=layer, classifier="module.fc")


def cut(trial: Trial, how: Callable[[Any], Any]) -> Verdict:
    """Between pixels and logits, or between the layer and the logits."""
    if trial.method == "guided":
        net = flat(trial.kit)
        original = net.model.forward
        net.model.forward = lambda x: original(how(x))
    else:
        head = lambda s, f: plain_head(s, how(f * 3))  # noqa: E731
        net = make(trial.kit, plain_layers(trial.kit), plain_body, head, images(), stages=plain_stages)
    return trial.refuses_or_warns(net, "no derivative reaches the layer or input", "gradient|derivative")


def axes(trial: Trial, space: tuple[int, ...]) -> Verdict:
    if len(space) not in trial.subject.spaces:
        raise DoesNotApplyError(f"it does not offer {len(space)} space axes")
    x = images(space=space)
    return trial.right(plain(trial.kit, x, space=len(space)))


def saturated(trial: Trial) -> Verdict:
    """The oracle explains the logits; what comes may have another scale."""
    kit = trial.kit
    layers = {**plain_layers(kit), "fc": kit.linear(plain_class_weights() * 2000)}
    net = make(
        kit,
        layers,
        plain_body,
        plain_head,
        images(),
        class_weights=plain_class_weights() * 2000,
        stages=plain_stages,
        returned=lambda s, logits: kit.softmax(logits),
    )
    wanted = trial.expected(net)
    found = trial.ask(net)
    scaled = replace(
        found,
        values=up_to_scale(found.values, ()),
        convention=lambda values, space: up_to_scale(found.convention(values, space), space),
    )
    if np.ptp(found.values):
        verdict = trial.compared(scaled, net, wanted, 1e-2)
    else:
        verdict = Verdict(Kind.WRONG, "a blank map where there is evidence")
    return verdict if verdict.kind is Kind.RIGHT else warned(found, "softmax|saturat|probabilit") or verdict


def quantised(trial: Trial) -> Verdict:
    net = plain(trial.kit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the namespace is deprecated
        model = trial.kit.quantised(net.model)
        wanted = trial.expected(net)
        found = trial.ask(net, model=model)
    return trial.compared(found, net, wanted, 5e-2)


_AXES = "Conv[13]d|[13]D|spatial|2D|number of dim"
_STRUCTURES = "tuple|dict|namedtuple|Output|list|mapping|tensor"

CASES = (
    *(
        _case(
            f"model returns a {name}",
            sentence=f"model returns a {name}: right or a clear refusal",
            run=partial(structured, wrap=wrap),
            may_refuse=True,
            trouble=_STRUCTURES,
        )
        for name, wrap in (
            ("tuple", lambda y: (y, y * 2)),
            ("dict", lambda y: {"logits": y}),
            ("namedtuple", lambda y: Output(y, y * 2)),
        )
    ),
    _case(
        "two inputs",
        sentence="model with two inputs (image, scale)",
        run=two_inputs,
        may_refuse=True,
        trouble="missing .* argument|two inputs|scale",
    ),
    _case(
        "lazy layer",
        sentence="uninitialised LazyConv2d in the model",
        run=lazy,
        methods=("cam", "grad_cam", "gradient", "clear"),
        frameworks=_TORCH,
        may_refuse=True,
        trouble="lazy|uninitiali[sz]ed",
    ),
    _case(
        "TorchScript",
        sentence="torch.jit.script model",
        run=scripted,
        frameworks=_TORCH,
        may_refuse=True,
        trouble="script|jit",
    ),
    _case(
        "compiled",
        sentence="torch.compile'd model, already run once",
        run=compiled,
        frameworks=_TORCH,
        may_refuse=True,
        trouble="compile|dynamo|optimized",
    ),
    _case(
        "DataParallel",
        sentence="nn.DataParallel wrapper (CPU) with the inner layer",
        run=data_parallel,
        frameworks=_TORCH,
        may_refuse=True,
        trouble="parallel",
    ),
    *(
        _case(
            f"gradient cut by {name}",
            sentence=f"gradient path cut by .{name}(): refusal, not a zero map",
            run=partial(cut, how=how),
            methods=("grad_cam", "gradient", "lrp", "clear", "guided"),
            may_refuse=True,
            trouble="require.? grad|differentia|not have been used|connected|gradient|graph",
        )
        for name, how in (("detach", lambda t: t.detach()), ("round", lambda t: t.round()))
    ),
    _case(
        "signal",
        sentence="1-D signal model (N, C, L) -> map (N, L')",
        run=partial(axes, space=(17,)),
        methods=METHODS,
        trouble=_AXES,
    ),
    _case(
        "volume",
        sentence="3-D volume with three different sizes: axes not swapped",
        run=partial(axes, space=(3, 4, 5)),
        methods=METHODS,
        trouble=_AXES,
    ),
    _case(
        "saturated softmax",
        sentence="model ends in a saturated softmax: right up to scale, warning or refusal -- not a silent blank map",
        run=saturated,
        methods=METHODS,
        may_refuse=True,
        trouble="softmax|saturat",
    ),
    _case(
        "quantised head",
        sentence="dynamically quantised head (not differentiable): refusal",
        run=quantised,
        methods=METHODS,
        frameworks=_TORCH,
        may_refuse=True,
        trouble="quanti|differentia",
    ),
)
