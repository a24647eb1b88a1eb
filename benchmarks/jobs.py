"""The jobs: what is explained, for how many classes, at which layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OUTPUTS = 14
"""Outputs of every model, as of the usual chest radiograph classifier."""
ONE_CLASS = 3
"""Which class is explained where one is."""

Place = Literal["input", "last", "middle"]


@dataclass(frozen=True)
class Job:
    """One question to a library.

    Parameters
    ----------
    key : str
        Short name on the command line and in results.
    title : str
        Of a row.
    method : str
        What the library must offer.
    target : int or None
        One class, or None for all of them.
    place : str
        Where the map arises: the input, the last layer with cells, or a layer in the middle.
    """

    key: str
    title: str
    method: str
    target: int | None
    place: Place = "input"

    def classes(self, outputs: int) -> Sequence[int]:
        """Indices of the classes to explain, of a model with so many outputs."""
        return range(outputs) if self.target is None else (self.target,)


JOBS: Mapping[str, Job] = {
    job.key: job
    for job in (
        Job("cam_1", "CAM, 1 class", "cam", ONE_CLASS, "last"),
        Job("cam_14", "CAM, 14 classes", "cam", None, "last"),
        Job("grad_cam_1", "Grad-CAM, last layer, 1 class", "grad_cam", ONE_CLASS, "last"),
        Job("grad_cam_14", "Grad-CAM, last layer, 14 classes", "grad_cam", None, "last"),
        Job("grad_cam_middle_14", "Grad-CAM, middle layer, 14 classes", "grad_cam", None, "middle"),
        Job("gradient_1", "gradient, 1 class", "gradient", ONE_CLASS),
        Job("gradient_14", "gradient, 14 classes", "gradient", None),
        Job("lrp_1", "LRP-ε-Z⁺, 1 class", "lrp", ONE_CLASS),
        Job("lrp_14", "LRP-ε-Z⁺, 14 classes", "lrp", None),
        Job("guided_14", "guided backprop, 14 classes", "guided_backprop", None),
        Job("deconvnet_14", "deconvnet, 14 classes", "deconvnet", None),
        Job("clear_14", "CLEAR, 14 classes, arg max and HSV", "clear", None),
    )
}
