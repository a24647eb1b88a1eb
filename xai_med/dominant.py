"""Which class responds most at each place: what CLEAR adds to any per-class method."""

from collections.abc import Mapping
from typing import Any

from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import NotApplicableError
from xai_med.maps.dominance import dominance
from xai_med.maps.resize import resize
from xai_med.registry import get_method
from xai_med.request import Attribution, Request
from xai_med.responses import responses


def dominant_classes(maps: Array, *, threshold: float) -> tuple[dict[str, Array], tuple[Check, ...]]:
    """Compare responses (N, K, *space): arrays for the result, and how many cells tie or have no class."""
    found = dominance(maps, threshold=threshold)
    size = found.position.size
    note = "the lowest position is taken"
    ties = Check("cells with tied classes", float(found.ties), note=note, is_count=True, key="tied_cells", out_of=size)
    empty = float((found.position < 0).sum())
    classless = Check("cells without a class", empty, is_count=True, key="classless_cells", out_of=size)
    return {"dominant_class": found.position, "dominant_response": found.response}, (ties, classless)


def dominant_of(
    request: Request, of: str, settings: Mapping[str, Any], *, response: str, calibrate: str, threshold: float
) -> Attribution:
    """Compare the maps that another method makes for each class.

    Parameters
    ----------
    request : Request
        For several classes.
    of : str
        Name of the method.
    settings : mapping
        Of that method.
    response, calibrate, threshold
        As for ``clear``.

    Raises
    ------
    NotApplicableError
        The method compares classes itself.
    """
    method, tensors = get_method(of), request.network.tensors
    if method.default_target == "all":
        raise NotApplicableError(f"{of!r} compares classes itself; choose of= a method with a map for each class")
    found = method(request, settings)
    scores = found.explained.selection.scores
    maps = responses(found.maps, scores, tensors, response=response, calibrate=calibrate)
    extras, checks = dominant_classes(resize(tensors.to_numpy(maps), request.space), threshold=threshold)
    return Attribution(
        found.values,
        maps,
        found.explained,
        layer=found.layer,
        checks=(*found.checks, *checks),
        rules=(f"responses of: {of}", *found.rules),
        extras={**found.extras, **extras},
    )
