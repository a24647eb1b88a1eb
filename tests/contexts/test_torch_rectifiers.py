"""Ways to rectify in PyTorch, with and without a rule for ReLUs."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from contexts.torch_sequence import Sequence, assert_close, images, pooled, right_or_refused  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import XaiMedError  # noqa: E402


@pytest.mark.parametrize("activation", [nn.SiLU, nn.GELU, nn.ELU, nn.ReLU6])
def test_a_relu_rule_refuses_other_rectifiers(activation):
    model = Sequence(lambda m, a: pooled(m, a))
    model.relu = activation()
    with pytest.raises(XaiMedError, match=r"have none for activation: \w+ in 'relu'"):
        explain(model, images(), method="clear", relu="guided")
    assert explain(model, images(), method="clear").maps.any()


@pytest.mark.parametrize(
    "rectify",
    [
        lambda a: a.clamp(min=0),
        lambda a: torch.clamp_min(a, 0),
        lambda a: torch.maximum(a, torch.zeros_like(a)),
        lambda a: torch.where(a > 0, a, torch.zeros_like(a)),
        lambda a: a * (a > 0),
        lambda a: F.threshold(a, 0.0, 0.0),
        lambda a: torch.max(a, torch.zeros(())),
        lambda a: F.leaky_relu(a, 0.0),
        lambda a: (a + a.abs()) / 2,
        lambda a: torch.relu_(a * 1),
        lambda a: a.masked_fill(a < 0, 0.0),
    ],
    ids="clamp clamp_min maximum where product threshold max leaky abs relu_ masked_fill".split(),
)
def test_every_way_to_rectify_is_right_or_refused(method, rectify):
    model, x = Sequence(pooled), images()
    wanted = explain(model, x, method=method, target=1)
    other = Sequence(lambda m, a: pooled(m, rectify(a)))
    other.relu = nn.Identity()
    result = right_or_refused(lambda: explain(other, x, method=method, target=1))
    if result is None:
        return
    if result.rules[-1:] == ("pulled back from: logits",):
        return
    assert_close(result.maps, wanted.maps)


@pytest.mark.parametrize("rule", ["guided", "deconv", "identity"])
@pytest.mark.parametrize(
    "rectify",
    [
        lambda a: a.clamp(min=0),
        lambda a: torch.maximum(a, torch.zeros_like(a)),
        lambda a: torch.where(a > 0, a, 0.0),
        lambda a: a * (a > 0),
        lambda a: a.masked_fill(a < 0, 0.0),
    ],
    ids="clamp maximum where product masked_fill".split(),
)
def test_a_rectifier_that_is_no_relu_is_not_given_the_plain_gradient_under_a_rule(rectify, rule):
    model, x = Sequence(pooled), images()
    wanted = explain(model, x, method="clear", relu=rule)
    other = Sequence(lambda m, a: pooled(m, rectify(a)))
    other.relu = nn.Identity()
    result = right_or_refused(lambda: explain(other, x, method="clear", relu=rule))
    if result is None:
        return
    assert_close(result.maps, wanted.maps)
