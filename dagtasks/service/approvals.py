"""Saying yes to content that may then run unasked: what there is to approve, what it executes, and taking it back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dagtasks.errors import DagtasksError, NotFound
from dagtasks.model.names import choose_from
from dagtasks.model.summary import TemplateSummary
from dagtasks.planning.index import Index
from dagtasks.planning.plan import PlannedTemplate
from dagtasks.planning.planner import HIDDEN, find_called_templates, find_scripts, steps_of
from dagtasks.planning.references import find_named
from dagtasks.planning.trust import Covered, cover, find_difference, list_references, write_down
from dagtasks.service.links import find_task
from dagtasks.service.runs import plan_called
from dagtasks.service.templates import find_template, read_script
from dagtasks.service.trust import make_approval, open_approvals
from dagtasks.service.views import Listing
from dagtasks.service.workflows import refuse_unknown
from dagtasks.store.approvals import Approval
from dagtasks.store.layout import TEMPLATES
from dagtasks.store.project import Project


class Candidate(NamedTuple):
    """Something that can be approved: a workflow of a task (`TASK/WORKFLOW`), a trigger of a project (`KEY on EVENT`),
    or a template without parameters.
    """

    name: str
    template: PlannedTemplate
    called: Mapping[str, PlannedTemplate]
    covered: Covered


class _Maker:
    """Makes candidates; each template, and what it calls, is read once."""

    def __init__(self, project: Project, index: Index) -> None:
        self._project = project
        self._index = index
        self._known: dict[str, tuple[PlannedTemplate, Mapping[str, PlannedTemplate], Mapping[str, str]]] = {}

    def make(self, name: str, template: str, parameters: Mapping[str, Any]) -> Candidate:
        """The candidate of that name. Raises as `make_plan` what is wrong with the template."""
        if template not in self._known:
            self._known[template] = self._read(template)
        planned, called, files = self._known[template]
        return Candidate(name, planned, called, cover(planned, called, files, write_down(parameters)))

    def _read(self, name: str) -> tuple[PlannedTemplate, Mapping[str, PlannedTemplate], Mapping[str, str]]:
        planned = plan_called(self._project, self._index, name)
        called = find_called_templates(planned, lambda other: plan_called(self._project, self._index, other))
        scripts = find_scripts([planned, *called.values()])
        return planned, called, {path: read_script(self._project, path) for path in scripts}

    def of_template(self, row: TemplateSummary) -> Iterator[Candidate]:
        """The template by itself, and each workflow of a task and each trigger of a project that binds it."""
        yield self.make(row.name, row.name, {})
        for bound in _list_bound(self._index):
            if find_named(bound.template, self._index.templates) == row:
                yield self.make(*bound)


class _Bound(NamedTuple):
    """A template with the parameters that a file gives."""

    name: str
    template: str
    parameters: Mapping[str, Any]


def _list_bound(index: Index) -> Iterator[_Bound]:
    """Workflows of tasks, and triggers of projects."""
    for task in index.tasks.values():
        yield from (_Bound(f"{task.id}/{each.name}", each.template, each.parameters) for each in task.workflows)
    for project in index.projects.values():
        for trigger in project.triggers:
            yield _Bound(f"{project.key} on {trigger.on}", trigger.template, trigger.parameters)


def find_candidates(project: Project, text: str) -> list[Candidate]:
    """What `TASK/WORKFLOW` names, or a trigger; or a template: that by itself, and all that binds it.

    Raises `NotFound`, `InvalidProject`.
    """
    index = project.load()
    maker = _Maker(project, index)
    name = _whole_name(index, text)
    bound = [maker.make(*each) for each in _list_bound(index) if each.name == name]
    return bound or [*maker.of_template(find_template(index, text))]


def _whole_name(index: Index, text: str) -> str:
    """`TASK/WORKFLOW` with the whole id. Raises `NotFound` when there is no such task or workflow."""
    name, slash, workflow = text.partition("/")
    if not slash or name == TEMPLATES:
        return text
    task = find_task(index, name)
    refuse_unknown(task, workflow)
    return f"{task.id}/{workflow}"


# -- looking --------------------------------------------------------------------------------------------------------


def list_all(project: Project) -> Listing:
    """Every workflow and trigger with whether it is approved, each approved template, and approvals of nothing present.

    Raises `Conflict` when others could have written the approvals.
    """
    index = project.load()
    approvals = {approval.hash: approval for approval in open_approvals(project).every()}
    maker = _Maker(project, index)
    named = {name for approval in approvals.values() for name in approval.names}
    wanted = [*_list_bound(index), *(_Bound(name, name, {}) for name in index.templates if name in named)]
    rows = [_row_or_fault(maker, each, approvals) for each in wanted]
    present = {row["hash"] for row in rows}
    rows += [_unused(approval) for of, approval in approvals.items() if of not in present]
    return Listing(rows, index.problems)


def _row_or_fault(maker: _Maker, wanted: _Bound, approvals: Mapping[str, Approval]) -> dict[str, Any]:
    try:
        return _row(maker.make(*wanted), approvals)
    except DagtasksError as error:
        return {
            "name": wanted.name,
            "template": wanted.template,
            "state": "invalid",
            "hash": None,
            "reason": error.message,
        }


def _row(candidate: Candidate, approvals: Mapping[str, Approval]) -> dict[str, Any]:
    approval = approvals.get(candidate.covered.hash)
    state = "approved" if approval else "not approved"
    if not approval and _find_before(candidate, approvals.values()):
        state = "changed"
    named = {"name": candidate.name, "template": candidate.template.name}
    return {**named, "state": state, "hash": candidate.covered.hash, **_stamp(approval)}


def _stamp(approval: Approval | None) -> dict[str, Any]:
    return {"by": approval.by, "at": approval.at} if approval else {"by": None, "at": None}


def _unused(approval: Approval) -> dict[str, Any]:
    """An approval of content that nothing has now."""
    return {**_to_json(approval), "name": ", ".join(approval.names), "state": "unused"}


def _to_json(approval: Approval) -> dict[str, Any]:
    names = {"names": list(approval.names), "template": approval.template}
    return {**names, "hash": approval.hash, **_stamp(approval)}


def _find_before(candidate: Candidate, approvals: Iterable[Approval]) -> Approval | None:
    """The last approval of the same name."""
    return next((approval for approval in approvals if candidate.name in approval.names), None)


def show(project: Project, text: str) -> list[dict[str, Any]]:
    """What each candidate would execute, and how that differs from what was approved of it before."""
    candidates = find_candidates(project, text)
    approvals = {approval.hash: approval for approval in open_approvals(project).every()}
    return [_sheet(candidate, approvals) for candidate in candidates]


def _sheet(candidate: Candidate, approvals: Mapping[str, Approval]) -> dict[str, Any]:
    row = _row(candidate, approvals)
    before = _find_before(candidate, approvals.values()) if row["state"] == "changed" else None
    return {
        **row,
        "path": candidate.template.path,
        "calls": {reference: template.path for reference, template in candidate.called.items()},
        "files": sorted(candidate.covered.files),
        **list_references(candidate.template, candidate.called),
        "parameters": shown_parameters(candidate),
        "steps": [*_steps(candidate)],
        "approved_before": _to_json(before) if before else None,
        "difference": find_difference(Covered(**before.covered), candidate.covered) if before else [],
    }


def shown_parameters(candidate: Candidate) -> dict[str, Any]:
    """The parameters that a file gives, without the values of sensitive ones."""
    specs: Any = candidate.template.data.get("parameters") or {}
    given = candidate.covered.parameters.items()
    return {
        name: HIDDEN if (specs.get(name) or {}).get("sensitive") else json.loads(text) for name, text in sorted(given)
    }


def _steps(candidate: Candidate) -> Iterator[dict[str, Any]]:
    """Each step with what it executes, as it is written."""
    for reference, template in {candidate.template.name: candidate.template, **candidate.called}.items():
        for step in steps_of(template):
            kind = next(kind for kind in _EXECUTES if kind in step)
            yield {"template": reference, "name": step["name"], "kind": kind, "executes": _EXECUTES[kind](step[kind])}


def _with_arguments(what: Any, body: Mapping[str, Any]) -> Any:
    arguments = body.get("args")
    if not arguments:
        return what
    return [*(what if isinstance(what, list) else [what] if what else []), *arguments]


_EXECUTES: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "container": lambda body: _with_arguments(body.get("command"), body),
    "script": lambda body: _with_arguments(body.get("source") or body.get("file"), body),
    "api": lambda body: f"{body.get('method', 'GET')} {body['url']}",
    "workflow": lambda body: body["template"],
    "approval": lambda body: body["message"],
}


# -- deciding -------------------------------------------------------------------------------------------------------


def approve(project: Project, text: str, ask: Callable[[Sequence[Candidate]], None]) -> list[dict[str, Any]]:
    """Approve what the text names, once `ask` (which is shown it) comes back. Nothing starts by that.

    Raises `NotFound`, `InvalidProject`, `Conflict`, `WriteError`.
    """
    approvals = open_approvals(project)
    candidates = find_candidates(project, text)
    known = {approval.hash: approval for approval in approvals.every()}
    ask(candidates)
    for candidate in candidates:
        covered = candidate.covered
        old = known.get(covered.hash)
        names = sorted({*(old.names if old else ()), candidate.name})
        known[covered.hash] = make_approval(project, covered, candidate.template.name, names)
        approvals.add(known[covered.hash])
    return [_row(candidate, known) for candidate in candidates]


def revoke(project: Project, text: str) -> list[dict[str, Any]]:
    """Take back all that was approved for a template or `TASK/WORKFLOW`, whether it is still there or not.

    Who runs it by hand is asked again, too. Raises `NotFound` when nothing was approved for that.
    """
    approvals, seen = open_approvals(project), open_approvals(project, "seen")
    every = approvals.every()
    found = [approval for approval in every if text in (*approval.names, approval.template, approval.hash)]
    again = [approval for approval in seen.every() if text in (*approval.names, approval.template, approval.hash)]
    if not found and not again:
        known = [name for approval in every for name in (*approval.names, approval.template)]
        raise NotFound(f"nothing is approved for {text!r}", hint=choose_from(text, sorted({*known})))
    for kept, those in ((approvals, found), (seen, again)):
        for approval in those:
            kept.remove(approval.hash)
    return [_to_json(approval) for approval in found]
