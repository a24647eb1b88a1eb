"""A small transformer, written once on the few functions that both frameworks have, and a slow AttnLRP in NumPy."""

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

TOKENS, CHANNELS, HEADS, CLASSES = 6, 8, 2, 3
EPSILON = 1e-6


def weights(*, biased=True, seed=5):
    """Arrays by name; linear maps as (in, out)."""
    rng = np.random.default_rng(seed)

    def random(*shape):
        return rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) > 1 else 4)

    named = {
        "patch": random(CHANNELS, 2, 2, 2),
        "query": random(CHANNELS, CHANNELS) * 2,
        "key": random(CHANNELS, CHANNELS) * 2,
        "value": random(CHANNELS, CHANNELS),
        "mix": random(CHANNELS, CHANNELS),
        "up": random(CHANNELS, 2 * CHANNELS),
        "down": random(2 * CHANNELS, CHANNELS),
        "head": random(CHANNELS, CLASSES),
    }
    for name in ("query", "key", "value", "mix", "up", "down", "head"):
        named[f"{name}_bias"] = random(named[name].shape[1]) * biased
    for name in ("first", "second"):
        named[f"{name}_scale"] = 1 + random(CHANNELS) / 2
        named[f"{name}_shift"] = random(CHANNELS) * biased
    return named


def torch_model(named, *, fused):
    """The network in PyTorch, float64; `fused` takes the fused attention."""
    import torch
    from torch.nn import functional

    class Transformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, array in named.items():
                self.register_parameter(name, torch.nn.Parameter(torch.tensor(array)))

        def norm(self, x, name):
            return functional.layer_norm(
                x, (CHANNELS,), getattr(self, f"{name}_scale"), getattr(self, f"{name}_shift"), 1e-5
            )

        def linear(self, x, name):
            return functional.linear(x, getattr(self, name).T, getattr(self, f"{name}_bias"))

        def heads(self, x):
            return x.reshape(x.shape[0], TOKENS, HEADS, -1).transpose(1, 2)

        def forward(self, x):
            tokens = functional.conv2d(x, self.patch, stride=2).flatten(2).transpose(1, 2)
            normed = self.norm(tokens, "first")
            query, key, value = (self.heads(self.linear(normed, name)) for name in ("query", "key", "value"))
            if fused:
                mixed = functional.scaled_dot_product_attention(query, key, value)
            else:
                mixed = (query @ key.transpose(-2, -1) / np.sqrt(CHANNELS / HEADS)).softmax(-1) @ value
            mixed = mixed.transpose(1, 2).reshape(x.shape[0], TOKENS, CHANNELS)
            tokens = tokens + self.linear(mixed, "mix")
            hidden = functional.gelu(self.linear(self.norm(tokens, "second"), "up"))
            tokens = tokens + self.linear(hidden, "down")
            return self.linear(tokens.mean(1), "head")

    return Transformer().eval()


def paddle_model(named, *, fused):
    """The same network in PaddlePaddle."""
    import paddle
    from paddle.nn import functional

    class Transformer(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            for name, array in named.items():
                self.add_parameter(name, paddle.base.framework.EagerParamBase.from_tensor(paddle.to_tensor(array)))

        def norm(self, x, name):
            return functional.layer_norm(
                x, [CHANNELS], getattr(self, f"{name}_scale"), getattr(self, f"{name}_shift"), 1e-5
            )

        def linear(self, x, name):
            return functional.linear(x, getattr(self, name), getattr(self, f"{name}_bias"))

        def heads(self, x):
            return x.reshape([x.shape[0], TOKENS, HEADS, -1])

        def forward(self, x):
            tokens = functional.conv2d(x, self.patch, stride=2).flatten(2).transpose([0, 2, 1])
            normed = self.norm(tokens, "first")
            query, key, value = (self.heads(self.linear(normed, name)) for name in ("query", "key", "value"))
            if fused:
                mixed = functional.scaled_dot_product_attention(query, key, value)
            else:
                query, key, value = (part.transpose([0, 2, 1, 3]) for part in (query, key, value))
                logits = paddle.matmul(query, key, transpose_y=True) / float(np.sqrt(CHANNELS / HEADS))
                mixed = paddle.matmul(functional.softmax(logits), value).transpose([0, 2, 1, 3])
            mixed = mixed.reshape([x.shape[0], TOKENS, CHANNELS])
            tokens = tokens + self.linear(mixed, "mix")
            hidden = functional.gelu(self.linear(self.norm(tokens, "second"), "up"))
            tokens = tokens + self.linear(hidden, "down")
            return self.linear(tokens.mean(1), "head")

    model = Transformer()
    model.eval()
    return model


MODELS = {"torch": torch_model, "paddle": paddle_model}


# ---- the slow pass


def stabilised(values):
    """Away from zero, with the sign kept."""
    return values + np.where(values >= 0, EPSILON, -EPSILON)


@dataclass(frozen=True)
class _Linear:
    weight: np.ndarray
    bias: np.ndarray

    def forward(self, x):
        return x @ self.weight + self.bias

    def backward(self, x, relevance):
        ratio = relevance / stabilised(self.forward(x))
        return x * (ratio @ self.weight.T)


def norm_forward(x, scale, shift):
    """Layer norm over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def norm_backward(x, scale, shift, relevance):
    """The LN rule: the spread is a number, centring and scaling one matrix per token."""
    received = np.zeros_like(x)
    centring = np.eye(CHANNELS) - 1 / CHANNELS
    for token, row in enumerate(x):
        centred = centring @ row
        matrix = scale[:, None] * centring / np.sqrt((centred**2).mean() + 1e-5)
        output = matrix @ row + shift
        received[token] = row * (matrix.T @ (relevance[token] / output))
    return received


def product_backward(left, right, relevance):
    """R of both factors of a matrix product: half to each, in proportion to the terms (AttnLRP, equation 15)."""
    output = left @ right
    terms = left[:, :, None] * right[None, :, :]
    shares = terms * (relevance / stabilised(output))[:, None, :] / 2
    return shares.sum(2), shares.sum(0)


def softmax(logits):
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def softmax_backward(logits, relevance):
    """AttnLRP, equation 13."""
    return logits * (relevance - softmax(logits) * relevance.sum(-1, keepdims=True))


def _split(x):
    return [x[:, head * CHANNELS // HEADS : (head + 1) * CHANNELS // HEADS] for head in range(HEADS)]


def relevance_of_image(named, image, target):
    """Relevance of the pixels of one image (2, H, W), for the logit of one class."""
    linears = {
        name: _Linear(named[name], named[f"{name}_bias"])
        for name in ("query", "key", "value", "mix", "up", "down", "head")
    }
    first, second = ((named[f"{name}_scale"], named[f"{name}_shift"]) for name in ("first", "second"))
    rows, columns = image.shape[1] // 2, image.shape[2] // 2
    patches = image.reshape(2, rows, 2, columns, 2).transpose(1, 3, 0, 2, 4).reshape(TOKENS, 8)
    kernel = named["patch"].reshape(CHANNELS, 8).T
    tokens = patches @ kernel
    normed = norm_forward(tokens, *first)
    parts = {name: _split(linears[name].forward(normed)) for name in ("query", "key", "value")}
    scale = 1 / np.sqrt(CHANNELS / HEADS)
    logits = [query @ key.T * scale for query, key in zip(parts["query"], parts["key"], strict=True)]
    mixed = np.concatenate([softmax(z) @ value for z, value in zip(logits, parts["value"], strict=True)], 1)
    attended = linears["mix"].forward(mixed)
    middle = tokens + attended
    renormed = norm_forward(middle, *second)
    raised = linears["up"].forward(renormed)
    active = raised * (1 + erf(raised / np.sqrt(2))) / 2
    lowered = linears["down"].forward(active)
    last = middle + lowered
    pooled = last.mean(0)

    arriving = np.zeros(CLASSES)
    arriving[target] = linears["head"].forward(pooled)[target]
    at_pool = linears["head"].backward(pooled, arriving)
    at_last = last / TOKENS * (at_pool / stabilised(pooled))
    ratio = at_last / stabilised(last)
    at_middle, at_lowered = middle * ratio, lowered * ratio
    at_raised = linears["down"].backward(active, at_lowered)
    at_middle = at_middle + norm_backward(middle, *second, linears["up"].backward(renormed, at_raised))
    ratio = at_middle / stabilised(middle)
    at_tokens, at_attended = tokens * ratio, attended * ratio
    at_mixed = _split(linears["mix"].backward(mixed, at_attended))
    at_parts = {"query": [], "key": [], "value": []}
    for head in range(HEADS):
        at_weights, at_value = product_backward(softmax(logits[head]), parts["value"][head], at_mixed[head])
        at_logits = softmax_backward(logits[head], at_weights)
        at_query, at_key = product_backward(parts["query"][head] * scale, parts["key"][head].T, at_logits)
        for name, share in (("query", at_query), ("key", at_key.T), ("value", at_value)):
            at_parts[name].append(share)
    at_normed = sum(linears[name].backward(normed, np.concatenate(shares, 1)) for name, shares in at_parts.items())
    at_tokens = at_tokens + norm_backward(tokens, *first, at_normed)
    at_patches = _z_plus(patches, kernel, at_tokens)
    return at_patches.reshape(rows, columns, 2, 2, 2).transpose(2, 0, 3, 1, 4).reshape(image.shape)


def _z_plus(inputs, kernel, relevance):
    terms = inputs[:, :, None] * kernel
    positive = np.maximum(terms, 0)
    return (positive * (relevance / (positive.sum(1) + EPSILON))[:, None, :]).sum(2)
