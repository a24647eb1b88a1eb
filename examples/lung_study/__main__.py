"""Compare relevance in the lungs between two groups: ``python -m examples.lung_study --help``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from examples.lung_study.analysis import analysed, explained, lines
from examples.lung_study.groups import phantom_study, radiograph_study
from examples.lung_study.picture import draw

NOTE = """\
Enrichment is the share of a map's positive part that lies in the lungs, divided by their share of the image: 1 is what
an even map gets. In brackets what the same masks get at random places of the same image, and how rarely they are as
far from that as the lungs are. p: permutation of patients; effect: rank-biserial correlation, positive where the first
group's scores are larger. The last column tests the mean in the lungs, which grows with the map's strength too. The
last line is a map that is strongest in the middle of every image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Explain, compare, print, and draw."""
    asked = _asked(arguments)
    study = phantom_study(asked.phantoms) if asked.data is None else radiograph_study(asked.data)
    counts = ", ".join(f"{study.labels.count(name)} {name}" for name in sorted(set(study.labels)))
    for framework in asked.frameworks:
        analysis = analysed(study, explained(study, framework))
        print(f"{study.title}; {counts}; {framework}")
        print("\n".join(lines(study, analysis)) + "\n")
        if asked.picture and framework == asked.frameworks[0]:
            draw(study, analysis, asked.picture)
    print(NOTE)
    for caveat in analysis.comparisons["enrichment"].caveats:
        print(f"- {caveat}")


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.lung_study", description=__doc__)
    parser.add_argument("--frameworks", nargs="+", choices=("torch", "paddle"), default=["torch", "paddle"])
    parser.add_argument("--data", type=Path, help="folder of real data (docs/examples.md); phantoms without it")
    parser.add_argument("--phantoms", type=int, default=120)
    parser.add_argument("--picture", type=Path, help="PNG or SVG of all scores")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
