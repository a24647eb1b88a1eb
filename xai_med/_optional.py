"""The one door through which optional libraries are imported."""

import importlib
from types import ModuleType

from xai_med.errors import MissingDependencyError


def optional_import(module: str, *, extra: str) -> ModuleType:
    """Import an optional library, or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"matplotlib.figure"``.
    extra : str
        The extra of ``xai-med`` that lists it.

    Raises
    ------
    MissingDependencyError
        The library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the library is there, something that it needs itself is not
        raise MissingDependencyError(
            f"this needs {module.split('.')[0]}, which is not installed; "
            f"install it with: pip install 'xai-med[{extra}]'"
        ) from error
