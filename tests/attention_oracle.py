"""A slow transformer in NumPy for the networks of `token_networks`, and maps of its attention by plain loops."""

import numpy as np

HEADS = 2


def patches(image, kernel):
    """Tokens (T, C), row-major, by one sum for each."""
    sizes = kernel.shape[2:]
    grid = [whole // size for whole, size in zip(image.shape[1:], sizes, strict=True)]
    found = []
    for place in np.ndindex(*grid):
        window = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, sizes, strict=True))
        found.append([(image[(slice(None), *window)] * one).sum() for one in kernel])
    return np.array(found)


def normed(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Slow:
    """One image through a transformer of the test networks.

    Parameters
    ----------
    network : Network
        For its weights.
    before, after : tuple of str
        Names of the weights that are tokens beside those of the image.
    layers : int
        Number of blocks.
    read : sequence of int
        Tokens whose mean the head reads.
    is_causal : bool
        Whether each token sees itself and earlier ones only.
    """

    def __init__(self, network, before, after, layers, read, *, is_causal=False):
        self.weights, self.before, self.after = network.weights, before, after
        self.layers, self.read, self.is_causal = layers, list(read), is_causal

    def tokens(self, image):
        w = self.weights
        found = patches(image, w["patches"]) + w.get("position", np.zeros(1))[0]
        return np.concatenate([*(w[name][0] for name in self.before), found, *(w[name][0] for name in self.after)])

    def run(self, image, displaced=None):
        """Logits, and the weights of attention (layers, heads, T, T); `displaced` is added to the weights."""
        w, x, kept = self.weights, self.tokens(image), []
        for layer in range(self.layers):
            parts = (normed(x) @ w["qkv"]).reshape(len(x), 3, HEADS, -1)
            mixed, each = [], []
            for head in range(HEADS):
                query, key, value = parts[:, :, head].transpose(1, 0, 2)
                scores = query * 0.5 @ key.T
                if self.is_causal:
                    scores = np.where(np.tril(np.ones_like(scores)) > 0, scores, -np.inf)
                weights = softmax(scores) + (0 if displaced is None else displaced[layer, head])
                each.append(weights)
                mixed.append(weights @ value)
            kept.append(each)
            x = x + np.concatenate(mixed, 1) @ w["out"]
            x = x + np.tanh(normed(x) @ w["mlp"])
        return normed(x)[self.read].mean(0) @ w["head"], np.array(kept)

    def slopes(self, image, target, step=1e-5):
        """Derivative of a logit by each weight of attention, one central difference for each."""
        _, weights = self.run(image)
        found = np.zeros_like(weights)
        for place in np.ndindex(*weights.shape):
            displaced = np.zeros_like(weights)
            displaced[place] = step
            up, down = (self.run(image, sign * displaced)[0][target] for sign in (1, -1))
            found[place] = (up - down) / (2 * step)
        return found


def rollout(weights, read, *, fusion=np.mean, discard=0.0, residual=0.5):
    """Rows of the tokens that are read, by the whole product of matrices."""
    count = weights.shape[-1]
    product = np.eye(count)
    for heads in weights:
        fused = fusion(heads, axis=0)
        smallest = sorted(np.ndindex(count, count), key=lambda place: fused[place])[: int(discard * count**2)]
        for place in smallest:
            fused[place] = 0
        mixed = (1 - residual) * fused + residual * np.eye(count)
        for row in mixed:
            row /= row.sum()
        product = mixed @ product
    return product[list(read)].mean(0)


def gradient_weighted(weights, slopes, read):
    """Rows of the tokens that are read, less the identity, by the published update."""
    relevance = np.eye(weights.shape[-1])
    for heads, by_heads in zip(weights, slopes, strict=True):
        fused = np.mean([np.maximum(a * g, 0) for a, g in zip(heads, by_heads, strict=True)], axis=0)
        relevance = relevance + fused @ relevance
    return (relevance - np.eye(len(relevance)))[list(read)].mean(0)
