"""Transformers whose attention is, or is not, what attention maps are defined for; written once for both frameworks."""

from functools import partial

import token_networks as tokens
from token_networks import CHANNELS, attended, block, heads_of, joined_heads, tokens_of, with_tokens

HALF = CHANNELS // 2


def scored(f, query, key):
    return f.matmul(query * 0.5, f.permute(key, [0, 1, 3, 2]))


def out(f, w, mixed):
    return f.linear(joined_heads(f, mixed), w["out"])


# ---- other ways of writing the same


def folded(f, w, x):
    """Heads folded into the batch, as ``bmm`` needs it."""
    count, length = x.shape[0], x.shape[1]
    query, key, value = (part.reshape([-1, length, HALF]) for part in heads_of(f, x, w["qkv"]))
    weights = f.softmax(f.bmm(query * 0.5, f.permute(key, [0, 2, 1])), -1)
    return out(f, w, f.bmm(weights, value).reshape([count, 2, length, HALF]))


def by_hand(f, w, x):
    """Sums of products, with the keys' axis before that of heads."""
    query, key, value = heads_of(f, x, w["qkv"])
    weights = f.softmax(f.einsum("nhqc,nhkc->nhqk", query * 0.5, key), -1)
    return f.linear(f.einsum("nhqk,nhkc->nqhc", weights, value).reshape([x.shape[0], -1, CHANNELS]), w["out"])


def transposed(f, w, x):
    """Values from the left: the transpose of the product."""
    query, key, value = heads_of(f, x, w["qkv"])
    weights = f.softmax(scored(f, query, key), -1)
    mixed = f.matmul(f.permute(value, [0, 1, 3, 2]), f.permute(weights, [0, 1, 3, 2]))
    return out(f, w, f.permute(mixed, [0, 1, 3, 2]))


def backwards(f, w, x):
    """Tokens in the other order within attention."""
    return f.flip(attended(f, w, f.flip(x, [1])), [1])


def reshaped_weights(f, w, x):
    """Weights through a reshape and back."""
    query, key, value = heads_of(f, x, w["qkv"])
    weights = f.softmax(scored(f, query, key), -1)
    shape = list(weights.shape)
    weights = weights.reshape([-1, *shape[2:]]).reshape(shape)
    return out(f, w, f.matmul(weights, value))


FORMS = (folded, by_hand, transposed, backwards, reshaped_weights)


# ---- what is refused


def causal(f, w, x):
    query, key, value = heads_of(f, x, w["qkv"])
    scores = scored(f, query, key)
    later = f.triu(f.ones_like(scores), 1) > 0
    return out(f, w, f.matmul(f.softmax(f.where(later, f.full_like(scores, -float("inf")), scores), -1), value))


def over_queries(f, w, x):
    query, key, value = heads_of(f, x, w["qkv"])
    return out(f, w, f.matmul(f.softmax(scored(f, query, key), -2), value))


def gated(f, w, x):
    query, key, value = heads_of(f, x, w["qkv"])
    scores = scored(f, query, key)
    return out(f, w, f.matmul(f.softmax(scores, -1) * f.sigmoid(scores), value))


def with_sink(f, w, x):
    query, key, value = heads_of(f, x, w["qkv"])
    scores = scored(f, query, key)
    weights = f.softmax(f.concatenate([scores, f.zeros_like(scores)[..., :1]], -1), -1)[..., :-1]
    return out(f, w, f.matmul(weights, value))


def linear_attention(f, w, x):
    query, key, value = heads_of(f, x, w["qkv"])
    return out(f, w, f.matmul(f.sigmoid(query), f.matmul(f.permute(f.sigmoid(key), [0, 1, 3, 2]), value)))


def among_channels(f, w, x):
    query, key, value = (f.permute(part, [0, 1, 3, 2]) for part in heads_of(f, x, w["qkv"]))
    return out(f, w, f.permute(f.matmul(f.softmax(scored(f, query, key), -1), value), [0, 1, 3, 2]))


def detached(f, w, x):
    query, key, value = heads_of(f, x, w["qkv"])
    return out(f, w, f.matmul(f.softmax(scored(f, query, key), -1).detach(), value))


def other_tokens(f, w, x):
    """Queries and values in different orders."""
    query, key, value = heads_of(f, x, w["qkv"])
    return out(f, w, f.matmul(f.softmax(scored(f, query, key), -1), f.flip(value, [2])))


def begun(f, w, x):
    return with_tokens(f, tokens_of(f, w, x), w["class"], w["registers"], None)


def read_first(f, w, x):
    return f.linear(f.norm(x)[:, 0], w["head"])


def first_by(attention, f, w, mark, x):
    """Two blocks with one kind of attention; the head reads the class token."""
    x = begun(f, w, x)
    for number in (1, 2):
        x = block(f, w, mark, x, number, attention)
    return read_first(f, w, x)


def causal_last(f, w, mark, x):
    """Two blocks in which each token sees itself and earlier ones only; the head reads the last."""
    x = begun(f, w, x)
    for number in (1, 2):
        x = block(f, w, mark, x, number, causal)
    return f.linear(f.norm(x)[:, -1], w["head"])


def between(change, f, w, mark, x):
    """Something happens to the tokens between two blocks."""
    x = block(f, w, mark, begun(f, w, x), 1)
    return read_first(f, w, block(f, w, mark, change(f, w, x), 2))


def behind(read, f, w, mark, x):
    """Two blocks, then something else than the choice of the class token."""
    first = block(f, w, mark, begun(f, w, x), 1)
    return read(f, w, first, block(f, w, mark, first, 2), x)


def exchanged(f, w, x):
    """New registers for the old ones, as deep prompts are."""
    registers = f.zeros_like(x[:, 1:3]) + w["registers"]
    return f.concatenate([x[:, :1], registers, x[:, 3:]], 1)


def merged_pairs(f, w, x):
    return f.concatenate([x[:, :3], (x[:, 3::2] + x[:, 4::2]) / 2], 1)


def mixed(f, w, x):
    return x + f.permute(f.linear(f.permute(x, [0, 2, 1]), w["mixing"]), [0, 2, 1])


def shared_mean(f, w, x):
    return x + x.mean(1)[:, None]


def class_to_all(f, w, x):
    return x + x[:, :1]


def gated_tokens(f, w, x):
    return x * f.sigmoid(x.mean(1))[:, None]


def side_by_side(f, w, mark, x):
    x = begun(f, w, x)
    inner = f.norm(x)
    return read_first(f, w, x + attended(f, w, inner) + attended(f, w, f.tanh(inner)))


def without_residual(f, w, mark, x):
    x = attended(f, w, f.norm(begun(f, w, x)))
    return read_first(f, w, f.tanh(f.linear(x, w["mlp"])))


def long_skip(f, w, mark, x):
    start = begun(f, w, x)
    x = block(f, w, mark, block(f, w, mark, start, 1), 2)
    return read_first(f, w, block(f, w, mark, x + f.tanh(start), 3))


def cross(f, w, mark, x):
    """Tokens of the image attend to the class token and registers as well."""
    everything = begun(f, w, x)
    query, key, value = heads_of(f, f.norm(everything), w["qkv"])
    image = tokens_of(f, w, x)
    attending = f.matmul(f.softmax(scored(f, query[:, :, 3:], key), -1), value)
    return f.linear(f.norm(image + out(f, w, attending)).mean(1), w["head"])


READS = {
    "two_class_tokens": lambda f, w, first, x, image: f.linear(f.norm(x)[:, 0] + f.norm(x)[:, 1], w["head"]),
    "class_and_mean": lambda f, w, first, x, image: f.linear(f.norm(x)[:, 0] + f.norm(x)[:, 3:].mean(1), w["head"]),
    "summed": lambda f, w, first, x, image: f.linear(f.norm(x).sum(1), w["head"]),
    "largest": lambda f, w, first, x, image: f.linear(f.norm(x).amax(1), w["head"]),
    "flattened": lambda f, w, first, x, image: f.linear(f.norm(x).reshape([x.shape[0], -1]), w["flat"]),
    "earlier": lambda f, w, first, x, image: f.linear(f.norm(x)[:, 0] + f.norm(first)[:, 0], w["head"]),
    "only_earlier": lambda f, w, first, x, image: f.linear(f.norm(x)[:, 0] * 0 + f.norm(first)[:, 0], w["head"]),
    "second_branch": lambda f, w, first, x, image: (
        read_first(f, w, x) + f.linear(image.reshape([x.shape[0], -1]), w["branch"])
    ),
    "pooled_by_attention": lambda f, w, first, x, image: f.linear(
        f.matmul(f.softmax(f.permute(f.linear(x, w["asks"]), [0, 2, 1]), -1), f.norm(x))[:, 0], w["head"]
    ),
}
CHANGES = (exchanged, merged_pairs, mixed, shared_mean, class_to_all, gated_tokens)
ATTENTIONS = (over_queries, gated, with_sink, linear_attention, among_channels, other_tokens)
_WEIGHTS = tokens.weights(
    patch=(2, 3),
    grid=(2, 4),
    **tokens._TOKENS,
    mixing=(11, 11),
    flat=(11 * CHANNELS, 3),
    branch=(96, 3),
    asks=(CHANNELS, 1),
)


def small(forward):
    """Eight tokens of 2 x 3 pixels, a class token and two registers."""
    return tokens.Network(forward, (2, 4, 12), _WEIGHTS)


SMALL = {
    "class_token": small(partial(first_by, attended)),
    "causal": small(partial(first_by, causal)),
    "causal_last": small(causal_last),
    "detached": small(partial(first_by, detached)),
    "side_by_side": small(side_by_side),
    "without_residual": small(without_residual),
    "long_skip": small(long_skip),
    "cross": small(cross),
    **{f"form {form.__name__}": small(partial(first_by, form)) for form in FORMS},
    **{f"attention {each.__name__}": small(partial(first_by, each)) for each in ATTENTIONS},
    **{f"between {change.__name__}": small(partial(between, change)) for change in CHANGES},
    **{f"read {name}": small(partial(behind, read)) for name, read in READS.items()},
}
