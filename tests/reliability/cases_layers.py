"""Whatever the architecture: target layers and heads."""

from functools import partial
from typing import Any

from reliability import oracle
from reliability.net import (
    drawn,
    flat,
    flat_stages,
    images,
    make,
    plain,
    plain_body,
    plain_class_weights,
    plain_head,
    plain_layers,
    plain_stages,
)
from reliability.trial import Trial
from reliability.verdict import ALL, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.ARCHITECTURE)


def _before_relu(s: Any, x: Any) -> Any:
    return s.conv2(s.relu1(s.conv1(x)))


def before_in_place_relu(trial: Trial) -> Verdict:
    layers = plain_layers(trial.kit, in_place=True)
    head = lambda s, f: plain_head(s, s.relu2(f))  # noqa: E731
    return trial.right(make(trial.kit, layers, _before_relu, head, images(), layer="conv2"))


def before_in_place_sum(trial: Trial) -> Verdict:
    """The oracle's head adds the identity of the one image that is asked about."""
    kit, x = trial.kit, images()

    def added(s: Any, features: Any, image: Any) -> Any:
        out = features * 1
        out += s.relu1(s.conv1(image))
        return plain_head(s, s.relu2(out))

    def forward(s: Any, image: Any) -> Any:
        identity = s.relu1(s.conv1(image))
        out = s.conv2(identity)
        out += identity
        return plain_head(s, s.relu2(out))

    head = lambda s, f: added(s, f, kit.like(x, f))  # noqa: E731
    return trial.right(make(kit, plain_layers(kit), _before_relu, head, x, layer="conv2", forward=forward))


def relu_in_place_everywhere(trial: Trial) -> Verdict:
    if trial.method != "guided":
        return trial.right(plain(trial.kit, in_place=True))
    layers = {**plain_layers(trial.kit, in_place=True), "fc": trial.kit.linear(drawn(5, 3, 4 * 6 * 7, scale=0.3))}
    head = lambda s, f: s.fc(f.flatten(1))  # noqa: E731
    return trial.right(make(trial.kit, layers, plain_body, head, images(), stages=flat_stages))


def relu_twice(trial: Trial) -> Verdict:
    kit = trial.kit
    body = lambda s, x: s.relu(s.conv2(s.relu(s.conv1(x))))  # noqa: E731
    shared = {"relu": kit.relu()}
    if trial.method == "guided":
        layers = {**plain_layers(kit), **shared, "fc": kit.linear(drawn(5, 3, 4 * 6 * 7, scale=0.3))}
        head = lambda s, f: s.fc(f.flatten(1))  # noqa: E731
        return trial.right(make(kit, layers, body, head, images(), stages=flat_stages))
    layers = {name: layer for name, layer in plain_layers(kit).items() if not name.startswith("relu")} | shared
    if trial.method == "grad_cam":  # the layer before its second use, which has one output
        before = lambda s, x: s.conv2(s.relu(s.conv1(x)))  # noqa: E731
        after = lambda s, f: plain_head(s, s.relu(f))  # noqa: E731
        return trial.right(make(kit, layers, before, after, images(), layer="conv2"))
    net = make(
        kit, layers, body, plain_head, images(), layer="relu", class_weights=plain_class_weights(), stages=plain_stages
    )
    ours_by_itself = {"layer": None} if trial.subject.is_ours else {}  # the layer "relu" is ambiguous, the pool is not
    return trial.right(net, **ours_by_itself)


def cam_before_relu(trial: Trial) -> Verdict:
    net = plain(trial.kit)
    wanted = trial.expected(net)
    verdict = trial.compared(trial.ask(net, layer="conv2"), net, wanted)
    if verdict.kind is Kind.RIGHT:
        return verdict
    return Verdict(Kind.WRONG, f"the map of features that do not enter the pool, unlike the CAM: {verdict.reason}")


def cam_flat(trial: Trial) -> Verdict:
    return trial.refuses(flat(trial.kit), "flattened features have no class activation map")


def cam_hidden(trial: Trial) -> Verdict:
    kit = trial.kit
    layers = {
        **plain_layers(kit),
        "hidden": kit.linear(drawn(71, 4, 4), drawn(72, 4)),
        "rectifier": kit.relu(),
        "fc": kit.linear(drawn(73, 4, 4)),
    }
    head = lambda s, f: s.fc(s.rectifier(s.hidden(s.pool(f).flatten(1))))  # noqa: E731
    return trial.refuses(make(kit, layers, plain_body, head, images()), "a hidden layer stands behind the pool")


def cam_maximum(trial: Trial) -> Verdict:
    head = lambda s, f: s.fc(trial.kit.global_maximum(f))  # noqa: E731
    net = make(trial.kit, plain_layers(trial.kit), plain_body, head, images())
    return trial.refuses_or_warns(net, "the pool takes the maximum", "max")


def at_the_classifier(trial: Trial) -> Verdict:
    found = trial.ask(plain(trial.kit), layer="fc")
    if found.values.ndim < 2:
        return Verdict(Kind.RIGHT, "one number per image, no map")
    return Verdict(Kind.WRONG, f"a map of shape {found.values.shape} of a layer without space")


def tuple_layer(trial: Trial) -> Verdict:
    kit = trial.kit
    layers = {**plain_layers(kit), "two": kit.module(lambda t: (t * 2, t))}
    body = lambda s, x: s.two(plain_body(s, x))[0]  # noqa: E731
    return trial.right(make(kit, layers, body, plain_head, images(), layer="two"))


def tokens(trial: Trial) -> Verdict:
    """Token features (N, T, C), whose map is one number per token."""
    kit = trial.kit
    layers = {
        "patches": kit.convolution(drawn(81, 5, 2, 3, 3), stride=3),
        "mix": kit.linear(drawn(82, 5, 5), drawn(83, 5)),
        "fc": kit.linear(drawn(84, 3, 5)),
    }
    body = lambda s, x: s.mix(kit.permuted(s.patches(x).flatten(2), (0, 2, 1)))  # noqa: E731
    head = lambda s, f: s.fc(kit.sigmoid(f).mean(1))  # noqa: E731
    net = make(kit, layers, body, head, images(space=(6, 9)), layer="mix")
    values = oracle.features(net)  # (1, T, C)
    slopes = oracle.differences(lambda f: kit.run(lambda t: head(net.exact, t), f), values, [net.target])
    over_tokens = (values * slopes.mean(axis=1, keepdims=True)).sum(axis=2)
    found = trial.ask(net)
    for wanted in (over_tokens, over_tokens.reshape(1, 2, 3)):
        if trial.compared(found, net, wanted).kind is Kind.RIGHT:
            return Verdict(Kind.RIGHT, "a map over tokens")
    return Verdict(Kind.WRONG, f"a map of shape {found.values.shape} that takes tokens for channels")


CASES = (
    _case(
        "layer before a ReLU in place",
        sentence="target layer followed by nn.ReLU(inplace=True): map of the layer's own output",
        run=before_in_place_relu,
        methods=("grad_cam",),
        trouble="in.?place",
    ),
    _case(
        "layer before += identity",
        sentence="target layer's output changed by `out += identity` (torchvision ResNet)",
        run=before_in_place_sum,
        methods=("grad_cam",),
        trouble="in.?place",
    ),
    _case(
        "ReLU in place everywhere",
        sentence="nn.ReLU(inplace=True) everywhere (torchvision default): right",
        run=relu_in_place_everywhere,
        methods=tuple(method for method in ALL if method != "lrp"),
        trouble="in.?place",
    ),
    _case(
        "one ReLU twice",
        sentence="one nn.ReLU object used twice",
        run=relu_twice,
        methods=ALL,
        trouble="twice|reused|shared",
    ),
    _case(
        "CAM before the ReLU",
        sentence="CAM asked at the pre-ReLU convolution (not what feeds the pooling)",
        run=cam_before_relu,
        methods=("cam",),
        may_refuse=True,
        trouble="pool|feed",
    ),
    _case(
        "CAM on flatten and linear",
        sentence="CAM on flatten+linear (no pooling): refusal",
        run=cam_flat,
        methods=("cam",),
        may_refuse=True,
        trouble="pool|class activation",
    ),
    _case(
        "CAM behind a hidden layer",
        sentence="CAM on GAP + hidden layer + linear with equal widths: refusal",
        run=cam_hidden,
        methods=("cam",),
        may_refuse=True,
        trouble="hidden|multiple fully|linear layers",
    ),
    _case(
        "CAM on a global maximum",
        sentence="CAM on global MAX pooling: refusal or warning",
        run=cam_maximum,
        methods=("cam",),
        may_refuse=True,
        trouble="max|pool",
    ),
    _case(
        "Grad-CAM at the classifier",
        sentence="Grad-CAM at a layer with no spatial dimensions (fc)",
        run=at_the_classifier,
        methods=("grad_cam",),
        may_refuse=True,
        trouble="spatial|shape|dim|4 \\(2D",
    ),
    _case(
        "layer that returns a tuple",
        sentence="target layer returns a tuple",
        run=tuple_layer,
        methods=("grad_cam",),
        may_refuse=True,
        trouble="tuple|tensor",
    ),
    _case(
        "layer of tokens",
        sentence="token layer (B, N, C) of a ViT without reshape: refusal or a map over tokens",
        run=tokens,
        methods=("grad_cam",),
        may_refuse=True,
        trouble="shape|dim|token|reshape",
    ),
)
