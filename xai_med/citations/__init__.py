"""Which papers to cite for a result: BibTeX of methods, rules, metrics and of the library itself."""

from xai_med.citations.cite import citation, cite_explanation

__all__ = ["citation", "cite_explanation"]
