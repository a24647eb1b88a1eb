"""Named composites: which rule for which kind of operation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from xai_med.backend.operations import LINEAR_OR_ROUTING, Kind
from xai_med.backend.rule import Composite, Rule
from xai_med.rules.alpha_beta import AlphaBeta
from xai_med.rules.epsilon import Epsilon
from xai_med.rules.excitation import Excitation, ExcitationShare
from xai_med.rules.first_layer import Flat
from xai_med.rules.gamma import Gamma
from xai_med.rules.normalisation import FixedSpread
from xai_med.rules.passing import Pass
from xai_med.rules.product import Product
from xai_med.rules.share import Share
from xai_med.rules.z_box import ZBox
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
    return replace(epsilon_plus(epsilon=epsilon, first=Flat(epsilon)), name="epsilon_plus_flat")


def epsilon_everywhere(*, epsilon: float = 1e-6, first: Rule | None = None) -> Composite:
    """LRP-epsilon on every layer; close to input x gradient (Ancona et al. 2018), noisy on deep networks."""
    return _with_weighted("epsilon", Epsilon(epsilon), Epsilon(epsilon), epsilon, first)


def epsilon_gamma_box(
    low: float | Sequence[float], high: float | Sequence[float], *, gamma: float = 0.25, epsilon: float = 1e-6
) -> Composite:
    """LRP-epsilon on linear layers, LRP-gamma on convolutions, z-box at the first layer.

    Parameters
    ----------
    low, high : float or sequence of float
        Range of the model's input, one number or one for each channel (see `ZBox`).
    gamma : float
        Of the gamma rule.
    epsilon : float
        Stabiliser of every denominator.

    References
    ----------
    Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, section 10.3, in two zones instead of three: for epsilon
    between, add ``.layers(start, stop, Epsilon(...))``.
    """
    first = ZBox(low, high, epsilon)  # type: ignore[arg-type]  # any sequence becomes a tuple there
    return _with_weighted("epsilon_gamma_box", Gamma(gamma, epsilon), Epsilon(epsilon), epsilon, first)


def epsilon_alpha2_beta1(*, epsilon: float = 1e-6, first: Rule | None = None) -> Composite:
    """LRP-epsilon on linear layers, LRP-alpha2-beta1 on convolutions.

    Parameters
    ----------
    epsilon : float
        Stabiliser of every denominator.
    first : Rule or None
        For the layer that reads the image.

    References
    ----------
    Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 60; the composite: Kohlbrenner et al. 2020,
    arXiv:1910.09840, section 3.
    """
    rule = AlphaBeta(2.0, 1.0, epsilon)
    return _with_weighted("epsilon_alpha2_beta1", rule, Epsilon(epsilon), epsilon, first)


def epsilon_alpha2_beta1_flat(*, epsilon: float = 1e-6) -> Composite:
    """LRP-epsilon-alpha2-beta1 with relevance spread evenly at the first layer."""
    return replace(epsilon_alpha2_beta1(epsilon=epsilon, first=Flat(epsilon)), name="epsilon_alpha2_beta1_flat")


def excitation_backprop(*, epsilon: float = 0.0) -> Composite:
    """Excitation backpropagation: winning probabilities in proportion to what excites, without biases.

    Batch norm merges with the convolution before it and passes elsewhere, as activations do. Products of signals and
    norms by the sample's own statistics, of which the paper says nothing, have no rule and are refused.

    Parameters
    ----------
    epsilon : float
        Stabiliser of every denominator; the paper has none.

    References
    ----------
    Zhang et al. 2016, arXiv:1608.00507, section 3.
    """
    excitation, share = Excitation(epsilon), ExcitationShare(epsilon)
    return replace(
        epsilon_plus(),
        name="excitation_backprop",
        rules={
            **dict.fromkeys((Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR), excitation),
            **dict.fromkeys((Kind.BATCH_NORM, Kind.ACTIVATION, Kind.SIGMOID), Pass()),
            **dict.fromkeys((Kind.ADD, Kind.AVERAGE_POOL, Kind.MEAN, Kind.SUM), share),
        },
        passing=LINEAR_OR_ROUTING | {Kind.RELU},
    )


def _with_weighted(name: str, convolution: Rule, linear: Rule, epsilon: float, first: Rule | None) -> Composite:
    """The rules of LRP-epsilon-z+ for everything but what has weights."""
    base = epsilon_plus(epsilon=epsilon, first=first)
    weighted = {Kind.CONVOLUTION: convolution, Kind.TRANSPOSED_CONVOLUTION: convolution, Kind.LINEAR: linear}
    return replace(base, name=name, rules={**base.rules, **weighted})


COMPOSITES: Mapping[str, Callable[..., Composite]] = MappingProxyType(
    {
        "epsilon": epsilon_everywhere,
        "epsilon_plus": epsilon_plus,
        "epsilon_plus_flat": epsilon_plus_flat,
        "epsilon_alpha2_beta1": epsilon_alpha2_beta1,
        "epsilon_alpha2_beta1_flat": epsilon_alpha2_beta1_flat,
        "excitation_backprop": excitation_backprop,
    }
)
"""Composites by name; each takes ``epsilon``."""

WITH_RANGE: Mapping[str, Callable[..., Composite]] = MappingProxyType({"epsilon_gamma_box": epsilon_gamma_box})
"""Composites that must be told the range of the model's input, ``low`` and ``high``, and so are given as values."""
