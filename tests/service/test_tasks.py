from __future__ import annotations

from collections import Counter

from dagtasks.service import tasks
from dagtasks.service.saving import WriteSettings
from tests.conftest import MakeProject


def test_a_folder_that_is_full_gets_no_more_files(project: MakeProject) -> None:
    """255 tasks, one of them broken: one more fits, the others go by the last two characters of their ids."""
    files = {f"tasks/web/web-{number:06}.yaml": "name: A\n" for number in range(255)}
    repository = project({"tasks/web/project.yaml": "name: Web\n", **files, "tasks/web/web-000000.yaml": "nam: A\n"})
    made = [tasks.create(repository, "web", {"name": f"New {n}"}, WriteSettings()).paths[0] for n in range(4)]
    folders = [path.rpartition("/")[0] for path in made]
    assert folders == ["tasks/web", *(f"tasks/web/{path[-7:-5]}" for path in made[1:])]
    assert Counter(path.parent.name for path in repository.root.glob("tasks/web/*-*.yaml")) == {"web": 256}
    assert {path.rpartition("/")[2][:-5] for path in made} <= repository.load().tasks.keys()
