"""What the operator approved, and what a person has seen before running it: a file for each hash, outside of Git."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dagtasks.store.files import remove_file
from dagtasks.store.operator import OperatorState

Kind = Literal["approved", "seen"]


class Approval(NamedTuple):
    """That somebody said yes to a hash: to what (names of workflows, or the template's), when (UTC), and who.

    `covered` are the texts that the hash stands for, so that what comes later can be compared.
    """

    hash: str
    template: str
    names: tuple[str, ...]
    by: str
    at: str
    covered: Mapping[str, Any]


class Approvals:
    """All of one kind. Raises `Conflict` when others could have written them."""

    def __init__(self, state: OperatorState, kind: Kind) -> None:
        self._state = state
        self._kind = kind

    @property
    def folder(self) -> Path:
        """Where they lie, whether there are any or not."""
        return self._state.folder / self._kind

    def find(self, of: str) -> Approval | None:
        """The one for that hash; None also when its file cannot be read."""
        self._state.refuse_unsafe()
        return _read(self.folder / f"{of}.json")

    def every(self) -> list[Approval]:
        """All of them, the newest first."""
        self._state.refuse_unsafe()
        return sorted(self._read_all(), key=lambda approval: (approval.at, approval.hash), reverse=True)

    def _read_all(self) -> Iterator[Approval]:
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            if approval := _read(path):
                yield approval

    def add(self, approval: Approval) -> None:
        """Keep it. Raises `WriteError`."""
        text = json.dumps(approval._asdict(), ensure_ascii=False, indent=1, sort_keys=True)
        self._state.write(f"{self._kind}/{approval.hash}.json", text.encode() + b"\n")

    def remove(self, of: str) -> None:
        """Forget the one for that hash. Raises `WriteError`."""
        self._state.refuse_unsafe()
        remove_file(self.folder / f"{of}.json")


def _read(path: Path) -> Approval | None:
    """What the file says; None when it is not there, cannot be read, or is for another hash than its name says."""
    with suppress(OSError, ValueError, TypeError, LookupError):
        data = json.loads(path.read_bytes())
        approval = Approval(**{**data, "names": tuple(data["names"])})
        return approval if approval.hash == path.stem else None
    return None
