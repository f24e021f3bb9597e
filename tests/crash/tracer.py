"""Interferes with one of the system calls by which a program and all that it starts change files.

strace counts the calls of each process for itself, so it never gets to the third call of a git without having killed
the program that starts it at its own third call. Here the calls of all processes are counted together. A filter in the
kernel (seccomp) stops the processes at those calls only, so that they run at nearly full speed.

Linux on x86-64 alone; `reason_why_not` says why it does not work elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

O_CREAT, O_TRUNC = 0o100, 0o1000

# call -> (number, index of the argument that holds a descriptor, of a path, of the folder the path is relative to)
CALLS: dict[str, tuple[int, int | None, int | None, int | None]] = {
    "write": (1, 0, None, None),
    "open": (2, None, 0, None),
    "pwrite64": (18, 0, None, None),
    "writev": (20, 0, None, None),
    "sendfile": (40, 0, None, None),
    "fsync": (74, 0, None, None),
    "fdatasync": (75, 0, None, None),
    "truncate": (76, None, 0, None),
    "ftruncate": (77, 0, None, None),
    "rename": (82, None, 1, None),
    "mkdir": (83, None, 0, None),
    "rmdir": (84, None, 0, None),
    "creat": (85, None, 0, None),
    "link": (86, None, 1, None),
    "unlink": (87, None, 0, None),
    "symlink": (88, None, 1, None),
    "chmod": (90, None, 0, None),
    "fchmod": (91, 0, None, None),
    "openat": (257, None, 1, 0),
    "mkdirat": (258, None, 1, 0),
    "unlinkat": (263, None, 1, 0),
    "renameat": (264, None, 3, 2),
    "linkat": (265, None, 3, 2),
    "symlinkat": (266, None, 2, 1),
    "fchmodat": (268, None, 1, 0),
    "fallocate": (285, 0, None, None),
    "pwritev": (296, 0, None, None),
    "renameat2": (316, None, 3, 2),
    "copy_file_range": (326, 2, None, None),
}
_NAMES = {number: name for name, (number, *_) in CALLS.items()}
_OPENS = {CALLS["open"][0]: 1, CALLS["openat"][0]: 2}
"""Calls that change something only with these flags: the index of their argument with the flags."""

NEED_NO_ROOM = {"unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "truncate", "ftruncate"}

_SEIZE, _CONT, _LISTEN, _GETREGS, _POKEUSER = 0x4206, 7, 0x4208, 12, 6
_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP, _STOP = 1, 2, 3, 4, 7, 128
_OPTIONS = sum(1 << event for event in (_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP)) | 1 << 20  # the last: EXITKILL
_ARGUMENTS = (14, 13, 12, 7, 9, 8)
_RAX, _RDX, _ORIG_RAX = 10, 12, 15
_WALL = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4
_libc.ptrace.restype = ctypes.c_long


class Call(NamedTuple):
    """A call that changes something: which process (0: the program itself), which call, and of which file."""

    process: int
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.name} {self.path} (process {self.process})"


@dataclass
class Traced:
    """What came of it: all calls up to the end, and how the program itself ended (as of `os.waitpid`)."""

    calls: list[Call] = field(default_factory=list)
    status: int = 0


@dataclass(frozen=True)
class Interference:
    """What to do at the call with that number (from 1).

    `how`: `one` kills the process that makes the call, `all` every process, `parent` the program itself when another
    process makes the call; `short` lets a write take half of its bytes; a name of an error lets the call fail with it.
    `lasting` lets all later calls fail, too, as a disk that is full or broken does. Calls that need no room on the disk
    do not fail with ENOSPC.
    """

    at: int = 0
    how: str = "one"
    lasting: bool = False


def trace(run: Callable[[], object], counts: Callable[[Call], bool], interference: Interference) -> Traced:
    """Carry out `run` in a new process and interfere at one of the calls that `counts` is true for.

    The caller must have no other children: these are waited for, too.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        _begin(run, receiver, sender)
    os.close(receiver)
    _ptrace(_SEIZE, child, 0, _OPTIONS)
    os.write(sender, b".")
    os.close(sender)
    return _Tracer(child, counts, interference).follow()


def _begin(run: Callable[[], object], receiver: int, sender: int) -> None:
    try:
        os.close(sender)
        os.read(receiver, 1)
        os.close(receiver)
        _install_filter()
        run()
    finally:
        os._exit(97)


class _Tracer:
    def __init__(self, child: int, counts: Callable[[Call], bool], interference: Interference) -> None:
        self._child = child
        self._counts = counts
        self._interference = interference
        self._processes = {child: 0}
        self._is_over = False
        self._traced = Traced()

    def follow(self) -> Traced:
        while True:
            try:
                process, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return self._traced
            if os.WIFSTOPPED(status):
                self._stopped(process, status)
            elif process == self._child:
                self._traced.status = status

    def _stopped(self, process: int, status: int) -> None:
        self._processes.setdefault(process, len(self._processes))
        if self._is_over:
            return os.kill(process, signal.SIGKILL)
        event, given = status >> 16, os.WSTOPSIG(status)
        if event == _SECCOMP:
            self._call(process)
        elif event == _STOP and given in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            return _try_ptrace(_LISTEN, process, 0)
        return _try_ptrace(_CONT, process, 0 if event else given)

    def _call(self, process: int) -> None:
        registers = _registers(process)
        if registers is None:
            return
        name = _NAMES[registers[_ORIG_RAX]]
        call = Call(self._processes[process], name, _path_of(process, name, registers))
        if not self._counts(call):
            return
        self._traced.calls.append(call)
        number = len(self._traced.calls)
        if number == self._interference.at or (self._interference.lasting and number > self._interference.at > 0):
            self._interfere(process, call, registers)

    def _interfere(self, process: int, call: Call, registers: tuple[int, ...]) -> None:
        match self._interference.how:
            case "one":
                os.kill(process, signal.SIGKILL)
            case "parent":
                os.kill(self._child, signal.SIGKILL)
            case "all":
                self._is_over = True
                for each in self._processes:
                    _kill(each)
            case "short":
                if call.name in ("write", "pwrite64"):
                    _poke(process, _RDX, registers[_RDX] // 2)
            case "ENOSPC" if call.name in NEED_NO_ROOM:
                pass
            case name:
                _poke(process, _ORIG_RAX, -1)
                _poke(process, _RAX, -getattr(errno, name))


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _path_of(process: int, name: str, registers: tuple[int, ...]) -> str:
    _, descriptor, path, folder = CALLS[name]
    arguments = [registers[place] for place in _ARGUMENTS]
    try:
        if descriptor is not None:
            return str(Path(f"/proc/{process}/fd/{arguments[descriptor]}").readlink())
        text = _read_text(process, arguments[path or 0])
        if text.startswith("/"):
            return text
        start = ctypes.c_int(arguments[folder]).value if folder is not None else -100
        base = Path(f"/proc/{process}/cwd" if start < 0 else f"/proc/{process}/fd/{start}").readlink()
        return os.path.normpath(base / text)
    except OSError:
        return "?"


def _read_text(process: int, address: int) -> str:
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        found = memory.read(4096 - address % 4096)
        if b"\0" not in found:
            found += memory.read(4096)
    return found.partition(b"\0")[0].decode("utf-8", "surrogateescape")


# -- the kernel's side ------------------------------------------------------------------------------------------------


def _ptrace(request: int, process: int, address: int, data: int) -> int:
    ctypes.set_errno(0)
    found: int = _libc.ptrace(request, process, address, data)
    if found == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")
    return found


def _try_ptrace(request: int, process: int, data: int) -> None:
    """A process that was killed meanwhile has gone."""
    with suppress(ProcessLookupError):
        _ptrace(request, process, 0, data)


def _registers(process: int) -> tuple[int, ...] | None:
    buffer = ctypes.create_string_buffer(27 * 8)
    try:
        _ptrace(_GETREGS, process, 0, ctypes.addressof(buffer))
    except ProcessLookupError:
        return None
    return struct.unpack("27Q", buffer.raw)


def _poke(process: int, register: int, value: int) -> None:
    _ptrace(_POKEUSER, process, register * 8, value)


def _install_filter() -> None:
    """From now on this process and all that it starts stop at the calls of the table, for their tracer."""
    program = b"".join(_program())
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, ctypes.c_char_p(header), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _program() -> Iterator[bytes]:
    """BPF: load the call's number and compare; opening counts when it may create or empty a file."""

    def line(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    yield line(0x20, 0)
    for name, (number, *_) in CALLS.items():
        if name not in ("open", "openat"):
            yield line(0x15, number, 0, 1)
            yield line(0x06, 0x7FF00000)
    for number, place in _OPENS.items():
        yield line(0x15, number, 0, 4)
        yield line(0x20, 16 + 8 * place)
        yield line(0x45, O_CREAT | O_TRUNC, 0, 1)
        yield line(0x06, 0x7FF00000)
        yield line(0x06, 0x7FFF0000)
    yield line(0x06, 0x7FFF0000)


@cache
def reason_why_not() -> str:
    """Why processes cannot be traced here; "" when they can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "calls are traced on Linux with x86-64 only"
    # In a process of its own: a tracer waits for all children that it has, and we may have others.
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(sender, _try_to_trace().encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        reason = file.read()
    os.waitpid(child, 0)
    return reason


def _try_to_trace() -> str:
    def run() -> None:
        os.open("/dev/null", os.O_CREAT | os.O_WRONLY)
        os._exit(7)

    try:
        traced = trace(run, lambda _: True, Interference())
    except OSError as error:
        return f"processes cannot be traced here: {error}"
    if os.waitstatus_to_exitcode(traced.status) != 7 or [call.name for call in traced.calls] != ["openat"]:
        return "processes cannot be traced here: the filter of the kernel has no effect"
    return ""
