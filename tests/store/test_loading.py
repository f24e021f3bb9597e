from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from dagtasks.errors import NotFound
from tests.conftest import MakeProject, Result

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "tasks/ops/project.yaml": "name: Ops\n",
    "tasks/web/web-00000a.yaml": "name: A\nphase: build\ndepends_on: [ops-00000c, ops-00000d, web-zzzzzz]\n",
    "tasks/web/0b/web-00000b.yaml": "name: B\ndepends_on: [web-00000a, web-00000e]\n",
    "tasks/ops/mine/deep/ops-00000c.yaml": "name: C\nstatus: completed\n",
    "tasks/ops/ops-00000d.yaml": "name: D\n",
    "tasks/web/web-00000e.yaml": "name: [broken\n",
    "tasks/ops/ops-00000a.yaml": "name: The same end\n",
}
"""Tasks where `task create` puts them, and one that somebody moved."""


def test_one_task_is_the_same_as_in_the_whole(project: MakeProject) -> None:
    repository = project(FILES)
    whole = repository.load()
    for name, task in whole.tasks.items():
        part = repository.load_around(name)
        assert part.tasks[name] == task
        assert part.open_dependencies(task) == whole.open_dependencies(task)
        assert part.is_ready(task) == whole.is_ready(task)
        assert {*part.phases} == {key for key, phase in whole.phases.items() if phase.project == task.project}
        assert part.tasks.keys() <= {name, *task.depends_on}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web-00000b", "web-00000b"),
        ("ops-00000c", "ops-00000c"),
        ("00000c", "ops-00000c"),
        ("web-00000b.yaml", None),
        ("ops-00000", "fits 3 tasks"),
        ("00000a", "fits 2 tasks"),
        ("web-00000e", "web-00000e.yaml cannot be read"),
        ("nope", "there is no task 'nope'"),
        ("../ops/ops-00000d", None),
        ("", None),
    ],
)
def test_a_task_is_found_by_what_its_id_begins_with(text: str, found: str | None, project: MakeProject) -> None:
    repository = project(FILES)
    for index in (repository.load_around(text), repository.load()):
        if found in index.tasks:
            assert index.get_task(text).id == found
            continue
        with pytest.raises(NotFound) as caught:
            index.get_task(text)
        assert (found or "there is no task") in caught.value.message + caught.value.hint


def test_a_folder_behind_a_symlink_is_not_looked_into(project: MakeProject) -> None:
    repository = project(FILES)
    (repository.root / "tasks/web/0d").symlink_to(repository.root / "tasks/ops")
    (repository.root / "tasks/ops/web-00000d.yaml").write_text("name: Elsewhere\n")
    with pytest.raises(NotFound):
        repository.load_around("web-00000d").get_task("web-00000d")


def test_a_folder_that_cannot_be_read_hides_nothing(project: MakeProject, cli: Callable[..., Result]) -> None:
    """Nobody can name a file whose path is longer than 4096 bytes, not even root."""
    repository = project(FILES)
    folder = os.open(repository.root / "tasks/ops", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("f" * 250, dir_fd=folder)
        folder, parent = os.open("f" * 250, os.O_RDONLY, dir_fd=folder), folder
        os.close(parent)
    os.close(folder)
    for _ in range(2):
        done = cli(repository.root, "task", "list")
        assert done.code == 1
        assert "ops-00000d" in done.out
        assert "DT101 the folder cannot be read: File name too long" in done.err


def test_set_checks_what_it_touches(project: MakeProject, cli: Callable[..., Result]) -> None:
    repository = project(FILES)
    assert cli(repository.root, "task", "set", "ops-00000d", "priority=high").code == 0
    assert cli(repository.root, "task", "set", "web-00000a", "priority=high").code == 0
    assert cli(repository.root, "task", "set", "web-00000a", "phase=nope").code == 5
    assert cli(repository.root, "task", "set", "web-00000a", "status=completed").code == 6
    assert (repository.root / "tasks/ops/ops-00000d.yaml").read_text().endswith("priority: high\n")
