"""The audit log: what agents asked for in a repository, and what came of it, for the operator to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagtasks.store.git import Git
from dagtasks.store.operator import OperatorState

NAME = "agents.jsonl"
LIMIT = 5 * 1024 * 1024
"""A log that would be longer is put aside; the one that was put aside before goes."""


class AuditLog:
    """A file of the operator's state, one JSON object a line; the one before it ends in `.1`."""

    def __init__(self, git: Git, limit: int = LIMIT) -> None:
        self._state = OperatorState(git)
        self._limit = limit

    @property
    def path(self) -> Path:
        """Where it lies, whether there is one or not."""
        return self._state.folder / NAME

    def check(self) -> None:
        """Raise `Conflict` when others could write it."""
        self._state.refuse_unsafe()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a line. Raises `Conflict` when others could write it, `WriteError`, `LockTimeout`."""
        self._state.append(NAME, json.dumps(entry, default=str).encode() + b"\n", limit=self._limit)
