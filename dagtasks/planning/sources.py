"""What a plan is made from, as JSON: enough to make the same plan again in another process or clone.

It holds no secret: sensitive parameters are left out, and have to be given again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dagtasks.model.values import JSON
from dagtasks.planning.plan import Plan, PlannedTemplate
from dagtasks.planning.planner import Surroundings, make_plan


def to_sources(plan: Plan) -> dict[str, Any]:
    """What the plan is made from."""
    return {
        "template": asdict(plan.template),
        "templates": {reference: asdict(template) for reference, template in plan.templates.items()},
        "files": dict(plan.files),
        "parameters": {name: value for name, value in plan.parameters.items() if name not in plan.sensitive},
        "scope": {name: value for name, value in plan.scope.items() if name != "params"},
        "task": plan.task,
        "workflow": plan.workflow,
        "commit": plan.commit,
        "branch": plan.branch,
        "dirty": plan.dirty,
        "bound": {name: text for name, text in plan.bound.items() if name not in plan.sensitive},
    }


def from_sources(data: Mapping[str, Any], given: Mapping[str, JSON]) -> Plan:
    """The plan that is made from them, with other parameters where they are given.

    Raises `InvalidInput` when parameters are wrong, or sensitive ones are missing.
    """
    templates = {reference: PlannedTemplate(**template) for reference, template in data["templates"].items()}
    around = Surroundings(
        scope=data["scope"],
        find_template=templates.__getitem__,
        read_file=data["files"].__getitem__,
        bound={name: text for name, text in data.get("bound", {}).items() if name not in given},
        **{key: data[key] for key in ("task", "workflow", "commit", "branch", "dirty")},
    )
    return make_plan(PlannedTemplate(**data["template"]), {**data["parameters"], **given}, around)
