"""The conformance kit: what authors of backends and methods run, and tiny networks with slow oracles."""

from xai_med.testing.check_backend import Conformance, check_backend
from xai_med.testing.check_method import MethodConformance, check_method
from xai_med.testing.check_tensors import check_tensors
from xai_med.testing.networks import NETWORKS, example_input

__all__ = [
    "NETWORKS",
    "Conformance",
    "MethodConformance",
    "check_backend",
    "check_method",
    "check_tensors",
    "example_input",
]
