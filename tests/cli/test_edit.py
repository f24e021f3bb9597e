"""`task edit`: the user's editor on a copy, the checks, and where the text is when something is wrong."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
Editor = Callable[[str], None]
TASK = "tasks/web/web-000001.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    TASK: "name: One # kept\n\nstatus: planned\n\nphase:\n\ndepends_on:\n",
    "tasks/web/web-000002.yaml": "name: Two\n\ndepends_on:\n  - web-000001\n",
}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """A function that makes a shell script the editor; `$1` is the file. Each word of the command has a blank."""
    script = tmp_path / "my editor"

    def use(body: str) -> None:
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        monkeypatch.setenv("VISUAL", f"'{script}' ''")

    monkeypatch.setenv("TERM", "xterm")
    # The command has an argument of its own, so the file is the second.
    return lambda body: use(f"shift\n{body}")


def drafts(root: Path) -> list[Path]:
    return sorted((root / ".git/dagtasks/drafts").glob("*"))


def test_an_edit_is_saved_as_it_was_made(root: Path, cli: Cli, editor: Editor) -> None:
    editor(
        "sed -i -e 's/status: planned/status: in_progress/' -e 's/^phase:/phase: build # now/' \"$1\"; echo '# end' >> \"$1\""
    )
    done = cli(root, "task", "edit", "000001", "--commit")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("web-000001: status planned -> in_progress, edited phase [")
    assert (root / TASK).read_text() == (
        "name: One # kept\n\nstatus: in_progress\n\nphase: build # now\n\ndepends_on:\n# end\n"
    )
    assert git(root, "show", "--format=%s", "--name-only").splitlines()[-1] == TASK
    assert drafts(root) == []


def test_the_answer_as_a_document(root: Path, cli: Cli, editor: Editor) -> None:
    editor("echo 'priority: high' >> \"$1\"")
    document = json.loads(cli(root, "task", "edit", "000001", "--json").out)
    assert (document["kind"], document["data"]["priority"], document["changed"]) == ("task", "high", [TASK])


def test_what_is_not_changed_is_not_written(root: Path, cli: Cli, editor: Editor) -> None:
    editor(":")
    before = (root / TASK).stat().st_mtime_ns
    done = cli(root, "task", "edit", "000001", "--commit")
    assert (done.code, done.out) == (0, "web-000001: edited (nothing to change)\n")
    assert (root / TASK).stat().st_mtime_ns == before
    assert drafts(root) == []


def test_a_comment_is_an_edit_too(root: Path, cli: Cli, editor: Editor) -> None:
    editor("echo '# note' >> \"$1\"")
    assert cli(root, "task", "edit", "000001").out == "web-000001: edited\n"
    assert (root / TASK).read_text().endswith("# note\n")


def test_a_dry_run_keeps_the_text_aside(root: Path, cli: Cli, editor: Editor) -> None:
    editor("echo '# note' >> \"$1\"")
    done = cli(root, "task", "edit", "000001", "--dry-run")
    assert done.out == f"would: web-000001: edited ({TASK})\n"
    assert git(root, "status", "--porcelain") == ""
    assert drafts(root)[0].read_text().endswith("# note\n")
    assert done.err == f"note: the edited text is in {drafts(root)[0]}\n"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("echo 'priority: top' >> \"$1\"", 7, f"{TASK}:8:11: DT122 'top' is not a priority"),
        ("echo 'x: [' > \"$1\"", 7, f"{TASK}:2:1: DT102"),
        (': > "$1"', 7, "DT108"),
        ("sed -i 's/^name:.*/name:/' \"$1\"", 7, "DT120 `name` is required"),
        ("sed -i 's/^phase:/phase: nope/' \"$1\"", 5, "there is no phase 'web/nope'"),
        ("sed -i 's/^depends_on:/depends_on: [web-000009]/' \"$1\"", 5, "there is no task 'web-000009'"),
        ("sed -i 's/^depends_on:/depends_on: [web-000002]/' \"$1\"", 6, "in a circle: web-000001 -> web-000002"),
    ],
)
def test_what_is_wrong_is_told_and_kept_aside(
    root: Path, cli: Cli, editor: Editor, body: str, code: int, message: str
) -> None:
    editor(body)
    done = cli(root, "task", "edit", "000001")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert git(root, "status", "--porcelain") == ""
    (draft,) = drafts(root)
    assert f"the edited text is in {draft}\n" in done.err
    assert draft.read_bytes() != (root / TASK).read_bytes()


def test_open_dependencies_are_refused_as_by_set(root: Path, cli: Cli, editor: Editor) -> None:
    editor("echo 'status: completed' >> \"$1\"")
    done = cli(root, "task", "edit", "000002")
    assert (done.code, "it depends on open tasks: web-000001 (planned)" in done.err) == (6, True)
    cli(root, "task", "set", "000002", "status=completed", "--ignore-dependencies")
    editor("echo '# note' >> \"$1\"")
    assert cli(root, "task", "edit", "000002").code == 0


def test_gates_are_closed_as_for_set(root: Path, cli: Cli, editor: Editor) -> None:
    write_files(root, {"tasks/web/project.yaml": "name: Web\n\ngates:\n  completed: [check]\n"})
    editor("sed -i 's/status: planned/status: completed/' \"$1\"")
    done = cli(root, "task", "edit", "000001")
    assert (done.code, "web-000001 cannot become completed" in done.err) == (6, True), done.err


def test_a_file_that_changed_meanwhile_is_not_overwritten(root: Path, cli: Cli, editor: Editor) -> None:
    editor(f"echo '# mine' >> \"$1\"; echo '# theirs' >> '{root / TASK}'")
    done = cli(root, "task", "edit", "000001")
    (draft,) = drafts(root)
    assert (done.code, done.out) == (6, "")
    assert f"{TASK} changed while it was edited, so nothing was saved" in done.err
    assert f"git diff --no-index {TASK} {draft}" in done.err
    assert ((root / TASK).read_text()[-9:], draft.read_text()[-7:]) == ("# theirs\n", "# mine\n")
    editor(f"echo '# more' >> \"$1\"; rm '{root / TASK}'")
    assert "changed while it was edited" in cli(root, "task", "edit", "000001").err
    assert not (root / TASK).exists()


def test_a_broken_file_can_be_mended(root: Path, cli: Cli, editor: Editor) -> None:
    write_files(root, {TASK: "name: [\n"})
    editor(":")
    assert cli(root, "task", "edit", "web-000001").code == 0
    editor("echo 'name: Mended' > \"$1\"")
    assert cli(root, "task", "edit", "000001").out == "web-000001: edited\n"
    assert (root / TASK).read_text() == "name: Mended\n"


def test_edits_that_were_there_before_are_saved_and_not_committed(root: Path, cli: Cli, editor: Editor) -> None:
    with (root / TASK).open("a") as file:
        file.write("# before\n")
    editor("echo '# now' >> \"$1\"")
    done = cli(root, "task", "edit", "000001", "--commit")
    assert (done.code, "nothing was committed; the change is saved" in done.err) == (6, True)
    assert (root / TASK).read_text().endswith("# before\n# now\n")
    assert drafts(root) == []


def test_an_editor_that_fails_changes_nothing(root: Path, cli: Cli, editor: Editor) -> None:
    editor("exit 3")
    done = cli(root, "task", "edit", "000001")
    assert (done.code, "ended with 3" in done.err, "text is in" in done.err, drafts(root)) == (8, True, False, [])
    editor("echo '# mine' >> \"$1\"; exit 1")
    done = cli(root, "task", "edit", "000001")
    assert (done.code, f"the edited text is in {drafts(root)[0]}" in done.err) == (8, True)
    editor('rm "$1"')
    done = cli(root, "task", "edit", "000001")
    assert (done.code, "the editor left no file" in done.err, "text is in" in done.err) == (2, True, False)
    assert git(root, "status", "--porcelain") == ""


def test_which_editor(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is that of Git; commands of the shell are allowed."""
    monkeypatch.setenv("TERM", "xterm")
    for name, code in (("EDITOR", 7), ("VISUAL", 6), ("core.editor", 5), ("GIT_EDITOR", 4)):
        if name == "core.editor":
            git(root, "config", name, f"exit {code};")
        else:
            monkeypatch.setenv(name, f"exit {code};")
        assert f"ended with {code}\n" in cli(root, "task", "edit", "000001").err
    git(root, "config", "--unset", "core.editor")
    for name in ("GIT_EDITOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "dumb")
    done = cli(root, "task", "edit", "000001")
    assert (done.code, "no editor is known here" in done.err, "core.editor" in done.err) == (8, True, True)


def test_outside_of_git(tmp_path: Path, cli: Cli, editor: Editor) -> None:
    folder = tmp_path / "plain"
    write_files(folder, FILES)
    editor("echo '# note' >> \"$1\"")
    assert cli(folder, "task", "edit", "000001").code == 0
    editor("echo 'name: x' >> \"$1\"")
    done = cli(folder, "task", "edit", "000001")
    draft = re.search(r"the edited text is in (\S+)", done.err)
    assert draft
    assert Path(draft[1]).read_text().endswith("name: x\n")


def in_terminal(root: Path, answers: bytes, *words: str) -> tuple[int, str]:
    """Run the command in a terminal of its own, where these answers are typed; its exit code and all that it shows."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), *words]
    running = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    os.write(master, answers)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:
        pass  # the other end is closed
    os.close(master)
    return running.wait(), shown.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_editor_can_be_opened_again(root: Path, editor: Editor) -> None:
    """The first time it writes nonsense, the second time it corrects it."""
    editor('grep -q nonsense "$1" && sed -i \'$d\' "$1" && echo \'# fine\' >> "$1" || echo nonsense >> "$1"')
    code, shown = in_terminal(root, b"y\n", "task", "edit", "000001")
    assert code == 0, shown
    assert f"{TASK}:8:1: DT102" in shown
    assert "Open the editor again?" in shown
    assert (root / TASK).read_text().endswith("depends_on:\n# fine\n")
    assert drafts(root) == []
    editor('echo nonsense >> "$1"')
    code, shown = in_terminal(root, b"n\n", "task", "edit", "000001")
    assert (code, len(drafts(root))) == (7, 1), shown


def test_ctrl_c_is_for_the_editor(root: Path, editor: Editor, tmp_path: Path) -> None:
    """The editor tells when it is there; ^C in a terminal goes to all processes of the group."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    editor(f"trap 'echo \"# stopped\" >> \"$1\"; exit 0' INT; echo > '{ready}'; while :; do sleep 0.05; done")
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), "task", "edit", "000001"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    ready.read_text()
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert (running.returncode, out) == (0, b"web-000001: edited\n"), err
    assert (root / TASK).read_text().endswith("# stopped\n")
