"""The cache: what files gave when they were last read, in SQLite, so that a command reads only what changed.

It may be deleted at any time, and is: whatever is wrong with it, it is made anew, and no command ever fails for it.
A cache that another process writes at the moment, or that may not be written, is simply not written.
"""

from __future__ import annotations

import marshal
import sqlite3
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from dagtasks import __version__
from dagtasks.store.git import Git
from dagtasks.store.records import Details, Packed, Record

SCHEMA = 3
"""Counted up whenever rows, problems or tables change their form."""

_VERSION = crc32(f"{SCHEMA} {__version__} {sys.implementation.cache_tag}".encode()) & 0x7FFF_FFFF
_WAIT_SECONDS = 0.25
BUCKETS = 256
MARGIN_NS = 2_000_000_000
LARGE = 1_000_000
"""Bytes; what some two thousand tasks take."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS bucket (number INTEGER PRIMARY KEY, value BLOB, seal INTEGER)",
    "CREATE TABLE IF NOT EXISTS snapshot (only INTEGER PRIMARY KEY, keys BLOB, value BLOB, seal INTEGER)",
    "CREATE TABLE IF NOT EXISTS detail (path BLOB PRIMARY KEY, value BLOB, seal INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS verdict (only INTEGER PRIMARY KEY, value BLOB, seal INTEGER)",
    f"PRAGMA user_version = {_VERSION}",
)
_WRONG = (sqlite3.Error, ValueError, EOFError, TypeError)
_TRANSIENT = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM),
}


class Verdict(NamedTuple):
    """What is wrong between the files that the fingerprint stands for; all packed.

    `placed` holds those of the problems that have a place in a file, by the finding that each was made from and the
    digest of the file: so that no place has to be looked for twice.
    """

    fingerprint: bytes
    problems: tuple[Packed, ...]
    placed: Mapping[Packed, Packed]


class Cache:
    """The cache in the file at `path`; without a path one that is always empty. Close it after use.

    A file that was changed less than `margin_ns` before its key was read may change again under the same time stamp:
    its key proves nothing.
    """

    def __init__(self, path: Path | None, *, margin_ns: int = MARGIN_NS) -> None:
        self._path = path
        self._margin_ns = margin_ns
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def is_large(self) -> bool:
        """Whether it takes long enough to read that something else should be done meanwhile."""
        try:
            return self._path is not None and self._path.stat().st_size > LARGE
        except OSError:
            return False

    def snapshot(self) -> tuple[bytes, Packed] | None:
        """The last snapshot that was stored, and the keys of all files of which it was made."""
        with self._guard():
            if database := self._open():
                found = database.execute("SELECT keys, value, seal FROM snapshot").fetchone()
                mark, value = _unseal(*found[1:]) if found else (None, ())
                return (found[0], value) if found and crc32(found[0]) == mark else None
        return None

    def store_snapshot(self, keys: bytes, value: Packed) -> None:
        """Keep this instead of the last one."""
        with self._guard():
            if database := self._begin():
                sealed = _seal((crc32(keys), value))
                database.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?)", (keys, *sealed))
                database.execute("COMMIT")

    def records(self, paths: Collection[str] | None = None) -> dict[str, Record]:
        """What is known about the files at these paths, or about all."""
        with self._guard():
            if database := self._open():
                if paths is None:
                    return _join(database.execute("SELECT value, seal FROM bucket"))
                known = _join(_bucket(database, number) for number in {_number(path) for path in paths})
                return {path: known[path] for path in paths if path in known}
        return {}

    def detail(self, path: str, digest: bytes) -> Details | None:
        """The rest of the file with that digest, packed."""
        with self._guard():
            if database := self._open():
                found = database.execute("SELECT value, seal FROM detail WHERE path = ?", (_raw(path),)).fetchone()
                of, detail = _unseal(*found) if found else (None, None)
                return detail if of == digest else None
        return None

    def verdict(self) -> Verdict | None:
        """The last verdict that was stored."""
        with self._guard():
            if database := self._open():
                found = database.execute("SELECT value, seal FROM verdict").fetchone()
                return Verdict._make(_unseal(*found)) if found else None
        return None

    def store(self, records: Mapping[str, Record], details: Mapping[str, Details], gone: Collection[str] = ()) -> None:
        """Keep these records and details, and forget the files that are gone."""
        changes: dict[int, dict[str, Record | None]] = {}
        for path, record in (*records.items(), *dict.fromkeys(gone).items()):
            changes.setdefault(_number(path), {})[path] = record
        with self._guard():
            if database := self._begin():
                for number, changed in changes.items():
                    known = {**_join([_bucket(database, number)]), **changed}
                    sealed = _seal({path: tuple(record) for path, record in known.items() if record})
                    database.execute("INSERT OR REPLACE INTO bucket VALUES (?, ?, ?)", (number, *sealed))
                database.executemany("DELETE FROM detail WHERE path = ?", ((_raw(path),) for path in gone))
                rows = ((_raw(path), *_seal((records[path].digest, detail))) for path, detail in details.items())
                database.executemany("INSERT OR REPLACE INTO detail VALUES (?, ?, ?)", rows)
                database.execute("COMMIT")

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep the verdict instead of the last one."""
        with self._guard():
            if database := self._begin():
                database.execute("INSERT OR REPLACE INTO verdict VALUES (1, ?, ?)", _seal(tuple(verdict)))
                database.execute("COMMIT")

    def trusted_before(self, folder: Path, begun: int) -> int:
        """The time stamp, in nanoseconds, before which a file in the folder was changed if its key is to be proof.

        `begun` says when reading the keys began (`time.time_ns`). 0, so that no key is proof, when the cache cannot be
        written or lies on another device: the time now is taken from the clock that stamps the files.
        """
        if self._path is None:
            return 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            stamped = self._path.stat()
            if stamped.st_dev != folder.stat().st_dev:
                return 0
        except OSError:
            return 0
        return stamped.st_mtime_ns - (time.time_ns() - begun) - self._margin_ns

    def _open(self) -> sqlite3.Connection | None:
        """The database, if there is one that this version of dagtasks wrote."""
        if self._connection is None and self._path is not None and self._path.exists():
            self._connect(self._path)
            if self._version() not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version of dagtasks wrote the cache")
        return self._connection if self._connection and self._version() else None

    def _connect(self, path: Path) -> sqlite3.Connection:
        self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        # What a power cut leaves may be garbage: seals tell, and the files are the truth.
        self._connection.execute("PRAGMA synchronous = OFF")
        return self._connection

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0]) if self._connection else 0

    def _begin(self) -> sqlite3.Connection | None:
        """The database inside a transaction."""
        if self._path is None:
            return None
        database = self._open() or self._connection or self._connect(self._path)
        database.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            database.execute(statement)
        return database

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """A cache that cannot be used now is not used any more; one that is wrong is removed, and may be made anew."""
        try:
            yield
        except _WRONG as error:
            self.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _TRANSIENT:
                self._path = None
            elif self._path:
                _delete(self._path)


def find_cache(root: Path, git: Git) -> Path:
    """Where the cache of the root is: local to its work tree (what `git rev-parse --git-path` would say)."""
    top = next(folder for folder in (root, *root.parents) if (folder / ".git").exists())
    # Several roots can lie in one work tree.
    name = f"cache-{crc32(bytes(root.relative_to(top))):08x}.db" if root != top else "cache.db"
    return git.git_dir / "dagtasks" / name


def _delete(path: Path) -> None:
    # The journal first: rolled back into a new database it would ruin that.
    for name in (f"{path.name}-journal", path.name):
        with suppress(OSError):
            path.with_name(name).unlink(missing_ok=True)


def _number(path: str) -> int:
    """The bucket that the path is in. One row for each file would take three times as long to read."""
    return crc32(_raw(path)) % BUCKETS


def _bucket(database: sqlite3.Connection, number: int) -> tuple[bytes, int] | None:
    found: tuple[bytes, int] | None = database.execute(
        "SELECT value, seal FROM bucket WHERE number = ?", (number,)
    ).fetchone()
    return found


def _join(buckets: Iterable[tuple[bytes, int] | None]) -> dict[str, Record]:
    found: dict[str, Any] = {}
    for bucket in buckets:
        if bucket:
            found.update(_unseal(*bucket))
    return {path: Record._make(record) for path, record in found.items()}


def _raw(path: str) -> bytes:
    """The path as bytes: names of files need not be text, and SQLite's text must be."""
    return path.encode("utf-8", "surrogateescape")


def _seal(value: Any) -> tuple[bytes, int]:
    content = marshal.dumps(value)
    return content, crc32(content)


def _unseal(content: bytes, seal: int) -> Any:
    if crc32(content) != seal:
        raise ValueError("the cache is damaged")
    return marshal.loads(content)  # noqa: S302 - sealed: it is what this version of dagtasks wrote
