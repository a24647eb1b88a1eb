"""Grad-CAM on tokens and channels-last grids: each cell where it lies in the image, or refused."""

from functools import partial

import numpy as np
import place_sum
import pytest
import token_networks
from numpy.testing import assert_allclose
from token_networks import CHANNELS, CLASSES, NETWORKS, OPERATIONS, Network

from xai_med import attribute, explain
from xai_med.errors import LayerError

torch = pytest.importorskip("torch")

TOLERANCE = 1e-12


def rows(first, grid, tensor, last=None):
    """Tokens (N, T, C), of which those from `first` to `last` are the image's, to (N, C, *grid)."""
    tokens = tensor[:, first:last]
    return np.moveaxis(tokens.reshape(len(tokens), *grid, CHANNELS), -1, 1)


def columns(grid, tensor):
    """Tokens in the order of columns."""
    return np.swapaxes(rows(0, grid[::-1], tensor), -1, -2)


def last_first(grid, tensor):
    """Tokens from the last to the first."""
    return rows(0, grid, tensor[:, ::-1])


def moved_round(grid, tensor):
    """Tokens moved round by five."""
    return rows(0, grid, np.roll(tensor, -5, 1))


def channels_last(tensor):
    """(N, H, W, C) to (N, C, H, W)."""
    return np.moveaxis(tensor, -1, 1)


def from_windows(shift, grid, tensor):
    """Windows of 2 x 2, taken from a grid that was moved by `shift`, to (N, C, H, W)."""
    found = np.zeros((CHANNELS, *grid))
    for number, window in enumerate(tensor):
        top, left = divmod(number, grid[1] // 2)
        for cell, values in enumerate(window):
            row, column = 2 * top + cell // 2 + shift, 2 * left + cell % 2 + shift
            found[:, row % grid[0], column % grid[1]] = values
    return found[None]


FLAT = (4, 6)
DEFAULTS = {  # network: the layer that is to be taken, and where its cells lie
    "plain_tokens": ("last", partial(rows, 0, FLAT)),
    "class_token": ("norm2", partial(rows, 3, FLAT)),
    "class_token_last": ("norm1", partial(rows, 0, FLAT, last=24)),
    "mean_pooled": ("last", partial(rows, 1, FLAT)),
    "class_attention": ("both", partial(rows, 1, FLAT)),
    "columns_first": ("last", partial(columns, FLAT)),
    "reversed_tokens": ("last", partial(last_first, FLAT)),
    "rolled_tokens": ("last", partial(moved_round, FLAT)),
    "rearranged_patches": ("last", partial(rows, 0, FLAT)),
    "volume": ("last", partial(rows, 1, (2, 3, 3))),
    "signal": ("norm2", partial(rows, 3, (5,))),
    "shifted_windows": ("last", channels_last),
    "merged_only": ("last", channels_last),
}
NAMED = [
    ("class_token", "norm1", partial(rows, 3, FLAT)),
    ("class_token", "block1", partial(rows, 3, FLAT)),
    ("class_token_last", "norm1", partial(rows, 0, FLAT, last=24)),
    ("class_attention", "image", partial(rows, 0, FLAT)),
    ("shifted_windows", "windows0", partial(from_windows, 0, (8, 8))),
    ("shifted_windows", "windows1", partial(from_windows, 1, (8, 8))),
    ("shifted_windows", "stage1", channels_last),
]


def at_layer(network, layer, images):
    """A layer's tensor and the logits' gradients there, by PyTorch's own differentiation, one image at a time."""
    operations = OPERATIONS["torch"]()
    weights = {name: torch.tensor(array) for name, array in network.weights.items()}
    kept = {}

    def mark(name, tensor):
        if name == layer:
            kept[name] = tensor.detach().clone().requires_grad_()
            return kept[name]
        return tensor

    logits = network.forward(operations, weights, mark, torch.tensor(images))
    gradients = [torch.autograd.grad(logits[0, k], kept[layer], retain_graph=True)[0] for k in range(CLASSES)]
    return kept[layer].detach().numpy(), [gradient.numpy() for gradient in gradients]


def by_hand(network, layer, arranged, images):
    """Grad-CAM without ReLU, (N, K, *grid): mean gradients over the image's tokens times these tokens."""
    maps = []
    for image in images:
        tensor, gradients = at_layer(network, layer, image[None])
        features = arranged(tensor)[0]
        weights = [arranged(gradient)[0].reshape(len(features), -1).mean(1) for gradient in gradients]
        maps.append([np.tensordot(weight, features, 1) for weight in weights])
    return np.array(maps)


def grad_cam(backend, network, images, *, layer=None, marks=(), **asked):
    """Of all classes, with its sign."""
    model = network.model(backend.name, marks)
    return explain(model, images, method="grad_cam", target="all", layer=layer, **{"relu": False, **asked})


def grad_cam_of(model, images):
    """Of all classes, with its sign, where it arises."""
    return explain(model, images, method="grad_cam", target="all", relu=False).attribution


def assert_close(found, expected):
    """Within a share of the range."""
    assert np.ptp(expected) > 0
    assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


# ---- the right cells


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_default_map_equals_the_definition_at_the_last_tokens_that_count(name, backend):
    network, (layer, arranged) = NETWORKS[name], DEFAULTS[name]
    images = network.images(2)
    assert_close(grad_cam(backend, network, images).attribution, by_hand(network, layer, arranged, images))


@pytest.mark.parametrize(("name", "layer", "arranged"), NAMED)
def test_a_named_layers_map_equals_the_definition(name, layer, arranged, backend):
    network = NETWORKS[name]
    images = network.images(1)
    found = grad_cam(backend, network, images, layer=layer, marks=(layer,))
    assert found.layer == layer
    assert_close(found.attribution, by_hand(network, layer, arranged, images))


@pytest.mark.parametrize("attention", ["fused_attention", "einstein_attention"])
def test_every_way_to_write_attention_is_followed(attention, backend):
    def forward(f, w, mark, x):
        return token_networks.class_token(f, w, mark, x, getattr(token_networks, attention))

    network = Network(forward, (2, 8, 18), NETWORKS["class_token"].weights)
    images = network.images(1)
    expected = by_hand(network, "norm2", partial(rows, 3, FLAT), images)
    assert_close(grad_cam(backend, network, images).attribution, expected)


@pytest.mark.parametrize("place", [(0, 0), (0, 5), (3, 0), (2, 4)])
@pytest.mark.parametrize("name", ["plain_tokens", "columns_first", "reversed_tokens", "rolled_tokens"])
def test_a_hot_patch_lights_up_its_own_cell(name, place, backend):
    def forward(f, w, mark, x):  # without attention a cell knows of no other
        return NETWORKS[name].forward(f, {**w, "out": 0 * w["out"]}, mark, x)

    network = Network(forward, (2, 8, 18), NETWORKS[name].weights)
    images = np.zeros((1, 2, 8, 18))
    images[0, :, 2 * place[0], 3 * place[1] : 3 * place[1] + 3] = 1
    cells = grad_cam(backend, network, images).attribution[0, 0]
    assert np.argwhere(np.abs(cells) > 1e-6).tolist() == [list(place)]


def test_finite_differences_confirm_the_weights(backend):
    network = NETWORKS["mean_pooled"]
    images = network.images(1)
    operations = OPERATIONS["torch"]()
    weights = {name: torch.tensor(array) for name, array in network.weights.items()}
    kept = {}

    def score(displacement):
        def mark(name, tensor):
            if name == "last":
                kept[name] = tensor
                return tensor + torch.tensor(displacement)
            return tensor

        return network.forward(operations, weights, mark, torch.tensor(images))[0].numpy()

    step, slopes = 1e-5, np.zeros((CLASSES, CHANNELS))
    for channel in range(CHANNELS):
        displacement = np.zeros((1, 25, CHANNELS))
        displacement[:, 1:, channel] = step
        slopes[:, channel] = (score(displacement) - score(-displacement)) / (2 * step * 24)
    expected = np.einsum("kc,chw->khw", slopes, rows(1, FLAT, kept["last"].numpy())[0])
    found = grad_cam(backend, network, images).attribution[0]
    assert_allclose(found, expected, rtol=0, atol=1e-8 * np.ptp(expected))


def test_a_batch_gives_the_maps_of_its_images(backend):
    network = NETWORKS["shifted_windows"]
    images = network.images(3)
    together = grad_cam(backend, network, images).maps
    alone = [grad_cam(backend, network, image[None]).maps for image in images]
    assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-6 * np.ptp(together))


def test_windows_of_a_whole_batch_are_told_apart(backend):
    """Without attention the images of a batch are followed together."""

    def forward(f, w, mark, x):
        x = f.permute(f.patches(x, w["patches"]), [0, 2, 3, 1])
        x = mark("windows", f.tanh(token_networks.windows(f, x, 2)))
        return f.linear(token_networks.unwindowed(f, x, 2, 8, 8).mean([1, 2]), w["head"])

    network = Network(forward, (2, 16, 24), NETWORKS["shifted_windows"].weights)
    images = network.images(2)
    found = grad_cam(backend, network, images, layer="windows", marks=("windows",))
    expected = np.concatenate([by_hand(network, "windows", partial(from_windows, 0, (8, 8)), x[None]) for x in images])
    assert_close(found.attribution, expected)


def test_a_differentiable_map_has_the_same_values_and_reaches_the_weights():
    network = NETWORKS["class_token"]
    model, images = network.model("torch", ()), network.images(1)
    found = attribute(model, torch.tensor(images), method="grad_cam", target="all", differentiable=True, relu=False)
    assert_close(found.detach().numpy(), by_hand(network, *DEFAULTS["class_token"], images))
    (slope,) = torch.autograd.grad((found**2).sum(), model.weight_patches)
    step = torch.zeros_like(slope)
    step[1, 0, 1, 2] = 1e-6
    energies = []
    for sign in (1, -1):
        with torch.no_grad():
            model.weight_patches += sign * step
        energies.append((grad_cam_of(model, images) ** 2).sum())
        with torch.no_grad():
            model.weight_patches -= sign * step
    assert slope[1, 0, 1, 2].item() == pytest.approx((energies[0] - energies[1]) / 2e-6, rel=1e-6)


def test_the_result_is_verified_by_difference_quotients(backend):
    network = NETWORKS["class_token"]
    found = grad_cam(backend, network, network.images(1), verify=True)
    assert {"difference_quotients", "recomputed"} <= {check.key for check in found.checks if check.passed}


# ---- cells that do not divide the image evenly


def test_a_merged_grid_with_a_padded_border_is_placed_where_it_lies(backend):
    """5 x 7 patches make 3 x 4 cells, of which the last row and column are half as wide."""
    network = NETWORKS["merged_only"]
    images = network.images(1)
    found = grad_cam(backend, network, images)
    assert found.attribution.shape == (1, CLASSES, 3, 4)
    centres = np.array([0.2, 0.6, 0.9]), np.array([1, 3, 5, 6.5]) / 7
    pixels = (np.arange(10) + 0.5) / 10, (np.arange(21) + 0.5) / 21
    for k in range(CLASSES):
        cells = found.attribution[0, k]
        rows_first = np.stack([np.interp(pixels[0], centres[0], cells[:, j]) for j in range(4)], 1)
        expected = np.stack([np.interp(pixels[1], centres[1], row) for row in rows_first])
        assert_allclose(found.maps[0, k], expected, rtol=0, atol=1e-6 * np.ptp(expected))


def test_an_image_padded_on_one_side_keeps_its_map_in_place(backend):
    """Ten rows are padded to twelve: the last cells lie half outside."""

    def forward(f, w, mark, x):
        return token_networks.plain_tokens(f, w, mark, f.functional.pad(x, [0, 0, 0, 2]))

    network = Network(forward, (2, 10, 18), token_networks.weights((4, 3)))
    images = network.images(1)
    found = grad_cam(backend, network, images)
    cells = by_hand(network, "last", partial(rows, 0, (3, 6)), images)
    assert_close(found.attribution, cells)
    pixels = np.arange(10) + 0.5
    expected = np.stack([np.interp(pixels, [2, 6, 10], cells[0, 0, :, column]) for column in range(6)], 1)
    assert_allclose(found.maps[0, 0, :, 1::3], expected, rtol=0, atol=1e-6 * np.ptp(expected))


def test_a_method_that_knows_nothing_of_tokens_gets_them_as_features(backend):
    network = NETWORKS["class_token"]
    images = network.images(1)
    with place_sum.registered() as method:
        found = explain(network.model(backend.name, ()), images, method=method, target="all")
    tensor, _ = at_layer(network, "norm2", images)
    assert_close(found.attribution[:, 0], (rows(3, FLAT, tensor) ** 3).sum(1))


def test_a_method_that_cannot_place_uneven_cells_refuses_them(backend):
    network = NETWORKS["merged_only"]
    message = "do not divide the image evenly, and this method cannot place them"
    with place_sum.registered() as method, pytest.raises(LayerError, match=message):
        explain(network.model(backend.name, ()), network.images(1), method=method, target="all")


# ---- refused


@pytest.mark.parametrize("name", ["mixed_tokens", "summed_up"])
def test_tokens_that_cannot_be_followed_are_refused(name, backend):
    network = NETWORKS[name]
    with pytest.raises(LayerError, match="no tensor with the image's space axes was found"):
        grad_cam(backend, network, network.images(1))
    with pytest.raises(LayerError, match="no other grid of places over the image could be found in it"):
        grad_cam(backend, network, network.images(1), layer="last", marks=("last",))


@pytest.mark.parametrize("layer", ["block2", "last"])
def test_a_layer_behind_which_only_the_class_token_goes_on_is_refused(layer, backend):
    network = NETWORKS["class_token"]
    with pytest.raises(LayerError, match="only a class token goes on to the output; choose a layer before the last"):
        grad_cam(backend, network, network.images(1), layer=layer, marks=(layer, "norm2"))


def test_tokens_of_a_part_of_the_image_are_refused(backend):
    def half(f, w, mark, x):
        return f.linear(mark("part", f.tanh(token_networks.tokens_of(f, w, x)[:, :12])).mean(1), w["head"])

    network = Network(half, (2, 8, 18), NETWORKS["plain_tokens"].weights)
    with pytest.raises(LayerError, match="no other grid of places"):
        grad_cam(backend, network, network.images(1), layer="part", marks=("part",))


def test_two_branches_of_tokens_side_by_side_are_refused(backend):
    def forward(f, w, mark, x):
        tokens = token_networks.tokens_of(f, w, x)
        both = f.tanh(tokens).mean(1) + f.norm(f.linear(tokens, w["out"])).mean(1)
        return f.linear(both, w["head"])

    network = Network(forward, (2, 8, 18), NETWORKS["plain_tokens"].weights)
    with pytest.raises(LayerError, match="several tensors with space axes feed the output side by side"):
        grad_cam(backend, network, network.images(1))
