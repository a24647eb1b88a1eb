"""The headline: our cost against the best peer's, job by job; for the README too."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.jobs import JOBS
from benchmarks.libraries.table import OURS, is_ours
from benchmarks.outcome import Outcome
from benchmarks.reporting.tables import NOTHING, cells_of, markdown, number
from benchmarks.workloads import WORKLOADS

WORKLOADS_SHOWN = ("densenet121-b1", "resnet50-b1")
BEGIN, END = "<!-- performance: written by python -m benchmarks report -->", "<!-- end of performance -->"


def headline(outcomes: Sequence[Outcome]) -> list[str]:
    """Per job and network: forward passes that we take, and those that the best peer takes."""
    shown = [key for key in WORKLOADS_SHOWN if any(each.workload == key for each in outcomes)]
    header = ["in forward passes"]
    for key in shown:
        header += [f"{WORKLOADS[key].title}, batch {WORKLOADS[key].shape[0]}: xai_med", "best peer", "peer ÷ xai_med"]
    rows = []
    for job in JOBS:
        entries = [_entry(outcomes, key, job) for key in shown]
        if any(entry[0] != NOTHING for entry in entries):
            rows.append([JOBS[job].title, *(part for entry in entries for part in entry)])
    return markdown(header, rows)


def best_peer(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The fastest of others' outcomes for one job."""
    peers = [each for each in outcomes if not is_ours(each.library) and each.status == "measured"]
    return min(peers, key=lambda each: each.spreads["wall_ratio"].median, default=None)


def written_into(readme: Path, lines: Sequence[str]) -> bool:
    """Replace what stands between the two marks of a README; returns whether they are there."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        return False
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    content = "\n".join(lines).strip()
    readme.write_text(f"{before}{BEGIN}\n\n{content}\n\n{END}{after}", encoding="utf-8")
    return True


def _entry(outcomes: Iterable[Outcome], workload: str, job: str) -> list[str]:
    cells = cells_of(outcomes, "speed", workload)
    ours, peer = cells.get((job, OURS)), best_peer(each for (of, _), each in cells.items() if of == job)
    if ours is None or ours.status != "measured":
        return [NOTHING, NOTHING, NOTHING]
    own = ours.spreads["wall_ratio"].median
    if peer is None:
        return [number(own), "none", NOTHING]
    other = peer.spreads["wall_ratio"].median
    return [number(own), f"{number(other)} ({peer.library})", f"{number(other / own)}"]
