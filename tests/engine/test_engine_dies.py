"""An engine that is killed in the middle of a step. It is one of the test's own, like the one that the tests use."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import REAL

from tests.conftest import MakeProject, Result

Process = Callable[..., Result]

TEMPLATE = """\
metadata: {name: wait}
parameters: {seconds: {type: number, default: 60}}
steps:
  - name: before
    container: {image: "alpine:latest", command: [echo, done]}
  - name: a
    container:
      image: "alpine:latest"
      command: [sh, -c, "echo begun; test $DT_ATTEMPT = 1 && sleep $0; echo ended", "${seconds}"]
    %s
"""
RETRY = "retry: {max_attempts: 10, delay: 4s, backoff: constant, jitter: false, on: [errored]}"


def find_running(program: str) -> list[str]:
    """The command line of the program, when it runs on this machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
            except OSError:
                continue
            if argv and Path(argv[0]).name == program:
                return argv
    return []


class OwnEngine:
    """An engine beside the one that runs, with files, processes, network and image registry of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self.log = folder / "log"
        self.registry = find_running("docker-registry")
        self.argv = [*find_running("dagger-engine"), "--root", f"{folder}/root", "--addr", f"unix://{self.socket}"]

    def can_be_made(self) -> bool:
        return os.getuid() == 0 and len(self.argv) > 4 and bool(self.registry)

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        inside = (
            "ip link set lo up;"
            "for each in /run/dagger /run/buildkit /run/containers; do mkdir -p $each; mount -t tmpfs none $each; done;"
            ": > /run/dagger/resolv.conf; mount --bind /run/dagger/resolv.conf /etc/resolv.conf;"
            "mountpoint -q /sys/fs/cgroup && umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup;"
            f"mount -t proc proc /proc; {shlex.join(self.registry)} & exec {shlex.join(self.argv)}"
        )
        command = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, "sh", "-c", inside], stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the engine does not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        """As `kill -9` does; its containers go with it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    engine = OwnEngine(tmp_path)
    if not engine.can_be_made():
        pytest.skip("no engine and registry run here as processes of root, after which others could be made")
    monkeypatch.setenv("DAGTASKS_ENGINE_HOST", f"unix://{engine.socket}")
    engine.start()
    yield engine
    engine.kill()


Start = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def start(own: OwnEngine) -> Iterator[Start]:
    """A function that starts a run, and returns when the step that waits has begun."""
    begun = []

    def start(root: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "--template", "wait"]
        begun.append(subprocess.Popen(command, stdout=-1, stderr=-1, text=True))
        assert begun[-1].stderr
        said = []
        for line in begun[-1].stderr:
            said.append(line)
            if "begun" in line:
                return begun[-1]
        raise AssertionError(f"the step never began: {said} {begun[-1].communicate()[0]}")

    yield start
    for run in begun:
        run.kill()
        run.communicate()


@pytest.mark.engine
@REAL
class TestAnEngineThatIsKilled:
    def test_the_step_is_errored_and_the_run_goes_on_later(
        self, own: OwnEngine, start: Start, project: MakeProject, process: Process
    ) -> None:
        root = project({"templates/wait.yaml": TEMPLATE % ""}).root
        run = start(root)
        own.kill()
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 1
        assert "the connection to the Dagger engine was lost" in out
        assert "`dagtasks runs retry` goes on" in out
        record = process(root, "runs", "list", "--json").json[0]
        record = process(root, "runs", "show", record["id"], "--json").json
        assert record["status"] == "errored"
        assert [step["state"] for step in record["steps"]] == ["succeeded", "errored"]
        assert record["steps"][1]["error"]["code"] == "engine_lost"
        assert record["steps"][1]["output"] == "begun"
        assert process(root, "run", "--template", "wait").code == 9
        own.start()
        again = process(root, "runs", "retry", record["id"], "--param", "seconds=0", "--json")
        assert again.code == 0, again.err
        assert [bool(step["reused_from"]) for step in again.json["steps"]] == [True, False]

    def test_a_step_that_may_is_tried_again(
        self, own: OwnEngine, start: Start, project: MakeProject, process: Process
    ) -> None:
        root = project({"templates/wait.yaml": TEMPLATE % RETRY}).root
        run = start(root)
        own.kill()
        own.start()
        run.communicate(timeout=120)
        assert run.returncode == 0
        record = process(root, "runs", "list", "--json").json[0]
        record = process(root, "runs", "show", record["id"], "--json").json
        assert [step["state"] for step in record["steps"]] == ["succeeded", "succeeded"]
        assert record["steps"][1]["attempts"] > 1
        assert record["steps"][1]["output"] == "begun\nended"
