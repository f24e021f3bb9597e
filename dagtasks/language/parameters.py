"""The values of a template's parameters: read from text, checked, filled up with defaults (03 section 2.3).

Everything wrong is told at once, as findings at ("parameters", name); values of sensitive parameters are never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.language.checking import Names, check_scalar
from dagtasks.language.evaluation import NO_FUNCTIONS, Functions, render_tree
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.functions import EvaluationError, fits, is_equal, parse_json
from dagtasks.language.kinds import Kind, describe, kind_name, object_of, parameter_kind
from dagtasks.language.syntax import ExpressionError, Scalar, references
from dagtasks.model.names import did_you_mean
from dagtasks.model.parameter import KEYWORDS, ROOTS, ParameterSpec, ParameterType, has_expression
from dagtasks.model.values import JSON, Ambiguous

Specs = Mapping[str, ParameterSpec]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")
_FORMS = {
    ParameterType.INTEGER: "write it in digits, as -7 or 42",
    ParameterType.NUMBER: "write it as in JSON: 7, -0.5, 1e3",
    ParameterType.BOOLEAN: "write true or false",
    ParameterType.ARRAY: 'write it as JSON, ["a", "b"], or give the parameter once for each item',
    ParameterType.OBJECT: 'write it as JSON: {"key": "value"}',
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Values by name, and what is wrong. With an error among the findings nothing may start."""

    values: Mapping[str, JSON]
    findings: tuple[Finding, ...] = ()


def read_texts(specs: Specs, texts: Iterable[tuple[str, str]]) -> Parameters:
    """The values that pairs of name and text stand for, by the declared types alone; no word is ever split.

    A name may come more than once only when its type is array: each text is then one item.
    """
    grouped: dict[str, list[str]] = {}
    for name, text in texts:
        grouped.setdefault(name, []).append(text)
    values: dict[str, JSON] = {}
    findings: list[Finding] = []
    for name, given in grouped.items():
        if name not in specs:
            findings.append(_unknown(specs, name))
            continue
        try:
            values[name] = read_text(specs[name], given)
        except EvaluationError as error:
            findings.append(_fault(name, error.message, error.hint))
    return Parameters(values, tuple(findings))


def read_values(specs: Specs, given: Mapping[str, JSON]) -> Parameters:
    """The values, each checked against the declared type; `null` stands for no value."""
    findings: list[Finding] = []
    for name, value in given.items():
        if name not in specs:
            findings.append(_unknown(specs, name))
        elif value is not None:
            findings += check_value(specs[name], value, ("parameters", name), f"`{name}`")
    return Parameters(merge(given), tuple(findings))


def read_text(spec: ParameterSpec, texts: Sequence[str]) -> JSON:
    """The value of one parameter from its text, or from one text for each item; raises `EvaluationError`."""
    if spec.type is ParameterType.ARRAY and (len(texts) > 1 or not texts[0].lstrip().startswith("[")):
        return [_read_one(spec.items, text, spec) if spec.items else text for text in texts]
    if len(texts) > 1:
        raise EvaluationError(f"is given {len(texts)} times", hint=f"a value of type {spec.type} is given once")
    return _read_one(spec, texts[0], spec)


def merge(*layers: Mapping[str, JSON]) -> dict[str, JSON]:
    """The values of all layers; the first layer that has one wins. `null` counts as not given."""
    merged: dict[str, JSON] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is not None:
                merged.setdefault(name, value)
    return merged


def resolve(
    specs: Specs, given: Mapping[str, JSON], scope: Mapping[str, JSON], functions: Functions = NO_FUNCTIONS
) -> Parameters:
    """The values of all parameters: those given, checked, and the defaults of the others.

    `scope` holds what defaults may use beside parameters: `task`, `project`, `phase`, `run`. An optional
    parameter without default is null.
    """
    given = merge(given)
    resolver = _Resolver(specs, scope, functions)
    resolver.findings += [_unknown(specs, name) for name in given if name not in specs]
    for name, spec in specs.items():
        if name in given:
            resolver.take(name, spec, given[name])
    resolver.fill()
    values = {name: resolver.values[name] for name in specs if name in resolver.values}
    return Parameters(values, tuple(resolver.findings))


def check_specs(specs: Specs, names: Names) -> list[Finding]:
    """What is wrong with the parameters of a template: their names, and their defaults.

    `names` says what defaults may use beside parameters.
    """
    findings = [finding for name in specs for finding in _check_name(name)]
    names = replace(names, kinds={**names.kinds, "params": parameters_kind(specs)})
    for name, spec in specs.items():
        findings += _check_default(name, spec, names)
        findings += _check_secrecy(name, specs)
    return [*findings, *_find_cycle(specs)]


def parameters_kind(specs: Specs) -> Kind:
    """What is known of `params`."""
    return object_of({name: parameter_kind(spec) for name, spec in specs.items()})


def check_value(spec: ParameterSpec, value: JSON, loc: Loc, label: str) -> list[Finding]:
    """What of the spec the value breaks; `label` is what messages call it."""
    if not spec.type.holds(value):
        return [Finding(loc, "DT305", f"{label} {_wrong_type(spec, value)}", _type_hint(spec, value))]
    return [
        *(Finding(loc, "DT305", f"{label} {message}", hint) for message, hint in _broken_rules(spec, value)),
        *_check_parts(spec, value, loc, label),
    ]


def _fault(name: str, message: str, hint: str = "") -> Finding:
    return Finding(("parameters", name), "DT305", f"`{name}` {message}", hint)


def _unknown(specs: Specs, name: str) -> Finding:
    hint = did_you_mean(name, specs) or (f"there is: {', '.join(specs)}" if specs else "the template has none")
    return Finding(("parameters", name), "DT305", f"there is no parameter `{name}`", hint[:300], on_key=True)


# --- from text


def _read_one(spec: ParameterSpec, text: str, outer: ParameterSpec) -> JSON:
    try:
        return _READERS[spec.type](text)
    except EvaluationError:
        shown = "" if outer.sensitive else f" {text[:60]!r}"
        message = f"is to be {describe(spec.type.value)}, and the text{shown} is none"
        raise EvaluationError(message, hint=_FORMS[spec.type]) from None


def _read_number(text: str) -> JSON:
    return parse_json(_read_form(_NUMBER, text))


def _read_form(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise EvaluationError("")
    return text


def _read_boolean(text: str) -> JSON:
    if text not in ("true", "false"):
        raise EvaluationError("")
    return text == "true"


def _read_typed(text: str, wanted: type) -> JSON:
    value = parse_json(text)
    if not isinstance(value, wanted):
        raise EvaluationError("")
    return value


_READERS: Mapping[ParameterType, Callable[[str], JSON]] = {
    ParameterType.STRING: lambda text: text,
    ParameterType.INTEGER: lambda text: int(_read_form(_INTEGER, text)),
    ParameterType.NUMBER: _read_number,
    ParameterType.BOOLEAN: _read_boolean,
    ParameterType.ARRAY: lambda text: _read_typed(text, list),
    ParameterType.OBJECT: lambda text: _read_typed(text, dict),
}


# --- values


def _wrong_type(spec: ParameterSpec, value: JSON) -> str:
    return f"must be {describe(spec.type.value)}, not {describe(kind_name(value))}"


def _type_hint(spec: ParameterSpec, value: JSON) -> str:
    if isinstance(value, Ambiguous):
        return "not every YAML reader takes it as text; quote it"
    if spec.type is ParameterType.STRING and isinstance(value, bool | int | float):
        return "quote it"
    return _FORMS.get(spec.type, "") if isinstance(value, str) else ""


def _broken_rules(spec: ParameterSpec, value: JSON) -> Iterator[tuple[str, str]]:
    """What is wrong with a value of the right type, each with a hint."""
    if spec.enum is not None and not any(is_equal(value, allowed) for allowed in spec.enum):
        near = "" if spec.sensitive else did_you_mean(str(value), map(str, spec.enum))
        yield f"must be one of {', '.join(map(str, spec.enum))}"[:500], near
    if isinstance(value, str) and spec.pattern is not None and not _matches_whole(spec.pattern, value):
        yield f"does not match the pattern {spec.pattern}", "the whole text must match"
    if isinstance(value, int | float):
        yield from _broken_limits("", spec.minimum, spec.maximum, value)
    if isinstance(value, str | list | tuple):
        unit = " characters" if isinstance(value, str) else " items"
        yield from _broken_limits(unit, spec.min_length, spec.max_length, len(value))


def _broken_limits(
    unit: str, least: float | None, greatest: float | None, value: int | float
) -> Iterator[tuple[str, str]]:
    verb = "must have" if unit else "must be"
    if least is not None and value < least:
        yield f"{verb} at least {least:.15g}{unit}", ""
    if greatest is not None and value > greatest:
        yield f"{verb} at most {greatest:.15g}{unit}", ""


def _matches_whole(pattern: str, value: str) -> bool:
    import re2  # only parameters with a pattern need it

    return re2.fullmatch(pattern, value) is not None


def _check_parts(spec: ParameterSpec, value: JSON, loc: Loc, label: str) -> Iterator[Finding]:
    if isinstance(value, list | tuple) and spec.items is not None:
        for position, item in enumerate(value):
            yield from check_value(_within(spec, spec.items), item, loc, f"{label} item {position + 1}")
    if isinstance(value, Mapping) and spec.properties is not None:
        yield from _check_properties(spec, spec.properties, value, loc, label)


def _check_properties(
    spec: ParameterSpec, properties: Specs, value: Mapping[str, JSON], loc: Loc, label: str
) -> Iterator[Finding]:
    for key in value:
        if key not in properties:
            yield Finding(loc, "DT305", f"{label} has an unknown key {key!r}", did_you_mean(key, properties))
    for key, part in properties.items():
        found = value.get(key)
        if found is not None:
            yield from check_value(_within(spec, part), found, loc, f"{label} key {key!r}")
        elif part.required:
            yield Finding(loc, "DT305", f"{label} needs the key {key!r}")


def _within(outer: ParameterSpec, part: ParameterSpec) -> ParameterSpec:
    """The spec of a part, as secret as the whole."""
    return part.model_copy(update={"sensitive": True}) if outer.sensitive else part


# --- defaults


class _Resolver:
    def __init__(self, specs: Specs, scope: Mapping[str, JSON], functions: Functions) -> None:
        self.specs = specs
        self.scope = scope
        self.functions = functions
        self.values: dict[str, JSON] = {}
        self.failed: set[str] = set()
        self.findings: list[Finding] = []

    def take(self, name: str, spec: ParameterSpec, value: JSON) -> None:
        if spec.deprecated:
            message = f"`{name}` is deprecated"
            self.findings.append(
                Finding(("parameters", name), "DT312", message, spec.description, Severity.WARNING, on_key=True)
            )
        self.keep(name, value)

    def keep(self, name: str, value: JSON) -> None:
        findings = check_value(self.specs[name], value, ("parameters", name), f"`{name}`")
        if findings:
            self.fail(name, findings)
        else:
            self.values[name] = value

    def fail(self, name: str, findings: Iterable[Finding] = ()) -> None:
        self.failed.add(name)
        self.findings += findings

    def fill(self) -> None:
        """Gives every other parameter its default, in an order in which each finds those it needs."""
        missing = {name: spec for name, spec in self.specs.items() if name not in {*self.values, *self.failed}}
        needs = {name: sorted({*_needed(spec, self.specs)} & missing.keys()) for name, spec in missing.items()}
        if cycle := _cycle_of(needs):
            self.findings.append(_cycle_finding(cycle))
            return
        for name in TopologicalSorter(needs).static_order():
            self.fill_one(name, missing[name])

    def fill_one(self, name: str, spec: ParameterSpec) -> None:
        if spec.default is None:
            self.fill_nothing(name, spec)
        elif not self.failed.isdisjoint(_needed(spec, self.specs)):
            self.fail(name)
        else:
            self.fill_default(name, spec)

    def fill_nothing(self, name: str, spec: ParameterSpec) -> None:
        if spec.required:
            self.fail(name, [_fault(name, f"is required ({spec.type})", spec.description)])
        else:
            self.values[name] = None

    def fill_default(self, name: str, spec: ParameterSpec) -> None:
        scope = {**self.scope, "params": self.values}
        try:
            value = render_tree(spec.default, scope, self.functions)
        except ExpressionError as error:
            self.fail(name, [_fault(name, f"has a default that cannot be read: {error.message}", error.hint)])
        except EvaluationError as error:
            self.fail(name, [_fault(name, f"has a default without a value here: {error.message}", error.hint)])
        else:
            self.keep_default(name, spec, value)

    def keep_default(self, name: str, spec: ParameterSpec, value: JSON) -> None:
        if value is None:
            self.fill_nothing(name, spec)
        else:
            self.keep(name, value)


def _check_name(name: str) -> list[Finding]:
    if name not in ROOTS | KEYWORDS:
        return []
    message = f"a parameter cannot be called `{name}`: expressions use the word for something else"
    return [Finding(("parameters", name), "DT305", message, f"call it {name}_name or the like", on_key=True)]


def _check_default(name: str, spec: ParameterSpec, names: Names) -> list[Finding]:
    loc = ("parameters", name, "default")
    if spec.default is None:
        return []
    if not has_expression(spec.default):
        return check_value(spec, spec.default, loc, f"the default of `{name}`")
    findings: list[Finding] = []
    for place, scalar in _scalars(spec.default, loc):
        if isinstance(scalar, ExpressionError):
            findings.append(scalar.finding(place))
            continue
        checked = check_scalar(scalar, names, place)
        findings += checked.findings
        if place == loc and not fits(spec.type.value, checked.kind.name):
            message = f"the default of `{name}` is {checked.kind}, not {describe(spec.type.value)}"
            findings.append(Finding(place, "DT303", message, offset=0))
    return findings


def _check_secrecy(name: str, specs: Specs) -> list[Finding]:
    read = [other for other in _needed(specs[name], specs) if specs[other].sensitive]
    if specs[name].sensitive or not read:
        return []
    message = f"the default of `{name}` reads `{read[0]}`, which is sensitive"
    return [Finding(("parameters", name, "default"), "DT305", message, f"make `{name}` sensitive too")]


def _scalars(value: JSON, loc: Loc) -> Iterator[tuple[Loc, Scalar | ExpressionError]]:
    """All texts in the value, parsed, each with its place."""
    if isinstance(value, str):
        try:
            yield loc, parse_scalar(value)
        except ExpressionError as error:
            yield loc, error
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _scalars(item, (*loc, key))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _scalars(item, (*loc, position))


def _needed(spec: ParameterSpec, specs: Specs) -> Iterator[str]:
    """The parameters that the default reads; `params` as a whole reads all."""
    for _, scalar in _scalars(spec.default, ()):
        for hole in scalar.holes if isinstance(scalar, Scalar) else ():
            for reference in references(hole.expr):
                if reference.path == ("params",):
                    yield from specs
                elif reference.path[0] == "params" and reference.path[1] in specs:
                    yield reference.path[1]


def _find_cycle(specs: Specs) -> list[Finding]:
    cycle = _cycle_of({name: sorted({*_needed(spec, specs)}) for name, spec in specs.items()})
    return [_cycle_finding(cycle)] if cycle else []


def _cycle_of(needs: Mapping[str, list[str]]) -> list[str]:
    """One circle, from a parameter back to itself; empty when there is none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[::-1]
    return []


def _cycle_finding(cycle: list[str]) -> Finding:
    loc = ("parameters", cycle[0], "default")
    return Finding(loc, "DT306", f"defaults need each other: {' -> '.join(cycle)}", "give one of them a fixed default")
