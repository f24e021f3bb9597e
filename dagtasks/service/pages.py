"""Pages of a list: a part of it, and a cursor that leads to the next part."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from dagtasks.errors import InvalidInput

T = TypeVar("T")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class Page(NamedTuple, Generic[T]):
    """Some items of a list; `following` is the cursor of the next page, None on the last one."""

    items: Sequence[T]
    following: str | None


class Wish(NamedTuple):
    """Which page is asked for: how many items at the most, and after which cursor (None: from the beginning)."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


def cut(items: Sequence[T], name_of: Callable[[T], str], wish: Wish) -> Page[T]:
    """The page that is asked for. Raises `InvalidInput` for what is no cursor.

    A cursor names the last item that was given, so that what is added or goes before it moves nothing; when that item
    itself has gone, its place counts.
    """
    if not 1 <= wish.limit <= MAX_LIMIT:
        raise InvalidInput(f"limit is {wish.limit}", hint=f"ask for 1 to {MAX_LIMIT} items at a time")
    start = _find_start(items, name_of, wish.cursor) if wish.cursor is not None else 0
    end = start + wish.limit
    found = items[start:end]
    return Page(found, _dump(end, name_of(found[-1])) if end < len(items) else None)


def _find_start(items: Sequence[T], name_of: Callable[[T], str], cursor: str) -> int:
    place, last = _load(cursor)
    if place <= len(items) and name_of(items[place - 1]) == last:
        return place
    return next((number for number, item in enumerate(items, 1) if name_of(item) == last), place - 1)


def _dump(place: int, last: str) -> str:
    return urlsafe_b64encode(json.dumps([place, last]).encode()).decode().rstrip("=")


def _load(cursor: str) -> tuple[int, str]:
    try:
        place, last = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError):
        place, last = None, None
    if not isinstance(place, int) or isinstance(place, bool) or place < 1 or not isinstance(last, str):
        raise InvalidInput(f"{cursor[:40]!r} is no cursor", hint="take `next` of the page before, or leave it out")
    return place, last
