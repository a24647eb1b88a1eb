"""The frozen result of one explanation, with everything needed to trust and to repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check, check_lines
from xai_med.errors import FileFormatError, SettingError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Explanation:
    """Maps of one method for a batch of images and K scores each.

    Parameters
    ----------
    maps : ndarray of shape (N, K, *space), float32
        In the input's space; signed and raw: neither clipped nor normalised.
    attribution : ndarray
        Where it arises: (N, K, C, *space) at the input, or (N, K, *layer space); dtype of the computation.
    scores : ndarray of shape (N, K), float64
        What was explained, usually logits.
    probabilities : ndarray of shape (N, K), float64, or None
        Where the model's final activation is known; NaN where a score is not one class.
    targets : tuple of N tuples of K str
        What was explained, in words.
    class_indices : ndarray of shape (N, K), int64
        -1 where a score is not one class.
    method, settings, layer, rules
        How.
    backend, versions, dtype
        With what.
    checks : tuple of Check
        Identities that were verified on this very result.
    activation : str or None
        ``"sigmoid"``, ``"softmax"`` or unknown.
    source : str
        The method's paper.
    input : ndarray of shape (N, C, *space), float32, or None
        The images.
    extras : mapping of str to ndarray
        Further arrays of the method, N first.
    """

    maps: Array
    attribution: Array
    scores: Array
    probabilities: Array | None
    targets: tuple[tuple[str, ...], ...]
    class_indices: Array
    method: str
    settings: Mapping[str, Any]
    layer: str | None
    rules: tuple[str, ...]
    backend: str
    versions: Mapping[str, str]
    dtype: str
    checks: tuple[Check, ...]
    activation: str | None = None
    source: str = ""
    input: Array | None = None
    extras: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, entry.name, _locked(value))
        object.__setattr__(self, "extras", MappingProxyType({k: _locked(v) for k, v in self.extras.items()}))
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        object.__setattr__(self, "versions", MappingProxyType(dict(self.versions)))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.maps)

    def __repr__(self) -> str:
        """One line: what was explained, how, with what."""
        names = ", ".join(dict.fromkeys(name for row in self.targets for name in row))
        names = names if len(names) <= 60 else names[:57] + "..."
        where = f" at {self.layer}" if self.layer else ""
        return (
            f"<Explanation {self.method}{where} of {names} for {len(self)} image"
            f"{'s' * (len(self) != 1)} by {self.backend}; maps {self.maps.shape}>"
        )

    # ---- checks

    def check(self, key: str) -> Check:
        """Find one check by its key, such as ``"cam_identity"``, or by its name.

        Raises
        ------
        UnknownNameError
            This result has no such check.
        """
        for check in self.checks:
            if key in (check.key, check.name):
                return check
        keys = ", ".join(check.key for check in self.checks)
        hint = "; verify=True adds more" if "plain_forward" not in keys else ""
        raise UnknownNameError(f"this result of {self.method!r} has no check {key!r}; it has {keys}{hint}")

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """Checks that did not pass, or that were asked for and could not be made."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def all_passed(self) -> bool:
        """Whether every check passed."""
        return not self.failed_checks

    # ---- words

    def captions(self, image: int = 0) -> tuple[str, ...]:
        """One caption per score: ``"edema: 12.34 %"``, or the logit where no probability is known."""
        texts = []
        word = "output" if any(check.key == "only_asked" for check in self.checks) else "logit"
        for k, name in enumerate(self.targets[image]):
            probability = np.nan if self.probabilities is None else self.probabilities[image, k]
            value = f"{word} {self.scores[image, k]:.3g}" if np.isnan(probability) else f"{100 * probability:.2f} %"
            texts.append(f"{name}: {value}")
        return tuple(texts)

    def summary(self) -> str:
        """Several lines for people: what, how, with what, and the checks."""
        lines = [repr(self)[1:-1]]
        lines += [f"  image {n}: {'; '.join(self.captions(n)[:6])}" for n in range(min(len(self), 4))]
        lines += [f"  rule: {rule}" for rule in self.rules]
        lines += check_lines(self.checks)
        lines += [f"  source: {self.source}"] if self.source else []
        return "\n".join(lines)

    def citation(self, *metrics: str) -> str:
        """Return BibTeX of all that made this result: the method, the rules it was computed under, and the library.

        Parameters
        ----------
        *metrics : str
            Functions of `xai_med.metrics` with which it was judged, such as ``"deletion"``.

        Returns
        -------
        str
            Entries without repetition: method, methods and superpixels that a setting brought in, rules, metrics,
            library. A source that is not known here, as a plugin's may be, becomes the note of a ``@misc``.

        Raises
        ------
        UnknownNameError
            There is no such metric.

        Notes
        -----
        Rules are those of the composite, whether or not the model has operations of each kind.
        """
        from xai_med.citations import cite_explanation

        return cite_explanation(self, metrics)

    # ---- files

    def save(self, path: str | PathLike[str], *, image: int = 0, **drawing: Any) -> Path:
        """Write the result: ``.npz`` for all data, ``.html`` for a page, a picture format for the picture of one image.

        Parameters
        ----------
        path : path
            Its ending decides: ``.npz``, ``.html``, or ``.png``, ``.pdf``, ``.svg``, ``.jpg``.
        image : int
            Which image to draw; a page holds all.
        **drawing
            Of `figure`, or of `to_html`.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        SettingError
            The ending is not known.
        """
        path = Path(path)
        if path.suffix == ".npz":
            from xai_med.io.archive import write_explanation

            write_explanation(self, path)
        elif path.suffix.lower() == ".html":
            path.write_text(self.to_html(**drawing), encoding="utf-8")
        elif path.suffix.lower() in (".png", ".pdf", ".svg", ".jpg", ".jpeg"):
            from xai_med.render import save_figure

            save_figure(self.figure(image=image, **drawing), path)
        else:
            raise SettingError(
                f"{path.name!r} ends in {path.suffix!r}; use .npz for data, .html for a page, or .png, .pdf, .svg, .jpg"
            )
        return path

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Explanation":
        """Read what `save` wrote to an ``.npz``, bit for bit.

        Raises
        ------
        FileFormatError
            Not such a file.
        """
        from xai_med.io.archive import read_explanation

        values = read_explanation(Path(path))
        try:
            return cls(**values)
        except TypeError as error:
            raise FileFormatError(f"{path} does not hold an Explanation: {error}") from error

    # ---- pictures

    def figure(self, image: int = 0, **drawing: Any) -> "Figure":
        """Draw one image: the original and an overlay per score, or the CLEAR picture with its legend.

        Parameters
        ----------
        image : int
            Which image of the batch.
        **drawing
            ``colour_map``, ``opacity``, ``contour``, ``scale`` and others of `xai_med.render.picture`.

        Raises
        ------
        SettingError
            There is no such image, or the input was not kept.
        MissingDependencyError
            matplotlib is not installed.
        """
        from xai_med.render.explanation import figure_of

        return figure_of(self, image, **drawing)

    def show(self, image: int = 0, **drawing: Any) -> None:
        """Display the picture of one image in a notebook, or in the system's viewer.

        Raises
        ------
        MissingDependencyError
            matplotlib is not installed.
        """
        from xai_med.render.explanation import show

        show(self, image, **drawing)

    def to_html(self, *, names: Sequence[str] | None = None, **drawing: Any) -> str:
        """Return a page to look with: one document without a network, with sliders, classes, values under the cursor.

        Pages of several methods side by side come from `xai_med.render.html_page`.

        Parameters
        ----------
        names : sequence of str, optional
            Of the images, such as file names.
        **drawing
            ``title`` and ``colour_map`` of `xai_med.render.html_page`.

        Raises
        ------
        SettingError
            The input was not kept.
        ShapeError
            The maps are not two-dimensional.
        MissingDependencyError
            Jinja2, matplotlib or Pillow is not installed.
        """
        from xai_med.render.page import html_page

        return html_page(self, names=names, **drawing)

    def _repr_html_(self) -> str | None:
        """Return the page in a frame for notebooks, None where it cannot be drawn."""
        from xai_med.render.page import notebook_frame

        return notebook_frame(self)

    def _repr_png_(self) -> bytes | None:
        """Return the picture for notebooks, None where it cannot be drawn."""
        from xai_med.render.explanation import notebook_png

        return notebook_png(self)


def _locked(array: Array) -> Array:
    if array.flags.owndata and not array.flags.writeable:
        return array  # locked already, by whoever made it
    array = np.array(array)
    array.setflags(write=False)
    return array
