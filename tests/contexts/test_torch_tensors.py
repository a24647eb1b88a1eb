"""Images and weights in PyTorch that are more, or less, than plain tensors."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from contexts.judging import assert_right, assert_right_or_refused  # noqa: E402
from contexts.reference_network import TARGET  # noqa: E402
from contexts.torch_reference import Network, after_body, native, with_body, with_head  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import DtypeError, ModelError, OutputError, XaiMedError  # noqa: E402


class Tagged(torch.Tensor):
    """A subclass, as libraries for medical images have."""


def faked(tensor):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return mode.from_tensor(tensor)


@pytest.mark.parametrize(
    "make",
    [
        nn.Parameter,
        lambda x: x.as_subclass(Tagged),
        lambda x: x.requires_grad_(),
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: x.to_sparse(),
    ],
    ids="parameter subclass gradient channels_last strided sparse".split(),
)
def test_every_kind_of_tensor_that_holds_the_images_gives_their_map(method, make):
    x = make(native())
    assert_right(Network(), method, x)
    assert type(x) is type(make(native()))


def test_sparse_images_in_another_dtype(method):
    assert_right(Network().float(), method, native(dtype=torch.float32).to_sparse(), share=1e-6, dtype="float64")


def test_metadata_of_images_does_not_matter(method):
    data = pytest.importorskip("monai.data", reason="MONAI is not installed")
    x = data.MetaTensor(native(), affine=torch.eye(4))
    assert_right(Network(), method, x)
    assert torch.equal(x.affine, torch.eye(4, dtype=x.affine.dtype))


def test_weights_of_a_subclass(method):
    model = Network()
    model.conv2.weight = nn.Parameter(model.conv2.weight.detach().as_subclass(Tagged))
    assert_right(model, method, native())


@pytest.mark.parametrize("make", [faked, lambda x: x.to("meta")], ids=["fake", "meta"])
def test_images_without_values_are_refused(method, make):
    with pytest.raises(DtypeError, match="hold no values"):
        explain(Network(), make(native()), method=method)
    with pytest.raises(DtypeError, match="hold no values"):
        explain(Network(), make(native()), method=method, dtype="float32")


def test_weights_without_values_are_refused(method):
    model = Network()
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(faked(weight.detach())))
    with pytest.raises(ModelError, match=r"conv1\.weight is a FakeTensor and holds no values"):
        explain(model, native(), method=method)
    with pytest.raises(ModelError, match=r"conv1\.weight is on the meta device and holds no values"):
        explain(Network().to("meta"), native(), method=method)


# ---- complex numbers on the way


def through_fourier_space(x):
    return torch.fft.ifft2(torch.fft.fft2(x)).real


def test_images_that_go_through_fourier_space_are_right_or_refused(method):
    model = with_body(lambda s, x: Network.body(s, through_fourier_space(x)))
    refused = {
        "cam": "class activation maps exist",
        "grad_cam": "no tensor with the image's space axes",
        "lrp": "have none for unknown: fft_fft2",
    }
    assert_right_or_refused(model, method, native(), refused)


@pytest.mark.parametrize(
    "change",
    [lambda a: (a * torch.ones(1, dtype=torch.complex128)).real, lambda a: torch.complex(a, a).imag],
    ids=["complex weight", "complex features"],
)
def test_features_that_are_complex_for_a_while_are_right_or_refused(method, change):
    refused = {"cam": "class activation maps exist", "lrp": "have none for unknown"}
    refused["grad_cam"] = "features are complex numbers|no tensor with the image's space axes"
    assert_right_or_refused(after_body(change), method, native(), refused)


def test_complex_outputs_are_refused(method):
    model = with_head(lambda s, features: Network.head(s, features).to(torch.complex128))
    with pytest.raises(OutputError, match="returns complex numbers, which have no order; return their real part"):
        explain(model, native(), method=method, target=TARGET)


def test_labels_instead_of_scores_are_refused(method):
    model = with_head(lambda s, features: Network.head(s, features).argmax(1, keepdim=True))
    with pytest.raises(XaiMedError, match=r"cut by detach|class activation maps|have none for"):
        explain(model, native(), method=method, target=0)
