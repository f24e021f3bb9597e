from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git

Cli = Callable[..., Result]
TASK = "tasks/web/web-000001.yaml"

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    TASK: "name: One\n\nstatus: planned # kept\n\nassignee:\n\nphase:\n",
    "tasks/web/web-000002.yaml": "name: Two\ndepends_on: [web-000001]\n",
    "tasks/web/web-000003.yaml": "name: Three\npriority: high\n",
    "tasks/web/web-000004.yaml": "name: Four\nstatus: blocked\n",
    "tasks/web/web-000005.yaml": "name: Five\nstatus: in_progress\nassignee: bo\n",
    "tasks/web/web-000006.yaml": "name: Six\nassignee: bo\n",
    "tasks/web/web-000007.yaml": "name: Seven\nstatus: completed\nassignee: ann\n",
    "tasks/web/web-000008.yaml": "name: Eight\nstatus: in_progress\n",
}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def test_a_claim_is_one_edit_and_one_commit(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "claim", "000001", "--as", "agent:x", "--commit")
    assert done.out == f"web-000001: claimed by agent:x [{git(root, 'rev-parse', 'HEAD')[:10]}]\n"
    assert (root / TASK).read_text() == "name: One\n\nstatus: in_progress # kept\n\nassignee: agent:x\n\nphase:\n"
    assert git(root, "show", "--format=%s", "--name-only") == f"web-000001: claimed by agent:x\n\n{TASK}"


def test_who_claims_is_gits_user_by_itself(root: Path, cli: Cli) -> None:
    data = cli(root, "task", "claim", "000001", "--json").json
    assert (data["id"], data["assignee"], data["status"]) == ("web-000001", "Ann", "in_progress")


def test_what_is_claimed_by_the_same_needs_nothing(root: Path, cli: Cli) -> None:
    before = (root / "tasks/web/web-000005.yaml").stat().st_mtime_ns
    done = cli(root, "task", "claim", "000005", "--as", "bo", "--commit")
    assert (done.code, done.out) == (0, "web-000005: claimed by bo (nothing to change)\n")
    assert (root / "tasks/web/web-000005.yaml").stat().st_mtime_ns == before
    assert cli(root, "task", "claim", "000006", "--as", "bo").code == 0


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("000002", "web-000002 cannot be claimed: it waits for web-000001 (planned)"),
        ("000004", "web-000004 cannot be claimed: it is blocked"),
        ("000005", "web-000005 is in progress, claimed by bo"),
        ("000006", "web-000006 is planned for bo"),
        ("000007", "web-000007 cannot be claimed: it is completed"),
        ("000008", "web-000008 is in progress, claimed by nobody named"),
    ],
)
def test_refusals_say_who_or_why_and_what_to_take_instead(root: Path, cli: Cli, task: str, reason: str) -> None:
    done = cli(root, "task", "claim", task, "--as", "agent x")
    assert (done.code, done.out) == (6, "")
    hint = "web-000003 is ready (Three): dagtasks task claim web-000003 --as 'agent x'"
    assert done.err == f"error: {reason}\n  {hint}\n"
    document = json.loads(cli(root, "task", "claim", task, "--json").err)
    assert (document["type"], document["hint"]) == ("Conflict", hint.partition(" --as")[0])
    assert git(root, "status", "--porcelain") == ""


def test_what_is_planned_for_others_is_not_offered(root: Path, cli: Cli) -> None:
    """Nor what was refused just now."""
    cli(root, "task", "set", "000006", "priority=critical")
    done = cli(root, "task", "claim", "000006")
    assert done.err == (
        "error: web-000006 is planned for bo\n  web-000003 is ready (Three): dagtasks task claim web-000003\n"
    )
    assert "dagtasks task claim web-000006 --as bo" in cli(root, "task", "claim", "000004", "--as", "bo").err


def test_nothing_else_may_be_left(root: Path, cli: Cli) -> None:
    for task in ("000001", "000003", "000006"):
        cli(root, "task", "set", task, "status=blocked")
    done = cli(root, "task", "claim", "000005")
    assert "nothing else can be started now: see `dagtasks task next --explain`" in done.err


@pytest.mark.parametrize("name", ["", "a\nb", "a" * 101])
def test_names_that_no_assignee_can_have(root: Path, cli: Cli, name: str) -> None:
    done = cli(root, "task", "claim", "000001", "--as", name)
    assert (done.code, done.out) == (2, "")
    assert "`assignee`" in done.err
    assert git(root, "status", "--porcelain") == ""


def test_of_many_that_claim_at_once_one_wins(root: Path) -> None:
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "task", "claim", "000001", "--commit", "--as"]
    claims = [
        subprocess.Popen([*command, f"agent:{number}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    answers = [claim.communicate() for claim in claims]
    winners = [number for number, claim in enumerate(claims) if claim.returncode == 0]
    assert len(winners) == 1
    assert sorted(claim.returncode for claim in claims) == [0, *[6] * 7]
    told = [err for number, (_, err) in enumerate(answers) if number not in winners]
    assert all(f"claimed by agent:{winners[0]}\n  web-000003 is ready" in err for err in told)
    assert f"assignee: agent:{winners[0]}\n" in (root / TASK).read_text()
    assert git(root, "rev-list", "--count", "HEAD") == "2"


def test_moving_sets_the_phase(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "move", "000001", "--phase", "build")
    assert (done.code, done.out) == (0, "web-000001: phase = build\n")
    done = cli(root, "task", "move", "000001", "--phase", "nope")
    assert (done.code, "there is no phase 'web/nope'" in done.err) == (5, True)
