"""Zennit, as its README shows it; relevance starts from the logit instead of 1, which its manual leaves to the user."""

from typing import Any

import torch
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, GuidedBackprop

from reliability import convention
from reliability.kit import Kit
from reliability.stages import Rule
from reliability.subject import Map, Question, Subject


def subject(kit: Kit) -> Subject:
    return Subject(
        name="zennit",
        kit=kit,
        methods={"gradient": gradient, "lrp": lrp, "guided": guided},
        rule=Rule("epsilon_plus", 1e-6),
        without_targets=frozenset({"gradient", "lrp", "guided"}),
    )


def gradient(asked: Question) -> Map:
    return _map(asked, None, scaled=False)


def lrp(asked: Question) -> Map:
    canonizers = [SequentialMergeBatchNorm()] if asked.has_norm else []
    return _map(asked, EpsilonPlus(canonizers=canonizers), scaled=True)


def guided(asked: Question) -> Map:
    return _map(asked, GuidedBackprop(), scaled=False)


def _map(asked: Question, composite: Any, *, scaled: bool) -> Map:
    def chosen(output: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros_like(output)
        if output.ndim == 1:
            mask += 1
        else:
            mask[torch.arange(len(output)), torch.as_tensor(asked.target)] = 1
        return mask * output if scaled else mask

    with Gradient(model=asked.model, composite=composite) as attributor:
        _, found = attributor(asked.x, chosen)
    return Map(found.detach().to(torch.float64).numpy().copy(), convention.raw)
