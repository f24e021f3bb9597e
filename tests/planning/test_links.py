"""Which problems may come from which changed files."""

from __future__ import annotations

import pytest

from dagtasks.errors import Problem
from dagtasks.planning.links import comes_from

ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
CIRCLE = "tasks depend on one another in a circle: web-000001 -> web-000002 -> web-000001"

# name -> path, code and message of a problem; files it may come from; files it does not come from
CASES = {
    "in a file": (ONE, "DT124", "quote it", [ONE], [TWO]),
    "in a file that is named elsewhere": (ONE, "DT125", "there is no key web-000002", [ONE], [TWO]),
    "a circle": (ONE, "DT204", CIRCLE, [ONE, TWO, "tasks/web/deeper/web-000002.yaml"], ["tasks/web/web-000003.yaml"]),
    "a dependency": (ONE, "DT203", "there is no task 'web-000002'", [ONE, TWO], ["tasks/web/project.yaml"]),
    "a phase": (ONE, "DT202", "project web has no phase 'build'", ["tasks/web/phases/build.yaml"], [TWO]),
    "no project": ("tasks/app/project.yaml", "DT201", "project app has no project.yaml", ["tasks/app/x.yaml"], [ONE]),
    "a template": (ONE, "DT206", "there is no template 'check'", ["templates/other.yaml"], [TWO]),
    "a parameter": (ONE, "DT208", "template check needs x", ["templates/deeper/check.yaml"], [TWO]),
    "templates in a circle": ("templates/a.yaml", "DT209", "a -> b -> a", ["templates/c.yaml"], [ONE]),
    "an open dependency": (ONE, "DT207", "completed although it depends on open tasks: web-000002", [TWO], ["x.yaml"]),
}


@pytest.mark.parametrize(("path", "code", "message", "yes", "no"), CASES.values(), ids=CASES)
def test_what_a_problem_comes_from(path: str, code: str, message: str, yes: list[str], no: list[str]) -> None:
    problem = Problem(path, 1, 1, code, message)
    assert [file for file in (*yes, *no) if comes_from(problem, {file})] == yes
    assert not comes_from(problem, set())
