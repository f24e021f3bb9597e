"""Records of runs, as a person works with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]

TEMPLATE = """\
metadata: {name: release}
parameters: {where: {type: string, default: staging}, ready: {type: boolean, default: false}}
steps:
  - {name: build, container: {image: "alpine:3", command: "echo built $DT_RUN"}}
  - name: sign-off
    approval:
      message: "Release to ${where}?"
      parameters: {version: {type: string, required: true, pattern: "[0-9.]+"}}
  - {name: ship, container: {image: "alpine:3", command: "echo ship ${steps.sign-off.outputs.version}; test ${ready} = true"}}
finally:
  - {name: report, container: {image: "alpine:3", command: "echo ${run.status}"}}
outputs: {shipped: {value: "${steps.ship.output}"}}
"""
SLOW = """\
metadata: {name: slow}
steps:
  - {name: a, container: {image: "alpine:3", command: "echo begun; sleep 30"}}
finally:
  - {name: tidy, container: {image: "alpine:3", command: "echo tidied"}}
"""


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    return project({"templates/release.yaml": TEMPLATE, "templates/slow.yaml": SLOW}).root


def park(root: Path, cli: Cli) -> str:
    ran = cli(root, "run", "--template", "release", "--no-wait", "--json")
    assert ran.code == 11
    return str(ran.json["id"])


def states(run: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in run["steps"]}


def test_a_run_that_waits_is_answered_later(root: Path, cli: Cli) -> None:
    run = park(root, cli)
    shown = cli(root, "runs", "show", run)
    assert f"to answer: dagtasks runs approve {run} sign-off" in shown.out
    assert cli(root, "runs", "list", "--status", "waiting", "--json").json[0]["id"] == run
    done = cli(root, "runs", "approve", run, "sign-off", "--param", "version=1.2", "--reason", "looks fine")
    assert done.code == 1  # `ready` is false
    record = cli(root, "runs", "show", run, "--json").json
    assert states(record) == {"build": "succeeded", "sign-off": "succeeded", "ship": "failed", "report": "succeeded"}
    approval = record["steps"][1]["approval"]
    assert (approval["by"], approval["reason"], approval["approved"]) == ("ann@example.org", "looks fine", True)
    assert record["outputs"] == {"shipped": "ship 1.2"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sign-off"], 2, "`version` is required"),
        (["sign-off", "--param", "version=x"], 2, "does not match"),
        (["sign-off", "--param", "versoin=1"], 2, "versoin"),
        (["build"], 6, "does not wait for an approval: it is succeeded"),
        (["nothing"], 5, "has no step 'nothing'"),
    ],
)
def test_answers_that_do_not_fit_change_nothing(
    root: Path, cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    run = park(root, cli)
    found = cli(root, "runs", "approve", run, *arguments)
    assert found.code == code
    assert message in found.err
    assert cli(root, "runs", "show", run, "--json").json["status"] == "waiting"


def test_a_no(root: Path, cli: Cli) -> None:
    run = park(root, cli)
    assert cli(root, "runs", "approve", run, "sign-off", "--reject", "--reason", "too early").code == 1
    record = cli(root, "runs", "show", run, "--json").json
    assert states(record) == {"build": "succeeded", "sign-off": "failed", "ship": "omitted", "report": "succeeded"}
    assert record["error"]["message"] == "step sign-off: rejected by ann@example.org: too early"


def test_only_approvers_may_answer(root: Path, cli: Cli) -> None:
    with_approvers = TEMPLATE.replace('message: "Rel', 'approvers: [bo@example.org]\n      message: "Rel')
    write_files(root, {"templates/release.yaml": with_approvers})
    run = park(root, cli)
    refused = cli(root, "runs", "approve", run, "sign-off", "--param", "version=1")
    assert (refused.code, refused.err) == (
        6,
        "error: sign-off is for bo@example.org to decide, and you are ann@example.org\n",
    )
    git(root, "config", "user.email", "bo@example.org")
    assert cli(root, "runs", "approve", run, "sign-off", "--param", "version=1").code == 1


def test_an_answer_reaches_the_process_that_waits(root: Path, cli: Cli) -> None:
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "--template", "release", "--json"]
    with subprocess.Popen([*command, "--param", "ready=true"], stdout=-1, stderr=-1, text=True) as running:
        assert running.stderr
        for line in running.stderr:
            event = json.loads(line)
            if event["type"] == "run.changed" and event["status"] == "waiting":
                break
        answered = cli(root, "runs", "approve", event["run"], "sign-off", "--param", "version=2", "--json")
        assert answered.code in (0, 11)
        out, _ = running.communicate(timeout=60)
    assert json.loads(out)["data"]["outputs"] == {"shipped": "ship 2"}
    assert cli(root, "runs", "approve", event["run"], "sign-off", "--param", "version=2").code == 6


def test_a_run_that_waited_survives_the_death_of_its_process(root: Path, cli: Cli) -> None:
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "--template", "release", "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=-1, text=True) as running:
        assert running.stderr
        for line in running.stderr:
            if '"waiting"' in line and "run.changed" in line:
                break
        running.send_signal(signal.SIGKILL)
    run = json.loads(line)["run"]
    assert cli(root, "runs", "show", run, "--json").json["status"] == "waiting"
    done = cli(root, "runs", "approve", run, "sign-off", "--param", "version=3")
    assert "shipped = ship 3" in done.out
    assert "build" not in done.err  # what was done is not done again


def test_a_run_that_waits_can_be_cancelled(root: Path, cli: Cli) -> None:
    run = park(root, cli)
    assert cli(root, "runs", "cancel", run).code == 0
    record = cli(root, "runs", "show", run, "--json").json
    assert record["status"] == "cancelled"
    assert states(record) == {"build": "succeeded", "sign-off": "omitted", "ship": "omitted", "report": "succeeded"}
    again = cli(root, "runs", "cancel", run)
    assert (again.code, again.err) == (6, f"error: run {run} has ended: it is cancelled\n")


def start_slow(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "run", "--template", "slow", "--json"]
    running = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    assert running.stderr
    for line in running.stderr:
        if "step.output" in line:
            break
    return running


def test_a_run_of_another_process_is_cancelled_and_tidies_up(root: Path, cli: Cli) -> None:
    with start_slow(root) as running:
        run = cli(root, "runs", "list", "--json").json[0]["id"]
        assert cli(root, "runs", "retry", run).code == 6  # it goes on
        done = cli(root, "runs", "cancel", run)
        assert done.code == 0
        assert running.wait(timeout=30) == 130
    record = cli(root, "runs", "show", run, "--json").json
    assert (record["status"], states(record)) == ("cancelled", {"a": "cancelled", "tidy": "succeeded"})


def test_a_second_ctrl_c_leaves_out_finally(root: Path, cli: Cli) -> None:
    slow_end = SLOW.replace("echo tidied", "sleep 60").replace("sleep 30", "trap 'sleep 5' TERM; sleep 30")
    write_files(root, {"templates/slow.yaml": slow_end})
    begun = time.monotonic()
    with start_slow(root) as running:
        running.send_signal(signal.SIGINT)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=40) == 130
    record = cli(root, "runs", "list", "--json").json[0]
    assert states(record) == {"a": "cancelled", "tidy": "omitted"}
    assert time.monotonic() - begun < 40


def test_retry_takes_over_what_succeeded(root: Path, cli: Cli) -> None:
    first = park(root, cli)
    cli(root, "runs", "approve", first, "sign-off", "--param", "version=1")
    again = cli(root, "runs", "retry", first, "--param", "ready=true", "--json")
    assert again.code == 0, again.err
    second = again.json
    assert (second["retry_of"], second["status"]) == (first, "succeeded")
    assert [step["reused_from"] for step in second["steps"]] == [first, first, None, None]
    assert f"(taken over from {first})" in cli(root, "runs", "retry", second["id"], "--from", "ship").err
    assert second["steps"][0]["output"] == f"built {first}"
    diff = cli(root, "runs", "diff", first, second["id"], "--json").json
    assert diff["parameter ready"] == [False, True]
    assert diff["step ship: state"] == ["failed", "succeeded"]
    assert "step build: output" not in diff
    assert cli(root, "runs", "diff", first, first).out == "the runs are alike\n"


def test_retry_uses_the_template_of_then(root: Path, cli: Cli) -> None:
    write_files(
        root, {"templates/t.yaml": "metadata: {name: t}\nsteps: [{name: a, container: {image: x, command: exit 3}}]\n"}
    )
    first = cli(root, "run", "--template", "t", "--json").json["id"]
    write_files(
        root, {"templates/t.yaml": "metadata: {name: t}\nsteps: [{name: a, container: {image: x, command: 'true'}}]\n"}
    )
    assert cli(root, "runs", "retry", first).code == 1
    assert cli(root, "runs", "retry", first, "--current").code == 0
    assert cli(root, "runs", "retry", first, "--from", "b").code == 5
    assert cli(root, "runs", "retry", first, "--from", "a", "--all").code == 2


def test_a_retry_with_the_template_of_now_has_the_parameters_of_then(root: Path, cli: Cli) -> None:
    template = (
        "metadata: {name: t}\n"
        "parameters: {s: {type: string}, f: {type: string}, l: {type: array}, n: {type: integer}, none: {type: string}}\n"
        "steps: [{name: a, container: {image: x, command: [echo, '${to_json([s, f, l, n, none])}']}}]\n"
    )
    write_files(root, {"templates/t.yaml": template})
    given = ["s=x y", "f=@@", "l=[1]", "n=3"]
    write_files(root, {"@": "@no file"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        first = cli(
            root, "run", "--template", "t", *(word for one in given for word in ("--param", one)), "--json"
        ).json
    assert first["steps"][0]["output"] == '["x y","@no file",[1],3,null]'
    again = cli(root, "runs", "retry", first["id"], "--all", "--current", "--param", "n=4", "--json")
    assert again.json["steps"][0]["output"] == '["x y","@no file",[1],4,null]'


def test_a_retry_works_in_another_clone(root: Path, cli: Cli, tmp_path: Path) -> None:
    write_files(
        root,
        {
            "templates/t.yaml": "metadata: {name: t}\nsteps: [{name: a, container: {image: x, command: echo 1}}, {name: b, container: {image: x, command: exit 3}}]\n"
        },
    )
    git(root, "add", "-A")
    git(root, "commit", "-qm", "t")
    first = cli(root, "run", "--template", "t", "--json").json["id"]
    git(tmp_path, "clone", "-q", str(root), str(tmp_path / "clone"))
    clone = tmp_path / "clone"
    assert cli(clone, "runs", "pull").out == "1 received\n"
    again = cli(clone, "runs", "retry", first, "--json")
    assert (again.code, [step["reused_from"] for step in again.json["steps"]]) == (1, [first, None])
    assert cli(clone, "runs", "push").out.startswith("1 sent")
    assert len(cli(root, "runs", "list", "--json").json) == 2


def test_follow_shows_what_comes(root: Path, cli: Cli) -> None:
    quick = SLOW.replace("sleep 30", "sleep 1; echo ended")
    write_files(root, {"templates/slow.yaml": quick})
    with start_slow(root) as running:
        run = cli(root, "runs", "list", "--json").json[0]["id"]
        followed = cli(root, "runs", "logs", run, "-f")
        running.communicate(timeout=30)
    assert followed.out.splitlines() == ["a | begun", "a | ended", "tidy | tidied"]


def test_prune_removes_old_logs_and_keeps_records(root: Path, cli: Cli) -> None:
    run = park(root, cli)
    cli(root, "runs", "cancel", run)
    assert cli(root, "runs", "prune", "--yes").out == "removed the logs of 0 runs\n"
    assert cli(root, "runs", "prune", "--older-than", "0h", "--dry-run").out == "would remove the logs of 1 runs\n"
    assert cli(root, "runs", "prune", "--older-than", "0h").code == 2  # nobody to ask
    assert cli(root, "runs", "prune", "--older-than", "0h", "--yes", "--json").json == [run]
    assert cli(root, "runs", "logs", run).out == ""
    assert cli(root, "runs", "show", run, "--json").json["status"] == "cancelled"
    assert not (root / ".git/dagtasks/runs" / run).exists()
    assert cli(root, "runs", "prune", "--older-than", "soon", "--yes").code == 2


def test_a_run_can_be_made_again_from_its_sources_in_a_fresh_clone(root: Path, cli: Cli, tmp_path: Path) -> None:
    """`run_plan` needs the plan, the repository at the commit and an engine, and nothing else."""
    run = cli(root, "run", "--template", "release", "--no-wait", "--json").json["id"]
    cli(root, "runs", "approve", run, "sign-off", "--reject")
    source = (root / ".git/dagtasks/runs" / run / "plan.json").read_text()
    git(tmp_path, "clone", "-q", str(root), str(tmp_path / "clone"))
    program = """
import json, sys
from datetime import UTC, datetime
from dagtasks.engine.desk import Answer, Desk
from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.scheduler import Job, run_plan
from dagtasks.model.run import RunRecord, StepRecord
from dagtasks.planning.sources import from_sources
from dagtasks.settings import EngineSettings
plan = from_sources(json.load(sys.stdin), {})
record = RunRecord("r-1", {}, "local", "", steps=tuple(StepRecord(step.name) for step in plan.all_steps))
no = Answer(False, "ann@example.org", "")
desk = Desk((), lambda: datetime.now(UTC), lambda now: "r-2", find_answer=lambda run, step: no)
settings = EngineSettings(name="local")
done = run_plan(Job(plan, record), LocalExecutor(settings), settings, desk)
print(json.dumps([[step.name, step.state, step.exit_code, step.inputs] for step in done.steps]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "clone",
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    record = cli(root, "runs", "show", run, "--json").json
    kept = [[step["name"], step["state"], step["exit_code"], step["inputs"]] for step in record["steps"]]
    assert json.loads(done.stdout) == kept
