"""Whatever the input and target: images."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from reliability import oracle
from reliability.convention import up_to_scale
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
from reliability.stages import Affine, Rectifier
from reliability.trial import DoesNotApplyError, Trial, warned
from reliability.verdict import ALL, LAYER_MAPS, METHODS, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.INPUT, methods=METHODS)
_NOT_FINITE = "nan|inf|finite"


def pointwise(trial: Trial, weights: Any, x: np.ndarray, *, channels: int = 1, size: int = 1, bias: Any = None) -> Net:
    """Channels as they are (or the mean over cells of `size`), a ReLU, a global average pool and a linear layer."""
    kit = trial.kit
    weights = np.asarray(weights, np.float32)
    kernel = np.zeros((channels, channels, size, size), np.float32)
    kernel[range(channels), range(channels)] = 1 / size**2
    layers = {
        "conv1": kit.convolution(kernel, stride=size),
        "relu2": kit.relu(),
        "pool": kit.global_average(2),
        "fc": kit.linear(weights, None if bias is None else np.asarray(bias, np.float32)),
    }

    def stages(m: Any) -> tuple[Any, ...]:
        average = Affine("average", lambda t: m.pool(t).flatten(1))
        return (Affine("convolution", m.conv1), Rectifier(), average, Affine("linear", m.fc))

    body = lambda s, t: s.relu2(s.conv1(t))  # noqa: E731
    return make(kit, layers, body, plain_head, x, class_weights=weights, stages=stages)


def hot_pixel(trial: Trial) -> Verdict:
    x = np.full((1, 1, 5, 9), 0.01, np.float32)  # not zero, where a ReLU has no derivative
    x[0, 0, 1, 7] = 2
    return trial.right(pointwise(trial, [[1.0], [0.5]], x))


def centre_of_mass(trial: Trial) -> Verdict:
    x = np.zeros((1, 1, 24, 32), np.float32)
    x[0, 0, 8:12, 20:24] = 1
    net = pointwise(trial, [[1.0], [0.5]], x, size=4)
    found = trial.ask(net, is_enlarged=True)
    if found.enlarged is None:
        raise DoesNotApplyError("it does not enlarge maps")
    values = np.maximum(found.enlarged[0], 0)
    centre = [(values.sum(axis=1 - axis) * np.arange(values.shape[axis])).sum() / values.sum() for axis in (0, 1)]
    off = float(np.abs(np.subtract(centre, (9.5, 21.5))).max())
    return Verdict(Kind.RIGHT if off <= 2 else Kind.WRONG, f"the centre is {off:.1f} pixels off; a cell has 4")


def odd_sizes(trial: Trial) -> Verdict:
    kit = trial.kit
    layers = {**plain_layers(kit), "conv2": kit.convolution(drawn(2, 4, 4, 3, 3, scale=0.4), stride=2, padding=1)}
    net = make(
        kit,
        layers,
        plain_body,
        plain_head,
        images(space=(11, 13)),
        class_weights=plain_class_weights(),
        stages=plain_stages,
    )
    return trial.right(net)


def one_cell(trial: Trial) -> Verdict:
    kit = trial.kit
    layers = {**plain_layers(kit), "conv2": kit.convolution(drawn(2, 4, 4, 6, 7, scale=0.4))}
    found = trial.ask(
        make(kit, layers, plain_body, plain_head, images(), class_weights=plain_class_weights(), stages=plain_stages)
    )
    if not np.isfinite(found.values).all():
        return Verdict(Kind.WRONG, "NaN or infinite values")
    is_flat = trial.method not in LAYER_MAPS or not np.ptp(found.values)
    return Verdict(Kind.RIGHT, "finite") if is_flat else Verdict(Kind.WRONG, "not flat, where there is one cell")


def without_batch_axis(trial: Trial) -> Verdict:
    net = trial.usual_net()
    wanted = trial.expected(net)
    found = trial.ask(net, x=trial.kit.tensor(net.x[0]))
    expected = found.convention(wanted, net.x.shape[2:])
    if found.values.shape == expected.shape[1:]:
        found = replace(found, values=found.values[None])
    return trial.compared(found, net, wanted)


def empty_batch(trial: Trial) -> Verdict:
    net = trial.usual_net()
    found = trial.ask(net, x=trial.kit.tensor(net.x[:0]))
    is_empty = found.values.size == 0
    return Verdict(Kind.RIGHT if is_empty else Kind.WRONG, f"a result of shape {found.values.shape}")


def nan_pixel(trial: Trial) -> Verdict:
    net = trial.usual_net()
    x = net.x.copy()
    x[0, 1, 2, 3] = np.nan
    return _no_clean_map(trial, net, x=trial.kit.tensor(x))


def infinite_weight(trial: Trial) -> Verdict:
    net = trial.usual_net()
    weight = drawn(1, 4, 2, 3, 3, scale=0.5)
    weight[1, 1, 0, 2] = np.inf
    trial.kit.fill(net.model.conv1.weight, weight)
    return _no_clean_map(trial, net)


def _no_clean_map(trial: Trial, net: Net, **asked: Any) -> Verdict:
    found = trial.ask(net, **asked)
    if not np.isfinite(found.values).all():
        return Verdict(Kind.RIGHT, "the map is not finite either")
    return warned(found, _NOT_FINITE) or Verdict(Kind.WRONG, f"a clean map of range {np.ptp(found.values):.2g}")


def bytes_image(trial: Trial) -> Verdict:
    net = trial.usual_net()
    x = np.random.default_rng(5).integers(0, 255, net.x.shape).astype(np.uint8)
    target = int(oracle.logits(net, x.astype(np.float64))[0].argmax())
    wanted = trial.expected(net, [target], x.astype(np.float64))
    return trial.compared(trial.ask(net, x=trial.kit.tensor(x), target=target), net, wanted)


def black_image(trial: Trial) -> Verdict:
    net = plain(trial.kit, np.zeros((1, 2, 6, 7), np.float32), bias=False)
    found = trial.ask(net)
    is_flat = np.isfinite(found.values).all() and not np.ptp(found.values)
    return Verdict(Kind.RIGHT if is_flat else Kind.WRONG, f"range {np.ptp(found.values):.2g}")


def negative_evidence(trial: Trial) -> Verdict:
    net = pointwise(trial, [[-1.0], [-2.0]], np.abs(images(channels=1)))
    return trial.right(net)


def tiny_logits(trial: Trial) -> Verdict:
    kit = trial.kit
    tiny = plain_class_weights() * np.float32(1e-10)
    layers = {**plain_layers(kit), "fc": kit.linear(tiny)}
    net = make(kit, layers, plain_body, plain_head, images(), class_weights=tiny)
    wanted = trial.expected(replace(net, class_weights=plain_class_weights())) if trial.method == "cam" else None
    wanted = trial.expected(net) if wanted is None else wanted
    found = trial.ask(net)
    scaled = replace(
        found,
        values=up_to_scale(found.values, ()),
        convention=lambda values, space: up_to_scale(found.convention(values / np.abs(values).max(), space), space),
    )
    largest = float(np.abs(found.values).max())
    verdict = trial.compared(scaled, net, wanted, 1e-2)
    normalises = found.convention(np.array([[0.0, 2.0]]), (2,)).max() <= 1
    if verdict.kind is Kind.RIGHT and normalises and largest < 0.5:
        return Verdict(Kind.WRONG, f"a map that should reach 1 reaches {largest:.1e}: epsilon ate it")
    return verdict


def numpy_input(trial: Trial) -> Verdict:
    net = trial.usual_net()
    return trial.right(net, x=net.x)


def stays_in_its_channel(trial: Trial) -> Verdict:
    weights = np.zeros((2, 3), np.float32)
    weights[:, 2] = (1.0, 0.5)
    x = np.abs(images(channels=3))
    return trial.right(pointwise(trial, weights, x, channels=3))


CASES = (
    _case("hot pixel", sentence="non-square image: hot pixel stays where it is (no H/W swap)", run=hot_pixel),
    _case(
        "centre of an enlarged map",
        sentence="upsampled map: centre of mass within half a cell of the true one (no align_corners shift)",
        run=centre_of_mass,
        methods=LAYER_MAPS,
    ),
    _case("odd sizes", sentence="odd sizes (11x13, stride 2)", run=odd_sizes),
    _case(
        "one cell",
        sentence="1x1 feature map: finite, flat, no crash",
        run=one_cell,
        trouble="1x1|valid layer|spatial|size",
    ),
    _case(
        "no batch axis",
        sentence="image without batch axis (C, H, W): right or refused",
        run=without_batch_axis,
        methods=ALL,
        may_refuse=True,
        trouble="batch|unbatched|[34]-?D|expected [34]|number of dim",
    ),
    _case(
        "empty batch",
        sentence="empty batch: refusal or empty result",
        run=empty_batch,
        methods=ALL,
        may_refuse=True,
        trouble="empty|batch|size 0|zero",
    ),
    _case(
        "NaN pixel",
        sentence="one NaN pixel: error, warning or NaN map -- never a clean map",
        run=nan_pixel,
        methods=ALL,
        may_refuse=True,
        trouble=_NOT_FINITE,
    ),
    _case(
        "infinite weight",
        sentence="one Inf weight in the model: error, warning or non-finite map",
        run=infinite_weight,
        methods=ALL,
        may_refuse=True,
        trouble=_NOT_FINITE,
    ),
    _case(
        "uint8 image",
        sentence="uint8 image: right (as float) or refused",
        run=bytes_image,
        methods=ALL,
        may_refuse=True,
        trouble="byte|uint8|unsigned char|dtype|floating|Char",
    ),
    _case(
        "black image",
        sentence="all-black image, bias-free net: map finite and flat zero",
        run=black_image,
        methods=("cam", "grad_cam", "lrp", "clear"),
    ),
    _case(
        "negative evidence",
        sentence="all evidence negative: map flat zero (not noise, not NaN)",
        run=negative_evidence,
        methods=("grad_cam", "clear"),
    ),
    _case(
        "tiny logits",
        sentence="logits scaled by 1e-10: same normalised map (epsilon must not eat it)",
        run=tiny_logits,
        methods=("cam", "grad_cam", "gradient", "clear"),
        trouble="small|tiny|epsilon",
    ),
    _case(
        "NumPy input",
        sentence="numpy array input: right or refused",
        run=numpy_input,
        methods=ALL,
        may_refuse=True,
        trouble="numpy|ndarray",
    ),
    _case(
        "channels",
        sentence="3-channel image: attribution stays in its channel (no channel-order mix)",
        run=stays_in_its_channel,
        methods=("gradient", "lrp", "clear"),
    ),
)
