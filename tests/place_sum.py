"""A layer method that knows nothing of tokens: what a plugin would write."""

from collections.abc import Iterator
from contextlib import contextmanager

from xai_med.registry import METHODS, register_method, unregister
from xai_med.request import Attribution, Request


def place_sum(request: Request) -> Attribution:
    """Sum cubes of a layer's features over channels, the same map for each class.

    Parameters
    ----------
    request : Request
        The question.
    """
    with request.features() as trace:
        explained = request.explained(trace)
        features = trace.tensors.stop_gradient(trace.captured)
        classes = explained.selection.scores.shape[1]
        maps = trace.tensors.stack([trace.tensors.sum(features**3, (1,))] * classes, 1)
        return Attribution(maps, maps, explained)


@contextmanager
def registered() -> Iterator[str]:
    """The method's name, as long as the context lasts."""
    register_method("place_sum", source="this test", cost="one pass", needs="a layer with space axes")(place_sum)
    try:
        yield "place_sum"
    finally:
        unregister(METHODS, "place_sum")
