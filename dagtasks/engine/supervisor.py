"""The process that starts the processes of local steps, and ends them and all they started.

A script of its own, run as `python -I -S supervisor.py STEPS FOLDER`. It forks a worker for each byte that comes in,
and one for each that fell over. A worker takes one step after the other from the socket STEPS. It is a subreaper:
whatever the step starts and leaves behind, even in another session and with its parent gone, becomes its child, so it
is found through /proc. When nothing of the step is left, the worker waits for the next. A fork for each step would cost
3 ms of the processor, twice what the step itself costs, because each page that Python touches is copied.

The run's process holds one end of a socket for each step. Over it goes one JSON object in (argv, env, cwd, folder,
grace) and one out (exit_code and left, or errno and error). When the other end is shut, by a cancel, a timeout, or
because the run's process is gone, the step is ended: SIGTERM to all of it, SIGKILL to what is left after `grace`
seconds. The kernel shuts the socket of a dead process, so no signal of the parent's death is needed (it would come when
a mere thread ends, too). Shut after the answer, it says that the step's folder can go; nobody waits for that.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
POLL = 0.02
GIVE_UP = 5.0
"""Seconds after SIGKILL until a process that does not end (another user's, or stuck in the kernel) is reported."""


def main() -> None:
    """Fork the workers that are asked for; at the end remove the folder of the run.

    It ends when the run's process has closed its side, or is gone, and all steps have ended.
    """
    become_subreaper()
    for number in IGNORED:
        signal.signal(number, ignore)  # not SIG_IGN, which the steps would inherit
    gc.disable()  # a collection in a fork would copy every page
    children = watch_children()
    workers: set[int] = set()
    asking = [0]
    while workers or asking:
        ready, _, _ = select.select([children, *asking], [], [])
        if children in ready:
            os.read(children, 4096)
        wanted = reap(workers)
        if 0 in ready:
            asked = len(os.read(0, 4096))
            asking = asking if asked else []
            wanted += asked
        workers.update([fork_worker(int(sys.argv[1])) for _ in range(wanted if asking else 0)])
    kill_all()
    remove(sys.argv[2])


def remove(folder: str) -> None:
    """Remove the folder and all in it, as far as that is possible; also folders that a step made read-only."""
    try:
        os.rmdir(folder)  # noqa: PTH106 - most are empty
    except OSError:
        remove_all(folder)


def remove_all(folder: str) -> None:
    """The same for one that is not empty."""
    import shutil  # no fork has to carry it

    shutil.rmtree(folder, ignore_errors=True)
    if os.path.isdir(folder):  # noqa: PTH112 - pathlib is dear here
        for parent, names, _ in os.walk(folder):
            for name in names:
                open_folder(f"{parent}/{name}")
        shutil.rmtree(folder, ignore_errors=True)


def open_folder(path: str) -> None:
    """Make the folder one that can be read and written to; a link is left alone."""
    try:
        if not os.path.islink(path):  # noqa: PTH114
            os.chmod(path, 0o700)  # noqa: PTH101
    except OSError:
        return


def ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing on a signal: only the socket says when to end."""


def become_subreaper() -> None:
    """Make this process the parent of every orphan below it."""
    prctl()(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@functools.cache
def prctl() -> Any:
    """The function of the C library; made before the first fork, because to make it costs half as much as a fork."""
    return ctypes.CDLL(None, use_errno=True).prctl


def fork_worker(steps: int) -> int:
    """The id of a new worker, which waits for steps."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(steps, 0)  # a step gets another standard input, and so not this
            os.close(steps)
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def work() -> None:
    """Run one step after the other until no more will come; raises `OSError` where a clean worker is wanted."""
    become_subreaper()
    children = watch_children()
    with socket.socket(fileno=0) as control:
        while handles := receive(control):
            run_step(children, *handles)


def receive(control: socket.socket) -> list[int]:
    """The handles of the next step: its connection, stdout and stderr; none when no more will come."""
    _, handles, _, _ = socket.recv_fds(control, 1, 3)
    for handle in handles:
        os.set_inheritable(handle, False)  # recv_fds passes no flags on, and the step must not get the channel
    return handles


def reap(workers: set[int]) -> int:
    """Forget the workers that ended, and kill what one left that fell over; how many did."""
    fallen = 0
    for pid, status in ended_children():
        if pid in workers:
            workers.discard(pid)
            fallen += status != 0
    if fallen:
        kill_orphans(workers)
    return fallen


def kill_orphans(workers: Collection[int]) -> None:
    """Kill all that is below this process but not below one of the workers."""
    for pid in children_of(os.getpid(), parents()):
        if pid not in workers:
            for doomed in [pid, *descendants(pid)]:
                send(doomed, signal.SIGKILL)


def run_step(children: int, connection: int, stdout: int, stderr: int) -> None:
    """Run one step to its end, say how it ended, and remove its folder when that was read.

    Raises `OSError` when something of the step may be left.
    """
    with socket.socket(fileno=connection) as channel:
        try:
            request = json.loads(read_line(channel))
            answer = supervise(request, channel, children, stdout, stderr)
            channel.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            kill_all()
            raise
        os.chdir("/")
        while channel.recv(1):
            pass
    remove(request["folder"])
    if answer.get("left"):
        raise ChildProcessError


def supervise(
    request: dict[str, Any], channel: socket.socket, children: int, stdout: int, stderr: int
) -> dict[str, object]:
    """Start the process and wait until it ended or has to; afterwards nothing of it is left."""
    try:
        pid = start(request, stdout, stderr)
    except (OSError, ValueError) as error:
        return {"errno": getattr(error, "errno", None), "error": str(error)}
    finally:
        os.close(stdout)
        os.close(stderr)
    status = wait(pid, children, channel)
    if status is None:
        status = terminate(pid, request["grace"])
    return {"exit_code": exit_code(status), "left": kill_all()}


def watch_children() -> int:
    """A handle that can be read from when a child has ended."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def read_line(channel: socket.socket) -> bytes:
    """All that comes up to a line break."""
    text = bytearray()
    while not text.endswith(b"\n"):
        chunk = channel.recv(1 << 16)
        if not chunk:
            raise ConnectionError("the request is not whole")
        text += chunk
    return bytes(text)


def start(request: dict[str, Any], stdout: int, stderr: int) -> int:
    """The id of the new process, in a session of its own."""
    os.chdir(request["cwd"])
    os.environ["PATH"] = request["env"].get("PATH", DEFAULT_PATH)
    return os.posix_spawnp(
        request["argv"][0],
        request["argv"],
        request["env"],
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def wait(pid: int, children: int, channel: socket.socket) -> int | None:
    """The wait status of the process, or None as soon as the other end of the channel was shut."""
    while True:
        for ended, status in ended_children():
            if ended == pid:
                return status
        ready, _, _ = select.select([children, channel.fileno()], [], [])
        if channel.fileno() in ready:
            return None
        os.read(children, 4096)


def terminate(pid: int, grace: float) -> int:
    """Ask all below this process to end; the wait status of the process, or that of SIGKILL when it took too long."""
    doomed = stop_all()
    for number in (signal.SIGTERM, signal.SIGCONT):
        for one in doomed:
            send(one, number)
    status = None
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        for ended, its_status in ended_children():
            status = its_status if ended == pid else status
        if not has_children():
            break
        time.sleep(POLL)
    return signal.SIGKILL if status is None else status


def kill_all() -> list[int]:
    """Kill all below this process; what could not be killed within a few seconds."""
    deadline = time.monotonic() + GIVE_UP
    while has_children():
        if time.monotonic() > deadline:
            return descendants(os.getpid())
        kill_once()
        for _ in ended_children():
            pass
    return []


def kill_once() -> None:
    """Kill all below this process that are there now."""
    for pid in stop_all():
        send(pid, signal.SIGKILL)
    time.sleep(0.001)


def stop_all() -> set[int]:
    """Stop all below this process; one that goes on could start another that is overlooked."""
    stopped: set[int] = set()
    while fresh := set(descendants(os.getpid())) - stopped:
        await_stopped([pid for pid in fresh if send(pid, signal.SIGSTOP)])
        stopped |= fresh
    return stopped


def await_stopped(pids: Collection[int]) -> None:
    """Wait until none of them goes on: one that is in the middle of a fork ends it first, and the child runs."""
    deadline = time.monotonic() + GIVE_UP
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.001)


def is_running(pid: int) -> bool:
    """Whether a thread of the process runs or could at once; one that waits for its vfork child (D) could not."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib is dear here
    except OSError:
        return False
    return any(read_stat(f"/proc/{pid}/task/{thread}")[0] in ("R", "S") for thread in threads)


def ended_children() -> Iterator[tuple[int, int]]:
    """Process id and wait status of each child that ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def has_children() -> bool:
    """Whether any child, ended or not, is there; leaves it to be reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """All processes below a process, nearest first."""
    by_parent = parents()
    found = children_of(pid, by_parent)
    for child in found:
        found += children_of(child, by_parent)
    return found


def children_of(pid: int, by_parent: dict[int, list[int]]) -> list[int]:
    """The children of a process, in a list of its own."""
    return list(by_parent.get(pid, ()))


def parents() -> dict[int, list[int]]:
    """All processes of this machine that run, by the id of their parent."""
    found: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            state, parent = read_stat(entry.path)
            if state not in ("Z", "X"):
                found.setdefault(int(parent), []).append(int(entry.name))
    return found


def read_stat(path: str) -> tuple[str, str]:
    """State and parent id of the process of that folder of /proc; state X (dead) when it is gone."""
    try:
        with open(f"{path}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is dear here
            state, parent = file.read().rpartition(")")[2].split()[:2]
            return state, parent
    except OSError:
        return "X", "0"


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process; False when it is gone or another user's."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def exit_code(status: int) -> int:
    """The exit code as a shell says it: 128 and the number of the signal for a process that was killed."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    main()
