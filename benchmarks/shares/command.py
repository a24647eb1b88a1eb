"""``python -m benchmarks profile``: where our time goes, for workloads and jobs."""

import argparse
import importlib
import statistics
import subprocess
import sys

from benchmarks.contest import Arena
from benchmarks.frameworks.runtime import Runtime, runtime_for
from benchmarks.images import images
from benchmarks.jobs import JOBS
from benchmarks.libraries.library import NotOfferedError, Run
from benchmarks.libraries.table import LIBRARIES, OURS
from benchmarks.plan import QUICK_WORKLOADS
from benchmarks.processes import environment
from benchmarks.reporting.tables import markdown, number
from benchmarks.shares.ledger import Ledger, by_part
from benchmarks.shares.parts import PARTS
from benchmarks.timing import Budget, interleaved, timed
from benchmarks.workloads import find_workload

USUAL_JOBS = ("grad_cam_14", "gradient_14", "lrp_14")
BOOKED = 5
"""Calls under the ledger."""
FUNCTIONS = 12


def print_profile(asked: argparse.Namespace) -> int:
    """Profile each workload and job asked for, each workload in a process of its own; returns the exit code."""
    for workload in asked.workload or QUICK_WORKLOADS[:1]:
        options = [workload, str(asked.threads), asked.device, str(int(asked.operators)), *(asked.job or USUAL_JOBS)]
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.shares.command", *options]
        ended = subprocess.run(command, env=environment(asked.threads), check=False).returncode
        if ended:
            return ended
    return 0


def main(workload: str, threads: str, device: str, operators: str, *jobs: str) -> int:
    """Profile some jobs of one workload in this process."""
    known = find_workload(workload)
    runtime = runtime_for(known.framework, device=device, threads=int(threads))
    arena = Arena(known, runtime, runtime.tensor(images(known.shape)))
    for job in jobs:
        try:
            run = LIBRARIES[OURS].prepare(JOBS[job], arena.subject(OURS)).run
        except NotOfferedError as error:
            print(f"{job}: {error}")
            continue
        print("\n".join([f"### {JOBS[job].title}: {known.framework}, {known.words}", "", *_profiled(run, arena)]))
        if operators == "1" and known.framework == "torch":
            print(_operators(run))
    return 0


def _profiled(run: Run, arena: Arena) -> list[str]:
    runtime = arena.runtime
    run()
    budget = Budget(least=3, most=15, seconds=6)
    series, failures = interleaved({OURS: run}, arena.plain, budget, synchronise=runtime.synchronise)
    for error in failures.values():
        raise error
    job_s = statistics.median(sample.wall_s for sample in series[OURS].jobs)
    forward_s = statistics.median(sample.wall_s for sample in series[OURS].plain)
    ledger, true_s = Ledger(), 0.0
    for _ in range(BOOKED):
        true_s += timed(run, runtime.synchronise).wall_s
        ledger.book(lambda: _waited(run, runtime))
    functions = ledger.functions(true_s=true_s)
    parts = by_part(functions)
    booked_s = sum(parts.values()) / BOOKED
    lines = [
        f"A call takes {1000 * job_s:.1f} ms, a plain forward pass {1000 * forward_s:.1f} ms. Divided here are "
        f"{1000 * booked_s:.1f} ms: what booking itself costs is taken off, evenly for each call of a function. "
        "Arithmetic that is written with operators counts as the function's own.",
        "",
    ]
    found = [(part, parts[part] / BOOKED) for part in PARTS if part in parts]
    rows = [[part, f"{1000 * s:.1f}", f"{100 * s / booked_s:.1f} %", number(s / forward_s)] for part, s in found]
    lines += markdown(["part", "ms", "share", "forward passes"], rows)
    lines += ["Functions with the largest own time:", ""]
    largest = sorted(functions.items(), key=lambda each: -each[1])[:FUNCTIONS]
    rows = [[f"`{name}`", f"{1000 * s / BOOKED:.1f}", part.partition(":")[0]] for (part, name), s in largest]
    return [*lines, *markdown(["function", "ms", "part"], rows)]


def _waited(run: Run, runtime: Runtime) -> None:
    run()
    runtime.synchronise()


def _operators(run: Run) -> str:
    """PyTorch's own account of its operators."""
    profiler = importlib.import_module("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as found:
        run()
    return str(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
