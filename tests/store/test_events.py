"""The log of events: who follows it gets each once and in order, whatever became of those who wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagtasks.model.event import EventRecord
from dagtasks.store.events import EventLog, RunCursor, RunCursorFile, Told
from dagtasks.store.files import WriteError
from dagtasks.store.project import Project
from tests.conftest import MakeProject

FOLDER = ".git/dagtasks/events"


def make(number: int, text: str = "") -> EventRecord:
    changed = {"name": (None, text), "n": (number, None)}
    return EventRecord(
        f"evt_{number:024x}", "task.updated", "2026-11-26T10:00:00.000+00:00", "web", "web-1", "A", changed
    )


@pytest.fixture
def made(project: MakeProject) -> Project:
    return project()


@pytest.fixture
def log(made: Project) -> EventLog:
    return EventLog(made.get_git())


def numbers(log: EventLog, after: int | None = None) -> list[int]:
    found = log.read_after(None if after is None else make(after).id)
    return [int(record.id.removeprefix("evt_"), 16) for record in found]


def test_events_are_read_as_they_were_written(log: EventLog) -> None:
    one = make(1, "a\nb\x85\u2028c \udcff 'é'")._replace(actor="ann@example.org", origin="run", before="a", after="b")
    two = make(2)._replace(run={"id": "x", "error": {"code": "c"}}, project=None)
    log.append([one, two])
    assert log.read_after() == [one, two]
    assert log.find_last() == two.id


def test_who_follows_reads_on_from_the_last_one(log: EventLog) -> None:
    assert (log.find_last(), log.read_after(), log.read_after("evt_x")) == (None, [], [])
    log.append([make(1), make(2)])
    assert numbers(log, 1) == [2]
    assert numbers(log, 2) == []
    log.append([make(3)])
    assert numbers(log, 2) == [3]
    assert numbers(log, 99) == [1, 2, 3]


def test_an_event_that_is_there_is_not_written_again(log: EventLog) -> None:
    log.append([make(1), make(2)])
    log.append([make(2), make(3), make(1)])
    assert numbers(log) == [1, 2, 3]


def test_a_half_last_line_counts_as_not_written(log: EventLog, made: Project) -> None:
    log.append([make(1), make(2)])
    file = made.root / FOLDER / "log.jsonl"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        left = whole[:length].count(b"\n")
        assert numbers(log) == [1, 2][:left]
        log.append([make(1), make(2)])
        assert numbers(log) == [1, 2]
        assert file.read_bytes() == whole


@pytest.mark.parametrize("line", [b"x\n", b"[]\n", b"{}\n", b'{"id":"evt_1","type":1}\n', b"\xff\n", b"\n", b"null\n"])
def test_what_is_no_event_is_left_out(line: bytes, log: EventLog, made: Project) -> None:
    log.append([make(1)])
    with (made.root / FOLDER / "log.jsonl").open("ab") as file:
        file.write(line)
    log.append([make(2)])
    assert numbers(log) == [1, 2]


def test_a_long_log_becomes_the_old_one(made: Project) -> None:
    log = EventLog(made.get_git(), limit=2000)
    for number in range(40):
        log.append([make(number)])
    kept = numbers(log)
    assert kept == [*range(kept[0], 40)]
    assert 10 <= len(kept) < 40
    assert numbers(log, 38) == [39]
    assert numbers(log, kept[0]) == kept[1:]
    assert numbers(log, 0) == kept
    assert {path.name for path in (made.root / FOLDER).iterdir()} == {"log.jsonl", "log.old.jsonl"}
    (made.root / FOLDER / "log.jsonl").unlink()
    assert numbers(log) == kept[: len(numbers(log))]


def test_the_log_is_no_place_to_write_elsewhere(log: EventLog, made: Project, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine\n")
    (made.root / FOLDER).mkdir(parents=True)
    (made.root / FOLDER / "log.jsonl").symlink_to(target)
    with pytest.raises(WriteError):
        log.append([make(1)])
    assert target.read_text() == "mine\n"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"runs":[],"queued":[]}', b'{"runs":{"a":[1]},"queued":[]}'])
def test_a_damaged_cursor_of_runs_is_as_none(damage: bytes, made: Project) -> None:
    file = RunCursorFile(made.get_git())
    assert file.read() is None
    cursor = RunCursor({"a": None, "b": Told(10, 2)}, frozenset({"x"}))
    file.write(cursor)
    assert file.read() == cursor
    (made.root / FOLDER / "runs.json").write_bytes(damage)
    assert file.read() is None
