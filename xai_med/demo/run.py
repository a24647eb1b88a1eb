"""The embedded demonstration: phantoms, one network, five methods, every installed framework."""

from collections.abc import Callable
from pathlib import Path

from xai_med.demo.measure import TOLERANCE_PIXELS, installed_frameworks, measure
from xai_med.demo.phantoms import phantoms
from xai_med.demo.report import as_text, remarks, table, write_page, write_pictures

SEED = 977  # apart from every seed of training and of the tests

LEGEND = """\
Percentages: present findings whose map peaks in the finding or within {tolerance} pixels of it.
'differs', 'at most': the median and the worst map's largest difference to {reference}'s, relative to its range, in
float32; the worst is where a max pool or ReLU decided otherwise on values that are equal up to rounding.
The network was trained on labels and, with a small weight, on the places of findings: that cam hits is trained in."""


def run_demo(folder: Path, *, count: int = 100, say: Callable[[str], None] = print) -> Path:
    """Explain phantoms by every method in every installed framework, and write what was found.

    Parameters
    ----------
    folder : Path
        Made where it does not exist; files of the same names are replaced.
    count : int
        Number of phantoms for the table, at least 1.
    say : callable
        Receives each line for the user.

    Returns
    -------
    Path
        The index page.

    Raises
    ------
    MissingDependencyError
        No framework, or no library to draw with, is installed.
    """
    frameworks = installed_frameworks()
    made = phantoms(count, seed=SEED)
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{count} phantoms, {int(made.labels.sum())} findings, frameworks: {', '.join(frameworks)}")
    measured = measure(made, frameworks, progress=lambda text: say(f"  {text} ..."))
    header, rows = table(measured, made)
    texts = remarks(measured)
    say("")
    say(as_text(header, rows))
    say("")
    say(LEGEND.format(tolerance=TOLERANCE_PIXELS, reference=frameworks[0]))
    for text in texts:
        say(text)
    pictures = write_pictures(folder, measured, made)
    page = write_page(folder, header, rows, pictures, texts)
    say("")
    say(f"{len(pictures)} pictures and one page are in {folder}")
    say(f"open {page}")
    return page
