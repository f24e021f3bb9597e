"""The local executor against real processes; what is left of a step is looked for in /proc."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import Engine

from dagtasks.engine.executor import ExecResult, StepError
from dagtasks.engine.folders import below
from dagtasks.engine.keeping import keep_artifacts
from dagtasks.engine.local import LocalExecutor
from dagtasks.planning.plan import ArtifactSpec, ExecRequest, Mounted, ServiceRequest
from dagtasks.settings import EngineSettings

SETTINGS = EngineSettings(name="local")
Chunk = tuple[str, bytes]


def request(*argv: str, **fields: Any) -> ExecRequest:
    return ExecRequest("s", 1, "alpine", argv, **fields)


def execute(wanted: ExecRequest, *, within: float | None = None, **options: Any) -> tuple[ExecResult, list[Chunk]]:
    async def once() -> tuple[ExecResult, list[Chunk]]:
        chunks: list[Chunk] = []
        async with LocalExecutor(SETTINGS, **options) as executor, asyncio.timeout(within):
            result = await executor.execute(wanted, lambda stream, data: chunks.append((stream, data)))
        return result, chunks

    return asyncio.run(once())


@pytest.fixture
def token() -> Iterator[str]:
    """A number of seconds to sleep that no other process sleeps; what still does is ended after the test."""
    number = f"3600.{time.monotonic_ns()}"
    yield number
    for pid in alive(number):
        os.kill(pid, signal.SIGKILL)


def alive(token: str) -> list[int]:
    """The processes that sleep for that long."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if argv[:2] == [b"sleep", token.encode()]:
                found.append(int(entry.name))
    return found


def eventually(holds: Callable[[], object], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return bool(holds())


WAYS_TO_HIDE = {
    "child": "sleep {t}",
    "background": "sleep {t} & sleep {t}",
    "own session": "setsid sleep {t} & sleep {t}",
    "own session, parent gone": "(setsid sleep {t} &) ; sleep {t}",
    "daemon without environment": "(env -i setsid sh -c '(sleep {t} &) ; (sleep {t} &)' &) ; sleep {t}",
    "deaf to TERM": "trap '' TERM; (setsid sh -c \"trap '' TERM; sleep {t}; sleep {t}\" &); sleep {t}; sleep {t}",
}


@pytest.mark.parametrize("way", WAYS_TO_HIDE)
def test_timeout_leaves_no_process(way: str, token: str) -> None:
    command = WAYS_TO_HIDE[way].format(t=token)
    with pytest.raises(TimeoutError):
        execute(request("sh", "-c", command), within=0.3, grace=0.2)
    assert alive(token) == []


def test_the_processes_were_there(token: str) -> None:
    async def once() -> None:
        async with LocalExecutor(SETTINGS, grace=0.2) as executor:
            wanted = request("sh", "-c", WAYS_TO_HIDE["daemon without environment"].format(t=token))
            step = asyncio.create_task(executor.execute(wanted, lambda stream, data: None))
            while len(alive(token)) < 3:
                await asyncio.sleep(0.02)
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step
            assert alive(token) == []

    asyncio.run(once())


def test_what_a_step_leaves_behind_is_ended_with_it(token: str) -> None:
    result, chunks = execute(request("sh", "-c", f"(setsid sleep {token} &); echo done"))
    assert (result.exit_code, chunks) == (0, [("stdout", b"done\n")])
    assert alive(token) == []


def test_other_steps_go_on_when_one_is_ended(token: str) -> None:
    async def once() -> None:
        async with LocalExecutor(SETTINGS, grace=0.2) as executor:
            command = f"(setsid sleep {token} &); sleep 0.6; echo whole"
            other = asyncio.create_task(executor.execute(request("sh", "-c", command), lambda stream, data: None))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await executor.execute(request("sh", "-c", "sleep 60"), lambda stream, data: None)
            assert len(alive(token)) == 1
            assert (await other).stdout == b"whole\n"
            assert alive(token) == []

    asyncio.run(once())


def test_a_step_may_clean_up_before_it_is_killed() -> None:
    chunks: list[Chunk] = []

    async def once() -> None:
        async with LocalExecutor(SETTINGS, grace=5) as executor, asyncio.timeout(0.3):
            wanted = request("sh", "-c", "trap 'echo cleaned; exit 3' TERM; while :; do sleep 0.01; done")
            await executor.execute(wanted, lambda stream, data: chunks.append((stream, data)))

    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(once())
    assert ("stdout", b"cleaned\n") in chunks
    assert time.monotonic() - begun < 3


def longest_end(argv: tuple[str, ...], *, rounds: int, pause: float, grace: float) -> float:
    """Seconds that it took at most to end the step when it is cancelled in each round a `pause` later."""

    async def once() -> float:
        slowest = 0.0
        async with LocalExecutor(SETTINGS, grace=grace) as executor:
            for number in range(rounds):
                step = asyncio.create_task(executor.execute(request(*argv), lambda stream, data: None))
                await asyncio.sleep(number * pause)
                begun = time.monotonic()
                step.cancel()
                await asyncio.wait([step])
                slowest = max(slowest, time.monotonic() - begun)
        return slowest

    return asyncio.run(once())


def test_a_step_that_is_just_starting_ends_as_fast() -> None:
    """A shell that dies of SIGTERM while it forks must not leave a child that never got the signal."""
    assert longest_end(("sh", "-ec", "echo begun; sleep 60"), rounds=40, pause=0.0002, grace=20) < 15


def test_a_step_that_forks_all_the_time_ends_as_fast() -> None:
    """The child of a fork that was under way when the signals went out gets them as well."""
    assert longest_end(("sh", "-c", "while :; do sleep 60 & done"), rounds=25, pause=0.001, grace=20) < 15


def test_steps_one_after_the_other_share_a_supervisor_and_nothing_else(token: str) -> None:
    shows = "echo $PPID; pwd; env | sort; ulimit -n; umask; ls /proc/self/fd | wc -l"
    hostile = f"cd /; umask 077; export A=1; setsid sleep {token} & trap '' TERM; kill -9 $$"

    async def once() -> list[list[str]]:
        seen = []
        async with LocalExecutor(SETTINGS, grace=0.1) as executor:
            for _ in range(12):
                ended = await executor.execute(request("sh", "-c", shows), lambda *_: None)
                seen.append(ended.stdout.decode().splitlines())
                await executor.execute(request("sh", "-c", hostile), lambda *_: None)
                assert not alive(token)
                step = asyncio.create_task(executor.execute(request("sleep", token), lambda *_: None))
                await asyncio.sleep(0.01)
                step.cancel()
                await asyncio.wait([step])
        return seen

    seen = asyncio.run(once())
    assert len({parent for parent, *_ in seen}) < 6
    folders = {folder for _, folder, *_ in seen}
    assert len(folders) == 12
    assert len({"\n".join(rest).replace(folder, "HERE") for _, folder, *rest in seen}) == 1


def test_a_step_whose_supervisor_is_killed_takes_no_other_with_it(token: str) -> None:
    async def once() -> None:
        async with LocalExecutor(SETTINGS, grace=0.2) as executor:
            other = asyncio.create_task(executor.execute(request("sh", "-c", "sleep 1; echo whole"), lambda *_: None))
            step = asyncio.create_task(executor.execute(request("sleep", token), lambda *_: None))
            while not alive(token):
                await asyncio.sleep(0.02)
            status = Path(f"/proc/{alive(token)[0]}/status").read_text()
            os.kill(int(status.partition("PPid:")[2].split()[0]), signal.SIGKILL)
            with pytest.raises(StepError) as caught:
                await step
            assert caught.value.code == "engine_lost"
            assert eventually(lambda: not alive(token), 0.5)
            assert (await other).stdout == b"whole\n"

    asyncio.run(once())


PROGRAM = """
import asyncio, sys
from dagtasks.engine.local import LocalExecutor
from dagtasks.planning.plan import ArtifactSpec, ExecRequest, Mounted, ServiceRequest
from dagtasks.settings import EngineSettings

async def main(command):
    async with LocalExecutor(EngineSettings(name="local"), grace=0.3) as executor:
        print(executor._folder, executor._supervisor.pid, flush=True)
        requests = [ExecRequest(name, 1, "alpine", ("sh", "-c", command)) for name in "ab"]
        await asyncio.gather(*(executor.execute(one, lambda stream, data: None) for one in requests))

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def other_process(token: str) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """A process that runs two steps with three sleeping processes each, its working folder, and its supervisor."""
    command = WAYS_TO_HIDE["daemon without environment"].format(t=token)
    with subprocess.Popen([sys.executable, "-c", PROGRAM, command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        folder, supervisor = process.stdout.readline().split()
        assert eventually(lambda: len(alive(token)) == 6)
        yield process, Path(folder), int(supervisor)
        process.kill()


def test_death_of_the_parent_leaves_no_process(other_process: tuple[Any, Path, int], token: str) -> None:
    process, folder, _ = other_process
    process.kill()
    assert eventually(lambda: not alive(token))
    assert eventually(lambda: not folder.exists())


def test_death_of_the_supervisor_leaves_no_process(other_process: tuple[Any, Path, int], token: str) -> None:
    process, _, supervisor = other_process
    os.kill(supervisor, signal.SIGKILL)
    process.kill()
    assert eventually(lambda: not alive(token))


def test_death_of_the_supervisor_of_a_step_leaves_no_process(other_process: tuple[Any, Path, int], token: str) -> None:
    process, _, supervisor = other_process
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for child in children:
        with suppress(ProcessLookupError):  # the first may have taken the run down, and that the others
            os.kill(int(child), signal.SIGKILL)
    assert eventually(lambda: not alive(token))
    assert process.wait(5) != 0


def test_signals_to_the_supervisors_change_nothing(other_process: tuple[Any, Path, int], token: str) -> None:
    process, _, supervisor = other_process
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for pid in (supervisor, *map(int, children)):
            os.kill(pid, number)
    time.sleep(0.1)
    assert len(alive(token)) == 6
    process.kill()
    assert eventually(lambda: not alive(token))


def test_the_folder_is_gone_afterwards() -> None:
    _, chunks = execute(request("sh", "-c", "pwd; mkdir a; touch a/b", workdir="/app"))
    folder = Path(chunks[0][1].decode().strip())
    assert folder.name == "app"
    assert not folder.parent.exists()
    assert not folder.parent.parent.exists()


def test_the_folder_of_a_step_goes_while_the_run_goes_on() -> None:
    async def once() -> None:
        async with LocalExecutor(SETTINGS) as executor:
            ended = await executor.execute(request("sh", "-c", "pwd; mkdir -p a/b; touch a/b/c"), lambda *_: None)
            folder = Path(ended.stdout.decode().strip())
            assert eventually(lambda: not folder.exists())
            assert folder.parent.exists()

    asyncio.run(once())


def test_the_folder_is_gone_when_the_supervisor_was_killed(token: str) -> None:
    async def once() -> Path:
        async with LocalExecutor(SETTINGS) as executor:
            ended = await executor.execute(request("sh", "-c", f"pwd; sleep {token} &"), lambda *_: None)
            executor._supervisor.kill()
        return Path(ended.stdout.decode().strip())

    assert not asyncio.run(once()).parent.exists()


def test_without_a_supervisor_there_is_no_step() -> None:
    async def once() -> None:
        async with LocalExecutor(SETTINGS) as executor:
            executor._supervisor.kill()
            executor._supervisor.wait()
            await executor.execute(request("true"), lambda *_: None)

    with pytest.raises(StepError) as caught:
        asyncio.run(once())
    assert caught.value.code == "engine_lost"


def test_only_the_listed_environment_reaches_a_step() -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/ann", "LANG": "C", "TZ": "UTC", "TMPDIR": "/tmp"}
    wanted = request("env", env={"DECLARED": "1", "LANG": "de", "DT_RUN": "r"})
    result, _ = execute(wanted, environ={**environ, "API_TOKEN": "secret", "PYTHONPATH": "x", "DAGTASKS_DEPTH": "2"})
    seen = dict(line.split("=", 1) for line in result.stdout.decode().splitlines())
    assert Path(seen.pop("DT_ROOT")).name == "1"
    assert seen == {**environ, "LANG": "de", "DECLARED": "1", "DT_RUN": "r", "DAGTASKS_DEPTH": "3"}


def test_files_lie_where_the_request_says() -> None:
    files = {"/dagtasks/script": "cat $1 rel; echo > $DT_OUTPUTS/k two; echo $OTHER", "/app/rel": "é\r\n"}
    wanted = request(
        "sh",
        "/dagtasks/script",
        "/app/rel",
        workdir="/app",
        files={**files, "/dagtasks/outputs/.keep": ""},
        env={"DT_OUTPUTS": "/dagtasks/outputs", "OTHER": "/app/rel"},
        read_files=("/dagtasks/outputs/k", "/app/rel", "rel", "/app/none", "/app"),
    )
    result, _ = execute(wanted)
    assert result.stdout == "é\r\né\r\n/app/rel\n".encode()
    assert result.files == {
        "/dagtasks/outputs/k": b"two\n",
        "/app/rel": "é\r\n".encode(),
        "rel": "é\r\n".encode(),
    }


@given(st.text(alphabet="./ab", max_size=12))
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    root = Path("/private/1")
    assert below(root, path).is_relative_to(root)
    assert ".." not in below(root, path).parts


FAULTS = {
    "command_not_found": ("no-such-command",),
    "command_not_executable": ("/etc/passwd",),
    "argument_too_long": ("true", "x" * 200_000),
    "not_started": ("true", "a\0b"),
}


@pytest.mark.parametrize("code", FAULTS)
def test_command_that_cannot_be_started(code: str) -> None:
    with pytest.raises(StepError) as caught:
        execute(request(*FAULTS[code]))
    assert caught.value.code == code


def test_the_command_of_an_image_is_not_known() -> None:
    with pytest.raises(StepError, match="it has no command") as caught:
        execute(ExecRequest("s", 1, "alpine", None))
    assert caught.value.code == "no_command"


def test_output_comes_while_the_step_runs() -> None:
    async def once() -> list[float]:
        times: list[float] = []
        async with LocalExecutor(SETTINGS) as executor:
            wanted = request("sh", "-c", "echo a; sleep 0.4; echo b")
            await executor.execute(wanted, lambda stream, data: times.append(time.monotonic()))
        return times

    first, second = asyncio.run(once())
    assert second - first > 0.3


def test_all_of_a_large_output_arrives() -> None:
    result, chunks = execute(request("sh", "-c", "head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2"))
    sizes = {stream: sum(len(data) for name, data in chunks if name == stream) for stream in ("stdout", "stderr")}
    assert sizes == {"stdout": 5_000_000, "stderr": 3_000_000}
    assert len(result.stdout) == (1 << 20) + 1


LARGE_PIPE = """
import fcntl, os
fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
os.write(1, b".")
os.write(1, bytes(1_000_000))
"""


def test_output_arrives_when_the_reader_is_slow() -> None:
    async def once() -> int:
        sizes: list[int] = []

        def slow(stream: str, data: bytes) -> None:
            if not sizes:
                time.sleep(0.3)
            sizes.append(len(data))

        async with LocalExecutor(SETTINGS) as executor:
            await executor.execute(request(sys.executable, "-c", LARGE_PIPE), slow)
        return sum(sizes)

    assert asyncio.run(once()) == 1_000_001


def test_steps_have_no_input() -> None:
    assert execute(request("cat"))[0].stdout == b""


def test_signals_have_their_default_meaning_in_a_step() -> None:
    """Also where a shell has us run in the background, and so ignore SIGQUIT."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        result, _ = execute(request("sh", "-c", "grep -E 'SigIgn|SigBlk' /proc/self/status; yes | head -1"))
    finally:
        signal.signal(signal.SIGQUIT, before)
    _, blocked, _, ignored, said = result.stdout.decode().split()
    of_glibc = 0b11 << 31  # posix_spawn ignores the two signals that threads use among themselves
    assert (int(blocked, 16), int(ignored, 16) & ~of_glibc, said) == (0, 0, "y")


def test_only_the_standard_handles_are_open_in_a_step() -> None:
    handles = execute(request("ls", "/proc/self/fd"))[0].stdout.split()
    assert handles[:3] == [b"0", b"1", b"2"]
    assert len(handles) == 4  # and the one that ls reads the folder with


def test_handles_are_closed_after_many_steps(local: Engine) -> None:
    async def many() -> int:
        for _ in range(20):
            await local.executor.execute(request("true"), lambda stream, data: None)
        return len(list(Path("/proc/self/fd").iterdir()))

    local.runner.run(many())
    assert local.runner.run(many()) == local.runner.run(many())


def code_of(wanted: ExecRequest) -> str:
    with pytest.raises(StepError) as caught:
        execute(wanted)
    return caught.value.code


def test_services_are_refused() -> None:
    assert code_of(request("true", services=(ServiceRequest("db", "postgres"),))) == "services_need_dagger"


def test_mounts_that_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    repo = tmp_path / "repo"
    for folder in (outside, repo):
        folder.mkdir()
    (repo / "link").symlink_to(outside)
    source = Mounted("/src", "repo", str(repo))
    cache = Mounted("/cache", "cache", str(tmp_path / "cache"), "k")
    for mounts in (
        (Mounted("/", "repo", str(repo)),),
        (source, Mounted("/src/link/key", "secret", value="hidden")),
        (source, Mounted("/src/link/deep/in", "artifact", str(repo))),
        (Mounted("/cache/key", "secret", value="hidden"), cache),
    ):
        assert code_of(request("true", mounts=mounts)) == "mount_refused"
    assert list(outside.iterdir()) == []
    assert not list(tmp_path.glob("cache/*"))


@pytest.mark.parametrize(
    "command",
    [
        "ln -s /etc out",
        "ln -s /etc/passwd out",
        "ln -s .. a; ln -s a/../.. out",
        "mkfifo out",
        "mkdir out; mkfifo out/x",
    ],
)
def test_what_leads_out_or_is_no_file_is_not_collected(command: str, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"workdir": "/app", "collect_to": str(tmp_path / "to")}
    for path in ("out", "/app/out*") if "/x" not in command else ("out", "out/**"):
        wanted = request("sh", "-c", command, artifacts={"k": ArtifactSpec(path)}, **fields)
        if path == "out" or "mkfifo" in command:
            with pytest.raises(StepError, match="neither a file nor" if "mkfifo" in command else "leads out") as caught:
                execute(wanted)
            assert caught.value.code == "artifact_refused"
        else:
            execute(wanted)
            with pytest.raises(StepError, match="link"):
                keep_artifacts(tmp_path / "to", tmp_path / "store")


def test_secrets_are_gone_after_the_step() -> None:
    mounts = (Mounted("/key", "secret", value="hidden-value"),)
    wanted = request("sh", "-c", "cat $DT_ROOT/key; cp $DT_ROOT/key copy; echo; echo $DT_ROOT; exit 3", mounts=mounts)
    result, _ = execute(wanted)
    secret, folder = result.stdout.decode().split()
    assert (result.exit_code, secret) == (3, "hidden-value")
    assert not Path(folder).exists()


def test_cancelling_while_files_are_copied_leaves_nothing(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    for number in range(2000):
        (repo / f"d{number % 20}").mkdir(parents=True, exist_ok=True)
        (repo / f"d{number % 20}/{number}").write_text("")

    async def once() -> Path:
        async with LocalExecutor(SETTINGS) as executor:
            wanted = request("touch", str(tmp_path / "ran"), mounts=(Mounted("/src", "repo", str(repo)),))
            step = asyncio.create_task(executor.execute(wanted, lambda *_: None))
            while not list(executor._folder.glob("*/src/d*/*")):
                await asyncio.sleep(0)
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step
            assert not eventually(lambda: list(executor._folder.iterdir()), 0.3)
        return executor._folder

    assert not asyncio.run(once()).exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_folders_that_a_step_made_read_only_are_removed() -> None:
    _, chunks = execute(request("sh", "-c", "pwd; mkdir -p a/b; touch a/b/c; chmod 500 a/b a", workdir="/app"))
    assert not Path(chunks[0][1].decode().strip()).exists()
