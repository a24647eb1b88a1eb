"""The kit accepts our backends and methods, and goes red for a broken one."""

import numpy as np
import pytest
from quick import METHODS as METHODS_OF_CONVOLUTIONS
from quick import quick
from token_networks import NETWORKS as TOKEN_NETWORKS

from xai_med.backend.start import Nowhere
from xai_med.errors import ConformanceError, RegistrationError, SettingError
from xai_med.registry import METHODS, register_method, unregister
from xai_med.request import Attribution, Request
from xai_med.testing import NETWORKS, check_backend, check_method, check_tensors


def test_backend_conforms(backend):
    found = check_backend(backend)
    assert found.tensor_cases > 60
    assert {network for network, _, _ in found.deviations} == set(NETWORKS)
    assert max(deviation for _, _, deviation in found.deviations) < 1e-7


NEED_ATTENTION = ("attention_gradient", "attention_rollout")
TRANSFORMERS = {
    f"tokens of {name}": lambda backend, network=TOKEN_NETWORKS[name]: (
        network.model(backend.name, ()),
        network.images(2),
    )
    for name in ("class_token", "mean_pooled", "volume", "signal", "shifted_windows")
}


@pytest.mark.parametrize("name", NEED_ATTENTION)
def test_method_of_attention_conforms_on_transformers(name):
    found = check_method(name, models=TRANSFORMERS)
    assert {place.split(": ")[1] for place in found.worked} == set(TRANSFORMERS) - {"tokens of shifted_windows"}
    assert {place.split(": ")[1] for place in found.refused} == {*NETWORKS, "tokens of shifted_windows"}
    assert found.between_frameworks < 1e-7


def test_a_method_that_works_on_no_network_is_found():
    with pytest.raises(ConformanceError, match="refuses every network of the kit; give one that it works on"):
        check_method("attention_rollout")


def test_a_further_network_by_the_name_of_one_of_the_kit_is_refused():
    with pytest.raises(SettingError, match="the kit has networks of the names signal already"):
        check_method("attention_rollout", models={"signal": TRANSFORMERS["tokens of signal"]})


@pytest.mark.parametrize("name", METHODS_OF_CONVOLUTIONS)
def test_method_conforms_in_every_installed_framework(name):
    found = check_method(name, settings=lambda blueprint: quick(name, blueprint))
    assert any("densenet_like" in place for place in found.worked)
    assert found.between_frameworks < 1e-7


class _Wrong:
    """A backend's tensors with one operation replaced."""

    def __init__(self, tensors, **replaced):
        self._tensors = tensors
        self._replaced = replaced

    def __getattr__(self, name):
        return self._replaced.get(name) or getattr(self._tensors, name)


@pytest.mark.parametrize(
    ("operation", "replacement"),
    [
        ("relu", lambda t: t),
        ("amax", lambda t, axes, *, keep=False: t.mean(axes, keepdim=keep)),
        ("argmax", lambda t, axis: t.shape[axis] - 1 - t.flip(axis).argmax(axis)),
        ("sum", lambda t, axes, *, keep=False: t.mean(axes, keepdim=keep) if axes else t),
        ("transpose", lambda t, order: t.permute(tuple(reversed(order)))),
        ("from_numpy", lambda array, like: like.new_tensor(array)),
    ],
)
def test_a_wrong_tensor_operation_is_found_by_name(operation, replacement):
    torch_backend = pytest.importorskip("xai_med_torch").TorchBackend()

    class Broken:
        name = "broken"
        tensors = _Wrong(torch_backend.tensors, **{operation: replacement})
        tensor = staticmethod(torch_backend.tensor)

    with pytest.raises(ConformanceError, match=operation):
        check_tensors(Broken())


def test_a_method_that_mixes_images_is_found():
    @register_method("mixes_images", source="nobody")
    def mixes_images(request: Request) -> Attribution:
        """Subtract the mean over the batch from each map."""
        from xai_med.registry import get_method

        found = get_method("cam")(request, {})
        tensors = request.network.tensors
        maps = found.maps - tensors.mean(found.maps, (0,), keep=True)
        return Attribution(maps, maps, found.explained)

    try:
        with pytest.raises(ConformanceError, match="one image at a time"):
            check_method("mixes_images")
    finally:
        unregister(METHODS, "mixes_images")


def test_a_method_without_source_is_found():
    @register_method("sourceless", source="")
    def sourceless(request: Request) -> Attribution:
        """Do nothing of the kind."""
        raise NotImplementedError

    try:
        with pytest.raises(ConformanceError, match="names no source"):
            check_method("sourceless")
    finally:
        unregister(METHODS, "sourceless")


def test_relative_difference_of_other_shapes_is_infinite():
    from xai_med.testing.check_backend import relative

    assert relative(np.zeros((2, 3)), np.zeros((3, 2))) == float("inf")


# ---- claims


def _claiming(*properties, function=None):
    """A method that gives the image itself for every class, or what `function` makes of it."""

    def plain(request: Request) -> Attribution:
        """Return the image."""
        with request.network.trace(request.batch, start=Nowhere()) as trace:
            explained = request.explained(trace)
        values = trace.tensors.stack([request.batch] * explained.count, 1)
        maps = trace.tensors.sum(values, (2,))
        return Attribution(values, maps, explained) if function is None else function(values, maps, explained)

    return register_method("claims", source="a test", properties=properties)(plain)


@pytest.mark.parametrize("claim", ["complete", "linear_in_target", "non_negative"])
def test_a_claim_that_does_not_hold_is_found(claim):
    _claiming(claim)
    try:
        with pytest.raises(ConformanceError, match=f"claims claims to be {claim}, and on vgg_like in .* it is not"):
            check_method("claims")
    finally:
        unregister(METHODS, "claims")


def test_claims_that_hold_are_accepted():
    _claiming("class_independent", "mirror_equivariant")
    try:
        assert check_method("claims").worked
    finally:
        unregister(METHODS, "claims")


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("class_independent", lambda v, m, e: Attribution(v * _ramp(v, 1), m, e)),
        ("mirror_equivariant", lambda v, m, e: Attribution(v * _ramp(v, 4), m, e)),
    ],
)
def test_other_claims_that_do_not_hold_are_found(claim, change):
    pytest.importorskip("torch")
    from xai_med.registry import get_backend

    _claiming(claim, function=change)
    try:
        with pytest.raises(ConformanceError, match=f"claims claims to be {claim}"):
            check_method("claims", backends=[get_backend("torch")])
    finally:
        unregister(METHODS, "claims")


def test_what_cannot_be_claimed_is_refused():
    with pytest.raises(RegistrationError, match="a method cannot claim 'true'; properties are complete, linear_in"):
        register_method("claims", source="a test", properties=["true"])


def _ramp(values, axis):
    """1, 2, 3, ... along an axis of (N, K, C, *space); other networks of the kit have fewer axes."""
    axis = min(axis, values.ndim - 1)
    shape = [1] * values.ndim
    shape[axis] = values.shape[axis]
    return values.new_tensor(np.arange(1.0, values.shape[axis] + 1).reshape(shape))
