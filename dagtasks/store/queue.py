"""The queue of a repository: what is to be done for what has happened, one file each, on disk before anybody is told.

Entries are worked in the order in which they came. Whoever adds, changes or removes one holds the project's lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, NamedTuple

from dagtasks.errors import NotFound
from dagtasks.model.names import choose_from
from dagtasks.model.values import JSON
from dagtasks.store.files import remove_file, sweep_temps, try_lock, write_file, writing
from dagtasks.store.git import Git

FORM = 1
LOG_BYTES = 1024 * 1024
"""A log that is longer is begun anew by the next runner."""
Kind = Literal["run"]


class Entry(NamedTuple):
    """Something to be done in the work tree at `root`; `work` is what its kind needs to know.

    `id` follows from what it was made for, so that nothing is queued twice; `cursor` is the mark that it was made from.
    `tries` says how often a runner began with it.
    """

    id: str
    kind: Kind
    made_at: str
    root: str
    cursor: str
    work: Mapping[str, JSON]
    tries: int = 0


class Queue:
    """The queue of a repository, shared by its work trees."""

    def __init__(self, git: Git) -> None:
        self._folder = git.state_dir / "queue"
        self._state = git.state_dir

    def add(self, entries: Iterable[Entry]) -> list[Entry]:
        """Put the entries at the end, but for those whose id is there already; gives what was added.

        Raises `WriteError`.
        """
        files = self._files()
        known = {_id_of(file) for file in files}
        last = _number_of(files[-1]) if files else 0
        added = [entry for entry in entries if entry.id not in known]
        for number, entry in enumerate(added, last + 1):
            self._write(self._folder / f"{number:012d}-{entry.id}.json", entry)
        sweep_temps(self._folder)
        return added

    def names(self) -> list[str]:
        """The ids of all that may be entries, first come first; nothing is read."""
        return [_id_of(file) for file in self._files()]

    def entries(self) -> list[Entry]:
        """All entries, first come first. What is no entry is left out."""
        return [entry for entry in map(_read, self._files()) if entry]

    def find(self, name: str) -> Entry | None:
        """The entry of that id, if it is still there."""
        file = self._find_file(name)
        return _read(file) if file else None

    def get(self, text: str) -> Entry:
        """The entry whose id begins so. Raises `NotFound`."""
        entries = self.entries()
        found = [entry for entry in entries if text and entry.id.startswith(text)]
        if len(found) == 1:
            return found[0]
        what = f"{text!r} fits {len(found)} entries" if found else f"there is no entry {text!r} in the queue"
        raise NotFound(what, hint=choose_from(text, [entry.id for entry in found or entries]))

    def replace(self, entry: Entry) -> None:
        """Write the entry anew, in its place. Raises `WriteError`."""
        if file := self._find_file(entry.id):
            self._write(file, entry)

    def remove(self, name: str) -> None:
        """Take the entry away, if it is still there. Raises `WriteError`."""
        if file := self._find_file(name):
            remove_file(file)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*-*.json"))

    def _find_file(self, name: str) -> Path | None:
        return next((file for file in self._files() if _id_of(file) == name), None)

    def _write(self, file: Path, entry: Entry) -> None:
        content = json.dumps({"form": FORM, **entry._asdict()}, ensure_ascii=False, indent=1).encode() + b"\n"
        write_file(file, content, mode=0o600)  # parameters can be nobody else's business

    def hold(self) -> AbstractContextManager[bool]:
        """Be the one who works the queue, until the context ends or this process does; False: somebody is already."""
        return try_lock(self._state / "queue.lock")

    def open_log(self) -> IO[bytes]:
        """The file for what a runner without a terminal prints."""
        path = self._state / "queue.log"
        with writing(path):
            self._state.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                if path.stat().st_size > LOG_BYTES:
                    path.unlink()
            return path.open("ab")


def _read(file: Path) -> Entry | None:
    try:
        data = json.loads(file.read_bytes())
        entry = Entry(**{name: data[name] for name in Entry._fields})
        datetime.fromisoformat(entry.made_at)
        fits = data["form"] == FORM and entry.id == _id_of(file) and isinstance(entry.work, dict)
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return entry if fits else None


def _id_of(file: Path) -> str:
    return file.stem.partition("-")[2]


def _number_of(file: Path) -> int:
    return int(file.stem.partition("-")[0])
