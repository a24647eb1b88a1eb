"""One tree of exceptions; each is also the nearest built-in, so that ordinary handlers work."""


class XaiMedError(Exception):
    """Base of everything that this library raises on purpose."""


class ShapeError(XaiMedError, ValueError):
    """An array has axes or sizes that do not fit."""


class DtypeError(XaiMedError, TypeError):
    """An array holds a kind of number that cannot be explained as it is."""


class NonFiniteError(XaiMedError, ValueError):
    """NaN or infinity in an input, a weight, an output or a map."""


class TargetError(XaiMedError, ValueError):
    """What should be explained does not exist in the model's output, or is ambiguous."""


class LayerError(XaiMedError, ValueError):
    """A layer is not part of the model, did not run, or has no space axes."""


class SettingError(XaiMedError, ValueError):
    """A method was given a setting that it does not know, or a value outside its range."""


class OutputError(XaiMedError, TypeError):
    """The model returned something in which no logits can be found."""


class ModelError(XaiMedError, TypeError):
    """The model is of a kind, or in a state, that cannot be explained."""


class OpaqueModelError(ModelError):
    """The model's operations cannot be seen: it can be asked for answers, and not for derivatives."""


class UnsupportedOperationError(XaiMedError, NotImplementedError):
    """An operation on the way from input to output has no rule in the chosen method."""


class NotApplicableError(XaiMedError, ValueError):
    """The method does not exist for this architecture or target."""


class GradientError(XaiMedError, RuntimeError):
    """The gradient path is cut, or the framework could not differentiate the model."""


class IdentityError(XaiMedError, ArithmeticError):
    """A result does not satisfy the method's own identity; it would be wrong to return it."""


class RegionError(XaiMedError, ValueError):
    """A region does not exist, is named twice, lies outside of its image, or overlaps where it must not."""


class GazeError(XaiMedError, ValueError):
    """Gaze holds no place on the image, no duration, or times out of order."""


class RegistrationError(XaiMedError, ValueError):
    """A name is taken, or a plugin does not keep the protocol."""


class UnknownNameError(XaiMedError, LookupError):
    """No method, backend, colour map or network of this name."""


class MissingDependencyError(XaiMedError, ImportError):
    """An optional library is needed and not installed."""


class FileFormatError(XaiMedError, ValueError):
    """A file is not what its reader expects."""


class ConformanceError(XaiMedError, AssertionError):
    """A backend or method does not do what the conformance kit expects."""
