from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BASIC_TEMPLATE, MakeProject, Result, git

Cli = Callable[..., Result]

TASK = """\
name: Login

workflows:
  check:
    template: basic_task
    parameters:
      task_name: login
      task_command: echo hello
"""
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/web-000001.yaml": TASK,
    "tasks/web/web-000002.yaml": "name: Waits\n\ndepends_on:\n  - web-000001\n" + TASK.partition("\n")[2],
    "templates/basic_task.yaml": BASIC_TEMPLATE,
}


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    return project(FILES).root


def test_the_example_runs(root: Path, cli: Cli) -> None:
    done = cli(root, "run", "web-000001", "--json")
    assert done.code == 0, done.err
    run = done.json
    assert run["status"] == "succeeded"
    assert run["outputs"] == {"result": "hello"}
    assert run["steps"][0]["exit_code"] == 0
    assert run["template"]["blob"] == git(root, "rev-parse", "HEAD:templates/basic_task.yaml")
    assert run["commit"] == git(root, "rev-parse", "HEAD")
    assert run["parameters"] == {"task_name": "login", "task_command": "echo hello"}


def test_the_run_is_recorded_and_nothing_else_changes(root: Path, cli: Cli) -> None:
    head, index = git(root, "rev-parse", "HEAD"), (root / ".git/index").read_bytes()
    run = cli(root, "run", "000001", "--json").json
    assert git(root, "status", "--porcelain") == ""
    assert (git(root, "rev-parse", "HEAD"), (root / ".git/index").read_bytes()) == (head, index)
    kept = json.loads(git(root, "show", f"refs/dagtasks/runs:{run['id'][:4]}/{run['id'][4:6]}/{run['id']}.json"))
    assert (kept["status"], kept["outputs"], kept["steps"][0]["exit_code"]) == ("succeeded", {"result": "hello"}, 0)
    assert kept["logs"]["execute_task"]["tail"].count("hello") == 1
    assert [one["id"] for one in cli(root, "runs", "list", "--json").json] == [run["id"]]
    assert cli(root, "runs", "logs", run["id"]).out == "execute_task | hello\n"
    assert "execute_task  succeeded  0" in cli(root, "runs", "show", run["id"][-6:]).out


def test_the_command_is_a_shell_in_a_new_folder(root: Path, cli: Cli) -> None:
    command = """printf '%s|' "a  b" 'c"d' | tr a-z A-Z; basename "$PWD"; test -d "$HOME" && echo home"""
    done = cli(root, "run", "000001", "--param", f"task_command={command}", "--json")
    assert done.json["outputs"] == {"result": 'A  B|C"D|app\nhome'}


def test_a_failing_command(root: Path, cli: Cli) -> None:
    done = cli(root, "run", "000001", "--param", "task_command=echo some words; exit 3")
    assert done.code == 1
    assert "failed" in done.out
    assert "full log: dagtasks runs logs" in done.out
    run = cli(root, "runs", "list", "--json").json[0]
    assert (run["status"], run["steps"][0]["state"], run["steps"][0]["exit_code"]) == ("failed", "failed", 3)
    assert cli(root, "runs", "list", "--status", "succeeded", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--template", "basic_task"], 2, "`task_command` is required (string) (The command to execute)"),
        (["--template", "basic_task", "--param", "task_nam=x"], 2, "there is no parameter `task_nam`"),
        (["--template", "nope"], 5, "there is no template 'nope'"),
        (["000001", "nope"], 5, "web-000001 has no workflow 'nope'\n  it has: check"),
        (["000002"], 6, "web-000002 depends on open tasks: web-000001"),
        (["nope"], 5, "there is no task 'nope'"),
        ([], 2, "say a task"),
        (["000001", "--engine", "nope"], 2, "engine.name: 'nope' is not one of dagger, local"),
    ],
)
def test_what_cannot_run_leaves_no_record(root: Path, cli: Cli, arguments: list[str], code: int, message: str) -> None:
    done = cli(root, "run", *arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert message in done.err
    assert cli(root, "runs", "list", "--json").json == []
    assert not (root / ".git/dagtasks/runs").exists()


@pytest.mark.parametrize(
    "text",
    [
        "steps:\n  - {name: a, if: \"task.status == 'planned'\", container: {image: a}}\n",
        "steps:\n  - {name: a, container: {image: a, command: [echo, '${task.name}']}}\n",
        "steps:\n  - {name: a, container: {image: a, command: 'echo ${task.name} ${run.id}'}}\n",
        "steps:\n  - {name: a, api: {url: 'https://x/${task.id}'}}\n",
        "steps:\n  - {name: a, container: {image: a}}\noutputs: {o: {value: '${task.id}'}}\n",
        "if: task.status == 'planned'\nsteps:\n  - {name: a, container: {image: a}}\n",
    ],
)
def test_a_template_that_needs_a_task_begins_no_run_without_one(root: Path, cli: Cli, text: str) -> None:
    (root / "templates/t.yaml").write_text(f"metadata: {{name: t}}\n{text}")
    done = cli(root, "run", "--template", "t")
    assert (done.code, done.out) == (2, "")
    assert "`task` is not known here\n  the template needs a task: run it as a workflow of one\n" in done.err
    assert not (root / ".git/dagtasks/runs").exists()


def test_a_child_run_is_called_by_its_template(root: Path, cli: Cli) -> None:
    (root / "templates/t.yaml").write_text("metadata: {name: t}\nsteps:\n  - {name: a, workflow: {template: u}}\n")
    (root / "templates/u.yaml").write_text("metadata: {name: u}\nsteps:\n  - {name: a, container: {image: a}}\n")
    (root / "tasks/web/web-000001.yaml").write_text("name: Login\nworkflows:\n  w: {template: t}\n")
    told = cli(root, "run", "000001").err.splitlines()
    assert [line.partition(": ")[2] for line in told if line.startswith("run ")] == ["w on local", "u on local"]


def test_failures_that_are_tolerated_are_counted(root: Path, cli: Cli) -> None:
    listed = "".join(
        f"  - {{name: {name}, continue_on_error: true, container: {{image: a, command: ['false']}}}}\n" for name in "ab"
    )
    (root / "templates/t.yaml").write_text(f"metadata: {{name: t}}\nsteps:\n{listed}")
    done = cli(root, "run", "--template", "t")
    assert done.code == 0
    assert done.out.endswith("s, 2 warnings\n")


def test_everything_wrong_with_parameters_is_said_at_once(root: Path, cli: Cli) -> None:
    (root / "templates/t.yaml").write_text(
        "metadata: {name: t}\n"
        "parameters:\n"
        "  s: {type: string, enum: [a, b]}\n"
        "  p: {type: string, pattern: '[a-z]+'}\n"
        "  n: {type: integer, maximum: 5}\n"
        "  b: {type: boolean}\n"
        "  r: {type: string, required: true}\n"
        "steps:\n  - {name: a, container: {image: 'alpine:3'}}\n"
    )
    given = ["s=c", "p=A", "n=9", "b=yes", "nn=1"]
    done = cli(root, "run", "--template", "t", *(word for one in given for word in ("--param", one)))
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "error: parameters of template t:",
        "  `b` is to be a boolean, and the text 'yes' is none (write true or false)",
        "  there is no parameter `nn` (did you mean 'n'?)",
        "  `s` must be one of a, b",
        "  `p` does not match the pattern [a-z]+ (the whole text must match)",
        "  `n` must be at most 5",
        "  `r` is required (string)",
    ]
    assert not (root / ".git/dagtasks/runs").exists()


def test_no_engine_is_said_at_once_and_leaves_no_record(root: Path, cli: Cli, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGTASKS_ENGINE_HOST", f"unix://{tmp_path}/nowhere.sock")
        done = cli(root, "run", "000001", "--engine", "dagger")
    assert (done.code, done.out) == (9, "")
    assert "nowhere.sock" in done.err
    assert time.monotonic() - begun < 20
    assert cli(root, "runs", "list", "--json").json == []


def test_api_steps_need_no_engine(root: Path, cli: Cli, tmp_path: Path) -> None:
    (root / "templates/ask.yaml").write_text(
        "metadata: {name: ask}\nsteps:\n  - name: ask\n    api: {url: 'http://127.0.0.1:9/'}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGTASKS_ENGINE_HOST", f"unix://{tmp_path}/nowhere.sock")
        done = cli(root, "run", "--template", "ask", "--engine", "dagger", "--json")
    assert done.code == 1
    assert done.json["steps"][0]["error"]["code"] != "engine_unavailable"
    assert done.json["status"] == "errored"


def test_a_committed_file_cannot_choose_the_local_engine(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGTASKS_ENGINE")
    (root / "config").mkdir()
    (root / "config/dagger.yaml").write_text("engine:\n  name: local\n")
    done = cli(root, "run", "000001")
    assert done.code == 7
    assert "config/dagger.yaml:2:3: DT142" in done.err


def test_plan_shows_the_command_and_starts_nothing(root: Path, cli: Cli) -> None:
    done = cli(root, "plan", "000001", "--json")
    assert done.json["steps"][0]["argv"] == ["sh", "-ec", "echo hello"]
    assert "argv     sh -ec 'echo hello'" in cli(root, "run", "000001", "--dry-run").out
    assert not (root / ".git/dagtasks/runs").exists()


def test_parameters_from_a_file_and_from_a_text_file(root: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("task_name: x\ntask_command: echo from file\n")
    (tmp_path / "c.txt").write_text("echo from text")
    done = cli(root, "run", "--template", "basic_task", "--param-file", str(tmp_path / "p.yaml"), "--json")
    assert done.json["outputs"] == {"result": "from file"}
    done = cli(root, "run", "000001", "--param", f"task_command=@{tmp_path / 'c.txt'}", "--json")
    assert done.json["outputs"] == {"result": "from text"}


def test_workflows_of_a_task(root: Path, cli: Cli) -> None:
    added = cli(root, "workflow", "add", "000001", "two", "--template", "basic_task", "--param", "task_command=echo 2")
    assert added.out == "web-000001: workflow two added (basic_task)\n"
    assert cli(root, "run", "000001").code == 2
    assert cli(root, "workflow", "set", "000001", "two", "task_name=n", "task_command=echo 3").code == 0
    assert cli(root, "run", "000001", "two", "--json").json["outputs"] == {"result": "3"}
    shown = cli(root, "workflow", "show", "000001", "two", "--json").json
    assert shown["parameters"] == {"task_command": "echo 3", "task_name": "n"}
    assert cli(root, "workflow", "add", "000001", "x", "--template", "basic_task", "--param", "nme=1").code == 2
    assert cli(root, "workflow", "remove", "000001", "two", "--yes").code == 0
    assert (root / "tasks/web/web-000001.yaml").read_text() == TASK


@pytest.mark.parametrize("kind", ["containerized_workflow", "script_workflow", "api_workflow", "composite_workflow"])
def test_new_templates_are_right_as_they_are(root: Path, cli: Cli, kind: str) -> None:
    assert cli(root, "template", "new", "mine", "--type", kind).code == 0
    assert cli(root, "template", "validate", "templates/mine.yaml").code == 0
    assert cli(root, "template", "show", "mine", "--json").json["type"] == kind
    if kind != "api_workflow":
        assert cli(root, "run", "--template", "mine").code == 0


@pytest.mark.parametrize("name", ["n", "null", "true"])
def test_a_new_template_keeps_its_name_whatever_yaml_takes_that_for(root: Path, cli: Cli, name: str) -> None:
    assert cli(root, "template", "new", name, "--type", "script_workflow").code == 0
    assert cli(root, "template", "show", name, "--json").json["name"] == name


def test_a_template_that_runs_another_is_made_where_that_is(root: Path, cli: Cli) -> None:
    (root / "templates/basic_task.yaml").unlink()
    refused = cli(root, "template", "new", "mine", "--type", "composite_workflow")
    assert (refused.code, "basic_task" in refused.err) == (6, True)
    assert not (root / "templates/mine.yaml").exists()


def test_a_killed_run_is_found_interrupted_and_leaves_no_process(root: Path, cli: Cli) -> None:
    marker = f"3{os.getpid()}"
    command = [
        sys.executable,
        "-m",
        "dagtasks",
        "-C",
        str(root),
        "run",
        "000001",
        "--param",
        f"task_command=sleep {marker}",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    while "started" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stderr.close()
    run = cli(root, "runs", "list", "--json").json[0]
    assert (run["status"], run["error"]["code"]) == ("interrupted", "interrupted")
    deadline = time.monotonic() + 20
    while _is_running(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(marker)


def _is_running(marker: str) -> bool:
    found = subprocess.run(["pgrep", "-f", f"sleep {marker}"], capture_output=True, check=False)
    return found.returncode == 0


def test_a_reader_that_goes_away_does_not_end_the_run(root: Path, cli: Cli) -> None:
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "000001"]
    running = subprocess.Popen([*command, "--param", "task_command=sleep 1; echo done"], stderr=subprocess.PIPE)
    assert running.stderr is not None
    while b"started" not in running.stderr.readline():
        pass
    running.stderr.close()
    running.wait()
    run = cli(root, "runs", "list", "--json").json[0]
    assert (run["status"], run["outputs"]) == ("succeeded", {"result": "done"})


def test_ctrl_c_at_the_very_beginning_is_never_lost(root: Path, cli: Cli) -> None:
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "000001", "--param", "task_command=sleep 30"]
    for delay in (0.05, 0.15, 0.3, 0.5, 0.8):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) in (130, -signal.SIGINT, INTERRUPTED_WHILE_PYTHON_STARTS)
    assert {run["status"] for run in cli(root, "runs", "list", "--json").json} <= {"cancelled", "interrupted"}


INTERRUPTED_WHILE_PYTHON_STARTS = 1
"""Before any code of ours is there, Python itself ends so."""


def test_ctrl_c_cancels_and_leaves_no_process(root: Path, cli: Cli) -> None:
    marker = f"4{os.getpid()}"
    command = [
        sys.executable,
        "-m",
        "dagtasks",
        "-C",
        str(root),
        "run",
        "000001",
        "--param",
        f"task_command=sleep {marker}",
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    while "started" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "cancelled" in out
    assert not _is_running(marker)
    assert cli(root, "runs", "list", "--json").json[0]["status"] == "cancelled"
