"""The mathematics."""

from functools import partial

import numpy as np

from reliability import oracle
from reliability.net import (
    Net,
    drawn,
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
from reliability.trial import Trial, warned
from reliability.verdict import ALL, METHODS, Case, Kind, Section, Verdict

_case = partial(Case, section=Section.MATHEMATICS, methods=METHODS)


def definition(trial: Trial, seed: int) -> Verdict:
    if trial.method == "guided":
        return trial.right(flat(trial.kit, seed=seed))
    return trial.right(plain(trial.kit, seed=seed, biased_convolutions=True))


def cam_adds_up(trial: Trial) -> Verdict:
    net = plain(trial.kit)
    found = trial.ask(net)
    wanted = trial.expected(net)
    if found.convention(np.array([[-3.0, 7.0]]), (2,)).tolist() != [[-3.0, 7.0]]:
        return trial.compared(found, net, wanted)  # not raw: it cannot add up to the logit, but is that map's shape
    bias = drawn(4, 3, scale=0.1)[net.target]
    residual = abs(found.values.mean() + bias - oracle.logits(net)[0, net.target])
    return Verdict(Kind.RIGHT if residual < 1e-5 else Kind.WRONG, f"mean + bias - logit = {residual:.1e}")


def grad_cam_is_cam(trial: Trial) -> Verdict:
    net = plain(trial.kit)
    closed_form = oracle.cam(net, [net.target]) / np.prod(net.x.shape[2:])
    return trial.compared(trial.ask(net), net, closed_form)


def conserves(trial: Trial, *, negative: bool) -> Verdict:
    net = plain(trial.kit, bias=False)
    logits = oracle.logits(net)[0]
    target = int(logits.argmin() if negative else logits.argmax())
    if negative and logits[target] >= 0:
        raise LookupError("no logit is negative")
    total = float(trial.ask(net, target=target).values.sum())
    off = abs(total - logits[target]) / abs(logits[target])
    return Verdict(Kind.RIGHT if off < 1e-3 else Kind.WRONG, f"sum {total:.4g}, logit {logits[target]:.4g}")


def batches(trial: Trial, *, reverse: bool) -> Verdict:
    """Two images in a batch, in either order, or one by one."""
    net = plain(trial.kit, images(2))
    wanted = trial.expected(net)
    order = [1, 0] if reverse else [0, 1]
    found = trial.ask(net, x=trial.kit.tensor(net.x[order]))
    return trial.compared(found, net, wanted[order])


def pointwise_head(trial: Trial) -> Verdict:
    """The linear layer as a 1x1 convolution before the pool: the same function, the same maps."""
    kit = trial.kit
    weights = plain_class_weights()
    layers = {**plain_layers(kit), "fc": kit.convolution(weights[:, :, None, None])}
    head = lambda s, f: s.pool(s.fc(f)).flatten(1)  # noqa: E731
    net = make(kit, layers, plain_body, head, images(), class_weights=weights)
    layer = None if trial.subject.is_ours and trial.method == "cam" else net.layer
    return trial.right(net, layer=layer if trial.method in ("cam", "grad_cam") else None)


def randomised(trial: Trial) -> Verdict:
    """The weights are overwritten between two calls: the second map must be that of the new ones."""
    net = plain(trial.kit, bias=False)
    first = trial.ask(net)
    others = -plain_class_weights(7)
    trial.kit.fill(net.model.fc.weight, others)
    trial.kit.fill(net.exact.fc.weight, others)
    renewed = Net(**{**vars(net), "class_weights": others})
    second = trial.ask(renewed)
    if np.array_equal(first.values, second.values):
        return Verdict(Kind.WRONG, "the map did not change with the last layer")
    return trial.compared(second, renewed, trial.expected(renewed))


def tiny_relevance(trial: Trial) -> Verdict:
    kit = trial.kit
    layers = {**plain_layers(kit), "fc": kit.linear(plain_class_weights() * np.float32(1e-10))}
    net = make(kit, layers, plain_body, plain_head, images(), stages=plain_stages)
    logit = oracle.logits(net)[0, net.target]
    found = trial.ask(net)
    kept = float(found.values.sum() / logit)
    if abs(kept - 1) < 1e-2:
        return Verdict(Kind.RIGHT, f"{kept:.4f} of the logit arrives")
    return warned(found, "stabili[sz]er|epsilon|absorb") or Verdict(Kind.WRONG, f"{kept:.1e} of the logit arrives")


CASES = (
    *(
        _case(
            f"definition, network {number}",
            sentence=f"equals its definition (FD / dense-matrix oracle) on three random nets: net {number}",
            run=partial(definition, seed=100 * number),
            methods=ALL,
        )
        for number in (1, 2, 3)
    ),
    _case("CAM adds up", sentence="CAM: spatial mean = logit - bias", run=cam_adds_up, methods=("cam",)),
    _case(
        "Grad-CAM is CAM",
        sentence="Grad-CAM proportional to CAM for GAP+linear",
        run=grad_cam_is_cam,
        methods=("grad_cam",),
    ),
    _case(
        "LRP conserves",
        sentence="LRP conserves: sum of relevance = logit (bias-free net)",
        run=partial(conserves, negative=False),
        methods=("lrp",),
    ),
    _case(
        "LRP conserves a negative logit",
        sentence="LRP conserves: sum of relevance = logit (bias-free net), also for a negative logit",
        run=partial(conserves, negative=True),
        methods=("lrp",),
    ),
    _case(
        "batch split",
        sentence="batch split does not change a map",
        run=partial(batches, reverse=False),
        trouble="batch",
    ),
    _case(
        "batch order",
        sentence="batch order does not change a map",
        run=partial(batches, reverse=True),
        trouble="batch",
    ),
    _case(
        "implementation invariance",
        sentence="implementation invariance: fc as Linear vs as 1x1 conv before pooling",
        run=pointwise_head,
        methods=("cam", "grad_cam", "gradient", "clear"),
        trouble="fc|linear|dim|conv",
    ),
    _case(
        "model randomisation",
        sentence="sanity check: randomising the last layer changes the map (model-parameter randomisation)",
        run=randomised,
    ),
    _case(
        "LRP of a tiny logit",
        sentence="LRP: epsilon absorbs most of a tiny logit (1e-10): conserve, or say so",
        run=tiny_relevance,
        methods=("lrp",),
        may_refuse=True,
        trouble="epsilon|stabili",
    ),
)
