"""The functions of expressions: what each takes, gives and does. All are pure and take linear time."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from dagtasks.language.kinds import ANY, ARRAY, BOOLEAN, INTEGER, NUMBER, STRING, STRINGS, Kind, kind_name
from dagtasks.model.parameter import PATTERN_LIMIT, find_pattern_fault
from dagtasks.model.values import JSON

SIZE_LIMIT = 1 << 20
"""The most bytes that a value made by an expression may have."""
RANGE_LIMIT = 10_000
JSON_DEPTH_LIMIT = 64

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([0-9]{1,3})\}|[{}]")


class EvaluationError(Exception):
    """An expression has no value here. `offset` counts characters into its text; messages never show values."""

    code = "DT307"

    def __init__(self, message: str, *, offset: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint

    @property
    def told(self) -> str:
        """What is wrong and what to do, in one line."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Function:
    """A function. `takes` names the kinds of each argument, joined by `|`; the last `optional` may be left out.

    `run` None: the caller of `evaluate` gives it (`hash_files` needs the disk, `success` the run).
    """

    takes: tuple[str, ...]
    gives: Kind
    run: Callable[..., JSON] | None
    optional: int = 0
    is_variadic: bool = False

    def find_count_fault(self, count: int) -> str:
        """What is wrong with that number of arguments; empty when it fits."""
        least, greatest = len(self.takes) - self.optional, len(self.takes)
        if count < least or (count > greatest and not self.is_variadic):
            wanted = f"at least {least}" if self.is_variadic else _numbers(least, greatest)
            return f"takes {wanted} argument{'' if wanted.endswith('1') else 's'}, not {count}"
        return ""

    def wanted(self, position: int) -> str:
        """The kinds that fit the argument at that position."""
        return self.takes[min(position, len(self.takes) - 1)]


def _numbers(least: int, greatest: int) -> str:
    return str(least) if least == greatest else f"{least} or {greatest}"


def fits(wanted: str, given: str) -> bool:
    """Whether a value of the given kind can be used where those kinds are wanted."""
    kinds = wanted.split("|")
    return "any" in (wanted, given) or given in kinds or (given == "integer" and "number" in kinds)


def size_of(value: JSON) -> int:
    """How many bytes the value has, roughly as JSON in UTF-8."""
    size, waiting = 0, [value]
    while waiting and size <= SIZE_LIMIT:
        part = waiting.pop()
        if isinstance(part, str):
            size += len(part) if part.isascii() else len(part.encode("utf-8", "surrogatepass"))
        elif isinstance(part, Mapping):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            waiting += part
        size += 4
    return size


def check_size(value: JSON) -> JSON:
    """The value; raises `EvaluationError` when it is over the limit."""
    if size_of(value) > SIZE_LIMIT:
        raise _too_big()
    return value


def text_of(value: JSON) -> str:
    """A string, number or boolean as text; raises `EvaluationError` for null, a list or a map."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return _to_json(value)
    raise EvaluationError(f"{Kind(kind_name(value))} cannot stand in text", hint=TEXT_HINTS[kind_name(value)])


TEXT_HINTS: Mapping[str, str] = {
    "null": "give another value with ??",
    "array": "use join(x, ', ') or to_json(x)",
    "object": "use to_json(x) or one of its keys",
}


def is_equal(left: JSON, right: JSON) -> bool:
    """Whether two values are the same; values of different types never are, 1 and 1.0 are."""
    return identity(left) == identity(right)


def identity(value: JSON) -> Hashable:
    """Something hashable that equal values share."""
    match value:
        case bool():
            return ("boolean", value)
        case Mapping():
            return ("object", frozenset((key, identity(item)) for key, item in value.items()))
        case list() | tuple():
            return ("array", tuple(identity(item) for item in value))
        case _:
            return value


def contains(where: JSON, what: JSON) -> bool:
    """Whether a string holds a string, a list an item or a map a key."""
    match where:
        case list() | tuple():
            wanted = identity(what)
            return any(identity(item) == wanted for item in where)
        case _ if not isinstance(what, str):
            raise EvaluationError(f"{Kind(kind_name(what))} cannot be in {Kind(kind_name(where))}")
        case str() | Mapping():
            return what in where
        case _:
            raise EvaluationError(f"nothing can be in {Kind(kind_name(where))}")


def _too_big() -> EvaluationError:
    return EvaluationError(f"the value is bigger than {SIZE_LIMIT // 1024} KiB", hint="pass it as a file")


def _matches(text: str, pattern: str) -> bool:
    if fault := find_match_fault(pattern):
        raise EvaluationError(fault)
    import re2  # only templates that match need it

    return re2.search(pattern, text) is not None


def find_match_fault(pattern: str) -> str:
    """Why the pattern cannot be used; empty when it can."""
    if len(pattern) > PATTERN_LIMIT:
        return f"the pattern is longer than {PATTERN_LIMIT} characters"
    fault = find_pattern_fault(pattern)
    return f"the pattern is not a regular expression: {fault}" if fault else ""


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        raise EvaluationError("replace() needs something to look for, not an empty string")
    if len(text) + text.count(old) * (len(new) - len(old)) > SIZE_LIMIT:
        raise _too_big()
    return text.replace(old, new)


def _split(text: str, separator: str) -> list[JSON]:
    if not separator:
        raise EvaluationError("split() needs a separator, not an empty string")
    return [*text.split(separator)]


def _join(items: Sequence[JSON], separator: str = ",") -> str:
    texts = [text_of(item) for item in items]
    if sum(map(len, texts)) + len(separator) * len(texts) > SIZE_LIMIT:
        raise _too_big()
    return separator.join(texts)


def _format(pattern: str, *values: JSON) -> str:
    texts = [text_of(value) for value in values]
    pieces: list[str] = []
    position = size = 0
    for found in _PLACEHOLDER.finditer(pattern):
        pieces += [pattern[position : found.start()], _placeholder(found, texts)]
        position, size = found.end(), size + len(pieces[-1])
        if size > SIZE_LIMIT:
            raise _too_big()
    return "".join([*pieces, pattern[position:]])


def _placeholder(found: re.Match[str], texts: list[str]) -> str:
    if found[0] in ("{{", "}}"):
        return found[0][0]
    if found[1] is None:
        raise EvaluationError(f"format() has a single {found[0]}", hint="write {0} for a value, {{ and }} for braces")
    if int(found[1]) >= len(texts):
        raise EvaluationError(f"format() has no value for {found[0]}", hint="values are counted from {0}")
    return texts[int(found[1])]


def _to_json(value: JSON) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=dict)
    except ValueError:
        raise EvaluationError("a number is infinite or not a number") from None


def parse_json(text: str) -> JSON:
    """The value that the JSON text holds; raises `EvaluationError`, also for NaN and for too deep nesting."""
    try:
        text.encode()
        value: JSON = json.loads(text, parse_constant=_refuse_constant)
        _to_json(value).encode()
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise EvaluationError("the text is not JSON") from None
    if _depth_of(value) > JSON_DEPTH_LIMIT:
        raise _too_deep()
    return value


def _too_deep() -> EvaluationError:
    return EvaluationError(f"the JSON is nested deeper than {JSON_DEPTH_LIMIT} levels")


def _refuse_constant(name: str) -> JSON:
    raise ValueError(name)


def _depth_of(value: JSON) -> int:
    depth, level = 0, [value]
    while level := [item for part in level for item in _items_of(part)]:
        depth += 1
    return depth


def _items_of(value: JSON) -> list[JSON]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def _integer(value: JSON) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise EvaluationError(f"int() got {Kind(kind_name(value))} that is not a whole number")


def _number(value: JSON) -> int | float:
    if isinstance(value, int | float):
        return value
    if not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise EvaluationError("number() got a string that is not a number", hint="numbers are written as in JSON")
    number: int | float = json.loads(value)
    _to_json(number)
    return number


def _boolean(value: JSON) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise EvaluationError("bool() got a string that is neither 'true' nor 'false'")
    return value == "true"


def _range(first: int, last: int | None = None) -> list[JSON]:
    start, stop = (0, first) if last is None else (first, last)
    if stop - start > RANGE_LIMIT:
        raise EvaluationError(f"range() gives at most {RANGE_LIMIT} numbers")
    return [*range(start, stop)]


def _first_of_each(items: Sequence[JSON]) -> list[JSON]:
    first: dict[Hashable, JSON] = {}
    for item in items:
        first.setdefault(identity(item), item)
    return [*first.values()]


def _flatten(items: Sequence[JSON]) -> list[JSON]:
    return [part for item in items for part in (item if isinstance(item, list | tuple) else [item])]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _same(value: JSON) -> JSON:
    return value


_ITEMS = "string|array|object"
_SIMPLE = "string|number|boolean"

FUNCTIONS: Mapping[str, Function] = {
    "length": Function((_ITEMS,), INTEGER, len),
    "contains": Function((_ITEMS, "any"), BOOLEAN, contains),
    "starts_with": Function(("string", "string"), BOOLEAN, str.startswith),
    "ends_with": Function(("string", "string"), BOOLEAN, str.endswith),
    "matches": Function(("string", "string"), BOOLEAN, _matches),
    "replace": Function(("string", "string", "string"), STRING, _replace),
    "lower": Function(("string",), STRING, str.lower),
    "upper": Function(("string",), STRING, str.upper),
    "trim": Function(("string",), STRING, str.strip),
    "split": Function(("string", "string"), STRINGS, _split),
    "join": Function(("array", "string"), STRING, _join, optional=1),
    "format": Function(("string", _SIMPLE), STRING, _format, optional=1, is_variadic=True),
    "case": Function(("boolean", "any", "any"), ANY, None, is_variadic=True),
    "to_json": Function(("any",), STRING, _to_json),
    "from_json": Function(("string",), ANY, parse_json),
    "string": Function((_SIMPLE,), STRING, text_of),
    "int": Function(("string|number",), INTEGER, _integer),
    "number": Function(("string|number",), NUMBER, _number),
    "bool": Function(("string|boolean",), BOOLEAN, _boolean),
    "keys": Function(("object",), STRINGS, lambda value: [*value]),
    "values": Function(("object",), ARRAY, lambda value: [*value.values()]),
    "unique": Function(("array",), ARRAY, _first_of_each),
    "range": Function(("integer", "integer"), Kind("array", items=INTEGER), _range, optional=1),
    "flatten": Function(("array",), ARRAY, _flatten),
    "sha256": Function(("string",), STRING, _sha256),
    "hash_files": Function(("string",), STRING, None, is_variadic=True),
    "basename": Function(("string",), STRING, posixpath.basename),
    "dirname": Function(("string",), STRING, posixpath.dirname),
}
"""The functions that every expression may call."""

STATUS_FUNCTIONS: Mapping[str, Function] = {
    name: Function((), BOOLEAN, None) for name in ("success", "failure", "always", "cancelled")
}
"""The functions of conditions; the scheduler gives them."""

RAW: Mapping[str, Function] = {"raw": Function((_SIMPLE,), STRING, _same)}
"""`raw(x)`: pasted instead of bound; only as a whole `${raw(...)}` in commands and addresses."""

ALL_FUNCTIONS: Mapping[str, Function] = {**FUNCTIONS, **STATUS_FUNCTIONS, **RAW}
