"""When, where and with what it was measured."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.libraries.table import OURS
from benchmarks.outcome import Outcome
from benchmarks.store import Store

TITLES = {"PyTorch": "torch", "PaddlePaddle": "paddlepaddle"}


def dated(store: Store, outcomes: Sequence[Outcome]) -> list[str]:
    """One sentence: when and on what machine."""
    runs = _runs(store, outcomes)
    if not runs:
        return []
    last = runs[-1]
    versions = {title: last["versions"].get(name) for title, name in TITLES.items()}
    frameworks = ", ".join(f"{title} {version}" for title, version in versions.items() if version)
    return [
        f"Measured {last['date'].split()[0]} at commit {last['commit'] or 'unknown'} on {_machine(last['machine'])}; "
        f"{_settings(outcomes)}; {frameworks}."
    ]


def provenance(store: Store, outcomes: Sequence[Outcome], code: str) -> list[str]:
    """The runs that the page shows.

    Parameters
    ----------
    store : Store
    outcomes : sequence of Outcome
        Those shown.
    code : str
        Digest of the code as it is now, to say where the page is behind it.
    """
    runs = _runs(store, outcomes)
    lines = [f"- {each}" for each in dict.fromkeys(_surroundings(run) for run in runs)]
    lines += [f"- {_settings(outcomes)}. {_loads(outcomes)}".rstrip()]
    for run in runs:
        lines += [f"- {run['date']} UTC, commit {run['commit'] or 'unknown'} (code {run['code']}): `{run['command']}`"]
    behind = {each.version.split()[-1] for each in outcomes if each.library == OURS} - {code}
    if behind:
        lines += ["- Some of our own numbers are of another state of the code than the present one."]
    return [*lines, ""]


def _runs(store: Store, outcomes: Iterable[Outcome]) -> list[Mapping[str, Any]]:
    used = {each.run for each in outcomes}
    return [run for key, run in store.runs.items() if key in used]


def _surroundings(run: Mapping[str, Any]) -> str:
    """Machine, versions and variables, which several runs may share."""
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in run["versions"].items())
    variables = "".join(f", {name}={value}" for name, value in run["environment"].items())
    return f"{_machine(run['machine'])}; {versions}{variables}"


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, {machine['system']}, "
        f"Python {machine['python']}"
    )


def _settings(outcomes: Iterable[Outcome]) -> str:
    """Devices and threads."""
    found = {(each.setting.device, each.setting.threads) for each in outcomes}
    return "; ".join(f"{device}, {threads} thread{'s' * (threads != 1)}" for device, threads in sorted(found))


def _loads(outcomes: Iterable[Outcome]) -> str:
    found = [each.numbers[name] for each in outcomes for name in ("load_before", "load_after") if name in each.numbers]
    if not found:
        return ""
    return f"Load of the whole machine, averaged over a minute, during speed: {min(found):.1f} to {max(found):.1f}."
