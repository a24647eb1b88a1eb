"""Features as (N, C, *cells), from whatever axes a layer keeps them in, and back."""

from dataclasses import dataclass

import numpy as np

from zoo.entry import Tokens


@dataclass(frozen=True)
class Layout:
    """How a layer's output holds channels and cells.

    Parameters
    ----------
    channels_last : bool
        (N, *cells, C), or (N, tokens, C).
    tokens : Tokens or None
        Where cells are one axis, behind leading tokens.
    """

    channels_last: bool = False
    tokens: Tokens | None = None

    def read(self, output: np.ndarray) -> np.ndarray:
        """Features (N, C, *cells)."""
        if self.tokens is not None:
            output = output[:, self.tokens.leading :]
            output = output.reshape(len(output), *self.tokens.grid, output.shape[-1])
        return np.moveaxis(output, -1, 1) if self.channels_last else output

    def write(self, features: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The output `like` with other features; leading tokens stay."""
        output = np.moveaxis(features, 1, -1) if self.channels_last else features
        if self.tokens is None:
            return output
        flat = output.reshape(len(output), -1, output.shape[-1])
        return np.concatenate([like[:, : self.tokens.leading], flat], axis=1)


def layout_of(output: np.ndarray, cells: tuple[int, ...], tokens: Tokens | None) -> Layout | None:
    """The layout in which an output has these cells, None where there is none or two of them."""
    fitting = []
    if output.ndim == 2 + len(cells):
        fitting += [Layout()] if output.shape[2:] == cells else []
        fitting += [Layout(channels_last=True)] if output.shape[1:-1] == cells else []
    elif output.ndim == 3 and tokens is not None and tokens.grid == cells:
        count = tokens.leading + int(np.prod(cells))
        fitting += [Layout(channels_last=True, tokens=tokens)] if output.shape[1] == count else []
    return fitting[0] if len(fitting) == 1 else None
