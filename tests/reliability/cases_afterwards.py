"""Nothing of the caller changes: memory, what may be done with the model afterwards, threads."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from reliability.net import images
from reliability.trial import Trial, apart, changed
from reliability.verdict import ALL, Case, Kind, Section, Verdict

_CALLS = 20
_case = partial(Case, section=Section.CALLER, methods=ALL)


def memory(trial: Trial) -> Verdict:
    net = trial.usual_net()
    x = net.native
    for _ in range(3):
        trial.ask(net, x=x)
    before = trial.kit.living()
    for _ in range(_CALLS):
        trial.ask(net, x=x)
    grown = trial.kit.living() - before
    reference = weakref.ref(x)
    del x
    gc.collect()
    kept = ["the image is kept"] if reference() is not None else []
    return changed("memory", kept + ([f"{grown} tensors more after {_CALLS} calls"] if grown >= _CALLS else []))


def copied(trial: Trial) -> Verdict:
    return _twin(trial, copy.deepcopy)


def pickled(trial: Trial) -> Verdict:
    return _twin(trial, lambda model: pickle.loads(pickle.dumps(model)))


def _twin(trial: Trial, duplicate: Any) -> Verdict:
    net = trial.usual_net()
    duplicate(net.model)
    trial.ask(net)
    try:
        twin = duplicate(net.model)
    except (AttributeError, TypeError, RuntimeError, pickle.PicklingError) as error:
        return Verdict(Kind.WRONG, f"the model can no longer be duplicated: {error}")
    twin_logits, logits = (trial.kit.array(model(net.native)) for model in (twin, net.model))
    return changed("logits differ by", apart(twin_logits, logits))


def trained_afterwards(trial: Trial) -> Verdict:
    net, untouched = trial.usual_net(), trial.usual_net()
    trial.ask(net)
    gradients = []
    for model in (net.model, untouched.model):
        trial.kit.zero_gradients(model)
        model.train()
        trial.kit.loss(model, net.native).backward()
        gradients.append(trial.kit.gradients(model))
    first, second = gradients
    unlike = [name for name in second if first.get(name) is None or not np.array_equal(first[name], second[name])]
    return changed("gradients of training differ in", unlike)


def threads(trial: Trial) -> Verdict:
    net = trial.usual_net()
    questions = [trial.question(net, x=trial.kit.tensor(images(seed=seed))) for seed in range(4)]
    serial = [trial.put(question).values for question in questions]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda question: trial.put(question).values, questions * 8))
    worst = max(apart(values, serial[n % 4]) for n, values in enumerate(found))
    return Verdict(Kind.RIGHT) if worst < 1e-4 else Verdict(Kind.WRONG, f"maps of threads differ by {worst:.2g}")


CASES = (
    _case("memory", sentence="memory flat: input freed, number of live tensors constant over 20 calls", run=memory),
    _case("deep copy afterwards", sentence="model can be deep-copied after the call", run=copied),
    _case("pickle afterwards", sentence="model can be pickled after the call", run=pickled),
    _case("training afterwards", sentence="model can be trained after the call", run=trained_afterwards),
    _case(
        "threads",
        sentence="4 threads share one model, different inputs: maps equal the serial ones (or refusal)",
        run=threads,
        may_refuse=True,
        trouble="thread|concurren",
    ),
)
