"""Every call that changes something fails once, or fails from then on: as on a full disk, and on a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import gettempdir

import pytest

from tests.conftest import Tell, git
from tests.crash.scene import (
    LASTING,
    OBJECTS,
    THE_CACHE,
    Case,
    Check,
    Interfered,
    check_each_file,
    check_git,
    check_next_command,
    check_reading,
    expect,
    files_of,
    interfere_everywhere,
    make_repository,
    state_after,
)
from tests.crash.zygote import Zygote

pytestmark = pytest.mark.slow

CAUSES = {"ENOSPC": "No space left on device", "EIO": "Input/output error", "short": ""}
HOW = ["ENOSPC", "EIO", f"ENOSPC{LASTING}", "short"]
OTHERS = (THE_CACHE, "pipe:", "socket:")
SET = ["task", "set", "000001", "status=blocked"]
CASES = {
    "set": Case(SET, without=OTHERS, again=[*SET, "--commit"]),
    "set --commit": Case([*SET, "--commit"], without=OTHERS, again=[*SET, "--commit"]),
    "create": Case(["task", "create", "web", "--name", "New"], without=OTHERS),
    "create --commit": Case(["task", "create", "web", "--name", "New", "--commit"], without=[*OTHERS, OBJECTS]),
    "delete --detach": Case(["task", "delete", "000001", "--detach", "--yes"], without=OTHERS),
    "fmt": Case(["fmt"], without=OTHERS, again=["fmt", "--commit"]),
    "claim": Case(["task", "claim", "000001", "--as", "agent:x"], without=OTHERS),
    "comment": Case(["task", "comment", "000001", "Hello"], without=OTHERS),
    "undo": Case(["undo"], without=[*OTHERS, OBJECTS], earlier=["task", "set", "000001", "name=Renamed", "--commit"]),
    "workflow add": Case(["workflow", "add", "000001", "greet", "--template", "hello"], without=OTHERS),
}


def fail_everywhere(zygote: Zygote, source: Path, case: Case, how: str, folder: Path, check: Check) -> str:
    """Let each call of the command fail and check what is left; how many there were."""
    calls, states = interfere_everywhere(zygote, source, case, how, folder, check)
    return f"{calls} calls failed, {states} different states left, all whole"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", CASES)
def test_commands_that_change_files(name: str, how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    case = CASES[name]
    source, before, after, changed = expect(zygote, case, folder)

    def check(found: Interfered) -> None:
        outcome, now = found.outcome, files_of(found.root)
        check_each_file(found.root, before, after)
        check_message(found, how)
        if outcome.code == 0:
            assert now == after
            assert not case.commits or git(found.root, "rev-list", "--count", "HEAD") == f"{case.commits + 1}"
        if "as it was before" in outcome.err:
            assert now == before
        check_reading(zygote, found.root)
        if found.call.process and found.call.path.endswith(".lock") and found.call.name == "unlink":
            return  # git itself could not take its lock away, and ended well all the same
        if "not all of Git knows" not in outcome.err:  # nothing can be put right while all calls fail
            check_git(found.root, case.commits, changed)
        check_next_command(zygote, found.root)
        check_git(found.root, case.commits, changed)
        assert files_of(found.root) in (before, after)
        if case.again:
            again = zygote.run(found.root, case.again)
            # Where it could not be noted that the file is ours, it is left to be committed by hand.
            assert again.code == (6 if "held edits that were not committed" in again.err else 0), again.err
            assert again.code == 0 or "written.json" in found.call.path or how.endswith(LASTING)
            check_git(found.root, max(case.commits, 1), changed)

    tell(fail_everywhere(zygote, source, case, how, folder, check))


def check_message(found: Interfered, how: str) -> None:
    """R12: one message with file and cause, and no bug of ours."""
    outcome = found.outcome
    assert outcome.code >= 0
    assert "Traceback" not in outcome.err
    assert "a bug in dagtasks" not in outcome.err
    if outcome.code and "cannot read or write a temporary file: No usable" not in outcome.err:
        # What git says of its own files is git's to word. The folders of steps are removed by another process of ours.
        is_git = found.call.process and not found.call.path.startswith(f"{gettempdir()}/dagtasks-")
        words = ["git "] if is_git else [CAUSES[how.removesuffix(LASTING)]]
        assert found.call.process or any(place in outcome.err for place in (str(found.root), gettempdir()))
        assert [word for word in words if word not in outcome.err] == []


@pytest.mark.parametrize("how", ["ENOSPC", "EIO", f"ENOSPC{LASTING}", f"EIO{LASTING}"])
@pytest.mark.parametrize("words", [["task", "list"], SET, ["validate"]], ids=["list", "set", "validate"])
def test_no_command_fails_for_the_cache(words: list[str], how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    source = make_repository(folder / "source")
    after = state_after(zygote, source, words, folder)
    usual = zygote.run(folder / "after", words)

    def check(found: Interfered) -> None:
        assert (found.outcome.code, found.outcome.err) == (0, "")
        assert found.outcome.out == usual.out or words is SET
        assert files_of(found.root) == after
        cached = zygote.run(found.root, ["task", "list", "--json"])
        assert cached.out == zygote.run(found.root, ["--no-cache", "task", "list", "--json"]).out

    case = Case(words, without=(), only=(THE_CACHE,))
    tell(fail_everywhere(zygote, source, case, how, folder, check))


@pytest.mark.parametrize("how", HOW)
def test_runs(how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    """R7: what began has a record, and its end is told, whatever could not be written."""
    source = make_repository(folder / "source")
    before = files_of(source)

    def check(found: Interfered) -> None:
        check_message(found, how)
        listed = zygote.run(found.root, ["runs", "list", "--json"])
        assert listed.code == 0, listed.err
        runs = json.loads(listed.out)["data"]
        assert len(runs) <= 1
        if "a: started" in found.outcome.err:
            assert len(runs) == 1
        if found.outcome.code == 0:
            assert [run["status"] for run in runs] == ["succeeded"]
        for run in runs:
            assert run["status"] not in ("running", "pending")
            assert run["id"] in git(found.root, "ls-tree", "-r", "--name-only", "refs/dagtasks/runs")
        check_next_command(zygote, found.root)
        check_git(found.root, 0, set())
        assert files_of(found.root) == before

    case = Case(["run", "--template", "hello", "--engine", "local"], without=OTHERS)
    tell(fail_everywhere(zygote, source, case, how, folder, check))
