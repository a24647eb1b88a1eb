"""Attention rollout and gradient-weighted attention: against a slow transformer in NumPy, and all that is refused."""

from dataclasses import replace

import attention_oracle as oracle
import numpy as np
import pytest
from attention_networks import ATTENTIONS, CHANGES, FORMS, SMALL
from numpy.testing import assert_allclose
from token_networks import NETWORKS

from xai_med import Contrast, attribute, explain
from xai_med.attention_maps import Attended
from xai_med.backend.tracing.trace import RecordedTrace
from xai_med.errors import IdentityError, NotApplicableError, SettingError
from xai_med.testing import NETWORKS as CONVOLUTIONAL
from xai_med.testing import example_input

METHODS = ("attention_rollout", "attention_gradient")
CLASS, REGISTERS = ("class",), ("class", "registers")
# tokens before and after those of the image, blocks, tokens that are read, tokens in the image, grid
KNOWN = {
    "class_token": (REGISTERS, (), 2, [0], range(3, 27), (4, 6)),
    "class_token_last": ((), CLASS, 1, [24], range(24), (4, 6)),
    "mean_pooled": (CLASS, (), 1, range(1, 25), range(1, 25), (4, 6)),
    "volume": (CLASS, (), 1, range(1, 19), range(1, 19), (2, 3, 3)),
    "signal": (REGISTERS, (), 2, [0], range(3, 8), (5,)),
}
SMALL_CLASS_TOKEN = (REGISTERS, (), 2, [0], range(3, 11), (2, 4))
SMALL_CAUSAL = (REGISTERS, (), 2, [10], range(3, 11), (2, 4))


def slow(network, known, **options):
    before, after, layers, read, *_ = known
    return oracle.Slow(network, before, after, layers, read, **options)


def rolled(network, known, image, *, is_causal=False, **options):
    """Map (*grid) of one image by plain loops."""
    *_, read, inside, grid = known
    _, weights = slow(network, known, is_causal=is_causal).run(image)
    return oracle.rollout(weights, read, **options)[list(inside)].reshape(grid)


def weighed(network, known, image, target, *, is_causal=False):
    """Map (*grid) of one image and class, with one central difference for each weight of attention."""
    *_, read, inside, grid = known
    model = slow(network, known, is_causal=is_causal)
    found = oracle.gradient_weighted(model.run(image)[1], model.slopes(image, target), read)
    return found[list(inside)].reshape(grid)


def asked(network, backend, method, *, count=2, **settings):
    settings.setdefault("target", "all")
    return explain(network.model(backend.name, ()), network.images(count), method=method, **settings)


def close(found, expected, tolerance):
    assert found.shape == np.shape(expected)
    assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# ---- against the slow transformer


@pytest.mark.parametrize("name", KNOWN)
def test_rollout_is_that_of_the_slow_transformer(name, backend):
    network = NETWORKS[name]
    found = asked(network, backend, "attention_rollout")
    for image, maps in zip(network.images(2), found.attribution, strict=True):
        expected = rolled(network, KNOWN[name], image)
        close(maps, np.stack([expected] * 3), 1e-12)


SETTINGS = [
    ({"head_fusion": "max"}, {"fusion": np.max}),
    ({"head_fusion": "min"}, {"fusion": np.min}),
    ({"discard_ratio": 0.6}, {"discard": 0.6}),
    ({"residual": 0.2}, {"residual": 0.2}),
    ({"residual": 0, "head_fusion": "max"}, {"residual": 0, "fusion": np.max}),
]


@pytest.mark.parametrize(("settings", "options"), SETTINGS)
def test_each_setting_of_rollout_is_that_of_the_slow_transformer(settings, options, backend):
    network = SMALL["class_token"]
    found = asked(network, backend, "attention_rollout", **settings)
    for image, maps in zip(network.images(2), found.attribution, strict=True):
        close(maps[0], rolled(network, SMALL_CLASS_TOKEN, image, **options), 1e-12)


def test_rows_that_are_chosen_are_taken(backend):
    network = SMALL["class_token"]
    found = asked(network, backend, "attention_rollout", rows=(1, 4))
    known = (*SMALL_CLASS_TOKEN[:3], [1, 4], *SMALL_CLASS_TOKEN[4:])
    for image, maps in zip(network.images(2), found.attribution, strict=True):
        close(maps[0], rolled(network, known, image), 1e-12)
    assert "mean of the rows of tokens 1, 4" in found.check("tokens_read").note


@pytest.mark.parametrize(("name", "known"), [("class_token", SMALL_CLASS_TOKEN), ("causal_last", SMALL_CAUSAL)])
def test_gradient_weighted_attention_is_that_of_the_slow_transformer(name, known, backend):
    network = SMALL[name]
    found = asked(network, backend, "attention_gradient")
    for image, maps in zip(network.images(2), found.attribution, strict=True):
        expected = [weighed(network, known, image, k, is_causal=name == "causal_last") for k in range(3)]
        close(maps, np.stack(expected), 1e-7)


@pytest.mark.parametrize("name", ["signal", "volume"])
def test_gradient_weighted_attention_lies_where_it_belongs_in_signals_and_volumes(name, backend):
    network = NETWORKS[name]
    found = asked(network, backend, "attention_gradient", count=1, target=2)
    close(found.attribution[0, 0], weighed(network, KNOWN[name], network.images(1)[0], 2), 1e-7)


def test_rollout_under_a_causal_mask_is_that_of_the_slow_transformer(backend):
    network = SMALL["causal_last"]
    found = asked(network, backend, "attention_rollout")
    for image, maps in zip(network.images(2), found.attribution, strict=True):
        close(maps[0], rolled(network, SMALL_CAUSAL, image, is_causal=True), 1e-12)


def test_a_first_token_that_sees_itself_alone_has_an_empty_map_and_says_so(backend):
    found = asked(SMALL["causal"], backend, "attention_rollout")
    assert found.attribution.max() < 1e-20  # Paddle's softmax gives what is masked exp(-64) rather than zero
    assert found.check("outside_share").value == pytest.approx(1)


def test_a_contrast_weighs_attention_by_the_derivative_of_the_difference(backend):
    network = SMALL["class_token"]
    image = network.images(1)[0]
    model = slow(network, SMALL_CLASS_TOKEN)
    slopes = model.slopes(image, 2) - model.slopes(image, 0)
    expected = oracle.gradient_weighted(model.run(image)[1], slopes, [0])[3:].reshape(2, 4)
    found = asked(network, backend, "attention_gradient", count=1, target=Contrast(2, 0))
    close(found.attribution[0, 0], expected, 1e-7)


def test_one_layer_and_one_token_read_give_attention_times_gradient(backend):
    network = NETWORKS["class_token_last"]
    image = network.images(1)[0]
    model = slow(network, KNOWN["class_token_last"])
    weights, slopes = model.run(image)[1][0], model.slopes(image, 1)[0]
    found = asked(network, backend, "attention_gradient", count=1, target=1)
    expected = np.maximum(weights * slopes, 0).mean(0)[24, :24].reshape(4, 6)
    close(found.attribution[0, 0], expected, 1e-7)


# ---- each way of writing the same, and both frameworks


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_attention_is_found_however_it_is_written(form, method, backend):
    expected = asked(SMALL["class_token"], backend, method)
    found = asked(SMALL[f"form {form.__name__}"], backend, method)
    close(found.attribution, expected.attribution, 1e-10)


@pytest.mark.parametrize("name", ["columns_first", "reversed_tokens", "rolled_tokens", "rearranged_patches"])
@pytest.mark.parametrize("method", METHODS)
def test_frameworks_agree(name, method):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    network = NETWORKS[name]
    first, second = (
        explain(network.model(framework, ()), network.images(2), method=method, target="all").attribution
        for framework in ("torch", "paddle")
    )
    close(first, second, 1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_an_order_of_tokens_changes_no_map(method, backend):
    plain = replace(NETWORKS["columns_first"], forward=NETWORKS["reversed_tokens"].forward)
    expected = asked(NETWORKS["columns_first"], backend, method)
    close(asked(plain, backend, method).attribution, expected.attribution, 1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_images_alone_and_in_a_batch_have_the_same_maps(method, backend):
    network = SMALL["class_token"]
    model, images = network.model(backend.name, ()), network.images(3)
    together = explain(model, images, method=method, target="all").attribution
    alone = [explain(model, images[n : n + 1], method=method, target="all").attribution for n in range(3)]
    close(together, np.concatenate(alone), 1e-12)


# ---- what a result says of itself


def test_rollout_is_the_same_for_every_target_and_says_so(backend):
    found = asked(SMALL["class_token"], backend, "attention_rollout")
    assert (found.attribution == found.attribution[:, :1]).all()
    assert "the same for every class and says nothing of any" in found.check("class_independent").note


def test_rows_of_rollout_add_up_to_one_over_all_tokens(backend):
    found = asked(SMALL["class_token"], backend, "attention_rollout", count=1)
    outside = found.check("outside_share").value
    assert found.attribution[0, 0].sum() == pytest.approx(1 - outside, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("class_token", "the map is the row of token 0; 24 of 27 tokens lie in the image"),
        ("mean_pooled", "the map is the mean of the rows of tokens 1 to 24; 24 of 25 tokens lie in the image"),
    ],
)
def test_a_result_says_which_tokens_were_read(name, note, backend):
    found = asked(NETWORKS[name], backend, "attention_gradient", count=1)
    assert found.check("tokens_read").note == note
    assert found.check("row_sums").passed
    assert found.check("attention_layers").value == KNOWN[name][2]


def test_gradient_weighted_attention_is_never_negative(backend):
    assert (asked(NETWORKS["class_token"], backend, "attention_gradient").attribution >= 0).all()


@pytest.mark.parametrize("name", ["class_token", "form folded", "form backwards", "causal_last"])
@pytest.mark.parametrize("method", METHODS)
def test_verification_measures_and_passes(name, method, backend):
    found = asked(SMALL[name], backend, method, count=1, verify=True)
    keys = {"recomputed"} | (
        {"difference_quotients", "steepest_direction"} if method == "attention_gradient" else set()
    )
    for key in keys:
        assert found.check(key).passed, key


def test_verification_in_single_precision_passes(backend):
    network = SMALL["class_token"]
    single = replace(network, weights={name: array.astype(np.float32) for name, array in network.weights.items()})
    model = single.model(backend.name, ()) if backend.name == "torch" else network.model("paddle", ()).float()
    for method in METHODS:
        found = explain(model, network.images(1).astype(np.float32), method=method, target=1, verify=True)
        assert found.dtype == "float32"
        assert found.check("recomputed").passed


@pytest.mark.parametrize("method", METHODS)
def test_verification_refuses_another_map(method, backend, monkeypatch):
    whole = Attended.read.fget
    calls = []

    def first_time_wrong(attended):
        calls.append(attended)
        read = whole(attended)
        return np.roll(read, 1, axis=1) if len(calls) == 1 else read

    monkeypatch.setattr(Attended, "read", property(first_time_wrong))
    with pytest.raises(IdentityError, match="not what it claims to be"):
        asked(SMALL["class_token"], backend, method, count=1, verify=True)


def test_verification_refuses_wrong_derivatives(backend, monkeypatch):
    real = RecordedTrace.pullback_to_each

    def doubled_in_the_last(self, *args):
        for *first, last in real(self, *args):
            yield (*first, last * 2)

    monkeypatch.setattr(RecordedTrace, "pullback_to_each", doubled_in_the_last)
    with pytest.raises(IdentityError, match="gradient at the attention weights"):
        asked(SMALL["class_token"], backend, "attention_gradient", count=1, verify=True)


# ---- what is refused

REFUSED = {
    **{f"between {change.__name__}": "are not the tokens of the layer before" for change in CHANGES},
    "between merged_pairs": "among 7 of 11 tokens",
    **{f"attention {attention.__name__}": "no attention by weights that a softmax made" for attention in ATTENTIONS},
    "attention over_queries": "do not add up to one",
    "attention among_channels": "among 3 of 11 tokens",
    "attention other_tokens": "are not the tokens of the layer before",
    "side_by_side": "stand side by side",
    "without_residual": "no residual connection round it alone",
    "long_skip": "no residual connection round it alone",
    "detached": "are detached from the score",
    "cross": "8 queries and 11 keys",
    "read two_class_tokens": "the row of token 1 .* the row of token 0",
    "read class_and_mean": "the mean of the rows of tokens 3 to 10 .* the row of token 0",
    "read summed": r"by sum in .*neither chooses one nor takes their mean",
    "read largest": r"by (amax|max) in .*neither chooses one nor takes their mean",
    "read flattened": r"by linear in .*neither chooses one nor takes their mean",
    "read earlier": "reads from tokens before the last attention",
    "read only_earlier": "reads from tokens before the last attention",
    "read second_branch": "by a way round the attention layers",
    "read pooled_by_attention": "1 queries and 11 keys",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_the_methods_are_not_defined_for_is_refused_by_name(name, method, backend):
    with pytest.raises(NotApplicableError, match=REFUSED[name]):
        asked(SMALL[name], backend, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shifted_windows", "among 4 of 64 tokens, as within windows"),
        ("class_attention", "1 queries and 25 keys"),
        ("mixed_tokens", "no attention by weights that a softmax made"),
    ],
)
def test_windows_and_late_class_tokens_are_refused(name, message, method, backend):
    with pytest.raises(NotApplicableError, match=message):
        asked(NETWORKS[name], backend, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_convolutional_network_is_refused_and_grad_cam_named(method, backend):
    blueprint = CONVOLUTIONAL["vgg_like"]()
    with pytest.raises(NotApplicableError, match=r"the model has no attention .* use method='grad_cam'"):
        explain(backend.build(blueprint), example_input(blueprint, 1), method=method)


@pytest.mark.parametrize("name", ["read two_class_tokens", "read class_and_mean", "read summed"])
def test_what_is_read_in_another_way_is_explained_by_rows_of_choice(name, backend):
    chosen = asked(SMALL[name], backend, "attention_rollout", rows=[0])
    expected = asked(SMALL["class_token"], backend, "attention_rollout")
    close(chosen.attribution, expected.attribution, 1e-12)


@pytest.mark.parametrize("name", ["read earlier", "read second_branch"])
def test_rows_of_choice_do_not_lift_what_makes_the_map_wrong(name, backend):
    with pytest.raises(NotApplicableError):
        asked(SMALL[name], backend, "attention_rollout", rows=[0])


def test_without_residual_connections_rollout_multiplies_attention_alone(backend):
    network = SMALL["without_residual"]
    _, weights = oracle.Slow(network, REGISTERS, (), 1, [0]).run(network.images(1)[0])
    found = asked(network, backend, "attention_rollout", count=1, residual=0)
    close(found.attribution[0, 0], weights[0].mean(0)[0, 3:].reshape(2, 4), 1e-12)


WRONG = [
    ({"head_fusion": "median"}, "head_fusion='median' is unknown; choose one of mean, max, min"),
    ({"discard_ratio": 1.0}, "discard_ratio is a number of at least 0 and below 1"),
    ({"residual": -0.1}, "residual is a number of at least 0 and below 1"),
    ({"residual": True}, "residual is a number"),
    ({"rows": [11]}, "rows holds the numbers .* 0 to 10"),
    ({"rows": []}, "rows holds the numbers"),
    ({"rows": [1, 1]}, "rows holds the numbers"),
    ({"rows": 0}, "rows holds the numbers"),
    ({"layer": "block1"}, "goes through all attention layers and has no layer"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_wrong_settings_are_refused(settings, message, backend):
    with pytest.raises(SettingError, match=message):
        asked(SMALL["class_token"], backend, "attention_rollout", **settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_differentiable_map_is_refused(method, backend):
    network = SMALL["class_token"]
    with pytest.raises(NotApplicableError, match="is not differentiable"):
        attribute(network.model(backend.name, ()), network.images(1), method=method, differentiable=True)
