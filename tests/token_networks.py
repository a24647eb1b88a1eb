"""Small transformers written once, run in both frameworks: class tokens, windows, merging, mixing, other orders.

Each network is a function of the framework's operations, the weights and the images. `mark` names a tensor: it is a
module that does nothing, so that ``layer=`` can point there, and the oracle can stop there.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CHANNELS = 6
CLASSES = 3


class TorchOperations:
    """PyTorch's names."""

    def __init__(self) -> None:
        self.library = importlib.import_module("torch")
        self.functional = importlib.import_module("torch.nn.functional")

    def tensor(self, array):
        return self.library.tensor(array)

    def parameter(self, array):
        return self.library.nn.Parameter(self.tensor(array))

    def linear(self, x, weight):
        return self.functional.linear(x, weight.T)

    def patches(self, x, weight):
        size = weight.shape[2:]
        convolution = getattr(self.functional, f"conv{len(size)}d")
        return convolution(x, weight, stride=tuple(size))

    def norm(self, x):
        return self.functional.layer_norm(x, (x.shape[-1],))

    def permute(self, x, order):
        return x.permute(order)

    def roll(self, x, shifts, axes):
        return self.library.roll(x, shifts, axes)

    def concatenate(self, parts, axis):
        return self.library.cat(parts, axis)

    def pad_last_cells(self, x):
        return self.functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))

    def attention(self, query, key, value):
        return self.functional.scaled_dot_product_attention(query, key, value)

    def __getattr__(self, name):
        return getattr(self.library, name)


class PaddleOperations:
    """PaddlePaddle's names."""

    def __init__(self) -> None:
        self.library = importlib.import_module("paddle")
        self.functional = importlib.import_module("paddle.nn.functional")

    def tensor(self, array):
        return self.library.to_tensor(array)

    def parameter(self, array):
        start = self.library.nn.initializer.Assign(array)
        return self.library.create_parameter(list(array.shape), "float64", default_initializer=start)

    def linear(self, x, weight):
        return self.functional.linear(x, weight)

    def patches(self, x, weight):
        size = weight.shape[2:]
        convolution = getattr(self.functional, f"conv{len(size)}d")
        return convolution(x, weight, stride=list(size))

    def norm(self, x):
        return self.functional.layer_norm(x, [x.shape[-1]])

    def permute(self, x, order):
        return x.transpose(order)

    def roll(self, x, shifts, axes):
        return self.library.roll(x, shifts, axes)

    def concatenate(self, parts, axis):
        return self.library.concat(parts, axis)

    def pad_last_cells(self, x):
        return self.functional.pad(x, [0, 0, 0, x.shape[1] % 2, 0, x.shape[2] % 2, 0, 0], pad_from_left_axis=True)

    def attention(self, query, key, value):
        order = [0, 2, 1, 3]  # Paddle keeps (N, length, heads, channels)
        parts = (part.transpose(order) for part in (query, key, value))
        return self.functional.scaled_dot_product_attention(*parts).transpose(order)

    def __getattr__(self, name):
        return getattr(self.library, name)


OPERATIONS = {"torch": TorchOperations, "paddle": PaddleOperations}


@dataclass(frozen=True)
class Network:
    """A network and what a person knows of it.

    Parameters
    ----------
    forward : callable
        ``forward(operations, weights, mark, images)``.
    shape : tuple of int
        (C, *space) of an image.
    weights : dict
        Arrays by name, float64.
    """

    forward: Callable[..., Any]
    shape: tuple[int, ...]
    weights: dict[str, np.ndarray]

    def images(self, count=1, seed=1):
        return np.random.default_rng(seed).normal(size=(count, *self.shape))

    def model(self, framework, marks):
        """A module of a framework; each of `marks` is a layer."""
        library = importlib.import_module(f"{framework}.nn")
        operations, forward = OPERATIONS[framework](), self.forward
        arrays = self.weights
        base = {"torch": "Module", "paddle": "Layer"}[framework]

        def init(model):
            super(kind, model).__init__()
            for name, array in arrays.items():
                setattr(model, f"weight_{name}", operations.parameter(array))
            for name in marks:
                setattr(model, name, library.Identity())

        def run(model, x):
            weights = {name: getattr(model, f"weight_{name}") for name in arrays}
            return forward(operations, weights, lambda name, t: getattr(model, name)(t) if name in marks else t, x)

        kind = type("Small", (getattr(library, base),), {"__init__": init, "forward": run})
        model = kind()
        model.eval()
        return model


def weights(patch, *, seed=0, channels=2, grid=None, **others):
    """Random weights of a block, a patch embedding and a head; `others` are shapes."""
    generator = np.random.default_rng(seed)
    width = CHANNELS
    shapes = {
        "patches": (width, channels, *patch),
        "qkv": (width, 3 * width),
        "out": (width, width),
        "mlp": (width, width),
        "head": (width, CLASSES),
        **others,
    }
    if grid is not None:
        shapes["position"] = (1, int(np.prod(grid)), width)
    return {name: generator.normal(size=shape) / np.sqrt(max(shape[0], 4)) for name, shape in shapes.items()}


def tokens_of(f, w, x):
    """Patches as tokens (N, T, C), row-major."""
    found = f.patches(x, w["patches"])
    found = found.reshape([found.shape[0], found.shape[1], -1])
    tokens = f.permute(found, [0, 2, 1])
    return tokens + w["position"] if "position" in w else tokens


def with_tokens(f, x, *parts):
    """Other tokens before and behind; None stands for the tokens of the image."""
    return f.concatenate([x if part is None else part.expand([x.shape[0], -1, -1]) for part in parts], 1)


def heads_of(f, x, weight):
    """Queries, keys and values of one fused projection, each (N, heads, T, channels per head)."""
    count, length = x.shape[0], x.shape[1]
    fused = f.linear(x, weight).reshape([count, length, 3, 2, CHANNELS // 2])
    return f.permute(fused, [2, 0, 3, 1, 4]).unbind(0)


def joined_heads(f, x):
    """(N, heads, T, channels per head) to (N, T, C)."""
    return f.permute(x, [0, 2, 1, 3]).reshape([x.shape[0], x.shape[2], CHANNELS])


def attended(f, w, x):
    """Self-attention by plain matrix products."""
    query, key, value = heads_of(f, x, w["qkv"])
    scores = f.matmul(query * 0.5, f.permute(key, [0, 1, 3, 2]))
    mixed = f.matmul(f.softmax(scores, -1), value)
    return f.linear(joined_heads(f, mixed), w["out"])


def fused_attention(f, w, x):
    """Self-attention as one call."""
    return f.linear(joined_heads(f, f.attention(*heads_of(f, x, w["qkv"]))), w["out"])


def einstein_attention(f, w, x):
    """Self-attention by sums of products."""
    query, key, value = heads_of(f, x, w["qkv"])
    scores = f.einsum("nhid,nhjd->nhij", query, key)
    return f.linear(joined_heads(f, f.einsum("nhij,nhjd->nhid", f.softmax(scores, -1), value)), w["out"])


def block(f, w, mark, x, number, attention=attended):
    """One block with pre-norm and a small hidden layer."""
    x = x + attention(f, w, mark(f"norm{number}", f.norm(x)))
    return mark(f"block{number}", x + f.tanh(f.linear(f.norm(x), w["mlp"])))


def plain_tokens(f, w, mark, x):
    """No attention: what a cell holds goes to the mean alone, whatever the others hold."""
    return f.linear(mark("last", f.tanh(tokens_of(f, w, x))).mean(1), w["head"])


def class_token(f, w, mark, x, attention=attended):
    """Class token and two registers before the image's; the head reads the class token."""
    x = with_tokens(f, tokens_of(f, w, x), w["class"], w["registers"], None)
    for number in (1, 2):
        x = block(f, w, mark, x, number, attention)
    return f.linear(mark("last", f.norm(x))[:, 0], w["head"])


def class_token_last(f, w, mark, x):
    """The class token stands behind the image's."""
    x = with_tokens(f, tokens_of(f, w, x), None, w["class"])
    return f.linear(f.norm(block(f, w, mark, x, 1))[:, -1], w["head"])


def mean_pooled(f, w, mark, x):
    """A class token takes part, the mean is over the image's tokens."""
    x = with_tokens(f, tokens_of(f, w, x), w["class"], None)
    return f.linear(mark("last", f.norm(block(f, w, mark, x, 1)))[:, 1:].mean(1), w["head"])


def class_attention(f, w, mark, x):
    """The class token joins late and alone asks."""
    x = mark("image", block(f, w, mark, tokens_of(f, w, x), 1))
    x = mark("both", with_tokens(f, x, w["class"], None))
    query, key, value = heads_of(f, x, w["qkv"])
    mixed = f.matmul(f.softmax(f.matmul(query[:, :, :1], f.permute(key, [0, 1, 3, 2])), -1), value)
    return f.linear(f.linear(joined_heads(f, mixed), w["out"])[:, 0], w["head"])


def columns_first(f, w, mark, x):
    """Tokens in the order of columns."""
    found = f.permute(f.patches(x, w["patches"]), [0, 3, 2, 1])
    x = found.reshape([found.shape[0], -1, CHANNELS])
    return f.linear(mark("last", block(f, w, mark, x, 1)).mean(1), w["head"])


def reversed_tokens(f, w, mark, x):
    """Tokens from the last to the first."""
    x = f.flip(tokens_of(f, w, x), [1])
    return f.linear(mark("last", block(f, w, mark, x, 1)).mean(1), w["head"])


def rolled_tokens(f, w, mark, x):
    """Tokens moved round by five."""
    x = f.roll(tokens_of(f, w, x), 5, 1)
    return f.linear(mark("last", block(f, w, mark, x, 1)).mean(1), w["head"])


def rearranged_patches(f, w, mark, x):
    """Patches cut out by reshapes, embedded by a linear layer."""
    count, channels, height, width = x.shape
    x = x.reshape([count, channels, height // 2, 2, width // 3, 3])
    x = f.permute(x, [0, 2, 4, 3, 5, 1]).reshape([count, height * width // 6, 6 * channels])
    x = f.linear(x, w["embedding"])
    return f.linear(mark("last", block(f, w, mark, x, 1)).mean(1), w["head"])


def mixed_tokens(f, w, mark, x):
    """A linear layer over tokens, and what came before added to it."""
    x = tokens_of(f, w, x)
    mixed = f.permute(f.linear(f.permute(x, [0, 2, 1]), w["mixing"]), [0, 2, 1])
    return f.linear(mark("last", x + mixed).mean(1), w["head"])


def summed_up(f, w, mark, x):
    """A running sum over tokens, which no rule follows."""
    x = f.cumsum(tokens_of(f, w, x), 1)
    return f.linear(mark("last", x).mean(1), w["head"])


def windows(f, x, size):
    """(N, H, W, C) to windows folded into the batch, (N H W / size^2, size^2, C)."""
    count, height, width, channels = x.shape
    x = x.reshape([count, height // size, size, width // size, size, channels])
    return f.permute(x, [0, 1, 3, 2, 4, 5]).reshape([-1, size * size, channels])


def unwindowed(f, x, size, height, width):
    """Windows back to (N, H, W, C)."""
    channels = x.shape[-1]
    x = x.reshape([-1, height // size, width // size, size, size, channels])
    return f.permute(x, [0, 1, 3, 2, 4, 5]).reshape([-1, height, width, channels])


def shifted_windows(f, w, mark, x):
    """Channels last, attention within windows, then within shifted ones, merging, attention again."""
    x = f.permute(f.patches(x, w["patches"]), [0, 2, 3, 1])
    for number, shift in enumerate((0, 1)):
        height, width = x.shape[1], x.shape[2]
        moved = f.roll(f.norm(x), [-shift, -shift], [1, 2])
        moved = attended(f, w, mark(f"windows{number}", windows(f, moved, 2)))
        x = x + f.roll(unwindowed(f, moved, 2, height, width), [shift, shift], [1, 2])
        x = mark(f"stage{number}", x)
    x = merged(f, w, x)
    x = mark("last", f.norm(x + f.tanh(f.linear(x, w["mlp"]))))
    return f.linear(x.mean([1, 2]), w["head"])


def merged(f, w, x):
    """Four neighbours become one cell; odd sides are padded."""
    x = f.pad_last_cells(x)
    parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return f.linear(f.norm(f.concatenate(parts, -1)), w["merge"])


def merged_only(f, w, mark, x):
    """Patches that are merged, without attention: cells stay apart."""
    x = merged(f, w, f.permute(f.patches(x, w["patches"]), [0, 2, 3, 1]))
    return f.linear(mark("last", f.tanh(x)).mean([1, 2]), w["head"])


_TOKENS = {"class": (1, 1, CHANNELS), "registers": (1, 2, CHANNELS)}
_MERGE = {"merge": (4 * CHANNELS, CHANNELS)}
_FLAT = {"patch": (2, 3), "grid": (4, 6)}

NETWORKS = {
    "plain_tokens": Network(plain_tokens, (2, 8, 18), weights((2, 3))),
    "class_token": Network(class_token, (2, 8, 18), weights(**_FLAT, **_TOKENS)),
    "class_token_last": Network(class_token_last, (2, 8, 18), weights(**_FLAT, **_TOKENS)),
    "mean_pooled": Network(mean_pooled, (2, 8, 18), weights(**_FLAT, **_TOKENS)),
    "class_attention": Network(class_attention, (2, 8, 18), weights(**_FLAT, **_TOKENS)),
    "columns_first": Network(columns_first, (2, 8, 18), weights((2, 3))),
    "reversed_tokens": Network(reversed_tokens, (2, 8, 18), weights((2, 3))),
    "rolled_tokens": Network(rolled_tokens, (2, 8, 18), weights((2, 3))),
    "rearranged_patches": Network(rearranged_patches, (2, 8, 18), weights((2, 3), embedding=(12, CHANNELS))),
    "volume": Network(mean_pooled, (1, 4, 6, 9), weights((2, 2, 3), channels=1, grid=(2, 3, 3), **_TOKENS)),
    "signal": Network(class_token, (2, 20), weights((4,), grid=(5,), **_TOKENS)),
    "shifted_windows": Network(shifted_windows, (2, 16, 24), weights((2, 3), **_MERGE)),
    "merged_only": Network(merged_only, (2, 10, 21), weights((2, 3), **_MERGE)),
    "mixed_tokens": Network(mixed_tokens, (2, 8, 18), weights((2, 3), mixing=(24, 24))),
    "summed_up": Network(summed_up, (2, 8, 18), weights((2, 3))),
}
