"""Models made to mislead: each was once explained wrongly without a word, and is right or refused now."""

import numpy as np
import pytest

from xai_med import explain
from xai_med.errors import (
    LayerError,
    NotApplicableError,
    OutputError,
    UnsupportedOperationError,
    XaiMedError,
)

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Model(torch.nn.Module):
    """Layers that a given forward function may use."""

    def __init__(self, forward, classes=3):
        super().__init__()
        torch.manual_seed(3)
        self.c, self.d = torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3, padding=1)
        self.one = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.b = torch.nn.BatchNorm2d(4)
        self.b.running_mean.normal_()
        self.b.running_var.uniform_(0.5, 2)
        self.l, self.wide, self.single = (
            torch.nn.Linear(4, classes),
            torch.nn.Linear(8, classes),
            torch.nn.Linear(4, 1),
        )
        self.i = torch.nn.Identity()
        self._forward = forward
        self.double().eval()

    def forward(self, x):
        return self._forward(self, x)

    def features(self, x):
        return F.relu(self.c(x))


def _swish(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


def images(count=3):
    return np.random.default_rng(1).normal(size=(count, 2, 8, 8))


def alone(model, x, target=0):
    """Gradient of each image explained in a batch of its own, by autograd."""
    found = []
    for image in x:
        leaf = torch.tensor(image[None], requires_grad=True)
        found.append(torch.autograd.grad(model(leaf)[0, target], leaf)[0][0].numpy())
    return np.stack(found)


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: (x - x.mean()) / x.std(),
        lambda x: (x - x.min()) / (x.max() - x.min()),
        lambda x: x - x.mean(0, keepdim=True) * 0.5,
    ],
)
def test_images_coupled_by_the_batch_are_explained_one_at_a_time(normalise):
    model = Model(lambda s, x: s.l(s.features(normalise(x)).mean((2, 3))))
    found = explain(model, images(), method="gradient", target=0)
    np.testing.assert_allclose(found.attribution[:, 0], alone(model, images()), atol=1e-12)
    assert [check for check in found.checks if check.name == "images explained one at a time"]


def test_a_number_read_from_the_batch_is_noticed():
    model = Model(lambda s, x: s.l(s.features(x / x.abs().max().item()).mean((2, 3))))
    found = explain(model, images(), method="gradient", target=[0, 1, 2])
    for number in range(3):
        single = explain(model, images()[number : number + 1], method="gradient", target=number)
        np.testing.assert_allclose(found.attribution[number], single.attribution[0], atol=1e-14)


@pytest.mark.parametrize("method", ["grad_cam", "gradient", "lrp"])
def test_images_sorted_inside_the_model_keep_their_own_maps(method):
    def forward(s, x):
        order = torch.arange(len(x)).flip(0)
        return s.l(s.features(x)[order].mean((2, 3)))[order]

    found = explain(Model(forward), images(), method=method, target="all")
    plain = explain(Model(lambda s, x: s.l(s.features(x).mean((2, 3)))), images(), method=method, target="all")
    np.testing.assert_allclose(found.attribution, plain.attribution, atol=1e-12)


@pytest.mark.parametrize("method", ["grad_cam", "cam"])
def test_views_folded_into_the_batch_add_up_to_one_map(method):
    def forward(s, x):
        both = torch.cat([x[:, :1], x[:, 1:2]], 0)
        return s.wide(torch.cat(F.relu(s.one(both)).mean((2, 3)).chunk(2, 0), 1))

    model, x = Model(forward), images(2)
    weight = model.wide.weight[0].detach()
    with torch.no_grad():
        views = [F.relu(model.one(torch.tensor(x[:, [view]]))) for view in (0, 1)]
    expected = sum(
        torch.einsum("c,nchw->nhw", part, view) for part, view in zip(weight.chunk(2), views, strict=True)
    ).numpy()
    found = explain(model, x, method=method, target=0).attribution[:, 0]
    np.testing.assert_allclose(found, np.maximum(expected, 0) / 64 if method == "grad_cam" else expected, atol=1e-14)


@pytest.mark.parametrize("turn", [lambda z: z.t(), lambda z: z.mean(0)])
def test_an_output_whose_first_axis_is_not_images_is_refused(turn):
    model = Model(lambda s, x: turn(s.l(s.features(x).mean((2, 3)))))
    with pytest.raises(XaiMedError, match=r"first axis of the model's output|row"):
        explain(model, images(3), method="gradient", target=0)


@pytest.mark.parametrize(
    "write",
    [
        lambda y: F.relu(y, inplace=True),
        lambda y: y.relu_(),
        lambda y: y.add_(1),
        lambda y: y[:, :2].relu_(),
    ],
)
def test_a_convolution_written_before_its_batch_norm_is_not_merged(write):
    def forward(s, x):
        y = s.c(x)
        write(y)
        return s.l(F.relu(s.b(y)).mean((2, 3)))

    model = Model(forward)
    found = explain(model, images(), method="lrp", target="all")
    with torch.no_grad():
        np.testing.assert_allclose(found.scores, model(torch.tensor(images())).numpy(), atol=1e-12)


def test_a_model_that_writes_into_its_input_is_explained_at_the_input_given():
    def forward(s, x):
        x -= 0.5
        x /= 0.25
        f = s.features(x)
        return s.l(F.relu(s.d(f)).mean((2, 3))) + s.l(f.mean((2, 3)))

    model, x = Model(forward), images()
    with torch.no_grad():
        expected = model(torch.tensor(x)).numpy()
    for method in ("gradient", "grad_cam"):
        asked = {"layer": "d"} if method == "grad_cam" else {}
        found = explain(model, x, method=method, target="all", **asked)
        np.testing.assert_allclose(found.scores, expected, atol=1e-12)
        np.testing.assert_allclose(found.input, x, atol=1e-6)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x[:, :, :4, :4],
        lambda x: x[..., torch.arange(7, -1, -1)],
        lambda x: x.index_select(3, torch.arange(7, -1, -1)),
        lambda x: x.narrow(2, 2, 4),
        lambda x: x.split(4, 3)[0],
        lambda x: torch.cat([x[..., 4:], x[..., :4]], 3),
        lambda x: x.flip(3),
        lambda x: x.roll(2, 3),
    ],
)
@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_features_that_were_moved_in_space_are_refused(move, method):
    with pytest.raises((NotApplicableError, LayerError)):
        explain(Model(lambda s, x: s.l(s.features(move(x)).mean((2, 3)))), images(1), method=method)


def test_features_of_an_image_padded_on_one_side_are_placed_or_refused():
    model = Model(lambda s, x: s.l(s.features(F.pad(x, (4, 0))).mean((2, 3))))
    with pytest.raises(NotApplicableError):
        explain(model, images(1), method="cam")
    found = explain(model, images(1), method="grad_cam", target=0, relu=False)
    rows, columns = found.attribution.shape[2:]
    assert found.maps.shape[2:] == (rows, columns - 4)
    np.testing.assert_allclose(found.maps, found.attribution[..., 4:], rtol=0, atol=1e-6 * np.ptp(found.maps))


def test_even_strides_padded_on_one_side_are_no_move():
    def forward(s, x):
        return s.l(F.relu(F.conv2d(F.pad(x, (0, 1, 0, 1)), s.c.weight, stride=2)).mean((2, 3)))

    assert explain(Model(forward), images(1), method="cam").maps.shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    "end",
    [
        lambda z: torch.sigmoid(z)[:, 0],
        lambda z: torch.sigmoid(z).clamp(1e-6, 1 - 1e-6),
        lambda z: 1 - torch.sigmoid(-z),
        lambda z: F.hardsigmoid(z),
        lambda z: 1 / (1 + torch.exp(-z)),
    ],
)
def test_probabilities_whose_logit_is_out_of_reach_are_refused(end):
    with pytest.raises(OutputError, match="between 0 and 1"):
        explain(Model(lambda s, x: end(s.single(s.features(x).mean((2, 3))))), images(), method="gradient")


def test_a_copied_sigmoid_is_looked_through():
    found = explain(Model(lambda s, x: torch.sigmoid(s.single(s.features(x).mean((2, 3)))).clone()), images())
    assert found.activation == "sigmoid"


@pytest.mark.parametrize("end", [lambda z: F.softmax(z, 0), lambda z: F.softmax(z.view(-1, 2, 2), -1).flatten(1)])
def test_a_softmax_over_another_axis_is_refused(end):
    with pytest.raises(OutputError, match="not over the axis of classes"):
        explain(Model(lambda s, x: end(s.l(s.features(x).mean((2, 3)))), classes=4), images(), target=0)


def test_a_linear_map_along_space_does_not_merge_with_the_norm_of_channels():
    class Mixer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.n, self.h = torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
            self.n.running_mean.normal_()

        def forward(self, x):
            return self.h(F.relu(self.n(self.a(x))).mean(2))

    model = Mixer().double().eval()
    x = np.random.default_rng(0).normal(size=(2, 4, 4))
    found = explain(model, x, method="lrp", target="all")
    with torch.no_grad():
        np.testing.assert_allclose(found.scores, model(torch.tensor(x)).numpy(), atol=1e-12)


def test_what_a_custom_function_makes_is_refused_by_lrp():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.tensor(x.detach().numpy() * 2)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    def forward(s, x):
        y = s.features(x)
        return s.l((y + s.d(Twice.apply(y))).mean((2, 3)))

    with pytest.raises(UnsupportedOperationError, match="gradients switched off"):
        explain(Model(forward), images(), method="lrp")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_scripted_function_makes_is_refused_by_lrp():
    swish = torch.jit.script(_swish)

    def forward(s, x):
        y = s.features(x)
        return s.l((y + s.d(swish(y))).mean((2, 3)))

    with pytest.raises(UnsupportedOperationError, match="out of sight"):
        explain(Model(forward), images(), method="lrp")


def test_branches_side_by_side_need_a_layer():
    def forward(s, x):
        return s.wide(torch.cat([s.features(x).mean((2, 3)), F.relu(s.one(x[:, :1])).mean((2, 3))], 1))

    with pytest.raises(LayerError, match="side by side"):
        explain(Model(forward), images(), method="grad_cam")
    assert explain(Model(forward), images(), method="grad_cam", layer="c").maps.shape == (3, 1, 8, 8)


@pytest.mark.parametrize(
    "pool",
    [
        lambda f: f.mean(-1, keepdim=True).mean(-2, keepdim=True).flatten(1),
        lambda f: F.avg_pool2d(F.avg_pool2d(f, (8, 1)), (1, 8)).flatten(1),
    ],
)
def test_pooling_one_axis_after_the_other_is_captured_before_both(pool):
    found = explain(Model(lambda s, x: s.l(pool(s.features(x)))), images(), method="grad_cam", target="all")
    plain = explain(Model(lambda s, x: s.l(s.features(x).mean((2, 3)))), images(), method="grad_cam", target="all")
    np.testing.assert_allclose(found.attribution, plain.attribution, atol=1e-14)


def test_a_view_written_before_the_pool_belongs_to_the_features():
    def forward(s, x):
        y = s.c(x)
        y[:, :2].relu_()
        return s.l(y.mean((2, 3)))

    model = Model(forward)
    cams = explain(model, images(), method="cam", target="all").attribution
    found = explain(model, images(), method="grad_cam", target="all").attribution
    np.testing.assert_allclose(found, np.maximum(cams, 0) / 64, atol=1e-14)


def test_an_identity_on_one_branch_is_not_the_other_branch():
    def forward(s, x):
        f = s.features(x)
        return s.l(s.i(f).mean((2, 3))) + s.l(2 * f.mean((2, 3)))

    found = explain(Model(forward), images(), method="grad_cam", layer="i", target="all").attribution
    plain = explain(Model(lambda s, x: s.l(s.features(x).mean((2, 3)))), images(), method="grad_cam", target="all")
    np.testing.assert_allclose(found, plain.attribution, atol=1e-14)


@pytest.mark.parametrize("rectify", [lambda y: y * (y > 0), lambda y: torch.where(y > 0, y, 0.0)])
def test_rectifiers_by_comparison_are_not_guided(rectify):
    model = Model(lambda s, x: s.l(rectify(s.d(s.features(x))).mean((2, 3))))
    with pytest.raises(NotApplicableError, match="comparison as a mask"):
        explain(model, images(), method="clear", relu="guided")


def test_a_batch_norm_that_would_learn_is_refused():
    def forward(s, x):
        y = F.batch_norm(s.c(x), s.b.running_mean, s.b.running_var, training=True)
        return s.l(y.mean((2, 3)))

    model = Model(forward)
    before = model.b.running_mean.clone()
    with pytest.raises(NotApplicableError, match="update the model's running statistics"):
        explain(model, images(1), method="gradient")
    assert torch.equal(before, model.b.running_mean)


@pytest.mark.parametrize(
    "operation",
    [
        lambda y: y + y.detach().abs(),
        lambda y: y * torch.sigmoid(y.detach()),
        lambda y: torch.transpose(input=y, dim0=2, dim1=3),
        lambda y: torch.movedim(input=y, source=3, destination=2),
        lambda y: y.mean((2, 3), keepdims=True) + y,
    ],
)
def test_unusual_spellings_are_no_crash(operation):
    model = Model(lambda s, x: s.l(operation(s.features(x)).mean((2, 3))))
    for method in ("gradient", "lrp"):
        assert np.isfinite(explain(model, images(), method=method).maps).all()


def test_given_class_names_win_over_signs():
    model = Model(lambda s, x: s.l(s.features(x).mean((2, 3))), classes=2)
    found = explain(model, images(), target="positive", class_names=["negative", "positive"])
    assert found.class_indices.ravel().tolist() == [1, 1, 1]


def test_a_wide_padding_is_not_taken_for_a_part_of_the_image():
    model = Model(lambda s, x: s.l(F.relu(F.conv2d(F.pad(x, (8,) * 4), kernel, stride=8)).mean((2, 3))))
    kernel = torch.rand(4, 2, 8, 8, dtype=torch.float64)
    bright = np.zeros((1, 2, 32, 32))
    bright[:, :, 1:3, 25:27] = 1.0
    found = explain(model, bright, method="grad_cam", target=0, relu=False)
    row, column = np.unravel_index(np.abs(found.maps[0, 0]).argmax(), (32, 32))
    assert abs(row - 3.5) <= 1
    assert abs(column - 27.5) <= 1
    with pytest.raises(NotApplicableError, match="use method='grad_cam'"):
        explain(model, bright, method="cam", target=0)
