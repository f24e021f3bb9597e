"""What the cache unpacks only where somebody looks, and mends only where something changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.changes import find_events, has_changed, keep_last_good
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
    return pack_tasks({name: packed(row) for name, row in ROWS.items()})


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
    assert (dict(pack_tasks({})), pack_tasks({}).get("web-000001"), pack_tasks({}).find_dependents("x")) == (
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
    assert (tasks, len(tasks)) == (ROWS, COUNT)


@pytest.mark.parametrize("count", [1, 2, GROUP, 3 * GROUP])
def test_new_rows_come_where_they_belong(count: int, tasks: Tasks) -> None:
    """Before all, behind all, and so many between two that a group has to be divided."""
    names = ["aaa-000000", "web-00000z", "zzz-000000", *(f"web-00009{number:03}" for number in range(count))]
    new = {name: TaskSummary(name, "web", "path", name, depends_on=("web-000001",)) for name in names}
    grown = tasks.with_records({name: packed(row) for name, row in new.items()})
    want = dict(sorted({**ROWS, **new}.items()))
    assert list(grown.items()) == list(want.items())
    assert len(grown) == len(want)
    assert grown.find_dependents("web-000001") == [row for row in want.values() if "web-000001" in row.depends_on]


def test_rows_go_and_come_back(tasks: Tasks) -> None:
    """One of a group, all of a group, and all there are."""
    for names in ([*ROWS][:1], [*ROWS][GROUP : 2 * GROUP], [*ROWS]):
        without = tasks.replace(dict.fromkeys([*names, "no-000001"]))
        left = {name: row for name, row in ROWS.items() if name not in names}
        assert list(without.items()) == list(left.items())
        assert (len(without), without.find_dependents("web-000001")) == (
            len(left),
            [row for row in left.values() if "web-000001" in row.depends_on],
        )
        assert list(without.replace({name: ROWS[name] for name in names}).items()) == list(ROWS.items())


def test_what_differs_is_found_without_unpacking_the_rest(tasks: Tasks) -> None:
    first, *_, last = ROWS
    changed = tasks.with_records({last: packed(ROWS[last]._replace(name="other"))})
    assert tasks.find_different(changed) == changed.find_different(tasks) == {last}
    gone = changed.replace({first: None, "aaa-000001": ROWS[first]._replace(id="aaa-000001")})
    assert tasks.find_different(gone) == gone.find_different(tasks) == {first, last, "aaa-000001"}
    assert tasks.find_different(tasks) == set()
    # Of rows without a file nobody knows whether they are the same.
    assert tasks.find_different(tasks.replace({first: ROWS[first]})) == {first}
    assert tasks.find_different(pack_tasks({})) == {*ROWS}


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
    """Somebody edits a task, adds or removes one: most often sensibly."""
    number = dice.choice(range(len(numbers) + 100) if dice.random() < 0.2 else numbers)
    path = root / f"tasks/web/{number % 7}/web-{number:06}.yaml"
    if path.exists() and dice.random() < 0.02:
        path.unlink()
        return
    words = dice.choice([["status: planned\n"], ["status: completed\n"], [], dice.sample(WORDS, 2)])
    last = number % len(numbers)
    needs = dice.sample(numbers, dice.choice([0, 1, 1, 2])) if dice.random() < 0.02 else range(last // 2, last)[:2]
    ids = ", ".join(f"web-{need:06}" for need in needs) + (", web-zzzzzz" if dice.random() < 0.01 else "")
    text = f"name: Number {dice.random()}\n{''.join(words)}depends_on: [{ids.removeprefix(', ')}]\n"
    write_files(root, {path.relative_to(root).as_posix(): text})


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
    before = load_index(root, cache)
    for _ in range(count):
        for _ in range(dice.choice([1, 1, 1, 2, 5])):
            write_one(dice, root, numbers)
        found, want = load_index(root, cache), load_index(root, Cache(None))
        assert found == want
        assert found.startable == want.startable
        assert list(found.tasks.values()) == list(want.tasks.values())
        assert find_events(before, found) == find_events(before._replace(tasks=dict(before.tasks)), want)
        kept = keep_last_good(before, found)
        assert has_changed(before, kept) is (dict(before.tasks) != dict(kept.tasks))
        before = kept


@pytest.mark.parametrize(
    "files",
    [
        {"tasks/web/web-00000b.yaml": "name: What an unknown id may have meant\n"},
        {"tasks/web/web-00000y.yaml": "name: What somebody waits for\n"},
        {"tasks/ops/ops-000001.yaml": "name: Of a folder without a project\n"},
        {"tasks/web/web-000003.yaml": "name: Broken no more\n"},
        {"tasks/web/web-000001.yaml": "name: [broken\n"},
        {"tasks/web/deep/web-000001.yaml": "name: Same id as one that was there\n"},
        {
            "tasks/web/a/web-00000f.yaml": "name: A\n",
            "tasks/web/b/web-00000f.yaml": "name: Same id as another new one\n",
        },
        {"tasks/web/web-00000c.yaml": "name: In a circle\ndepends_on: [web-000004]\n"},
        {"tasks/web/web-00000e.yaml": "name: New\ndepends_on: [web-000001, web-zzzzzz]\nstatus: completed\n"},
    ],
)
@pytest.mark.parametrize("need", ["web-00000a", "web-000001"])
def test_new_tasks_give_what_reading_all_gives(files: dict[str, str], need: str, project: MakeProject) -> None:
    before = {
        "project": "name: W\n",
        "web-000001": "name: One\n",
        "web-000002": f"name: Two\ndepends_on: [{need}]\n",
        "web-000003": "name: [\n",
        "web-000004": "name: Four\ndepends_on: [web-00000c]\n",
    }
    if need == "web-000001":
        del before["web-000004"]
    root = project({f"tasks/web/{name}.yaml": text for name, text in before.items()}).root
    cache = Cache(root / ".git/dagtasks/cache")
    load_index(root, cache)
    write_files(root, files)
    assert load_index(root, cache) == load_index(root, Cache(None))
    assert load_index(root, cache).startable == load_index(root, Cache(None)).startable
