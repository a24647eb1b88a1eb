"""The README's counts are those of the pages that the scripts write."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def counts(text):
    """The first table of counts in a text, line by line."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|  | cases tried |"))
    return [line for line in lines[start : start + 20] if line.startswith("|")]


def test_readme_shows_the_counts_of_the_page():
    measured = counts((ROOT / "docs" / "reliability.md").read_text())
    assert len(measured) > 3
    assert counts((ROOT / "README.md").read_text()) == measured


def test_readme_shows_how_many_architectures_work():
    page = (ROOT / "docs" / "compatibility.md").read_text()
    counted = next(line for line in page.splitlines() if line.endswith("refused.") and "cells:" in line)
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert counted.removesuffix(".") in readme


def test_we_are_silently_wrong_in_no_case():
    ours = [line for line in counts((ROOT / "docs" / "reliability.md").read_text()) if "xai_med" in line]
    assert len(ours) == 2
    assert all(line.endswith("| 0 | 0 |") for line in ours)
