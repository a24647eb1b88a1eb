"""Hooks that the caller has registered in PyTorch: those of the forward pass act, those of the backward pass do not."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn.modules import module as modules  # noqa: E402

from contexts.judging import assert_right, assert_right_or_refused, each  # noqa: E402
from contexts.reference_network import BACKWARD  # noqa: E402
from contexts.torch_reference import Network, after_body, native  # noqa: E402


def hooked(register):
    model = Network()
    register(model)
    return model


def double(_module, inputs):
    return (inputs[0] * 2,)


@pytest.mark.parametrize(
    "register",
    [
        lambda model: model.register_forward_pre_hook(double),
        lambda model: model.conv1.register_forward_pre_hook(double),
        lambda model: model.conv1.register_forward_pre_hook(
            lambda m, args, kwargs: (double(m, args), kwargs), with_kwargs=True
        ),
    ],
    ids=["model", "layer", "with keywords"],
)
def test_a_hook_that_changes_an_input_acts(method, register):
    assert_right(hooked(register), method, native(), scale=2.0)


def test_a_hook_that_changes_an_output_acts(method):
    def quarter(_module, _inputs, output):
        return output * 0.25

    def fourfold(_module, inputs):
        return (inputs[0] * 4,)

    def register(model):
        model.conv1.register_forward_hook(quarter)
        model.norm.register_forward_pre_hook(fourfold)

    if method == "lrp":  # a product by a constant stands between convolution and batch norm, which are merged elsewhere
        model = hooked(
            lambda model: model.conv2.register_forward_hook(lambda m, i, o: (o * 0.25) * 4, always_call=True)
        )
    else:
        model = hooked(register)
    assert_right(model, method, native())


@pytest.mark.parametrize(
    "register",
    [
        lambda model, hook: model.conv2.register_full_backward_hook(hook),
        lambda model, hook: model.register_full_backward_hook(hook),
        lambda model, hook: model.conv2.register_full_backward_pre_hook(hook),
        lambda model, hook: modules.register_module_full_backward_hook(hook),
    ],
    ids=["layer", "model", "before", "global"],
)
def test_hooks_of_the_backward_pass_neither_act_nor_fire_and_are_there_afterwards(method, register):
    fired = []

    def zero(*arguments):
        fired.append(1)
        return tuple(torch.zeros_like(each) for each in arguments[1])

    model = Network()
    handle = register(model, zero)
    try:
        assert_right(model, method, native())
        assert not fired
        model(native().requires_grad_()).sum().backward()
        assert fired
    finally:
        handle.remove()


def test_a_tensor_hook_that_only_looks_fires(method):
    seen = []
    model = after_body(lambda a: (a.register_hook(seen.append), a.retain_grad(), a)[-1])
    assert_right(model, method, native())
    assert bool(seen) is (method in BACKWARD)


def in_place(gradient):
    gradient.mul_(3)


@pytest.mark.parametrize("hook", [lambda gradient: gradient * 3, in_place], ids=["returned", "in place"])
def test_a_tensor_hook_that_changes_the_gradient_is_refused(method, hook):
    model = after_body(lambda a: (a.register_hook(hook), a)[-1])
    saying = r"attaches a hook to a tensor that changes its gradient, .* remove the hook"
    assert_right_or_refused(model, method, native(), each(BACKWARD, saying))


def test_a_tensor_hook_that_gives_back_what_it_got_is_no_harm(method):
    assert_right(after_body(lambda a: (a.register_hook(lambda gradient: gradient.clone()), a)[-1]), method, native())


def test_a_model_that_reads_the_graph_of_derivatives_is_refused(method):
    def change(features):
        if features.grad_fn is not None:
            features.grad_fn.register_prehook(lambda gradients: (gradients[0] * 3,))
        return features

    assert_right_or_refused(after_body(change), method, native(), each(BACKWARD, "reads grad_fn of a tensor"))
