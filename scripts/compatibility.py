"""Measure what docs/compatibility.md states: real architectures, unmodified, by every method, against oracles.

Run as ``python scripts/compatibility.py [--only NAME] [--jobs N] [--results FOLDER] [--output FILE]``, with the
frameworks and as many of the libraries as are there. Exit code 1 where an answer is wrong, unchecked or a raw error.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # tests and this script measure with the same functions

from zoo.entry import Architecture  # noqa: E402
from zoo.measure import METHODS, RAW_ERROR, REFUSED, WORKS, Cell, measured  # noqa: E402
from zoo.models import CATALOGUE, LIBRARIES, built, is_installed  # noqa: E402
from zoo.reference import Question  # noqa: E402

PACKAGES = {"paddle": "paddlepaddle"}
"""Where a package's name is not that of its module."""
MEASURED_CODE = ("xai_med", "xai_med_torch", "xai_med_paddle", "zoo")
LONGEST_S = 3600
HEADER = ("model", "image", *(f"`{method}`" for method in METHODS), "seconds")
MEANING = """\
Real architectures as their libraries ship them, with random weights (batch norms with statistics that differ from the
images', no idle layer), small images, two classes. Each cell is measured, not claimed:

- **works**: the library answers, and the answer agrees with an oracle that knows nothing of our code. The first number
  is the oracle's residual in float64, the second how far the answer in float32 is from that in float64 (norm of the
  difference, relative). Where the second is large, ask for `dtype="float64"`.
- **refused**: a named error that says why and what to do instead; its words are below the table.
- **WRONG**, **raw error**, **no oracle**: an oracle disagrees, another exception escapes, or nothing can judge the
  answer. These are defects.

| method | oracle |
| --- | --- |
| `cam` | W F with features from the framework's own hook at the layer that feeds the pool, and mean + bias = logit; \
at most 1e-10 |
| `grad_cam` | sums of the signed map against random fields are finite differences of the score, with the layer's \
output moved by a hook; at most 1e-5 |
| `gradient` | sums against three random images and one pixel are finite differences of the score; at most 1e-5 |
| `lrp` | relevance written out layer by layer on a second recording of the model below Python (ATen operators), every \
value and the stated lost share; Paddle models by a PyTorch twin of the same weights; at most 1e-7 (1e-4 for twins \
with a hard sigmoid, whose slope is rounded in Paddle) |
| `clear` | finite differences of each class's own evidence, the sum over cells of relu(M) M with the first factor \
fixed; M is the class map, or the logit where the model has none; at most 1e-5 |

The share of the logit that LRP loses to biases and dead units is stated with each explanation, and here in brackets.
With random weights, whose logits are small, it may be many times the logit. Grad-CAM is asked without `layer=` and must
arise at the layer that the architecture's source shows to be the last with cells; dense outputs name one.
Seconds: of one answer of each method in float32 on one core, together, rounded up.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="models whose library:name contains this; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time, each in a process of its own")
    parser.add_argument(
        "--results", type=Path, help="folder for a file per model: an interrupted run of the same code goes on"
    )
    parser.add_argument("--output", type=Path, help="default: docs/compatibility.md; with --only: the terminal")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        return work(asked.worker, asked.output)
    chosen = [each for each in CATALOGUE.values() if is_installed(each.library) and is_chosen(each, asked.only)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as pool:
        kept = (asked.results or Path(folder)) / fingerprint()
        kept.mkdir(parents=True, exist_ok=True)
        rows = dict(zip([each.key for each in chosen], pool.map(lambda each: row_of(each, kept), chosen), strict=True))
    page = render(rows)
    output = asked.output or (None if asked.only else ROOT / "docs" / "compatibility.md")
    if output is None:
        say(page)
    else:
        output.write_text(page, encoding="utf-8")
    cells = [Cell(**cell) for row in rows.values() for cell in row.values()]
    return 0 if all(cell.status in (WORKS, REFUSED) for cell in cells) else 1


def say(line: str) -> None:
    print(line, flush=True)


def fingerprint() -> str:
    """A digest of the measuring and the measured code and of the packages: old results do not pass for new."""
    digest = hashlib.sha256()
    for package in MEASURED_CODE:
        specification = importlib.util.find_spec(package)
        for folder in (specification.submodule_search_locations or ()) if specification else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.read_bytes())
    digest.update(versions(["numpy", "torch", *(PACKAGES.get(name, name) for name in LIBRARIES)]).encode())
    return digest.hexdigest()[:16]


def is_chosen(architecture: Architecture, wanted: Sequence[str] | None) -> bool:
    return wanted is None or any(word.lower() in architecture.key.lower() for word in wanted)


# ---- measuring


def work(key: str, output: Path) -> int:
    """Measure one model in this process."""
    architecture = CATALOGUE[key]
    question = Question(architecture, built(architecture), architecture.images())
    cells = {}
    for method in METHODS:
        cells[method] = asdict(measured(question, method))
        output.write_text(json.dumps(cells), encoding="utf-8")
    return 0


def row_of(architecture: Architecture, folder: Path) -> dict[str, Any]:
    """The cells of one model, measured in a process of its own unless they are there."""
    path = folder / f"{architecture.key.replace(':', '-').replace(' ', '-')}.json"
    begun = time.perf_counter()
    if not path.exists():
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        why = run_worker(architecture.key, unfinished)
        cells = json.loads(unfinished.read_text(encoding="utf-8")) if unfinished.exists() else {}
        for method in METHODS:
            cells.setdefault(method, asdict(Cell(RAW_ERROR, message=why)))
        path.write_text(json.dumps(cells), encoding="utf-8")
        unfinished.unlink(missing_ok=True)
    cells = json.loads(path.read_text(encoding="utf-8"))
    outcome = ", ".join(f"{method} {cell['status']}" for method, cell in cells.items())
    say(f"{architecture.key}: {outcome} ({time.perf_counter() - begun:.0f} s)")
    return cells


def run_worker(key: str, output: Path) -> str:
    """Run this script for one model; returns why it ended early, in words."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), "--worker", key, "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not finished after {LONGEST_S} s"
    lines = ended.stderr.strip().splitlines()
    return f"the process ended with {ended.returncode}: {lines[-1] if lines else 'no message'}"


# ---- the page


def render(rows: dict[str, dict[str, Any]]) -> str:
    """The page."""
    cells = [Cell(**cell) for row in rows.values() for cell in row.values()]
    counts = ", ".join(f"{sum(cell.status == status for cell in cells)} {status}" for status in ordered(cells))
    lines = ["# Compatibility", "", "Measured by `scripts/compatibility.py`.", "", MEANING]
    lines += [f"{len(rows)} models, {len(cells)} cells: {counts}.", ""]
    lines += [f"Versions: {versions(['xai-med', 'numpy', 'torch', 'paddlepaddle'])}.", ""]
    notes: list[str] = []
    for library, architectures in LIBRARIES.items():
        measured_here = [each for each in architectures if each.key in rows]
        if is_installed(library) and not measured_here:
            continue
        lines += [f"## {library}", ""]
        if not measured_here:
            lines += ["Not installed where this page was made.", ""]
            continue
        lines += [f"{versions([PACKAGES.get(library, library)])}", ""]
        table = [HEADER, ["---"] * len(HEADER), *(table_row(each, rows[each.key], notes) for each in measured_here)]
        lines += [f"| {' | '.join(row)} |" for row in table] + [""]
    lines += ["## Words", "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(lines).rstrip() + "\n"


def ordered(cells: list[Cell]) -> list[str]:
    known = (WORKS, REFUSED)
    return [*known, *sorted({cell.status for cell in cells} - set(known))]


def versions(packages: Sequence[str]) -> str:
    """Names and versions of what is installed."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def table_row(architecture: Architecture, row: dict[str, Any], notes: list[str]) -> list[str]:
    cells = [Cell(**row[method]) for method in METHODS]
    image = " x ".join(map(str, architecture.shape))
    name = f"{architecture.name} ({architecture.family})"
    if architecture.note:
        name += f" {noted(architecture.note, notes)}"
    seconds = rounded_up(sum(cell.seconds for cell in cells))
    return [name, image, *(in_words(cell, notes) for cell in cells), seconds]


def in_words(cell: Cell, notes: list[str]) -> str:
    if cell.status != WORKS:
        status = cell.status if cell.status == REFUSED else f"**{cell.status}**"
        residual = "" if cell.residual is None else f" {cell.residual:.0e}"
        return f"{status}{residual} {noted(cell.message, notes)}" if cell.message else f"{status}{residual}"
    numbers = " / ".join("0" if value == 0 else f"{value:.0e}" for value in (cell.residual or 0, cell.narrow or 0))
    lost = f" [{cell.message.removeprefix('lost share ')}]" if cell.message.startswith("lost share") else ""
    rest = f" {noted(cell.message, notes)}" if cell.message and not lost else ""
    return f"works {numbers}{lost}{rest}"


def noted(words: str, notes: list[str]) -> str:
    """The number of a note, which equal notes share."""
    words = " ".join(words.split()).replace("|", "\\|")
    if words not in notes:
        notes.append(words)
    return f"({notes.index(words) + 1})"


def rounded_up(seconds: float) -> str:
    """To 1, 2 or 5 times a power of ten, so that the page does not change with every run."""
    steps = (factor * 10**power for power in range(4) for factor in (1, 2, 5))
    return str(next((step for step in steps if seconds <= step), "more"))


if __name__ == "__main__":
    sys.exit(main())
