"""The softmax of what a model returns as a target, which some libraries explain instead of the logit."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import TargetError
from xai_med.selection import Context, Selection, from_scores, refuse_dense
from xai_med.targets import PerImage, Predicted, Target


@dataclass(frozen=True, eq=False)
class SoftmaxOf:
    """The softmax of what the model returns, for the classes that another target chooses, image by image.

    Parameters
    ----------
    chosen : Target
        Chooses classes.
    """

    chosen: Target

    def select(self, context: Context) -> Selection:
        """Select columns after a softmax of the logits."""
        refuse_dense(context, "a probability")
        selection = self.chosen.select(context)
        if (selection.indices < 0).any():
            raise TargetError(f"the probability of {selection.labels[0][0]!r} was asked for, which is not one class")
        if context.logits.squash is not None:
            raise TargetError(
                f"the softmax of what the model returns was asked for, and it ends in a {context.logits.squash}; "
                f"give the model without it"
            )
        if context.activation == "sigmoid":
            raise TargetError("the softmax of what the model returns was asked for, beside activation='sigmoid'")
        if context.classes == 1:
            raise TargetError("the softmax of a single output is 1 whatever the image; explain the logit")
        tensors, logits = context.tensors, context.logits.values
        shifted = tensors.exp(logits - tensors.stop_gradient(tensors.amax(logits, (1,), keep=True)))
        one_hot = np.zeros((*selection.indices.shape, context.classes))
        np.put_along_axis(one_hot, selection.indices[:, :, None], 1.0, axis=2)
        chosen = tensors.einsum("nc,nkc->nk", shifted, tensors.from_numpy(one_hot, logits))
        labels = tuple(tuple(f"probability of {name}" for name in row) for row in selection.labels)
        return from_scores(context, chosen / tensors.sum(shifted, (1,), keep=True), labels)

    def of_clean(self, logits: Array) -> "SoftmaxOf":
        """The same classes of other images: those predicted for the clean ones, whose logits are (N, C)."""
        is_predicted = isinstance(self.chosen, Predicted)
        return SoftmaxOf(PerImage(np.asarray(logits).argmax(axis=1)[:, None])) if is_predicted else self
