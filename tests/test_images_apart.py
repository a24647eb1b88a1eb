"""Images of a batch are explained at once where they stay apart, and one by one where the model compares them."""

import numpy as np
import pytest

from xai_med import explain

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

BATCH = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype("float32")


class TorchNet(torch.nn.Module):
    def __init__(self, read_out):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 3)
        self.read_out = read_out

    def forward(self, x):
        return self.read_out(self.conv(x).relu(), self.head)


class PaddleNet(paddle.nn.Layer):
    def __init__(self, read_out):
        super().__init__()
        self.conv, self.head = paddle.nn.Conv2D(1, 4, 3), paddle.nn.Linear(4, 3)
        self.read_out = read_out

    def forward(self, x):
        return self.read_out(paddle.nn.functional.relu(self.conv(x)), self.head)


F, P = torch.nn.functional, paddle.nn.functional


def _attended(tokens):
    """Attention as timm and others write it."""
    three = torch.cat([tokens, tokens * 2, tokens * 3], -1)
    query, key, value = three.reshape(*tokens.shape[:2], 3, 1, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(tokens.shape)


TORCH_MIXING = {
    "softmax over images": lambda f, head: head(f.mean((2, 3)).softmax(0)),
    "log_softmax of a transposed tensor": lambda f, head: head(F.log_softmax(f.mean((2, 3)).t(), dim=-1).t()),
    "softmax without an axis": lambda f, head: head(f.mean(3).softmax(0).mean(2)),
    "layer norm over images": lambda f, head: head(F.layer_norm(f.mean((2, 3)), (len(f), 4))),
    "normalize over images": lambda f, head: head(F.normalize(f.mean((2, 3)), dim=0)),
    "attention over images": lambda f, head: head(
        F.scaled_dot_product_attention(*(f.flatten(2).permute(2, 0, 1),) * 3).mean(0)
    ),
    "product with all images": lambda f, head: head(f.mean((2, 3)) @ (f.mean((2, 3)).t() @ f.mean((2, 3)))),
    "one image for all": lambda f, head: head((f * f[0]).mean((2, 3))),
}
TORCH_APART = {
    "softmax over channels": lambda f, head: head(f.mean((2, 3)).softmax(-1)),
    "layer norm over channels": lambda f, head: head(F.layer_norm(f.mean((2, 3)), (4,))),
    "normalize over channels": lambda f, head: head(F.normalize(f.mean((2, 3)))),
    "attention over places": lambda f, head: head(
        F.scaled_dot_product_attention(*(f.flatten(2).transpose(1, 2),) * 3).mean(1)
    ),
    "queries, keys and values in one": lambda f, head: head(_attended(f.flatten(2).transpose(1, 2)).mean(1)),
    "product of each image with itself": lambda f, head: head((f.flatten(2) @ f.flatten(2).transpose(1, 2)).mean(2)),
    "one channel": lambda f, head: head((f * f.select(1, 0).unsqueeze(1)).mean((2, 3))),
}
PADDLE_MIXING = {
    "softmax over images": lambda f, head: head(P.softmax(f.mean([2, 3]), axis=0)),
    "normalize over images": lambda f, head: head(P.normalize(f.mean([2, 3]), axis=0)),
    "one image for all": lambda f, head: head((f * f[0]).mean([2, 3])),
}
PADDLE_APART = {
    "softmax over channels": lambda f, head: head(P.softmax(f.mean([2, 3]))),
    "normalize over channels": lambda f, head: head(P.normalize(f.mean([2, 3]))),
    "attention over places": lambda f, head: head(
        P.scaled_dot_product_attention(*(f.flatten(2).transpose([0, 2, 1]).unsqueeze(2),) * 3)[:, :, 0].mean(1)
    ),
    "one channel": lambda f, head: head((f * f[:, :1]).mean([2, 3])),
}
CASES = [
    *((TorchNet, name, read, True) for name, read in TORCH_MIXING.items()),
    *((TorchNet, name, read, False) for name, read in TORCH_APART.items()),
    *((PaddleNet, name, read, True) for name, read in PADDLE_MIXING.items()),
    *((PaddleNet, name, read, False) for name, read in PADDLE_APART.items()),
]


@pytest.mark.parametrize("method", ["gradient", "grad_cam"])
@pytest.mark.parametrize(
    ("net", "name", "read_out", "mixes"), CASES, ids=lambda value: str(getattr(value, "__name__", value))
)
def test_maps_of_a_batch_are_those_of_its_images(net, name, read_out, mixes, method):
    torch.manual_seed(0)
    paddle.seed(0)
    model = net(read_out)
    model.eval()
    batch = explain(model, BATCH, method=method, target=1)
    singles = np.concatenate([explain(model, BATCH[i : i + 1], method=method, target=1).maps for i in range(3)])
    np.testing.assert_allclose(batch.maps, singles, rtol=1e-4, atol=1e-6 * max(np.abs(singles).max(), 1e-6))
    assert any(check.key == "one_by_one" for check in batch.checks) == mixes
