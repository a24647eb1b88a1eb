"""Seg-Grad-CAM: Grad-CAM of a class summed over pixels of a dense output."""

from dataclasses import dataclass, replace

import numpy as np

from xai_med.errors import LayerError, TargetError
from xai_med.layer_maps import COST, formula_verification, map_at_layer
from xai_med.methods.grad_cam import mean_gradient_formula
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.selection import Context, Selection
from xai_med.targets import Classes, ClassName, Mask


@dataclass(frozen=True)
class _PredictedPixels:
    """Each class, summed over the pixels where its logit is the largest."""

    names: tuple[ClassName, ...]

    def select(self, context: Context) -> Selection:
        """Select channels under the model's own segmentation."""
        if not context.logits.is_dense:
            raise TargetError("seg_grad_cam needs a model with one value per pixel; use method='grad_cam'")
        if context.classes == 1:
            chosen = np.zeros((context.images, 1), dtype=bool) | (context.values[:, 0] > 0)
        else:
            chosen = context.values.argmax(axis=1)
        found = [self._one(name, chosen, context) for name in self.names]
        return Selection(
            found[0].outputs,
            tuple(cotangent for each in found for cotangent in each.cotangents),
            np.concatenate([each.scores for each in found], axis=1),
            tuple(tuple(name for each in found for name in each.labels[n]) for n in range(context.images)),
            np.concatenate([each.indices for each in found], axis=1),
            None,
        )

    @staticmethod
    def _one(name: ClassName, chosen: np.ndarray, context: Context) -> Selection:
        index = context.index(name)
        mask = chosen if context.classes == 1 else chosen == index
        if not mask.reshape(len(mask), -1).any(axis=1).all():
            raise TargetError(
                f"{context.label(index)} is predicted for no pixel of an image; give the pixels to explain, "
                f"target=Mask({name!r}, mask)"
            )
        return Mask(name, mask).select(context)


@register_method(
    "seg_grad_cam",
    source="Vinogradova, Dibrov, Myers 2020, arXiv:2002.11434, equation 2",
    cost=COST,
    needs="a dense output, a layer with space axes that is named",
    verification=formula_verification(lambda _: mean_gradient_formula),
)
def seg_grad_cam(request: Request, *, relu: bool = True) -> Attribution:
    """Grad-CAM of the sum of a class's logits over pixels.

    Parameters
    ----------
    request : Request
        ``target=Mask(class, mask)`` for the pixels of interest; a class alone means the pixels predicted as it.
        `layer` must be named, such as the last of the encoder: in a network that goes back to full resolution there
        is no natural one.
    relu : bool
        Keep only positive evidence (the published method).

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space).

    Raises
    ------
    LayerError
        No layer was named.
    TargetError
        The output is not dense, or the class is predicted nowhere.
    """
    if request.layer is None:
        raise LayerError("seg_grad_cam needs layer=, such as the last layer of the encoder")
    if isinstance(request.target, Classes):
        request = replace(request, target=_PredictedPixels(request.target.names))
    elif not isinstance(request.target, Mask):
        raise TargetError("seg_grad_cam explains a class, Classes(...), or Mask(class, mask); give target=")
    return map_at_layer(request, mean_gradient_formula, relu=relu)
