"""Where rules and metrics come from; methods carry their own source.

Tests compare both tables with the references in the docstrings, which ``python -OO`` strips.
"""

from collections.abc import Mapping
from types import MappingProxyType

_ACHTIBAT = "arXiv:2402.05602"
_ADEBAYO = "arXiv:1810.03292"
_ARRAS_2019 = "doi:10.1007/978-3-030-28954-6_11"
_ARRAS_2022 = "arXiv:2003.07258"
_ARUN = "doi:10.1148/ryai.2021200267"
_BACH = "doi:10.1371/journal.pone.0130140"
_KOHLBRENNER = "arXiv:1910.09840"
_MONTAVON_2017 = "arXiv:1512.02479"
_MONTAVON_2019 = "doi:10.1007/978-3-030-28954-6_10"
_PETSIUK = "arXiv:1806.07421"
_RONG = "arXiv:2202.00449"
_SAPORTA = "doi:10.1038/s42256-022-00536-x"
_WANG_2020 = "arXiv:1910.01279"
_YEH = "arXiv:1901.09392"
_ZHANG = "arXiv:1608.00507"
_BOXES = ("arXiv:1512.04150", "arXiv:1610.02391", _SAPORTA, "doi:10.1109/TSMC.1979.4310076")

LIBRARY = "xai_med"
"""Name under which the library itself is cited."""

RULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "alpha_beta": (_BACH,),
        "contrastive excitation": (_ZHANG,),
        "deconv": ("arXiv:1311.2901",),
        "epsilon": (_BACH,),
        "excitation": (_ZHANG,),
        "excitation share": (_ZHANG,),
        "fixed spread": ("arXiv:2202.07304", _ACHTIBAT),
        "flat": ("doi:10.1038/s41467-019-08987-4",),
        "gamma": (_MONTAVON_2019, "arXiv:2106.04923"),
        "guided": ("arXiv:1412.6806",),
        "identity": ("arXiv:1704.04133",),
        "keep": (),  # changes nothing
        "mask": (),  # the true gradient
        "pass": (_ACHTIBAT,),
        "product": (_ARRAS_2019, _ACHTIBAT),
        "share": (_BACH,),
        "w_square": (_MONTAVON_2017,),
        "z_box": (_MONTAVON_2017,),
        "z_plus": (_MONTAVON_2017, _BACH),
    }
)
"""Identifiers by a rule's name, as results record it before its settings."""

METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "average_precision": (_ARUN,),
        "box_from_map": _BOXES,
        "completeness": ("arXiv:1703.01365",),
        "complexity": ("arXiv:2005.00631",),
        "confidence_drop": ("arXiv:1710.11063",),
        "deletion": (_PETSIUK,),
        "hit": (_SAPORTA,),
        "infidelity": (_YEH,),
        "insertion": (_PETSIUK,),
        "iou": ("doi:10.1111/j.1469-8137.1912.tb05611.x",),
        "linear_imputation": (_RONG,),
        "mask_from_map": _BOXES,
        "mass": (_WANG_2020, _ARRAS_2022),
        "max_sensitivity": (_YEH,),
        "mean_with_interval": ("doi:10.1214/aos/1176344552",),
        "pixel_auc": ("doi:10.1148/radiology.143.1.7063747",),
        "pointing": (_ZHANG,),
        "random_pairs": (_ARUN,),
        "randomised_weights": (_ADEBAYO,),
        "rank_accuracy": (_ARRAS_2022,),
        "repeatability": (_ARUN,),
        "road": (_RONG,),
        "sanity_curve": (_ADEBAYO, _ARUN),
        "sensitivity_n": ("arXiv:1711.06104",),
        "similarity": (_ADEBAYO, "doi:10.1109/TIP.2003.819861"),
        "sparseness": ("arXiv:1810.06583", "arXiv:0811.4706"),
        "weighted_mass": (_KOHLBRENNER,),
    }
)
"""Identifiers by the name of a function of `xai_med.metrics`."""

SUPERPIXELS = ("doi:10.1109/TPAMI.2012.120",)
"""Of ``parts="slic"`` on images and volumes."""
