"""Several methods judged by several metrics on the same images."""

from xai_med.evaluation.judges import JUDGES, Case, Judge
from xai_med.evaluation.judging import evaluate
from xai_med.evaluation.result import Evaluation, Judgement
from xai_med.evaluation.sanity import sanity_check

__all__ = ["JUDGES", "Case", "Evaluation", "Judge", "Judgement", "evaluate", "sanity_check"]
