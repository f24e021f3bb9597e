"""Reads expressions: `${...}` inside a text, and the bare ones of conditions (03 section 2.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagtasks.language.lexer import Token, read_tokens
from dagtasks.language.syntax import (
    Call,
    Coalesce,
    Comparison,
    Expr,
    ExpressionError,
    Field,
    Hole,
    Item,
    Listing,
    Literal,
    Logic,
    Name,
    Not,
    Path,
    Scalar,
    Splice,
)
from dagtasks.model.values import JSON

DEPTH_LIMIT = 32
"""How deep brackets, calls and `!` may be nested."""

_OPENING = re.compile(r"\$\$\{|\$\{")
_OF_THE_SHELL = re.compile(r"\$\{(?:[A-Za-z_][A-Za-z0-9_]*(?::?[-=?+]|[#%/^,@:])|[#@*?-]|[$!]\})")
_CONSTANTS: dict[str, JSON] = {"true": True, "false": False, "null": None}
_WORDS = {"and": "write && for and", "or": "write || for or", "not": "write ! for not", "is": "write == to compare"}


def parse_scalar(text: str) -> Scalar:
    """The text as literal parts and holes; raises `ExpressionError`."""
    parts: list[str | Hole] = []
    literal, position = "", 0
    while opening := _OPENING.search(text, position):
        literal += text[position : opening.start()]
        if opening[0] == "$${":
            literal, position = literal + "${", opening.end()
            continue
        hole = _parse_hole(text, opening.start())
        parts += [literal, hole] if literal else [hole]
        literal, position = "", hole.end
    literal += text[position:]
    scalar = Scalar(text, (*parts, literal) if literal or not parts else tuple(parts))
    _refuse_splice_in_text(scalar)
    return scalar


def parse_expression(text: str) -> Expr:
    """A bare expression, without `${` and `}`; raises `ExpressionError`."""
    tokens = read_tokens(text, 0)
    expr = _Parser(tokens).parse()
    if tokens[-1].text:
        raise ExpressionError("unexpected '}'", tokens[-1].offset)
    return _refuse_splice(expr)


def parse_condition(text: str) -> Expr:
    """What `if` holds: a bare expression, or exactly one `${...}`; raises `ExpressionError`."""
    if "${" not in text:
        return parse_expression(text)
    if text.lstrip().startswith("${"):
        hole, *rest = (part for part in parse_scalar(text).parts if isinstance(part, Hole) or part.strip())
        if isinstance(hole, Hole) and not rest:
            return _refuse_splice(hole.expr)
    message = "a condition is one expression, not text with ${...} in it"
    raise ExpressionError(message, text.index("${"), "put the whole condition in one ${...}, or leave ${ } out")


def _refuse_splice(expr: Expr) -> Expr:
    if isinstance(expr, Splice):
        raise ExpressionError("[*] is only for an item of a list", expr.offset)
    return expr


def _parse_hole(text: str, start: int) -> Hole:
    try:
        tokens = read_tokens(text, start + 2)
        expr = _Parser(tokens).parse()
    except ExpressionError as error:
        raise ExpressionError(error.message, error.offset, _shell_hint(text, start) or error.hint) from None
    end = tokens[-1]
    if not end.text:
        raise ExpressionError("this ${ is not closed by }", start, "write $${ for a literal ${")
    return Hole(expr, text[start : end.offset + 1], start, end.offset + 1)


def _shell_hint(text: str, start: int) -> str:
    if not _OF_THE_SHELL.match(text, start):
        return ""
    inside = re.compile(r"\{[^}\n]{0,60}\}").match(text, start + 1)
    expansion = f"$${inside[0]}" if inside else "$${VAR:-x}"
    name = re.match(r"\$\$\{([A-Za-z_][A-Za-z0-9_]*)", expansion)
    return f"for a variable of the shell write ${name[1]} or {expansion}" if name else f"write {expansion}"


def _refuse_splice_in_text(scalar: Scalar) -> None:
    for hole in scalar.holes:
        if isinstance(hole.expr, Splice) and scalar.whole is None:
            hint = "a list goes into a text with join(x, ', ')"
            raise ExpressionError("[*] must be alone in an item of a list", hole.expr.offset, hint)


class _Parser:
    """Reads one expression by recursive descent, one method for each level of the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def parse(self) -> Expr:
        if self.token.kind == "end":
            raise ExpressionError("the expression is empty", self.token.offset, "write $${} for a literal ${}")
        expr = self.read_or()
        if self.is_next("[*]"):
            expr = Splice(expr, self.take().offset)
        if self.token.kind != "end":
            raise self.unexpected()
        return expr

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        self.position += 1
        return self.tokens[self.position - 1]

    def is_next(self, *operators: str) -> bool:
        return self.token.kind == "operator" and self.token.text in operators

    def take_if(self, operator: str) -> bool:
        found = self.is_next(operator)
        self.position += found
        return found

    def expect(self, operator: str) -> None:
        if not self.take_if(operator):
            raise self.unexpected(f"{operator} is missing here")

    def unexpected(self, message: str = "") -> ExpressionError:
        token = self.token
        if token.kind == "end":
            return ExpressionError(message or "the expression ends too early", token.offset)
        hint = _WORDS.get(token.text, "")
        if token.kind == "number" and token.text.startswith("-"):
            hint = "there is no arithmetic in expressions; compute in a step"
        if token.text == "[*]":
            hint = "[*] goes at the end of a whole ${...} that is an item of a list"
        return ExpressionError(message or f"unexpected {token.text[:40]!r}", token.offset, hint)

    @contextmanager
    def nested(self) -> Iterator[None]:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            message = f"the expression is nested deeper than {DEPTH_LIMIT} levels"
            raise ExpressionError(message, self.token.offset)
        yield
        self.depth -= 1

    def read_or(self) -> Expr:
        return self.read_logic("||", self.read_and)

    def read_and(self) -> Expr:
        return self.read_logic("&&", self.read_equality)

    def read_logic(self, operator: str, read: Callable[[], Expr]) -> Expr:
        offset = self.token.offset
        operands = [read()]
        while self.take_if(operator):
            operands.append(read())
        return Logic(operator, tuple(operands), offset) if len(operands) > 1 else operands[0]

    def read_equality(self) -> Expr:
        return self.read_pair(("==", "!="), self.read_order)

    def read_order(self) -> Expr:
        return self.read_pair(("<", "<=", ">", ">=", "in"), self.read_coalesce)

    def read_pair(self, operators: tuple[str, ...], read: Callable[[], Expr]) -> Expr:
        left = read()
        if not self.is_comparison(operators):
            return left
        operator = self.take()
        expr = Comparison(operator.text, left, read(), operator.offset)
        if self.is_comparison(operators):
            raise ExpressionError("comparisons do not chain", self.token.offset, "join them with && or use ( )")
        return expr

    def is_comparison(self, operators: tuple[str, ...]) -> bool:
        is_word = self.token.kind == "name" and self.token.text == "in" and "in" in operators
        return is_word or self.is_next(*operators)

    def read_coalesce(self) -> Expr:
        offset = self.token.offset
        options = self.read_options()
        while self.take_if("??"):
            options += self.read_options()
        return Coalesce(tuple(options), offset) if len(options) > 1 else options[0]

    def read_options(self) -> list[Expr]:
        expr = self.read_unary()
        return [*expr.options] if isinstance(expr, Coalesce) else [expr]

    def read_unary(self) -> Expr:
        if not self.is_next("!"):
            return self.read_postfix()
        offset = self.take().offset
        with self.nested():
            return Not(self.read_unary(), offset)

    def read_postfix(self) -> Expr:
        offset = self.token.offset
        base = self.read_primary()
        steps: list[Field | Item] = []
        while self.is_next(".", "["):
            steps.append(self.read_field() if self.is_next(".") else self.read_item())
        if self.is_next("(") and steps:
            raise ExpressionError("only functions can be called", self.token.offset, "as in length(x)")
        return Path(base, tuple(steps), offset) if steps else base

    def read_field(self) -> Field:
        self.take()
        if self.token.kind != "name":
            raise self.unexpected("a name is missing after the dot")
        name = self.take()
        return Field(name.text, name.offset)

    def read_item(self) -> Item:
        offset = self.take().offset
        with self.nested():
            index = self.read_or()
        self.expect("]")
        return Item(index, offset)

    def read_primary(self) -> Expr:
        token = self.token
        if token.kind in ("number", "string"):
            return Literal(self.take().value, token.offset)
        if token.kind == "name":
            return self.read_name()
        if self.take_if("["):
            return Listing(self.read_list("]"), token.offset)
        if self.take_if("("):
            with self.nested():
                expr = self.read_or()
            self.expect(")")
            return expr
        raise self.unexpected()

    def read_name(self) -> Expr:
        if self.token.text == "in":
            raise self.unexpected()
        token = self.take()
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.offset)
        if self.take_if("("):
            return Call(token.text, self.read_list(")"), token.offset)
        return Name(token.text, token.offset)

    def read_list(self, closing: str) -> tuple[Expr, ...]:
        items: list[Expr] = []
        with self.nested():
            while not (items == [] and self.is_next(closing)):
                items.append(self.read_or())
                if not self.take_if(","):
                    break
        self.expect(closing)
        return tuple(items)
