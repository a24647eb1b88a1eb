"""The one table from PyTorch's functions, methods and operators to the vocabulary of operations.

A function is known by its name, which is the same for ``torch.relu``, ``Tensor.relu`` and ``F.relu``; a trailing
underscore means that it writes in place. What is not listed is `Kind.UNKNOWN`: seen, recorded, and refused by
methods that need a rule for it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from xai_med.backend.operations import Kind

_NAMES: Mapping[Kind, str] = {
    Kind.CONVOLUTION: "conv1d conv2d conv3d",
    Kind.TRANSPOSED_CONVOLUTION: "conv_transpose1d conv_transpose2d conv_transpose3d",
    Kind.LINEAR: "linear",
    Kind.BATCH_NORM: "batch_norm",
    Kind.NORMALISATION: "layer_norm group_norm instance_norm rms_norm local_response_norm normalize",
    Kind.RELU: "relu",
    Kind.ACTIVATION: (
        "relu6 hardtanh leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish softplus softsign tanh "
        "hardsigmoid logsigmoid tanhshrink hardshrink softshrink threshold abs clamp clamp_min clamp_max clip "
        "erf atan pow __pow__ square sqrt"
    ),
    Kind.MAX_POOL: (
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
        "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices"
    ),
    Kind.AVERAGE_POOL: "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    Kind.MEAN: "mean",
    Kind.SUM: "sum",
    Kind.MAXIMUM: "amax max",
    Kind.ADD: "add sub __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ subtract rsub",
    Kind.MULTIPLY: "mul __mul__ __rmul__ __imul__ multiply neg negative __neg__",
    Kind.DIVIDE: "div true_divide divide __truediv__ __itruediv__",
    Kind.MATMUL: "matmul bmm mm __matmul__ einsum baddbmm addmm",
    Kind.CONCATENATE: "cat concat concatenate stack hstack vstack dstack",
    Kind.SOFTMAX: "softmax log_softmax",
    Kind.SIGMOID: "sigmoid",
    Kind.ATTENTION: "scaled_dot_product_attention multi_head_attention_forward",
    Kind.DROPOUT: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout",
    Kind.RESHAPE: "reshape view flatten unflatten squeeze unsqueeze view_as reshape_as ravel",
    Kind.PERMUTE: "permute transpose swapaxes swapdims movedim moveaxis t",
    Kind.ROUTING: (
        "__getitem__ __setitem__ chunk split tensor_split unbind narrow select index_select gather expand expand_as "
        "broadcast_to repeat repeat_interleave clone contiguous to float double half bfloat16 type type_as cpu cuda "
        "pad where masked_fill zero_pad2d unfold roll flip pixel_shuffle pixel_unshuffle channel_shuffle copy_ alias "
        "positive"
    ),
    Kind.RESAMPLE: "interpolate upsample upsample_nearest upsample_bilinear",
    Kind.STEP: (
        "round floor ceil trunc frac sign sgn floor_divide __floordiv__ heaviside "
        "argmax argmin argsort gt ge lt le eq ne __gt__ __ge__ __lt__ "
        "__le__ __eq__ __ne__ logical_not logical_and logical_or isnan isfinite isinf int long bool"
    ),
    Kind.DETACH: "detach data",
    Kind.UNKNOWN: "addmm_ baddbmm_",  # a sum and a product at once, in place
    Kind.RANDOM: (
        "rand randn randint randperm rand_like randn_like randint_like bernoulli multinomial normal poisson "
        "uniform_ normal_ exponential_ cauchy_ random_ gumbel_softmax"
    ),
}

KINDS: Mapping[str, Kind] = MappingProxyType({name: kind for kind, names in _NAMES.items() for name in names.split()})
"""Kind of each function name, without the trailing underscore of in-place variants."""

SILENT = frozenset(
    "shape dtype device ndim layout is_cuda is_sparse is_quantized is_meta is_mkldnn requires_grad grad_fn "
    "is_leaf names dim size numel nelement element_size stride storage_offset is_contiguous __len__ "
    "__format__ __repr__ __str__ __hash__ is_floating_point is_complex "
    "get_device untyped_storage data_ptr itemsize nbytes is_inference _version is_nested is_xla is_cpu "
    "is_same_size is_pinned is_shared has_names dim_order register_hook retain_grad retains_grad requires_grad_ "
    "is_mps is_xpu is_vulkan is_ipu is_hpu is_maia is_mtia is_ort is_coalesced result_type can_cast "
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty "
    "get_default_dtype set_grad_enabled is_storage is_tensor storage _base output_nr".split()
)
"""Functions whose result does not depend on a tensor's values."""

BOUNDED = frozenset("relu6 hardtanh tanh hardsigmoid softsign erf atan".split())
"""Activations whose values lie between two bounds: as factors they weigh."""
