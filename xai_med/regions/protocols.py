"""How groups are compared: which test, which correction, at which level."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xai_med.errors import SettingError


@dataclass(frozen=True)
class Protocol:
    """How groups are compared.

    Parameters
    ----------
    name : str
    test : str
        ``"mann_whitney"`` or ``"by_normality"``.
    correction : str
        ``"holm"``, ``"bonferroni"`` or ``"none"``.
    alpha : float
        Level of an adjusted p-value.
    per_method : bool
        Whether the tests of each method are corrected by themselves, and not all that are reported together.
    """

    name: str
    test: str
    correction: str
    alpha: float
    per_method: bool


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "default": Protocol("default", "mann_whitney", "holm", 0.05, per_method=False),
        "sumer2023": Protocol("sumer2023", "by_normality", "bonferroni", 0.001, per_method=True),
        "thirds": Protocol("thirds", "by_normality", "bonferroni", 0.05, per_method=True),
    }
)
"""The default; Sümer et al. 2023, PMLR 219:712-736; the notebook on thirds of chest radiographs."""


def protocol_named(protocol: str | Protocol) -> Protocol:
    """A protocol by name, or the one given.

    Raises
    ------
    SettingError
        No protocol has this name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise SettingError(f"protocol is one of {', '.join(PROTOCOLS)}, or a Protocol; got {protocol!r}")
    return PROTOCOLS[protocol]
