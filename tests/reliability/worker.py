"""Puts the cases to one library, one line of JSON each; a process of its own, since a library may crash or hang it.

Run as ``python -m reliability.worker NAME [FIRST]``.
"""

import json
import os
import signal
import sys
import warnings

_SECONDS = 180  # after which a case counts as not returning; the slowest takes ten


def main() -> None:
    name, first = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print
    warnings.filterwarnings("ignore")
    from reliability.cases import CASES
    from reliability.runner import run
    from reliability.subjects import SUBJECTS, load

    if SUBJECTS[name].framework == "torch":
        from zoo.stubs import define_torchvision_operators

        define_torchvision_operators()  # peers import torchvision
    subject = load(name)
    for case in CASES[first:]:
        print(json.dumps({"start": case.name}), file=answers, flush=True)
        signal.alarm(_SECONDS)
        outcome = run(case, subject)
        signal.alarm(0)
        verdicts = {method: [verdict.kind.value, verdict.reason] for method, verdict in outcome.by_method.items()}
        print(json.dumps({"case": case.name, "verdicts": verdicts}), file=answers, flush=True)


if __name__ == "__main__":
    main()
