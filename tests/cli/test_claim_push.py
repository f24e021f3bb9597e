"""`task claim --push`: of several clones one wins, and those that lose have changed nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conftest import Result, git, write_files

Cli = Callable[..., Result]
TASK, OTHER = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    TASK: "name: One\n\nstatus: planned # kept\n\nassignee:\n\npriority: high\n",
    OTHER: "name: Two\n\nstatus: planned\n\nassignee:\n\nlabels:\n",
    "tasks/web/web-000003.yaml": "name: Three\n\ndepends_on:\n  - web-000001\n",
    "src/a.txt": "a\n",
}
CLAIM = ("task", "claim", "000001", "--push", "--as")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A bare repository with a few tasks on `main`."""
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    seed = tmp_path / "seed"
    write_files(seed, FILES)
    git(seed, "init", "-q")
    git(seed, "add", "--all")
    git(seed, "commit", "-q", "--message", "start")
    git(seed, "push", "-q", str(tmp_path / "origin.git"), "main")
    return tmp_path / "origin.git"


def clone(origin: Path, name: str) -> Path:
    folder = origin.parent / name
    git(origin.parent, "clone", "-q", str(origin), str(folder))
    return folder


@pytest.fixture
def mine(origin: Path) -> Path:
    return clone(origin, "mine")


@pytest.fixture
def theirs(origin: Path) -> Path:
    return clone(origin, "theirs")


def commit(folder: Path, path: str, content: str, *, push: bool = True) -> None:
    """What a person does by hand."""
    write_files(folder, {path: content})
    git(folder, "add", path)
    git(folder, "commit", "-q", "--message", f"change {path}", "--", path)
    if push:
        git(folder, "push", "-q")


def state(folder: Path) -> dict[str, str]:
    """Every file of the clone, Git's own too, but for objects and our local state."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    left_out = (".git/objects/", ".git/dagtasks/")
    return {
        name: sha256(path.read_bytes()).hexdigest() for name, path in names.items() if not name.startswith(left_out)
    }


def assert_in_step(folder: Path) -> None:
    """The clone is where the remote is, and clean."""
    assert git(folder, "status", "--porcelain") == ""
    tips = {git(folder, "rev-parse", name) for name in ("HEAD", "main", "@{upstream}")}
    assert tips == {git(folder, "ls-remote", "origin", "refs/heads/main").split()[0]}
    assert not list((folder / ".git").rglob("*.lock"))


def test_a_claim_is_one_commit_on_the_remote_and_here(origin: Path, mine: Path, cli: Cli) -> None:
    done = cli(mine, *CLAIM, "agent:x")
    assert (done.code, done.err) == (0, "note: pushed to origin/main\n")
    assert done.out == f"web-000001: claimed by agent:x [{git(origin, 'rev-parse', 'main')[:10]}]\n"
    assert (
        git(origin, "show", "--format=%s|%an", "--name-only", "main") == f"web-000001: claimed by agent:x|Ann\n\n{TASK}"
    )
    text = "name: One\n\nstatus: in_progress # kept\n\nassignee: agent:x\n\npriority: high\n"
    assert (mine / TASK).read_text() == text
    assert git(origin, "rev-list", "--count", "main") == "2"
    assert_in_step(mine)


def test_who_is_too_late_is_told_who_has_it_and_what_is_free(mine: Path, theirs: Path, cli: Cli) -> None:
    assert cli(theirs, *CLAIM, "agent:x").code == 0
    before = state(mine)
    done = cli(mine, *CLAIM, "agent:y")
    assert (done.code, done.out) == (6, "")
    assert done.err == (
        "error: web-000001 is in progress, claimed by agent:x (on origin/main)\n"
        "  web-000002 is ready (Two): dagtasks task claim web-000002 --as agent:y --push\n"
    )
    document = json.loads(cli(mine, *CLAIM, "agent:y", "--json").err)
    assert (document["type"], document["exit"]) == ("Conflict", 6)
    assert state(mine) == before
    assert cli(mine, "task", "claim", "web-000002", "--as", "agent:y", "--push").code == 0
    assert_in_step(mine)
    assert "agent:x" in (mine / TASK).read_text()


def test_what_the_remote_says_counts_and_not_what_is_here(mine: Path, theirs: Path, cli: Cli) -> None:
    commit(theirs, "tasks/web/web-000009.yaml", "name: Nine\n")
    assert cli(mine, "task", "claim", "000009", "--push", "--as", "x").code == 0
    assert (mine / "tasks/web/web-000009.yaml").exists()
    assert_in_step(mine)
    commit(theirs, "src/a.txt", "A\n", push=False)
    git(theirs, "pull", "-q", "--rebase")
    commit(theirs, OTHER, "name: Two\nstatus: blocked\n")
    assert "it is blocked (on origin/main)" in cli(mine, "task", "claim", "000002", "--push", "--as", "x").err
    commit(theirs, TASK, "name: One\nstatus: completed\n")
    assert cli(mine, "task", "claim", "000003", "--push", "--as", "x").code == 0
    assert_in_step(mine)


def test_others_work_comes_along_as_by_a_pull(mine: Path, theirs: Path, cli: Cli) -> None:
    commit(theirs, "src/a.txt", "changed\n")
    commit(theirs, "src/new/b.txt", "new\n")
    write_files(mine, {"notes.txt": "mine\n", "src/c.txt": "staged\n"})
    git(mine, "add", "src/c.txt")
    with (mine / OTHER).open("a") as file:
        file.write("# not committed\n")
    assert cli(mine, *CLAIM, "agent:x").code == 0
    assert (mine / "src/a.txt").read_text() + (mine / "src/new/b.txt").read_text() == "changed\nnew\n"
    assert git(mine, "status", "--porcelain").splitlines() == ["A  src/c.txt", f" M {OTHER}", "?? notes.txt"]
    assert git(mine, "rev-parse", "HEAD") == git(mine, "rev-parse", "@{upstream}")


def test_what_is_claimed_by_the_same_needs_no_push(origin: Path, mine: Path, theirs: Path, cli: Cli) -> None:
    """Also when the claim came from elsewhere: the branch then follows."""
    cli(theirs, *CLAIM, "agent:x")
    done = cli(mine, *CLAIM, "agent:x")
    assert (done.code, done.out) == (0, "web-000001: claimed by agent:x (nothing to change)\n")
    assert_in_step(mine)
    assert git(origin, "rev-list", "--count", "main") == "2"
    assert "nothing to undo" in cli(mine, "undo").err  # it is the work of the other clone


def test_a_dry_run_asks_no_remote_and_changes_nothing(origin: Path, mine: Path, cli: Cli) -> None:
    origin.rename(origin.with_name("away"))
    before = state(mine)
    done = cli(mine, *CLAIM, "agent:x", "--dry-run")
    assert done.out == f"would: web-000001: claimed by agent:x ({TASK})\n"
    assert state(mine) == before


def test_the_answer_as_a_document(mine: Path, cli: Cli) -> None:
    document = json.loads(cli(mine, *CLAIM, "agent:x", "--json").out)
    assert document["commit"] == git(mine, "rev-parse", "HEAD")
    assert (document["changed"], document["data"]["assignee"]) == ([TASK], "agent:x")


def test_a_claim_can_be_undone(mine: Path, cli: Cli) -> None:
    cli(mine, *CLAIM, "agent:x")
    done = cli(mine, "undo")
    assert done.out.startswith("undo: web-000001: claimed by agent:x [")
    assert "the change was pushed already" in done.err
    assert (mine / TASK).read_text() == FILES[TASK]


# -- what stands in the way -----------------------------------------------------------------------------------------


def refused(cli: Cli, origin: Path, folder: Path, code: int, *messages: str) -> None:
    """A claim fails with these messages; here and on the remote all is as before."""
    before = (state(folder), git(origin, "rev-parse", "main"))
    done = cli(folder, *CLAIM, "agent:x")
    assert (done.code, done.out) == (code, "")
    assert [message for message in messages if message not in done.err] == [], done.err
    assert (state(folder), git(origin, "rev-parse", "main")) == before


def test_commits_that_are_not_pushed_are_not_published(origin: Path, mine: Path, theirs: Path, cli: Cli) -> None:
    commit(mine, "src/mine.txt", "mine\n", push=False)
    refused(cli, origin, mine, 6, "commits of this branch that are not on origin/main: 1", "git push")
    commit(theirs, "src/theirs.txt", "theirs\n")
    refused(cli, origin, mine, 6, "commits of this branch that are not on origin/main: 1")


@pytest.mark.parametrize(
    ("theirs_path", "mine_path"),
    [("src/a.txt", "src/a.txt"), ("src/new.txt", "src/new.txt"), ("new/a.txt", "new"), ("new", "new/b.txt")],
)
def test_edits_in_the_way_of_others_work(
    theirs_path: str, mine_path: str, origin: Path, mine: Path, theirs: Path, cli: Cli
) -> None:
    commit(theirs, theirs_path, "theirs\n")
    write_files(mine, {mine_path: "mine\n"})
    refused(cli, origin, mine, 6, "edits that are not committed are in the way", mine_path, "stash")


def test_edits_in_the_file_of_the_task(origin: Path, mine: Path, cli: Cli) -> None:
    cli(mine, "task", "set", "000001", "priority=low")
    refused(cli, origin, mine, 6, "edits that are not committed are in the way", TASK)


def test_an_ignored_file_is_not_overwritten(origin: Path, mine: Path, theirs: Path, cli: Cli) -> None:
    """Only the merge itself sees it: the claim is published by then, and the branch is left behind."""
    commit(theirs, "src/cache.txt", "theirs\n")
    write_files(mine, {".git/info/exclude": "src/cache.txt\n", "src/cache.txt": "mine\n"})
    done = cli(mine, *CLAIM, "agent:x")
    assert (done.code, "your branch is not at origin/main yet" in done.err) == (0, True), done.err
    assert (mine / "src/cache.txt").read_text() == "mine\n"
    assert git(mine, "status", "--porcelain") == ""
    assert "agent:x" in git(origin, "show", f"main:{TASK}")


def test_a_task_that_is_not_on_the_remote(origin: Path, mine: Path, cli: Cli) -> None:
    write_files(mine, {"tasks/web/web-000007.yaml": "name: Seven\n"})
    done = cli(mine, "task", "claim", "000007", "--push", "--as", "x")
    assert (done.code, "web-000007 is not on origin/main" in done.err) == (6, True)
    assert cli(mine, "task", "claim", "000008", "--push", "--as", "x").code == 5


def test_a_merge_under_way(origin: Path, mine: Path, cli: Cli) -> None:
    git(mine, "switch", "-q", "-c", "other")
    git(mine, "commit", "-q", "--allow-empty", "--message", "other")
    git(mine, "switch", "-q", "main")
    git(mine, "merge", "-q", "--no-ff", "--no-commit", "other")
    refused(cli, origin, mine, 6, "a merge is under way")


def test_no_branch_no_upstream_no_remote(origin: Path, mine: Path, cli: Cli, tmp_path: Path) -> None:
    git(mine, "switch", "-q", "-c", "topic")
    refused(cli, origin, mine, 8, "the branch topic follows no branch of a remote", "git push -u REMOTE topic")
    git(mine, "branch", "-q", "--set-upstream-to=main")
    refused(cli, origin, mine, 8, "the branch topic follows no branch of a remote")
    git(mine, "config", "branch.topic.remote", "origin")
    git(mine, "config", "branch.topic.merge", "refs/heads/topic")
    refused(cli, origin, mine, 8, "origin/topic is not there on the remote", "git push -u origin topic")
    git(mine, "checkout", "-q", "--detach")
    refused(cli, origin, mine, 8, "HEAD is on no branch")
    plain = tmp_path / "plain"
    write_files(plain, FILES)
    assert cli(plain, *CLAIM, "x").code == 4
    git(plain, "init", "-q")
    assert "follows no branch of a remote" in cli(plain, *CLAIM, "x").err
    assert "leave --no-commit out" in cli(mine, *CLAIM, "x", "--no-commit").err


def test_a_remote_that_cannot_be_reached(origin: Path, mine: Path, cli: Cli) -> None:
    git(mine, "config", "remote.origin.url", "http://user:secret@127.0.0.1:9/none.git")
    before = state(mine)
    done = cli(mine, *CLAIM, "x")
    assert (done.code, done.out, state(mine)) == (8, "", before)
    assert done.err.startswith("error: origin cannot be asked: git ls-remote ended with 128:"), done.err
    assert "git ls-remote origin" in done.err
    assert "secret" not in done.err


@pytest.mark.parametrize("hook", ["pre-commit", "commit-msg", "pre-push"])
def test_a_hook_that_refuses(hook: str, origin: Path, mine: Path, cli: Cli) -> None:
    write_files(mine, {f".git/hooks/{hook}": "#!/bin/sh\necho not today >&2\nexit 1\n"})
    (mine / f".git/hooks/{hook}").chmod(0o755)
    refused(cli, origin, mine, 8, "not today", "nothing was changed")


@pytest.mark.parametrize("hook", ["pre-receive", "update"])
def test_a_remote_that_refuses(hook: str, origin: Path, mine: Path, cli: Cli) -> None:
    write_files(origin, {f"hooks/{hook}": "#!/bin/sh\necho protected >&2\nexit 1\n"})
    (origin / f"hooks/{hook}").chmod(0o755)
    refused(cli, origin, mine, 8, "the push to origin/main failed", "protected", "nothing was changed")


def test_hooks_see_the_commit_that_is_made(origin: Path, mine: Path, theirs: Path, cli: Cli) -> None:
    commit(theirs, "src/a.txt", "theirs\n")
    body = "#!/bin/sh\ngit show :tasks/web/web-000001.yaml :src/a.txt > seen\n"
    write_files(mine, {".git/hooks/pre-commit": body, ".git/hooks/commit-msg": '#!/bin/sh\necho "Ticket: 1" >> "$1"\n'})
    for hook in ("pre-commit", "commit-msg"):
        (mine / f".git/hooks/{hook}").chmod(0o755)
    assert cli(mine, *CLAIM, "agent:x").code == 0
    seen = (mine / "seen").read_text()
    assert "assignee: agent:x" in seen
    assert seen.endswith("theirs\n")
    assert git(origin, "log", "-1", "--format=%B", "main") == "web-000001: claimed by agent:x\nTicket: 1"


def test_a_claim_is_signed_when_commits_are(origin: Path, mine: Path, cli: Cli, tmp_path: Path) -> None:
    signer = tmp_path / "signer"
    signer.write_text("#!/bin/sh\ncat >&2\nprintf '\\n[GNUPG:] SIG_CREATED \\n' >&2\necho '-- signed --'\n")
    signer.chmod(0o755)
    git(mine, "config", "gpg.program", str(signer))
    git(mine, "config", "commit.gpgSign", "true")
    assert cli(mine, *CLAIM, "agent:x").code == 0
    assert "gpgsig -- signed --" in git(origin, "cat-file", "commit", "main")


def test_the_mode_of_the_file_stays(origin: Path, mine: Path, cli: Cli) -> None:
    git(mine, "update-index", "--chmod=+x", TASK)
    git(mine, "commit", "-q", "--message", "mode")
    git(mine, "push", "-q")
    git(mine, "checkout", "-q", "--", TASK)
    assert cli(mine, *CLAIM, "agent:x").code == 0
    assert git(origin, "ls-tree", "main", TASK).startswith("100755 ")


# -- where a clone can be -------------------------------------------------------------------------------------------


def test_a_root_in_a_folder_and_a_branch_of_another_name(origin: Path, tmp_path: Path, cli: Cli) -> None:
    mine = clone(origin, "deep")
    for name in ("deep folder/ü", "src"):
        (mine / name).mkdir(parents=True, exist_ok=True)
    git(mine, "mv", "tasks", "deep folder/ü/tasks")
    git(mine, "commit", "-q", "--message", "moved")
    git(mine, "push", "-q")
    git(mine, "switch", "-q", "-c", "my.topic", "--track", "origin/main")
    done = cli(mine / "deep folder/ü", *CLAIM, "x")
    assert done.code == 0, done.err
    assert "assignee: x" in git(origin, "show", f"main:deep folder/ü/{TASK}")
    assert git(mine, "rev-parse", "my.topic") == git(origin, "rev-parse", "main")
    assert git(mine, "status", "--porcelain") == ""


def test_a_shallow_clone_and_a_linked_work_tree(origin: Path, mine: Path, theirs: Path, cli: Cli) -> None:
    shallow = origin.parent / "shallow"
    git(origin.parent, "clone", "-q", "--depth=1", f"file://{origin}", str(shallow))
    commit(theirs, "src/a.txt", "theirs\n")
    assert cli(shallow, *CLAIM, "x").code == 0
    assert_in_step(shallow)
    git(mine, "worktree", "add", "-q", "-b", "linked", str(origin.parent / "linked tree"), "origin/main")
    linked = origin.parent / "linked tree"
    git(linked, "branch", "-q", "--set-upstream-to=origin/main")
    assert cli(linked, "task", "claim", "000002", "--push", "--as", "x").code == 0
    assert git(linked, "rev-parse", "HEAD") == git(origin, "rev-parse", "main")
    assert git(linked, "status", "--porcelain") == git(mine, "status", "--porcelain") == ""


def test_line_ends_of_windows(origin: Path, mine: Path, cli: Cli) -> None:
    git(mine, "config", "core.autocrlf", "true")
    for path in (TASK, OTHER):
        (mine / path).unlink()
        git(mine, "checkout", "-q", "--", path)
    assert b"\r\n" in (mine / TASK).read_bytes()
    assert cli(mine, *CLAIM, "x").code == 0
    assert b"assignee: x\r\n" in (mine / TASK).read_bytes()
    assert "\r" not in git(origin, "show", f"main:{TASK}")
    assert_in_step(mine)


# -- races ----------------------------------------------------------------------------------------------------------


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dagtasks", "-C", str(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("hook", ["pre-commit", "pre-push"])
def test_another_claim_in_the_same_clone_comes_between(hook: str, origin: Path, mine: Path, cli: Cli) -> None:
    """Its commit is published, so it is nothing that is in the way."""
    take = f"{sys.executable} -m dagtasks task claim 000002 --push --as agent:quick >&2\n"
    clean = "unset $(git rev-parse --local-env-vars)\n"
    write_files(mine, {f".git/hooks/{hook}": f"#!/bin/sh\n[ -e .git/once ] && exit\ntouch .git/once\n{clean}{take}"})
    (mine / f".git/hooks/{hook}").chmod(0o755)
    done = cli(mine, *CLAIM, "agent:x")
    assert done.code == 0, done.err
    claims = ["web-000001: claimed by agent:x", "web-000002: claimed by agent:quick", "start"]
    assert git(origin, "log", "--format=%s", "main").splitlines() == claims
    assert_in_step(mine)


@pytest.mark.parametrize("hook", ["pre-commit", "pre-push"])
def test_the_remote_moves_between_the_look_and_the_push(
    hook: str, origin: Path, mine: Path, theirs: Path, cli: Cli
) -> None:
    """A hook pushes from another clone, before git asks the remote or after: first something else, then the task."""
    script = f"#!/bin/sh\ncd '{theirs}' && unset $(git rev-parse --local-env-vars)\n"
    once = f"{script}[ -e once ] && exit\ntouch once; echo more >> src/a.txt; git commit -qam more; git push -q\n"
    write_files(mine, {f".git/hooks/{hook}": once})
    (mine / f".git/hooks/{hook}").chmod(0o755)
    assert cli(mine, *CLAIM, "agent:x").code == 0
    assert git(origin, "log", "--format=%s", "main").splitlines() == ["web-000001: claimed by agent:x", "more", "start"]
    assert_in_step(mine)
    take = f"{sys.executable} -m dagtasks task claim 000002 --push --as agent:quick >&2\n"
    write_files(mine, {f".git/hooks/{hook}": f"{script}git pull -q\n{take}"})
    before = state(mine)
    done = cli(mine, "task", "claim", "000002", "--push", "--as", "agent:x")
    assert (done.code, "web-000002 is in progress, claimed by agent:quick (on origin/main)" in done.err) == (6, True)
    assert state(mine) == before


def test_another_push_holds_the_lock_of_the_branch(origin: Path, mine: Path, cli: Cli) -> None:
    """The first time the hook takes the lock of the remote, the second time it lets it go."""
    lock = origin / "refs/heads/main.lock"
    write_files(mine, {".git/hooks/pre-push": f"#!/bin/sh\n[ -e '{lock}' ] && rm '{lock}' || : > '{lock}'\n"})
    (mine / ".git/hooks/pre-push").chmod(0o755)
    assert cli(mine, *CLAIM, "agent:x").code == 0
    assert_in_step(mine)


def test_the_answer_of_the_remote_is_lost(origin: Path, mine: Path, cli: Cli, tmp_path: Path) -> None:
    receiver = tmp_path / "receiver"
    receiver.write_text('#!/bin/sh\ngit-receive-pack "$@"\nexit 1\n')
    receiver.chmod(0o755)
    git(mine, "config", "remote.origin.receivepack", str(receiver))
    document = json.loads(cli(mine, *CLAIM, "agent:x", "--json").out)
    assert (document["commit"], document["changed"]) == (git(origin, "rev-parse", "main"), [TASK])
    assert git(mine, "rev-parse", "HEAD") == document["commit"]


def test_another_branch_is_checked_out_meanwhile(origin: Path, mine: Path, cli: Cli) -> None:
    write_files(mine, {".git/hooks/pre-push": "#!/bin/sh\ngit switch -q -c other\n"})
    (mine / ".git/hooks/pre-push").chmod(0o755)
    done = cli(mine, *CLAIM, "agent:x")
    assert (done.code, "your branch is not at origin/main yet" in done.err) == (0, True), done.err
    assert git(mine, "rev-parse", "other") == git(mine, "rev-parse", "main") != git(origin, "rev-parse", "main")


@pytest.mark.slow
def test_of_six_clones_one_wins(origin: Path) -> None:
    clones = [clone(origin, f"clone{number}") for number in range(6)]
    before = [state(folder) for folder in clones]
    claims = [start(folder, *CLAIM, f"agent:{number}") for number, folder in enumerate(clones)]
    told = [claim.communicate()[1] for claim in claims]
    assert sorted(claim.returncode for claim in claims) == [0, *[6] * 5], told
    winner = next(number for number, claim in enumerate(claims) if claim.returncode == 0)
    for number, folder in enumerate(clones):
        if number == winner:
            assert_in_step(folder)
            continue
        assert f"claimed by agent:{winner} (on origin/main)\n  web-000002 is ready" in told[number]
        assert state(folder) == before[number]
        assert git(folder, "fsck", "--no-dangling") == ""
    assert git(origin, "rev-list", "--count", "main") == "2"


@pytest.mark.slow
def test_claims_of_different_tasks_all_arrive(origin: Path, tmp_path: Path) -> None:
    seed = clone(origin, "seeding")
    names = [f"web-0000{number:02}" for number in range(10, 16)]
    write_files(seed, {f"tasks/web/{name}.yaml": f"name: {name}\n\nstatus: planned\n\nassignee:\n" for name in names})
    git(seed, "add", "--all")
    git(seed, "commit", "-q", "--message", "more")
    git(seed, "push", "-q")
    clones = [clone(origin, f"clone{number}") for number in range(3)]
    # Two at once in each clone.
    claims = [
        start(clones[number % 3], "task", "claim", name, "--push", "--as", f"agent:{number}")
        for number, name in enumerate(names)
    ]
    told = [claim.communicate()[1] for claim in claims]
    assert [claim.returncode for claim in claims] == [0] * 6, told
    git(seed, "pull", "-q")
    for number, name in enumerate(names):
        assert f"assignee: agent:{number}\n" in (seed / f"tasks/web/{name}.yaml").read_text()
    for folder in clones:
        assert git(folder, "status", "--porcelain") == ""
        git(folder, "pull", "-q", "--ff-only")
        assert_in_step(folder)


# -- deaths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["pre-push", "post-merge"])
def test_killed_before_the_push_and_after_the_branch_moved(
    hook: str, mine: Path, process: Callable[..., Result], cli: Cli
) -> None:
    git_of_hook = "$(ps -o ppid= -p $$)"
    body = f"#!/bin/sh\nkill -KILL $(ps -o ppid= -p {git_of_hook}) {git_of_hook}\nsleep 0.2\n"
    write_files(mine, {f".git/hooks/{hook}": body})
    (mine / f".git/hooks/{hook}").chmod(0o755)
    before = state(mine)
    assert process(mine, *CLAIM, "agent:x").code < 0
    if hook == "pre-push":
        assert state(mine) == before
    (mine / f".git/hooks/{hook}").unlink()
    assert cli(mine, *CLAIM, "agent:x").code == 0
    assert_in_step(mine)


def test_killed_between_the_push_and_the_branch(
    origin: Path, mine: Path, cli: Cli, process: Callable[..., Result]
) -> None:
    """The remote kills the one who pushes as soon as it has the claim."""
    body = '#!/bin/sh\nkill -KILL "$VICTIM"\n'
    write_files(origin, {"hooks/post-receive": body})
    (origin / "hooks/post-receive").chmod(0o755)
    script = 'VICTIM=$$ exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "dagtasks", "-C", str(mine), *CLAIM, "agent:x"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    (origin / "hooks/post-receive").unlink()
    assert git(mine, "status", "--porcelain") == ""
    assert "agent:x" in git(origin, "show", f"main:{TASK}")
    assert "claimed by agent:x" in cli(mine, *CLAIM, "agent:y").err
    done = cli(mine, *CLAIM, "agent:x")
    assert (done.code, done.out) == (0, "web-000001: claimed by agent:x (nothing to change)\n")
    assert_in_step(mine)


def leave_forwarding(folder: Path, target: str) -> None:
    data = {"from": git(folder, "rev-parse", "HEAD"), "to": target, "action": "dagtasks pull"}
    write_files(folder, {".git/dagtasks/forward.json": json.dumps(data)})


@pytest.mark.parametrize("left", ["nothing", "files", "torn", "missing", "empty", "index", "all"])
def test_a_fast_forward_that_was_cut_off_is_finished(left: str, mine: Path, theirs: Path, cli: Cli) -> None:
    commit(theirs, TASK, "name: One\n\nstatus: in_progress # kept\n\nassignee: agent:x\n\npriority: high\n")
    commit(theirs, "src/new.txt", "new\n")
    git(theirs, "rm", "-q", "tasks/web/web-000003.yaml")
    git(theirs, "commit", "-q", "--message", "gone")
    git(theirs, "push", "-q")
    git(mine, "fetch", "-q")
    leave_forwarding(mine, git(mine, "rev-parse", "origin/main"))
    content = (theirs / TASK).read_bytes()
    if left in ("torn", "empty"):
        (mine / TASK).write_bytes(content[:30] if left == "torn" else b"")
    if left == "missing":
        (mine / TASK).unlink()
    if left == "files":
        write_files(mine, {TASK: content, "src/new.txt": "new\n"})
        (mine / "tasks/web/web-000003.yaml").unlink()
        (mine / ".git/index.lock").touch()
        journal = {"token": "0", "since": 0, "blobs": {}}
        write_files(mine, {".git/dagtasks/commit.json": json.dumps(journal)})
    if left == "index":
        git(mine, "read-tree", "-m", "-u", "HEAD", "origin/main")
    if left == "all":
        git(mine, "merge", "-q", "--ff-only", "origin/main")
    assert cli(mine, "task", "set", "000002", "priority=low").code == 0
    assert git(mine, "status", "--porcelain") == f"M {OTHER}"
    git(mine, "checkout", "-q", "--", OTHER)
    assert_in_step(mine)
    assert not (mine / ".git/dagtasks/forward.json").exists()


def test_a_fast_forward_that_was_cut_off_gives_way_to_a_person(mine: Path, theirs: Path, cli: Cli) -> None:
    commit(theirs, TASK, "name: One\n\nstatus: in_progress\n")
    commit(theirs, "src/a.txt", "theirs\n")
    git(mine, "fetch", "-q")
    leave_forwarding(mine, git(mine, "rev-parse", "origin/main"))
    write_files(mine, {"src/a.txt": "mine\n"})
    assert cli(mine, "task", "set", "000002", "priority=low", "--commit").code == 0
    assert (mine / "src/a.txt").read_text() == "mine\n"
    assert git(mine, "log", "-1", "--format=%s") == "web-000002: priority = low"
    assert (mine / TASK).read_text() == FILES[TASK]


def test_a_fast_forward_that_was_cut_off_is_over_when_the_branch_was_moved(mine: Path, theirs: Path, cli: Cli) -> None:
    commit(theirs, TASK, "name: One\n\nstatus: in_progress\n")
    git(mine, "fetch", "-q")
    leave_forwarding(mine, git(mine, "rev-parse", "origin/main"))
    commit(mine, "src/a.txt", "mine\n", push=False)
    write_files(mine, {TASK: (theirs / TASK).read_bytes()})
    assert cli(mine, "task", "set", "000002", "priority=low", "--commit").code == 0
    assert git(mine, "status", "--porcelain") == f"M {TASK}"  # not staged: the first blank is stripped
    assert git(mine, "diff", "--cached", "--name-only") == ""
    assert not (mine / ".git/dagtasks/forward.json").exists()


def test_locks_that_a_push_left_are_cleared_and_no_others(mine: Path, cli: Cli) -> None:
    ours, old = mine / ".git/refs/remotes/origin/main.lock", mine / ".git/refs/remotes/origin/old.lock"
    for lock in (ours, old):
        lock.touch()
    os.utime(old, (0, 0))
    since = ours.stat().st_mtime_ns - 1000
    write_files(mine, {".git/dagtasks/push-0.json": json.dumps({"token": "0", "since": since})})
    assert cli(mine, "task", "set", "000002", "priority=low").code == 0
    assert (ours.exists(), old.exists()) == (False, True)
    assert not list((mine / ".git/dagtasks").glob("push-*"))
