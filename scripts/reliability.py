"""Put every reliability case to our library and to the installed peers, and write docs/reliability.md.

Run as ``python scripts/reliability.py [--output FILE] [--only NAME ...]``, with both frameworks and the peers; absent
ones are left out. Exit code 1 where our own library is wrong, unclear, or refuses what must be right.
"""

import argparse
import importlib.metadata
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # tests and this script run the same cases

from reliability.cases import CASES  # noqa: E402
from reliability.gather import gather  # noqa: E402
from reliability.runner import Outcome, failures  # noqa: E402
from reliability.subjects import SUBJECTS  # noqa: E402
from reliability.verdict import Kind, Section  # noqa: E402

Outcomes = Mapping[str, Sequence[Outcome]]
COUNTED = (Kind.RIGHT, Kind.REFUSED, Kind.UNCLEAR, Kind.WRONG)
WORDS = {
    Kind.NOT_APPLICABLE: "–",
    Kind.RIGHT: "right",
    Kind.REFUSED: "refused",
    Kind.UNCLEAR: "unclear",
    Kind.WRONG: "**wrong**",
}
METHODS = """\
A case is one claim about any library that explains models. It is put to every method that the claim concerns and
the library has: CAM, Grad-CAM, gradient, LRP, CLEAR, guided backpropagation. The worst of its methods is the case's
verdict.

- **right**: the map is that of the oracle, in the library's own convention; where the case looks at the caller's
  model, input and random state, they are as before. Within 1e-4 of the map's largest value for us and 1e-3 for
  others, in float32.
- **refused**: an error or a warning that names the trouble. For us, only an error of our own; for others any
  exception, also one from deep inside PyTorch, whose message names what was wrong.
- **unclear error**: an exception whose message does not say what was wrong, a crash of the interpreter, or no
  return.
- **wrong**: another map without a word, or the model, the input or the random state changed.

Oracles: central differences in float64 of a copy of the model made beforehand; relevance and guided signals by
matrices found column by column; class weights times features; closed forms. No oracle uses automatic
differentiation, or a library that is judged. Networks are tiny, with the same weights in both frameworks.

Others are used as their manuals show, with the layer that they need, and are asked only what they offer.
Conventions are not counted as wrong; the oracle's map is put through them first:

- captum: signed Grad-CAM, magnitudes of gradients, LRP by the epsilon rule everywhere
- grad-cam: positive part, min-max, bilinear enlargement, min-max
- torchcam: min-max, for Grad-CAM of the positive part
- zennit: EpsilonPlus, batch norms merged by its canonizer, relevance from the logit; the class is chosen by the
  caller's own tensor, so that cases about targets do not apply
- MONAI: the head's bias in the class map, enlarged, min-max inverted, 0 for a constant map; gradients one image at
  a time
- medcam: positive part, min-max; mean over channels for guided backpropagation; two and three space axes

The verdict of others on "4 threads share one model" may change from run to run: wrong, unclear, or a crash.
"""
EARLIER = """\
An earlier list of 100 cases, of which these are a rewriting, found right or clearly refused: captum 65 of 86,
grad-cam 43 of 76, torchcam 61 of 76, zennit 45 of 64, MONAI 45 of 72, medcam 48 of 66; silently wrong were 14, 13,
7, 11, 13 and 10, and unclear 7, 20, 8, 8, 14 and 8. We count otherwise: the verdict is that of the worst of a
library's methods, so that guided backpropagation, which replaces modules or leaves hooks, weighs more. Cases of
their own are an IndexError that is swallowed, input made in inference mode, copying, pickling and training
afterwards, and predicted classes in a batch. A zero map of a gradient that is cut by `round()` counts as wrong, and
so do changed statistics of a model in training mode. We are more lenient where an exception from inside PyTorch
happens to name the trouble.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "reliability.md")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, help="print the verdicts of these, write nothing")
    asked = parser.parse_args()
    outcomes: dict[str, Sequence[Outcome]] = {}
    for name in asked.only or SUBJECTS:
        if version(SUBJECTS[name].package) is None:
            say(f"{SUBJECTS[name].title}: not installed, left out")
            continue
        outcomes[name] = gather(name)
        counts = Counter(outcome.kind for outcome in outcomes[name])
        say(f"{SUBJECTS[name].title}: " + ", ".join(f"{counts[kind]} {kind.value}" for kind in COUNTED))
        if asked.only:
            print_details(outcomes[name])
    if not asked.only:
        asked.output.write_text("\n".join(page(outcomes)).rstrip() + "\n", encoding="utf-8")
    bad = [
        f"{name}, {outcome.case.name}: {found}"
        for name in outcomes
        if SUBJECTS[name].module == "ours"
        for outcome in outcomes[name]
        for found in failures(outcome)
    ]
    for line in bad:
        say(f"OURS FAILS  {line}")
    return 1 if bad else 0


def say(line: str) -> None:
    print(line, flush=True)


def version(package: str) -> str | None:
    """What is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_details(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        say(f"  {outcome.case.name}: {outcome.kind.value}")
        for method, verdict in outcome.by_method.items():
            say(f"      {method}: {verdict.kind.value}; {verdict.reason}")


# ---- the page


def page(outcomes: Outcomes) -> list[str]:
    """Lines of docs/reliability.md."""
    versions = {SUBJECTS[name].package: version(SUBJECTS[name].package) for name in outcomes}
    listed = ", ".join(f"{package} {number}" for package, number in {"xai-med": version("xai-med"), **versions}.items())
    return [
        "# Right, or refused",
        "",
        f"{len(CASES)} cases of `tests/reliability/`, measured by `scripts/reliability.py`. Versions: {listed}.",
        "",
        *summary(outcomes),
        "## How a verdict is reached",
        "",
        *METHODS.splitlines(),
        "",
        "## An earlier count",
        "",
        *EARLIER.splitlines(),
        "",
        "## All cases",
        "",
        *(line for section in Section for line in table(section, outcomes)),
        "## What went wrong",
        "",
        "Method by method: what was measured where a library is wrong, or said where its error is unclear.",
        "",
        *(line for name in outcomes for line in troubles(name, outcomes[name])),
    ]


def summary(outcomes: Outcomes) -> list[str]:
    rows = []
    for name, found in outcomes.items():
        counts = Counter(outcome.kind for outcome in found)
        numbers = [str(counts[kind]) for kind in COUNTED]
        rows.append([SUBJECTS[name].title, str(sum(counts[kind] for kind in COUNTED)), *numbers])
    return markdown(["", "cases tried", "right", "refused", "unclear error", "silently wrong"], rows)


def table(section: Section, outcomes: Outcomes) -> list[str]:
    rows = [
        [sentence(case.sentence), *(WORDS[outcomes[name][number].kind] for name in outcomes)]
        for number, case in enumerate(CASES)
        if case.section is section
    ]
    return [f"### {section.value}", "", *markdown(["", *(SUBJECTS[name].title for name in outcomes)], rows)]


def troubles(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        f"- {outcome.case.name}, {method}: {verdict.kind.value}; {sentence(tidy(verdict.reason))}"
        for outcome in outcomes
        for method, verdict in outcome.by_method.items()
        if verdict.kind in (Kind.WRONG, Kind.UNCLEAR)
    ]
    return [f"### {SUBJECTS[name].title}", "", *(lines or ["Nothing."]), ""]


def sentence(text: str) -> str:
    """Text that a table can hold."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def tidy(reason: str) -> str:
    """Without addresses and long lists, which change from run to run."""
    reason = re.sub(r"0x[0-9a-f]+", "0x…", " ".join(reason.split()))
    return reason if len(reason) <= 140 else reason[:137] + "..."


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(row)} |" for row in ruled), ""]


if __name__ == "__main__":
    sys.exit(main())
