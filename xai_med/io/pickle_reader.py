"""Pickles read as data: only what arrays need is carried out, here, and nothing that a file names is ever called.

A restricted `pickle.Unpickler` would still set attributes of what it admits and grow its memo to any size that a file
states. Here the standard library only splits the file into opcodes; the few that are known are carried out on plain
lists and dictionaries, and names lead to functions of this package that check what they are given.
"""

import pickletools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any, BinaryIO, cast

from xai_med.errors import FileFormatError
from xai_med.io.numbers import shown

MOST_OPCODES = 4_000_000
"""A state dictionary takes about 40 for each array."""


@dataclass(frozen=True)
class Named:
    """What a pickle refers to by name.

    Parameters
    ----------
    place : str
        Module and name, as ``"numpy.ndarray"``. Never imported.
    """

    place: str


class Unfinished(ABC):
    """An object whose content follows later in the pickle."""

    @abstractmethod
    def finish(self, state: Any) -> None:
        """Take the content."""


@dataclass(frozen=True)
class Vocabulary:
    """What a pickle may name.

    Parameters
    ----------
    makers : mapping of str to callable
        What is done instead of calling the object of this name; each checks its arguments.
    referred : frozenset of str
        Names that are only passed as arguments.
    stored : callable, optional
        Finds what the file keeps outside of the pickle.
    """

    makers: Mapping[str, Callable[..., Any]]
    referred: frozenset[str] = frozenset()
    stored: Callable[[Any], Any] | None = None

    def named(self, module: Any, name: Any) -> Named:
        """Refer to a known name.

        Raises
        ------
        FileFormatError
            It is none that arrays need.
        """
        place = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""
        if place not in self.makers and place not in self.referred:
            raise FileFormatError(
                f"it names {shown(place)}, and only plain arrays are read; nothing was executed. "
                "Of a whole pickled model or other objects, save the state dictionary alone"
            )
        return Named(place)


def read_pickle(file: BinaryIO, *, size: int, vocabulary: Vocabulary) -> Any:
    """Read one pickle, to its end.

    Parameters
    ----------
    file : binary file
        Read from where it stands.
    size : int
        Bytes of the pickle.
    vocabulary : Vocabulary
        What it may name.

    Raises
    ------
    FileFormatError
        The pickle is damaged, goes on after its end, names anything else, or does what arrays do not need.
    """
    reader, machine = _Bounded(file, size), _Machine(vocabulary)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", reader))):
            if count == MOST_OPCODES:
                raise FileFormatError(f"its pickle has more than {MOST_OPCODES} steps")
            machine.step(opcode.name, argument)
        result = machine.pop()
    except FileFormatError:
        raise
    # a warning, where warnings are errors: texts of old protocols are decoded before the opcode is refused here
    except (ValueError, TypeError, LookupError, OverflowError, Warning) as error:
        raise FileFormatError(f"its pickle is damaged: {shown(str(error))}") from error
    if reader.left or machine.stack:
        raise FileFormatError("its pickle goes on after its end")
    return result


class _Bounded:
    """A file that gives no more than it has, whatever length is asked for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.left = size

    def read(self, count: int) -> bytes:
        data = self._file.read(min(count, self.left))
        self.left -= len(data)
        return data

    def readline(self) -> bytes:
        line = self._file.readline(self.left)
        self.left -= len(line)
        return line


@dataclass
class _Machine:
    """The stack, marks and memo of a pickle."""

    vocabulary: Vocabulary
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, code: str, argument: Any) -> None:
        """Carry out one opcode."""
        if code in _VALUES:
            self.stack.append(argument)
        elif code in _CONSTANTS:
            self.stack.append(_CONSTANTS[code]())
        elif code in _ACTIONS:
            _ACTIONS[code](self, argument)
        elif code not in _WITHOUT_EFFECT:
            raise FileFormatError(f"its pickle uses {code}, which arrays do not need; nothing was executed")

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("stack underflow")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def tuple_to_mark(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def remember(self, number: int | None) -> None:
        self.memo[len(self.memo) if number is None else number] = self.stack[-1]

    def recall(self, number: int) -> None:
        self.stack.append(self.memo[number])

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise FileFormatError(f"its pickle appends to a {type(target).__name__}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise FileFormatError(f"its pickle sets {len(items) / 2:g} items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise FileFormatError(f"it has an entry under a {type(key).__name__} instead of a name")
            if key in target:
                raise FileFormatError(f"it holds {shown(key)} twice")
            target[key] = value

    def name_in_line(self, line: str) -> None:
        self.stack.append(self.vocabulary.named(*line.split(" ", 1)))

    def name_on_stack(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(self.vocabulary.named(module, name))

    def make(self, _: Any) -> None:
        arguments, named = self.pop(), self.pop()
        maker = self.vocabulary.makers.get(named.place) if isinstance(named, Named) else None
        if maker is None or not isinstance(arguments, tuple):
            raise FileFormatError("its pickle calls what arrays do not need; nothing was executed")
        self.stack.append(maker(*arguments))

    def finish(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Unfinished):
            target.finish(state)
        elif not isinstance(target, dict) or not isinstance(state, dict):
            raise FileFormatError(f"its pickle sets attributes of a {type(target).__name__}; nothing was executed")
        # else: attributes of an ordered dictionary, such as the version numbers of modules, which no array needs

    def find_stored(self, _: Any) -> None:
        if self.vocabulary.stored is None:
            raise FileFormatError("its pickle refers to data outside of it")
        self.stack.append(self.vocabulary.stored(self.pop()))


_VALUES = frozenset(
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_WITHOUT_EFFECT = frozenset({"PROTO", "FRAME", "STOP"})
_CONSTANTS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "NONE": lambda: None,
        "NEWTRUE": lambda: True,
        "NEWFALSE": lambda: False,
        "EMPTY_DICT": dict,
        "EMPTY_LIST": list,
        "EMPTY_TUPLE": tuple,
    }
)
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = MappingProxyType(
    {
        "MARK": _Machine.mark,
        "TUPLE": _Machine.tuple_to_mark,
        "TUPLE1": lambda machine, _: machine.tuple_of(1),
        "TUPLE2": lambda machine, _: machine.tuple_of(2),
        "TUPLE3": lambda machine, _: machine.tuple_of(3),
        "MEMOIZE": _Machine.remember,
        "BINPUT": _Machine.remember,
        "LONG_BINPUT": _Machine.remember,
        "BINGET": _Machine.recall,
        "LONG_BINGET": _Machine.recall,
        "APPEND": lambda machine, _: machine.append([machine.pop()]),
        "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
        "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
        "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
        "GLOBAL": _Machine.name_in_line,
        "STACK_GLOBAL": _Machine.name_on_stack,
        "REDUCE": _Machine.make,
        "BUILD": _Machine.finish,
        "BINPERSID": _Machine.find_stored,
    }
)
