"""A webhook as a plain value: every look asks whether one wants to know, and reads no model for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dagtasks.model.event import EventRecord
from dagtasks.model.values import JSON


class Endpoint(NamedTuple):
    """Who is told of which events. `events` are types, in which `*` stands for any part."""

    name: str
    url: str
    events: Sequence[str] = ("*",)
    project: str | None = None
    enabled: bool = True

    def wants(self, event: EventRecord) -> bool:
        """Whether the event is one of those that are sent there."""
        if not self.enabled or self.project not in (None, event.project):
            return False
        return any(fits(pattern, event.type) for pattern in self.events)

    def to_json(self) -> dict[str, JSON]:
        """The webhook as `--json` shows it."""
        return {**self._asdict(), "events": list(self.events)}


def fits(pattern: str, type_: str) -> bool:
    """Whether the type is one that the pattern means: `*`, `task.*`, `*.created` or the type itself."""
    if pattern == "*":
        return True
    parts, words = pattern.split("."), type_.split(".")
    return len(parts) == len(words) and all(part in ("*", word) for part, word in zip(parts, words, strict=True))
