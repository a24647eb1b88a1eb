"""What is to be measured: assignments for what was asked and is not yet stored."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.assignment import Assignment, Cell
from benchmarks.contest import version_key
from benchmarks.frameworks.runtime import is_there
from benchmarks.growth.points import AXES, METHODS, QUICK, Point
from benchmarks.jobs import JOBS
from benchmarks.libraries.ours import ATTRIBUTE
from benchmarks.libraries.table import LIBRARIES, OURS
from benchmarks.outcome import Outcome, Setting
from benchmarks.processes import has_gpu
from benchmarks.store import Store
from benchmarks.timing import Budget
from benchmarks.workloads import GROWING, TINY, WORKLOADS, Workload

MEMORY_WORKLOADS = ("densenet121-b8", "resnet18-3d-b1", "paddle-densenet121-b8")
QUICK_WORKLOADS = ("densenet121-b1", "paddle-densenet121-b1")
MANY_CALLS, FEW_CALLS = 1000, 50
MANY_IMAGES, FEW_IMAGES = 32, 4


@dataclass(frozen=True)
class Wish:
    """What a user asked for.

    Parameters
    ----------
    workloads, jobs, libraries, frameworks : tuple of str
        Words; keys that contain one are chosen. Empty for the usual ones.
    setting : Setting
    budget : Budget
    is_again : bool
        Measure also what is stored.
    output : Path
        The JSON file.
    """

    workloads: tuple[str, ...]
    jobs: tuple[str, ...]
    libraries: tuple[str, ...]
    frameworks: tuple[str, ...]
    setting: Setting
    budget: Budget
    is_again: bool
    output: Path


def _chosen(keys: Sequence[str], words: Sequence[str]) -> list[str]:
    """Keys that are, or else contain, one of some words; all without words."""
    if not words:
        return list(keys)
    return [key for key in keys if any(word == key or (word not in keys and word in key) for word in words)]


def unknown_words(wish: Wish) -> list[str]:
    """What a user asked for that means nothing here, with what would."""
    lists = (
        ("workload", wish.workloads, [*WORKLOADS, *(each.key for each in TINY.values())]),
        ("job", wish.jobs, [*JOBS, *METHODS]),
        ("library", wish.libraries, list(LIBRARIES)),
    )
    return [
        f"no {what} is or contains {word!r}; there are {', '.join(keys)}"
        for what, words, keys in lists
        for word in words
        if not _chosen(keys, [word])
    ]


def missing(workload: Workload) -> str:
    """What must be installed for a workload, or ``""``."""
    absent = [module for module in (workload.framework, workload.module) if not is_there(module)]
    return ", ".join(dict.fromkeys(absent))


def chosen_workloads(wish: Wish, usual: Sequence[str]) -> list[Workload]:
    """Those that were asked for by name, or else the usual ones, of the frameworks asked for."""
    named = {**WORKLOADS, **{each.key: each for each in TINY.values()}}
    keys = _chosen(list(WORKLOADS), wish.workloads) if wish.workloads else list(usual)
    keys += [key for key in wish.workloads if key in named and key not in keys]
    return [named[key] for key in keys if not wish.frameworks or named[key].framework in wish.frameworks]


def cells_of(workload: Workload, wish: Wish) -> Iterator[Cell]:
    """Jobs and libraries that a workload can be asked."""
    for job in _chosen(list(JOBS), wish.jobs):
        for library in _chosen(list(LIBRARIES), wish.libraries):
            known = LIBRARIES[library]
            if JOBS[job].method in known.offers and workload.framework in known.frameworks and workload.has(JOBS[job]):
                yield job, library


def speed_assignments(wish: Wish) -> Iterator[Assignment]:
    """One process per workload."""
    usual = QUICK_WORKLOADS if wish.setting.is_quick else tuple(WORKLOADS)
    for workload in _installed(chosen_workloads(wish, usual)):
        cells = tuple(cells_of(workload, wish))
        yield Assignment("speed", workload.key, cells, _setting(workload, wish), wish.budget)


def memory_assignments(wish: Wish) -> Iterator[Assignment]:
    """One process per cell."""
    usual = QUICK_WORKLOADS if wish.setting.is_quick else MEMORY_WORKLOADS
    for workload in _installed(chosen_workloads(wish, usual)):
        for cell in cells_of(workload, wish):
            if cell[1] != ATTRIBUTE.key or wish.libraries:  # takes what `explain` takes, less the read-out
                yield Assignment("memory", workload.key, (cell,), _setting(workload, wish), wish.budget)


def growth_assignments(wish: Wish) -> Iterator[Assignment]:
    """For each method one process for the curves and one for calls; one for batches."""
    methods = [method for method in METHODS if method in wish.jobs] or METHODS
    axes, is_quick = (QUICK if wish.setting.is_quick else AXES), wish.setting.is_quick
    wanted = wish.frameworks or ("torch",)
    for workload in _installed(each for each in GROWING.values() if each.framework in wanted):
        few = replace(wish.budget, least=1, most=5)
        empty = Assignment("growth", workload.key, (), _setting(workload, wish), few)
        for method in methods:
            points = [Point(axis, value, method) for axis, values in axes.items() for value in values]
            yield replace(empty, cells=tuple((point.job, OURS) for point in points))
            calls = {"calls": FEW_CALLS if is_quick else MANY_CALLS}
            yield replace(empty, kind="calls", cells=((method, OURS),), options=calls)
        batches = {"images": FEW_IMAGES if is_quick else MANY_IMAGES}
        cells = tuple((method, OURS) for method in methods)
        yield replace(empty, kind="batches", cells=cells, options=batches)


def _installed(workloads: Iterable[Workload]) -> Iterator[Workload]:
    """Those whose packages are there; of the others it is said why they are left out."""
    for workload in workloads:
        absent = missing(workload)
        if absent:
            print(f"{workload.key}: left out, {absent} is not installed", file=sys.stderr)
        else:
            yield workload


def _setting(workload: Workload, wish: Wish) -> Setting:
    """With the device that ``"auto"`` means for the workload's framework."""
    if wish.setting.device != "auto":
        return wish.setting
    return replace(wish.setting, device="gpu" if has_gpu(workload.framework) else "cpu")


def still_open(assignment: Assignment, wish: Wish, store: Store) -> Assignment:
    """Without what is stored, unless it is to be measured again."""
    if wish.is_again:
        return assignment
    cells = [cell for cell in assignment.cells if _key(assignment, cell) not in store]
    return replace(assignment, cells=tuple(cells))


def _key(assignment: Assignment, cell: Cell) -> str:
    job, library = cell
    version = version_key(library)
    return Outcome(assignment.kind, assignment.workload, job, library, version, assignment.setting, "measured").key
