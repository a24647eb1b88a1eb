"""The benchmark measures what it says, judges by its numbers, and turns what fails into reasons."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.assignment import EVERYBODY, Assignment, Begun, event_line, read_event
from benchmarks.command_line import main
from benchmarks.frameworks.runtime import runtime_for
from benchmarks.goals import GOALS, Verdict, judged
from benchmarks.growth.calls import WINDOWS
from benchmarks.growth.points import AXES, METHODS, Point
from benchmarks.images import images
from benchmarks.jobs import JOBS
from benchmarks.libraries import table
from benchmarks.libraries.library import Library, Prepared
from benchmarks.libraries.ours import NAMES
from benchmarks.machine import run_description
from benchmarks.outcome import Outcome, Setting
from benchmarks.peak import PeakMeter
from benchmarks.plan import missing
from benchmarks.processes import _interrupted, carry_out
from benchmarks.reporting.headline import BEGIN, END
from benchmarks.reporting.page import write_report
from benchmarks.shares.ledger import Ledger, by_part
from benchmarks.shares.parts import FOLLOWING, FORWARD, PULLBACK, READ_OUT
from benchmarks.speed import measure
from benchmarks.spread import Spread
from benchmarks.store import Store
from benchmarks.timing import Budget, Sample, Series, interleaved
from benchmarks.worker import KINDS
from benchmarks.workloads import GROWING, TINY, WORKLOADS
from xai_med import explain

SETTING = Setting("cpu", 1)
ONCE = Budget(least=1, most=1, seconds=0.0)


def spread(median: float) -> Spread:
    """Around a number."""
    return Spread.of([0.9 * median, median, 1.1 * median])


def outcome(kind: str, workload: str, job: str, library: str = "xai_med", **known) -> Outcome:
    """One that was measured, unless it says otherwise."""
    return replace(Outcome(kind, workload, job, library, "1.0 abc", SETTING, "measured", run="1"), **known)


def nothing() -> None:
    """A device that is always idle."""


# ---- timing


def test_each_job_follows_a_forward_pass_and_rounds_begin_with_another_job():
    log: list[str] = []
    contestants = {name: lambda name=name: log.append(name) for name in "ABC"}
    interleaved(contestants, lambda: log.append("forward"), Budget(3, 3, 9.0), synchronise=nothing)
    assert log[0::2] == ["forward"] * 9
    assert log[1::2] == ["A", "B", "C", "B", "C", "A", "C", "A", "B"]


def test_a_ratio_is_taken_within_a_round():
    series = Series(jobs=[Sample(2, 4), Sample(30, 10)], plain=[Sample(1, 1), Sample(10, 2)])
    found = series.summed_up()
    assert (found["wall_ratio"].smallest, found["wall_ratio"].largest) == (2, 3)
    assert (found["process_ratio"].smallest, found["process_ratio"].largest) == (4, 5)


def test_a_device_is_idle_before_and_after_every_timing():
    log: list[str] = []
    interleaved({"A": lambda: log.append("A")}, lambda: log.append("f"), ONCE, synchronise=lambda: log.append("wait"))
    assert log == ["wait", "f", "wait", "wait", "A", "wait"]


@pytest.mark.parametrize(
    ("rounds", "spent_s", "is_allowed"),
    [(0, 0, True), (2, 100, True), (3, 6.1, False), (3, 5.9, True), (39, 4, True), (40, 4, False)],
)
def test_slow_jobs_get_the_least_rounds_and_fast_ones_the_most(rounds, spent_s, is_allowed):
    assert Budget(least=3, most=40, seconds=8.0).allows(rounds, spent_s) is is_allowed


def test_a_job_that_fails_while_it_is_timed_leaves_the_others_alone():
    def fails() -> None:
        raise ValueError("in the middle")

    series, failures = interleaved({"A": nothing, "B": fails}, nothing, Budget(2, 2, 1.0), synchronise=nothing)
    assert len(series["A"].jobs) == 2
    assert list(series) == ["A"]
    assert str(failures["B"]) == "in the middle"


# ---- goals


def judged_at(ratio: float) -> Verdict:
    """Of LRP for all classes on DenseNet, whose limit is 18 and stretch 14.5."""
    measured = outcome("speed", "densenet121-b1", "lrp_14", spreads={"wall_ratio": spread(ratio)})
    others = outcome("speed", "densenet121-b1", "lrp_14", "zennit", spreads={"wall_ratio": spread(1.0)})
    found = judged([measured, others])
    return next(each for each in found if (each.goal.job, each.workload) == ("lrp_14", "densenet121-b1"))


@pytest.mark.parametrize(
    ("ratio", "judgement"), [(18.1, "not met"), (18.0, "met"), (14.6, "met"), (14.5, "stretch met")]
)
def test_a_goal_is_judged_by_our_own_median(ratio, judgement):
    assert judged_at(ratio).judgement == judgement


@pytest.mark.parametrize(
    ("first", "later", "judgement"), [(140, 150, "met"), (140, 151, "not met"), (151, 9, "not met")]
)
def test_memory_is_judged_by_the_larger_of_first_and_later_calls(first, later, judgement):
    numbers = {"forward_mib": 100.0, "first_mib": first, "later_mib": later}
    found = judged([outcome("memory", "densenet121-b8", "grad_cam_14", numbers=numbers)])
    verdicts = {(each.goal.kind, each.goal.job, each.workload): each.judgement for each in found}
    assert verdicts["memory", "grad_cam_14", "densenet121-b8"] == judgement


def test_a_refusal_is_no_met_goal():
    refused = outcome("speed", "resnet50-b1", "cam_14", status="refused", reason="because")
    found = next(each for each in judged([refused]) if (each.goal.job, each.workload) == ("cam_14", "resnet50-b1"))
    assert (found.judgement, found.reason) == ("not measured", "because")


def test_every_goal_is_about_a_job_and_a_workload_that_exist():
    places = {*WORKLOADS, *(each.key for each in GROWING.values()), ""}
    for goal in GOALS:
        assert set(goal.workloads) <= places
        assert goal.job in {**JOBS, **dict.fromkeys(METHODS), "import": None}


# ---- the catalogue


def test_libraries_offer_known_methods_and_each_job_has_one_of_ours():
    methods = {job.method for job in JOBS.values()}
    assert methods == set(NAMES)
    for library in table.LIBRARIES.values():
        assert set(library.offers) <= methods


def test_a_workload_without_its_package_is_named_as_missing():
    absent = replace(TINY["torch"], module="no_such_package")
    assert missing(absent).endswith("no_such_package")


def test_images_are_the_same_each_time_with_mean_0_and_variance_1():
    first = images((2, 3, 40, 30))
    np.testing.assert_array_equal(first, images((2, 3, 40, 30)))
    assert np.abs(first.mean(axis=(1, 2, 3))).max() < 1e-6
    np.testing.assert_allclose(first.std(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_points_are_read_back_from_their_jobs():
    for axis, values in AXES.items():
        point = Point(axis, values[-1], "grad_cam")
        assert Point.read(point.job) == point
    assert Point("size", 512, "lrp").shape((1, 3, 224, 224)) == (1, 3, 512, 512)
    assert Point("batch", 8, "lrp").shape((1, 3, 224, 224)) == (8, 3, 224, 224)


# ---- from the command line to the file


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_a_tiny_workload_is_measured_end_to_end_and_not_twice(framework, tmp_path, capsys):
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    workload, output = TINY[framework].key, tmp_path / "results.json"
    asked = ["--workload", workload, "--job", "grad_cam_14", "--job", "gradient_1", "--library", "xai_med"]
    asked += ["--threads", "1", "--device", "cpu", "--rounds", "2", "--seconds", "0", "--output", str(output)]
    assert main(["speed", *asked]) == 0
    assert main(["memory", *asked]) == 0
    assert "Grad-CAM, last layer, 14 classes" in capsys.readouterr().out
    found = {(each.kind, each.job): each for each in Store(output)}
    assert set(found) == {(kind, job) for kind in ("speed", "memory") for job in ("grad_cam_14", "gradient_1")}
    for (kind, _), each in found.items():
        assert each.status == "measured", each.reason
        if kind == "speed":
            assert each.spreads["wall_ratio"].count == 2
            assert each.spreads["wall_s"].smallest > 0
        else:
            assert each.numbers["forward_mib"] >= 0
    content = output.read_text(encoding="utf-8")
    assert main(["speed", *asked]) == 0  # nothing is left to measure
    assert output.read_text(encoding="utf-8") == content


def test_what_is_asked_for_and_unknown_is_an_error(capsys):
    with pytest.raises(SystemExit):
        main(["speed", "--job", "grad_kam"])
    assert "no job is or contains 'grad_kam'" in capsys.readouterr().err


# ---- what fails


def test_a_library_that_raises_becomes_a_reason(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    def refuses(*_) -> Prepared:
        raise RuntimeError("not on\n this model")

    broken = Library("broken", "numpy", "numpy", ("torch",), {"gradient": refuses}, "")
    absent = replace(broken, key="absent", module="no_such_package")
    monkeypatch.setitem(table.LIBRARIES, "broken", broken)
    monkeypatch.setitem(table.LIBRARIES, "absent", absent)
    cells = tuple(("gradient_1", library) for library in ("broken", "absent", "xai_med"))
    events: list[Begun | Outcome] = []
    setting = Setting("cpu", torch.get_num_threads())
    measure(Assignment("speed", "tiny", cells, setting, ONCE), events.append)
    found = {each.library: each for each in events if isinstance(each, Outcome)}
    assert (found["broken"].status, found["broken"].reason) == ("refused", "RuntimeError: not on this model")
    assert (found["absent"].status, found["absent"].reason) == ("absent", "not installed")
    assert found["xai_med"].status == "measured"


def test_a_process_that_ends_early_becomes_a_reason(tmp_path):
    told: list[Outcome] = []
    store = Store(tmp_path / "results.json")
    cells = (("cam_1", "xai_med"), ("cam_14", "xai_med"))
    carry_out(Assignment("no such kind", "tiny", cells, SETTING, ONCE), store, told.append)
    assert [(each.job, each.status) for each in told] == [("cam_1", "crashed"), ("cam_14", "crashed")]
    assert "the process ended with 1: KeyError: 'no such kind'" in told[0].reason
    assert len(list(Store(store.path))) == 2


@pytest.mark.parametrize(
    ("begun", "blamed"),
    [
        (None, ["a x", "a y", "b x"]),
        (Begun("a", "y"), ["a y"]),
        (Begun("a", EVERYBODY), ["a x", "a y"]),
        (Begun("done", "x"), ["a x", "a y", "b x"]),
    ],
)
def test_the_cell_at_work_is_blamed_for_a_crash(begun, blamed):
    unfinished = [("a", "x"), ("a", "y"), ("b", "x")]
    assert [" ".join(cell) for cell in _interrupted(unfinished, begun)] == blamed


# ---- memory and shares


def test_the_peak_is_that_of_the_work_over_the_level_before():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    runtime = runtime_for("torch", device="cpu", threads=torch.get_num_threads())
    kept = np.ones(2**22)  # 32 MiB that are taken before
    meter = PeakMeter(runtime)
    peak = meter.peak_mib(lambda: float(np.ones(2**23).sum()))
    assert 60 < peak < 80  # 64 MiB, and little besides
    assert meter.peak_mib(nothing) < 8
    assert kept.sum() == 2**22


def test_all_time_is_booked_and_the_parts_of_an_explanation_are_found():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    runtime = runtime_for("torch", device="cpu", threads=torch.get_num_threads())
    tiny = TINY["torch"]
    model, batch = runtime.build(tiny), runtime.tensor(images(tiny.shape))
    ledger = Ledger()
    found = ledger.book(lambda: explain(model, batch, method="gradient", target=0))
    assert found.maps.shape == (2, 1, 32, 32)
    parts = by_part(ledger.functions())
    assert all(parts[part] > 0 for part in (FORWARD, FOLLOWING, PULLBACK, READ_OUT))
    assert sum(ledger.functions().values()) == pytest.approx(sum(parts.values()))
    half = by_part(ledger.functions(true_s=sum(parts.values()) / 2))
    assert sum(half.values()) < sum(parts.values())  # what booking costs is taken off
    assert half[FOLLOWING] / parts[FOLLOWING] < half[PULLBACK] / parts[PULLBACK]  # most where most functions are called
    operators = {name for part, name in ledger.functions() if part == FORWARD}
    assert any(name.endswith("conv2d") for name in operators)


# ---- storing


def test_outcomes_and_events_come_back_as_they_were(tmp_path):
    numbers, spreads = {"first_s": 0.5}, {"wall_ratio": spread(2.0)}
    written = outcome("speed", "tiny", "cam_1", "zennit", version="", note="mind", numbers=numbers, spreads=spreads)
    store = Store(tmp_path / "results.json")
    store.add([written])
    assert list(Store(store.path)) == [written]
    assert read_event(event_line(written)) == written
    assert read_event(event_line(Begun("a", "b"))) == Begun("a", "b")


def test_the_newest_version_of_a_cell_counts_and_older_ones_stay(tmp_path):
    store = Store(tmp_path / "results.json")
    old, new = (outcome("speed", "tiny", "cam_1", version=version) for version in ("1 old", "1 new"))
    store.add([old, new])
    assert len(list(store)) == 2
    assert [each.version for each in store.newest("speed")] == ["1 new"]
    store.add([old])
    assert [each.version for each in store.newest("speed")] == ["1 old"]


def test_a_file_of_something_else_is_not_overwritten(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"mine": 1}), encoding="utf-8")
    with pytest.raises(ValueError, match="does not hold results of this benchmark"):
        Store(path)


# ---- the page


def results(path: Path) -> Store:
    """Made-up results of every kind."""
    store = Store(path)
    assert store.begin(run_description("python -m benchmarks")) == "1"
    store.add([*speed_results(), *memory_results(), *growth_results()])
    return store


def speed_results() -> Sequence[Outcome]:
    """LRP in 15 passes, a peer's in 90; a refusal, an absence and a note."""
    times = {"forward_wall_s": spread(0.1), "process_ratio": spread(15.5)}
    return [
        outcome("speed", "densenet121-b1", "lrp_14", spreads={"wall_ratio": spread(15.0), **times}),
        outcome(
            "speed", "densenet121-b1", "lrp_14", "zennit", note="mind", spreads={"wall_ratio": spread(90.0), **times}
        ),
        outcome("speed", "densenet121-b1", "grad_cam_1", "MONAI", status="refused", reason="in-place | ReLU"),
        outcome("speed", "paddle-resnet50-b1", "grad_cam_1", spreads={"wall_ratio": spread(1.01), **times}),
        outcome("speed", "paddle-resnet50-b1", "grad_cam_1", "InterpretDL", status="absent", reason="not installed"),
    ]


def memory_results() -> Sequence[Outcome]:
    """Ours and a peer's."""
    ours, theirs = ({"forward_mib": 100.0, "first_mib": mib, "later_mib": mib - 1} for mib in (120.0, 1000.0))
    return [
        outcome("memory", "densenet121-b8", "grad_cam_14", numbers=ours),
        outcome("memory", "densenet121-b8", "grad_cam_14", "captum", numbers=theirs),
    ]


def growth_results() -> Sequence[Outcome]:
    """Curves, calls, batches and imports of all methods."""
    place = GROWING["torch"].key
    found = [outcome("import", "", "import", spreads={"wall_s": spread(0.05)})]
    windows = {f"tenth {number}": spread(0.004) for number in range(1, WINDOWS + 1)}
    for method in METHODS:
        for axis, values in AXES.items():
            for value in values:
                times = {"wall_s": spread(value / 50), "forward_wall_s": spread(value / 100), "wall_ratio": spread(2)}
                numbers = {"forward_mib": value, "first_mib": 3.0 * value}
                found.append(outcome("growth", place, Point(axis, value, method).job, numbers=numbers, spreads=times))
        numbers = {"first_s": 0.5, "calls": 1000, "memory_mib": 0.2}
        spreads = {"later_s": spread(0.1), "forward_s": spread(0.05), **windows}
        found.append(outcome("calls", place, method, numbers=numbers, spreads=spreads))
        numbers = {"images": 32, **{f"{which}_{dtype}": 1e-9 for which in ("largest", "usual") for dtype in DTYPES}}
        spreads = {"together_s": spread(0.1), "singly_s": spread(0.2), "wall_ratio": spread(0.5)}
        found.append(outcome("batches", place, method, numbers=numbers, spreads=spreads))
    return found


DTYPES = ("float32", "float64")


def test_the_page_is_made_from_the_results_alone(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    store, page = results(tmp_path / "results.json"), tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    assert write_report(store, page) == 0
    text = page.read_text(encoding="utf-8")
    row = "| LRP-ε-Z⁺, 14 classes | 15.0 | 90.0 (zennit) | 6.00 |"
    for expected in (
        row,
        "| LRP-ε-Z⁺, 14 classes | 18 × | 14.5 | 15.0 (14.2–15.8) met |",
        "| LRP-ε-Z⁺, 14 classes | 15.0 (14.2–15.8) | 90.0 (85.5–94.5)\\* |",
        "- \\* zennit, lrp: mind",
        "- MONAI: refused: in-place \\| ReLU (grad_cam_1 on densenet121-b1)",
        "- InterpretDL: not installed",
        "| Grad-CAM, last layer, 14 classes | 120 / 119 | 1000 / 999 |",
        "| peak memory, Grad-CAM, 14 classes | 1.5 × forward | – | 1.200 met |",
        "| `cam` | 2.00 ×; 3 | 2.00 ×; 42 | 2.00 ×; 300 | 2.00 ×; 3,000 |",
        "| `lrp` | 500 | 100 | 4.00 | 4.00 | 0.2 |",
        "| `import xai_med` | 45 | 50 | 3 |",
        "`python -m benchmarks`",
    ):
        assert expected in text
    written = readme.read_text(encoding="utf-8")
    assert written.startswith(f"before\n\n{BEGIN}\n")
    assert written.endswith(f"{END}\n\nafter\n")
    assert row in written
    assert "old" not in written


def test_pictures_are_the_same_each_time_and_the_page_shows_all_of_them(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    store, drawn = results(tmp_path / "results.json"), []
    for name in ("first", "second"):
        page = tmp_path / name / "performance.md"
        assert write_report(store, page) == 0
        drawn.append({path.name: path.read_bytes() for path in sorted((page.parent / "images").iterdir())})
        assert all(f"images/{picture}" in page.read_text(encoding="utf-8") for picture in drawn[-1])
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1]


def test_without_results_there_is_no_page(tmp_path, capsys):
    assert write_report(Store(tmp_path / "none.json"), tmp_path / "performance.md") == 1
    assert "run python -m benchmarks first" in capsys.readouterr().out
    assert not (tmp_path / "performance.md").exists()


def test_every_kind_of_assignment_is_done_by_a_module_that_is_there():
    for module in KINDS.values():
        assert (Path(__file__).parents[1] / Path(*module.split("."))).with_suffix(".py").is_file()
