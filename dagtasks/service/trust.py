"""Trust, at the border: what may run although nobody looks at it, and what a person is asked before it runs by hand.

What counts is the content (`planning.trust`) and not where it came from. Approvals are kept outside of the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from dagtasks.errors import Conflict, DagtasksError
from dagtasks.model.run import approval_name
from dagtasks.planning.plan import Plan
from dagtasks.planning.trust import Covered, cover_plan
from dagtasks.service.people import actor
from dagtasks.store.approvals import Approval, Approvals, Kind
from dagtasks.store.operator import OperatorState
from dagtasks.store.project import Project


def open_approvals(project: Project, kind: Kind = "approved") -> Approvals:
    """What was approved here, or seen. Raises `ProjectNotFound` outside of Git."""
    return Approvals(OperatorState(project.get_git()), kind)


def name_of(plan: Plan) -> str:
    """What the plan is approved by: as `approval_name`."""
    run: Any = plan.scope.get("run") or {}
    return approval_name(plan.task, plan.workflow, plan.template.name, str(run.get("trigger")))


def find_refusal(project: Project, plan: Plan) -> str:
    """Why the plan may not run unasked; "" when exactly what it would execute is approved on this machine."""
    name = name_of(plan)
    try:
        approvals = open_approvals(project)
        if approvals.find(cover_plan(plan).hash):
            return ""
        is_known = any(name in approval.names for approval in approvals.every())
    except Conflict as error:
        return f"{name} is not approved: {error.message}"
    return f"{name} has changed since it was approved" if is_known else f"{name} is not approved on this machine"


@dataclass(frozen=True, slots=True)
class Asking:
    """Who says yes to a run by hand.

    `yes`: it was said with the command. `ask` shows the plan to a person and comes back when the answer is yes; None
    where nobody is there. `is_foreign`: the plan came with a record of another clone, so that nothing which was
    approved here was meant for it. `is_left`: a change of files asked for it, and it was left for somebody to approve.
    """

    yes: bool = False
    ask: Callable[[Plan], None] | None = None
    is_foreign: bool = False
    is_left: bool = False


NOBODY = Asking()
"""Nobody is there, and nothing was said."""


def get_consent(project: Project, plan: Plan, asking: Asking) -> None:
    """Come back when the plan may run by hand. On a terminal that is asked once for each content.

    Where nobody is there, only what gets secrets or was left to be approved needs an approval or `--yes`: raises
    `Conflict`.
    """
    needs_yes = asking.is_left or bool(plan.secrets)
    if asking.yes or (asking.ask is None and not needs_yes):
        return
    reason = "it comes with a record of another clone" if asking.is_foreign else find_refusal(project, plan)
    if reason and asking.ask is None:
        _refuse(plan, reason)
    elif reason and asking.ask and (asking.is_foreign or not _is_seen(project, plan)):
        asking.ask(plan)
        if not asking.is_foreign:
            _remember(project, plan)


def _refuse(plan: Plan, reason: str) -> None:
    names = ", ".join(plan.secrets)
    secrets = f", and it would get the secret{'s' * (len(plan.secrets) > 1)} {names}" if names else ""
    name = quote(name_of(plan))
    hint = f"look at it: dagtasks trust show {name}; then say --yes, or approve it: dagtasks trust approve {name}"
    raise Conflict(f"{reason}{secrets}", hint=hint)


def _is_seen(project: Project, plan: Plan) -> bool:
    with suppress(Conflict):
        return open_approvals(project, "seen").find(cover_plan(plan).hash) is not None
    return False


def _remember(project: Project, plan: Plan) -> None:
    """Ask no more; where that cannot be kept, it is asked once more."""
    with suppress(DagtasksError):
        approval = make_approval(project, cover_plan(plan), plan.template.name, (name_of(plan),))
        open_approvals(project, "seen").add(approval)


def make_approval(project: Project, covered: Covered, template: str, names: Sequence[str]) -> Approval:
    """That somebody says yes to it, now."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Approval(covered.hash, template, tuple(names), actor(project), at, covered.to_json())
