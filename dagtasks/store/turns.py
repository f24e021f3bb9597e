"""Concurrency groups: lines of processes of this machine, first come first served; who died leaves its line."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from dagtasks.store.files import hold_lock, write_file
from dagtasks.store.process import is_gone, this_process


class Turn:
    """A place in the line of a group in which `limit` may go on at once."""

    def __init__(self, ticket: Path, limit: int) -> None:
        self._ticket = ticket
        self._limit = limit

    def has_come(self) -> bool:
        """Whether fewer than `limit` are before us. Tickets of processes that are gone are taken away."""
        before = [path for path in _tickets(self._ticket.parent) if path.name < self._ticket.name]
        return sum(_is_alive(path) for path in before) < self._limit

    def leave(self) -> None:
        """Leave the line, or let the next one go on."""
        self._ticket.unlink(missing_ok=True)


def take_turn(folder: Path, group: str, limit: int) -> Turn:
    """Stand at the end of the group's line, kept below the folder."""
    line = folder / sha256(group.encode()).hexdigest()[:16]
    line.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder / "lock", f"line up in {group}"):
        last = max((int(path.stem) for path in _tickets(line)), default=0)
        ticket = line / f"{last + 1:012d}.json"
        write_file(ticket, json.dumps(this_process()).encode())
    return Turn(ticket, limit)


def _tickets(line: Path) -> list[Path]:
    return sorted(line.glob("*.json"))


def _is_alive(ticket: Path) -> bool:
    try:
        process = json.loads(ticket.read_bytes())
    except FileNotFoundError:
        return False
    if is_gone(process):
        ticket.unlink(missing_ok=True)
        return False
    return True
