"""A file of lines that only grows at its end, and not for ever: when it is long it becomes the old one.

A line is on disk when `append` returns. A half last line, as a power cut leaves it, counts as not written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dagtasks.store.files import append, fsync_folder, writing


class LineLog:
    """The lines at the path, and those of the old file beside it. `limit` is in bytes; None: it may grow for ever.

    Whoever writes holds a lock; who reads needs none.
    """

    def __init__(self, path: Path, limit: int | None) -> None:
        self._path = path
        self._old = path.with_name(f"{path.stem}.old{path.suffix}")
        self._limit = limit

    def append(self, lines: Sequence[bytes]) -> None:
        """Put the lines (without their ends) at the end. Raises `WriteError`."""
        if not lines:
            return
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            size = len(self.current())
            if self._limit is not None and size > self._limit:
                self._path.replace(self._old)
                size = 0
            self._write(size, b"".join(line + b"\n" for line in lines))

    def _write(self, at: int, content: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            file.truncate(at)
            file.seek(at)
            append(file, content)
            os.fdatasync(descriptor)
        if not at:
            fsync_folder(self._path.parent)

    def current(self) -> bytes:
        """The whole lines of the file, without those of the old one."""
        return _whole_lines(_read(self._path))

    def lines(self) -> list[bytes]:
        """All lines that are kept, the oldest first. When one file became the other meanwhile, they are read again."""
        while True:
            before = self.stamp()[0]
            content = _whole_lines(_read(self._old)) + self.current()
            if self.stamp()[0] == before:
                return content.splitlines()

    def stamp(self) -> tuple[int, int]:
        """Another one whenever something was appended."""
        with suppress(FileNotFoundError):
            found = self._path.stat()
            return found.st_ino, found.st_size
        return 0, 0

    def clear(self) -> None:
        """Have no line. Raises `WriteError`."""
        with writing(self._path), suppress(FileNotFoundError):
            os.truncate(self._path, 0)


def _read(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
