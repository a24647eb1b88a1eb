"""Attention maps of transformers of other libraries, against attention caught on its way by hooks, and a peer."""

import importlib

import attention_oracle as oracle
import numpy as np
import pytest
from test_tokens_of_libraries import CASES, logits_of, model_of

from xai_med import explain
from xai_med.errors import NotApplicableError

torch = pytest.importorskip("torch")

METHODS = ("attention_rollout", "attention_gradient")
READ_MEAN = {"timm ViT, mean"}
CHOSEN = {"timm DeiT": (0, 1), "transformers DINOv2": (0,)}
FOUND = (
    "timm ViT",
    "timm ViT, mean",
    "timm DeiT",
    "timm DINOv2",
    "torchvision ViT",
    "transformers ViT",
    "transformers DeiT",
    "transformers DINOv2",
    "MONAI ViT",
    "MONAI ViT, patches by reshapes",
)


def caught(model, images, monkeypatch):
    """Attention weights of each layer and their derivatives for class 1, each (heads, T, T), of one image."""
    kept = []

    def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        assert attn_mask is None
        assert not is_causal
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        kept.append((query @ key.transpose(-2, -1) * scale).softmax(-1))
        return kept[-1] @ value

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    handles = [  # MONAI's own attention hands its weights to this module
        module.register_forward_hook(lambda _, __, output: kept.append(output))
        for name, module in model.named_modules()
        if name.endswith("drop_weights")
    ]
    try:
        score = logits_of(model(torch.tensor(images)))[0, 1]
    finally:
        monkeypatch.undo()
        for handle in handles:
            handle.remove()
    slopes = torch.autograd.grad(score, kept)
    return (np.array([each.detach().numpy()[0] for each in parts]) for parts in (kept, slopes))


@pytest.mark.parametrize("name", FOUND)
def test_map_equals_one_made_of_attention_that_was_caught(name, monkeypatch):
    case = CASES[name]
    model = model_of(case)
    images = np.random.default_rng(0).normal(size=(1, *case.shape))
    weights, slopes = caught(model, images, monkeypatch)
    tokens = weights[0].shape[-1]
    assert len(weights) == 2
    read = range(1, tokens) if name in READ_MEAN else CHOSEN.get(name, (0,))
    expected = (oracle.rollout(weights, read), oracle.gradient_weighted(weights, slopes, read))
    choice = {"output": 0} if case.library == "monai" else {}
    choice |= {"rows": CHOSEN[name]} if name in CHOSEN else {}
    for method, row in zip(METHODS, expected, strict=True):
        found = explain(model, images, method=method, target=1, **choice).attribution[0, 0]
        wanted = row[case.leading :].reshape(case.grid)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


REFUSED = {
    "timm DeiT": "the row of token 1 .* the row of token 0",
    "timm Swin": "among 16 of 384 tokens, as within windows",
    "timm MaxViT": "among 4 of 256 tokens, as within windows",
    "timm CaiT": "no attention by weights that a softmax made",  # heads talk to each other behind the softmax
    "torchvision Swin": "among 16 of 384 tokens",
    "transformers DINOv2": "the mean of the rows of tokens 1 to 24 .* the row of token 0",
    "transformers Swin": "among 16 of 384 tokens",
    "transformers ConvNeXt": "the model has no attention",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", REFUSED)
def test_other_architectures_are_refused_by_name(name, method):
    case = CASES[name]
    images = np.random.default_rng(0).normal(size=(1, *case.shape))
    with pytest.raises(NotApplicableError, match=REFUSED[name]):
        explain(model_of(case), images, method=method, target=1)


# ---- the encoder that each framework brings


def torch_encoder(norm_first):
    nn = torch.nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(2, 8, 2, 2)
            block = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=norm_first)
            self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.encoder(self.patch(x).flatten(2).transpose(1, 2)).mean(1))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder().double().eval()


def paddle_encoder(norm_first, arrays):
    paddle = importlib.import_module("paddle")
    nn = paddle.nn

    class Encoder(nn.Layer):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2D(2, 8, 2, 2)
            block = nn.TransformerEncoderLayer(8, 2, 12, 0.0, normalize_before=norm_first)
            self.encoder = nn.TransformerEncoder(block, 2)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.encoder(self.patch(x).flatten(2).transpose([0, 2, 1])).mean(1))

    model = Encoder().to(dtype="float64")
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in in_paddle(arrays).items()})
    model.eval()
    return model


def in_paddle(arrays):
    """PyTorch's weights under Paddle's names: linear maps transposed, the fused projection in three."""
    found = {}
    for name, array in arrays.items():
        if "in_proj_" in name:
            for part, each in zip("qkv", np.split(array, 3), strict=True):
                found[name.replace("in_proj_", f"{part}_proj.")] = each.T
        else:
            is_linear = name.endswith("weight") and array.ndim == 2
            found[name] = array.T if is_linear else array
    return found


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_encoders_of_both_frameworks_have_the_same_maps(method, norm_first):
    pytest.importorskip("paddle")
    images = np.random.default_rng(3).normal(size=(2, 2, 6, 4))
    first = torch_encoder(norm_first)
    second = paddle_encoder(norm_first, {name: each.detach().numpy() for name, each in first.named_parameters()})
    np.testing.assert_allclose(second(importlib.import_module("paddle").to_tensor(images)).numpy(),
                               first(torch.tensor(images)).detach().numpy(), atol=1e-12)  # fmt: skip
    found, other = (explain(model, images, method=method, target="all").attribution for model in (first, second))
    np.testing.assert_allclose(other, found, rtol=0, atol=1e-10 * found.max())


# ---- InterpretDL, in PaddlePaddle


def paddle_vision_transformer(heads):
    """Modules named as InterpretDL looks for them; 14 x 14 tokens, which it takes for granted."""
    paddle = importlib.import_module("paddle")
    nn = paddle.nn

    class Attention(nn.Layer):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(8, 24)
            self.attn_drop = nn.Dropout(0.0)
            self.proj = nn.Linear(8, 8)

        def forward(self, x):
            parts = self.qkv(x).reshape([x.shape[0], x.shape[1], 3, heads, 8 // heads]).transpose([2, 0, 3, 1, 4])
            weights = nn.functional.softmax(paddle.matmul(parts[0], parts[1], transpose_y=True) * 3)
            mixed = paddle.matmul(self.attn_drop(weights), parts[2])
            return self.proj(mixed.transpose([0, 2, 1, 3]).reshape(x.shape))

    class Block(nn.Layer):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
            self.attn, self.mlp = Attention(), nn.Linear(8, 8)

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + nn.functional.gelu(self.mlp(self.norm2(x)))

    class Transformer(nn.Layer):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2D(3, 8, 16, 16)
            self.cls_token = self.create_parameter([1, 1, 8], default_initializer=nn.initializer.Normal(0, 1))
            self.blocks = nn.LayerList([Block() for _ in range(3)])
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose([0, 2, 1])
            x = paddle.concat([self.cls_token.expand([x.shape[0], -1, -1]), x], 1)
            for block in self.blocks:
                x = block(x)
            return self.head(x[:, 0])

    state = paddle.get_rng_state()
    paddle.seed(1)
    model = Transformer()
    paddle.set_rng_state(state)
    model.eval()
    return model


def interpreted(name, model, image, **options):
    """A map of InterpretDL for an image (3, 224, 224) that needs no preparation."""
    pytest.importorskip("paddle")
    library = pytest.importorskip("interpretdl", reason="InterpretDL is not installed")
    interpreter = getattr(library, name)(model, device="cpu")
    module = importlib.import_module(type(interpreter).__module__)
    original, vis = module.images_transform_pipeline, module.explanation_to_vis
    module.images_transform_pipeline = lambda *_: (np.zeros((1, 224, 224, 3), np.uint8), image[None])
    module.explanation_to_vis = lambda *_, **__: None
    hooks = [  # it reads ``.grad`` of attention weights, which Paddle keeps of leaves only
        layer.register_forward_post_hook(lambda _, __, output: output.retain_grads())
        for name, layer in model.named_sublayers()
        if name.endswith("attn_drop")
    ]
    try:
        return interpreter.interpret(image[None], visual=False, **options)[0]
    finally:
        for hook in hooks:
            hook.remove()
        module.images_transform_pipeline, module.explanation_to_vis = original, vis


IMAGE = np.random.default_rng(5).normal(size=(3, 224, 224)).astype(np.float32)


@pytest.mark.filterwarnings("ignore")
def test_rollout_is_that_of_interpretdl():
    pytest.importorskip("paddle")
    model = paddle_vision_transformer(2)
    theirs = interpreted("RolloutInterpreter", model, IMAGE)
    ours = explain(model, IMAGE[None], method="attention_rollout", target=2).attribution[0, 0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert np.ptp(ours) > 0.05 * ours.max()


@pytest.mark.filterwarnings("ignore")
def test_gradient_weighted_attention_of_one_head_is_that_of_interpretdl():
    # of several heads InterpretDL multiplies the means, where the paper takes the mean of the products
    pytest.importorskip("paddle")
    model = paddle_vision_transformer(1)
    theirs = interpreted("GACVInterpreter", model, IMAGE, label=[2], start_layer=0, gradient_of="logit")
    ours = explain(model, IMAGE[None], method="attention_gradient", target=2).attribution[0, 0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * theirs.max())
