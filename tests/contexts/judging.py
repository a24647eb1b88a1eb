"""How a result on the reference network is judged: equal to the oracle's answer, or refused in words of our own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from contexts.reference_network import TARGET, answers, answers_from_logits, logits, reference
from xai_med import explain
from xai_med.errors import XaiMedError

OUT_OF_REACH = r"differentiable path: it was cut by detach, no_grad"
SWITCHED_OFF = r"gradients switched off .*; explain the model without it"
OUT_OF_SIGHT = r"out of sight|outside the framework"


def assert_right(model, method, x, *, share=1e-9, make=reference, scale=1.0, **options):
    """Compare scores and attribution with the oracle's.

    Parameters
    ----------
    share : float
        Tolerance as a share of the range.
    make : callable
        The blueprint that the model realises.
    scale : float
        See `answers`.
    """
    result = explain(model, x, method=method, target=TARGET, **options)
    values = logits(make, scale)
    assert_close(result.scores[:, 0], values[:, TARGET], share * np.abs(values).max())
    wanted = answers(method, make=make, scale=scale)
    if result.rules[-1:] == ("pulled back from: logits",):  # CLEAR finds no class maps in the model, and says so
        wanted = answers_from_logits(make)
    assert result.attribution.shape == wanted.shape
    # stabilisers of relevance act on partial sums, which a model may write in several ways
    assert_close(result.attribution, wanted, (max(share, 1e-4) if method == "lrp" else share) * np.ptp(wanted))
    return result


def assert_close(found, wanted, tolerance):
    """Compare absolutely."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def assert_right_or_refused(model, method, x, refused: Mapping[str, str], **options: Any) -> None:
    """Right, but for the methods that are refused in words that match a pattern."""
    if method not in refused:
        assert_right(model, method, x, **options)
        return
    with pytest.raises(XaiMedError, match=refused[method]):
        explain(model, x, method=method, target=TARGET)


def each(methods, pattern):
    """One pattern for several methods."""
    return dict.fromkeys(methods, pattern)
