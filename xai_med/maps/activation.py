"""The kernel of class activation maps: weights times features, summed over channels."""

from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import ShapeError


def class_activation_map(features: Tensor, weights: Tensor, *, tensors: Tensors = NUMPY) -> Tensor:
    """Weigh and sum feature maps: ``M_k = sum_c w_kc A_c``.

    Parameters
    ----------
    features : tensor of shape (N, C, *space)
        One, two or three space axes.
    weights : tensor of shape (K, C) or (N, K, C)
        The head's weights, or any other weights of channels, such as mean gradients.
    tensors : Tensors
        Operations of the tensors' framework; NumPy's by default, so that arrays need no model.

    Returns
    -------
    tensor of shape (N, K, *space)
        Signed, of the features' dtype, differentiable in both arguments.

    Raises
    ------
    ShapeError
        The numbers of channels or images differ.

    References
    ----------
    Zhou et al. 2016, arXiv:1512.04150, equation 2.
    """
    shape, given = shape_of(features), shape_of(weights)
    if len(shape) < 3 or len(given) not in (2, 3):
        raise ShapeError(f"features (N, C, *space) and weights (K, C) or (N, K, C) are needed, got {shape} and {given}")
    if given[-1] != shape[1] or (len(given) == 3 and given[0] != shape[0]):
        raise ShapeError(f"weights of shape {given} do not fit features of shape {shape}")
    equation = "nc...,kc->nk..." if len(given) == 2 else "nc...,nkc->nk..."
    return tensors.einsum(equation, features, weights)
