"""Hooks through real Git: put in and taken out, chained, and what they tell after merges, rebases and commits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
AFTERWARDS = ["post-applypatch", "post-checkout", "post-commit", "post-merge", "post-rewrite"]
ONE, TWO, NEW = (f"tasks/web/web-00000{n}.yaml" for n in (1, 2, 3))
TEXT = "".join(f"  Line {n} of a long text.\n" for n in range(20))
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    ONE: f"name: One\n\nstatus: planned\n\ndepends_on:\n\ndescription: |\n{TEXT}",
    TWO: "name: Two\n\nstatus: planned\n\ndepends_on:\n",
}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def hook(root: Path, name: str) -> Path:
    return root / ".git/hooks" / name


def write_hook(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def call(root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run git, with what its hooks print."""
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return Result(done.returncode, done.stdout, done.stderr)


def told(done: Result) -> list[str]:
    """What the hooks said."""
    return [line.removeprefix("dagtasks: ") for line in done.err.splitlines() if line.startswith("dagtasks: ")]


def commit(root: Path, files: Mapping[str, str | None], message: str = "change") -> Result:
    for path, text in files.items():
        if text is None:
            (root / path).unlink()
        else:
            write_files(root, {path: text})
    git(root, "add", "--all")
    return call(root, "commit", "-q", "-m", message)


def depend(path: str, on: str) -> dict[str, str]:
    return {path: FILES[path].replace("depends_on:\n", f"depends_on:\n  - {on}\n")}


def make_circle(root: Path) -> None:
    """Two branches that close a circle together; on `ours`."""
    git(root, "switch", "-qc", "theirs")
    commit(root, depend(TWO, "web-000001"))
    git(root, "switch", "-qc", "ours", "HEAD^")
    commit(root, depend(ONE, "web-000002"))


def make_loss(root: Path) -> None:
    """Two branches of which a merge loses an edit; on `ours`."""
    git(root, "switch", "-qc", "theirs")
    commit(root, {ONE: FILES[ONE].replace("status: planned", "status: completed")})
    git(root, "switch", "-qc", "ours", "HEAD^")
    commit(root, {ONE: None, NEW: FILES[ONE].replace("One", "Another")})


CIRCLE = f"{ONE}:6:5: DT204 tasks depend on one another in a circle: web-000001 -> web-000002 -> web-000001"
LOSS = f"{NEW}: DT401 a merge put the edit of {ONE}"


# --- install and uninstall ----------------------------------------------------------------------------------------


def states(done: Result) -> dict[str, str]:
    return {row["name"]: row["state"] for row in done.json}


def test_install_status_uninstall(root: Path, cli: Cli) -> None:
    assert set(states(cli(root, "hooks", "status", "--json")).values()) == {"not installed"}
    samples = sorted(path.name for path in (root / ".git/hooks").iterdir())
    done = cli(root, "hooks", "install")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [[name, "installed"] for name in AFTERWARDS]
    for name in AFTERWARDS:
        assert hook(root, name).stat().st_mode & 0o777 == 0o755
        shebang, line = hook(root, name).read_text().splitlines()
        assert shebang == "#!/bin/sh"
        assert f"{Path(sys.executable).with_name('dagtasks')} hooks run {name}" in line
    assert states(cli(root, "hooks", "status", "--json")) == {
        **dict.fromkeys(AFTERWARDS, "installed"),
        "pre-commit": "not installed",
        "pre-push": "not installed",
    }
    before = {name: hook(root, name).stat() for name in AFTERWARDS}
    assert cli(root, "hooks", "install").code == 0
    assert {name: hook(root, name).stat() for name in AFTERWARDS} == before
    assert git(root, "status", "--porcelain") == ""
    assert set(states(cli(root, "hooks", "uninstall", "--json")).values()) == {"not installed"}
    assert sorted(path.name for path in (root / ".git/hooks").iterdir()) == samples


def test_init_and_doctor_speak_of_hooks_and_install_none(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")

    def doctor() -> tuple[str, str]:
        return next(
            (row["state"], row["hint"]) for row in cli(root, "doctor", "--json").json if row["name"] == "git hooks"
        )

    assert "git hooks: not installed; they are there with: dagtasks hooks install" in cli(root, "init").out
    assert not hook(root, "post-merge").exists()
    assert doctor() == ("note", "have merges looked at: dagtasks hooks install")
    cli(root, "hooks", "install")
    assert "git hooks: kept" in cli(root, "init").out
    assert doctor() == ("ok", "")
    text = hook(root, "post-merge").read_text()
    hook(root, "post-merge").write_text(text.replace(str(Path(sys.executable).with_name("dagtasks")), "/gone/dagtasks"))
    assert doctor() == ("wrong", "install them anew: dagtasks hooks install")


def test_single_hooks_by_name(root: Path, cli: Cli) -> None:
    assert states(cli(root, "hooks", "install", "pre-commit", "--json")) == {"pre-commit": "installed"}
    assert not hook(root, "post-merge").exists()
    assert cli(root, "hooks", "install").code == 0
    assert states(cli(root, "hooks", "uninstall", "post-merge", "--json")) == {"post-merge": "not installed"}
    assert states(cli(root, "hooks", "status", "--json"))["post-commit"] == "installed"
    done = cli(root, "hooks", "install", "post-mergee")
    assert (done.code, "post-merge" in done.err) == (2, True)


@pytest.mark.parametrize("kind", ["file", "symlink", "not executable", "no shebang"])
def test_a_hook_that_is_there_is_called_first_and_comes_back(kind: str, root: Path, cli: Cli) -> None:
    log = root.parent / "log"
    text = f'#!/bin/sh\necho "$(basename "$0") $*" >> \'{log}\'\nexit 3\n'
    path = hook(root, "post-merge")
    if kind == "symlink":
        write_hook(root.parent / "elsewhere", text)
        path.symlink_to("../../../elsewhere")
    else:
        write_hook(
            path,
            text.removeprefix("#!/bin/sh\n") if kind == "no shebang" else text,
            0o644 if kind == "not executable" else 0o751,
        )
    before = (path.is_symlink() and path.readlink(), path.read_bytes(), path.stat().st_mode)
    assert states(cli(root, "hooks", "status", "--json"))["post-merge"] == "not installed"
    assert states(cli(root, "hooks", "install", "--json"))["post-merge"] == "chained"
    assert states(cli(root, "hooks", "install", "--json"))["post-merge"] == "chained"
    make_circle(root)
    done = call(root, "merge", "--no-edit", "theirs")
    assert done.code == 0
    assert told(done)[0].startswith(CIRCLE)
    assert log.exists() == (kind != "not executable")
    if log.exists():
        assert log.read_text() == "post-merge.before-dagtasks 0\n"
    assert states(cli(root, "hooks", "uninstall", "--json"))["post-merge"] == "not installed"
    assert (path.is_symlink() and path.readlink(), path.read_bytes(), path.stat().st_mode) == before
    assert not path.with_name("post-merge.before-dagtasks").exists()


def test_the_exit_code_and_the_input_of_a_chained_hook_count_as_before(root: Path, cli: Cli) -> None:
    write_hook(hook(root, "pre-commit"), "#!/bin/sh\necho no >&2\nexit 9\n")
    write_hook(hook(root, "post-rewrite"), f"#!/bin/sh\ncat > '{root.parent}/rewritten'\n")
    cli(root, "hooks", "install")
    cli(root, "hooks", "install", "pre-commit")
    done = commit(root, {"x": "y"})
    assert (done.code, done.err) == (1, "no\n")
    write_hook(hook(root, "pre-commit.before-dagtasks"), "#!/bin/sh\n")
    assert commit(root, {"x": "y"}).code == 0
    before = git(root, "rev-parse", "HEAD")
    git(root, "commit", "-q", "--amend", "-m", "other")
    assert (root.parent / "rewritten").read_text() == f"{before} {git(root, 'rev-parse', 'HEAD')}\n"


def test_a_hook_that_was_changed_by_hand_is_left_alone(root: Path, cli: Cli) -> None:
    cli(root, "hooks", "install")
    path = hook(root, "post-merge")
    path.write_text(path.read_text() + "echo more\n")
    before = path.read_bytes()
    assert states(cli(root, "hooks", "status", "--json"))["post-merge"] == "changed by hand"
    for command in ("install", "uninstall"):
        done = cli(root, "hooks", command, "--json")
        assert (done.code, states(done)["post-merge"]) == (1, "changed by hand")
        assert path.read_bytes() == before
    assert not hook(root, "post-commit").exists()


def test_a_hook_whose_program_is_gone_is_quiet_and_can_be_installed_anew(root: Path, cli: Cli) -> None:
    cli(root, "hooks", "install", *AFTERWARDS, "pre-commit", "pre-push")
    program = str(Path(sys.executable).with_name("dagtasks"))
    for name in [*AFTERWARDS, "pre-commit", "pre-push"]:
        text = hook(root, name).read_text()
        assert text.count(program) == 2
        hook(root, name).write_text(
            text.replace(program, "/gone/it's/dagtasks").replace("/gone/it's/dagtasks", "'/gone/it'\"'\"'s/dagtasks'")
        )
    assert set(states(cli(root, "hooks", "status", "--json")).values()) == {"program is gone"}
    make_circle(root)
    assert call(root, "merge", "-q", "--no-edit", "theirs") == Result(0, "", "")
    assert set(states(cli(root, "hooks", "install", "--json")).values()) == {"installed"}


def test_what_stands_in_the_way_of_chaining_is_named(root: Path, cli: Cli) -> None:
    write_hook(hook(root, "post-merge"), "#!/bin/sh\n")
    write_hook(hook(root, "post-merge.before-dagtasks"), "#!/bin/sh\nexit 1\n")
    done = cli(root, "hooks", "install")
    assert (done.code, "post-merge.before-dagtasks is there already" in done.err) == (6, True)
    assert hook(root, "post-merge").read_text() == "#!/bin/sh\n"


def test_another_tool_that_moves_our_hook_away_still_reaches_both(root: Path, cli: Cli) -> None:
    """pre-commit renames a hook to NAME.legacy and calls it from its own."""
    log = root.parent / "log"
    write_hook(hook(root, "post-merge"), f"#!/bin/sh\necho first >> '{log}'\n")
    cli(root, "hooks", "install")
    hook(root, "post-merge").rename(hook(root, "post-merge.legacy"))
    write_hook(hook(root, "post-merge"), '#!/bin/sh\n"$(dirname "$0")/post-merge.legacy" "$@"\n')
    make_circle(root)
    done = call(root, "merge", "-q", "--no-edit", "theirs")
    assert told(done)[0].startswith(CIRCLE)
    assert log.read_text() == "first\n"


@pytest.mark.parametrize("value", [".githooks", "{root}/.githooks", "{home}/hooks", "~/hooks"])
def test_hooks_of_others_are_refused_with_the_line_to_add(value: str, root: Path, cli: Cli) -> None:
    path = value.format(root=root, home=os.environ["HOME"])
    git(root, "config", "core.hooksPath", path)
    for name in ("install",):
        done = cli(root, "hooks", name)
        assert done.code == 6
        assert f"core.hooksPath is {path.replace('~', os.environ['HOME'])}" in done.err
        assert 'hooks run post-merge "$@"' in done.err
    assert not hook(root, "post-merge").exists()
    status = cli(root, "hooks", "status")
    assert (status.code, "core.hooksPath" in status.err) == (0, True)
    assert cli(root, "hooks", "uninstall").code == 0


def test_a_line_that_was_added_by_hand_works(root: Path, cli: Cli) -> None:
    git(root, "config", "core.hooksPath", ".githooks")
    line = cli(root, "hooks", "install").err.partition("yourself: ")[2].strip()
    write_hook(root / ".githooks/post-merge", f"#!/bin/sh\n{line}\n")
    assert states(cli(root, "hooks", "status", "--json"))["post-merge"] == "changed by hand"
    make_circle(root)
    done = call(root, "merge", "-q", "--no-edit", "theirs")
    assert told(done)[0].startswith(CIRCLE)


@pytest.mark.parametrize("value", [".git/own", "{root}/.git/own"])
def test_a_folder_of_hooks_inside_of_git_is_used(value: str, root: Path, cli: Cli) -> None:
    git(root, "config", "core.hooksPath", value.format(root=root))
    assert cli(root, "hooks", "install").code == 0
    assert (root / ".git/own/post-merge").exists()
    make_circle(root)
    assert told(call(root, "merge", "-q", "--no-edit", "theirs"))[0].startswith(CIRCLE)


# --- what they tell -----------------------------------------------------------------------------------------------


@pytest.fixture
def hooked(root: Path, cli: Cli) -> Path:
    assert cli(root, "hooks", "install").code == 0
    return root


def test_a_circle_that_a_merge_closed(hooked: Path) -> None:
    make_circle(hooked)
    done = call(hooked, "merge", "--no-edit", "theirs")
    assert done.code == 0
    assert [line[: len(CIRCLE)] for line in told(done)] == [CIRCLE]


@pytest.mark.parametrize("options", [[], ["--no-ff"]], ids=["plain", "no-ff"])
def test_an_edit_that_a_merge_lost(options: list[str], hooked: Path) -> None:
    make_loss(hooked)
    done = call(hooked, "merge", "--no-edit", *options, "theirs")
    assert (done.code, len(told(done))) == (0, 1)
    assert told(done)[0].startswith(LOSS)


def test_a_fast_forward_tells_what_the_merges_of_others_lost(hooked: Path) -> None:
    make_loss(hooked)
    git(hooked, "switch", "-q", "-c", "forge")
    git(hooked, "merge", "-q", "--no-edit", "theirs")
    git(hooked, "switch", "-q", "ours")
    done = call(hooked, "merge", "--ff-only", "forge")
    assert told(done)[0].startswith(LOSS)
    assert told(call(hooked, "merge", "--ff-only", "forge")) == []


@pytest.mark.parametrize("options", [["--no-rebase"], ["--rebase"], ["--ff-only"]])
def test_pull(options: list[str], hooked: Path, cli: Cli) -> None:
    clone = hooked.parent / "clone"
    git(hooked, "switch", "-qc", "shared")
    git(hooked.parent, "clone", "-q", str(hooked), str(clone))
    cli(clone, "hooks", "install")
    if options != ["--ff-only"]:
        commit(clone, depend(ONE, "web-000002"))
    commit(hooked, depend(TWO, "web-000001"))
    if options == ["--ff-only"]:
        commit(hooked, depend(ONE, "web-000002"))
    done = call(clone, "pull", *options)
    assert done.code == 0, done.err
    assert [line[: len(CIRCLE)] for line in told(done)] == [CIRCLE]


def test_a_rebase_tells_once_at_its_end(hooked: Path) -> None:
    make_circle(hooked)
    commit(hooked, {"other": "file"})
    done = call(hooked, "rebase", "theirs")
    assert (done.code, [line[: len(CIRCLE)] for line in told(done)]) == (0, [CIRCLE])


def test_a_merge_that_stopped_is_looked_at_when_it_is_committed(hooked: Path) -> None:
    make_loss(hooked)
    commit(hooked, {TWO: FILES[TWO].replace("planned", "blocked")})
    git(hooked, "switch", "-q", "theirs")
    commit(hooked, {TWO: FILES[TWO].replace("planned", "cancelled")})
    done = call(hooked, "merge", "ours")
    assert (done.code, told(done)) == (1, [])
    (hooked / TWO).write_text(FILES[TWO])
    git(hooked, "add", "--all")
    done = call(hooked, "commit", "-q", "--no-edit")
    assert (done.code, len(told(done))) == (0, 1)
    assert told(done)[0].startswith(LOSS)


def test_what_is_no_merge_tells_nothing(hooked: Path) -> None:
    commit(hooked, {NEW: "name: x\nstatus: nope\n"})
    assert told(call(hooked, "commit", "-q", "--amend", "-m", "amended")) == []
    make_circle(hooked)
    assert told(call(hooked, "merge", "--squash", "theirs")) == []
    assert told(call(hooked, "commit", "-qm", "squashed")) == []


def test_problems_that_did_not_come_with_the_merge_are_not_told(hooked: Path) -> None:
    commit(hooked, {NEW: "name: x\nstatus: nope\ndepends_on: [web-000009]\n"})
    git(hooked, "switch", "-qc", "theirs")
    commit(hooked, {"README.md": "x"})
    commit(hooked, {TWO: FILES[TWO].replace("Two", "Zwei")})
    git(hooked, "switch", "-q", "main")
    commit(hooked, {"LICENSE": "x"})
    write_files(hooked, {"tasks/web/web-000007.yaml": "name: [\n"})
    assert told(call(hooked, "merge", "-q", "--no-edit", "theirs")) == []


def test_a_task_that_is_gone_is_told_by_those_who_depend_on_it(hooked: Path) -> None:
    git(hooked, "switch", "-qc", "theirs")
    commit(hooked, {TWO: None})
    git(hooked, "switch", "-qc", "ours", "HEAD^")
    commit(hooked, depend(ONE, "web-000002"))
    [line] = told(call(hooked, "merge", "-q", "--no-edit", "theirs"))
    assert line.startswith(f"{ONE}:6:5: DT203 there is no task 'web-000002'")


def test_many_problems_are_cut(hooked: Path) -> None:
    git(hooked, "switch", "-qc", "theirs")
    commit(hooked, {f"tasks/web/web-0001{n}.yaml": "name: x\nstatus: nope\n" for n in range(10, 40)})
    git(hooked, "switch", "-q", "main")
    lines = told(call(hooked, "merge", "-q", "theirs"))
    assert len(lines) == 21
    assert lines[-1] == "10 more; see: dagtasks validate --changed=ORIG_HEAD"


def test_in_a_worktree_a_subfolder_and_from_elsewhere(root: Path, cli: Cli) -> None:
    for path in FILES:
        (root / "sub ü" / path).parent.mkdir(parents=True, exist_ok=True)
        git(root, "mv", path, f"sub ü/{path}")
    git(root, "mv", "tasks/README.md", "sub ü/tasks/README.md")
    git(root, "commit", "-qm", "moved")
    assert cli(root / "sub ü", "hooks", "install").code == 0
    git(root, "switch", "-qc", "theirs")
    commit(root / "sub ü", depend(TWO, "web-000001"))
    git(root, "worktree", "add", "-q", "-b", "ours", str(root.parent / "linked"), "HEAD^")
    linked = root.parent / "linked"
    commit(linked / "sub ü", depend(ONE, "web-000002"))
    assert states(cli(linked / "sub ü", "hooks", "status", "--json"))["post-merge"] == "installed"
    assert told(call(linked / "sub ü", "merge", "-q", "--no-edit", "theirs"))[0].startswith(CIRCLE)
    assert cli(linked / "sub ü", "hooks", "uninstall").code == 0
    assert not hook(root, "post-merge").exists()


def test_in_a_submodule(root: Path, cli: Cli, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    git(above, "init", "-q")
    git(above, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(root), "inner")
    inner = above / "inner"
    assert cli(inner, "hooks", "install").code == 0
    assert (above / ".git/modules/inner/hooks/post-merge").exists()
    assert not (above / ".git/hooks/post-merge").exists()
    make_circle(inner)
    assert told(call(inner, "merge", "-q", "--no-edit", "theirs"))[0].startswith(CIRCLE)


def test_with_git_dir_and_work_tree_set(hooked: Path, tmp_path: Path) -> None:
    make_circle(hooked)
    env = {"GIT_DIR": str(hooked / ".git"), "GIT_WORK_TREE": str(hooked)}
    done = call(tmp_path, "merge", "-q", "--no-edit", "theirs", env=env)
    assert told(done)[0].startswith(CIRCLE)


def test_a_repository_that_lies_elsewhere_than_its_work_tree_is_no_business_of_ours(
    hooked: Path, tmp_path: Path
) -> None:
    """Files of the home folder, kept in a repository beside: the hook must not look at the one that is there."""
    make_circle(hooked)
    git(hooked, "switch", "-q", "main")
    other = tmp_path / "other.git"
    git(tmp_path, "clone", "-q", "--bare", str(hooked), str(other))
    env = {"GIT_DIR": str(other), "GIT_WORK_TREE": str(hooked)}
    git(other, "config", "core.bare", "false")
    write_hook(other / "hooks/post-merge", hook(hooked, "post-merge").read_text())
    git(other, "symbolic-ref", "HEAD", "refs/heads/ours")
    call(tmp_path, "reset", "-q", "--hard", env=env)
    done = call(tmp_path, "merge", "-q", "--no-edit", "theirs", env=env)
    assert (done.code, told(done)) == (0, [])


def test_nothing_is_done_below_a_run_and_outside_of_a_project(hooked: Path, tmp_path: Path) -> None:
    make_circle(hooked)
    done = call(hooked, "merge", "-q", "--no-edit", "theirs", env={"DAGTASKS_DEPTH": "1"})
    assert (done.code, done.err) == (0, "")
    git(hooked, "switch", "-q", "-c", "before", "theirs^")
    commit(hooked, dict.fromkeys([*FILES, "tasks/README.md"]))
    git(hooked, "switch", "-q", "-c", "more")
    commit(hooked, {"x": "y"})
    git(hooked, "switch", "-q", "before")
    assert call(hooked, "merge", "-q", "more") == Result(0, "", "")


# --- pre-commit ---------------------------------------------------------------------------------------------------


@pytest.fixture
def checked(root: Path, cli: Cli) -> Path:
    assert cli(root, "hooks", "install", "pre-commit").code == 0
    return root


def test_what_is_staged_is_checked_and_nothing_else(checked: Path) -> None:
    write_files(checked, {ONE: "name: [\n", TWO: FILES[TWO].replace("planned", "blocked")})
    git(checked, "add", TWO)
    assert call(checked, "commit", "-qm", "two") == Result(0, "", "")
    git(checked, "add", ONE)
    (checked / ONE).write_text(FILES[ONE])
    done = call(checked, "commit", "-qm", "one")
    assert done.code == 1
    assert f"{ONE}:2:1: DT102" in done.err
    assert "git commit --no-verify" in done.err
    git(checked, "add", ONE)
    write_files(checked, {ONE: FILES[ONE].replace("One", "Eins")})
    assert call(checked, "commit", "-qam", "index of its own").code == 0


def test_an_index_of_its_own_is_read(checked: Path) -> None:
    """`git commit FILE` commits that file alone, and `-a` all: both from an index beside the usual one."""
    write_files(checked, {ONE: "name: [\n", TWO: FILES[TWO].replace("planned", "blocked")})
    assert call(checked, "commit", "-qm", "two", TWO).code == 0
    assert call(checked, "commit", "-qm", "one", ONE).code == 1
    assert call(checked, "commit", "-qam", "all").code == 1
    assert call(checked, "commit", "-qam", "all", "--no-verify").code == 0


def test_what_was_wrong_before_stops_nothing(checked: Path) -> None:
    commit(checked, {ONE: "name: [\n"})
    git(checked, "commit", "-q", "--no-verify", "-m", "broken")
    assert commit(checked, {TWO: FILES[TWO].replace("planned", "blocked")}).code == 0
    assert commit(checked, {TWO: FILES[TWO].replace("depends_on:", "depends_on: [web-000009]")}).code == 1


@pytest.mark.parametrize(
    ("path", "wrong", "code"),
    [
        ("config/webhooks.yaml", "webhooks: {ci: {url: 'ftp://x.example'}}\n", "DT123"),
        ("config/webhooks.yaml", "webhooks: {ci: {url: 'https://x.example', project: nope}}\n", "DT122"),
        ("config/default.yaml", "run: {engine: nope}\n", "DT140"),
        ("config/dagger.yaml", "run: [\n", "DT102"),
    ],
)
def test_settings_and_webhooks_are_checked_as_they_are_staged(checked: Path, path: str, wrong: str, code: str) -> None:
    write_files(checked, {path: wrong})
    git(checked, "add", path)
    (checked / path).write_text("# mended, but not staged\n")
    done = call(checked, "commit", "-qm", "config")
    assert done.code == 1
    assert re.search(rf"^{path}:\d+:\d+: {code}", done.err)
    git(checked, "add", path)
    assert call(checked, "commit", "-qm", "config", "--allow-empty").code == 0


def test_the_first_commit_is_checked_too(project: MakeProject, cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "new"
    write_files(root, {**FILES, ONE: "name: [\n"})
    git(root, "init", "-q")
    cli(root, "hooks", "install", "pre-commit")
    git(root, "add", "--all")
    assert call(root, "commit", "-qm", "first").code == 1
    write_files(root, FILES)
    git(root, "add", "--all")
    assert call(root, "commit", "-qm", "first").code == 0


def test_commits_of_our_own_are_not_checked_twice(checked: Path, cli: Cli) -> None:
    commit(checked, {NEW: "name: x\nstatus: nope\n"})
    git(checked, "commit", "-q", "--no-verify", "-m", "broken")
    done = cli(checked, "task", "set", "000002", "status=blocked", "--commit")
    assert (done.code, done.err) == (0, "")


def test_a_check_that_fails_for_another_reason_does_not_stop_git(checked: Path) -> None:
    path = hook(checked, "pre-commit")
    path.write_text(path.read_text().replace(" hooks run pre-commit", " -C /nowhere hooks run pre-commit"))
    assert commit(checked, {ONE: "name: [\n"}).code == 0


# --- pre-push -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pushing(root: Path, cli: Cli, tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(root, "remote", "add", "origin", str(tmp_path / "hub.git"))
    git(root, "push", "-q", "origin", "HEAD")
    assert cli(root, "hooks", "install", "pre-push").code == 0
    return root


def test_a_push_of_commits_with_errors_is_stopped(pushing: Path, tmp_path: Path) -> None:
    assert commit(pushing, {TWO: FILES[TWO].replace("planned", "blocked")}).code == 0
    assert call(pushing, "push", "-q", "origin", "HEAD") == Result(0, "", "")
    before = git(tmp_path / "hub.git", "for-each-ref")
    commit(pushing, {ONE: "name: [\n"})
    git(pushing, "checkout", "-q", "-b", "other", "HEAD^")
    commit(pushing, {"README": "fine"})
    done = call(pushing, "push", "-q", "origin", "main", "other")
    assert done.code == 1
    assert f"{git(pushing, 'rev-parse', '--short=10', 'main')}:{ONE}:2:1: DT102" in done.err
    assert "git push --no-verify" in done.err
    assert git(tmp_path / "hub.git", "for-each-ref") == before
    assert call(pushing, "push", "-q", "origin", "other").code == 0
    assert call(pushing, "push", "-q", "origin", "--delete", "other").code == 0
    assert call(pushing, "push", "-q", "--no-verify", "origin", "main").code == 0


def test_what_the_remote_has_already_stops_no_push(pushing: Path) -> None:
    commit(pushing, {ONE: "name: [\n"})
    git(pushing, "push", "-q", "--no-verify", "origin", "main")
    git(pushing, "checkout", "-q", "-b", "other")
    commit(pushing, {TWO: FILES[TWO].replace("planned", "blocked")})
    assert call(pushing, "push", "-q", "origin", "other").code == 0
    commit(pushing, {TWO: FILES[TWO].replace("depends_on:", "depends_on: [web-000009]")})
    assert "DT203" in call(pushing, "push", "-q", "origin", "other").err


def test_a_chained_hook_reads_what_is_pushed_too(pushing: Path, cli: Cli, tmp_path: Path) -> None:
    cli(pushing, "hooks", "uninstall", "pre-push")
    write_hook(hook(pushing, "pre-push"), f"#!/bin/sh\ncat > {tmp_path}/seen; echo $1 >> {tmp_path}/seen\n")
    assert states(cli(pushing, "hooks", "install", "pre-push", "--json")) == {"pre-push": "chained"}
    old = git(pushing, "rev-parse", "HEAD")
    commit(pushing, {"README": "new"})
    assert call(pushing, "push", "-q", "origin", "main").code == 0
    new = git(pushing, "rev-parse", "HEAD")
    seen = f"refs/heads/main {new} refs/heads/main {old}\norigin\n"
    assert (tmp_path / "seen").read_text() == seen
    commit(pushing, {ONE: "name: [\n"})
    assert call(pushing, "push", "-q", "origin", "main").code == 1
    hook(pushing, "pre-push.before-dagtasks").write_text("#!/bin/sh\nexit 9\n")
    commit(pushing, {ONE: FILES[ONE]})
    assert call(pushing, "push", "-q", "origin", "main").code == 1
    assert states(cli(pushing, "hooks", "uninstall", "pre-push", "--json"))["pre-push"] == "not installed"
    assert hook(pushing, "pre-push").read_text() == "#!/bin/sh\nexit 9\n"
