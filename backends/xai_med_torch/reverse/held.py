"""Cotangents on their way, and whether their memory may be written."""

from dataclasses import dataclass

import torch


@dataclass(eq=False, slots=True)
class Held:
    """Cotangents that have arrived at one tensor.

    Parameters
    ----------
    value : tensor of shape (K, *shape of the tensor)
        One for each class.
    is_own : bool
        Whether nobody else reads this memory.
    """

    value: torch.Tensor
    is_own: bool = False

    def times(self, factor: torch.Tensor | float) -> "Held":
        """The product with what does not depend on the class, in place where it can be."""
        return Held(self.value.mul_(factor) if self.is_own else self.value * factor, is_own=True)

    def add(self, other: "Held") -> None:
        """Add what has arrived by another way."""
        if self.is_own:
            self.value.add_(other.value)
        elif other.is_own:
            self.value, self.is_own = other.value.add_(self.value), True
        else:
            self.value, self.is_own = self.value + other.value, True
