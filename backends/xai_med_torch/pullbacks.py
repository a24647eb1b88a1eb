"""Vector-Jacobian products for one class after the other, or for many at once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice

import torch

from xai_med.backend.tracing.lookahead import marking_last
from xai_med.errors import GradientError
from xai_med_torch.reverse import Ways, find_ways, largest_of, pull_back_together, suits

_MOST_BYTES = 64 * 2**20  # of the cotangents of the largest tensor on the way, for all classes of one pass
_MOST_CLASSES = 64  # by then what a pass does but once for all classes is paid


def pullbacks(
    outputs: torch.Tensor,
    cotangents: Iterable[torch.Tensor],
    to: torch.Tensor,
    *,
    differentiable: bool,
    has_hooks: bool,
) -> Iterator[torch.Tensor] | None:
    """Pull cotangents back, without touching any ``.grad``; None where the output does not depend on the leaf.

    Parameters
    ----------
    outputs : tensor
        What cotangents are given for.
    cotangents : iterable of tensor
        Each of the shape of `outputs`.
    to : tensor
        A leaf.
    differentiable : bool
        Whether the results can be differentiated themselves.
    has_hooks : bool
        Whether tensors on the way may carry hooks, which only the autograd engine calls.

    Raises
    ------
    GradientError
        PyTorch cannot differentiate the model.
    """
    if not outputs.requires_grad:
        return None
    if outputs is to:
        return iter(cotangents)
    ways = find_ways(outputs, to)
    if ways is None:
        return None
    if differentiable or has_hooks or not suits(ways):
        return _by_the_engine(outputs, cotangents, to, differentiable)
    return _in_passes(outputs, iter(cotangents), to, ways)


def pullbacks_to_each(
    outputs: torch.Tensor, cotangents: Iterable[torch.Tensor], to: Sequence[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, ...]] | None:
    """Pull cotangents back to several tensors of one graph; None where the output does not depend on one of them.

    Parameters
    ----------
    outputs, cotangents
        As of `pullbacks`.
    to : sequence of tensor
        Leaves or results on the way.
    """
    if not outputs.requires_grad or any(find_ways(outputs, tensor) is None for tensor in to):
        return None
    return _to_each_by_the_engine(outputs, cotangents, tuple(to))


def _to_each_by_the_engine(
    outputs: torch.Tensor, cotangents: Iterable[torch.Tensor], to: tuple[torch.Tensor, ...]
) -> Iterator[tuple[torch.Tensor, ...]]:
    for cotangent, is_last in marking_last(cotangents):
        with _refusing():
            results = torch.autograd.grad(outputs, to, grad_outputs=cotangent, retain_graph=not is_last)
        yield tuple(results)


def _in_passes(
    outputs: torch.Tensor, cotangents: Iterator[torch.Tensor], to: torch.Tensor, ways: Ways
) -> Iterator[torch.Tensor]:
    """As many classes at once as memory allows; a single one by the engine, which is faster then."""
    classes = max(1, min(_MOST_CLASSES, _MOST_BYTES // largest_of(ways)))
    first = list(islice(cotangents, 2))
    if len(first) < 2:
        yield from _by_the_engine(outputs, first, to, differentiable=False)
        return
    pending = chain(first, cotangents)
    while chunk := list(islice(pending, classes)):
        with _refusing(), torch.no_grad():
            results = pull_back_together(ways, torch.stack(chunk)).contiguous()
        yield from results


def _by_the_engine(
    outputs: torch.Tensor, cotangents: Iterable[torch.Tensor], to: torch.Tensor, differentiable: bool
) -> Iterator[torch.Tensor]:
    for cotangent, is_last in marking_last(cotangents):
        with _refusing():
            (result,) = torch.autograd.grad(
                outputs,
                to,
                grad_outputs=cotangent,
                retain_graph=differentiable or not is_last,
                create_graph=differentiable,
            )
        yield result


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what PyTorch raises while it differentiates into a refusal."""
    try:
        yield
    except GradientError:
        raise
    except RuntimeError as error:
        raise GradientError(f"PyTorch could not differentiate the model: {error}") from error
