"""What a plain (unquoted) YAML scalar means: YAML 1.2 core decides, and what YAML 1.1 reads otherwise is marked.

Sources: YAML 1.2.2 section 10.3.2 (core schema) and the YAML 1.1 type repository (bool, int, float, timestamp,
merge, value), as PyYAML and Ruby implement it.
"""

from __future__ import annotations

import math
import re

from dagtasks.model.values import Ambiguous

Scalar = bool | int | float | str | None

_BOOLEANS_OF_1_1 = (
    *("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"),
    *("n", "N", "no", "No", "NO", "off", "Off", "OFF"),
)
WORDS: dict[str, bool | Ambiguous | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **{word: Ambiguous(word) for word in _BOOLEANS_OF_1_1},
    **{word: Ambiguous(word) for word in ("=", "<<")},
}
"""The words that are not simply text."""

_NUMBER_STARTS = frozenset("+-.0123456789")
_LONGEST_INTEGER = 21  # the digits of 64 bits, a sign, and one to spare
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_OTHER_IN_1_1 = re.compile(
    r"""[-+]?0b[01_]+ | [-+]?0x[0-9a-fA-F_]+ | [-+]?[0-9][0-9_]*
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
    | [-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}
      (?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)?
    """,
    re.VERBOSE,
)


class UnfitNumber(ValueError):
    """A plain scalar is a number that no file may hold: infinite, not a number, or too large."""


def resolve(text: str) -> Scalar:
    """The value of a plain scalar: None, bool, int, float, or text (`Ambiguous` when YAML 1.1 disagrees).

    Raises `UnfitNumber` for numbers that are not finite and for integers over 64 bits.
    """
    if text in WORDS:
        return WORDS[text]
    if text[0] in _NUMBER_STARTS:
        return _resolve_number(text)
    return text


def is_text_everywhere(text: str) -> bool:
    """Whether both YAML 1.1 and 1.2 read this plain scalar as text."""
    try:
        return type(resolve(text)) is str
    except UnfitNumber:
        return False


def fits_64_bits(number: int) -> bool:
    """Whether the integer can be kept by every reader of our files and by the cache."""
    return -(2**63) <= number < 2**63


def _resolve_number(text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _finite(text)
    if _NOT_FINITE.fullmatch(text):
        raise UnfitNumber(f"{text} is not a finite number")
    return Ambiguous(text) if _OTHER_IN_1_1.fullmatch(text) else text


def _integer(text: str) -> int:
    if len(text) <= _LONGEST_INTEGER:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text, base)
        if fits_64_bits(number):
            return number
    raise UnfitNumber(f"{shorten(text)} is an integer of more than 64 bits")


def _finite(text: str) -> float:
    number = float(text)
    if math.isfinite(number):
        return number
    raise UnfitNumber(f"{shorten(text)} is too large for a number")


def shorten(text: str, width: int = 40) -> str:
    """The text, cut with `...` when it is longer than `width` characters."""
    return text if len(text) <= width else text[: width - 3] + "..."
