"""LRP through attention, layer norm and gates: against a slow AttnLRP in NumPy, and each way of writing the same."""

import numpy as np
import pytest
import transformer
from attention_networks import SMALL
from numpy.testing import assert_allclose

from xai_med import explain
from xai_med.errors import NotApplicableError, UnsupportedOperationError

IMAGES = np.random.default_rng(7).normal(size=(2, 2, 6, 4))


def relevance(model, **asked):
    return explain(model, IMAGES, method="lrp", target="all", **asked)


def close(found, expected, tolerance):
    assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def slow(named):
    return np.stack(
        [
            [transformer.relevance_of_image(named, image, target) for target in range(transformer.CLASSES)]
            for image in IMAGES
        ]
    )


@pytest.mark.parametrize("biased", [True, False])
def test_relevance_of_a_transformer_is_that_of_the_slow_pass(backend, biased):
    named = transformer.weights(biased=biased)
    close(relevance(transformer.MODELS[backend.name](named, fused=True)).attribution, slow(named), 1e-10)


def test_attention_written_by_hand_is_that_of_the_slow_pass(backend, monkeypatch):
    monkeypatch.setattr(transformer, "EPSILON", 1e-12)  # by hand, products are stabilised before they are scaled
    named = transformer.weights()
    found = relevance(transformer.MODELS[backend.name](named, fused=False), epsilon=1e-12)
    close(found.attribution, slow(named), 1e-10)


def test_frameworks_agree_on_a_transformer():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    named = transformer.weights()
    first, second = (relevance(make(named, fused=True)).attribution for make in transformer.MODELS.values())
    close(first, second, 1e-10)


def test_attention_by_sums_of_products_is_that_by_matrix_products(backend):
    by_sums, by_matrices = (
        explain(SMALL[name].model(backend.name, ()), SMALL[name].images(2), method="lrp", target="all", epsilon=1e-12)
        for name in ("form by_hand", "class_token")
    )
    close(by_sums.attribution, by_matrices.attribution, 1e-8)


# ---- PyTorch writes the same thing in several ways

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Model(torch.nn.Module):
    """Tokens of 2 x 2 patches, a given step, the mean, a linear layer."""

    def __init__(self, step):
        super().__init__()
        torch.manual_seed(2)
        self.patch = torch.nn.Conv2d(2, 8, 2, 2)
        self.norm = torch.nn.LayerNorm(8)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.squeeze = torch.nn.Linear(8, 8)
        self.head = torch.nn.Linear(8, 3)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        self.step = step
        self.double().eval()

    def forward(self, x):
        features = self.patch(x)
        return self.head(self.step(self, features.flatten(2).transpose(1, 2)).mean(1))


def by_hand(model, tokens):
    weights, biases = model.attention.in_proj_weight.chunk(3), model.attention.in_proj_bias.chunk(3)
    query, key, value = (
        F.linear(tokens, weight, bias).unflatten(-1, (2, 4)).transpose(1, 2)
        for weight, bias in zip(weights, biases, strict=True)
    )
    mixed = (query * 0.5 @ key.transpose(-2, -1)).softmax(-1) @ value
    return model.attention.out_proj(mixed.transpose(1, 2).flatten(2))


def fused(model, tokens):
    weights, biases = model.attention.in_proj_weight, model.attention.in_proj_bias
    query, key, value = F.linear(tokens, weights, biases).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return model.attention.out_proj(mixed.transpose(1, 2).flatten(2))


def with_einsum(model, tokens):
    weights, biases = model.attention.in_proj_weight, model.attention.in_proj_bias
    query, key, value = F.linear(tokens, weights, biases).unflatten(-1, (3, 2, 4)).unbind(2)
    logits = torch.einsum("nqhc,nkhc->nhqk", query, key) / 2
    return model.attention.out_proj(torch.einsum("nhqk,nkhc->nqhc", logits.softmax(-1), value).flatten(2))


@pytest.mark.parametrize("other", [fused, with_einsum, by_hand])
def test_multi_head_attention_equals_its_other_forms(other):
    module = Model(lambda model, tokens: tokens + model.attention(tokens, tokens, tokens)[0])
    written = Model(lambda model, tokens: tokens + other(model, tokens))
    close(relevance(module, epsilon=1e-12).attribution, relevance(written, epsilon=1e-12).attribution, 1e-9)


@pytest.mark.parametrize("average", [True, False])
def test_multi_head_attention_returns_what_it_returned(average):
    seen = []

    def step(model, tokens):
        given = model.attention(tokens, tokens, tokens, average_attn_weights=average)
        seen.append([part.detach().numpy() for part in given])
        return given[0]

    model = Model(step)
    with torch.no_grad():
        model(torch.tensor(IMAGES))
    relevance(model)
    for plain, under_rules in zip(seen[0], seen[1], strict=True):
        assert_allclose(under_rules, plain, atol=1e-12)


@pytest.mark.parametrize("kind", ["attn_mask", "float_mask", "key_padding_mask"])
def test_masks_act_as_they_do_in_the_module(kind):
    boolean = torch.zeros(6, 6, dtype=torch.bool)
    boolean[:, 4:] = True
    masks = {
        "attn_mask": {"attn_mask": boolean},
        "float_mask": {"attn_mask": torch.zeros(6, 6, dtype=torch.float64).masked_fill(boolean, -torch.inf)},
        "key_padding_mask": {"key_padding_mask": boolean[:1]},
    }
    model = Model(lambda model, tokens: model.attention(tokens, tokens, tokens, **masks[kind])[0])
    found = explain(model, IMAGES[:1], method="lrp", target="all")
    with torch.no_grad():
        assert_allclose(found.scores, model(torch.tensor(IMAGES[:1])).numpy(), atol=1e-12)


def test_attention_that_drops_at_random_is_refused():
    model = Model(lambda model, tokens: F.scaled_dot_product_attention(tokens, tokens, tokens, dropout_p=0.5))
    with pytest.raises(NotApplicableError, match=r"scaled_dot_product_attention .* is random in evaluation mode"):
        explain(model, IMAGES, method="gradient", target=0)


def test_rare_attention_is_refused_by_name():
    model = Model(lambda model, tokens: tokens)
    model.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True, add_zero_attn=True).double().eval()
    model.step = lambda model, tokens: model.attention(tokens, tokens, tokens)[0]
    with pytest.raises(UnsupportedOperationError, match="add_zero_attn has no rule"):
        relevance(model)


def hand_norm(x, axes, scale, shift, *, centred=True):
    if centred:
        x = x - x.mean(axes, keepdim=True)
    return x / (x.pow(2).mean(axes, keepdim=True) + 1e-5).sqrt() * scale + shift


def group_norm_by_hand(model, tokens):
    x = tokens.transpose(1, 2).reshape(len(tokens), 2, 4, 6)
    x = hand_norm(x, (2, 3), 1, 0).reshape(len(tokens), 8, 6)
    return (x * model.norm.weight[:, None] + model.norm.bias[:, None]).transpose(1, 2)


NORMS = {
    "layer": (
        lambda model, tokens: model.norm(tokens),
        lambda model, tokens: hand_norm(tokens, -1, model.norm.weight, model.norm.bias),
    ),
    "group": (
        lambda model, tokens: F.group_norm(
            tokens.transpose(1, 2), 2, model.norm.weight, model.norm.bias, 1e-5
        ).transpose(1, 2),
        group_norm_by_hand,
    ),
    "instance": (
        lambda model, tokens: F.instance_norm(tokens.transpose(1, 2), weight=model.norm.weight).transpose(1, 2),
        lambda model, tokens: hand_norm(tokens, 1, model.norm.weight, 0),
    ),
    "root mean square": (
        lambda model, tokens: F.rms_norm(tokens, (8,), model.norm.weight, 1e-5),
        lambda model, tokens: hand_norm(tokens, -1, model.norm.weight, 0, centred=False),
    ),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_equals_the_same_norm_written_by_hand(name):
    module, written = (
        Model(lambda model, tokens, s=step: F.gelu(model.squeeze(s(model, tokens)))) for step in NORMS[name]
    )
    close(relevance(module, epsilon=1e-12).attribution, relevance(written, epsilon=1e-12).attribution, 1e-8)


def gate(model, tokens):
    return torch.sigmoid(model.squeeze(tokens.mean(1)))


GATES = {
    "view": lambda model, tokens: tokens * gate(model, tokens).view(-1, 1, 8),
    "in place": lambda model, tokens: tokens.clone().mul_(gate(model, tokens)[:, None]),
    "expanded": lambda model, tokens: tokens * gate(model, tokens)[:, None].expand_as(tokens),
    "on the left": lambda model, tokens: gate(model, tokens)[:, None] * tokens,
    "einsum-free repeat": lambda model, tokens: tokens * gate(model, tokens)[:, None].repeat(1, 6, 1),
}


@pytest.mark.parametrize("name", GATES)
def test_a_gate_weighs_and_receives_nothing_however_it_is_written(name):
    found = relevance(Model(GATES[name]), epsilon=1e-12)
    model = Model(lambda model, tokens: tokens * constant[:, None])
    with torch.no_grad():
        constant = gate(model, model.patch(torch.tensor(IMAGES)).flatten(2).transpose(1, 2))
    close(found.attribution, relevance(model, epsilon=1e-12).attribution, 1e-9)


HARD = {
    "functional": lambda z: F.hardsigmoid(z),
    "by relu6": lambda z: F.relu6(z + 3) / 6,
    "by clamp": lambda z: (z / 6 + 0.5).clamp(0, 1),
    "by tanh": lambda z: 0.5 * (1 + torch.tanh(z)),
}


@pytest.mark.parametrize("name", HARD)
def test_bounded_factors_of_the_same_shape_are_gates(name):
    found = relevance(Model(lambda model, tokens: tokens * HARD[name](model.squeeze(tokens))), epsilon=1e-12)
    model = Model(lambda model, tokens: tokens * constant)
    with torch.no_grad():
        tokens = model.patch(torch.tensor(IMAGES)).flatten(2).transpose(1, 2)
        constant = HARD[name](model.squeeze(tokens))
    close(found.attribution, relevance(model, epsilon=1e-12).attribution, 1e-9)


def test_a_swish_written_as_a_product_is_the_swish():
    written = Model(lambda model, tokens: model.squeeze(tokens) * torch.sigmoid(model.squeeze(tokens)))
    module = Model(lambda model, tokens: F.silu(model.squeeze(tokens)))
    close(relevance(written, epsilon=1e-12).attribution, relevance(module, epsilon=1e-12).attribution, 1e-9)


def test_a_square_shares_with_itself():
    squared = relevance(Model(lambda model, tokens: tokens * tokens))
    power = relevance(Model(lambda model, tokens: tokens.pow(2)))
    copied = relevance(Model(lambda model, tokens: tokens * (tokens + 0)))
    close(squared.attribution, power.attribution, 1e-5)
    close(squared.attribution, copied.attribution, 1e-5)


def test_a_product_with_a_signal_summand_equals_its_parts():
    def added(model, tokens):
        flat = tokens.reshape(-1, 8)
        return torch.addmm(flat, flat, model.squeeze.weight.T, alpha=2).view_as(tokens)

    def apart(model, tokens):
        return tokens + tokens @ model.squeeze.weight.T * 2

    close(relevance(Model(added)).attribution, relevance(Model(apart)).attribution, 1e-9)


@pytest.mark.parametrize("step", [lambda m, t: t.exp(), lambda m, t: 1 / t, lambda m, t: t.logsumexp(1, keepdim=True)])
def test_what_has_no_rule_is_refused_by_name(step):
    with pytest.raises(UnsupportedOperationError, match="have none for"):
        relevance(Model(step))
