"""The same question in double precision, in which difference quotients have digits to spare."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from xai_med.errors import XaiMedError
from xai_med.request import Explained, Request
from xai_med.same_scores import of_same_scores


class ImpossibleError(Exception):
    """A number cannot be had for this model; never reaches the caller: the check then says why."""


@contextmanager
def where_possible() -> Iterator[None]:
    """Run the model's own code on numbers that it was perhaps not written for.

    Raises
    ------
    ImpossibleError
        It fails on them; what is verified may be right all the same.
    """
    try:
        yield
    except (XaiMedError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ImpossibleError(f"{type(error).__name__}: {error}") from error


def in_double(request: Request, explained: Explained) -> Request:
    """Ask the same of a copy of the model with float64 weights; the caller's stays as it is.

    Raises
    ------
    ImpossibleError
        The model cannot be copied.
    """
    tensors, same = request.network.tensors, of_same_scores(request, explained)
    if tensors.dtype(request.batch) == request.network.dtype == "float64":
        return same
    layer = None if request.layer is None else request.network.find_layer(request.layer)[1]
    images = tensors.to_numpy(request.batch).astype(np.float64)
    with where_possible():
        network = request.network.as_dtype("float64")
        return replace(same, network=network, batch=network.batch(images), layer=layer)
