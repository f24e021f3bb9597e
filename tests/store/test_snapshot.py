"""What the cache unpacks only where somebody looks, and mends only where something changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.store.cache import Cache
from dagtasks.store.loading import load_index
from dagtasks.store.records import Record, pack_row
from dagtasks.store.scanning import scan
from dagtasks.store.snapshot import GROUP, Tasks, pack_tasks
from tests.conftest import BASIC_TEMPLATE, MakeProject, write_files

COUNT = 4 * GROUP + 2
ROWS = {
    task.id: task
    for number in range(COUNT)
    for task in [
        TaskSummary(
            f"web-{2 * number + 1:06}",
            "web",
            "path",
            f"Number {number}, like web-000001",
            depends_on=tuple(f"web-{2 * need + 1:06}" for need in {number // 2, number // 3} if need < number),
        )
    ]
}


def packed(row: TaskSummary) -> Record:
    return Record(None, row.name.encode(), pack_row(row), ())


@pytest.fixture
def tasks() -> Tasks:
    return pack_tasks([(name, packed(row)) for name, row in ROWS.items()])


def test_packed_tasks_are_like_a_map(tasks: Tasks) -> None:
    assert len(tasks) == COUNT
    assert list(tasks) == list(ROWS)
    assert list(tasks.values()) == list(ROWS.values())
    assert tasks == ROWS
    assert all(tasks[name] == row and name in tasks for name, row in ROWS.items())
    for name in ("", "a", "web-000000", "web-000002", f"web-{2 * GROUP:06}", "web-999999"):
        assert name not in tasks
        assert tasks.get(name) is None
    assert None not in tasks


def test_no_tasks_are_a_map_too() -> None:
    assert (dict(pack_tasks([])), pack_tasks([]).get("web-000001"), pack_tasks([]).find_dependents("x")) == (
        {},
        None,
        [],
    )


def test_dependents_are_found_by_the_bytes(tasks: Tasks) -> None:
    for name in ROWS:
        assert tasks.find_dependents(name) == [row for row in ROWS.values() if name in row.depends_on]


def test_some_rows_are_replaced(tasks: Tasks) -> None:
    after = {name: ROWS[name]._replace(name="B" * 1000, status=Status.BLOCKED) for name in [*ROWS][:: GROUP - 1]}
    replaced = tasks.with_records({name: packed(row) for name, row in after.items()})
    assert list(replaced.items()) == list({**ROWS, **after}.items())
    assert [replaced.digest(name) for name in after] == [b"B" * 1000] * len(after)
    assert tasks == ROWS


def test_two_processes_see_what_one_sees(project: MakeProject) -> None:
    files = {f"tasks/web/{number}/{number % 3}/web-{number:06}.yaml": "name: A\n" for number in range(60)}
    root = project({**files, "tasks/web/project.yaml": "name: W\n", "templates/basic_task.yaml": BASIC_TEMPLATE}).root
    (root / "tasks/ops").symlink_to(root / "tasks/web")
    one, two = scan(root), scan(root, in_two=True)
    assert one.folders == two.folders
    assert len(one.folders) == 63
    write_files(root, {"tasks/web/7/1/web-000007.yaml": "name: B\n", "tasks/web/8/2/web-000099.yaml": "name: B\n"})
    (root / "tasks/web/9/0/web-000009.yaml").unlink()
    for in_two in (False, True):
        after = scan(root, one.folders, in_two=in_two)
        assert sorted(after.folders) == ["tasks/web/7/1", "tasks/web/8/2"]
        assert {*after.same, *after.folders} == one.folders.keys() - {"tasks/web/9/0"}


WORDS = [
    *("status: planned\n", "status: completed\n", "status: in_progress\n", "status: cancelled\n", "priority: high\n"),
    *("phase: build\n", "phase: nope\n", "colour: red\n", "due: 2026-12-01\n", "priority: critical\n", "name: [\n"),
    *("# moved down\n\n", "assignee: ann\n", "workflows:\n  go: {template: gone}\n"),
]


def write_one(dice: random.Random, root: Path, numbers: range) -> None:
    """Somebody edits a task: most often sensibly."""
    number = dice.choice(numbers)
    words = dice.choice([["status: planned\n"], ["status: completed\n"], [], dice.sample(WORDS, 2)])
    needs = dice.sample(numbers, dice.choice([0, 1, 1, 2])) if dice.random() < 0.02 else range(number // 2, number)[:2]
    ids = ", ".join(f"web-{need:06}" for need in needs) + (", web-zzzzzz" if dice.random() < 0.02 else "")
    text = f"name: Number {dice.random()}\n{''.join(words)}depends_on: [{ids.removeprefix(', ')}]\n"
    write_files(root, {f"tasks/web/{number % 7}/web-{number:06}.yaml": text})


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_edits_of_a_few_of_many_tasks_give_what_reading_all_gives(count: int, project: MakeProject) -> None:
    dice = random.Random(count)
    root = project(
        {"tasks/web/project.yaml": "name: W\n", "tasks/web/phases/build.yaml": "name: B\n", "templates/a.yaml": ""}
    ).root
    numbers = range(3 * GROUP)
    for _ in range(2 * len(numbers)):
        write_one(dice, root, numbers)
    cache = Cache(root / ".git/dagtasks/cache")
    load_index(root, cache)
    for _ in range(count):
        for _ in range(dice.choice([1, 1, 1, 2, 5])):
            write_one(dice, root, numbers)
        found, want = load_index(root, cache), load_index(root, Cache(None))
        assert found == want
        assert found.startable == want.startable
        assert list(found.tasks.values()) == list(want.tasks.values())
