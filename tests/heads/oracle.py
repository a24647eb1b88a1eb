"""Weights that all heads share, the features before the pool, and the affine map that each head is, in float64."""

import numpy as np

_generator = np.random.default_rng(20240611)
IN, CHANNELS, CLASSES = 2, 6, 3
SPACE = (5, 4)
CELLS = SPACE[0] * SPACE[1]
WEIGHTS = {
    "trunk_weight": _generator.normal(size=(CHANNELS, IN)),
    "trunk_bias": _generator.normal(size=CHANNELS),
    "weight": _generator.normal(size=(CLASSES, CHANNELS)),
    "bias": _generator.normal(size=CLASSES),
    "first": _generator.normal(size=(4, CHANNELS)),
    "first_bias": _generator.normal(size=4),
    "second": _generator.normal(size=(CLASSES, 4)),
    "part": _generator.normal(size=(CLASSES, CHANNELS // 2)),
    "other": _generator.normal(size=(2, CHANNELS)),
    "single": _generator.normal(size=(1, CHANNELS)),
    "mean": _generator.normal(size=CHANNELS),
    "variance": _generator.uniform(0.5, 2, size=CHANNELS),
    "gamma": _generator.normal(size=CHANNELS),
    "beta": _generator.normal(size=CHANNELS),
    "constant": _generator.normal(size=CLASSES),
    "log_temperature": np.array([0.7]),
    "places": _generator.normal(size=SPACE),
    "flat": _generator.normal(size=(CLASSES, CHANNELS * CELLS)),
}
EPSILON = 1e-5


def images(count=2):
    """(N, C, H, W)."""
    return np.random.default_rng(7).normal(size=(count, IN, *SPACE))


def features(x, *, rectified=True):
    """What a 1 x 1 convolution makes of images, and a ReLU; (N, CHANNELS, H, W)."""
    found = np.einsum("ci,nihw->nchw", WEIGHTS["trunk_weight"], x) + WEIGHTS["trunk_bias"][:, None, None]
    return np.maximum(found, 0) if rectified else found


def _norm():
    scale = WEIGHTS["gamma"] / np.sqrt(WEIGHTS["variance"] + EPSILON)
    return scale, WEIGHTS["beta"] - WEIGHTS["mean"] * scale


def _affine_maps():
    w = WEIGHTS
    plain, temperature = (w["weight"], w["bias"]), np.exp(w["log_temperature"])
    scale, shift = _norm()
    zeros = np.zeros(CLASSES)
    pools = (
        "linear mean_of_flat mean_of_view mean_one_by_one mean_one_by_one_kept average_pool_one_by_one "
        "sum_divided channels_last_mean channels_last_tokens pool_module one_by_one_convolution squeezed "
        "copied_features copied_vector einsum_pool mean_of_a_reshaped_plane dropped "
    )
    plain_heads = (
        "matmul_transposed addmm_head einsum_head kept_axes_head written_in_place written_into_zeros "
        "squeezed_before_the_head two_halves_of_the_channels twisted_channels flipped_features mean_of_two_equal_heads "
    )
    maps = dict.fromkeys((pools + plain_heads).split(), plain)
    maps |= {
        "sum": (w["weight"] * CELLS, w["bias"]),
        "mm": (w["weight"], zeros),
        "temperature_divided": (w["weight"] / 2.5, w["bias"] / 2.5),
        "temperature_learned": (w["weight"] * temperature, w["bias"] * temperature),
        "negated": (-w["weight"], -w["bias"]),
        "constant_added": (w["weight"], w["bias"] + w["constant"]),
        "subtracted_from_one": (-w["weight"], 1 - w["bias"]),
        "permuted_classes": (w["weight"][[2, 0, 1]], w["bias"][[2, 0, 1]]),
        "first_two_classes": (w["weight"][:2], w["bias"][:2]),
        "two_heads": (np.concatenate([w["weight"], w["other"]]), np.concatenate([w["bias"], np.zeros(2)])),
        "stacked_single_logits": (np.concatenate([w["single"], -w["single"]]), np.array([0.0, 2.0])),
        "centred_logits": (w["weight"] - w["weight"].mean(0), w["bias"] - w["bias"].mean()),
        "two_linear_layers": (w["second"] @ w["first"], w["second"] @ w["first_bias"]),
        "batch_norm": (w["weight"] * scale, w["weight"] @ shift + w["bias"]),
        "channel_slice": (np.concatenate([w["part"], 0 * w["part"]], 1), zeros),
        "two_slices": (np.concatenate([w["part"], w["part"]], 1), zeros),
        "one_of_two_chunks": (np.concatenate([0 * w["part"], w["part"]], 1), zeros),
        "grouped_convolution": (_grouped(), np.zeros(2)),
        "scaled_features": (w["weight"] * 3, w["bias"]),
        "weighed_places": plain,
        "residual_head": (w["weight"] + w["second"] @ w["first"], w["bias"] + w["second"] @ w["first_bias"]),
        "single_logit": (w["single"], np.zeros(1)),
    }
    return maps


def _grouped():
    """Two classes, each of which sees one half of the channels."""
    weight = np.zeros((2, CHANNELS))
    weight[0, : CHANNELS // 2], weight[1, CHANNELS // 2 :] = WEIGHTS["part"][:2]
    return weight


AFFINE_MAPS = _affine_maps()
"""By head: (weight, bias) such that ``logits = weight @ mean(features) + bias``."""

CLASS_KERNELS = {
    "class_kernels": lambda maps: maps,
    "class_kernels_with_temperature": lambda maps: maps / 2.5,
    "class_kernels_permuted": lambda maps: maps[:, [2, 0, 1, 3, 4, 5]],
    "class_kernels_sliced": lambda maps: maps[:, :3],
    "class_kernels_flat": lambda maps: maps,
}
"""By head without a weight of its own: what it makes of the features without their bias."""


def class_maps(name, x):
    """(N, K, H, W): each feature, weighed by the head."""
    if name in CLASS_KERNELS:
        return CLASS_KERNELS[name](features(x, rectified=False) - WEIGHTS["trunk_bias"][:, None, None])
    found = features(x) * (WEIGHTS["places"] if name == "weighed_places" else 1)
    return np.einsum("kc,nchw->nkhw", AFFINE_MAPS[name][0], found)


def normalised(found):
    """Each place's channels, centred and divided by their spread (layer norm without weights)."""
    centred = found - found.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + EPSILON)


def logits(name, x):
    """(N, K)."""
    if name in CLASS_KERNELS:
        return CLASS_KERNELS[name](features(x, rectified=False)).mean((2, 3))
    return class_maps(name, x).mean((2, 3)) + AFFINE_MAPS[name][1]
