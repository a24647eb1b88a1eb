"""All cases."""

from reliability import (
    cases_afterwards,
    cases_caller,
    cases_context,
    cases_input,
    cases_layers,
    cases_mathematics,
    cases_models,
    cases_relevance,
    cases_target,
)

CASES = (
    *cases_caller.CASES,
    *cases_afterwards.CASES,
    *cases_context.CASES,
    *cases_layers.CASES,
    *cases_relevance.CASES,
    *cases_models.CASES,
    *cases_input.CASES,
    *cases_target.CASES,
    *cases_mathematics.CASES,
)
