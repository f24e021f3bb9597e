"""Long lists, cut into pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")
PER_PAGE = 200


class Turn(NamedTuple):
    """Where a page stands among `last` pages, and the addresses of its neighbours."""

    number: int
    last: int
    before: str | None
    after: str | None


def count_pages(items: Sequence[object]) -> int:
    """How many pages the items need; an empty list has one."""
    return max(1, -(-len(items) // PER_PAGE))


def cut(items: Sequence[T], number: int) -> Sequence[T]:
    """The items of that page, counted from 1."""
    return items[(number - 1) * PER_PAGE : number * PER_PAGE]


def turn(number: int, last: int, uri: Callable[[int], str]) -> Turn:
    """The neighbours of a page."""
    return Turn(number, last, uri(number - 1) if number > 1 else None, uri(number + 1) if number < last else None)
