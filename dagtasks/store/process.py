"""Which process this is, in a way that outlives the reuse of process ids; and which others live."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEPTH = "DAGTASKS_DEPTH"
"""Set in what a run starts: what it changes starts nothing."""
LEASE = 90.0
"""Seconds after which a process of another host that gave no sign of life counts as gone."""


def this_process() -> dict[str, Any]:
    """Process id, start time (clock ticks since boot), boot id and host of this process."""
    return {"pid": os.getpid(), "start": _start_time(os.getpid()), "boot": _boot_id(), "host": socket.gethostname()}


def is_gone(process: Mapping[str, Any], *, silent_for: float = 0.0) -> bool:
    """Whether the process surely ended. That of another host counts as alive until it was silent for 90 seconds."""
    if process.get("host") != socket.gethostname():
        return silent_for > LEASE
    if process.get("boot") != _boot_id():
        return True
    return _start_time(int(process.get("pid", 0))) != process.get("start")


def find_processes_with(mark: str) -> list[int]:
    """The ids of the processes whose environment holds `NAME=value`, as far as we may look into them."""
    wanted = mark.encode()
    return [pid for pid in _process_ids() if wanted in _read(pid, "environ").split(b"\0")]


def find_git_processes(folder: Path) -> list[int] | None:
    """The ids of the processes of git that work in the folder or below it; None where that cannot be known."""
    if not Path("/proc/self").exists():
        return None
    return [pid for pid in _process_ids() if _read(pid, "comm").startswith(b"git") and _works_in(pid, folder)]


def _process_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _start_time(pid: int) -> int | None:
    """The 22nd field of /proc/PID/stat; the second one, in brackets, may hold spaces. None: no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    after_name = text.rpartition(")")[2].split()
    return None if after_name[0] == "Z" else int(after_name[19])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
