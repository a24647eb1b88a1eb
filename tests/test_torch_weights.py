"""Weights that were found finite are not read again, unless they were written."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xai_med import explain  # noqa: E402
from xai_med.errors import NonFiniteError  # noqa: E402
from xai_med_torch.framework import TorchFramework  # noqa: E402
from xai_med_torch.weights import check_weights  # noqa: E402


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return model.eval()


@pytest.fixture
def image():
    return torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def _layers(model):
    return TorchFramework().layers(model)


def test_layers_are_those_of_named_modules_in_order(model):
    model.add_module("again", model[0])
    model.add_module("none", None)
    assert list(_layers(model).items()) == list(model.named_modules())


def test_second_look_gives_the_same_inventory(model):
    first = check_weights(_layers(model), afresh=False)
    assert check_weights(_layers(model), afresh=False) == first
    assert check_weights(_layers(model), afresh=True) == first
    assert first.values == sum(p.numel() for p in model.parameters()) + 8
    assert first.tensors == len(list(model.parameters())) + len(list(model.buffers()))


def _in_place(model):
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = torch.nan


def _by_state_dict(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["1.running_var"][0] = torch.inf
    model.load_state_dict(state)


def _by_another_parameter(model):
    model[5].weight = nn.Parameter(torch.full((3, 4), torch.nan))


def _by_other_data(model):
    model[5].bias.data = torch.full((3,), -torch.inf)


def _by_a_step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.inf)
    model(torch.ones(1, 1, 8, 8)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("write", [_in_place, _by_state_dict, _by_another_parameter, _by_other_data, _by_a_step])
def test_weights_that_were_written_since_are_read_again(model, image, write):
    explain(model, image, method="grad_cam")
    write(model)
    with pytest.raises(NonFiniteError, match="holds NaN or infinite values"):
        explain(model, image, method="grad_cam")


def test_what_pytorch_does_not_count_is_seen_on_verification(model, image):
    explain(model, image, method="grad_cam", verify=True)
    model[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="weight holds NaN"):
        explain(model, image, method="grad_cam", verify=True)


def test_what_pytorch_does_not_count_is_refused_by_the_logits_all_the_same(model, image):
    explain(model, image, method="grad_cam")
    model[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="output holds"):
        explain(model, image, method="grad_cam")


def test_changed_weights_give_a_changed_map(model, image):
    before = explain(model, image, method="cam", target=0).maps
    with torch.no_grad():
        model[5].weight.mul_(2)
    after = explain(model, image, method="cam", target=0).maps
    torch.testing.assert_close(torch.tensor(after), torch.tensor(before * 2))
    model[5].weight.data.mul_(2)  # written where PyTorch does not count
    torch.testing.assert_close(
        torch.tensor(explain(model, image, method="cam", target=0).maps), torch.tensor(before * 4)
    )
