"""What expressions at each place of a template may name, and what is known of the values (03 sections 2.4-2.9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from dagtasks.errors import Loc
from dagtasks.language.checking import Names, check_scalar
from dagtasks.language.expressions import parse_condition, parse_scalar
from dagtasks.language.kinds import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    STRINGS,
    Kind,
    array_of,
    common_kind,
    kind_of,
    object_of,
    parameter_kind,
)
from dagtasks.language.syntax import Expr, ExpressionError, find_calls, references
from dagtasks.model.names import did_you_mean
from dagtasks.model.template import Step, StepOutput, Template
from dagtasks.planning.steps import Role

STATUS_FUNCTIONS = frozenset({"success", "failure", "always", "cancelled"})
LATE_FUNCTIONS = STATUS_FUNCTIONS - {"success"}
"""A step whose condition calls one of these may run although those before it did not."""

TASK_KIND = object_of(
    {
        **dict.fromkeys(("id", "name", "project", "status", "priority", "description", "path"), STRING),
        **dict.fromkeys(("assignee", "phase", "due"), STRING.or_null()),
        **dict.fromkeys(("labels", "depends_on"), STRINGS),
        "metadata": ANY,
    }
)
PROJECT_KIND = object_of({**dict.fromkeys(("key", "name", "description", "path"), STRING), "metadata": ANY})
PHASE_KIND = object_of(
    {**dict.fromkeys(("key", "name", "description", "project", "path"), STRING), "order": INTEGER}
).or_null()
RUN_KIND = object_of(
    {
        **dict.fromkeys(("id", "trigger", "started_at", "status"), STRING),
        **dict.fromkeys(("actor", "commit", "branch"), STRING.or_null()),
        "dirty": BOOLEAN,
        "attempt": INTEGER,
        "failed_steps": STRINGS,
    }
)
RESPONSE_KIND = object_of({"status": INTEGER, "headers": OBJECT, "body": STRING, "json": ANY})
ERROR_KIND = object_of({"code": STRING.or_null(), "message": STRING.or_null()})

NO_LOOP = "the step has no `foreach` and no `matrix`"
ONLY_THERE = "a secret can stand in `env`, and in `auth`, headers and the body of api steps; nowhere else"
TOO_EARLY = "no step has run yet where this is looked at"
NOT_HERE = {
    **dict.fromkeys(("item", "item_index", "matrix"), NO_LOOP),
    "secrets": ONLY_THERE,
    "trigger": "this version does not have it",
    "response": "only `success_condition` of an api step sees it",
}
_OF_LOOP = ("output", "stderr", "exit_code", "status_code", "headers", "json")
"""What each item of a step that loops gives by itself."""


class Lost(NamedTuple):
    """What a template declares in a way that cannot be read: nothing is known of it but that it is there.

    `unnamed` are steps that stand for some whose names cannot be read.
    """

    params: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    unnamed: frozenset[str] = frozenset()
    secrets: bool = False
    all_params: bool = False


NOTHING = Lost()


class Misuse(NamedTuple):
    """A name that is there, but not for the one who uses it."""

    code: str
    message: str
    offset: int
    hint: str = ""


def names_of(template: Template) -> Names:
    """What expressions in all steps of the template may use."""
    return Scopes(template).of_all_steps


@dataclass(frozen=True)
class Scopes:
    """What expressions may use at each place of one template."""

    template: Template
    lost: Lost = NOTHING

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """The parameters that are treated as secrets."""
        return frozenset(name for name, spec in self.template.parameters.items() if spec.sensitive)

    @cached_property
    def of_run(self) -> Names:
        """Where no step has run yet."""
        return Names(self._kinds, refused={**NOT_HERE, "steps": TOO_EARLY})

    @cached_property
    def of_all_steps(self) -> Names:
        """In a step whose predecessors have all succeeded or were skipped."""
        return Names({**self._kinds, "steps": self._steps(late=False)}, refused=NOT_HERE)

    @cached_property
    def of_late_steps(self) -> Names:
        """In a step that may run although others did not: what those give may be null."""
        return Names({**self._kinds, "steps": self._steps(late=True)}, refused=NOT_HERE)

    @cached_property
    def _kinds(self) -> Mapping[str, Kind]:
        return {
            "params": self._params,
            "task": TASK_KIND,
            "project": PROJECT_KIND,
            "phase": PHASE_KIND,
            "run": RUN_KIND,
        }

    @cached_property
    def _params(self) -> Kind:
        if self.lost.all_params:
            return ANY
        known = {name: parameter_kind(spec) for name, spec in self.template.parameters.items()}
        return object_of({**known, **dict.fromkeys(self.lost.params, ANY)})

    def _steps(self, *, late: bool) -> Kind:
        steps = [step for step in self.template.all_steps if step.name not in self.lost.unnamed]
        known = {step.name: step_kind(step, late=late) for step in steps}
        return object_of({**known, **dict.fromkeys(self.lost.steps, ANY)})

    @cached_property
    def _finally(self) -> Mapping[str, int]:
        return {step.name: place for place, step in enumerate(self.template.finally_)}

    def of_step(self, step: Step) -> StepScope:
        """What expressions in the step may use."""
        late = step.name in self._finally or _asks_for_others(step)
        return StepScope(self, self.of_late_steps if late else self.of_all_steps, step)

    def with_secrets(self, names: Names) -> Names:
        """The names, where secrets are allowed."""
        refused = {name: why for name, why in names.refused.items() if name != "secrets"}
        return replace(names, kinds={**names.kinds, "secrets": OBJECT}, refused=refused)

    def find_misuses(self, expr: Expr, reader: Step | None, *, takes_secrets: bool) -> Iterator[Misuse]:
        """Steps that run after the reader, unknown secrets, and sensitive parameters where nothing secret may stand."""
        for path, offset in references(expr):
            if path[0] == "steps" and len(path) > 1:
                yield from self._find_late(path[1], reader, offset)
            if path[0] == "secrets" and len(path) > 1 and (fault := self.find_secret_fault(path[1])):
                yield Misuse("DT302", fault[0], offset, fault[1])
            if path[0] == "params" and not takes_secrets and self.sensitive.intersection(path[1:2] or self.sensitive):
                what = f"`{path[1]}` is sensitive" if len(path) > 1 else "`params` holds sensitive parameters"
                yield Misuse("DT302", f"{what} and cannot be used here", offset, ONLY_THERE)

    def find_secret_fault(self, name: str) -> tuple[str, str] | None:
        """Message and hint, when the template declares no such secret."""
        if self.lost.secrets or name in self.template.secrets:
            return None
        hint = did_you_mean(name, self.template.secrets) or "add it to `secrets` at the top level"
        return f"the template declares no secret `{name}`", hint

    def _find_late(self, name: str, reader: Step | None, offset: int) -> Iterator[Misuse]:
        if reader is None or name not in self._finally:
            return
        if reader.name not in self._finally:
            message = f"`{name}` is a step of `finally`, and those begin when all others have ended"
            yield Misuse("DT325", message, offset, "only steps of `finally` after it can read it")
        elif self._finally[name] >= self._finally[reader.name]:
            which = "itself" if name == reader.name else f"`{name}`, which comes after it"
            yield Misuse(
                "DT325", f"a step of `finally` cannot read {which}", offset, "they run in the order of the list"
            )


@dataclass(frozen=True)
class StepScope:
    """What expressions in one step may use."""

    scopes: Scopes
    before: Names
    step: Step

    def at(self, place: Loc, role: Role = "text") -> Names:
        """What they may use at a place of the step, counted from the step."""
        names = self.before if place[:1] in (("foreach",), ("matrix",)) else self._in_loop
        if takes_secrets(place):
            names = self.scopes.with_secrets(names)
        if place == ("api", "url"):
            names = replace(names, functions=names.functions | {"raw"})
        if role == "condition":
            names = replace(names, functions=names.functions | STATUS_FUNCTIONS)
        return self._with_response(names) if role == "expression" else names

    @cached_property
    def _in_loop(self) -> Names:
        kinds = self._loop_kinds()
        refused = {name: why for name, why in self.before.refused.items() if name not in kinds}
        return replace(self.before, kinds={**self.before.kinds, **kinds}, refused=refused) if kinds else self.before

    def _loop_kinds(self) -> dict[str, Kind]:
        if self.step.matrix:
            return {"matrix": object_of({axis: self._item_kind(loop) for axis, loop in self.step.matrix.items()})}
        if self.step.foreach is None:
            return {}
        return {"item": self._item_kind(self.step.foreach), "item_index": INTEGER}

    def _item_kind(self, loop: Any) -> Kind:
        if isinstance(loop, list):
            return common_kind([self._kind_of(item) for item in loop])
        return self._kind_of(loop).items or ANY

    def _kind_of(self, value: Any) -> Kind:
        if not isinstance(value, str):
            return kind_of(value)
        with suppress(ExpressionError):
            return check_scalar(parse_scalar(value), self.before).kind
        return ANY

    @staticmethod
    def _with_response(names: Names) -> Names:
        refused = {name: why for name, why in names.refused.items() if name != "response"}
        return replace(names, kinds={**names.kinds, "response": RESPONSE_KIND}, refused=refused)


def takes_secrets(place: Loc) -> bool:
    """Whether the place, counted from the step, may hold a secret (03 section 2.9)."""
    if place[:1] == ("env",) or (place[1:2] == ("env",) and place[0] in ("container", "script")):
        return True
    return place[:1] == ("api",) and place[1:2] in (("auth",), ("headers",), ("json",), ("form",), ("body",))


def _asks_for_others(step: Step) -> bool:
    """Whether the step may run although a step before it did not succeed."""
    if not isinstance(step.if_, str):
        return False
    with suppress(ExpressionError):
        return any(call.name in LATE_FUNCTIONS for call in find_calls(parse_condition(step.if_)))
    return False


def step_kind(step: Step, *, late: bool = False) -> Kind:
    """What is known of `steps.<name>`; `late` for one who may look at it although it never ran."""
    may_be_null = late or step.if_ is not None
    fields = _fields_of(step, may_be_null=may_be_null)
    if step.foreach is None and not step.matrix:
        return object_of(fields)
    single = object_of(_fields_of(step, may_be_null=may_be_null or step.continue_on_error))
    return object_of({**fields, **_looped(single, may_be_null=may_be_null), "items": array_of(single)})


def _fields_of(step: Step, *, may_be_null: bool) -> dict[str, Kind]:
    text = STRING.or_null() if may_be_null or step.approval else STRING
    status = INTEGER.or_null() if may_be_null or step.continue_on_error else INTEGER
    return {
        **dict.fromkeys(("output", "stderr"), text),
        **dict.fromkeys(("state", "outcome", "conclusion"), STRING),
        "exit_code": INTEGER.or_null(),
        "attempts": INTEGER,
        "duration": NUMBER,
        "outputs": _outputs_of(step, may_be_null=may_be_null or step.continue_on_error),
        "artifacts": object_of(
            {key: _nullable(STRING, may_be_null or spec.optional) for key, spec in step.artifacts.items()}
        ),
        "error": ERROR_KIND,
        **({"status_code": status, "headers": OBJECT, "json": ANY} if step.api else {}),
    }


def _outputs_of(step: Step, *, may_be_null: bool) -> Kind:
    if step.workflow:
        return ANY
    if step.approval:
        kinds = {name: parameter_kind(spec) for name, spec in step.approval.parameters.items()}
    else:
        kinds = {name: _output_kind(spec) for name, spec in step.outputs.items()}
    return object_of({name: _nullable(kind, may_be_null) for name, kind in kinds.items()})


def _output_kind(spec: StepOutput) -> Kind:
    kind = STRING if spec.format == "text" else ANY
    return common_kind([kind, kind_of(spec.default)]) if "default" in spec.model_fields_set else kind


def _looped(single: Kind, *, may_be_null: bool) -> dict[str, Kind]:
    """Lists of what each item gives."""
    fields = single.fields or {}
    lists = {name: _nullable(array_of(fields[name]), may_be_null) for name in _OF_LOOP if name in fields}
    return {**lists, **{name: _lists_of(fields[name], may_be_null=may_be_null) for name in ("outputs", "artifacts")}}


def _lists_of(kind: Kind, *, may_be_null: bool) -> Kind:
    if kind.fields is None:
        return ANY
    return object_of({key: _nullable(array_of(part), may_be_null) for key, part in kind.fields.items()})


def _nullable(kind: Kind, may_be_null: bool) -> Kind:  # noqa: FBT001 - a kind and whether it may be null is one thought
    return kind.or_null() if may_be_null else kind
