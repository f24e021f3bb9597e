"""The pages of workflow templates: the list by category, and each with its parameters and steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from markupsafe import Markup

from dagtasks.board.graphs import Node, draw_graph
from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import BoardPage, Facts, show_value
from dagtasks.board.uris import TEMPLATES, template_uri
from dagtasks.errors import Severity
from dagtasks.model.summary import TemplateSummary
from dagtasks.planning.references import ReferenceFault, find_called

USED = 50
NEEDED = 20
"""Parameters that the command on the page of a template names."""
STEP_TEXT = 150_000
"""Characters of all steps of a page together."""
_SHOWN_APART = {"name", "description", "depends_on", "if"}
_SETTINGS = ("timeout", "max_parallel", "fail_fast", "if", "secrets", "concurrency")
_RULES = ("enum", "pattern", "minimum", "maximum", "min_length", "max_length", "sensitive", "deprecated")


class Entry(NamedTuple):
    """A template in the list; `used` tasks bind it."""

    row: TemplateSummary
    uri: str
    used: int


class Group(NamedTuple):
    """The templates of a category."""

    name: str
    templates: list[Entry]


class Parameter(NamedTuple):
    """A declared parameter; `rules` are what else its value must keep to."""

    name: str
    type: str
    is_required: bool
    has_default: bool
    default: Any
    description: str
    rules: list[tuple[str, Any]]


class StepView(NamedTuple):
    """A step: its kind, what it waits for, and the rest of what the file says as YAML."""

    name: str
    kind: str
    description: str
    needs: list[str]
    condition: Any
    text: str


class CallView(NamedTuple):
    """A template that this one runs; `uri` when there is such a template."""

    name: str
    uri: str | None


def template_pages(view: Overview) -> Iterator[BoardPage]:
    """The list of templates, and a page for each."""
    yield BoardPage(TEMPLATES, "Templates", "templates.html", partial(_list_facts, view))
    for row in view.data.index.templates.values():
        yield BoardPage(template_uri(row.name), row.name, "template.html", partial(_template_facts, view, row))


def _list_facts(view: Overview) -> Facts:
    groups: dict[str, list[Entry]] = defaultdict(list)
    for row in view.data.index.templates.values():
        groups[row.category or ""].append(Entry(row, template_uri(row.name), len(view.bound.get(row.name, ()))))
    names = sorted(groups, key=lambda name: (not name, name))
    return {
        "total": len(view.data.index.templates),
        "groups": [Group(name or ("Other" if len(names) > 1 else "All"), groups[name]) for name in names],
        "broken": [view.broken_card(file) for file in view.data.index.broken if file.kind == "template"],
    }


def _template_facts(view: Overview, row: TemplateSummary) -> Facts:
    data = view.data.templates.get(row.name, {})
    found = view.problems.get(row.path, [])
    is_sound = not any(problem.severity is Severity.ERROR for problem in found)
    used = view.bound.get(row.name, [])
    known = view.data.index.templates
    return {
        "row": row,
        "found": found,
        "graph": _draw_steps(data) if is_sound else None,
        "parameters": [_parameter(name, spec) for name, spec in _map(data.get("parameters")).items()],
        "steps": [*_steps(data.get("steps")), *_steps(data.get("finally"), "in the end")],
        "outputs": list(_map(data.get("outputs")).items()),
        "settings": [(key, data[key]) for key in _SETTINGS if data.get(key) is not None],
        "calls": [
            CallView(text, _called_uri(text, known)) for text in dict.fromkeys(call.template for call in row.calls)
        ],
        "command": _command(row.name, _map(data.get("parameters"))),
        "used": view.cards(used[:USED]),
        "total_used": len(used),
    }


def _command(name: str, parameters: Mapping[str, Any]) -> list[str]:
    """The command that runs the template, with a place for each parameter that must be given."""
    needed = [key for key, spec in parameters.items() if _map(spec).get("required") is True]
    given = [word for key in needed[:NEEDED] for word in ("--param", f"{str(key)[:80]}=...")]
    return ["dagtasks", "run", "--template", name, *given]


def _draw_steps(data: Mapping[str, Any]) -> Markup | None:
    """The steps as a graph; None when there is but one, or when the file is no template as a whole."""
    # What templates are made of is a large import, and most builds make none of these pages.
    from pydantic import ValidationError

    from dagtasks.model.template import Template
    from dagtasks.planning.drawing import make_drawing

    try:
        drawing = make_drawing(Template.model_validate(data), {})
    except ValidationError:
        return None
    nodes = [Node(node.name, f"{node.name} ({node.kind})", "step") for node in drawing.nodes]
    return draw_graph(nodes, dict.fromkeys(drawing.edges, 1)) if len(nodes) > 1 else None


def _called_uri(text: str, known: Mapping[str, TemplateSummary]) -> str | None:
    try:
        return template_uri(find_called(text, known).name)
    except ReferenceFault:
        return None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parameter(name: str, spec: Any) -> Parameter:
    given = _map(spec)
    return Parameter(
        name=name,
        type=str(given.get("type", "string")),
        is_required=given.get("required") is True,
        has_default=given.get("default") is not None,
        default=given.get("default"),
        description=str(given.get("description") or ""),
        rules=[(rule, given[rule]) for rule in _RULES if given.get(rule) is not None and given[rule] is not False],
    )


def _steps(steps: Any, *when: str) -> list[StepView]:
    listed = [_map(step) for step in steps] if isinstance(steps, list) else []
    room = STEP_TEXT // max(1, len(listed))
    return [_step(step, list(when), room) for step in listed]


def _step(step: Mapping[str, Any], when: list[str], room: int) -> StepView:
    from dagtasks.model.template import STEP_KINDS

    needs = step.get("depends_on")
    text = show_value({key: value for key, value in step.items() if key not in _SHOWN_APART})
    return StepView(
        name=str(step.get("name", "")),
        kind=next((kind for kind in STEP_KINDS if kind in step), "step"),
        description=str(step.get("description") or ""),
        needs=[*map(str, needs), *when] if isinstance(needs, list) else when,
        condition=step.get("if"),
        text=text if len(text) <= room else text[:room] + "…",
    )
