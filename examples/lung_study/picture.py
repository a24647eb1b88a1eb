"""All scores of a study in one picture: every image a dot, chance as a band."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from examples.lung_study.analysis import Analysis
from examples.lung_study.groups import Study

COLOURS = ("#0072b2", "#d55e00")  # of Okabe and Ito, told apart by colour-blind readers too


def draw(study: Study, analysis: Analysis, path: Path) -> None:
    """Enrichment of the lungs by method and group; grey is where 95 % of the groups' means lie by chance."""
    names = sorted(set(study.labels))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    random = np.random.default_rng(0)
    for place, chance in enumerate(analysis.chances.values()):
        for side, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
            images = [number for number, label in enumerate(study.labels) if label == name]
            centre = place + 0.4 * side - 0.2
            means = np.nanmean(chance.shifted[:, images, 0, 0], axis=1)
            low, high = np.quantile(means, (0.025, 0.975))
            axes.fill_between([centre - 0.17, centre + 0.17], low, high, color="0.8", lw=0)
            scores = chance.observed.of("lungs")[images]
            spread = random.uniform(-0.12, 0.12, len(scores))
            axes.plot(centre + spread, scores, ".", color=colour, alpha=0.5, label=name if place == 0 else None)
            axes.plot([centre - 0.17, centre + 0.17], [np.nanmean(scores)] * 2, color=colour, lw=2)
    axes.axhline(1, color="0.5", lw=0.8, ls=":")
    axes.set_xticks(range(len(analysis.chances)), list(analysis.chances))
    axes.set_ylabel("enrichment of the lungs")
    axes.set_title(f"{study.title}\ngrey: 95 % of means of the same masks at random places", fontsize=10)
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path, dpi=150)
