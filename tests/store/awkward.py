"""Whole files that are as awkward as the dialect lets them be, each from a source of random choices.

The text is put together without a model of what it says: readers decide that. Nearly all of it is valid.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

KEYS = (
    "name", "status", "labels", "depends_on", "description", "metadata", "workflows", "x-first", "b.c", "two words",
    "ключ", "日本", "_a", "k1", "$v", "a/b", "it's", 'say "x"', "'single'", "'it''ll'", '"double"', '"a: b"', '"on"',
    '"12"', '"#"', '"t\\tb"', '"\\u00e9"', "' lead'", "k#k", "-k", "?k",
)  # fmt: skip
PLAIN = (
    "x", "planned", "it's", "a b  c", "no", "1.10", "012", "2026-01-02", "12:30", "true", "7", "-1", "1e3", "0x1F",
    "~", "null", "a:b", "a#b", "http://x.y/z?q=1#f", "日本 ü", "👩‍👩‍👧", "-x", "?x", ":x", 'say "x"', "a\\nb", "x" * 300,
    "a,b", "x}}",
)  # fmt: skip
SINGLE = ("''", "'x'", "'it''s'", "' a '", "'# no'", "'a: b'", "'\"'", "'\\n'", "'ü'", "'- a'")
DOUBLE = (
    '""',
    '"x"',
    '"a\\"b"',
    '"\\\\"',
    '" a "',
    '"# no"',
    '"a: b"',
    '"\\t\\n"',
    '"\\u65e5"',
    '"\\x41\\\n  b"',
    '"\'"',
)
WORDS = (
    "one",
    "two  three",
    "# hash",
    "- dash",
    "k: v",
    "'q",
    '"d',
    "[b",
    "}",
    "ü",
    "x\ty",
    "...x",
    "<b>",
    "|",
    "tail ",
    "\\",
)
COMMENTS = ("# c", "#", "# k: v", "# - item", "# it's \"x", "## [", "# |", "# ü", "#   ", "# '", "#!x")
SPACES = ("", "", "", " ", "   ")


class Scribe:
    """Writes files. The same random choices give the same file."""

    def __init__(self, choices: random.Random, keys: Sequence[str] = KEYS) -> None:
        self._random = choices
        self._keys = keys

    def document(self) -> str:
        """The text of one file."""
        lines = ["---" + self._beside()] if self._chance(0.08) else []
        lines += self._between(0)
        lines += self._map(0, 0, self._random.randint(1, 6))
        lines += self._between(0)
        lines += ["...", *self._between(0)] if self._chance(0.05) else []
        return self._joined(lines)

    def _joined(self, lines: list[str]) -> str:
        newline = "\r\n" if self._chance(0.25) else "\n"
        text = "\n".join(lines).replace("\n", newline)
        return text + ("" if self._chance(0.2) else newline * self._random.choice((1, 1, 1, 3)))

    # small choices

    def _chance(self, share: float) -> bool:
        # Turned round, so that the simplest choices give the simplest file.
        return self._random.random() >= 1 - share

    def _pick(self, values: Sequence[T]) -> T:
        return self._random.choice(values)

    def _gap(self) -> str:
        return " " * self._pick((1, 1, 1, 1, 2, 5))

    def _beside(self) -> str:
        """A comment behind something, or blanks."""
        if self._chance(0.25):
            return " " * self._pick((1, 2, 8)) + self._pick(COMMENTS)
        return self._pick(SPACES) if self._chance(0.2) else ""

    def _between(self, column: int) -> list[str]:
        """Comments and empty lines."""
        lines = []
        while self._chance(0.35):
            is_empty = self._chance(0.5)
            deep = self._pick((0, column, column, column + 2, column + 5))
            lines.append(self._pick(("", "", "  ", " " * column)) if is_empty else " " * deep + self._pick(COMMENTS))
        return lines

    # collections

    def _map(self, column: int, depth: int, count: int) -> list[str]:
        lines: list[str] = []
        for key in self._random.sample(self._keys, count):
            lines += self._between(column) if lines else []
            colon = " :" if self._chance(0.03) else ":"
            lines += self._value(" " * column + key + colon, column, depth, in_map=True)
        return lines

    def _list(self, column: int, depth: int, count: int) -> list[str]:
        lines: list[str] = []
        for _ in range(count):
            lines += self._between(column) if lines else []
            lines += self._item(column, depth)
        return lines

    def _item(self, column: int, depth: int) -> list[str]:
        if depth < 3 and self._chance(0.3):
            gap = self._gap()
            inner = column + 1 + len(gap)
            make = self._map if self._chance(0.7) else self._list
            first, *others = make(inner, depth + 1, self._random.randint(1, 3))
            return [" " * column + "-" + gap + first[inner:], *others]
        return self._value(" " * column + "-", column, depth, in_map=False)

    def _value(self, head: str, column: int, depth: int, *, in_map: bool) -> list[str]:
        """What stands behind `key:` or a dash, with that."""
        ways: list[tuple[float, Callable[[], list[str]]]] = [
            (2, lambda: [head + self._beside()]),
            (5, lambda: [head + self._gap() + self._one_line() + self._beside()]),
            (1, lambda: self._on_the_next_line(head, column)),
            (1, lambda: self._over_lines(head, column)),
            (2, lambda: self._block_text(head, column)),
            (1.5, lambda: self._flow_value(head, column)),
        ]
        if depth < 3:
            ways.append((2, lambda: self._nested(head, column, depth, in_map=in_map)))
        weights = [weight for weight, _ in ways]
        return self._random.choices([way for _, way in ways], weights)[0]()

    def _nested(self, head: str, column: int, depth: int, *, in_map: bool) -> list[str]:
        count = self._random.randint(1, 4)
        is_list = self._chance(0.5)
        deeper = column + self._pick((1, 2, 2, 2, 4, 7))
        at = column if is_list and in_map and self._chance(0.3) else deeper
        body = (self._list if is_list else self._map)(at, depth + 1, count)
        return [head + self._beside(), *self._between(at), *body]

    # scalars

    def _one_line(self) -> str:
        return self._pick(self._pick((PLAIN, PLAIN, SINGLE, DOUBLE[:-2])))

    def _on_the_next_line(self, head: str, column: int) -> list[str]:
        inner = " " * (column + self._pick((1, 2, 4)))
        return [head + self._beside(), *self._between(len(inner)), inner + self._one_line() + self._beside()]

    def _over_lines(self, head: str, column: int) -> list[str]:
        quote = self._pick(("", "'", '"'))
        words = [self._pick(("one", "two three", "ü", "x,y", "#no" if quote else "no#")) for _ in range(3)]
        inner = [" " * (column + self._pick((1, 2, 6))) + word for word in words[1:]]
        gap = [""] if self._chance(0.3) else []
        inner[-1] += quote + self._beside()
        return [head + self._gap() + quote + words[0], *gap, *inner]

    def _block_text(self, head: str, column: int) -> list[str]:
        indent = self._pick((1, 2, 2, 2, 4, 7))
        chomp, number = self._pick(("", "", "-", "+")), str(indent) if self._chance(0.25) else ""
        indicators = self._pick((chomp + number, number + chomp))
        lines = [self._text_line(column + indent) for _ in range(self._random.randint(0, 4))]
        if lines and not number:
            lines[0] = " " * (column + indent) + self._pick(WORDS)
        after = [self._pick(("", "", " " * column)) for _ in range(self._random.randint(0, 2))]
        return [f"{head}{self._gap()}{self._pick('|>')}{indicators}{self._beside()}", *lines, *after]

    def _text_line(self, indent: int) -> str:
        if self._chance(0.2):
            return self._pick(("", " ", " " * indent, " " * (indent + 2)))
        return " " * (indent + self._pick((0, 0, 0, 2))) + self._pick(WORDS)

    # in brackets

    def _flow_value(self, head: str, column: int) -> list[str]:
        text = self._flow(0, self._chance(0.4), column)
        return (head + self._gap() + text + self._beside()).split("\n")

    def _flow(self, depth: int, over_lines: bool, column: int) -> str:
        if depth > 2 or (depth and self._chance(0.6)):
            return self._pick(("a", "b c", "'x, y'", '"z"', "1", "no", "''", "ü", "a-b", '"]"', "x#y"))
        is_list = self._chance(0.6)
        entries = [
            self._flow_entry(depth, over_lines, column, is_list=is_list) for _ in range(self._random.randint(0, 4))
        ]
        opened, closed = "[]" if is_list else "{}"
        if not is_list:
            entries = [f"{self._pick(('k', 'q'))}{number}{entry}" for number, entry in enumerate(entries)]
        comma = self._pick(("", ",", " , ")) if entries else ""
        pad = self._pick(("", "", " "))
        text = opened + pad
        for number, entry in enumerate(entries):
            text += entry + (comma if number == len(entries) - 1 else self._pick((", ", ", ", " , ", ",")))
            if over_lines and self._chance(0.5):
                text += self._flow_break(column)
        return text + pad + closed

    def _flow_break(self, column: int) -> str:
        comment = "  " + self._pick(COMMENTS) if self._chance(0.4) else self._pick(SPACES)
        extra = self._pick(("", "", "\n", "\n  # alone"))
        return comment + extra + "\n" + " " * (column + self._pick((1, 2, 4)))

    def _flow_entry(self, depth: int, over_lines: bool, column: int, *, is_list: bool) -> str:
        value = self._flow(depth + 1, over_lines, column)
        if is_list:
            return value
        return self._pick((f": {value}", f": {value}", f":  {value}", ": ", ""))
