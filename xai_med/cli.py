"""The command line: demo, explain, methods, backends."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xai_med._optional import optional_import
from xai_med.errors import MissingDependencyError, XaiMedError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    try:
        click = optional_import("click", extra="cli")
    except MissingDependencyError as error:
        sys.exit(f"xai-med: {error}")
    try:
        _commands(click).main(args=arguments, prog_name="xai-med", standalone_mode=True)
    except XaiMedError as error:
        sys.exit(f"xai-med: {type(error).__name__}: {error}")


def _commands(click: Any) -> Any:
    import xai_med

    group = click.Group("xai-med", help="Explain medical-imaging models.")
    group = click.version_option(xai_med.__version__, prog_name="xai-med")(group)
    for command in (_demo(click), _explain(click), _methods(click), _backends(click)):
        group.add_command(command)
    return group


def _demo(click: Any) -> Any:
    def demo(output: str, phantoms: int) -> None:
        """Explain synthetic chest phantoms by every method in every installed framework."""
        from xai_med.demo.run import run_demo

        run_demo(Path(output), count=phantoms, say=click.echo)

    options = [
        click.option("--output", default="xai-med-demo", show_default=True, help="Folder for pictures and the page."),
        click.option(
            "--phantoms", type=click.IntRange(min=1), default=100, show_default=True, help="How many for the table."
        ),
    ]
    return _command(click, demo, options)


def _explain(click: Any) -> Any:
    def explain(image: str, model: str, output: str | None, **choices: Any) -> None:
        """Explain IMAGE (PNG or JPEG) by a model: MODULE:FUNCTION returns it, called without arguments."""
        _explain_image(image, model, output, choices, say=click.echo)

    size = {"type": click.IntRange(min=1), "nargs": 2, "metavar": "H W", "default": None}
    options = [
        click.argument("image", type=click.Path(exists=True, dir_okay=False)),
        click.option("--model", required=True, metavar="MODULE:FUNCTION", help="Where the model comes from."),
        click.option(
            "--weights",
            type=click.Path(exists=True, dir_okay=False),
            help="A .safetensors, .pt, .pth or .pdparams file to load.",
        ),
        click.option("--weights-key", default=None, help="Entry of that file under which the weights lie."),
        click.option("--strip-prefix", default=None, help="Taken off the names in that file, such as 'module.'."),
        click.option("--method", default="cam", show_default=True),
        click.option("--target", default=None, help="Class index or name, 'all', 'predicted', 'positive', ..."),
        click.option("--layer", default=None, help="Dotted name; found by default."),
        click.option("--profile", default=None, help="Another library's conventions, such as captum or monai."),
        click.option("--classes", default=None, help="Class names, separated by commas."),
        click.option("--activation", type=click.Choice(["sigmoid", "softmax"]), default=None),
        click.option("--size", **size, help="Resize the image to this height and width."),
        click.option(
            "--channels", type=click.Choice(["1", "3"]), default=None, help="Grey or colour; tried by default."
        ),
        click.option("--mean", default="0", show_default=True, help="Subtracted after scaling to 0..1; one or three."),
        click.option("--std", default="1", show_default=True, help="Divided by; one number or three."),
        click.option("--output", default=None, help="Picture (.png), page (.html) or data (.npz); IMAGE_method.png."),
    ]
    return _command(click, explain, options)


def _methods(click: Any) -> Any:
    def methods(names: tuple[str, ...]) -> None:
        """List the names of all methods, and who provides them; of those named print the cards."""
        from xai_med.registry import METHODS, get_method, owners

        if not names:
            _list_owners(click, owners(METHODS))
        for name in names:
            click.echo(get_method(name).card())

    return _command(click, methods, [click.argument("names", nargs=-1)])


def _backends(click: Any) -> Any:
    def backends() -> None:
        """List the names of all backends, and who provides them."""
        from xai_med.registry import BACKENDS, owners

        _list_owners(click, owners(BACKENDS))

    return _command(click, backends, [])


def _list_owners(click: Any, owners: Mapping[str, str]) -> None:
    for entry, owner in owners.items():
        click.echo(f"{entry:<24}{owner}")


def _command(click: Any, function: Any, options: list[Any]) -> Any:
    for option in reversed(options):
        function = option(function)
    return click.command()(function)


def _explain_image(image: str, model: str, output: str | None, choices: dict[str, Any], *, say: Any) -> None:
    from xai_med.front_door import explain
    from xai_med.io.images import read_image
    from xai_med.loading import load_weights

    network = load_model(model)
    if choices["weights"] is not None:
        load_weights(network, choices["weights"], key=choices["weights_key"], strip_prefix=choices["strip_prefix"])
    mean, deviation = (tuple(float(part) for part in choices[name].split(",")) for name in ("mean", "std"))
    channels = int(choices["channels"]) if choices["channels"] else max(len(mean), len(deviation))
    pixels = read_image(image, channels=channels, size=choices["size"], mean=mean, standard_deviation=deviation)
    names = choices["classes"].split(",") if choices["classes"] else None
    explanation = explain(
        network,
        pixels,
        method=choices["method"],
        target=_target(choices["target"]),
        layer=choices["layer"],
        class_names=names,
        activation=choices["activation"],
        profile=choices["profile"],
    )
    say(explanation.summary())
    path = Path(output) if output else Path(f"{Path(image).stem}_{explanation.method}.png")
    drawing: dict[str, Any] = {"names": [Path(image).name]} if path.suffix.lower() == ".html" else {}
    say(f"written: {explanation.save(path, **drawing)}")


def _target(text: str | None) -> Any:
    if text is None:
        return None
    return int(text) if text.lstrip("+-").isdigit() else text


def load_model(place: str) -> Any:
    """Call ``module:function`` and return the model that it makes.

    Parameters
    ----------
    place : str
        The module is looked for beside the caller too (the working directory).

    Raises
    ------
    SettingError
        Not of this form, or there is no such module or function.
    """
    from xai_med.errors import SettingError

    module, separator, attribute = place.partition(":")
    if not separator or not module or not attribute:
        raise SettingError(f"--model is MODULE:FUNCTION, such as my_models:chexnet, got {place!r}")
    sys.path.insert(0, "")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise SettingError(f"--model: no module {error.name!r} (looked here and among installed packages)") from error
    except AttributeError as error:
        raise SettingError(f"--model: {module!r} has no {attribute!r}") from error
    finally:
        sys.path.remove("")
    if not callable(factory):
        raise SettingError(f"--model: {place!r} is a {type(factory).__name__}, not a function that returns a model")
    return factory()


if __name__ == "__main__":
    main()
