"""Models made to mislead, in PaddlePaddle: right or refused."""

import numpy as np
import pytest

from xai_med import explain
from xai_med.errors import LayerError, NotApplicableError, OutputError, UnsupportedOperationError

paddle = pytest.importorskip("paddle")
F = paddle.nn.functional


class Model(paddle.nn.Layer):
    """Layers that a given forward function may use."""

    def __init__(self, forward):
        super().__init__()
        paddle.seed(3)
        self.c = paddle.nn.Conv2D(2, 4, 3, padding=1)
        self.b = paddle.nn.BatchNorm2D(4)
        self.b._mean.set_value(np.array([0.3, -0.5, 0.2, 0.1], "float32"))
        self.l, self.single = paddle.nn.Linear(4, 3), paddle.nn.Linear(4, 1)
        self._forward = forward
        self.to(dtype="float64")
        self.eval()

    def forward(self, x):
        return self._forward(self, x)

    def features(self, x):
        return F.relu(self.c(x))


def images(count=3):
    return np.random.default_rng(1).normal(size=(count, 2, 8, 8))


def test_images_coupled_by_the_batch_are_explained_one_at_a_time():
    model = Model(lambda s, x: s.l(s.features((x - x.mean()) / x.std()).mean([2, 3])))
    found = explain(model, images(), method="gradient", target=0)
    for number in range(3):
        leaf = paddle.to_tensor(images()[number : number + 1], stop_gradient=False)
        (expected,) = paddle.grad(model(leaf)[0, 0], [leaf])
        np.testing.assert_allclose(found.attribution[number, 0], expected.numpy()[0], atol=1e-12)


def test_an_output_whose_first_axis_is_not_images_is_refused():
    model = Model(lambda s, x: s.l(s.features(x).mean([2, 3])).transpose([1, 0]))
    with pytest.raises(OutputError, match=r"first axis of the model's output"):
        explain(model, images(3), method="gradient", target=0)


@pytest.mark.parametrize("write", [lambda y: F.relu_(y), lambda y: y.add_(paddle.ones_like(y))])
def test_a_convolution_written_before_its_batch_norm_is_not_merged(write):
    def forward(s, x):
        y = s.c(x)
        write(y)
        return s.l(F.relu(s.b(y)).mean([2, 3]))

    model = Model(forward)
    found = explain(model, images(), method="lrp", target="all")
    with paddle.no_grad():
        np.testing.assert_allclose(found.scores, model(paddle.to_tensor(images())).numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x[:, :, :4, :4],
        lambda x: x.flip(3),
        lambda x: paddle.roll(x, 2, 3),
        lambda x: x[:, :, :, ::-1],
        lambda x: paddle.concat([x[:, :, :, 4:], x[:, :, :, :4]], 3),
    ],
)
@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_features_that_were_moved_in_space_are_refused(move, method):
    with pytest.raises((NotApplicableError, LayerError)):
        explain(Model(lambda s, x: s.l(s.features(move(x)).mean([2, 3]))), images(1), method=method)


def test_probabilities_whose_logit_is_out_of_reach_are_refused():
    model = Model(lambda s, x: F.sigmoid(s.single(s.features(x).mean([2, 3])))[:, 0])
    with pytest.raises(OutputError, match="between 0 and 1"):
        explain(model, images(), method="gradient")


def test_a_softmax_over_another_axis_is_refused():
    model = Model(lambda s, x: F.softmax(s.l(s.features(x).mean([2, 3])), axis=0))
    with pytest.raises(OutputError, match="not over the axis of classes"):
        explain(model, images(), target=0)


def test_a_quotient_by_the_signal_has_no_rule():
    model = Model(lambda s, x: s.l((1 / (1 + s.features(x))).mean([2, 3])))
    with pytest.raises(UnsupportedOperationError, match="div"):
        explain(model, images(), method="lrp")


def test_pooling_one_axis_after_the_other_is_captured_before_both():
    pooled = Model(lambda s, x: s.l(s.features(x).mean(-1, keepdim=True).mean(-2, keepdim=True).flatten(1)))
    plain = Model(lambda s, x: s.l(s.features(x).mean([2, 3])))
    plain.set_state_dict(pooled.state_dict())
    first, second = (explain(model, images(), method="grad_cam", target="all").attribution for model in (pooled, plain))
    np.testing.assert_allclose(first, second, atol=1e-14)
