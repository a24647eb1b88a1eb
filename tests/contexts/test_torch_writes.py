"""Writes into tensors in PyTorch: in place, through views, into ``out=``, and where derivatives do not follow."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from contexts.judging import assert_right, assert_right_or_refused, each  # noqa: E402
from contexts.reference_network import BACKWARD, run_twice  # noqa: E402
from contexts.torch_reference import Network, after_body, native, with_body, with_head  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import ModelError  # noqa: E402


def normalised(model, x):
    """The first convolution and its batch norm."""
    return model.norm(model.conv1(x))


def finished(model, x):
    """What follows the first ReLU."""
    return F.relu(model.conv2(F.max_pool2d(x, 2)))


def written(write):
    """A model whose first ReLU is a write into what the batch norm returned."""

    def body(model, x):
        x = normalised(model, x)
        write(x)
        return finished(model, x)

    return with_body(body)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: F.relu_(x),
        lambda x: F.relu(x, inplace=True),
        lambda x: F.relu(input=x, inplace=True),
        lambda x: torch.relu_(x),
        lambda x: nn.ReLU(inplace=True)(x),
        lambda x: x.view(len(x), -1).relu_(),
        lambda x: x.permute(0, 2, 3, 1).relu_(),
        lambda x: x.copy_(torch.relu(x)),
    ],
    ids="relu_ inplace keyword torch.relu_ module view permuted copy_".split(),
)
def test_a_relu_in_place_is_a_relu(method, write):
    assert_right(written(write), method, native())


@pytest.mark.parametrize(
    "forward",
    [
        lambda s, x: Network.forward(s, x.mul_(2).div_(2)),
        lambda s, x: (x.add_(0.5), x.sub_(0.5), Network.forward(s, x))[-1],
    ],
    ids=["scaled", "shifted"],
)
def test_a_model_may_write_into_its_images(method, forward):
    model, x = Network(), native()
    model.forward = lambda given: forward(model, given)
    assert_right(model, method, x)
    assert torch.equal(x, native())


def filled(features):
    other = torch.zeros_like(features)
    other[:] = features
    return other


def filled_in_parts(features):
    other = features.new_empty(features.shape)
    other[:, :2] = features[:, :2]
    other[:, 2:] = features[:, 2:]
    return other


def copied(features):
    return torch.empty_like(features).copy_(features)


def run_out(run):
    """A function that runs another with ``out=`` a fresh tensor."""

    def change(features):
        out = torch.empty_like(features)
        assert run(features, out) is out
        return out

    return change


@pytest.mark.parametrize(
    "change",
    [
        filled,
        filled_in_parts,
        copied,
        run_out(lambda a, out: torch.clamp(a, min=0, out=out)),
        run_out(lambda a, out: torch.mul(a, 1.0, out=out)),
        run_out(lambda a, out: torch.cat([a[:, :2], a[:, 2:]], 1, out=out)),
        run_out(lambda a, out: torch.add(a, 0.0, out=out.resize_(0))),
    ],
    ids="item parts copy_ clamp mul cat empty".split(),
)
def test_features_written_into_another_tensor_are_the_features(method, change):
    assert_right(after_body(change), method, native())


def test_a_mean_written_into_out_is_a_mean(method):
    def head(model, features):
        return model.fc(torch.mean(features, (2, 3), out=features.new_empty(len(features), 4)))

    assert_right(with_head(head), method, native())


def test_both_results_of_a_maximum_are_written_into_out():
    def change(features):
        out = (features.new_empty(0), torch.empty(0, dtype=torch.long))
        found = torch.max(features, 1, out=out)
        assert found.values is out[0]
        assert torch.equal(out[0], features.amax(1))
        return features + 0 * out[0][:, None]

    assert_right(after_body(change), "gradient", native())


DETACHED = r"writes into a detached tensor, .* write into a copy, x\.detach\(\)\.clone\(\)"


@pytest.mark.parametrize(
    "write",
    [lambda x: x.data.relu_(), lambda x: x.detach().relu_(), lambda x: [part.relu_() for part in x.detach()]],
    ids=["data", "detach", "a view of detach"],
)
def test_a_write_through_a_detached_tensor_is_refused_where_derivatives_pass_it(method, write):
    assert_right_or_refused(written(write), method, native(), each(BACKWARD, DETACHED))


def test_a_write_into_a_copy_of_a_detached_tensor_is_no_harm(method):
    def body(model, x):
        assert x.detach().clone().relu_().min() >= 0
        return Network.body(model, x)

    assert_right(with_body(body), method, native())


def without_gradients(x):
    with torch.no_grad():
        x.relu_()


def test_a_write_with_gradients_switched_off_is_refused_where_derivatives_pass_it(method):
    saying = r"relu_ in module \w+ writes into the result of batch_norm with gradients switched off"
    assert_right_or_refused(written(without_gradients), method, native(), each(BACKWARD, saying))


def test_such_a_write_is_refused_also_where_another_path_stays_open(method):
    def body(model, x):
        x = normalised(model, x)
        other = x * 1
        without_gradients(x)
        return finished(model, 0.5 * x + 0.5 * F.relu(other))

    saying = "with gradients switched off, where derivatives do not follow"
    assert_right_or_refused(with_body(body), method, native(), each(BACKWARD, saying))


def test_two_writes_into_parts_that_pytorch_itself_cannot_differentiate_are_refused(method):
    model = written(lambda x: (x[:, :2].relu_(), x[:, 2:].relu_()))
    saying = "PyTorch could not differentiate the model: one of the variables .* modified by an inplace operation"
    assert_right_or_refused(model, method, native(), each(BACKWARD, saying))


def test_one_relu_in_place_and_one_convolution_may_run_twice(method):
    relu = nn.ReLU(inplace=True)

    def body(model, x):
        x = relu(normalised(model, x))
        x = relu(model.conv2(F.max_pool2d(x, 2)))
        return relu(model.conv2(x))

    assert_right(with_body(body), method, native(), make=run_twice)


def test_out_of_a_tensor_that_carries_a_gradient_is_written_or_refused_by_name():
    model = after_body(lambda a: torch.add(a, 1.0, out=torch.zeros(2, 2, requires_grad=True)))
    with pytest.raises(ModelError, match=r"could not run .*cannot resize variables that require grad"):
        explain(model, native(), method="gradient", target=1)
