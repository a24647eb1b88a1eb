"""Maps of several layers as one: how a coarse and a fine layer are looked at together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.checks import Check, joined_checks
from xai_med.errors import LayerError
from xai_med.maps.resize import resize
from xai_med.request import Attribution, Request


def fused(run: Callable[[Request], Attribution], request: Request, layers: Sequence[Any]) -> Attribution:
    """Run a layer method at each layer and take the mean of the enlarged maps.

    Parameters
    ----------
    run : callable
        The method.
    request : Request
        Its `layer` is not used.
    layers : sequence
        Modules or dotted names, at least two.

    Returns
    -------
    Attribution
        `values` and `maps` (N, K, *space): each layer's map is divided by its largest magnitude first, so that layers
        count alike whatever their units, and a map's largest possible value is 1.

    Raises
    ------
    LayerError
        There are fewer than two layers, or one is named twice.
    """
    names = [request.network.find_layer(layer)[1] for layer in layers]
    if len(names) < 2 or len(set(names)) < len(names):
        raise LayerError(f"maps of several layers need two layers or more, each once; got {', '.join(names) or 'none'}")
    tensors = request.network.tensors
    found = [run(replace(request, layer=layer)) for layer in layers]
    maps = [_alike(resize(each.maps, request.space, tensors=tensors), tensors) for each in found]
    total: Tensor = maps[0]
    for one in maps[1:]:
        total = total + one
    total = total / len(maps)
    note = "each map was divided by its largest magnitude, then the mean was taken"
    check = Check("layers whose maps are one", float(len(names)), note=note, key="layers_fused")
    checks = (*joined_checks([each.checks for each in found]), check)
    return Attribution(total, total, found[0].explained, layer=", ".join(names), checks=checks, rules=found[0].rules)


def _alike(maps: Tensor, tensors: Tensors) -> Tensor:
    peak = tensors.amax(tensors.abs(maps), tuple(range(2, len(shape_of(maps)))), keep=True)
    return maps / tensors.where(peak > 0, peak, peak * 0 + 1)
