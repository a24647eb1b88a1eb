"""The demonstration network: a small residual CNN that finds `FINDINGS` on phantoms."""

from importlib import resources

import numpy as np

from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.weights import with_weights
from xai_med.demo.phantoms import FINDINGS
from xai_med.errors import SettingError
from xai_med.io.weights import read_weights

FEATURES = "features"
"""Name of the layer whose 16 x 16 maps enter the global average pool; give it as ``layer=`` for CAM."""

INPUT_SHAPE = (1, 128, 128)

WEIGHTS_FILE = "findings.safetensors"


def demo_blueprint() -> Blueprint:
    """Load the network with its shipped weights; it gives one probability per finding.

    Training knew the findings' places as well as their names, so the network looks where it should;
    ``findings.json`` beside the weights records how it was trained and how well it does. That CAM on
    `FEATURES` points at the findings is therefore no evidence for CAM.
    """
    with resources.as_file(resources.files("xai_med.demo") / WEIGHTS_FILE) as path:
        return with_weights(architecture(seed=0), read_weights(path))


def architecture(seed: int) -> Blueprint:
    """State the network with random weights, as training starts from them.

    Each of the 16 x 16 positions of the features sees 54 x 54 pixels.

    Parameters
    ----------
    seed : int
        At least 0.

    Raises
    ------
    SettingError
        The seed is not such an integer.

    References
    ----------
    He et al. 2015, arXiv:1502.01852, equation 10 (initial weights); He et al. 2016, arXiv:1512.03385
    (residual blocks).
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"seed must be an integer of at least 0, got {seed!r}")
    random = np.random.default_rng(seed)
    steps = (
        *_convolution_stage("stage1", INPUT, (12, 1, 3), random),
        _pool("pool1", "stage1_relu"),
        *_convolution_stage("stage2", "pool1", (24, 12, 3), random),
        _pool("pool2", "stage2_relu"),
        *_convolution_stage("stage3", "pool2", (40, 24, 3), random),
        *_residual_block("block3", "stage3_relu", (40, 40, 3), "block3_relu", random),
        _pool("pool3", "block3_relu"),
        *_convolution_stage("stage4", "pool3", (64, 40, 3), random),
        *_residual_block("block4", "stage4_relu", (64, 64, 1), FEATURES, random),
        Step("average", "global_average_pool", (FEATURES,)),
        Step("flat", "flatten", ("average",)),
        _head("head", "flat", 64, random),
        Step("probability", "sigmoid", ("head",)),
    )
    return Blueprint("findings", INPUT_SHAPE, steps)


def _convolution_stage(
    name: str, source: str, shape: tuple[int, int, int], random: np.random.Generator
) -> tuple[Step, ...]:
    return (
        *_convolution(name, source, shape, random),
        Step(f"{name}_relu", "relu", (f"{name}_norm",)),
    )


def _residual_block(
    name: str, source: str, shape: tuple[int, int, int], output: str, random: np.random.Generator
) -> tuple[Step, ...]:
    return (
        *_convolution_stage(f"{name}a", source, shape, random),
        *_convolution(f"{name}b", f"{name}a_relu", shape, random),
        Step(f"{name}_sum", "add", (f"{name}b_norm", source)),
        Step(output, "relu", (f"{name}_sum",)),
    )


def _convolution(name: str, source: str, shape: tuple[int, int, int], random: np.random.Generator) -> tuple[Step, ...]:
    """Convolve without bias, which the batch norm behind brings; `shape` is (filters, channels, kernel)."""
    filters, channels, kernel = shape
    deviation = np.sqrt(2 / (channels * kernel**2))
    weight = random.normal(0, deviation, (filters, channels, kernel, kernel)).astype(np.float32)
    norm = {
        "weight": np.ones(filters, np.float32),
        "bias": np.zeros(filters, np.float32),
        "running_mean": np.zeros(filters, np.float32),
        "running_var": np.ones(filters, np.float32),
    }
    return (
        Step(f"{name}_conv", "convolution", (source,), {"weight": weight}, {"padding": kernel // 2}),
        Step(f"{name}_norm", "batch_norm", (f"{name}_conv",), norm),
    )


def _pool(name: str, source: str) -> Step:
    return Step(name, "max_pool", (source,), options={"kernel": 2})


def _head(name: str, source: str, channels: int, random: np.random.Generator) -> Step:
    weight = random.normal(0, np.sqrt(1 / channels), (len(FINDINGS), channels)).astype(np.float32)
    return Step(name, "linear", (source,), {"weight": weight, "bias": np.zeros(len(FINDINGS), np.float32)})
