"""However a run ends, no process of its steps is left, on either engine: proven by looking at all of this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result

Cli = Callable[..., Result]

TEMPLATE = """\
metadata: {{name: hide}}
{timeout}
steps:
  - name: a
    timeout: {step_timeout}
    container:
      image: "alpine:latest"
      command:
        - sh
        - -c
        - "(setsid sleep {token} &); sleep {token} & echo begun; sleep {token}"
finally:
  - name: tidy
    container: {{image: "alpine:latest", command: [sh, -c, "echo tidied; {tidy}"]}}
"""


def alive(*words: str) -> list[str]:
    """The command lines on this machine that hold the words, containers and all."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(line)
    return found


def eventually(holds: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not holds():
        time.sleep(0.02)
    return bool(holds())


@pytest.fixture
def token() -> Iterator[str]:
    """A number of seconds to sleep that no other process sleeps."""
    number = f"3600.{time.monotonic_ns()}"
    yield number
    assert alive("sleep", number) == []


class Running:
    """A run in a process of its own, whose step has begun."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "--template", "hide", "--json"]
        self.process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
        self.wait_for("begun")

    def wait_for(self, text: str) -> None:
        assert self.process.stderr
        assert any(text in line for line in self.process.stderr), f"it never said {text}"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out

    @property
    def children(self) -> set[int]:
        """The processes that it started itself, such as the CLI of Dagger or the supervisor of local steps."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return {int(pid) for pid in found.stdout.split()}


Start = Callable[..., Running]


@pytest.fixture
def start(project: MakeProject, token: str, engine: str) -> Iterator[Start]:
    """A function that makes the repository and starts the run; `root` is the folder."""
    begun: list[Running] = []

    def make(*, timeout: str = "", step_timeout: str = "5m", tidy: str = "true") -> Running:
        text = TEMPLATE.format(timeout=timeout, step_timeout=step_timeout, token=token, tidy=tidy)
        begun.append(Running(project({"templates/hide.yaml": text}).root))
        assert eventually(lambda: len(alive("sleep", token)) >= 3, 10), engine
        return begun[-1]

    yield make
    for one in begun:
        one.process.kill()
        one.process.communicate()


def states(out: str) -> dict[str, str]:
    return {step["name"]: step["state"] for step in json.loads(out)["data"]["steps"]}


@pytest.mark.slow
class TestNothingIsLeft:
    def test_after_the_timeout_of_a_step(self, start: Start, token: str) -> None:
        code, out = start(step_timeout="4s").ended()
        assert alive("sleep", token) == []
        assert (code, states(out)) == (10, {"a": "timed_out", "tidy": "succeeded"})

    def test_after_the_timeout_of_the_run(self, start: Start, token: str) -> None:
        code, out = start(timeout="timeout: 4s").ended()
        assert alive("sleep", token) == []
        assert (code, states(out)) == (10, {"a": "timed_out", "tidy": "succeeded"})

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_after_one_signal(self, number: signal.Signals, start: Start, token: str) -> None:
        running = start()
        children = running.children
        running.send(number)
        code, out = running.ended()
        assert alive("sleep", token) == []
        assert (code, states(out)) == (130, {"a": "cancelled", "tidy": "succeeded"})
        assert children
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)

    def test_after_a_second_ctrl_c(self, start: Start, token: str) -> None:
        running = start(tidy=f"sleep {token}")
        running.send(signal.SIGINT)
        running.wait_for("tidied")
        running.send(signal.SIGINT)
        code, out = running.ended()
        assert alive("sleep", token) == []
        assert (code, states(out)) == (130, {"a": "cancelled", "tidy": "cancelled"})

    def test_after_a_cancel_by_another_process(self, start: Start, token: str, tmp_path: Path, cli: Cli) -> None:
        running, root = start(), tmp_path / "repository"
        assert cli(root, "runs", "cancel", cli(root, "runs", "list", "--json").json[0]["id"]).code == 0
        code, out = running.ended()
        assert alive("sleep", token) == []
        assert (code, states(out)) == (130, {"a": "cancelled", "tidy": "succeeded"})

    def test_after_the_death_of_the_run(self, start: Start, token: str, tmp_path: Path, cli: Cli) -> None:
        running = start()
        children = running.children
        running.send(signal.SIGKILL)
        running.ended()
        assert eventually(lambda: not alive("sleep", token), 30)
        assert children
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 15)
        record = cli(tmp_path / "repository", "runs", "list", "--json").json[0]
        assert (record["status"], record["error"]["code"]) == ("interrupted", "interrupted")
        assert "begun" in cli(tmp_path / "repository", "runs", "logs", record["id"]).out
