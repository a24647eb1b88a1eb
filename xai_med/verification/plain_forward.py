"""That watching a model changed nothing: the explained logits against a run with nobody watching."""

import numpy as np

from xai_med.backend.tensors import Array, precision
from xai_med.checks import Check
from xai_med.errors import IdentityError
from xai_med.logits import pick_output, squashed
from xai_med.request import Attribution, Request


def plain_forward_check(request: Request, attribution: Attribution) -> Check:
    """Compare the explained logits, squashed as the model does it, with the model's plain output.

    Raises
    ------
    IdentityError
        They differ by more than rounding.
    """
    explained, tensors = attribution.explained, request.network.tensors
    squash = explained.logits.squash
    output = pick_output(request.network.forward(request.batch), request.output, request.network.is_tensor)
    plain = tensors.to_numpy(output).astype(np.float64)
    logits = explained.all_logits
    watched = logits if squash is None else squashed(logits, squash)
    plain = plain.reshape(watched.shape)
    if squash == "softmax" and plain.max() <= 0:  # a log softmax
        plain = np.exp(plain)
    digits = precision(tensors.dtype(request.batch))
    name = f"explained logits{'' if squash is None else ', by ' + squash + ','} against a plain run of the model"
    # surrogates round twice per operation, and pools of some frameworks divide in float32 whatever they are given
    tolerance = max(2000 * digits, 1e-6)
    check = Check(name, _deviation(plain, watched), tolerance, key="plain_forward")
    if not check.passed:
        raise IdentityError(
            f"what was explained is not what the model answers when nobody watches ({check}); the model may depend on "
            f"random numbers, on what ran before, or on being watched: make it deterministic in evaluation mode"
        )
    return check


def _deviation(plain: Array, watched: Array) -> float:
    """Largest difference of an image relative to its largest logit."""
    images = len(plain)
    size = np.abs(plain).reshape(images, -1).max(axis=1)
    differences = np.abs(plain - watched).reshape(images, -1).max(axis=1)
    return float((differences / np.where(size > 0, size, 1)).max())
