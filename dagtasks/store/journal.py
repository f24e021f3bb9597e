"""Several files as one change: either all of them get their new content, or none does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import DagtasksError
from dagtasks.store.files import (
    Changed,
    WriteError,
    digest_of,
    put_file,
    remove_file,
    write_file,
    write_temp,
    writing,
)


class _Part(NamedTuple):
    """A file of a change: its path, the digest of what it held before ("": no file), and the temp file to put there."""

    path: str
    base: str
    temp: str | None


def write_files(
    root: Path, files: Mapping[str, bytes | None], journal: Path, bases: Mapping[str, str | None] | None = None
) -> None:
    """Give each path (relative to the root) its content; None removes the file. The caller holds the lock.

    `bases` are the digests of what the contents were made from. Raises `Changed` when a file does not hold that any
    more, and `WriteError`; then no file has changed. A process that dies in between leaves the journal, and
    `finish_writes` does the rest.
    """
    bases = bases or {}
    if len(files) == 1:
        path, content = next(iter(files.items()))
        return _write_one(root / path, content, bases.get(path))
    parts: list[_Part] = []
    try:
        for path, content in files.items():
            temp = None if content is None else write_temp(root / path, content).name
            parts.append(_Part(path, digest_of(root / path), temp))
        _refuse_changed(root, parts, bases)
        # From here on the change is decided: the journal is complete, and so is every file that it names.
        write_file(journal, json.dumps(parts).encode())
    except DagtasksError:
        # The journal may be there, only not confirmed: without it nothing is decided.
        with suppress(OSError):
            journal.unlink(missing_ok=True)
        _remove_temps(root, parts)
        raise
    _carry_out(root, parts, journal)
    return None


def _write_one(path: Path, content: bytes | None, base: str | None) -> None:
    if content is None:
        remove_file(path)
    else:
        write_file(path, content, base=base)


def _refuse_changed(root: Path, parts: Iterable[_Part], bases: Mapping[str, str | None]) -> None:
    for part in parts:
        if bases.get(part.path) not in (None, part.base):
            raise Changed(root / part.path)


def finish_writes(root: Path, journal: Path) -> None:
    """Do what a process that died has left of a change of several files. The caller holds the lock.

    A file that somebody has changed since then keeps that.
    """
    try:
        parts = [_Part(*part) for part in json.loads(journal.read_bytes())]
    except FileNotFoundError:
        return
    with suppress(Changed):
        _carry_out(root, [part for part in parts if _is_left(root, part)], journal)
    _remove_temps(root, parts)


def _is_left(root: Path, part: _Part) -> bool:
    target = root / part.path
    try:
        return digest_of(target) == part.base and (part.temp is None or target.with_name(part.temp).exists())
    except OSError:
        return False


def _carry_out(root: Path, parts: Iterable[_Part], journal: Path) -> None:
    """Removals come last: until then what refers to the removed file does so no more.

    A file that somebody changed meanwhile keeps that, and the others are written all the same. Raises `Changed` then.
    """
    changed = []
    try:
        for part in sorted(parts, key=lambda part: part.temp is None):
            try:
                _carry_out_one(root, part)
            except Changed as trouble:
                changed.append(trouble)
        with writing(journal):
            journal.unlink()
    except WriteError as error:
        error.hint = "a part of the change may be made; the next command that changes something makes the rest"
        raise
    if changed:
        changed[0].hint = "it is as they left it, and all else is changed; look at it, and do the rest"
        raise changed[0]


def _carry_out_one(root: Path, part: _Part) -> None:
    if part.temp is None:
        if (root / part.path).exists():
            remove_file(root / part.path)
    else:
        put_file((root / part.path).with_name(part.temp), root / part.path, base=part.base)


def _remove_temps(root: Path, parts: Iterable[_Part]) -> None:
    for path, _, temp in parts:
        if temp:
            with suppress(OSError):
                (root / path).with_name(temp).unlink()
