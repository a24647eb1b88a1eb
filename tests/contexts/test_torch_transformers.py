"""Small vision transformers in PyTorch."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from contexts.torch_sequence import images  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import LayerError, XaiMedError  # noqa: E402


class Tokens(nn.Module):
    """A small vision transformer."""

    def __init__(self, *, class_token):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(2, 8, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 8)) if class_token else None
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)
        self.eval()

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = self.norm(tokens)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = tokens + self.mlp(tokens)
        return self.head(tokens[:, 0] if self.token is not None else tokens.mean(1))


def test_a_layer_of_tokens_gives_a_map_of_the_tokens_that_lie_in_the_image():
    with torch.random.fork_rng():
        model = Tokens(class_token=True)
    assert explain(model, images(size=(6, 8)), method="grad_cam", layer="norm").attribution.shape == (2, 1, 3, 4)


def test_a_layer_of_tokens_that_do_not_reach_the_output_is_refused():
    with torch.random.fork_rng():
        model = Tokens(class_token=True)
    with pytest.raises(LayerError, match="behind it only a class token goes on to the output"):
        explain(model, images(size=(6, 8)), method="grad_cam", layer="mlp")


@pytest.mark.parametrize("class_token", [False, True])
def test_a_transformer_is_explained_by_its_gradient_and_its_patches(class_token):
    with torch.random.fork_rng():
        model = Tokens(class_token=class_token).double()
    x = images(1, (6, 8), torch.float64)
    gradient = explain(model, x, method="gradient", target=1).attribution[0, 0]
    step = 1e-6
    for place in ((0, 1, 2), (1, 5, 7)):
        shifted = [x.clone(), x.clone()]
        for sign, each in zip((1, -1), shifted, strict=True):
            each[(0, *place)] += sign * step
        difference = (model(shifted[0]) - model(shifted[1]))[0, 1].item() / (2 * step)
        assert gradient[place] == pytest.approx(difference, rel=1e-5, abs=1e-8)
    assert explain(model, x, method="grad_cam", layer="patches", target=1).attribution.shape == (1, 1, 3, 4)
    if class_token:
        with pytest.raises(XaiMedError, match="use method='grad_cam'"):
            explain(model, x, target=1)
