"""The watcher beside real editors, bursts and Git: it tells exactly what changed, once, and starts it once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagtasks.board.scaffold import write_board_files
from dagtasks.service import dispatch, drift
from dagtasks.service.queue import what_of
from dagtasks.store.project import Project
from dagtasks.store.queue import Queue
from dagtasks.triggers.watch import Seen, Watcher
from tests.board.test_serve import free_port
from tests.board.test_serve import wait_for as wait_for_page
from tests.conftest import MakeProject, git, write_files

pytestmark = pytest.mark.slow

OWNER, ONE, TWO = "tasks/web/project.yaml", "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
TEMPLATE = "metadata:\n  name: t\nsteps:\n  - name: a\n    container: {image: 'alpine:3', command: 'true'}\n"
FLOW = "\nworkflows:\n  w:\n    template: t\n    run_on:\n      - in_progress\n"
TASK = "name: Task\n\nstatus: planned\n"
PATIENCE = 60.0
SETTLED = 0.6
"""Seconds after which nothing more comes of a change that was seen."""


class Log:
    """What a watcher told, and the threads' way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.warnings: list[str] = []

    @property
    def events(self) -> list[str]:
        """What happened so far: `task.updated web-000001`."""
        return [f"{event.type} {event.subject}" for seen in self.seen for event in seen.events]

    def take(self, count: int = 1) -> list[str]:
        """What happened since the last time, when it is so many things; no more comes."""
        wait_until(lambda: len(self.events) >= count, self)
        time.sleep(SETTLED)
        events = self.events
        self.seen.clear()
        return events


def wait_until(holds: Callable[[], object], told: Log) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, (told.events, told.warnings)
        time.sleep(0.02)


@contextmanager
def watching(root: Path) -> Iterator[Log]:
    log = Log()
    watcher = Watcher(Project(root), log.seen.append, log.warnings.append)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        wait_until(lambda: (root / ".git/dagtasks/cursor").exists(), log)
        time.sleep(0.1)
        yield log
    finally:
        watcher.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def root(project: MakeProject) -> Path:
    made = project({OWNER: "name: Web\n", ONE: TASK + FLOW, TWO: TASK, "templates/t.yaml": TEMPLATE})
    dispatch.begin(made)
    return made.root


def save_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def save_like_vim(path: Path, text: str) -> None:
    """The old file gets another name, a new one is written, the old one goes."""
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def save_like_code(path: Path, text: str) -> None:
    """Cut to nothing, and written in pieces a moment later."""
    with path.open("w") as file:
        file.flush()
        time.sleep(0.03)
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()


def save_like_sed(path: Path, text: str) -> None:
    temp = path.with_name("sedXYZ")
    temp.write_text(text)
    temp.rename(path)


@pytest.mark.parametrize("save", [save_in_place, save_like_vim, save_like_code, save_like_sed])
def test_a_save_is_one_change_and_starts_one_run(save: Callable[[Path, str], None], root: Path) -> None:
    with watching(root) as log:
        save(root / ONE, (root / ONE).read_text().replace("planned", "in_progress"))
        assert log.take() == ["task.updated web-000001"]
    # Nobody has approved it, so it is out of the queue and waits.
    records = Project(root).runs.newest()
    assert [(record.task, record.status) for record in records] == [("web-000001", "awaiting_approval")]


def test_a_broken_file_is_told_once_and_the_watcher_goes_on(root: Path) -> None:
    with watching(root) as log:
        (root / TWO).write_text("name: [\n")
        wait_until(lambda: log.seen, log)
        write_files(root, {ONE: TASK.replace("Task", "Other") + FLOW})
        assert log.take() == ["task.updated web-000001"]
        (root / TWO).write_text(TASK.replace("planned", "blocked"))
        assert log.take() == ["task.blocked web-000002"]
        (root / TWO).write_text("name: [\n")
        wait_until(lambda: log.seen, log)
        (problem,) = log.seen[0].problems
        assert (problem.path, problem.line, problem.code) == (TWO, 2, "DT102")


def test_what_a_commit_says_of_a_task_is_done_and_told(root: Path) -> None:
    drift.begin(Project(root))
    with watching(root) as log:
        git(root, "commit", "-q", "--allow-empty", "-m", "Done\n\nBlocks: web-000002")
        assert log.take() == ["task.blocked web-000002"]
    assert "status: blocked" in (root / TWO).read_text()


def test_folders_that_go_and_come_again(root: Path) -> None:
    with watching(root) as log:
        (root / "tasks").rename(root / "elsewhere")
        assert log.take(4) == [
            "project.deleted web",
            "task.deleted web-000001",
            "task.deleted web-000002",
            "workflow.deleted web-000001/w",
        ]
        (root / "elsewhere").rename(root / "tasks")
        assert len(log.take(4)) >= 4
        write_files(root, {TWO: TASK.replace("planned", "cancelled")})
        assert log.take() == ["task.updated web-000002"]
        write_files(root, {"tasks/app/project.yaml": "name: App\n", "tasks/app/a/app-000001.yaml": TASK})
        assert "task.created app-000001" in log.take(2)
        write_files(root, {"tasks/app/a/app-000002.yaml": TASK})
        assert "task.created app-000002" in log.take(1)


def test_a_burst_is_told_whole_and_each_once(root: Path) -> None:
    names = [f"web-{number:06x}" for number in range(0x100000, 0x100000 + 10_000)]
    for place in range(40):
        (root / f"tasks/web/{place:02d}").mkdir()
    with watching(root) as log:
        for place, name in enumerate(names):
            (root / f"tasks/web/{place % 40:02d}/{name}.yaml").write_text(TASK)
        wait_until(lambda: len(log.events) >= 20_000, log)  # created, and ready
        time.sleep(SETTLED)
        counts = Counter(log.events)
    assert counts == Counter(f"task.{what} {name}" for what in ("created", "ready") for name in names)


def test_what_git_brings_to_the_files_starts_nothing(root: Path) -> None:
    git(root, "checkout", "-qb", "other")
    write_files(root, {ONE: (root / ONE).read_text().replace("planned", "in_progress")})
    git(root, "commit", "-qam", "begin")
    git(root, "checkout", "-q", "main")
    dispatch.pass_over_checkout(Project(root))
    with watching(root) as log:
        git(root, "checkout", "-q", "other")
        time.sleep(SETTLED)
        git(root, "checkout", "-q", "main")
        time.sleep(SETTLED)
        assert log.events == []
        write_files(root, {TWO: TASK.replace("Task", "New")})
        assert log.take() == ["task.updated web-000002"]
        assert Queue(Project(root).get_git()).entries() == []
    assert Project(root).runs.newest() == []


def test_nothing_is_looked_at_in_the_middle_of_a_rebase(root: Path) -> None:
    git(root, "checkout", "-qb", "other")
    for number in range(3):
        write_files(root, {TWO: TASK.replace("Task", f"Name {number}")})
        git(root, "commit", "-qam", f"name {number}")
    git(root, "checkout", "-q", "main")
    write_files(root, {ONE: (root / ONE).read_text().replace("Task", "Main")})
    git(root, "commit", "-qam", "main")
    git(root, "checkout", "-q", "other")
    dispatch.look(Project(root))
    with watching(root) as log:
        git(root, "rebase", "-q", "--exec", "sleep 0.7", "main")
        assert log.take() == ["task.updated web-000001"]


def test_what_happened_while_it_was_stopped_is_told_once(root: Path, tmp_path: Path) -> None:
    with other_process(root) as (process, lines):
        process.send_signal(signal.SIGSTOP)
        for number in range(300):
            write_files(root, {TWO: TASK.replace("Task", f"Name {number}")})
        write_files(root, {ONE: (root / ONE).read_text().replace("planned", "in_progress")})
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        wait_for_line(lines, "web-000001")
        time.sleep(SETTLED)
    told = lines()
    assert [told.count(name) for name in ("web-000001  Task", "web-000002  Name 299")] == [1, 1]
    assert "Name 298" not in told


def test_without_watches_it_looks_every_few_seconds(root: Path) -> None:
    limit = "echo 2 > /proc/sys/user/max_inotify_watches"
    unshared = ["unshare", "--user", "--map-root-user", "sh", "-c", f'{limit} && exec "$@"', "sh"]
    if subprocess.run([*unshared, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no limit for a few processes can be set here")
    with other_process(root, *unshared) as (_, lines):
        wait_for_line(lines, "the system does not tell of changes")
        write_files(root, {TWO: TASK.replace("Task", "Seen")})
        wait_for_line(lines, "web-000002  Seen")
        assert lines().count("the system does not tell") == 1


def test_memory_and_handles_stay_as_they_are(root: Path) -> None:
    with other_process(root) as (process, lines):

        def change(turn: int) -> None:
            for number in range(1000):
                (root / f"tasks/web/note-{number}.txt").write_text("x")
                (root / f"tasks/web/note-{number}.txt").unlink()
            write_files(root, {TWO: TASK.replace("Task", f"Turn {turn}.")})
            wait_for_line(lines, f"Turn {turn}.")

        for turn in range(5):
            change(turn)
        before = use_of(process.pid)
        for turn in range(5, 15):  # 20,000 events and more
            change(turn)
        after = use_of(process.pid)
        time.sleep(SETTLED)
        used = cpu_of(process.pid)
        time.sleep(2)
        assert cpu_of(process.pid) <= used + 2, "looking makes it look again"
    assert after[1] == before[1]
    assert after[0] < before[0] * 1.1


def use_of(pid: int) -> tuple[int, int]:
    """Bytes of memory, and how many handles are open."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_of(pid: int) -> int:
    """How many hundredths of a second of the processor it took so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


@contextmanager
def other_process(root: Path, *before: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """`dagtasks watch` as a process, and what it printed so far."""
    out = root.parent / "watch.log"
    command = [*before, sys.executable, "-u", "-m", "dagtasks", "-C", str(root), "watch"]
    with out.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_for_line(out.read_text, "watching")
            wait_for(lambda: watches_of(process.pid) or before)
            yield process, out.read_text
        finally:
            process.kill()


def watches_of(pid: int) -> int:
    """How many folders the process watches."""
    found = 0
    for handle in Path(f"/proc/{pid}/fdinfo").iterdir():
        found += handle.read_text().count("inotify wd")
    return found >= 5


def wait_for_line(lines: Callable[[], str], text: str) -> None:
    wait_for(lambda: text in lines())


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_entries_are_worked_off_once_when_several_watch(root: Path) -> None:
    with watching(root) as one, watching(root) as other:
        write_files(root, {TWO: TASK.replace("planned", "blocked")})
        wait_until(lambda: one.events or other.events, one)
        time.sleep(SETTLED)
        assert one.events + other.events == ["task.blocked web-000002"]
    assert [what_of(entry) for entry in Queue(Project(root).get_git()).entries()] == []


def test_the_board_is_served_beside_it_and_both_end_with_ctrl_c(root: Path) -> None:
    """An edit is told, and shows on the board."""
    write_board_files(root)
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "dagtasks", "watch", "--serve", address]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_page(f"http://{address}/t/web-000002.html", lambda page: "Task" in page)
            save_in_place(root / TWO, TASK.replace("name: Task", "name: Quite another"))
            wait_for_page(f"http://{address}/t/web-000002.html", lambda page: "Quite another" in page)
            process.send_signal(signal.SIGINT)
            told, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "web-000002  Quite another\n    name: Task -> Quite another" in told
    assert f"Serving on http://{address}/" in said
