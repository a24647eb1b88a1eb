"""The visible table of profiles."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from xai_med.errors import UnknownNameError
from xai_med.profiles.captum import CAPTUM
from xai_med.profiles.interpretdl import INTERPRETDL
from xai_med.profiles.monai import MONAI
from xai_med.profiles.profile import Comparison, Profile
from xai_med.profiles.pytorch_grad_cam import PYTORCH_GRAD_CAM
from xai_med.profiles.torchcam import TORCHCAM
from xai_med.profiles.zennit import ZENNIT
from xai_med.registry import get_method, normalised

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (CAPTUM, PYTORCH_GRAD_CAM, TORCHCAM, MONAI, INTERPRETDL, ZENNIT)}
)
"""By name."""


def compared(profile: object, method: str) -> Comparison:
    """Look up a profile, and what it says of a method.

    Parameters
    ----------
    profile : str
        One of `PROFILES`; hyphens and capitals are forgiven.
    method : str
        One of `xai_med.methods`.

    Raises
    ------
    UnknownNameError
        There is no such profile, or no such method.
    SettingError
        The profile does not cover the method.
    """
    if not isinstance(profile, str):
        raise UnknownNameError(f"a profile is named by a string, got {type(profile).__name__}")
    key = normalised(profile)
    if key not in PROFILES:
        near = get_close_matches(key, PROFILES, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(PROFILES)}"
        raise UnknownNameError(f"there is no profile {profile!r}; {hint}")
    found = Comparison(PROFILES[key], get_method(method))
    found.profile.convention(found.method.name)
    return found
