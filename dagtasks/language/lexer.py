"""The words of an expression, and where its closing `}` is."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from dagtasks.language.syntax import ExpressionError
from dagtasks.model.values import JSON

LENGTH_LIMIT = 4096
"""The most characters that one expression may have."""

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n]++)
    | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![0-9A-Za-z_]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_-]*+)
    | (?P<single>'(?:[^']|'')*+')
    | (?P<double>"(?:[^"\\]|\\.)*+")
    | (?P<operator>\[\*\]|\|\||&&|==|!=|<=|>=|\?\?|[.,()\[\]!<>])
    | (?P<close>\})
    """,
    re.VERBOSE | re.DOTALL,
)
_NO_ARITHMETIC = "there is no arithmetic in expressions; compute in a step"
_HINTS = {
    "=": "write == to compare",
    "&": "write && for and",
    "|": "write || for or; a function is called as lower(x)",
    "?": "write ?? for another value, or case(condition, a, b)",
    ":": "write case(condition, a, b) to choose",
    "{": "there are no maps in expressions",
    "$": "names are written without $ inside ${...}",
    "`": "strings are written in ' or \"",
    "'": "a ' inside a string is written ''; is the closing ' or } missing?",
    '"': 'a " inside a string is written \\"; is the closing " or } missing?',
    **dict.fromkeys("+-*/%", _NO_ARITHMETIC),
}


class Token(NamedTuple):
    """One word. `kind` is name, number, string, operator or end; the text of an end is `}` or empty."""

    kind: str
    text: str
    offset: int
    value: JSON = None


def read_tokens(text: str, start: int) -> list[Token]:
    """The words from `start` up to the first `}` that is in no string, or to the end of the text."""
    tokens: list[Token] = []
    position = start
    while position < len(text):
        token = _read_token(text, position)
        position += len(token.text)
        if position - start > LENGTH_LIMIT:
            raise ExpressionError(f"the expression is longer than {LENGTH_LIMIT} characters", start)
        if token.kind != "space":
            tokens.append(token)
        if token.kind == "end":
            return tokens
    return [*tokens, Token("end", "", position)]


def _read_token(text: str, position: int) -> Token:
    match = _TOKEN.match(text, position, position + LENGTH_LIMIT + 1)
    if match is None:
        raise _unexpected(text, position)
    word = match[0]
    match match.lastgroup:
        case "number":
            return Token("number", word, position, _read_number(word, position))
        case "single":
            return Token("string", word, position, word[1:-1].replace("''", "'"))
        case "double":
            return Token("string", word, position, _read_string(word, position))
        case "close":
            return Token("end", word, position)
        case kind:
            return Token(str(kind), word, position)


def _read_number(word: str, position: int) -> int | float:
    value: int | float = json.loads(word)
    if value in (float("inf"), float("-inf")):
        raise ExpressionError("the number is too big", position)
    return value


def _read_string(word: str, position: int) -> str:
    try:
        value: str = json.loads(word)
        value.encode()
    except json.JSONDecodeError as error:
        message = "the string in double quotes is not as JSON has it"
        raise ExpressionError(message, position + error.pos, 'write \\n, \\t, \\", \\\\ or \\u00e9') from None
    except UnicodeEncodeError:
        raise ExpressionError("half of a surrogate pair is not a character", position) from None
    return value


def _unexpected(text: str, position: int) -> ExpressionError:
    char = text[position]
    if char in "'\"":
        return ExpressionError(f"the string that starts with {char} is not closed", position, _HINTS[char])
    if char.isdigit() or re.match("-[0-9]", text[position : position + 2]):
        return ExpressionError("this is not a number", position, "numbers are written as in JSON: 7, -0.5, 1e3")
    return ExpressionError(f"unexpected {char!r}", position, _HINTS.get(char, ""))
