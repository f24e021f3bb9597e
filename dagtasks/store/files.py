"""Reading and writing whole files, and the lock of the repository.

A file is always the old or the new version: temp file beside it, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dagtasks.errors import Conflict, DagtasksError, LockTimeout

MAX_BYTES = 1024 * 1024
"""No file of tasks or templates is larger."""

LOCK_HELD = "DAGTASKS_LOCK_HELD"
"""Set in the environment of what runs under the lock (git's hooks), which then does not wait for it."""

LOCK_SECONDS = 10.0


class WriteError(DagtasksError):
    """The file system refused a write; the old file is whole. The message names the file and the cause."""

    exit_code = 8
    status = 500


def read_file(path: Path | str) -> bytes:
    """The bytes of a regular file, of a larger one the first `MAX_BYTES` + 1. Raises `OSError`.

    The last part of the path is not followed when it is a symlink.
    """
    # Without O_NONBLOCK a named pipe in a task folder would hang every command.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        # A buffer of the largest size for each small file would cost more than the reading.
        size = min(found.st_size, MAX_BYTES) + 1
        content = b""
        while len(content) <= MAX_BYTES and (more := os.read(descriptor, min(size, MAX_BYTES + 1 - len(content)))):
            content += more
        return content
    finally:
        os.close(descriptor)


def is_readable_by_all(path: Path) -> bool:
    """Whether every user of the machine may read the file; False when there is none."""
    whole = path.resolve()
    try:
        is_open = whole.stat().st_mode & stat.S_IROTH
        return bool(is_open) and all(folder.stat().st_mode & stat.S_IXOTH for folder in whole.parents)
    except OSError:
        return False


def write_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Put the content at the path, all or nothing; folders are made, an existing file's mode is kept.

    Raises `WriteError` (the old file is whole then) or `Conflict` when the path is a symlink.
    """
    temp = write_temp(path, content, mode=mode)
    try:
        temp.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise _write_error(path, error) from error


def write_temp(path: Path, content: bytes, *, mode: int | None = None) -> Path:
    """A new file beside the path that holds the content, on disk, with the mode that the path has. Raises as above."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fill(temp, content, _mode_of(path) if mode is None else mode)
    except OSError as error:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise _write_error(path, error) from error
    return temp


def _write_error(path: Path, error: OSError) -> WriteError:
    return WriteError(f"cannot write {path}: {error.strerror}", hint="the file is as it was before")


def sweep_temps(folder: Path, *, older_than: float = 3600.0) -> None:
    """Remove the temp files that writers left in the folder when they died, once they are an hour old."""
    with suppress(OSError):
        for temp in folder.glob(".*.tmp"):
            if time.time() - temp.lstat().st_mtime > older_than:
                temp.unlink()


def _fill(temp: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        if mode:
            os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _mode_of(path: Path) -> int:
    """The permission bits of the file that is replaced; 0 when there is none (the umask decides then)."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        raise Conflict(f"{path} is not a regular file", hint="dagtasks does not write through symlinks")
    return stat.S_IMODE(found.st_mode)


def remove_file(path: Path) -> None:
    """Remove the file; its folder is removed, too, when that leaves it empty. Raises `WriteError`."""
    try:
        path.unlink()
        fsync_folder(path.parent)
    except OSError as error:
        raise WriteError(f"cannot remove {path}: {error.strerror}") from error
    with suppress(OSError):
        path.parent.rmdir()


def fsync_folder(folder: Path) -> None:
    """Make renames in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def hold_lock(path: Path, what: str, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock at the path (a file, made when missing, or a folder); the kernel frees it when we die.

    `what` names the command for others who wait. Raises `LockTimeout` after `seconds`, naming the holder.
    """
    if os.environ.get(LOCK_HELD) == str(path):
        yield
        return
    descriptor = _open_lock(path)
    try:
        _wait_for(descriptor, path, seconds)
        _write_holder(descriptor, path, what)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _wait_for(descriptor: int, path: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise _timeout(path, seconds) from None
            import random  # nearly nobody waits

            # Jitter, so that many waiters do not wake in step.
            time.sleep(random.uniform(0.002, 0.02))  # noqa: S311


def _timeout(path: Path, seconds: float) -> LockTimeout:
    holder = path.read_text(errors="replace").strip() if path.is_file() else ""
    by = f" by {holder}" if holder else ""
    return LockTimeout(
        f"the lock of the repository is held{by}; waited {seconds:g} s",
        hint="try again when that command has ended",
    )


def _write_holder(descriptor: int, path: Path, what: str) -> None:
    if path.is_file():
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({what})\n".encode(), 0)
