"""Results in one JSON file, to which every run adds."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome

FORMAT = 1


class Store:
    """Outcomes by key, and the runs that made them; a later outcome replaces an earlier one of the same key.

    Parameters
    ----------
    path : Path
        Read if it is there.

    Raises
    ------
    ValueError
        It is there, and holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[str, Mapping[str, Any]] = {}
        self._outcomes: dict[str, Outcome] = {}
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(stored, dict) or stored.get("format") != FORMAT:
                raise ValueError(f"{path} does not hold results of this benchmark; give another --output")
            self.runs = stored["runs"]
            self._outcomes = {key: Outcome.read(value) for key, value in stored["outcomes"].items()}

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes.values())

    def __contains__(self, key: str) -> bool:
        return key in self._outcomes

    def begin(self, description: Mapping[str, Any]) -> str:
        """Note a run; returns its key."""
        key = str(1 + max(map(int, self.runs), default=0))
        self.runs[key] = description
        return key

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes, and write the file."""
        for outcome in outcomes:
            self._outcomes.pop(outcome.key, None)  # the newest comes last
            self._outcomes[outcome.key] = outcome
        self.write()

    def write(self) -> None:
        """Write the file at once or not at all."""
        used = {outcome.run for outcome in self}
        runs = {key: run for key, run in self.runs.items() if key in used}
        outcomes = {key: outcome.stored() for key, outcome in self._outcomes.items()}
        text = f'{{"format": {FORMAT},\n"runs": {_line_by_line(runs)},\n"outcomes": {_line_by_line(outcomes)}}}\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self.path)

    def newest(self, *kinds: str, is_quick: bool | None = None) -> list[Outcome]:
        """Of each cell, the newest outcome, whatever its version.

        Parameters
        ----------
        *kinds : str
            Which to look at.
        is_quick : bool, optional
            Only results of quick runs, or only of others.
        """
        found = {}
        for outcome in self:
            if outcome.kind in kinds and is_quick in (None, outcome.setting.is_quick):
                found[outcome.cell] = outcome
        return list(found.values())


def _line_by_line(entries: Mapping[str, Any]) -> str:
    """JSON with one line per entry, so that two files can be compared line by line."""
    lines = (f"{json.dumps(k, ensure_ascii=False)}: {json.dumps(v, ensure_ascii=False)}" for k, v in entries.items())
    return "{\n" + ",\n".join(lines) + "\n}"
