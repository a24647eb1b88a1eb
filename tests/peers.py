"""What other libraries say about a PyTorch model, in the shape of our attributions: (N, K, ...)."""

import copy
import importlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import pytest
from zoo.stubs import define_torchvision_operators

NO_RULES: Mapping[str, Any] = {}
Classes: TypeAlias = int | Sequence[int]
"""How many classes, from 0, or which."""


def captum_rule(name: str, *settings: float) -> Any:
    """A rule of captum's LRP."""
    return getattr(importlib.import_module("captum.attr._utils.lrp_rules"), name)(*settings)


def zennit() -> Any:
    """Import zennit, which imports torchvision."""
    define_torchvision_operators()
    return importlib.import_module("zennit")


def grad_cam_library() -> Any:
    """Import pytorch-grad-cam, which imports torchvision; skips where it is not installed."""
    define_torchvision_operators()
    return pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")


def grad_cam_relative(name: str, model: Any, layer: str, images: np.ndarray, chosen: int) -> np.ndarray:
    """Positive part of a map of pytorch-grad-cam before it is scaled and enlarged, (N, *layer space)."""
    return np.maximum(grad_cam_relative_signed(name, model, layer, images, chosen), 0)


def grad_cam_relative_signed(name: str, model: Any, layer: str, images: np.ndarray, chosen: int) -> np.ndarray:
    """A map of pytorch-grad-cam before it is scaled and enlarged, (N, *layer space)."""
    import torch

    with getattr(grad_cam_library(), name)(model=model, target_layers=[model.get_submodule(layer)]) as theirs:
        seen = theirs.activations_and_grads
        outputs = seen(torch.tensor(images))
        theirs.model.zero_grad()
        outputs[:, chosen].sum().backward()
        activations, gradients = (each[0].cpu().data.numpy() for each in (seen.activations, seen.gradients))
        targets = [lambda output: output[chosen]] * len(images)
        found = theirs.get_cam_image(images, theirs.target_layers[0], targets, activations, gradients, False)
    return np.asarray(found)


def grad_cam_scaled(name: str, model: Any, layer: str, images: np.ndarray, classes: Classes) -> np.ndarray:
    """What pytorch-grad-cam returns, (N, K, *space)."""
    import torch

    library = grad_cam_library()
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    own = copy.deepcopy(model)
    with getattr(library, name)(model=own, target_layers=[own.get_submodule(layer)]) as theirs:
        maps = [theirs(torch.tensor(images), [target(k)] * len(images)) for k in _listed(classes)]
    return np.stack(maps, axis=1)


def captum_saliency(model: Any, images: np.ndarray, classes: Classes) -> np.ndarray:
    """Magnitudes of input gradients, (N, K, C, *space)."""
    saliency = importlib.import_module("captum.attr").Saliency(model)
    return _per_class(lambda x, k: saliency.attribute(x, target=k), images, classes)


def captum_at_input(name: str, model: Any, images: np.ndarray, classes: Classes, **settings: Any) -> np.ndarray:
    """One of captum's methods at the input, (N, K, C, *space)."""
    method = getattr(importlib.import_module("captum.attr"), name)(copy.deepcopy(model))
    with _without_hook_warnings():
        return _per_class(lambda x, k: method.attribute(x, target=k, **settings), images, classes)


def captum_guided_grad_cam(
    model: Any, layer: str, images: np.ndarray, classes: Classes, *, interpolation: str = "bilinear"
) -> np.ndarray:
    """Guided Grad-CAM, enlarged bilinearly, (N, K, C, *space)."""
    own = copy.deepcopy(model)
    method = importlib.import_module("captum.attr").GuidedGradCam(own, own.get_submodule(layer))
    with _without_hook_warnings():
        return _per_class(lambda x, k: method.attribute(x, target=k, interpolate_mode=interpolation), images, classes)


def captum_layer_grad_cam(model: Any, layer: str, images: np.ndarray, classes: Classes) -> np.ndarray:
    """Signed Grad-CAM at a layer, (N, K, *layer space)."""
    attribution = importlib.import_module("captum.attr").LayerGradCam(model, model.get_submodule(layer))
    return _per_class(lambda x, k: attribution.attribute(x, target=k)[:, 0], images, classes)


def captum_lrp(model: Any, images: np.ndarray, classes: Classes, rules: Mapping[str, Any] = NO_RULES) -> np.ndarray:
    """Captum's LRP, by default the epsilon rule everywhere, (N, K, C, *space); `rules` by name of a layer."""
    own = copy.deepcopy(model)
    lrp = importlib.import_module("captum.attr").LRP(own)

    def relevance(x: Any, k: int) -> Any:
        for name, rule in rules.items():  # captum forgets them with each attribution
            own.get_submodule(name).rule = rule
        return lrp.attribute(x, target=k)

    with _without_hook_warnings():
        return _per_class(relevance, images, classes)


def torchcam_cam(model: Any, layer: str, head: str, images: np.ndarray, classes: Classes) -> np.ndarray:
    """CAM before any normalisation, (N, K, *layer space)."""
    import torch

    extractor = importlib.import_module("torchcam.methods").CAM(model, layer, head, input_shape=images.shape[1:])
    with extractor:
        with torch.no_grad():
            model(torch.from_numpy(np.array(images)))
        maps = [extractor(k, normalized=False)[0].numpy() for k in _listed(classes)]
    return np.stack(maps, axis=1)


def torchcam_normalised(
    name: str, model: Any, layer: str, images: np.ndarray, classes: Classes, *head: str
) -> np.ndarray:
    """What torch-cam returns, (N, K, *layer space); `head` is the linear layer of its CAM."""
    import torch

    extractor = getattr(importlib.import_module("torchcam.methods"), name)
    with extractor(model, layer, *head, input_shape=images.shape[1:]) as asked:
        maps = []
        for k in _listed(classes):
            scores = model(torch.from_numpy(np.array(images)))
            maps.append(asked(k, scores)[0].detach().numpy())
    return np.stack(maps, axis=1)


def monai_cam(name: str, model: Any, layer: str, images: np.ndarray, classes: Classes, **head: str) -> np.ndarray:
    """What MONAI's CAM or GradCAM returns, (N, K, 1, *space)."""
    import torch

    asked = getattr(importlib.import_module("monai.visualize"), name)(copy.deepcopy(model), layer, **head)
    x = torch.from_numpy(np.array(images))
    several = [[k] * len(images) if name == "CAM" else k for k in _listed(classes)]
    with _without_hook_warnings():
        return np.stack([asked(x, class_idx=k).detach().numpy() for k in several], axis=1)


def monai_gradient(name: str, model: Any, images: np.ndarray, classes: Classes, **settings: Any) -> np.ndarray:
    """What a gradient method of MONAI returns, image by image, (N, K, C, *space)."""
    import torch

    asked = getattr(importlib.import_module("monai.visualize"), name)(copy.deepcopy(model), **settings)
    with _without_hook_warnings():
        found = [
            [asked(torch.from_numpy(np.array(image[None])), index=k)[0].detach().numpy() for k in _listed(classes)]
            for image in images
        ]
    return np.array(found)


def interpretdl(name: str, model: Any, images: np.ndarray, classes: Classes, **settings: Any) -> np.ndarray:
    """What an interpreter of InterpretDL returns for a Paddle model, which it leaves changed, (N, K, ...)."""
    asked = getattr(importlib.import_module("interpretdl"), name)(model, device="cpu")
    label = "label" if name == "GradCAMInterpreter" else "labels"
    if name == "GradCAMInterpreter":  # it reads a gradient that Paddle 3 keeps only where it is told to
        watched = dict(model.named_sublayers())[settings["target_layer_name"]]
        watched.register_forward_post_hook(lambda layer, given, output: output.retain_grads())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it draws every map, constant ones too, and uses what Paddle deprecates
        maps = [
            np.array(asked.interpret(images, **{label: [k] * len(images)}, visual=False, **settings))
            for k in _listed(classes)
        ]
    return np.stack(maps, axis=1)


def zennit_one_hot(
    composite: str | None, model: Any, images: np.ndarray, classes: Classes, **settings: Any
) -> np.ndarray:
    """What zennit's Gradient attributor returns from a one-hot output, (N, K, C, *space)."""
    import torch

    zennit()
    composites = importlib.import_module("zennit.composites")
    attribution = importlib.import_module("zennit.attribution")
    own = copy.deepcopy(model)
    rules = None if composite is None else getattr(composites, composite)(**settings)

    def relevance(x: Any, k: int) -> Any:
        with attribution.Gradient(model=own, composite=rules) as attributor:
            return attributor(x, lambda output: (torch.arange(output.shape[1]) == k).to(output).expand_as(output))[1]

    with _without_hook_warnings():
        return _per_class(relevance, images, classes)


def zennit_epsilon_plus(
    model: Any, images: np.ndarray, classes: Classes, canonizers: tuple[Any, ...] = ()
) -> np.ndarray:
    """Zennit's EpsilonPlus from the logit, (N, K, C, *space)."""
    return zennit_composite("EpsilonPlus", model, images, classes, canonizers=list(canonizers))


def zennit_composite(name: str, model: Any, images: np.ndarray, classes: Classes, **settings: Any) -> np.ndarray:
    """A composite of zennit from the logit, (N, K, C, *space)."""
    import torch

    zennit()
    composites = importlib.import_module("zennit.composites")
    attribution = importlib.import_module("zennit.attribution")
    own = copy.deepcopy(model)
    composite = getattr(composites, name)(**settings)

    def relevance(x: Any, k: int) -> Any:
        with attribution.Gradient(model=own, composite=composite) as attributor:
            return attributor(x, lambda output: output * (torch.arange(output.shape[1]) == k))[1]

    with _without_hook_warnings():
        return _per_class(relevance, images, classes)


def zennit_first(model: Any, images: np.ndarray, classes: Classes, rule: str) -> np.ndarray:
    """Zennit's EpsilonPlusFlat with another rule for the first convolution, (N, K, C, *space)."""
    zennit()
    convolution = importlib.import_module("zennit.types").Convolution
    first = [((convolution,), getattr(importlib.import_module("zennit.rules"), rule)())]
    return zennit_composite("EpsilonPlusFlat", model, images, classes, first_map=first)


def merged(*pairs: tuple[str, str]) -> Any:
    """Zennit's canonizer that merges batch norms, (convolution, batch norm) by name."""
    zennit()
    canonizers = importlib.import_module("zennit.canonizers")
    return canonizers.NamedMergeBatchNorm([([convolution], norm) for convolution, norm in pairs])


def _per_class(function: Any, images: np.ndarray, classes: Classes) -> np.ndarray:
    import torch

    found = []
    for k in _listed(classes):
        x = torch.from_numpy(np.array(images)).requires_grad_()
        found.append(function(x, k).detach().numpy())
    return np.stack(found, axis=1)


def _listed(classes: Classes) -> Sequence[int]:
    return range(classes) if isinstance(classes, int) else classes


@contextmanager
def _without_hook_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Bb]ackward hook.*")
        warnings.filterwarnings("ignore", message=".*forward, backward hooks and attributes.*")
        warnings.filterwarnings("ignore", message=".*required_grads has not been set.*")
        yield
