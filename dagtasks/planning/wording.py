"""Changed fields in words, the same in the terminal and on the board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TITLES = {
    "created": "created",
    "completed": "completed",
    "ready": "can be started now",
    "blocked": "blocked",
    "moved": "moved",
    "updated": "changed",
    "deleted": "deleted",
}
"""What events are called, in the order in which they are told."""
_LONGEST = 100
"""Characters; longer values are cut."""


def word_for(event_type: str, changed: Mapping[str, Any]) -> str:
    """The key in `TITLES` of an event: the second half of its type, or that a file was moved and nothing else."""
    word = event_type.partition(".")[2]
    return "moved" if word == "updated" and changed.keys() == {"path"} else word


def describe_fields(changed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field with its old and new value; of a list what came and went, of a description how many lines did."""
    return ((field, _describe_value(field, old, new)) for field, (old, new) in changed.items())


def _describe_value(field: str, old: Any, new: Any) -> str:
    if field == "description":
        return _describe_text(old or "", new or "")
    if isinstance(old or new, list) and isinstance(new or old, list):
        return _describe_list(old or [], new or [])
    return f"{_shorten(old)} -> {_shorten(new)}"


def _describe_text(old: str, new: str) -> str:
    added, removed = Counter(new.splitlines()), Counter(old.splitlines())
    counts = {"added": (added - removed).total(), "removed": (removed - added).total()}
    words = [f"{count} line{'s' if count > 1 else ''} {word}" for word, count in counts.items() if count]
    return ", ".join(words) or "the same lines in another order"


def _describe_list(old: Iterable[Any], new: Iterable[Any]) -> str:
    came, went = Counter(map(str, new)), Counter(map(str, old))
    words = [*(f"+{item}" for item in (came - went)), *(f"-{item}" for item in (went - came))]
    return _shorten(" ".join(words)) if words else "the same in another order"


def _shorten(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
