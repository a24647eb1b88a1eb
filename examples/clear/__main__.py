"""CLEAR studies on digits, on grades and on photographs: ``python -m examples.clear --help``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from examples.clear.attentive import boxes_with_lesions
from examples.clear.digits import experiment, mnist, small_digits, table
from examples.clear.fundus import GRADES, draw, retina
from examples.clear.network import Plan
from examples.clear.pictures import digits_figure, grades_figure
from examples.clear.training import FRAMEWORKS, Labelled, predicted, trained
from examples.real.images import fundus_photographs, haemorrhage_patches
from examples.real.models import haemorrhage_vgg64
from xai_med import explain
from xai_med.registry import get_backend

DIGITS = tuple("0123456789")
BLEEDING = ("none", "haemorrhage")
_EPOCHS_OF_FEW = 30


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one study."""
    asked = _asked(arguments)
    asked.output.mkdir(parents=True, exist_ok=True)
    asked.run(asked)


def _digits(asked: argparse.Namespace) -> None:
    train, test = small_digits() if asked.mnist is None else mnist(asked.mnist)
    epochs = asked.epochs or (_EPOCHS_OF_FEW if asked.mnist is None else Plan().epochs)
    network = trained(train, len(DIGITS), asked.framework, Plan(epochs=epochs))
    found = experiment(network, test, asked.framework)
    print(f"{len(train.images)} digits to train on, {len(test.images)} to test, {asked.framework}")
    print(table(found))
    chosen = np.concatenate([np.flatnonzero(found.is_right)[:3], np.flatnonzero(~found.is_right)[:3]])
    explanation = explain(network, test.images[chosen], method="clear", target="all", class_names=DIGITS)
    digits_figure(explanation, test.labels[chosen], DIGITS, asked.output / "digits.png")
    print(f"three right and three wrong decisions: {asked.output / 'digits.png'}")


def _grades(asked: argparse.Namespace) -> None:
    train, test = draw(asked.train, seed=1), draw(asked.test, seed=2)
    data = Labelled(train.images, train.grades)
    network = trained(data, len(GRADES), asked.framework, Plan(epochs=asked.epochs, batch_norm=True))
    found = predicted(network, test.images, asked.framework)
    explanation = explain(network, test.images, method="clear", target="all", class_names=GRADES)
    print(
        f"drawn fundus photographs, {asked.framework}: {(found == test.grades).mean():.1%} of {len(test.images)} "
        f"graded right, {(np.abs(found - test.grades) <= 1).mean():.1%} within one grade"
    )
    hits = boxes_with_lesions(explanation, test.masks, retina())
    print(f"most attentive regions that hold a lesion of the grade: {hits}")
    chosen = [int(np.flatnonzero(test.grades == grade)[0]) for grade in range(len(GRADES))]
    shown = explain(network, test.images[chosen], method="clear", target="all", class_names=GRADES)
    colours = np.moveaxis(test.images[chosen], 1, -1)
    grades_figure(shown, colours, test.masks[chosen], range(len(GRADES)), GRADES, asked.output / "grades.png")
    print(f"one of each grade: {asked.output / 'grades.png'}")


def _photographs(asked: argparse.Namespace) -> None:
    patches, labels, masks = haemorrhage_patches(asked.data)
    network = get_backend(asked.framework).build(haemorrhage_vgg64(asked.data))
    chosen = labels == 1
    found = explain(network, patches[chosen], method="clear", target="all", class_names=BLEEDING)
    hits = boxes_with_lesions(found, masks[chosen], np.ones(masks.shape[1:], bool))
    print(f"patches of photographs that the network did not see, {asked.framework}")
    print(f"most attentive regions that hold a haemorrhage: {hits}")
    whole = fundus_photographs(asked.data)
    found = explain(network, whole.images, method="clear", target="all", class_names=BLEEDING)
    truths = whole.masks.any(axis=(1, 2)).astype(int).tolist()
    grades_figure(found, whole.colours, whole.masks, truths, BLEEDING, asked.output / "photographs.png", boxed=1)
    print(f"whole photographs, {', '.join(whole.names)}: {asked.output / 'photographs.png'}")


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.clear", description=__doc__)
    commands = parser.add_subparsers(required=True)
    digits = commands.add_parser("digits", help="the paper's experiment")
    digits.add_argument("--mnist", type=Path, help=".npz with x_train, y_train, x_test, y_test; else scikit-learn's")
    digits.add_argument("--epochs", type=int, help="6 by default, and 30 of the small digits")
    digits.set_defaults(run=_digits)
    grades = commands.add_parser("grades", help="maps of ordinal grades, as CLEAR-DR, on drawn photographs")
    grades.add_argument("--train", type=int, default=1500)
    grades.add_argument("--test", type=int, default=250)
    grades.add_argument("--epochs", type=int, default=12)
    grades.set_defaults(run=_grades)
    photographs = commands.add_parser("photographs", help="maps of real fundus photographs: haemorrhage or none")
    photographs.add_argument("--data", type=Path, required=True, help="folder of real data (docs/examples.md)")
    photographs.set_defaults(run=_photographs)
    for command in (digits, grades, photographs):
        command.add_argument("--framework", choices=FRAMEWORKS, default="torch")
        command.add_argument("--output", type=Path, default=Path("clear-study"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
