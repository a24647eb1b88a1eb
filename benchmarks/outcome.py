"""One cell of a table: what was measured, or why nothing was."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal

from benchmarks.spread import Spread

Status = Literal["measured", "absent", "not offered", "refused", "crashed"]


@dataclass(frozen=True)
class Setting:
    """Under which outcomes can be compared."""

    device: str
    threads: int
    is_quick: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of one library's try at one job.

    Parameters
    ----------
    kind : str
        ``"speed"``, ``"memory"``, or a name of `benchmarks.growth`.
    workload, job, library : str
        Keys.
    version : str
        Of the library; for ours, also of its code.
    setting : Setting
    status : str
    reason : str
        Why nothing was measured.
    note : str
        What a reader of the numbers must know.
    numbers : mapping of str to float
    spreads : mapping of str to Spread
    run : str
        Key of the run, which says when and where.
    """

    kind: str
    workload: str
    job: str
    library: str
    version: str
    setting: Setting
    status: Status
    reason: str = ""
    note: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    run: str = ""

    @property
    def cell(self) -> tuple[str, str, str, str, Setting]:
        """Where it belongs, whatever the version."""
        return self.kind, self.workload, self.job, self.library, self.setting

    @property
    def key(self) -> str:
        """Where it is stored: another version, another key."""
        setting = f"{self.setting.device}, {self.setting.threads} threads{', quick' if self.setting.is_quick else ''}"
        return " | ".join((self.kind, self.workload, self.job, self.library, self.version, setting))

    def stored(self) -> dict[str, Any]:
        """For JSON; what is empty and need not be given is left out."""
        optional = {
            each.name for each in fields(self) if each.default is not MISSING or each.default_factory is not MISSING
        }
        return {name: value for name, value in asdict(self).items() if value or name not in optional}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Outcome":
        """From what `stored` gave."""
        spreads = {name: Spread.read(value) for name, value in stored.get("spreads", {}).items()}
        return cls(**{**stored, "setting": Setting(**stored["setting"]), "spreads": spreads})
