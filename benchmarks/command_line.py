"""The command line: ``python -m benchmarks``."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import ROOT, available_cores, run_description
from benchmarks.measuring import measure_all, measure_imports
from benchmarks.outcome import Setting
from benchmarks.plan import Wish, growth_assignments, memory_assignments, speed_assignments, unknown_words
from benchmarks.reporting.page import write_report
from benchmarks.reporting.terminal import summary
from benchmarks.shares.command import print_profile
from benchmarks.store import Store
from benchmarks.timing import Budget

PARTS = ("speed", "memory", "growth")
RESULTS = ROOT / "benchmarks" / "results.json"
QUICK = Budget(least=2, most=3, seconds=1.0)

DESCRIPTION = """\
What explanations cost, ours and those of every installed peer, in plain no_grad forward passes of the same batch.

  all       speed, memory and growth (the default)
  speed     each job of each library, by turns with forward passes
  memory    peak memory of each job in a process of its own
  growth    our cost against classes, batch, image size, calls; importing
  report    docs/performance.md and its pictures, from the results
  profile   where our own time goes, for one workload and job

Results are kept in one JSON file. What is there for the same versions and the same code is not measured again, so that
an interrupted run can be started again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    asked = parser.parse_args(given)
    if asked.part == "profile":
        return print_profile(asked)
    output = asked.output or (RESULTS.with_name("results-quick.json") if asked.quick else RESULTS)
    store = Store(output)
    if asked.part == "report":
        return write_report(store, asked.page, is_quick=asked.quick)
    wish = _wish(asked, output)
    for complaint in unknown_words(wish):
        parser.error(complaint)
    run = store.begin(run_description(shlex.join(["python", "-m", "benchmarks", *given])))
    parts = PARTS if asked.part == "all" else (asked.part,)
    if "speed" in parts:
        measure_all(speed_assignments(wish), wish, store, run)
    if "memory" in parts:
        measure_all(memory_assignments(wish), wish, store, run)
    if "growth" in parts:
        measure_imports(wish, store, run)
        measure_all(growth_assignments(wish), wish, store, run)
    print(summary(store, parts, is_quick=asked.quick))
    return 0


def _wish(asked: argparse.Namespace, output: Path) -> Wish:
    usual = QUICK if asked.quick else Budget()
    return Wish(
        workloads=tuple(asked.workload or ()),
        jobs=tuple(asked.job or ()),
        libraries=tuple(asked.library or ()),
        frameworks=tuple(asked.framework or ()),
        setting=Setting(asked.device, asked.threads, asked.quick),
        budget=Budget(asked.least_rounds or usual.least, asked.rounds or usual.most, asked.seconds or usual.seconds),
        is_again=asked.again,
        output=output,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", default="all", choices=("all", *PARTS, "report", "profile"))
    for name, what in (
        ("workload", "models and batches, such as densenet121-b1"),
        ("job", "jobs, such as lrp_14"),
        ("library", "libraries, such as captum"),
    ):
        parser.add_argument(f"--{name}", action="append", help=f"{what}: names or parts of names; may be repeated")
    parser.add_argument("--framework", action="append", choices=("torch", "paddle"), help="default: both")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of the CPU; default: all cores")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "gpu"), help="default: a GPU if there is one"
    )
    parser.add_argument("--rounds", type=int, help=f"most rounds of a job; default {Budget().most}")
    parser.add_argument("--least-rounds", type=int, help=f"least rounds, however long; default {Budget().least}")
    parser.add_argument("--seconds", type=float, help=f"time for one library's job; default {Budget().seconds:g}")
    parser.add_argument("--quick", action="store_true", help="two workloads, few rounds: to see whether all works")
    parser.add_argument("--again", action="store_true", help="measure also what is stored")
    parser.add_argument("--output", type=Path, help=f"results; default {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md", help="what report writes")
    parser.add_argument("--operators", action="store_true", help="with profile: also the framework's own operators")
    return parser
