"""Randomness and statistics of the batch in PyTorch."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from contexts.torch_sequence import Sequence, assert_close, images, pooled, right_or_refused  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import XaiMedError  # noqa: E402


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.5),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.RReLU(),
    ],
    ids=["dropout", "batch statistics", "rrelu"],
)
def test_randomness_and_batch_statistics_are_refused_or_absent(method, module):
    model = Sequence(lambda m, a: pooled(m, m.extra(a)))
    model.extra = module
    model.train()
    first = right_or_refused(
        lambda: explain(model, images(3), method=method, target=1), "statistics of the batch|have none"
    )
    if first is None:
        return
    alone = explain(model, images(3)[1:2], method=method, target=1)
    assert_close(first.maps[1:2], alone.maps)


@pytest.mark.parametrize(
    "noise",
    [
        lambda a: a + torch.randn_like(a),
        lambda a: a * torch.rand(a.shape),
        lambda a: F.dropout(a, 0.3),
        lambda a: F.dropout(a, 0.3, training=True),
        lambda a: a + torch.empty(a.shape).normal_(),
        lambda a: torch.bernoulli(torch.sigmoid(a)),
        lambda a: F.rrelu(a, training=True),
        lambda a: a + torch.normal(0.0, 1.0, a.shape),
        lambda a: a[:, torch.randperm(4)],
    ],
    ids="randn_like rand dropout dropout_on normal_ bernoulli rrelu normal randperm".split(),
)
def test_a_model_that_is_random_in_evaluation_mode_is_refused(method, noise):
    model = Sequence(lambda m, a: pooled(m, noise(a)))
    with torch.random.fork_rng(), pytest.raises(XaiMedError, match="is random in evaluation mode"):
        explain(model, images(), method=method, target=1)
