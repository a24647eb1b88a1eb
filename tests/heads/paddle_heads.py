"""The heads in PaddlePaddle: functions of the model and its features (N, C, H, W)."""

import paddle

from heads import oracle

F = paddle.nn.functional


class Model(paddle.nn.Layer):
    """A 1 x 1 convolution, a ReLU if wanted, and a head."""

    def __init__(self, head, *, rectified=True):
        super().__init__()
        for name, value in oracle.WEIGHTS.items():
            parameter = self.create_parameter(value.shape, dtype="float64")
            parameter.set_value(value)
            self.add_parameter(name, parameter)
        self.head, self.rectified = head, rectified
        self.drop = paddle.nn.Dropout(0.5)
        self.pool = paddle.nn.AdaptiveAvgPool2D(1)
        self.trunk = paddle.nn.Identity()
        self.eval()

    def forward(self, x):
        f = F.conv2d(x, self.trunk_weight.unsqueeze([2, 3]), self.trunk_bias)
        return self.head(self, self.trunk(F.relu(f) if self.rectified else f))

    def linear(self, p):
        return F.linear(p, self.weight.t(), self.bias)


def mean(f):
    return f.mean([2, 3])


def linear(p, weight, bias=None):
    return F.linear(p, weight.t(), bias)


def _written_in_place(s, f):
    z = s.linear(mean(f))
    z.multiply_(paddle.full([], 2.0, "float64"))
    z.add_(paddle.full([], 1.0, "float64"))
    z.subtract_(paddle.full([], 1.0, "float64"))
    z.scale_(0.5)
    return z


def _written_into_zeros(s, f):
    p = mean(f)
    z = paddle.zeros([len(p), oracle.CLASSES], dtype=p.dtype)
    z[:, :2] = linear(p, s.weight[:2], s.bias[:2])
    z[:, 2:] = linear(p, s.weight[2:], s.bias[2:])
    return z


def _two_halves(s, f):
    half = oracle.CHANNELS // 2
    return s.linear(paddle.concat([mean(f[:, :half]), mean(f[:, half:])], 1))


def _batch_norm(s, f):
    return s.linear(
        F.batch_norm(mean(f), s.mean.detach(), s.variance.detach(), s.gamma, s.beta, epsilon=oracle.EPSILON)
    )


def _grouped(s, f):
    return F.conv2d(f.mean([2, 3], keepdim=True), s.part[:2].unsqueeze([2, 3]), groups=2).flatten(1)


def _residual(s, f):
    p = mean(f)
    return s.linear(p) + linear(linear(p, s.first, s.first_bias), s.second)


HEADS = {
    "linear": lambda s, f: s.linear(mean(f)),
    "mean_of_flat": lambda s, f: s.linear(f.flatten(2).mean(-1)),
    "mean_of_view": lambda s, f: s.linear(f.reshape([f.shape[0], f.shape[1], -1]).mean(2)),
    "mean_one_by_one": lambda s, f: s.linear(f.mean(3).mean(2)),
    "mean_one_by_one_kept": lambda s, f: s.linear(f.mean(3, keepdim=True).mean(2, keepdim=True).flatten(1)),
    "average_pool_one_by_one": lambda s, f: s.linear(
        F.avg_pool2d(F.avg_pool2d(f, (f.shape[2], 1), 1), (1, f.shape[3]), 1).flatten(1)
    ),
    "sum_divided": lambda s, f: s.linear(f.sum([2, 3]) / (f.shape[2] * f.shape[3])),
    "sum": lambda s, f: s.linear(f.sum([2, 3])),
    "channels_last_mean": lambda s, f: s.linear(f.transpose([0, 2, 3, 1]).mean([1, 2])),
    "channels_last_tokens": lambda s, f: s.linear(f.flatten(2).transpose([0, 2, 1]).mean(1)),
    "pool_module": lambda s, f: s.linear(s.pool(f).flatten(1)),
    "one_by_one_convolution": lambda s, f: F.conv2d(s.pool(f), s.weight.unsqueeze([2, 3]), s.bias).flatten(1),
    "squeezed": lambda s, f: s.linear(s.pool(f).squeeze(-1).squeeze(-1)),
    "squeezed_before_the_head": lambda s, f: s.linear(s.pool(f).squeeze()),
    "kept_axes_head": lambda s, f: F.conv2d(s.pool(f), s.weight.unsqueeze([2, 3]), s.bias),
    "copied_features": lambda s, f: s.linear(mean(f.contiguous().clone())),
    "copied_vector": lambda s, f: s.linear(mean(f).clone()),
    "dropped": lambda s, f: s.linear(s.drop(mean(f))),
    "einsum_pool": lambda s, f: s.linear(paddle.einsum("nchw->nc", f) / oracle.CELLS),
    "mean_of_a_reshaped_plane": lambda s, f: s.linear(f.reshape([f.shape[0], f.shape[1], 2, -1]).mean([2, 3])),
    "matmul_transposed": lambda s, f: mean(f) @ s.weight.t() + s.bias,
    "addmm_head": lambda s, f: paddle.addmm(s.bias, mean(f), s.weight.t()),
    "einsum_head": lambda s, f: paddle.einsum("nc,kc->nk", mean(f), s.weight) + s.bias,
    "mm": lambda s, f: paddle.mm(mean(f), s.weight.t()),
    "written_in_place": _written_in_place,
    "written_into_zeros": _written_into_zeros,
    "two_halves_of_the_channels": _two_halves,
    "twisted_channels": lambda s, f: linear(mean(f.flip(1)), s.weight.flip(1), s.bias),
    "flipped_features": lambda s, f: s.linear(mean(f.flip(3))),
    "mean_of_two_equal_heads": lambda s, f: paddle.stack([s.linear(mean(f)), s.linear(f.mean([2, 3]))]).mean(0),
    "temperature_divided": lambda s, f: s.linear(mean(f)) / 2.5,
    "temperature_learned": lambda s, f: s.linear(mean(f)) * s.log_temperature.exp(),
    "negated": lambda s, f: -s.linear(mean(f)),
    "constant_added": lambda s, f: s.linear(mean(f)) + s.constant,
    "subtracted_from_one": lambda s, f: 1 - s.linear(mean(f)),
    "permuted_classes": lambda s, f: s.linear(mean(f))[:, [2, 0, 1]],
    "first_two_classes": lambda s, f: s.linear(mean(f))[:, :2],
    "two_heads": lambda s, f: paddle.concat([s.linear(mean(f)), linear(mean(f), s.other)], 1),
    "stacked_single_logits": lambda s, f: paddle.stack(
        [linear(mean(f), s.single)[:, 0], 2 - linear(mean(f), s.single)[:, 0]], 1
    ),
    "centred_logits": lambda s, f: s.linear(mean(f)) - s.linear(mean(f)).mean(1, keepdim=True),
    "two_linear_layers": lambda s, f: linear(linear(mean(f), s.first, s.first_bias), s.second),
    "batch_norm": _batch_norm,
    "channel_slice": lambda s, f: linear(mean(f[:, : oracle.CHANNELS // 2]), s.part),
    "two_slices": lambda s, f: sum(linear(mean(part), s.part) for part in f.split(2, 1)),
    "one_of_two_chunks": lambda s, f: linear(mean(f.chunk(2, 1)[1]), s.part),
    "grouped_convolution": _grouped,
    "scaled_features": lambda s, f: s.linear(mean(f * 3)),
    "weighed_places": lambda s, f: s.linear(mean(f * s.places)),
    "residual_head": _residual,
    "single_logit": lambda s, f: linear(mean(f), s.single).squeeze(),
    "class_kernels": lambda _, f: mean(f),
    "class_kernels_with_temperature": lambda _, f: mean(f) / 2.5,
    "class_kernels_permuted": lambda _, f: mean(f)[:, [2, 0, 1, 3, 4, 5]],
    "class_kernels_sliced": lambda _, f: mean(f)[:, :3],
    "class_kernels_flat": lambda _, f: f.flatten(2).mean(2),
}


def _tokens(f):
    return f.flatten(2).transpose([0, 2, 1])


def _tokens_and_class_token(s, f):
    tokens = paddle.concat([s.gamma.reshape([1, 1, -1]).expand([f.shape[0], 1, -1]), _tokens(f)], 1)
    return s.linear(F.layer_norm(tokens, (oracle.CHANNELS,)).mean(1))


NORMALISED_TOKENS = {
    "tokens": lambda s, f: s.linear(F.layer_norm(_tokens(f), (oracle.CHANNELS,)).mean(1)),
    "tokens_summed": lambda s, f: s.linear(F.layer_norm(_tokens(f), (oracle.CHANNELS,)).sum(1) / oracle.CELLS),
}


def _attention(s, f):
    weights = F.softmax(F.conv2d(f, s.single.unsqueeze([2, 3])).flatten(2), -1)
    return s.linear((f.flatten(2) * weights).sum(-1))


def _attention_in_place(s, f):
    scores = F.conv2d(f, s.single.unsqueeze([2, 3]))
    weights = F.softmax(scores.flatten(2), -1).reshape(scores.shape)
    return s.linear((f * weights).sum([2, 3]))


def _attention_by_matmul(s, f):
    weights = F.softmax(F.conv2d(f, s.single.unsqueeze([2, 3])).flatten(2), -1)
    return s.linear((f.flatten(2) @ weights.transpose([0, 2, 1]))[..., 0])


def _masked(s, f):
    z = s.linear(mean(f))
    return paddle.masked_fill(z, z < 0, 0.0)


def _attention_by_hand(s, f):
    weights = F.sigmoid(F.conv2d(f, s.single.unsqueeze([2, 3])))
    return s.linear((f * (weights / weights.sum([2, 3], keepdim=True))).sum([2, 3]))


NO_HEADS = {
    "relu": lambda s, f: linear(F.relu(linear(mean(f), s.first)), s.second),
    "tanh": lambda s, f: paddle.tanh(s.linear(mean(f))) * 3,
    "layer_norm": lambda s, f: s.linear(F.layer_norm(mean(f), (oracle.CHANNELS,))),
    "l2_norm": lambda s, f: s.linear(F.normalize(mean(f))),
    "l2_norm_by_hand": lambda s, f: s.linear(mean(f) / mean(f).norm(axis=1, keepdim=True)),
    "max_pool": lambda s, f: s.linear(f.amax([2, 3])),
    "max_pool_of_flat": lambda s, f: s.linear(f.flatten(2).max(-1)),
    "max_and_average": lambda s, f: s.linear(f.amax([2, 3]) + mean(f)),
    "flatten": lambda s, f: linear(f.flatten(1), s.flat),
    "crop": lambda s, f: s.linear(mean(f[:, :, 1:])),
    "one_place": lambda s, f: s.linear(f[:, :, 0, 0]),
    "gem": lambda s, f: s.linear(f.clip(min=1e-6).pow(3).mean([2, 3]).pow(1 / 3)),
    "attention": _attention,
    "attention_kept": _attention_in_place,
    "attention_by_matmul": _attention_by_matmul,
    "attention_by_hand": _attention_by_hand,
    "tokens_and_class_token": _tokens_and_class_token,
    "gate": lambda s, f: s.linear(mean(f)) * F.sigmoid(linear(mean(f), s.single)),
    "gated_vector": lambda s, f: s.linear(mean(f) * F.sigmoid(mean(f))),
    "squared": lambda s, f: s.linear(mean(f) * mean(f)),
    "reciprocal": lambda s, f: 90 * paddle.ones([1], dtype=f.dtype) / (s.linear(mean(f)) + 9),
    "two_layers": lambda s, f: s.linear(mean(f)) + linear(mean(F.relu(f - 1)), s.weight),
    "masked": _masked,
    "sorted_classes": lambda s, f: paddle.take_along_axis(s.linear(mean(f)), s.linear(mean(f)).argsort(1), 1),
    "rounded": lambda s, f: paddle.floor(s.linear(mean(f)) / 0.5),
    "detached": lambda s, f: s.linear(mean(f).detach()),
    "partly_detached": lambda s, f: s.linear(mean(f)) + linear(mean(f).detach(), s.weight),
    "read_number": lambda s, f: s.linear(mean(f)) / float(mean(f).norm()),
}
