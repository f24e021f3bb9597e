"""Loads that share a look: nobody gets what was seen before it asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dagtasks.store.project import Project
from dagtasks.store.sharing import Shared
from tests.conftest import MakeProject

ONE = "tasks/web/web-000001.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    ONE: "name: One\n",
    "tasks/web/web-000002.yaml": "name: Two\ndepends_on: [web-000001]\n",
}


def name_of(project: Project) -> str:
    return project.load().tasks["web-000001"].name


def test_an_edit_is_seen_by_whoever_asks_after_it(project: MakeProject) -> None:
    repository = project(FILES).sharing()
    path = repository.root / ONE
    for number in range(20):
        path.write_text(f"name: '{number:03}'\n")
        assert name_of(repository) == f"{number:03}"
        assert name_of(repository.with_settings()) == f"{number:03}"
    path.unlink()
    assert [*repository.load().tasks] == ["web-000002"]
    assert repository.load() == Project(repository.root, use_cache=False).load()


def test_many_who_load_and_edit_see_their_own_edits(project: MakeProject) -> None:
    names = [f"web-00001{number}" for number in range(6)]
    repository = project({**FILES, **{f"tasks/web/{name}.yaml": "name: 0\n" for name in names}}).sharing()

    def work(name: str) -> None:
        for number in range(15):
            (repository.root / f"tasks/web/{name}.yaml").write_text(f"name: '{number}'\n")
            assert repository.load().tasks[name].name == str(number)

    with ThreadPoolExecutor(len(names)) as pool:
        assert [*pool.map(work, names)] == [None] * len(names)


@pytest.mark.parametrize("fails", [False, True])
def test_who_asks_during_a_look_waits_for_the_next_which_serves_all_who_wait(fails: bool) -> None:
    shared, value, looks = Shared(), ["old"], []
    is_looking, go = threading.Event(), threading.Event()

    def look_slowly() -> Any:
        seen = value[0]
        is_looking.set()
        assert go.wait(60)
        if fails:
            raise ValueError
        return seen

    def look() -> Any:
        looks.append(value[0])
        return value[0]

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.load, look_slowly)
        assert is_looking.wait(60)
        value[0] = "new"
        asked: list[Any] = [pool.submit(shared.load, look) for _ in range(7)]
        go.set()
        assert [one.result() for one in asked] == ["new"] * 7
        assert isinstance(first.exception(), ValueError) if fails else first.result() == "old"
    assert 1 <= len(looks) <= 7


def test_without_the_cache_nothing_is_shared(project: MakeProject, cli: Callable[..., Any]) -> None:
    repository = Project(project(FILES).root, use_cache=False).sharing()
    assert name_of(repository) == "One"
    (repository.root / ONE).write_text("name: Other\n")
    assert name_of(repository) == "Other"
