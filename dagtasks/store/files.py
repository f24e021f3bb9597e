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
from typing import BinaryIO

from dagtasks.errors import Conflict, DagtasksError, LockTimeout

MAX_BYTES = 1024 * 1024
"""No file of tasks or templates is larger."""

LOCK_HELD = "DAGTASKS_LOCK_HELD"
"""Set in the environment of what runs under the lock (git's hooks), which then does not wait for it."""

LOCK_SECONDS = 10.0

_AT_FDCWD = -100
_NO_REPLACE, _EXCHANGE = 1, 2
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.ENOENT, errno.EEXIST)


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


def write_file(path: Path, content: bytes, *, mode: int | None = None, base: str | None = None) -> None:
    """Put the content at the path, all or nothing; folders are made, an existing file's mode is kept.

    Raises `WriteError` (the old file is whole then), `Conflict` when the path is a symlink, and `Changed` when the
    digest of the file (see `digest_of`) is not `base` any more.
    """
    temp = write_temp(path, content, mode=mode)
    try:
        put_file(temp, path, base=base)
    except DagtasksError:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise


def put_file(temp: Path, path: Path, *, base: str | None = None) -> None:
    """Put what `write_temp` has made at its path. Raises `WriteError`, `Changed`."""
    try:
        _replace(temp, path, base)
    except OSError as error:
        raise _write_error(path, error) from error
    _confirm(path, "written")


def _replace(temp: Path, path: Path, base: str | None) -> None:
    """Nobody asks for our lock to save a file in an editor, or to check one out: so the two files are exchanged.

    What comes out tells whether anybody was there since `base` was read; if so, it is put back.
    """
    if base is None:
        temp.replace(path)
        return
    mine = digest_of(temp)
    if not _rename(temp, path, _EXCHANGE if base else _NO_REPLACE):
        if digest_of(path) != base:
            raise Changed(path)
        temp.replace(path)
    elif base and digest_of(temp) != base:
        _put_back(temp, path, mine)
        raise Changed(path)
    elif base:
        with suppress(OSError):
            temp.unlink()


def _put_back(temp: Path, path: Path, mine: str) -> None:
    _rename(temp, path, _EXCHANGE)
    # Somebody may have been there once more: then that is the newest.
    if digest_of(temp) != mine:
        _rename(temp, path, _EXCHANGE)


def digest_of(path: Path) -> str:
    """The SHA-256 of what the file holds; "" when there is none. Raises `OSError`."""
    from hashlib import sha256

    try:
        return sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def exchange(one: Path, other: Path) -> bool:
    """Exchange two files or folders in one step; False where the system or the file system cannot, or one is missing.

    Raises `OSError`.
    """
    return _rename(one, other, _EXCHANGE)


def _rename(one: Path, other: Path, flags: int) -> bool:
    import ctypes  # what only reads needs none

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _confirm(path: Path, done: str) -> None:
    """Make a rename or removal survive a power cut."""
    try:
        fsync_folder(path.parent)
    except OSError as error:
        message = f"{path} is {done}, but the disk did not confirm it: {error.strerror}"
        raise WriteError(message, hint="a power cut could undo it; look after the disk, then do it again") from error


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


class Changed(Conflict):
    """Somebody else changed the file between our reading it and our writing it; it is as they left it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was changed by somebody else meanwhile", hint="look at it, then do it again")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` inside into a `WriteError` that names the path."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror}", hint="when the cause is gone, do it again"
        ) from error


def append(file: BinaryIO, content: bytes) -> None:
    """Write all of it to a file without a buffer: the system may take a part only, as when the disk gets full."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def append_line(path: Path, line: bytes, *, mode: int) -> None:
    """Add the line to a file, which is made when missing. Raises `OSError`, also when the path is a symlink."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        append(file, line)


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
    except OSError as error:
        raise WriteError(f"cannot remove {path}: {error.strerror}", hint="the file is as it was before") from error
    _confirm(path, "removed")
    with suppress(OSError):
        path.parent.rmdir()


def fsync_folder(folder: Path) -> None:
    """Make renames in the folder survive a power cut, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def hold_lock(path: Path, what: str, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock at the path (a file, made when missing, or a folder); the kernel frees it when we die.

    `what` names the command for others who wait. Raises `LockTimeout` after `seconds`, naming the holder, and
    `WriteError` where the lock cannot be made.
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


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock at the path when nobody does, and say whether; the kernel frees it when we die.

    Raises `WriteError` where the lock cannot be made.
    """
    descriptor = _open_lock(path)
    try:
        yield _lock_now(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _wait_for(descriptor: int, path: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _lock_now(descriptor):
        if time.monotonic() >= end:
            raise _timeout(path, seconds)
        import random  # nearly nobody waits

        # Jitter, so that many waiters do not wake in step.
        time.sleep(random.uniform(0.002, 0.02))  # noqa: S311


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _timeout(path: Path, seconds: float) -> LockTimeout:
    holder = path.read_text(errors="replace").strip() if path.is_file() else ""
    by = f" by {holder}" if holder else ""
    return LockTimeout(
        f"the lock of the repository is held{by}; waited {seconds:g} s",
        hint="try again when that command has ended",
    )


def _write_holder(descriptor: int, path: Path, what: str) -> None:
    # On a full disk it stays untold who holds it.
    with suppress(OSError):
        if path.is_file():
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} ({what})\n".encode(errors="replace"), 0)
