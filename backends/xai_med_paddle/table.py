"""The one table from PaddlePaddle's functions, methods and operators to the vocabulary of operations.

Three levels of Paddle meet here: functions written in Python that are one operation to a rule (`COMPOSITES`), the
C++ functions beneath all others (``paddle._C_ops`` and, with names of its own, ``paddle._legacy_C_ops``), and the
C++ methods of tensors (`METHODS`). The outermost call is the one that is reported. A trailing underscore means that
it writes in place. What is not listed is `Kind.UNKNOWN`: seen, recorded, and refused by methods that need a rule
for it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from xai_med.backend.operations import Kind

_NAMES: Mapping[Kind, str] = {
    Kind.CONVOLUTION: "conv1d conv2d conv3d _conv_nd depthwise_conv2d",
    Kind.TRANSPOSED_CONVOLUTION: "conv1d_transpose conv2d_transpose conv3d_transpose",
    Kind.LINEAR: "linear linear_v2",
    Kind.BATCH_NORM: "batch_norm sync_batch_norm",
    Kind.NORMALISATION: "layer_norm group_norm instance_norm rms_norm local_response_norm normalize",
    Kind.RELU: "relu",
    Kind.ACTIVATION: (
        "relu6 hardtanh leaky_relu prelu rrelu elu selu celu gelu silu swish mish hardswish softplus softsign tanh "
        "hardsigmoid logsigmoid tanh_shrink hardshrink softshrink thresholded_relu abs clip "
        "hard_swish hard_sigmoid brelu erf atan pow __pow__ square sqrt"
    ),
    Kind.MAX_POOL: (
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
        "max_pool2d_with_index max_pool3d_with_index"
    ),
    Kind.AVERAGE_POOL: (
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d pool2d pool3d"
    ),
    Kind.MEAN: "mean",
    Kind.SUM: "sum",
    Kind.MAXIMUM: "amax max",
    Kind.ADD: "add subtract add_n __add__ __radd__ __sub__ __rsub__ elementwise_add elementwise_sub",
    Kind.MULTIPLY: "multiply scale __mul__ __rmul__ elementwise_mul",
    Kind.DIVIDE: "divide __div__ __truediv__ elementwise_div",
    Kind.MATMUL: "matmul bmm mv dot addmm baddbmm einsum __matmul__ __rmatmul__ matmul_v2 mul bilinear",
    Kind.CONCATENATE: "concat stack",
    Kind.SOFTMAX: "softmax log_softmax",
    Kind.SIGMOID: "sigmoid",
    Kind.ATTENTION: "scaled_dot_product_attention flash_attn memory_efficient_attention",
    Kind.DROPOUT: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
    Kind.RESHAPE: "reshape view_shape flatten squeeze unsqueeze reshape2 squeeze2 unsqueeze2 flatten2",
    Kind.PERMUTE: "transpose",
    Kind.ROUTING: (
        "_getitem_dygraph _setitem_dygraph split split_with_num unbind unstack slice strided_slice index_select gather "
        "gather_nd take_along_axis index_sample expand expand_as tile broadcast_tensors repeat_interleave clone "
        "contiguous cast pad pad3d where masked_fill unfold pixel_shuffle pixel_unshuffle channel_shuffle "
        "shuffle_channel roll flip assign assign_out copy_ _copy_to set_value set_value_with_tensor index_put "
        "share_data as_strided view_slice view_dtype"
    ),
    Kind.RESAMPLE: (
        "interpolate linear_interp bilinear_interp trilinear_interp bicubic_interp nearest_interp interp_antialias"
    ),
    Kind.STEP: (
        "round rint floor ceil trunc sign heaviside argmax argmin argsort greater_than greater_equal less_than "
        "less_equal equal not_equal equal_all __gt__ __ge__ __lt__ __le__ __eq__ __ne__ logical_not logical_and "
        "logical_or logical_xor isnan isfinite isinf floor_divide __floordiv__ __rfloordiv__ nonzero one_hot"
    ),
    Kind.DETACH: "detach data",
    Kind.RANDOM: (
        "uniform gaussian randint randperm bernoulli binomial multinomial poisson dirichlet standard_gamma "
        "truncated_gaussian_random uniform_inplace gaussian_inplace exponential_ random_ gumbel_softmax"
    ),
}

KINDS: Mapping[str, Kind] = MappingProxyType({name: kind for kind, names in _NAMES.items() for name in names.split()})
"""Kind of each function name, without the trailing underscore of in-place variants."""

COMPOSITES = tuple(
    "conv1d conv2d conv3d _conv_nd conv1d_transpose conv2d_transpose conv3d_transpose linear max_pool1d max_pool2d "
    "max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_alpha_dropout interpolate pad normalize local_response_norm scaled_dot_product_attention "
    "gumbel_softmax".split()
)
"""Functions of ``paddle.nn.functional`` that call several others and are one operation all the same."""

METHODS = tuple(
    "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __div__ __rdiv__ __truediv__ __rtruediv__ __matmul__ "
    "__rmatmul__ __pow__ __rpow__ __mod__ __rmod__ __floordiv__ __rfloordiv__ __gt__ __ge__ __lt__ __le__ __eq__ "
    "__ne__ _getitem_dygraph _setitem_dygraph clone contiguous detach detach_ copy_ _copy_to "
    "numpy _getitem_from_offset".split()
)
"""C++ methods of tensors that compute or hand out numbers; every other method reaches ``paddle._C_ops``."""

SILENT = frozenset(
    "shape shape64 numel is_empty full full_ full_like full_batch_size_like full_int_array full_with_tensor "
    "empty empty_like eye arange linspace assign_value assign_value_ get_core_ops_args_info "
    "get_core_ops_args_type_info get_core_ops_returns_info sync_calc_stream memcpy_d2h memcpy_h2d".split()
)
"""Functions whose result does not depend on a tensor's values."""

BOUNDED = frozenset("relu6 hardtanh tanh hardsigmoid hard_sigmoid brelu softsign erf atan".split())
"""Activations whose values lie between two bounds: as factors they weigh."""

EXPANDED = frozenset(("scaled_dot_product_attention",))
"""Composites that a method with a rule for each operation sees as the operations that they call."""
