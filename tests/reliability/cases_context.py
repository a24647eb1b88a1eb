"""Whatever the caller's context."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from reliability.net import Net, images, make
from reliability.trial import Trial
from reliability.verdict import ALL, METHODS, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.CONTEXT, methods=ALL)
_ROUGH = 0.95  # correlation that eight bits of mantissa leave


def frozen(trial: Trial) -> Verdict:
    net = trial.usual_net()
    trial.kit.freeze(net.model)
    return trial.right(net)


def no_grad(trial: Trial) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    with trial.kit.no_grad():
        found = trial.ask(net)
    return trial.compared(found, net, wanted)


def inference_mode(trial: Trial, *, input_inside: bool) -> Verdict:
    net = trial.usual_net()
    wanted, x = trial.expected(net), net.native
    with trial.kit.inference_mode():
        found = trial.ask(net, x=x.clone() if input_inside else x)
    return trial.compared(found, net, wanted)


def non_leaf(trial: Trial) -> Verdict:
    net = trial.usual_net()
    return trial.right(net, x=trial.kit.attached(net.native))


def expanded(trial: Trial) -> Verdict:
    net = trial.usual_net()
    gray = net.x[:, :1]
    wanted = trial.expected(net, x=np.repeat(gray, 2, axis=1))
    found = trial.ask(net, x=trial.kit.expanded(trial.kit.tensor(gray), (1, 2, *gray.shape[2:])))
    return trial.compared(found, net, wanted)


def transposed(trial: Trial) -> Verdict:
    net = trial.usual_net()
    turned = trial.kit.tensor(np.ascontiguousarray(net.x.transpose(0, 1, 3, 2)))
    return trial.right(net, x=trial.kit.permuted(turned, (0, 1, 3, 2)))


def channels_last(trial: Trial) -> Verdict:
    net = trial.usual_net()
    return trial.right(net, model=trial.kit.channels_last(net.model), x=trial.kit.channels_last(net.native))


def float64(trial: Trial) -> Verdict:
    net = trial.usual_net()
    tolerance = 1e-6 if trial.subject.is_ours else None
    model, x = trial.kit.exact(net.model), trial.kit.tensor(net.x.astype(np.float64))
    return trial.right(net, model=model, x=x, tolerance=tolerance)


def bfloat16(trial: Trial) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    model, x = (trial.kit.cast(thing, "bfloat16") for thing in (net.model, net.native))
    return _roughly(trial, net, trial.ask(net, model=model, x=x), wanted)


def autocast(trial: Trial) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    with trial.kit.mixed_precision():
        found = trial.ask(net)
    return _roughly(trial, net, found, wanted)


def _roughly(trial: Trial, net: Net, found: Any, wanted: np.ndarray) -> Verdict:
    wanted = found.convention(wanted, net.x.shape[2:])
    if found.values.shape != wanted.shape:
        return Verdict(Kind.WRONG, f"shape {found.values.shape}")
    if not np.isfinite(found.values).all():
        return Verdict(Kind.WRONG, "NaN or infinite")
    if not np.ptp(wanted):
        return trial.compared(replace(found, convention=lambda values, space: values), net, wanted, 1 - _ROUGH)
    correlation = float(np.corrcoef(found.values.ravel(), wanted.ravel())[0, 1])
    return Verdict(Kind.RIGHT if correlation > _ROUGH else Kind.WRONG, f"correlation {correlation:.3f}")


def overflow(trial: Trial) -> Verdict:
    """The features overflow where the image is bright; a finite map must then still be the true one."""
    kit = trial.kit
    weights = np.array([[1.0, 1.0], [0.5, 0.5]], np.float32)
    layers = {
        "conv": kit.convolution(np.full((2, 1, 1, 1), 6e4, np.float32)),
        "pool": kit.global_average(2),
        "fc": kit.linear(weights),
    }
    x = np.abs(images(channels=1)) + 1.5
    net = make(
        kit,
        layers,
        lambda s, t: s.conv(t),
        lambda s, f: s.fc(s.pool(f).flatten(1)),
        x,
        layer="conv",
        class_weights=weights,
    )
    wanted = None if trial.method in ("lrp", "guided") else trial.expected(net)
    found = trial.ask(net, model=kit.cast(net.model, "float16"), x=kit.cast(net.native, "float16"))
    if not np.isfinite(found.values).all():
        return Verdict(Kind.RIGHT, "the map is NaN or infinite, as it should be")
    if not np.ptp(found.values):
        return Verdict(Kind.RIGHT, "the map is blank, which nobody takes for an explanation")
    if wanted is None:
        return Verdict(Kind.WRONG, "a finite map of relevance of an infinite logit")
    return _roughly(trial, net, found, wanted)


# Paddle has no inference mode, memory formats or views by expand; its bfloat16 and mixed precision need an accelerator
_IN_TORCH = ("torch",)

CASES = (
    _case("frozen parameters", sentence="all parameters frozen", run=frozen),
    _case(
        "no_grad",
        sentence="called under torch.no_grad()",
        run=no_grad,
        trouble="no_grad|enable_grad|grad mode|inference",
    ),
    _case(
        "inference mode",
        sentence="called under torch.inference_mode()",
        run=lambda trial: inference_mode(trial, input_inside=False),
        frameworks=_IN_TORCH,
        trouble="inference",
    ),
    _case(
        "input made in inference mode",
        sentence="called under torch.inference_mode(), where the input was made too",
        run=lambda trial: inference_mode(trial, input_inside=True),
        frameworks=_IN_TORCH,
        trouble="inference",
    ),
    _case(
        "input that is no leaf", sentence="input is a non-leaf tensor that requires grad", run=non_leaf, trouble="leaf"
    ),
    _case(
        "expanded input",
        sentence="input is an expanded view",
        run=expanded,
        frameworks=_IN_TORCH,
        trouble="expand|view",
    ),
    _case("transposed input", sentence="input is a non-contiguous view", run=transposed, trouble="contiguous|view"),
    _case(
        "channels last",
        sentence="channels_last model and input",
        run=channels_last,
        frameworks=_IN_TORCH,
        trouble="channels.last|memory.format|contiguous",
    ),
    _case("float64", sentence="float64 model and input", run=float64, trouble="double|float64"),
    _case(
        "bfloat16", sentence="bfloat16 model", run=bfloat16, frameworks=_IN_TORCH, may_refuse=True, trouble="bfloat16"
    ),
    _case(
        "mixed precision",
        sentence="caller inside torch.autocast(bfloat16)",
        run=autocast,
        frameworks=_IN_TORCH,
        trouble="bfloat16|autocast",
    ),
    _case(
        "float16 overflow",
        sentence="float16 overflow in the model: finite map, NaN map, or refusal -- never a plausible one",
        run=overflow,
        methods=METHODS,
        frameworks=_IN_TORCH,
        may_refuse=True,
        trouble="nan|inf|half|float16",
    ),
)
