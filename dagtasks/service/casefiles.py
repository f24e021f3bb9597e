"""`template test`: the cases that lie beside a template, carried out with the real planner and scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from dagtasks.errors import DagtasksError, Finding, InvalidProject, Loc, NotFound, Problem
from dagtasks.language.functions import is_equal
from dagtasks.model.casefile import Case, CaseFile
from dagtasks.model.fields import findings_of
from dagtasks.model.names import did_you_mean
from dagtasks.model.summary import TemplateSummary
from dagtasks.model.values import JSON
from dagtasks.planning.index import Index
from dagtasks.planning.plan import Plan, PlannedTemplate
from dagtasks.planning.planner import Surroundings, make_plan
from dagtasks.service.templates import find_template, plan_template, read_script
from dagtasks.store.layout import TEMPLATES, TESTS_END, walk
from dagtasks.store.project import Project

CODES = {
    "DT352": "A file of test cases (`NAME.test.yaml` below `templates/`) has no template that works beside it, or "
    "names steps that the template does not have. What such a case says would never be looked at.",
}

TASK: Mapping[str, JSON] = {
    "id": "web-000001",
    "project": "web",
    "path": "tasks/web/web-000001.yaml",
    "name": "A task",
    "status": "planned",
    "priority": "medium",
    "description": "",
    "assignee": None,
    "phase": None,
    "due": None,
    "labels": [],
    "depends_on": [],
    "metadata": {},
}
PROJECT: Mapping[str, JSON] = {
    "key": "web",
    "path": "tasks/web/project.yaml",
    "name": "Web",
    "description": "",
    "metadata": {},
}
PHASE: Mapping[str, JSON] = {
    "project": "web",
    "key": "build",
    "path": "tasks/web/phases/build.yaml",
    "name": "Build",
    "description": "",
    "order": 0,
}
RUN: Mapping[str, JSON] = {
    "commit": "0" * 40,
    "branch": "main",
    "dirty": False,
    "trigger": "manual",
    "actor": "somebody@example.org",
}


class Difference(NamedTuple):
    """Something that came out otherwise: where, what was expected, and what it is."""

    where: str
    expected: JSON
    actual: JSON

    def __str__(self) -> str:
        return f"{self.where}: expected {_shown(self.expected)}, got {_shown(self.actual)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case went. `error` is what kept it from being carried out."""

    template: str
    path: str
    case: str
    differences: tuple[Difference, ...] = ()
    error: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether all came out as expected."""
        return not self.differences and not self.error

    def to_json(self) -> dict[str, JSON]:
        """The outcome as data."""
        return {
            "template": self.template,
            "path": self.path,
            "case": self.case,
            "ok": self.is_ok,
            "error": self.error or None,
            "differences": [dict(one._asdict()) for one in self.differences],
        }


def run_tests(project: Project, name: str | None = None) -> list[Outcome]:
    """Carry out the cases of the template, or of all that have some.

    Raises `NotFound`, and `InvalidProject` with everything that is wrong with files of cases or their templates.
    """
    index = project.load()
    rows = _find_rows(project, index, name)
    files = [(row, *_read_cases(project, index, row)) for row in rows]
    if problems := sorted(problem for _, _, found in files for problem in found):
        raise InvalidProject("tests of templates are wrong", problems=problems)
    return [_run_case(project, index, row, case) for row, cases, _ in files for case in cases]


def tests_path(path: str) -> str:
    """Where the tests of the template in that file lie."""
    return path.removesuffix(".yaml") + TESTS_END


def _find_rows(project: Project, index: Index, name: str | None) -> list[TemplateSummary]:
    """The templates that are to be tested."""
    if name is not None:
        row = find_template(index, name)
        if not (project.root / tests_path(row.path)).is_file():
            raise NotFound(f"template {row.name} has no tests", hint=f"write {tests_path(row.path)}")
        return [row]
    by_path = {tests_path(row.path): row for row in index.templates.values()}
    files = sorted(
        path for path, _ in walk(project.root) if path.startswith(f"{TEMPLATES}/") and path.endswith(TESTS_END)
    )
    if orphans := [path for path in files if path not in by_path]:
        raise InvalidProject("some tests have no template that works", problems=[_orphan(index, p) for p in orphans])
    return [by_path[path] for path in files]


def _orphan(index: Index, path: str) -> Problem:
    template = path.removesuffix(TESTS_END) + ".yaml"
    is_broken = any(file.path == template for file in index.broken)
    what = "cannot be used: see `dagtasks template validate`" if is_broken else "is not there"
    return Problem(path, 0, 0, "DT352", f"the template of these tests, {template}, {what}")


def _read_cases(project: Project, index: Index, row: TemplateSummary) -> tuple[list[Case], list[Problem]]:
    document = project.read_document(tests_path(row.path))
    if document.data is None:
        return [], list(document.problems)
    try:
        cases = CaseFile.model_validate(document.data).cases
    except ValidationError as error:
        return [], document.problems_for(findings_of(error))
    return cases, document.problems_for(list(_check_names(index, row, cases)))


def _check_names(index: Index, row: TemplateSummary, cases: list[Case]) -> Iterator[Finding]:
    """Steps that are named and not there: what a test says of them would never be looked at."""
    known = [*_step_paths(index, row)]
    for place, case in enumerate(cases):
        at: Loc = ("cases", place)
        named: list[tuple[Loc, str]] = [((*at, "mocks", path), path) for path in case.mocks]
        named += [((*at, "expect", "steps", path), path) for path in case.expect.steps]
        named += [((*at, "expect", "plan", path), path) for path in case.expect.plan]
        for loc, path in named:
            if _plain(path) not in known:
                hint = did_you_mean(_plain(path), known)
                yield Finding(loc, "DT352", f"template {row.name} has no step {path!r}", hint, on_key=True)


def _plain(path: str) -> str:
    from dagtasks.engine.rehearsal import plain_path

    return plain_path(path)


def _step_paths(index: Index, row: TemplateSummary, prefix: str = "") -> Iterator[str]:
    yield from (f"{prefix}{name}" for name in row.steps)
    for call in row.calls:
        yield from _step_paths(index, find_template(index, call.template), f"{prefix}{call.step}/")


# -- one case -------------------------------------------------------------------------------------------------------


def _run_case(project: Project, index: Index, row: TemplateSummary, case: Case) -> Outcome:
    outcome = Outcome(row.name, tests_path(row.path), case.name)
    try:
        return replace(outcome, differences=tuple(_differences(project, index, row, case)))
    except DagtasksError as error:
        text = f"{error.message} ({error.hint})" if error.hint else error.message
        if case.expect.error and case.expect.error in text:
            return outcome
        if case.expect.error:
            return replace(outcome, differences=(Difference("error", case.expect.error, text),))
        return replace(outcome, error=text)


def _differences(project: Project, index: Index, row: TemplateSummary, case: Case) -> Iterator[Difference]:
    from dagtasks.engine.rehearsal import prepare, rehearse
    from dagtasks.service.execution import hash_files

    planned = plan_template(project, row)
    original = make_plan(planned, case.parameters, _surroundings(project, index, case))
    yield from _compare_plan(original, case)
    prepared = prepare(planned, case.mocks, original.templates)
    around = _surroundings(project, index, case, prepared.called)
    plan = make_plan(prepared.template, case.parameters, around)
    functions = {"hash_files": lambda *patterns: hash_files(project.root, patterns)}
    done = rehearse(plan, prepared, case.mocks, functions)
    record = done.record
    if case.expect.status and case.expect.status is not record.status:
        yield Difference("status", str(case.expect.status), str(record.status))
    yield from compare(case.expect.outputs, dict(record.outputs), "outputs")
    for path, expected in case.expect.steps.items():
        seen = _seen(done.steps.get(path), done.requests.get(path, {}))
        wanted: Any = {"state": str(expected)} if isinstance(expected, str) else expected
        yield from compare(wanted, seen, f"steps.{path}")
    yield from _compare_error(case.expect.error, record.error)


def _compare_error(expected: str | None, error: Any) -> Iterator[Difference]:
    if expected is not None and not (error and (expected == error.code or expected in error.message)):
        yield Difference("error", expected, f"{error.code}: {error.message}" if error else None)


def _compare_plan(plan: Plan, case: Case) -> Iterator[Difference]:
    from dagtasks.service.runs import plan_to_json

    steps = {step["name"]: step for step in plan_to_json(plan)["steps"]}
    for path, expected in case.expect.plan.items():
        yield from compare(expected, _as_json(steps.get(path)), f"plan.{path}")


def _surroundings(
    project: Project, index: Index, case: Case, called: Mapping[str, PlannedTemplate] | None = None
) -> Surroundings:
    """What the plan of a case is made in; `called` are templates that stand for those that are called."""
    task: Mapping[str, JSON] = {**TASK, **case.task}
    scope: dict[str, JSON] = {
        "task": dict(task),
        "project": {**PROJECT, **case.project},
        "phase": {**PHASE, **case.phase} if case.phase else None,
        "run": {**RUN, **case.run},
    }

    def find(reference: str) -> PlannedTemplate:
        return called[reference] if called is not None else plan_template(project, find_template(index, reference))

    return Surroundings(scope, find, lambda path: read_script(project, path), task=str(task["id"]), workflow="test")


def _seen(record: Any, request: Mapping[str, JSON]) -> JSON:
    """What a test can look at of a step: its record, and what it was asked to do."""
    if record is None:
        return None
    error = record.error
    told = {"error": error.code if error else None, "message": error.message if error else None}
    return _as_json({**record.to_json(), **request, **told})


def _as_json(value: Any) -> JSON:
    return json.loads(json.dumps(value, default=str))  # type: ignore[no-any-return]


def compare(expected: JSON, actual: JSON, where: str) -> Iterator[Difference]:
    """Where what is expected is not what is there; of maps only the keys that are expected count."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            yield from compare(value, actual.get(key), f"{where}.{key}")
    elif not is_equal(expected, actual):
        yield Difference(where, expected, actual)


def _shown(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"
