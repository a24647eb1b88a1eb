"""Proves that a module's code does the same each time: then one look at its operations is enough for all.

What a module does may depend on its attributes, on shapes, and on which functions its names stand for; not on values of
tensors, on random numbers, on time, or on anything else that could change unseen. The proof reads the source of
``forward`` as it would run on this very module: branches on attributes are decided, tensors stay unknown, loops over
parts are run. Whatever is not known to be harmless ends the proof, and the module is followed operation by operation.
"""

import ast
import inspect
import textwrap
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import is_
from typing import Any, Protocol

_DEEPEST = 40
_LONGEST = 20_000
_SIMPLE = (int, float, str, bool, type(None))


class UnsteadyError(Exception):
    """The proof ends; nobody outside of this file sees it."""


class _Tensor:
    """Any tensor."""

    def __repr__(self) -> str:
        return "a tensor"


TENSOR = _Tensor()


class Vocabulary(Protocol):
    """What a framework's adapter knows to be harmless."""

    def is_module(self, value: object) -> bool:
        """Whether a value is a module."""
        ...

    def is_leaf(self, module: Any) -> bool:
        """Whether a module is one of the framework's own that gives one tensor for one tensor, without surprises."""
        ...

    def is_unchanged(self, module: Any) -> bool:
        """Whether nothing but its class decides what a call of the module does: no hooks, no forward of its own."""
        ...

    def state(self, module: Any) -> Sequence[Any] | None:
        """Every attribute of a module, its own tensors and parts, to be compared by identity; None to end a proof."""
        ...

    def is_tensor_class(self, value: object) -> bool:
        """Whether a value is the class of tensors, as in ``isinstance(x, Tensor)``."""
        ...

    def parts(self, container: Any, method: str) -> Sequence[Any] | None:
        """What iterating over a container of modules, or a method such as ``items``, gives; None if it is not known."""
        ...

    @property
    def functions(self) -> frozenset[Callable[..., Any]]:
        """Functions of tensors, and of lists of them, that give one tensor and draw no random numbers."""
        ...


@dataclass
class Proof:
    """Why a module is steady, and on what that rests.

    Parameters
    ----------
    modules : dict of int to (reference, class, forward, state)
        All modules that run, held weakly, with what decides what they do.
    attributes : dict to (reference, str, object)
        Read on the way.
    names : dict to (mapping, str, object)
        Globals, and what they stood for.
    """

    modules: dict[int, tuple[Callable[[], Any], type, Any, Sequence[Any]]] = field(default_factory=dict)
    attributes: dict[tuple[int, str], tuple[Callable[[], Any], str, Any]] = field(default_factory=dict)
    names: dict[tuple[int, str], tuple[Mapping[str, Any], str, Any]] = field(default_factory=dict)

    def holds(self, vocabulary: Vocabulary) -> bool:
        """Whether everything that it rests on is still so."""
        for reference, kind, forward, state in self.modules.values():
            module = reference()
            if type(module) is not kind or kind.forward is not forward or not vocabulary.is_unchanged(module):
                return False
            now = vocabulary.state(module)
            if now is None or len(now) != len(state) or not all(map(is_, now, state)):
                return False
        for reference, name, value in self.attributes.values():
            read = getattr(reference(), name, UnsteadyError)
            if read is not value and not (type(read) is type(value) and isinstance(read, _SIMPLE) and read == value):
                return False
        return all(scope.get(name, UnsteadyError) is value for scope, name, value in self.names.values())


def prove(module: Any, vocabulary: Vocabulary) -> Proof | None:
    """Prove that a module gives one tensor for one tensor by the same operations each time; None where it may not.

    Parameters
    ----------
    module : object
        Of the framework.
    vocabulary : Vocabulary
        Of its adapter.
    """
    reading = _Reading(vocabulary)
    try:
        result = reading.module(module, [TENSOR], depth=0)
    except (UnsteadyError, RecursionError):
        return None
    return reading.proof if result is TENSOR else None


@lru_cache(maxsize=1024)
def _source(function: Any) -> ast.FunctionDef:
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise UnsteadyError from error
    if not isinstance(tree, ast.FunctionDef) or function.__closure__ or inspect.isgeneratorfunction(function):
        raise UnsteadyError
    return tree


class _ReturnedError(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class _Reading:
    """One reading of a module's code."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.proof = Proof()
        self._known = vocabulary
        self._steps = 0

    def module(self, module: Any, args: list[Any], *, depth: int) -> Any:
        """A call of a module."""
        if depth > _DEEPEST or not self._known.is_unchanged(module):
            raise UnsteadyError
        kind = type(module)
        self.note(module)
        if self._known.is_leaf(module):
            if args != [TENSOR]:
                raise UnsteadyError
            return TENSOR
        return self._function(kind.forward, [module, *args], depth=depth + 1)

    def _function(self, function: Any, args: list[Any], *, depth: int) -> Any:
        if not inspect.isfunction(function) or depth > _DEEPEST:
            raise UnsteadyError
        tree = _source(function)
        given = tree.args
        names = [each.arg for each in (*given.posonlyargs, *given.args)]
        if len(names) != len(args) or given.vararg or given.kwarg or given.kwonlyargs:
            raise UnsteadyError
        scope = _Scope(self, dict(zip(names, args, strict=True)), function.__globals__, depth)
        try:
            scope.run(tree.body)
        except _ReturnedError as returned:
            return returned.value
        return None

    def note(self, module: Any) -> None:
        """Remember what decides what a module does."""
        kind, state = type(module), self._known.state(module)
        if state is None:
            raise UnsteadyError
        self.proof.modules[id(module)] = (weakref.ref(module), kind, kind.forward, state)

    def step(self) -> None:
        """Count, so that no loop goes on for ever."""
        self._steps += 1
        if self._steps > _LONGEST:
            raise UnsteadyError

    def attribute(self, module: Any, name: str) -> Any:
        """Read an attribute of a module, and remember what it was."""
        if name in ("training",) or not hasattr(module, name):
            raise UnsteadyError
        value = getattr(module, name)
        if not (isinstance(value, _SIMPLE) or self._known.is_module(value)):
            raise UnsteadyError  # a parameter, a list, a function: it could change, or be changed, unseen
        self.proof.attributes[id(module), name] = (weakref.ref(module), name, value)
        return value

    def called(self, function: Any, args: list[Any], keywords: Mapping[str, Any], *, depth: int) -> Any:
        """A call of anything."""
        if self._known.is_module(function) and not keywords:
            return self.module(function, args, depth=depth + 1)
        if function not in self._known.functions:
            raise UnsteadyError
        if not any(_holds_tensor(each) for each in args):
            raise UnsteadyError
        return TENSOR

    @property
    def known(self) -> Vocabulary:
        """What the adapter knows."""
        return self._known

    method = _function


def _holds_tensor(value: Any) -> bool:
    return value is TENSOR or (isinstance(value, list | tuple) and any(map(_holds_tensor, value)))


class _Scope:
    """Statements and expressions of one function."""

    def __init__(self, reading: _Reading, names: dict[str, Any], outer: Mapping[str, Any], depth: int) -> None:
        self._reading, self._names, self._outer, self._depth = reading, names, outer, depth

    # ---- statements

    def run(self, body: Sequence[ast.stmt]) -> None:
        """Run statements; a return ends them."""
        for statement in body:
            self._reading.step()
            handler = getattr(self, f"_run_{type(statement).__name__}", None)
            if handler is None:
                raise UnsteadyError
            handler(statement)

    def _run_Return(self, node: ast.Return) -> None:  # noqa: N802 - named as ast names it
        raise _ReturnedError(None if node.value is None else self._value(node.value))

    def _run_Pass(self, node: ast.Pass) -> None:  # noqa: N802
        del node

    def _run_Expr(self, node: ast.Expr) -> None:  # noqa: N802
        if not isinstance(node.value, ast.Constant):  # a docstring
            self._value(node.value)

    def _run_Assign(self, node: ast.Assign) -> None:  # noqa: N802
        value = self._value(node.value)
        for target in node.targets:
            self._bind(target, value)

    def _run_AugAssign(self, node: ast.AugAssign) -> None:  # noqa: N802
        if not isinstance(node.target, ast.Name):
            raise UnsteadyError
        left = self._names.get(node.target.id, UnsteadyError)
        self._names[node.target.id] = self._combined(left, self._value(node.value), node.op)

    def _run_If(self, node: ast.If) -> None:  # noqa: N802
        self.run(node.body if self._decided(node.test) else node.orelse)

    def _run_For(self, node: ast.For) -> None:  # noqa: N802
        if node.orelse:
            raise UnsteadyError
        for item in self._parts(node.iter):
            self._bind(node.target, item)
            self.run(node.body)

    def _bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = value
        elif isinstance(target, ast.Tuple) and isinstance(value, list | tuple) and len(value) == len(target.elts):
            for each, part in zip(target.elts, value, strict=True):
                self._bind(each, part)
        else:
            raise UnsteadyError

    def _parts(self, node: ast.expr) -> Sequence[Any]:
        method = "__iter__"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
            method, node = node.func.attr, node.func.value
        container = self._value(node)
        if isinstance(container, list | tuple) and method == "__iter__":
            return list(container)
        found = self._reading.known.parts(container, method) if self._reading.known.is_module(container) else None
        if found is None:
            raise UnsteadyError
        self._reading.note(container)
        return found

    # ---- decisions

    def _decided(self, node: ast.expr) -> bool:
        """The truth of a condition, which must not depend on tensors."""
        if isinstance(node, ast.BoolOp):
            is_and = isinstance(node.op, ast.And)
            for each in node.values:
                if self._decided(each) is not is_and:
                    return not is_and
            return is_and
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not self._decided(node.operand)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._compared(self._value(node.left), node.ops[0], self._value(node.comparators[0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            return self._is_instance(node)
        value = self._value(node)
        if not isinstance(value, _SIMPLE):
            raise UnsteadyError
        return bool(value)

    def _compared(self, left: Any, operator: ast.cmpop, right: Any) -> bool:
        if isinstance(operator, ast.Is | ast.IsNot) and (right is None or left is None):
            return (left is right) is isinstance(operator, ast.Is)
        if not (isinstance(left, _SIMPLE) and isinstance(right, _SIMPLE)):
            raise UnsteadyError
        kinds: Mapping[type, Callable[[Any, Any], bool]] = {
            ast.Eq: lambda a, b: a == b,
            ast.NotEq: lambda a, b: a != b,
            ast.Gt: lambda a, b: a > b,
            ast.GtE: lambda a, b: a >= b,
            ast.Lt: lambda a, b: a < b,
            ast.LtE: lambda a, b: a <= b,
        }
        if type(operator) not in kinds:
            raise UnsteadyError
        return kinds[type(operator)](left, right)

    def _is_instance(self, node: ast.Call) -> bool:
        if self._global("isinstance") is not isinstance or len(node.args) != 2 or node.keywords:
            raise UnsteadyError
        value, kind = self._value(node.args[0]), self._value(node.args[1])
        if self._reading.known.is_tensor_class(kind):
            return value is TENSOR
        raise UnsteadyError

    # ---- expressions

    def _value(self, node: ast.expr) -> Any:
        self._reading.step()
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._names[node.id] if node.id in self._names else self._global(node.id)
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(each) for each in node.elts]
        if isinstance(node, ast.BinOp):
            return self._combined(self._value(node.left), self._value(node.right), node.op)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.IfExp):
            return self._value(node.body if self._decided(node.test) else node.orelse)
        if isinstance(node, ast.Call):
            return self._called(node)
        raise UnsteadyError

    def _global(self, name: str) -> Any:
        builtins = self._outer.get("__builtins__", {})
        inner = builtins if isinstance(builtins, dict) else vars(builtins)
        scope = self._outer if name in self._outer else inner
        if name not in scope:
            raise UnsteadyError
        self._reading.proof.names[id(scope), name] = (scope, name, scope[name])
        return scope[name]

    def _attribute(self, node: ast.Attribute) -> Any:
        owner = self._value(node.value)
        if self._reading.known.is_module(owner):
            return self._reading.attribute(owner, node.attr)
        if inspect.ismodule(owner):  # torch.cat, F.relu
            if node.attr not in vars(owner):
                raise UnsteadyError
            value = vars(owner)[node.attr]
            self._reading.proof.names[id(vars(owner)), node.attr] = (vars(owner), node.attr, value)
            return value
        raise UnsteadyError

    def _combined(self, left: Any, right: Any, operator: ast.operator) -> Any:
        """Arithmetic of tensors, which gives a tensor; of plain numbers, which gives a number."""
        if not isinstance(operator, ast.Add | ast.Sub | ast.Mult):
            raise UnsteadyError
        if TENSOR not in (left, right):
            raise UnsteadyError
        if all(each is TENSOR or isinstance(each, int | float) for each in (left, right)):
            return TENSOR
        raise UnsteadyError

    def _called(self, node: ast.Call) -> Any:
        if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
            raise UnsteadyError
        args = [self._value(each) for each in node.args]
        keywords = {str(each.arg): self._value(each.value) for each in node.keywords}
        if isinstance(node.func, ast.Attribute):
            owner = self._value(node.func.value)
            if isinstance(owner, list) and node.func.attr == "append" and len(args) == 1 and not keywords:
                owner.append(args[0])
                return None
            method = getattr(type(owner), node.func.attr, None) if self._reading.known.is_module(owner) else None
            if inspect.isfunction(method) and not keywords and node.func.attr not in vars(owner):
                self._reading.note(owner)
                scope = _ClassScope(type(owner))
                self._reading.proof.names[id(type(owner)), node.func.attr] = (scope, node.func.attr, method)
                return self._reading.method(method, [owner, *args], depth=self._depth + 1)
        return self._reading.called(self._value(node.func), args, keywords, depth=self._depth)


class _ClassScope(Mapping[str, Any]):
    """Attributes of a class, looked up as Python does."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __getitem__(self, name: str) -> Any:
        return getattr(self._kind, name)

    def get(self, name: str, default: Any = None) -> Any:
        """As ``getattr``."""
        return getattr(self._kind, name, default)

    def __iter__(self) -> Any:
        return iter(dir(self._kind))

    def __len__(self) -> int:
        return len(dir(self._kind))
