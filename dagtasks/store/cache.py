"""The cache: what files gave when they were last read, so that a command reads only what changed.

It may be deleted at any time, as a whole or in parts. Each of its files is replaced at once, says by itself what it was
made of, and has a seal: one that is missing, damaged, older than others or of another version of dagtasks is as if
nothing were known. Nothing waits for anybody, and no command ever fails for it: what cannot be written is not written.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from dagtasks import __version__
from dagtasks.store.files import sweep_temps
from dagtasks.store.git import Git
from dagtasks.store.records import Details, Record

SCHEMA = 8
"""Counted up whenever rows, problems or files of the cache change their form."""

_VERSION = crc32(f"{SCHEMA} {__version__} {sys.implementation.cache_tag}".encode())
SEAL = 4
"""Bytes of the seal at the beginning of each file."""
BUCKETS = 256
MARGIN_NS = 2_000_000_000
_SNAPSHOT = "snapshot"
_NAMES = ("other", *map(str, range(BUCKETS)))


class Cache:
    """The cache in the folder; without a folder one that is always empty.

    A file that was changed less than `margin_ns` before its key was read may change again under the same time stamp:
    its key proves nothing.
    """

    def __init__(self, folder: Path | None, *, margin_ns: int = MARGIN_NS) -> None:
        self._folder = folder
        self._margin_ns = margin_ns

    def snapshot(self) -> bytes | None:
        """The last snapshot that was stored."""
        return self._read(_SNAPSHOT)

    def store_snapshot(self, parts: Sequence[bytes | memoryview]) -> None:
        """Keep this instead of the last one."""
        self._write(_SNAPSHOT, parts)
        if self._folder:
            sweep_temps(self._folder)

    def records(self, paths: Collection[str] | None = None) -> dict[str, Record]:
        """What is known about the files at these paths, or about all."""
        names = {_bucket(path) for path in paths} if paths is not None else _NAMES
        known = {path: Record._make(one) for name in names for path, one in self._load(f"r-{name}").items()}
        return known if paths is None else {path: known[path] for path in paths if path in known}

    def detail(self, path: str, digest: bytes) -> Details | None:
        """The rest of the file with that digest, packed."""
        of, detail = self._detail(path)
        return detail if of == digest else None

    def last_detail(self, path: str) -> Details | None:
        """The rest of the file as it was last read, packed, for those who can tell whether it is still so."""
        return self._detail(path)[1]

    def _detail(self, path: str) -> tuple[bytes | None, Details | None]:
        found: tuple[bytes | None, Details | None] = self._load(f"d-{_bucket(path)}").get(path, (None, None))
        return found

    def store(self, records: Mapping[str, Record], details: Mapping[str, Details], gone: Collection[str] = ()) -> None:
        """Keep these records and details, and forget the files that are gone."""
        self._change("r", {path: tuple(record) for path, record in records.items()}, gone)
        self._change("d", {path: (records[path].digest, detail) for path, detail in details.items()}, gone)

    def _change(self, kind: str, fresh: Mapping[str, Any], gone: Iterable[str]) -> None:
        changes: dict[str, dict[str, Any]] = {}
        for path, value in (*dict.fromkeys(gone).items(), *fresh.items()):
            changes.setdefault(f"{kind}-{_bucket(path)}", {})[path] = value
        for name, changed in changes.items():
            after = {**self._load(name), **changed}
            self._write(name, [marshal.dumps({path: value for path, value in after.items() if value is not None})])

    def value(self, name: str) -> object:
        """What was stored under that name."""
        return self._load(name)

    def store_value(self, name: str, value: Any) -> None:
        """Keep this under that name, instead of what was."""
        self._write(name, [marshal.dumps(value)])

    def trusted_before(self, folder: Path, begun: int) -> int:
        """The time stamp, in nanoseconds, before which a file in the folder was changed if its key is to be proof.

        `begun` says when reading the keys began (`time.time_ns`). 0, so that no key is proof, when the cache cannot be
        written or lies on another device: the time now is taken from the clock that stamps the files.
        """
        if self._folder is None:
            return 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            clock = self._folder / "clock"
            clock.touch()
            stamped = clock.stat()
            if stamped.st_dev != folder.stat().st_dev:
                return 0
        except OSError:
            return 0
        return stamped.st_mtime_ns - (time.time_ns() - begun) - self._margin_ns

    def _load(self, name: str) -> Any:
        content = self._read(name)
        # Sealed: it is what this version of dagtasks wrote.
        return marshal.loads(memoryview(content)[SEAL:]) if content else {}  # noqa: S302

    def _read(self, name: str) -> bytes | None:
        """The file of that name with its seal, if that is right."""
        if self._folder is None:
            return None
        try:
            with open(f"{self._folder}/{name}", "rb") as file:  # noqa: PTH123 - a Path for each of 256 takes longer
                content = file.read()
        except OSError:
            return None
        return content if crc32(memoryview(content)[SEAL:], _VERSION) == int.from_bytes(content[:SEAL]) else None

    def _write(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Replace the file of that name. After a failure nothing more is written: the disk may be full."""
        if self._folder is None:
            return
        seal = _VERSION
        for part in parts:
            seal = crc32(part, seal)
        temp = f"{self._folder}/.{name}.{os.getpid()}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(temp, "wb") as file:  # noqa: PTH123 - as above
                file.writelines([seal.to_bytes(SEAL), *parts])
            os.replace(temp, f"{self._folder}/{name}")  # noqa: PTH105 - as above
        except OSError:
            with suppress(OSError):
                os.unlink(temp)  # noqa: PTH108 - as above
            self._folder = None


def _bucket(path: str) -> str:
    """Where the path is. One file for each path would take long to read; what is no task is read for every task."""
    if "/phases/" in path or path.startswith("templates/") or path.endswith("/project.yaml"):
        return "other"
    return str(crc32(path.encode("utf-8", "surrogateescape")) % BUCKETS)


def find_cache(root: Path, git: Git) -> Path:
    """The folder of the cache of the root."""
    return find_local(root, git, "cache")


def find_local(root: Path, git: Git, name: str) -> Path:
    """Where something of that name lies that belongs to the root and its work tree alone."""
    top = next(folder for folder in (root, *root.parents) if (folder / ".git").exists())
    # Several roots can lie in one work tree.
    return git.git_dir / "dagtasks" / (f"{name}-{crc32(bytes(root.relative_to(top))):08x}" if root != top else name)
