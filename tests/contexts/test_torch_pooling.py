"""Ways to write the global pool and the head in PyTorch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812

from contexts.torch_sequence import Sequence, assert_close, images, pooled, right_or_refused  # noqa: E402
from xai_med import explain  # noqa: E402


@pytest.mark.parametrize(
    "pool",
    [
        lambda a: a.mean((2, 3)),
        lambda a: a.mean(dim=[-1, -2]),
        lambda a: torch.mean(a, (2, 3)),
        lambda a: a.mean(3).mean(2),
        lambda a: a.flatten(2).mean(2),
        lambda a: a.flatten(2).mean(-1),
        lambda a: F.adaptive_avg_pool2d(a, 1).flatten(1),
        lambda a: F.adaptive_avg_pool2d(a, (1, 1))[:, :, 0, 0],
        lambda a: F.adaptive_avg_pool2d(a, 1).squeeze(-1).squeeze(-1),
        lambda a: F.avg_pool2d(a, a.shape[2:]).view(len(a), -1),
        lambda a: a.view(a.shape[0], a.shape[1], -1).mean(2),
        lambda a: a.sum((2, 3)) / 42,
        lambda a: torch.einsum("nchw->nc", a) / 42,
    ],
    ids=[
        "mean",
        "negative axes",
        "torch.mean",
        "mean of mean",
        "flatten mean",
        "flatten last",
        "adaptive",
        "adaptive index",
        "adaptive squeeze",
        "full window",
        "view mean",
        "sum over count",
        "einsum",
    ],
)
def test_every_way_to_write_the_global_pool_is_right_or_refused(method, pool):
    x = images()
    wanted = explain(Sequence(pooled), x, method=method, target=1)
    result = right_or_refused(lambda: explain(Sequence(lambda model, a: model.fc(pool(a))), x, method=method, target=1))
    if result is None:
        return
    if result.rules[-1:] == ("pulled back from: logits",):
        return  # without class maps CLEAR pulls the logits themselves back, and says so
    assert_close(result.maps, wanted.maps)


@pytest.mark.parametrize(
    "head",
    [
        lambda m, a: m.fc(a.amax((2, 3))),
        lambda m, a: m.fc(F.adaptive_max_pool2d(a, 1).flatten(1)),
        lambda m, a: m.fc(a.flatten(2).max(2).values),
        lambda m, a: m.fc(a[:, :, 1:].mean((2, 3))),  # a mean over part of the features
        lambda m, a: m.fc(a.mean(2).amax(2)),
        lambda m, a: m.fc(torch.logsumexp(a, (2, 3))),
        lambda m, a: m.fc((a * torch.sigmoid(a)).mean((2, 3))),
        lambda m, a: m.fc(a.mean((2, 3))) + m.fc(a.amax((2, 3))),
        lambda m, a: m.fc(torch.relu(a.mean((2, 3)) - 0.3)),
        lambda m, a: m.fc(F.normalize(a.mean((2, 3)))),
        lambda m, a: m.fc(a.mean((2, 3))) * 2,
        lambda m, a: m.fc(a.mean((2, 3)) * 2),
        lambda m, a: m.fc(a.mean((2, 3))) / 0.1,
        lambda m, a: m.fc(a.mean((2, 3)))[:, [2, 1, 0]],
        lambda m, a: m.fc(a.permute(0, 2, 3, 1)).mean((1, 2)),
        lambda m, a: m.fc(a.permute(0, 2, 3, 1).mean((1, 2))),
    ],
    ids=[
        "amax",
        "adaptive max",
        "max values",
        "part",
        "mean and max",
        "logsumexp",
        "gated",
        "two pools",
        "hidden relu",
        "normalise",
        "scaled logits",
        "scaled features",
        "temperature",
        "permuted classes",
        "linear before mean",
        "channels last mean",
    ],
)
def test_a_cam_adds_up_to_its_logit_or_is_refused(head):
    model, x = Sequence(head), images()
    result = right_or_refused(lambda: explain(model, x, target=[1, 2]), "use method='grad_cam'")
    if result is None:
        return
    logits = model(x).detach().numpy()[np.arange(2), [1, 2]]
    np.testing.assert_allclose(result.scores[:, 0], logits, rtol=1e-5)
    rest = result.scores[:, 0] - result.attribution.reshape(2, 1, -1).mean(2)[:, 0]
    without_features = head(model, torch.zeros(2, 4, 7, 6)).detach().numpy()[np.arange(2), [1, 2]]
    np.testing.assert_allclose(rest, without_features, atol=1e-5)  # the bias of this very class
