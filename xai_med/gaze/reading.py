"""Reads tables of fixations and of raw samples, whatever their columns are called."""

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError
from xai_med.gaze.fixations import Fixations, Samples

_FIXATION = {
    "x": ("x", "start_x", "x_position", "average_x"),
    "y": ("y", "start_y", "y_position", "average_y"),
    "duration": ("duration", "duration_s"),
    "start": ("start", "start_s", "timestamp_start_fixation", "onset"),
    "end": ("end", "end_s", "timestamp_end_fixation"),
}
_SAMPLE = {
    "time": ("time", "time_s", "t", "timestamp", "timestamp_sample"),
    "x": ("x", "gaze_x", "x_position"),
    "y": ("y", "gaze_y", "y_position"),
}


def read_fixations(
    path: str | PathLike[str], *, columns: Mapping[str, str] | None = None, seconds: float = 1.0
) -> Fixations:
    """Read a table of fixations, separated by commas, tabs or semicolons.

    Parameters
    ----------
    path : path
        Of a text file whose first line names the columns.
    columns : mapping of str to str, optional
        Which column holds ``"x"``, ``"y"``, ``"duration"``, ``"start"`` or ``"end"``, where their names do not tell.
        Without a duration it is the end less the start. Columns that hold shares of the screen, as ``FPOGX`` of
        Gazepoint and EGD-CXR, are not known on purpose: turn them into pixels first.
    seconds : float
        How long one unit of time is: 1 for seconds, 0.001 for milliseconds. A table does not say, and nothing is
        guessed.

    Raises
    ------
    FileFormatError
        A column is missing or holds something that is no number.
    """
    table = _read(Path(path))
    found = {name: _column(table, name, _FIXATION[name], columns, Path(path)) for name in _FIXATION}
    start = None if found["start"] is None else found["start"] * seconds
    duration = found["duration"]
    if duration is None and found["start"] is not None and found["end"] is not None:
        duration = found["end"] - found["start"]
    missing = [
        name for name, values in (("x", found["x"]), ("y", found["y"]), ("duration", duration)) if values is None
    ]
    if missing or found["x"] is None or found["y"] is None or duration is None:
        raise FileFormatError(_missing(Path(path), missing, table))
    return Fixations(found["x"], found["y"], duration * seconds, start)


def read_samples(
    path: str | PathLike[str], *, columns: Mapping[str, str] | None = None, seconds: float = 1.0
) -> Samples:
    """Read a table of raw samples; empty places mean that the eye was not seen.

    Parameters
    ----------
    path, columns, seconds
        As in `read_fixations`, with columns ``"time"``, ``"x"`` and ``"y"``.

    Raises
    ------
    FileFormatError
        As in `read_fixations`.
    """
    table = _read(Path(path))
    found = {name: _column(table, name, _SAMPLE[name], columns, Path(path)) for name in _SAMPLE}
    time, x, y = found["time"], found["x"], found["y"]
    if time is None or x is None or y is None:
        raise FileFormatError(_missing(Path(path), [name for name, values in found.items() if values is None], table))
    return Samples(time * seconds, x, y)


def _read(path: Path) -> dict[str, list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    first = text.partition("\n")[0]
    separator = max("\t;,", key=first.count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=separator) if row]
    if len(rows) < 1 or not any(name.strip() for name in rows[0]):
        raise FileFormatError(f"{path.name} is empty; its first line should name the columns")
    names = [name.strip() for name in rows[0]]
    wrong = next((number for number, row in enumerate(rows[1:], start=2) if len(row) != len(names)), None)
    if wrong is not None:
        raise FileFormatError(f"line {wrong} of {path.name} has {len(rows[wrong - 1])} values for {len(names)} columns")
    return {name: [row[place] for row in rows[1:]] for place, name in enumerate(names)}


def _column(
    table: Mapping[str, list[str]], name: str, usual: tuple[str, ...], columns: Mapping[str, str] | None, path: Path
) -> Array | None:
    if columns is not None and name in columns:
        if columns[name] not in table:
            raise FileFormatError(f"{path.name} has no column {columns[name]!r}; it has {', '.join(table)}")
        return _numbers(table[columns[name]], columns[name], path)
    known = {column.lower(): column for column in table}
    column = next((known[each] for each in usual if each in known), None)
    return None if column is None else _numbers(table[column], column, path)


def _numbers(words: list[str], column: str, path: Path) -> Array:
    values = np.full(len(words), np.nan)
    for number, word in enumerate(words):
        if word.strip().lower() in ("", "nan", "na", "."):
            continue
        try:
            values[number] = float(word)
        except ValueError:
            raise FileFormatError(
                f"line {number + 2} of {path.name} holds {word!r} in the column {column!r}, which is no number"
            ) from None
    return values


def _missing(path: Path, missing: list[str], table: Mapping[str, list[str]]) -> str:
    return (
        f"{path.name} has no column that is known to hold {' and '.join(missing)}; it has {', '.join(table)}: "
        f"name them, such as columns={{{missing[0]!r}: {next(iter(table))!r}}}"
    )
