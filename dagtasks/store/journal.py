"""Several files as one change: either all of them get their new content, or none does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dagtasks.store.files import WriteError, fsync_folder, remove_file, write_file, write_temp


def write_files(root: Path, files: Mapping[str, bytes | None], journal: Path) -> None:
    """Give each path (relative to the root) its content; None removes the file. The caller holds the lock.

    Raises `WriteError`; then no file has changed. A process that dies in between leaves the journal, and
    `finish_writes` does the rest.
    """
    if len(files) == 1:
        return _write_one(root, *next(iter(files.items())))
    temps: dict[str, str | None] = {}
    try:
        for path, content in files.items():
            temps[path] = None if content is None else write_temp(root / path, content).name
        # From here on the change is decided: the journal is complete, and so is every file that it names.
        write_file(journal, json.dumps(temps).encode())
    except WriteError:
        _remove_temps(root, temps)
        raise
    _carry_out(root, temps)
    journal.unlink()
    return None


def _write_one(root: Path, path: str, content: bytes | None) -> None:
    if content is None:
        remove_file(root / path)
    else:
        write_file(root / path, content)


def finish_writes(root: Path, journal: Path) -> Sequence[str]:
    """Do what a process that died has left of a change of several files, and give their paths. Needs the lock."""
    try:
        temps = json.loads(journal.read_bytes())
    except FileNotFoundError:
        return ()
    _carry_out(root, temps)
    journal.unlink()
    return sorted(temps)


def _carry_out(root: Path, temps: Mapping[str, str | None]) -> None:
    for path, temp in temps.items():
        target = root / path
        if temp is None:
            if target.exists():
                remove_file(target)
        elif (target.parent / temp).exists():
            (target.parent / temp).replace(target)
            fsync_folder(target.parent)


def _remove_temps(root: Path, temps: Mapping[str, str | None]) -> None:
    for path, temp in temps.items():
        if temp:
            with suppress(OSError):
                (root / path).with_name(temp).unlink()
