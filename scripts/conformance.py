"""Measure what docs/conformance.md states: frameworks, peers, conservation, real data. Exit code 1 past a limit.

Run as ``python scripts/conformance.py [--quick] [--output FILE]``, with both frameworks and the ``peers`` extra.
"""

import argparse
import importlib.metadata
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # tests and this script measure with the same functions

import conservation  # noqa: E402
import peers  # noqa: E402
import real_models  # noqa: E402
from parity import FRAMEWORKS, in_both, map_differences, rounding  # noqa: E402
from quick import CLASSIC as METHODS  # noqa: E402

from xai_med import explain  # noqa: E402
from xai_med.blueprints import Blueprint  # noqa: E402
from xai_med.demo.network import demo_blueprint  # noqa: E402
from xai_med.demo.phantoms import phantoms  # noqa: E402
from xai_med.errors import NotApplicableError  # noqa: E402
from xai_med.registry import get_backend  # noqa: E402
from xai_med.testing import NETWORKS, example_input  # noqa: E402
from xai_med.testing.check_backend import relative  # noqa: E402

PACKAGES = ("numpy", "torch", "paddlepaddle", "captum", "zennit", "torchcam", "torchvision")
PHANTOM_SEED = 977  # as in the demonstration: apart from every seed of training
SMALL = ("densenet_like", "resnet_like", "vgg_like", "volume", "signal")
IN_FLOAT32 = 1e-5  # of a map's range; the gradient is exempt, see the text
IN_FLOAT64 = 1e-7
ROUNDINGS = 3  # times float32's own distance from float64, which two frameworks may be apart
TO_PEERS = 1e-5


@dataclass
class Report:
    """Lines of the page, and what exceeded its limit."""

    lines: list[str] = field(default_factory=list)
    exceeded: list[str] = field(default_factory=list)

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs."""
        for paragraph in paragraphs:
            self.lines += [paragraph, ""]

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        ruled = [header, ["---"] * len(header), *rows]
        self.lines += [f"| {' | '.join(row)} |" for row in ruled] + [""]

    def check(self, what: str, value: float, limit: float) -> None:
        """Note a value that is not within its limit, NaN included."""
        if not value <= limit:
            self.exceeded.append(f"{what}: {value:.2g}, at most {limit:g}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, smaller large models")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "conformance.md")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="No ccache found")
    report = Report()
    report.text("# Conformance", "Measured by `scripts/conformance.py`. Differences are relative to the range of maps.")
    report.text(f"Versions: {versions()}.")
    for title, section in (
        ("The two frameworks", frameworks),
        ("Other libraries", other_libraries),
        ("Conservation of relevance", conserved),
        ("Real data", real_data),
    ):
        say(title)
        report.text(f"## {title}")
        section(report, quick=asked.quick)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text("\n".join(report.lines).rstrip() + "\n", encoding="utf-8")
    for line in report.exceeded:
        say(f"LIMIT EXCEEDED  {line}")
    return 1 if report.exceeded else 0


def say(line: str) -> None:
    print(line, flush=True)


def versions() -> str:
    """Names and versions of what is installed."""
    found = []
    for name in ("xai-med", *PACKAGES):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


# ---- frameworks


def frameworks(report: Report, *, quick: bool) -> None:
    """The same weights and images in torch and paddle."""
    count = 2 if quick else 8
    report.text(
        f"The same weights, all classes, {count} images; the largest difference of any value. Limits: in float32 "
        f"{IN_FLOAT32:g} of the range of the method's maps (LRP: or {ROUNDINGS} times what float32 itself differs from "
        f"float64, where that is more), and none for the gradient; {IN_FLOAT64:g} of each map's own range in float64 "
        '(`dtype="float64"`) for all. The demonstration network sees phantoms, the others noise.'
    )
    rows, above = [], []
    for name, blueprint, images in parity_networks(count):
        for method in METHODS:
            say(f"  {name}, {method}")
            narrow = in_both(blueprint, images, method=method)
            wide = in_both(blueprint, images, method=method, dtype="float64")
            overall = relative(narrow[1].attribution, narrow[0].attribution)
            own, exact = (map_differences(*(each.attribution for each in pair)) for pair in (narrow, wide))
            inherent = rounding(narrow, wide)
            if method != "gradient":
                limit = max(IN_FLOAT32, ROUNDINGS * inherent) if method == "lrp" else IN_FLOAT32
                report.check(f"{name}, {method}, float32", overall, limit)
            if overall > IN_FLOAT32:
                above.append(f"{name}, {method}: {overall:.1e}, where float32 differs from float64 by {inherent:.1e}")
            report.check(f"{name}, {method}, float64", float(exact.max()), IN_FLOAT64)
            over = f"{(own > IN_FLOAT32).sum()} of {own.size}"
            numbers = [f"{value:.1e}" for value in (overall, inherent, own.max())]
            rows.append([name, method, *numbers, over, f"{exact.max():.1e}"])
    report.table(
        [
            "network",
            "method",
            "float32",
            "float32 against float64",
            "float32, of each map's own range",
            f"maps over {IN_FLOAT32:g} of that",
            "float64",
        ],
        rows,
    )
    report.text(
        'A map of which the final ReLU leaves almost nothing (Grad-CAM of an absent class, CLEAR with `psi="relu"`) '
        "has a range far below the signed sums that were rounded to make it. Relative to its own range it may differ "
        "by more than the limit, and the columns about its own range say where.",
        f"Above {IN_FLOAT32:g} in float32: {'; '.join(above) or 'none'}. In LRP the terms of an addition or average "
        "pool may almost cancel; their shares are then large, of either sign, and so is what was rounded.",
    )
    report.text(
        "The gradient has no limit in float32: a ReLU whose input is as good as zero, or two cells of a max pool that "
        "are as good as equal, decide otherwise when the last bit differs, and whole receptive fields of the gradient "
        "change with them. It is so between float32 and float64 of one framework too. CLEAR and LRP go through the "
        "same gates; on real images (below) a few of their maps change for the same reason. Where exact agreement "
        'matters, ask for `dtype="float64"`.'
    )


def parity_networks(count: int) -> list[tuple[str, Blueprint, np.ndarray]]:
    """The demonstration network on its phantoms, where its weights are there, and tiny networks on noise."""
    found = [(name, NETWORKS[name](), example_input(NETWORKS[name](), count)) for name in SMALL]
    try:
        demonstration = demo_blueprint()
    except FileNotFoundError as error:
        say(f"  the demonstration network is left out: {error}")
        return found
    images = phantoms(count, seed=PHANTOM_SEED).images.astype(np.float32)
    return [("demonstration", demonstration, images), *found]


# ---- peers


def other_libraries(report: Report, *, quick: bool) -> None:  # noqa: ARG001
    """Captum, torchcam and zennit on PyTorch builds of the tiny networks, float64."""
    rows = []
    for title, compare, conventions in (
        ("captum Saliency", against_saliency, "magnitude of our `gradient`; explains the output, also a probability"),
        ("captum LayerGradCam", against_layer_grad_cam, "our `grad_cam` with `relu=False`"),
        ("torchcam CAM", against_cam, "our `cam`, with `normalized=False`"),
        ("zennit EpsilonPlus", against_epsilon_plus, "our `lrp`, where no batch norm, addition or functional mean is"),
    ):
        for name in ("fully_connected_head", "convolution_head", "resnet_like", "grouped", "volume"):
            say(f"  {title}, {name}")
            difference = compare(name)
            if difference is not None:
                report.check(f"{title}, {name}", difference, TO_PEERS)
                rows.append([title, name, f"{difference:.1e}", conventions])
    report.table(["library", "network", "difference", "conventions"], rows)
    report.text(
        "Where conventions differ (each is a test in `tests/test_peers.py`):",
        "\n".join(
            (
                "- zennit passes relevance through a batch norm unless a canonizer merges it; we merge it with the "
                "convolution before it. zennit 0.5.1 then leaves epsilon in the merged norm, which divides once more.",
                "- zennit doubles relevance at every addition that is an operator and no module; we share it.",
                "- zennit keeps the plain gradient of a mean written as a function; we give it the rule of the pool.",
                "- Behind a batch norm that merges with nothing (DenseNet) zennit gives relevance to units that are "
                "off; we count it as lost.",
                "- captum's LRP applies the epsilon rule to batch norm alone, which does not conserve.",
                "- captum explains the model's output; we explain the logit before a final sigmoid or softmax.",
                "- torchcam sees modules only: at DenseNet's last batch norm its features are those before the ReLU.",
            )
        ),
    )


def against_saliency(name: str) -> float | None:
    found, model, images, classes = ours(name, "gradient")
    return relative(np.abs(found.attribution), peers.captum_saliency(model, images, classes))


def against_layer_grad_cam(name: str) -> float | None:
    found, model, images, classes = ours(name, "grad_cam", relu=False)
    if found.layer not in dict(model.named_modules()):
        return None
    return relative(found.attribution, peers.captum_layer_grad_cam(model, found.layer, images, classes))


def against_cam(name: str) -> float | None:
    try:
        found, model, images, classes = ours(name, "cam")
    except NotApplicableError:
        return None
    return relative(found.attribution, peers.torchcam_cam(model, found.layer, "classifier", images, classes))


def against_epsilon_plus(name: str) -> float | None:
    if name not in ("fully_connected_head", "convolution_head"):
        return None
    found, model, images, classes = ours(name, "lrp")
    return relative(found.attribution, peers.zennit_epsilon_plus(model, images, classes))


def ours(name: str, method: str, **settings: Any) -> tuple[Any, Any, np.ndarray, int]:
    blueprint = NETWORKS[name]()
    model = get_backend("torch").build(blueprint, dtype="float64")
    images = example_input(blueprint, 3).astype(np.float64)
    found = explain(model, images, method=method, target="all", **settings)
    return found, model, images, found.scores.shape[1]


# ---- conservation


def conserved(report: Report, *, quick: bool) -> None:
    """Sum of relevance over the logit."""
    rows = []
    for name in ("bias_free_resnet", "bias_free_densenet"):
        images = example_input(NETWORKS[name](), 8)
        for framework in FRAMEWORKS:
            model = get_backend(framework).build(NETWORKS[name](), dtype="float64")
            shares = conservation.our_share(model, images.astype(np.float64), epsilon=1e-10)
            report.check(f"conservation of {name} in {framework}", float(np.abs(shares - 1).max()), 1e-5)
            rows.append([name, framework, f"{np.abs(shares - 1).max():.1e}"])
    report.text("Tiny networks without biases, float64, epsilon 1e-10: the largest lost share of a logit.")
    report.table(["network", "framework", "lost share"], rows)
    size = 64 if quick else 128
    images = conservation.random_images(2, size)
    report.text(
        f"Large networks with the frameworks' random initial weights, {size} x {size}, two random images, class 0, the "
        "EpsilonPlus composites with epsilon 1e-6: sum of relevance divided by the logit. 1 is conservation; what is "
        "missing, or too much, is in units without a positive part. PyTorch and Paddle draw different weights."
    )
    rows = []
    for title, name in conservation.LARGE.items():
        model = conservation.torchvision_model(name)
        measured: list[Callable[[], np.ndarray]] = [
            partial(conservation.our_share, model, images),
            partial(_paddle_share, name, images),
            partial(conservation.zennit_share, name, model, images, canonized=False),
            partial(conservation.zennit_share, name, model, images, canonized=True),
            partial(conservation.captum_share, model, images),
        ]
        say(f"  {title}")
        rows.append([title, *(kept_shares(measure) for measure in measured)])
    header = ["network", "xai_med, PyTorch", "xai_med, Paddle", "zennit", "zennit with its canonizer", "captum"]
    report.table(header, rows)


def _paddle_share(name: str, images: np.ndarray) -> np.ndarray:
    return conservation.our_share(conservation.paddle_model(name), images)


def kept_shares(measure: Callable[[], np.ndarray]) -> str:
    """Both images' shares, or why there is none; a peer's failure is a finding and not ours to stop at."""
    try:
        return ", ".join(f"{share:.4g}" for share in measure())
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        return type(error).__name__


# ---- real data


def real_data(report: Report, *, quick: bool) -> None:
    """Trained models on radiographs."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        report.text("The folder of real data was not there.")
        return
    stated_scores(report, data)
    images, labels, lungs = real_models.chest_x_rays(data)
    chosen = np.r_[0:5, 20:25] if quick else np.arange(len(labels))
    images, labels, lungs = images[chosen], labels[chosen], lungs[chosen]
    blueprint = real_models.pneumonia_resnet128(data)
    agreement, places = [], []
    for method in METHODS:
        say(f"  chest X-rays, {method}")
        narrow = in_both(blueprint, images, method=method)
        wide = in_both(blueprint, images, method=method, dtype="float64")
        differences = map_differences(*(each.attribution for each in narrow))
        inherent = map_differences(wide[0].attribution, narrow[0].attribution).max()
        exact = map_differences(*(each.attribution for each in wide)).max()
        report.check(f"chest X-rays, {method}, float64", float(exact), IN_FLOAT64)
        if method in ("cam", "grad_cam"):
            report.check(f"chest X-rays, {method}, float32", float(differences.max()), IN_FLOAT32)
        report.check(f"chest X-rays, {method}, median in float32", float(np.median(differences)), IN_FLOAT32)
        counted = f"{(differences > IN_FLOAT32).sum()} of {differences.size}"
        agreement.append(
            [method, *(f"{v:.1e}" for v in (np.median(differences), differences.max(), inherent, exact)), counted]
        )
        if method in ("grad_cam", "lrp"):
            for framework, each in zip(FRAMEWORKS, narrow, strict=True):
                places += lung_rows(method, framework, each.maps, labels, lungs)
    report.text(
        f"Residual network `pneumonia_resnet128` on {len(labels)} chest X-rays (Kermany et al.), both classes, torch "
        "against paddle, relative to each map's own range. The fourth column is float32 against float64 within "
        "PyTorch: frameworks differ hardly more than that. The last column counts maps that differ by more than "
        f"{IN_FLOAT32:g} in float32."
    )
    report.table(["method", "median", "largest", "PyTorch 32 to 64 bit", "float64", "maps over"], agreement)
    report.text(
        "Share of the positive part of each image's true class inside its annotated lungs, mean over images that have "
        "one, beside the lungs' share of the area. This model does not look at the lungs much; that is a property of "
        "the model, and the maps say so."
    )
    report.table(["method", "framework", "class", "images", "inside the lungs", "lungs' area"], places)


def stated_scores(report: Report, data: Path) -> None:
    """Area under the curve on PneumoniaMNIST in both frameworks."""
    images, labels = real_models.pneumonia_mnist(data)
    stated = real_models.statement(data, "pneumonia_vgg28")["metrics"]["test"]["auc"]
    rows = []
    for framework in FRAMEWORKS:
        model = get_backend(framework).build(real_models.pneumonia_vgg28(data))
        scores = explain(model, images, method="cam", target="all").scores
        found = real_models.area_under_curve(scores[:, 1] - scores[:, 0], labels)
        report.check(f"stated area under the curve in {framework}", abs(found - stated), 1e-4)
        rows.append([framework, f"{found:.4f}", f"{stated:.4f}"])
    report.text("`pneumonia_vgg28` on the 624 test images of PneumoniaMNIST, area under the ROC curve.")
    report.table(["framework", "measured", "stated with the weights"], rows)


def lung_rows(method: str, framework: str, maps: np.ndarray, labels: np.ndarray, lungs: np.ndarray) -> list[list[str]]:
    rows = []
    for label, name in enumerate(("normal", "pneumonia")):
        mine = labels == label
        shares = real_models.share_inside(maps[mine, label], lungs[mine])
        counted = f"{np.isfinite(shares).sum()} of {mine.sum()}"
        rows.append([method, framework, name, counted, f"{np.nanmean(shares):.3f}", f"{lungs[mine].mean():.3f}"])
    return rows


if __name__ == "__main__":
    sys.exit(main())
