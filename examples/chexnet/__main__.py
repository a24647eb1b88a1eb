"""Montages of a folder of radiographs, and conversion of weights: ``python -m examples.chexnet --help``."""

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from examples.chexnet.architecture import FINDINGS, parts
from examples.chexnet.layouts import for_paddle, for_torch, recognise
from examples.chexnet.pictures import STYLES, montages, radiographs, write_row
from examples.chexnet.profiles import PROFILES, Profile
from xai_med import explain
from xai_med.backend.tensors import Array
from xai_med.demo.phantoms import phantoms
from xai_med.errors import SettingError
from xai_med.io.weights import read_weights, write_weights

FRAMEWORKS = ("torch", "paddle")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    asked = _asked(arguments)
    asked.run(asked)


def build(weights: Mapping[str, Array], framework: str) -> Any:
    """CheXNet with weights in torchvision's layout, in either framework."""
    return importlib.import_module(f"examples.chexnet.{framework}_network").build(weights)


def _montage(asked: argparse.Namespace) -> None:
    weights = recognise(read_weights(asked.weights, key=asked.weights_key))
    classes, channels = len(weights["classifier.bias"]), weights["features.conv0.weight"].shape[1]
    profile = PROFILES[asked.profile]
    if channels != profile.channels:
        raise SettingError(
            f"the weights are of a network with {channels} channels, profile {profile.name!r} prepares "
            f"{profile.channels}; choose --profile to fit"
        )
    names = asked.classes.split(",") if asked.classes else list(FINDINGS)
    if len(names) != classes:
        raise SettingError(f"the network has {classes} outputs, {len(names)} names are given; name them by --classes")
    _write_montages(build(weights, asked.framework), asked.folder, profile, names, asked.style, asked.output)


def _write_montages(
    network: Any, folder: Path, profile: Profile, names: Sequence[str], style: str, output: Path
) -> None:
    paths = radiographs(folder)
    stems = [path.stem for path in paths]
    output.mkdir(parents=True, exist_ok=True)
    with (output / "probabilities.csv").open("w", newline="", encoding="utf-8") as table:
        write_row(table, "file", names)
        drawn = montages(network, paths, profile, names, style)
        for path, picture, probabilities in tqdm(drawn, total=len(paths), unit="image"):
            name = path.stem if stems.count(path.stem) == 1 else path.name
            Image.fromarray(picture).save(output / f"{name}_cam.png")
            write_row(table, path.name, [f"{value:.6f}" for value in probabilities])
    print(f"{len(paths)} montages and probabilities.csv: {output}")


def _convert(asked: argparse.Namespace) -> None:
    weights = recognise(read_weights(asked.source, key=asked.weights_key))
    arrays = for_torch(weights) if asked.to == "torch" else for_paddle(weights)
    write_weights(asked.target, arrays, overwrite=asked.overwrite)
    again = recognise(read_weights(asked.target))
    if any(not np.array_equal(again[name], weights[name]) for name in weights):
        asked.target.unlink()
        raise SettingError("what was written is not what was read, and was removed")
    print(f"{len(arrays)} arrays in the layout of {asked.to}: {asked.target}")


def _try(asked: argparse.Namespace) -> None:
    """Without any weights: a random network on phantoms, to see that all works and both frameworks agree."""
    asked.output.mkdir(parents=True, exist_ok=True)
    drawn = phantoms(2, seed=5, size=256).images[:, 0]
    for number, image in enumerate(drawn):
        Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(asked.output / f"phantom_{number}.png")
    weights = random_weights(seed=0)
    write_weights(asked.output / "random_torch.safetensors", for_torch(weights), overwrite=True)
    write_weights(asked.output / "random_paddle.safetensors", for_paddle(weights), overwrite=True)
    batch = np.stack([PROFILES["paddle_chexnet"].prepare(_colour(image)).crops[0] for image in drawn])
    maps = {}
    for framework in FRAMEWORKS:
        read = recognise(read_weights(asked.output / f"random_{framework}.safetensors"))
        network = build(read, framework)
        maps[framework] = explain(network, batch, method="cam", target="all").maps
        _write_montages(network, asked.output, PROFILES["paddle_chexnet"], FINDINGS, "honest", asked.output / framework)
    largest = np.abs(maps["torch"] - maps["paddle"]).max() / np.ptp(maps["torch"])
    print(f"the network is random and says nothing; torch and paddle differ by {largest:.1e} of the maps' range")


def random_weights(*, seed: int, classes: int = len(FINDINGS), channels: int = 3) -> dict[str, Array]:
    """Weights of an untrained network, which only show that everything runs (He et al. 2015, equation 10)."""
    random = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for part in parts(classes, channels):
        if part.kind == "norm":
            values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
            weights |= {f"{part.name}.{name}": np.full(part.shape, value) for name, value in values.items()}
            continue
        deviation = np.sqrt(2 / np.prod(part.shape[1:]))
        weights[f"{part.name}.weight"] = random.normal(0, deviation, part.shape)
        if part.kind == "linear":
            weights[f"{part.name}.bias"] = np.zeros(part.shape[0])
    return {name: array.astype(np.float32) for name, array in weights.items()}


def _colour(image: Array) -> Array:
    return np.repeat(np.rint(255 * image).astype(np.uint8)[..., None], 3, axis=2)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.chexnet", description=__doc__)
    commands = parser.add_subparsers(required=True)
    montage = commands.add_parser("montage", help="class activation maps of a folder of radiographs")
    montage.add_argument("folder", type=Path)
    montage.add_argument("--weights", type=Path, required=True, help="any known layout of a DenseNet-121")
    montage.add_argument("--weights-key", help="entry of the file under which the weights lie, such as state_dict")
    montage.add_argument("--framework", choices=FRAMEWORKS, default="torch")
    montage.add_argument("--profile", choices=tuple(PROFILES), default="paddle_chexnet")
    montage.add_argument("--classes", help="names of the outputs, separated by commas; CheXNet's 14 by default")
    montage.add_argument("--style", choices=STYLES, default="published")
    montage.add_argument("--output", type=Path, default=Path("chexnet-montages"))
    montage.set_defaults(run=_montage)
    convert = commands.add_parser("convert", help="weights from any known layout to that of a framework")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path, help="a .safetensors file")
    convert.add_argument("--to", choices=FRAMEWORKS, required=True)
    convert.add_argument("--weights-key")
    convert.add_argument("--overwrite", action="store_true")
    convert.set_defaults(run=_convert)
    attempt = commands.add_parser("try", help="without weights: phantoms and a random network, in both frameworks")
    attempt.add_argument("--output", type=Path, default=Path("chexnet-try"))
    attempt.set_defaults(run=_try)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
