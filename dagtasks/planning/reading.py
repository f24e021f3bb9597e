"""Reads what a template file says, and of one that is wrong as much as can be used: nothing hides anything else."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from dagtasks.errors import Finding, Loc
from dagtasks.model import template as model
from dagtasks.model.fields import findings_of
from dagtasks.model.names import near_names
from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.template import IDENT, STEP_KINDS, TRANSLATIONS, Template
from dagtasks.planning.names import NOTHING, Lost

CODES = {
    "DT320": "A key that templates do not have. Other engines may call it so: the message then names the right word.",
}

_ROUNDS = 20
_STAND_INS: Mapping[str, tuple[str, str]] = {
    "container": ("image", "image"),
    "script": ("source", ""),
    "api": ("url", "https://localhost"),
    "workflow": ("template", "template"),
    "approval": ("message", "?"),
}
"""What each kind of step cannot be without, and something to stand there when it is wrong or missing."""
_LISTED: Mapping[str, Callable[[int], dict[str, str]]] = {
    "mounts": lambda place: {"path": f"/{place}", "repo": "ro"},
    "export": lambda place: {"from": f"/{place}", "to": f"{place}"},
}
"""Lists whose items have places, and something to stand for one of them."""
_NAMED = ("env", "outputs", "artifacts", "matrix", "services", "headers", "updates", "defaults")
"""Maps of which each entry is by itself."""
_GIVING = ("name", "outputs", "artifacts", "foreach", "matrix", "approval")
"""Keys that decide what others can read of a step."""
_ONE_OF = ("file", "json", "form", "body")
"""Keys that contradict others of their kind."""


class Reading(NamedTuple):
    """What could be read: the template and its data without what is wrong; None when that is nothing at all.

    `lost` are names that are there, but of which nothing is known.
    """

    template: Template | None
    data: dict[str, Any]
    findings: list[Finding]
    lost: Lost = NOTHING


def read_template(data: Mapping[str, Any]) -> Reading:
    """The template that the data says, and everything that has the wrong form in it."""
    known = copy.deepcopy(dict(data))
    findings = [*_read_defaults(known)]
    lost = _Losses()
    for _ in range(_ROUNDS):
        try:
            return Reading(Template.model_validate(known), known, _unique(findings), lost.lost)
        except ValidationError as error:
            found = findings_of(error)
        findings += map(_explain, found)
        helped = [_leave_out(known, finding, lost) for finding in found]
        if not any(helped):
            break
    return Reading(None, {}, _unique(findings))


def _unique(findings: Iterable[Finding]) -> list[Finding]:
    return list(dict.fromkeys(findings))


# -- leaving out what is wrong --------------------------------------------------------------------------------------


class _Losses:
    """Names that are declared in a way that cannot be read."""

    def __init__(self) -> None:
        self.params: set[str] = set()
        self.steps: set[str] = set()
        self.unnamed: set[str] = set()
        self.roots: set[str] = set()

    def take_step(self, name: str, *, is_named: bool) -> None:
        """Take in that nobody can say what the step gives, and whether it has that name in the file."""
        if not is_named:
            self.unnamed.add(name)
        elif name not in self.unnamed:
            self.steps.add(name)

    @property
    def lost(self) -> Lost:
        return Lost(
            frozenset(self.params),
            frozenset(self.steps),
            frozenset(self.unnamed),
            secrets="secrets" in self.roots,
            all_params="parameters" in self.roots,
        )


def _leave_out(known: dict[str, Any], finding: Finding, losses: _Losses) -> bool:
    """Take out of the data what the finding is about; whether that helps."""
    loc = finding.loc
    if finding.code == "DT125":
        return _delete(known, loc)
    if not loc:
        return _add_metadata(known)
    match loc[0]:
        case "steps" | "finally" if len(loc) > 1:
            return _leave_out_of_step(known[loc[0]], finding, losses)
        case "parameters" if len(loc) > 1:
            losses.params.add(str(loc[1]))
            return _delete(known, loc[:2])
        case "metadata":
            return _leave_out_of_metadata(known, finding)
        case "steps":
            return False
        case _:
            losses.roots.add(str(loc[0]))
            return _delete_entry(known, loc)


def _add_metadata(known: dict[str, Any]) -> bool:
    if known.get("metadata") is not None:
        return False
    known["metadata"] = {"name": "template"}
    return True


def _leave_out_of_metadata(known: dict[str, Any], finding: Finding) -> bool:
    loc = finding.loc
    if finding.code == "DT120" or len(loc) == 1 or loc[1] == "name":
        known["metadata"] = {"name": "template"}
        return True
    return _delete(known, loc[:2])


def _leave_out_of_step(steps: list[Any], finding: Finding, losses: _Losses) -> bool:
    """The step without what is wrong; where nothing of it can be used, another one that has its name."""
    place, rest = int(finding.loc[1]), finding.loc[2:]
    name = _name_of(steps[place]) or f"{finding.loc[0]}-{place}"
    if len(rest) < 2 or rest[0] in _GIVING:
        losses.take_step(name, is_named=_name_of(steps[place]) is not None)
    if rest[:1] == ("name",) and isinstance(steps[place], dict):
        steps[place]["name"] = name
        return True
    if rest and rest[0] in STEP_KINDS and isinstance(body := steps[place].get(rest[0]), dict):
        return _leave_out_of_kind(str(rest[0]), body, rest[1:])
    if rest and rest[0] not in STEP_KINDS:
        return _delete_entry(steps[place], rest)
    return _replace_step(steps, place, name)


def _replace_step(steps: list[Any], place: int, name: str) -> bool:
    step = steps[place] if isinstance(steps[place], dict) else {}
    others = {key: value for key, value in step.items() if key not in STEP_KINDS}
    if _name_of(step):
        others = {"name": name, "depends_on": step.get("depends_on")}
    steps[place] = {**others, "name": name, "approval": {"message": "?"}}
    return True


def _leave_out_of_kind(kind: str, body: dict[str, Any], rest: Loc) -> bool:
    """The body of a step without what is wrong, and with what it cannot be without."""
    needed, stand_in = _STAND_INS[kind]
    if len(rest) > 1 and rest[0] in _LISTED and isinstance(body.get(str(rest[0])), list):
        body[str(rest[0])][int(rest[1])] = _LISTED[str(rest[0])](int(rest[1]))
        return True
    if rest and rest[0] != needed:
        return _delete_entry(body, rest)
    before = dict(body)
    for key in () if rest else _ONE_OF:
        body.pop(key, None)
    body[needed] = body[needed] if not rest and isinstance(body.get(needed), str) else stand_in
    return body != before


def _name_of(step: Any) -> str | None:
    name = step.get("name") if isinstance(step, dict) else None
    return name if isinstance(name, str) and re.fullmatch(IDENT, name) and len(name) <= 63 else None


def _delete_entry(inside: dict[str, Any], loc: Loc) -> bool:
    """Take out the key, or of a map with names of the user's own only the entry; whether it was there."""
    is_entry = len(loc) > 1 and loc[0] in _NAMED and isinstance(inside.get(str(loc[0])), dict)
    return _delete(inside, loc[: 2 if is_entry else 1])


def _delete(inside: Any, loc: Loc) -> bool:
    """Take the key out; False when there is none."""
    for part in loc[:-1]:
        if not isinstance(inside, dict | list) or (isinstance(inside, dict) and part not in inside):
            return False
        inside = inside[part]  # type: ignore[index]
    if isinstance(inside, dict) and loc and loc[-1] in inside:
        del inside[loc[-1]]
        return True
    return False


# -- defaults -------------------------------------------------------------------------------------------------------


def _read_defaults(known: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong in `defaults`, which is taken out: it would come back with each step."""
    defaults = known.get("defaults")
    if not isinstance(defaults, dict):
        return
    for kind in ("container", "script", "api"):
        if isinstance(defaults.get(kind), dict):
            yield from _read_default(defaults, kind)


def _read_default(defaults: dict[str, Any], kind: str) -> Iterator[Finding]:
    given = defaults[kind]
    needed, stand_in = _STAND_INS[kind]
    whole = given if {needed, "file"} & given.keys() else {**given, needed: stand_in}
    try:
        _MODELS[kind].model_validate(whole)
    except ValidationError as error:
        for finding in findings_of(error):
            yield _explain(finding._replace(loc=("defaults", kind, *finding.loc)))
            loc = finding.loc if finding.code == "DT125" else finding.loc[:1]
            if not _delete(given, loc):
                defaults[kind] = {}


def in_defaults(finding: Finding, data: Mapping[str, Any]) -> Finding:
    """The finding where its text stands: what a step has from `defaults` is wrong there, and once.

    That it does nothing for one of the steps (DT329) is no fault there.
    """
    part, place, *rest = (*finding.loc, None, None)[: max(len(finding.loc), 2)]
    if part not in ("steps", "finally") or not rest:
        return finding
    is_env = rest[0] in STEP_KINDS and rest[1:2] == ["env"]
    owned = rest[: 1 if rest[0] in ("retry", "timeout") else 3 if is_env else 2]
    if _has(data[part][place], owned) or not _has(data.get("defaults"), owned):
        return finding
    return finding._replace(loc=("defaults", *finding.loc[2:]))


def _has(value: Any, path: Sequence[Any]) -> bool:
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


# -- words ----------------------------------------------------------------------------------------------------------

_MODELS: Mapping[str, type[BaseModel]] = {
    "metadata": model.Metadata,
    "parameters": ParameterSpec,
    "items": ParameterSpec,
    "properties": ParameterSpec,
    "defaults": model.Defaults,
    "steps": model.Step,
    "finally": model.Step,
    "updates": model.Updates,
    "retry": model.Retry,
    "concurrency": model.Concurrency,
    "artifacts": model.Artifact,
    "container": model.Container,
    "mounts": model.Mount,
    "export": model.Export,
    "services": model.Service,
    "ready": model.Ready,
    "script": model.Script,
    "api": model.Api,
    "auth": model.Auth,
    "basic": model.BasicAuth,
    "header": model.HeaderAuth,
    "workflow": model.Call,
    "approval": model.Approval,
}
"""The part that stands below each key; `outputs` are others in a step than at the top."""
_BY_NAME = {"parameters", "properties", "outputs", "artifacts", "services"}
"""Keys below which stand names of the user's own."""


def _explain(finding: Finding) -> Finding:
    """An unknown key in the words of templates; everything else as it is."""
    if finding.code != "DT125":
        return finding
    return finding._replace(code="DT320", hint=hint_for(str(finding.loc[-1]), finding.loc[:-1]))


def hint_for(word: str, loc: Loc) -> str:
    """What may be meant by a key that is not known at the place."""
    here = _keys_of(_model_at(loc))
    if meant := TRANSLATIONS.get(word) or (word if word in _EVERYWHERE else None):
        return _where(meant, here)
    below = {key: part for part in sorted(here & _MODELS.keys()) for key in _keys_of(_MODELS[part])}
    if near := near_names(word, here, limit=1) or near_names(word, below, limit=1):
        return f"did you mean {(near[0] if near[0] in here else f'{below[near[0]]}.{near[0]}')!r}?"
    return f"there is: {', '.join(sorted(here))}" if len(here) < 10 else ""


def _where(meant: str, here: set[str]) -> str:
    """Where the word belongs: here, into a part of what is here, or elsewhere."""
    part, _, word = meant.rpartition(".")
    if word == "command" and "source" in here:
        return "write `source`"
    if part and here == _keys_of(_MODELS[part]):
        return f"write `{word}`"
    if meant in here or part in here:
        return f"write `{meant}`"
    owners = [part] if part else [name for name, owner in _OWNERS.items() if word in _keys_of(owner)]
    below = [name for name in owners if name in here and name != "steps"]
    if below:
        return f"write `{below[0]}.{word}`"
    return f"`{word}` is a key of {_PLACES.get(owners[0], f'`{owners[0]}`')}" if owners else ""


def _model_at(loc: Loc) -> type[BaseModel]:
    """The part that a place belongs to."""
    found: type[BaseModel] = Template
    parts = iter(loc)
    for part in parts:
        if isinstance(part, str):
            found = _child(found, part)
            if part in _BY_NAME:
                next(parts, None)
    return found


def _child(parent: type[BaseModel], key: str) -> type[BaseModel]:
    if key == "outputs":
        return model.Output if parent is Template else model.StepOutput
    return _MODELS.get(key, parent)


def _keys_of(part: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in part.model_fields.items()}


_OWNERS: Mapping[str, type[BaseModel]] = {
    **{name: _MODELS[name] for name in ("metadata", "steps", "container", "script", "api", "workflow", "approval")},
    "": Template,
    **{name: part for name, part in _MODELS.items() if name not in ("items", "properties", "finally")},
}
"""The parts that a key may belong to, the likeliest first."""
_PLACES = {"": "the top level", "steps": "a step"}
_PARTS: list[type[BaseModel]] = [*_MODELS.values(), Template, model.Output, model.StepOutput]
_EVERYWHERE = {key for part in _PARTS for key in _keys_of(part)}
