"""Whatever the input and target: classes and layers."""

from functools import partial
from typing import Any

import numpy as np

from reliability import oracle
from reliability.net import (
    Net,
    drawn,
    images,
    make,
    plain,
    plain_body,
    plain_class_weights,
    plain_head,
    plain_layers,
    plain_stages,
)
from reliability.trial import DoesNotApplyError, RaisedError, Trial
from reliability.verdict import ALL, LAYER_MAPS, METHODS, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.INPUT, methods=ALL)


def _net(trial: Trial) -> Net:
    if trial.method in trial.subject.without_targets:
        raise DoesNotApplyError("the caller writes the choice of the class as a tensor")
    return trial.usual_net()


def must_not_exist(trial: Trial, target: Any, why: str) -> Verdict:
    return trial.refuses(_net(trial), why, target=target)


def refused_or_warned(trial: Trial, target: Any, why: str, warning: str) -> Verdict:
    return trial.refuses_or_warns(_net(trial), why, warning, target=target)


def numbers(trial: Trial) -> Verdict:
    net = _net(trial)
    wanted = trial.expected(net)
    verdicts = [
        trial.compared(trial.ask(net, target=target), net, wanted)
        for target in (np.int64(net.target), trial.kit.tensor(np.array(net.target)))
    ]
    return max(verdicts, key=lambda verdict: list(Kind).index(verdict.kind))


def image_by_image(trial: Trial) -> Verdict:
    if trial.method in trial.subject.one_class or trial.method == "guided":
        raise DoesNotApplyError("it is documented for one class")
    net = plain(trial.kit, images(3))
    targets = [2, 0, 1]
    wanted = trial.expected(net, targets)
    return trial.compared(trial.ask(net, target=targets), net, wanted)


def predicted(trial: Trial) -> Verdict:
    if trial.method not in trial.subject.predicted:
        raise DoesNotApplyError("it does not choose a class")
    net = _of_different_classes(trial)
    chosen = [int(k) for k in oracle.logits(net).argmax(axis=1)]
    wanted = trial.expected(net, chosen)
    return trial.compared(trial.ask(net, target=None), net, wanted)


def _of_different_classes(trial: Trial) -> Net:
    """Three images whose predicted classes differ: the classes' biases are set against their mean logits."""
    kit = trial.kit
    for seed in range(100):
        x = images(3, seed=seed) + 2 * drawn(200 + seed, 3, 2, 1, 1)
        middle = oracle.logits(plain(kit, x)).mean(axis=0)
        bias = drawn(4, 3, scale=0.1) - middle.astype(np.float32)
        layers = {**plain_layers(kit), "fc": kit.linear(plain_class_weights(), bias)}
        net = make(kit, layers, plain_body, plain_head, x, class_weights=plain_class_weights(), stages=plain_stages)
        if len(set(oracle.logits(net).argmax(axis=1))) == len(net.x):
            return net
    raise LookupError("no three images of three classes were found")


def too_few(trial: Trial) -> Verdict:
    if trial.method in trial.subject.one_class or trial.method == "guided":
        raise DoesNotApplyError("it is documented for one class")
    if trial.method in trial.subject.without_targets:
        raise DoesNotApplyError("the caller writes the choice of the class as a tensor")
    return trial.refuses(plain(trial.kit, images(3)), "two classes for three images", target=[0, 1])


def single_logit(trial: Trial) -> Verdict:
    if trial.method in trial.subject.without_targets:
        raise DoesNotApplyError("the caller writes the choice of the class as a tensor")
    kit = trial.kit
    weights = np.abs(drawn(91, 1, 4))
    layers = {**plain_layers(kit), "fc": kit.linear(weights)}
    net = make(kit, layers, plain_body, plain_head, images(), class_weights=weights)
    first = trial.ask(net, target=0)
    try:
        second = trial.ask(net, target=1)
    except RaisedError:
        return Verdict(Kind.RIGHT, "there is no class 1")
    if first.values.shape == second.values.shape and np.allclose(first.values, second.values):
        return Verdict(Kind.WRONG, "class 0 and class 1 have the same map")
    return Verdict(Kind.RIGHT, "the maps differ")


def no_class_axis(trial: Trial) -> Verdict:
    kit = trial.kit
    weights = np.abs(drawn(91, 1, 4))
    layers = {**plain_layers(kit), "fc": kit.linear(weights)}
    net = make(
        kit,
        layers,
        plain_body,
        plain_head,
        images(),
        class_weights=weights,
        returned=lambda s, logits: logits.flatten(0),
    )
    wanted = trial.expected(net)
    return trial.compared(trial.ask(net, target=0), net, wanted)


def layer_of_another_model(trial: Trial) -> Verdict:
    net, other = plain(trial.kit), plain(trial.kit, seed=50)
    return trial.refuses(net, "the layer is not of this model", layer=other.model.relu2)


_RANGE = "out of (range|bounds)|index"

CASES = (
    _case(
        "class out of range",
        sentence="target index >= number of classes: error",
        run=partial(must_not_exist, target=3, why="there is no class 3"),
        may_refuse=True,
        trouble=_RANGE,
    ),
    _case(
        "negative class",
        sentence="negative target (-1): error, not the last class silently",
        run=partial(refused_or_warned, target=-1, why="there is no class -1", warning="negative"),
        may_refuse=True,
        trouble=f"{_RANGE}|negative|class_idx",
    ),
    _case(
        "class 1.5",
        sentence="target 1.5 (float): error",
        run=partial(must_not_exist, target=1.5, why="there is no class 1.5"),
        may_refuse=True,
        trouble="float|integer|target type|ind(ices|ex)|class_idx|class list",
    ),
    _case(
        "NumPy and tensor classes",
        sentence="np.int64 and 0-d tensor targets equal the int",
        run=numbers,
        trouble="type|class_idx|int",
    ),
    _case(
        "boolean class",
        sentence="bool target: error, not class 0/1 silently",
        run=partial(refused_or_warned, target=True, why="True is no class", warning="bool"),
        may_refuse=True,
        trouble="bool|target type|class_idx",
    ),
    _case(
        "classes image by image",
        sentence="batch of 3 with per-sample targets: right, and equal to one by one",
        run=image_by_image,
        trouble="batch",
    ),
    _case(
        "predicted classes",
        sentence="batch of 3 without targets: each image's own predicted class, not another's",
        run=predicted,
        methods=METHODS,
        trouble="batch",
    ),
    _case(
        "two classes for three images",
        sentence="2 targets for a batch of 3: error",
        run=too_few,
        may_refuse=True,
        trouble="batch|target|length|correspond|size|shape|number",
    ),
    _case(
        "single logit",
        sentence="single-logit binary model: class 0 and class 1 not given the same map silently",
        run=single_logit,
        methods=METHODS,
        may_refuse=True,
        trouble=_RANGE,
    ),
    _case(
        "no class axis",
        sentence="model returns shape (N,) (no class axis): right for target=0 / refused clearly",
        run=no_class_axis,
        methods=("cam", "grad_cam", "gradient", "clear"),
        may_refuse=True,
        trouble="dim|shape|target|class axis|scalar",
    ),
    _case(
        "layer of another model",
        sentence="wrong layer object (a layer of another model): error",
        run=layer_of_another_model,
        methods=LAYER_MAPS,
        may_refuse=True,
        trouble="layer|module|locate",
    ),
)
