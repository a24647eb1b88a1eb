"""Other libraries' conventions, for ``explain(..., profile=)``: the same question, answered in their way."""

from xai_med.profiles.profile import Comparison, Convention, Profile
from xai_med.profiles.table import PROFILES, compared

__all__ = ["PROFILES", "Comparison", "Convention", "Profile", "compared"]
