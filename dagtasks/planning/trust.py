"""What a run would execute, and its hash: an approval is given to that, and a changed byte needs a new one (06).

Covered are texts as they stand in files: of the template, of those that it calls, of the scripts that these name, and
of the parameters that a file gives; with them references to images, and the names of variables and secrets. What is
read of a task stays data and is not covered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from dagtasks.model.template import with_defaults
from dagtasks.planning.plan import Plan, PlannedTemplate
from dagtasks.planning.planner import steps_of

PREFIX = "dt1-"
"""Begins every hash and says how it was made: what is made in another way later gets another beginning."""


@dataclass(frozen=True, slots=True)
class Covered:
    """The texts that a run would execute.

    `templates` are those that are called, by the reference that calls them, `files` scripts by path, `parameters` the
    values that files give, as JSON text.
    """

    template: str
    templates: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Stands for all of it: no two contents have the same."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return PREFIX + sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; `Covered(**values)` is it again."""
        return asdict(self)


def cover(
    template: PlannedTemplate,
    called: Mapping[str, PlannedTemplate],
    files: Mapping[str, str],
    parameters: Mapping[str, str],
) -> Covered:
    """What a run of the template would execute that gets these parameters from a file (see `write_down`)."""
    texts = {reference: each.text for reference, each in called.items()}
    return Covered(template.text, texts, dict(files), dict(parameters))


def cover_plan(plan: Plan) -> Covered:
    """What the plan would execute."""
    return cover(plan.template, plan.templates, plan.files, plan.bound)


def write_down(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Values of parameters as texts that differ when the values do, also in the order of the keys of a map."""
    return {name: json.dumps(value, ensure_ascii=False) for name, value in parameters.items()}


def list_references(template: PlannedTemplate, called: Mapping[str, PlannedTemplate]) -> dict[str, list[str]]:
    """The images, variables and secrets that the templates name, as they are written, each kind sorted."""
    found: dict[str, set[str]] = {"images": set(), "env": set(), "secrets": set()}
    for each in (template, *called.values()):
        data: Any = with_defaults(dict(each.data))
        found["secrets"].update(data.get("secrets") or ())
        found["env"].update(data.get("env") or ())
        for step in steps_of(each):
            for part in _parts_of(step):
                found["images"].update([part["image"]] if part.get("image") else ())
                found["env"].update(part.get("env") or ())
    return {kind: sorted(names) for kind, names in found.items()}


def _parts_of(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The step, its body, and the services beside it: all that can name images and variables."""
    yield step
    for kind in ("container", "script"):
        body = step.get(kind) or {}
        yield body
        yield from (body.get("services") or {}).values()


def find_difference(before: Covered, after: Covered) -> list[str]:
    """The lines that differ, as in a patch; none when it is the same."""
    old, new = _texts_of(before), _texts_of(after)
    return [line for part in {**old, **new} for line in _compare(part, old.get(part, ""), new.get(part, ""))]


def _compare(part: str, old: str, new: str) -> Iterator[str]:
    import difflib  # only who looks at a difference needs it

    # Ends of lines stay: they are covered like all else.
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), part, part, n=2)
    return (line.removesuffix("\n") for line in lines)


def _texts_of(covered: Covered) -> dict[str, str]:
    """The texts by what they are."""
    return {
        "template": covered.template,
        **{f"template {reference}": text for reference, text in covered.templates.items()},
        **{f"file {path}": text for path, text in covered.files.items()},
        **{f"parameter {name}": text for name, text in covered.parameters.items()},
    }
