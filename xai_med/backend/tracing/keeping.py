"""A model's own tensors stay as they were, though the model writes into them while it runs."""

from collections.abc import Iterable
from functools import cached_property
from operator import is_

from xai_med.backend.framework import Framework
from xai_med.backend.operations import Call
from xai_med.backend.tensors import Tensor

_TABLES = ("_buffers", "_parameters")  # where modules of both eager frameworks hold their tensors by name


class StateKeeper:
    """Remembers a model's tensors before the model overwrites or replaces them: counters, averages, caches.

    Parameters
    ----------
    framework : Framework
        Of the model.
    modules : iterable
        All parts of the model.
    """

    def __init__(self, framework: Framework, modules: Iterable[object]) -> None:
        self._framework = framework
        state = [vars(module) for module in modules]
        tables = [table for each in state for name in _TABLES if (table := each.get(name))]
        self._tables = [(table, dict(table)) for table in tables]
        self._buffers = [buffer for each in state for buffer in each.get(_TABLES[0], {}).values() if buffer is not None]
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @cached_property
    def _own(self) -> frozenset[int]:
        """Identities of the model's tensors as they were."""
        return frozenset(id(tensor) for _, before in self._tables for tensor in before.values())

    def before(self, call: Call) -> None:
        """Copy the tensor of the model that a call is about to write into, itself or through a view."""
        if not call.writes_in_place or not call.args or not self._framework.is_tensor(call.args[0]):
            return
        for tensor in (call.args[0], self._framework.base(call.args[0])):
            if tensor is not None and id(tensor) in self._own:
                self._keep(tensor)

    def keep_buffers(self) -> None:
        """Copy all buffers, where calls will not be seen."""
        for tensor in self._buffers:
            self._keep(tensor)

    def _keep(self, tensor: Tensor) -> None:
        if id(tensor) not in self._kept:
            copy = self._framework.copy(self._framework.tensors.stop_gradient(tensor))
            self._kept[id(tensor)] = (tensor, copy)

    def restore(self) -> None:
        """Put values and tensors back; called when nothing is differentiated any more."""
        for table, before in self._tables:
            if table.keys() != before.keys() or not all(map(is_, table.values(), before.values())):
                table.clear()
                table.update(before)
        if self._kept:
            self._framework.stop_recording()
            for tensor, copy in self._kept.values():
                self._framework.overwrite(tensor, copy)
