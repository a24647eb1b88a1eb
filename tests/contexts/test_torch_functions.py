"""Functions, residuals and shared tensors in PyTorch: as the modules that they stand for."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from contexts.torch_sequence import Sequence, assert_close, images, network, pooled  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import NotApplicableError, OutputError, XaiMedError  # noqa: E402
from xai_med.testing import oracle  # noqa: E402
from xai_med.testing.networks import NETWORKS, example_input  # noqa: E402


def test_a_convolution_on_a_bare_parameter_is_as_the_module(method):
    class Bare(Sequence):
        def __init__(self):
            super().__init__(pooled)
            self.weight = nn.Parameter(self.conv.weight.detach().clone())
            self.bias = nn.Parameter(self.conv.bias.detach().clone())

        def forward(self, x):
            return self.head(self, F.relu(F.conv2d(x, self.weight, self.bias, 1, padding=1)))

    x = images()
    assert_close(
        explain(Bare(), x, method=method, target=1).maps,
        explain(Sequence(pooled), x, method=method, target=1).maps,
        1e-6,
    )


def test_relevance_through_residuals_written_as_functions(method):
    def residual(model, a):
        h = a + F.relu(F.conv2d(a, torch.ones(4, 4, 1, 1) * 0.2))
        return model.fc(h.mean((2, 3)))

    def in_place(model, a):
        h = F.conv2d(a, torch.ones(4, 4, 1, 1) * 0.2)  # not negative
        h += a
        return model.fc(h.mean((2, 3)))

    x = images()
    first, second = (explain(Sequence(head), x, method=method, target=1).maps for head in (residual, in_place))
    assert_close(second, first)


def test_relevance_of_a_functional_residual_equals_two_hand_written_rules():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(1, 2, bias=False)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([[2.0], [-1.0]]))

        def forward(self, x):
            h = torch.relu(x)
            return self.fc((h + 3 * h).mean((2, 3)))

    x = torch.rand(1, 1, 3, 4, dtype=torch.float64) + 0.1
    for target, weight in ((0, 2.0), (1, -1.0)):
        result = explain(Residual().double(), x, method="lrp", target=target, epsilon=0)
        np.testing.assert_allclose(result.attribution[0, 0], 4 * x[0].numpy() / 12 * weight, rtol=1e-12)
        np.testing.assert_allclose(result.attribution.sum(), result.scores[0, 0], rtol=1e-12)


def test_a_tensor_that_two_layers_use_gets_the_relevance_of_both():
    model, x = network("densenet_like", dtype="float64")
    result = explain(model, x.double(), method="lrp", target=0)
    blueprint = NETWORKS["densenet_like"]()
    assert_close(result.attribution[:, 0], oracle.relevance(blueprint, example_input(blueprint), target=0), 1e-9)


def test_logits_behind_log_softmax_are_found(method):
    wanted = explain(Sequence(pooled), images(), method=method, target=1)
    for squash in (
        lambda y: F.log_softmax(y, 1),
        lambda y: F.softmax(y, -1),
        lambda y: y.softmax(1),
        lambda y: torch.sigmoid(y),
    ):
        model = Sequence(lambda m, a, squash=squash: squash(pooled(m, a)))
        assert_close(explain(model, images(), method=method, target=1).maps, wanted.maps)


def test_two_final_activations_are_not_taken_for_one():
    model = Sequence(lambda m, a: torch.sigmoid(F.softmax(pooled(m, a), 1)))
    with pytest.raises((OutputError, NotApplicableError), match=r"softmax|sigmoid"):
        explain(model, images(), target=1)


def test_a_model_that_leaves_the_framework_is_refused(method):
    model = Sequence(lambda m, a: torch.from_numpy(pooled(m, a).detach().numpy() * 2))
    with pytest.raises(XaiMedError, match="does not depend on its input through operations that can be followed"):
        explain(model, images(), method=method, target=1)


def test_a_part_that_leaves_the_framework_is_refused_or_right(method):
    model = Sequence(lambda m, a: pooled(m, torch.from_numpy(a.detach().numpy() * 2)))
    with pytest.raises(XaiMedError):
        explain(model, images(), method=method, target=1)
