"""Named composites: which rule for which kind of operation."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from xai_med.backend.operations import LINEAR_OR_ROUTING, Kind
from xai_med.backend.rule import Composite, Rule
from xai_med.rules.epsilon import Epsilon
from xai_med.rules.first_layer import Flat
from xai_med.rules.normalisation import FixedSpread
from xai_med.rules.passing import Pass
from xai_med.rules.product import Product
from xai_med.rules.share import Share
from xai_med.rules.z_plus import ZPlus


def epsilon_plus(*, epsilon: float = 1e-6, first: Rule | None = None) -> Composite:
    """LRP-epsilon-z+: epsilon on linear layers, z+ on convolutions.

    Batch norm merges with the convolution before it and passes elsewhere; additions and average pools share;
    max pool gives all to the winner. Gates and spreads are held fixed, so that squeeze-excite blocks and layer
    norms conserve; the products of attention share evenly.

    Parameters
    ----------
    epsilon : float
        Stabiliser of every denominator; absolute, as published.
    first : Rule or None
        For the layer that reads the image.

    References
    ----------
    Kohlbrenner et al. 2020, arXiv:1910.09840, section 3; attention and normalisation: Achtibat et al. 2024,
    arXiv:2402.05602, section 3.3.
    """
    share, product = Share(epsilon), Product(epsilon)
    return Composite(
        name="epsilon_plus",
        rules={
            Kind.CONVOLUTION: ZPlus(epsilon),
            Kind.TRANSPOSED_CONVOLUTION: ZPlus(epsilon),
            Kind.LINEAR: Epsilon(epsilon),
            Kind.BATCH_NORM: Pass(),
            Kind.ACTIVATION: Pass(),
            Kind.SIGMOID: Pass(),
            Kind.ADD: share,
            Kind.AVERAGE_POOL: share,
            Kind.MEAN: share,
            Kind.SUM: share,
            Kind.NORMALISATION: FixedSpread(),
            Kind.MULTIPLY: product,
            Kind.DIVIDE: product,
            Kind.MATMUL: product,
        },
        # gradient x input of a softmax is its first-order Taylor rule (Achtibat et al. 2024, equation 13)
        passing=LINEAR_OR_ROUTING | {Kind.RELU, Kind.SOFTMAX},
        first=first,
        merges_batch_norm=True,
    )


def epsilon_plus_flat(*, epsilon: float = 1e-6) -> Composite:
    """LRP-epsilon-z+ with relevance spread evenly at the first layer."""
    base = epsilon_plus(epsilon=epsilon, first=Flat(epsilon))
    return Composite("epsilon_plus_flat", base.rules, base.passing, base.first, base.merges_batch_norm)


def epsilon_everywhere(*, epsilon: float = 1e-6) -> Composite:
    """LRP-epsilon on every layer; close to input x gradient (Ancona et al. 2018), noisy on deep networks."""
    base = epsilon_plus(epsilon=epsilon)
    rule = Epsilon(epsilon)
    weighted = dict.fromkeys((Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR), rule)
    return Composite("epsilon", {**base.rules, **weighted}, base.passing, None, base.merges_batch_norm)


COMPOSITES: Mapping[str, Callable[..., Composite]] = MappingProxyType(
    {
        "epsilon": epsilon_everywhere,
        "epsilon_plus": epsilon_plus,
        "epsilon_plus_flat": epsilon_plus_flat,
    }
)
"""Composites by name; each takes ``epsilon``."""
