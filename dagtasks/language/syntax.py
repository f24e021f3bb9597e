"""What the text of a template means: the nodes of an expression, and a scalar as text and holes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dagtasks.errors import Finding, Loc
from dagtasks.model.parameter import ROOTS
from dagtasks.model.values import JSON


class ExpressionError(Exception):
    """The text is no expression. `offset` counts characters into the text that was parsed."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint

    def finding(self, loc: Loc = ()) -> Finding:
        """The error as something wrong at a place of a document."""
        return Finding(loc, "DT301", self.message, self.hint, offset=self.offset)


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, `true`, `false` or `null`."""

    value: JSON
    offset: int


@dataclass(frozen=True, slots=True)
class Listing:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name: a root such as `task`, or else a parameter."""

    name: str
    offset: int

    @property
    def path(self) -> tuple[str, ...]:
        """Where the value is found, from a root on: `x` is `params.x`."""
        return (self.name,) if self.name in ROOTS else ("params", self.name)


@dataclass(frozen=True, slots=True)
class Field:
    """`.name` after a value."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Item:
    """`[index]` after a value."""

    index: Expr
    offset: int


@dataclass(frozen=True, slots=True)
class Path:
    """A value and the way from it to one of its parts."""

    base: Expr
    steps: tuple[Field | Item, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    """`function(a, b)`."""

    name: str
    arguments: tuple[Expr, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Not:
    """`!a`."""

    value: Expr
    offset: int


@dataclass(frozen=True, slots=True)
class Logic:
    """`a && b && c` or `a || b || c`."""

    operator: str
    operands: tuple[Expr, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`a == b`, `a < b`, `a in b`. `offset` is that of the operator."""

    operator: str
    left: Expr
    right: Expr
    offset: int


@dataclass(frozen=True, slots=True)
class Coalesce:
    """`a ?? b ?? c`: the first that is there and is not null."""

    options: tuple[Expr, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Splice:
    """`a[*]`: in a list, the items of `a` instead of `a`."""

    value: Expr
    offset: int


Expr = Literal | Listing | Name | Path | Call | Not | Logic | Comparison | Coalesce | Splice


class Reference(NamedTuple):
    """A path that an expression reads, from a root on, as far as it is known without evaluating."""

    path: tuple[str, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Hole:
    """One `${...}` of a scalar; `start` is the offset of its `$`, `end` that after its `}`."""

    expr: Expr
    source: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as literal parts (`$${` is already `${`) and holes."""

    source: str
    parts: tuple[str | Hole, ...]

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The holes, in order."""
        return tuple(part for part in self.parts if isinstance(part, Hole))

    @property
    def whole(self) -> Hole | None:
        """The hole, when the text is exactly one `${...}`: its value then keeps its type."""
        first = self.parts[0] if len(self.parts) == 1 else None
        return first if isinstance(first, Hole) else None


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside an expression, in the order they are written."""
    match expr:
        case Listing(items=found) | Call(arguments=found) | Logic(operands=found) | Coalesce(options=found):
            return found
        case Comparison(left=left, right=right):
            return (left, right)
        case Not(value=value) | Splice(value=value):
            return (value,)
        case Path(base=base, steps=steps):
            return (base, *(step.index for step in steps if isinstance(step, Item)))
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all expressions in it."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def find_calls(expr: Expr) -> Iterator[Call]:
    """The calls of functions in an expression; shows for instance whether `always()` is among them."""
    return (node for node in walk(expr) if isinstance(node, Call))


def references(expr: Expr) -> Iterator[Reference]:
    """What the expression reads: `steps.build.output` gives ("steps", "build", "output"), `x` ("params", "x")."""
    match expr:
        case Name():
            yield Reference(expr.path, expr.offset)
        case Path(base=Name() as base):
            yield Reference((*base.path, *_known_names(expr.steps)), base.offset)
    for child in children(expr):
        if not (isinstance(expr, Path) and child is expr.base and isinstance(child, Name)):
            yield from references(child)


def _known_names(steps: tuple[Field | Item, ...]) -> Iterator[str]:
    for step in steps:
        match step:
            case Field(name=name) | Item(index=Literal(value=str(name))):
                yield name
            case _:
                return
