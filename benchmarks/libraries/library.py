"""What a library is to the benchmark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from benchmarks.frameworks.runtime import Runtime
from benchmarks.jobs import Job
from benchmarks.workloads import Workload

Run: TypeAlias = Callable[[], Any]
"""One whole job: from the batch to the maps of all classes asked for."""


class NotOfferedError(Exception):
    """The library has no such job, or not for this model."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and a batch, on the device, for one library alone."""

    workload: Workload
    model: Any
    images: Any
    runtime: Runtime

    def layer(self, job: Job) -> Any:
        """The module where a layer method looks."""
        return self.model.get_submodule(self.layer_name(job))

    def layer_name(self, job: Job) -> str:
        """Its name."""
        return self.workload.layers[job.place]

    def classes(self, job: Job) -> list[int]:
        """Indices of the classes to explain."""
        return list(job.classes(self.workload.outputs))

    @property
    def batch(self) -> int:
        """How many images."""
        return self.workload.shape[0]

    def refuse_tokens(self) -> None:
        """For libraries that would take the tokens of a transformer for channels.

        Raises
        ------
        NotOfferedError
            This is a transformer.
        """
        if self.workload.tokens is not None:
            raise NotOfferedError("takes tokens for channels and has no way to be told otherwise")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A job that is ready to run.

    Parameters
    ----------
    run : callable
        What is measured. Whatever can be built once for many batches was built before.
    note : str
        What a reader of the number must know.
    """

    run: Run
    note: str = ""


@dataclass(frozen=True, eq=False)
class Library:
    """How one library, by one of its doors, does the jobs that it offers.

    Parameters
    ----------
    key : str
        Of a column.
    distribution : str
        Under which its version is known.
    module : str
        Must be importable.
    frameworks : tuple of str
        Whose models it explains.
    offers : mapping of str to callable
        By `Job.method`, how to prepare a job.
    inside : str
        What a number of this column holds beside the maps.
    """

    key: str
    distribution: str
    module: str
    frameworks: tuple[str, ...]
    offers: Mapping[str, Callable[[Job, Subject], Prepared]] = field(repr=False)
    inside: str

    def prepare(self, job: Job, subject: Subject) -> Prepared:
        """Make a job ready.

        Raises
        ------
        NotOfferedError
            The library does not offer it.
        """
        if job.method not in self.offers:
            raise NotOfferedError("not offered")
        return self.offers[job.method](job, subject)
