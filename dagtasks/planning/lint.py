"""What is not wrong with a template and still worth a remark (03 section 2.11). Each can be switched off by name.

Warnings are told wherever files are validated. Advice is told by `template validate` alone, so that it drowns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.language.evaluation import evaluate
from dagtasks.language.expressions import parse_condition, parse_scalar
from dagtasks.language.functions import EvaluationError
from dagtasks.language.quoting import MARK
from dagtasks.language.syntax import Comparison, Expr, ExpressionError, Hole, Logic, Not, find_calls, references
from dagtasks.model.names import did_you_mean
from dagtasks.model.parameter import ParameterSpec, ParameterType
from dagtasks.model.summary import TemplateSummary
from dagtasks.model.template import Step, Template
from dagtasks.planning.forms import is_fixed
from dagtasks.planning.references import ReferenceFault, find_called, parse_reference
from dagtasks.planning.steps import Spot, expressions_in, parse_spot, spots_of, texts_of
from dagtasks.planning.summaries import places_of
from dagtasks.settings import LINTS

CODES = {
    "DT340": "`annotations.lint` of a template switches remarks off that do not exist, or is not written as "
    "`lint: {off: [latest-image]}`.",
    "DT341": "A condition that always holds; it does nothing, and often something else was meant (`always-true-if`).",
    "DT342": "A variable whose name says that it is secret has a value that is not: it stands in the file, or in a "
    "parameter that goes into records. Use `secrets`, or a `sensitive` parameter (`secret-name-in-plain-env`).",
    "DT343": "`max_parallel` or `fail_fast` of a step that does not loop does nothing (`no-loop`).",
    "DT344": "A value that begins with `-` would be taken as an option. Put `--` before it, where the program knows "
    "that (`dash-value`).",
    "DT345": "An image without a version, or `latest`: it is another one tomorrow (`latest-image`).",
    "DT346": "Nothing in the template says how long it may take, so `engine.timeout` alone ends it (`no-timeout`).",
    "DT347": "A parameter that nothing in the template uses (`unused-parameter`).",
    "DT348": "A call takes any version of a template that has one (`unpinned-template`).",
    "DT349": "A loop over a list of unknown length, without `max_parallel` (`foreach-without-limit`).",
    "DT350": "`${...}` in the text of a script is the script's own, and looks like a parameter (`source-parameter`).",
    "DT351": "What ShellCheck says of a command or script; its page explains the number (`shellcheck`).",
}
CODES_OF_LINTS: Mapping[str, str] = dict(
    zip(
        LINTS,
        (*(f"DT30{number}" for number in (8, 9)), "DT310", *(f"DT{number}" for number in range(341, 352))),
        strict=True,
    )
)
"""The code of each remark, by the name that switches it off."""


def codes_of(names: Iterable[str]) -> frozenset[str]:
    """The codes of the remarks with these names; unknown names have none."""
    return frozenset(CODES_OF_LINTS[name] for name in names if name in CODES_OF_LINTS)


def find_off(data: Mapping[str, Any]) -> tuple[frozenset[str], list[Finding]]:
    """The codes that the template itself switches off, and what is wrong with how it says so."""
    metadata = data.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    lint = annotations.get("lint") if isinstance(annotations, Mapping) else None
    loc: Loc = ("metadata", "annotations", "lint")
    if lint is None:
        return frozenset(), []
    off = lint.get("off") if isinstance(lint, Mapping) else None
    if not isinstance(off, list):
        return frozenset(), [_remark(loc, "DT340", "`lint` is written as {off: [names]}", f"names: {', '.join(LINTS)}")]
    unknown = [(place, str(name)) for place, name in enumerate(off) if name not in LINTS]
    return codes_of(map(str, off)), [
        _remark((*loc, "off", place), "DT340", f"there is no remark {name!r}", did_you_mean(name, LINTS))
        for place, name in unknown
    ]


def _remark(loc: Loc, code: str, message: str, hint: str = "", offset: int | None = None) -> Finding:
    return Finding(loc, code, message, hint, Severity.WARNING, offset)


def _advice(loc: Loc, code: str, message: str, hint: str = "", offset: int | None = None) -> Finding:
    return Finding(loc, code, message, hint, Severity.NOTE, offset)


# -- warnings -------------------------------------------------------------------------------------------------------


def find_warnings(template: Template) -> Iterator[Finding]:
    """What is told wherever files are validated."""
    yield from _check_condition(template.if_, ("if",))
    yield from _check_env(template, template.env, ("env",))
    for loc, step in places_of(template):
        yield from _check_condition(step.if_, (*loc, "if"))
        yield from _check_env(template, step.env, (*loc, "env"))
        for kind, body in (("container", step.container), ("script", step.script)):
            yield from _check_env(template, body.env if body else {}, (*loc, kind, "env"))
        yield from _check_loop_keys(step, loc)


def _check_condition(condition: Any, loc: Loc) -> Iterator[Finding]:
    try:
        holds = condition if isinstance(condition, bool) else _is_always(parse_condition(str(condition or "")))
    except ExpressionError:
        return
    if holds:
        yield _remark(loc, "DT341", "the condition always holds", "take it out, or say what it should depend on")


def _is_always(expr: Expr) -> bool | None:
    """Whether the condition is true, or false, whatever the run does; None when that cannot be said."""
    match expr:
        case Not():
            inside = _is_always(expr.value)
            return None if inside is None else not inside
        case Logic():
            known = [_is_always(operand) for operand in expr.operands]
            decides = expr.operator == "||"
            return decides if decides in known else None if None in known else not decides
        case Comparison(operator="==" | "<=" | ">=") if _shape(expr.left) == _shape(expr.right):
            return True
    if any(True for _ in references(expr)) or any(True for _ in find_calls(expr)):
        return None
    try:
        value = evaluate(expr, {})
    except EvaluationError:
        return None
    return value if isinstance(value, bool) else None


def _shape(expr: Expr) -> str:
    """The same for expressions that are written alike."""
    return re.sub(r"offset=\d+", "", repr(expr))


_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(?:API|ACCESS|PRIVATE|SECRET|SIGNING)_?KEY)(?:$|_)"
)
_HARMLESS_NAME = re.compile(r"_(?:FILE|PATH|DIR|URL|NAME|ID|TTL|LENGTH|TYPE)$")


def _check_env(template: Template, env: Mapping[str, Any], loc: Loc) -> Iterator[Finding]:
    for name, value in env.items():
        if _sounds_secret(name) and isinstance(value, str) and (reason := _find_plain(template, value)):
            hint = "write ${secrets." + name.upper() + "}, and declare it in `secrets`"
            yield _remark((*loc, name), "DT342", f"`{name}` looks like a secret, and {reason}", hint)


def _sounds_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name.upper())) and not _HARMLESS_NAME.search(name.upper())


def _find_plain(template: Template, value: str) -> str:
    """Why the value is not kept secret; empty when it is, or when that cannot be said."""
    try:
        holes = parse_scalar(value).holes
    except ExpressionError:
        return ""
    if not holes:
        return "its value stands in the file" if value else ""
    paths = [path for hole in holes for path, _ in references(hole.expr)]
    plain = [path[1] for path in paths if path[0] == "params" and len(path) > 1 and path[1] in template.parameters]
    if plain and all(path[0] == "params" for path in paths):
        shown = [name for name in plain if not template.parameters[name].sensitive]
        return f"the parameter `{shown[0]}` is not sensitive" if len(shown) == len(plain) else ""
    return ""


def _check_loop_keys(step: Step, loc: Loc) -> Iterator[Finding]:
    if step.foreach is None and not step.matrix:
        for key in ("max_parallel", "fail_fast"):
            if key in step.model_fields_set:
                message = f"`{key}` does nothing in a step without `foreach` or `matrix`"
                hint = "take it out, or write it at the top level"
                yield _remark((*loc, key), "DT343", message, hint)._replace(on_key=True)


# -- advice ---------------------------------------------------------------------------------------------------------


def find_advice(template: Template, data: Mapping[str, Any], known: Mapping[str, TemplateSummary]) -> list[Finding]:
    """What is told by `template validate` alone. `data` has `defaults` in its steps; `known` are all templates."""
    spots = [spot for loc, _ in places_of(template) for spot in spots_of(data[str(loc[0])][loc[1]], loc)]
    found = [*_check_timeouts(template), *_check_unused(template, data, spots)]
    for spot in spots:
        if spot.role == "shell":
            found += _check_words(template, spot)
    for loc, step in places_of(template):
        found += [*_check_images(step, loc), *_check_limit(step, loc), *_check_arguments(template, step, loc)]
        found += [*_check_pin(step, loc, known), *_check_source(template, step, loc)]
    return found


def _check_timeouts(template: Template) -> Iterator[Finding]:
    if template.timeout is not None:
        return
    without = [loc for loc, step in places_of(template) if step.timeout is None and not (step.api or step.approval)]
    if without:
        steps = "a step" if len(without) == 1 else f"{len(without)} steps"
        message = f"nothing says how long {steps} may take, nor the whole"
        yield _advice(("steps",), "DT346", message, "add `timeout`, there or at the top level")._replace(on_key=True)


def _check_unused(template: Template, data: Mapping[str, Any], spots: list[Spot]) -> Iterator[Finding]:
    around = {key: data.get(key) for key in ("outputs", "updates", "env", "concurrency")}
    around["defaults"] = [spec.default for spec in template.parameters.values()]
    texts = [Spot(loc, text, "text") for loc, text in texts_of(around, ())]
    if isinstance(template.if_, str):
        texts.append(Spot(("if",), template.if_, "condition"))
    paths = [path for spot in (*spots, *texts) for expr in _expressions_of(spot) for path, _ in references(expr)]
    used = {path[1] for path in paths if path[0] == "params" and len(path) > 1}
    if ("params",) in paths or any(_reads_all(step) for step in template.all_steps):
        return
    for name in template.parameters:
        if name not in used:
            message = f"nothing uses the parameter `{name}`"
            yield _advice(("parameters", name), "DT347", message, "use it, or take it out")._replace(on_key=True)


def _reads_all(step: Step) -> bool:
    """Whether the step may read all parameters at once: scripts have them in `DT_PARAMS`."""
    return step.script is not None and (step.script.source is None or "DT_PARAMS" in step.script.source)


def _expressions_of(spot: Spot) -> list[Expr]:
    try:
        return expressions_in(parse_spot(spot)) if spot.role != "fixed" else []
    except ExpressionError:
        return []


def _check_images(step: Step, loc: Loc) -> Iterator[Finding]:
    images: list[tuple[Loc, str | None]] = []
    if step.container:
        images.append(((*loc, "container", "image"), step.container.image))
        for name, service in step.container.services.items():
            images.append(((*loc, "container", "services", name, "image"), service.image))
    if step.script:
        images.append(((*loc, "script", "image"), step.script.image))
    for place, image in images:
        if image and is_fixed(image) and _is_latest(image):
            message = f"{image} is another image tomorrow"
            yield _advice(place, "DT345", message, "name a version, as in alpine:3.20, or a digest")


def _is_latest(image: str) -> bool:
    name = image.rpartition("/")[2]
    return "@" not in image and name.partition(":")[2] in ("", "latest")


def _check_limit(step: Step, loc: Loc) -> Iterator[Finding]:
    if step.max_parallel is not None or step.approval:
        return
    if isinstance(step.foreach, str):
        message = "the list may be long, and as many of it go on at once as the run allows"
        yield _advice((*loc, "foreach"), "DT349", message, "add `max_parallel`")
    for axis, values in step.matrix.items():
        if isinstance(values, str):
            message = "the axis may be long, and as many of it go on at once as the run allows"
            yield _advice((*loc, "matrix", axis), "DT349", message, "add `max_parallel`")
            return


def _check_pin(step: Step, loc: Loc, known: Mapping[str, TemplateSummary]) -> Iterator[Finding]:
    if step.workflow is None:
        return
    try:
        reference, row = parse_reference(step.workflow.template), find_called(step.workflow.template, known)
    except ReferenceFault:
        return
    if reference.name and not reference.wanted and row.version:
        message = f"this takes any version of {row.name}"
        pinned = f"{row.name}@^{row.version}"
        yield _advice((*loc, "workflow", "template"), "DT348", message, f"write {pinned} for what does not break yours")


def _check_source(template: Template, step: Step, loc: Loc) -> Iterator[Finding]:
    if step.script is None:
        return
    own = {**template.env, **step.env, **step.script.env}
    for found in re.finditer(r"\$\{([A-Za-z_][A-Za-z0-9_-]*)\}", step.script.source or ""):
        if found[1] in template.parameters and found[1] not in own:
            message = f"{found[0]} is the script's own; the parameter is not put in there"
            hint = f"give it in `env`: {{{found[1].upper().replace('-', '_')}: {found[0]}}}"
            yield _advice((*loc, "script", "source"), "DT350", message, hint, found.start())


# -- values that begin with a dash ----------------------------------------------------------------------------------

_TAKES_ANYTHING = frozenset(
    ["echo", "printf", "test", "[", "[[", ":", "export", "local", "readonly", "return", "exit", "set"]
)
"""Programs for which `--` is no help, or no value of theirs is an option."""
_LEADING = frozenset(
    ["if", "then", "elif", "else", "do", "while", "until", "!", "{", "time", "exec", "env", "command", "sudo"]
)
_NOT_COMMANDS = {"for", "case", "select", "in"}
_COMMAND_END = re.compile(r"[\n;|&(){}]|\$\(")


def _check_arguments(template: Template, step: Step, loc: Loc) -> Iterator[Finding]:
    """Arguments of commands that are lists."""
    body = step.container
    if body is None or not isinstance(body.command, list):
        return
    words = [str(word) for word in (*body.command, *body.args)]
    for place, word in enumerate(words):
        if _stands_free(words[:place]) and (hole := _find_dashed(template, word)):
            inside = ("command", place) if place < len(body.command) else ("args", place - len(body.command))
            yield _dash_finding((*loc, "container", *inside), hole)


def _stands_free(before: list[str]) -> bool:
    """Whether a word after these could be taken as an option, and `--` would be of help."""
    if not before or before[0].rpartition("/")[2] in _TAKES_ANYTHING or "--" in before:
        return False
    return len(before) == 1 or not before[-1].startswith("-")


def _find_dashed(template: Template, word: str) -> Hole | None:
    """The value that the word begins with, when that may begin with a dash."""
    try:
        parts = parse_scalar(word).parts
    except ExpressionError:
        return None
    hole = parts[0] if parts else None
    return hole if isinstance(hole, Hole) and _may_have_dash(template, hole) else None


def _may_have_dash(template: Template, hole: Hole) -> bool:
    """Only texts that anybody may have written: parameters without a rule, fields of the task, what steps print."""
    found = [path for path, _ in references(hole.expr)]
    if len(found) != 1 or any(True for _ in find_calls(hole.expr)):
        return False
    path = found[0]
    if path[0] == "params":
        spec = template.parameters.get(path[1]) if len(path) == 2 else None
        return spec is not None and _is_free(spec)
    return path[0] == "task" and path[1:2] in (("name",), ("metadata",), ("assignee",), ("description",))


def _is_free(spec: ParameterSpec) -> bool:
    return spec.type is ParameterType.STRING and spec.pattern is None and spec.enum is None


def _dash_finding(loc: Loc, hole: Hole) -> Finding:
    message = f"if {hole.source} begins with -, it is taken as an option"
    return _advice(loc, "DT344", message, "put `--` before it, where the program knows that", hole.start)


def _check_words(template: Template, spot: Spot) -> Iterator[Finding]:
    """Words of shell text that begin with a value."""
    try:
        scalar = parse_scalar(spot.text)
    except ExpressionError:
        return
    if all(isinstance(part, Hole) or part.isspace() for part in scalar.parts):
        return
    holes = iter(scalar.holes)
    text = "".join(part if isinstance(part, str) else MARK for part in scalar.parts)
    for command in _split_commands(text):
        yield from _check_command(template, spot.loc, command, [next(holes) for _ in range(command.count(MARK))])


def _split_commands(text: str) -> list[str]:
    """The text in pieces of which each holds at most one simple command; quoting is not followed."""
    return _COMMAND_END.split(text)


def _check_command(template: Template, loc: Loc, command: str, holes: list[Hole]) -> Iterator[Finding]:
    waiting = iter(holes)
    before: list[str] = []
    for word in command.split():
        inside = [next(waiting) for _ in range(word.count(MARK))]
        bare = word.lstrip("'\"")
        if not before and (word in _LEADING or re.match(r"[A-Za-z_][A-Za-z0-9_]*=", word)):
            continue
        if not before and word in _NOT_COMMANDS:
            return
        if bare.startswith(MARK) and _stands_free(before) and _may_have_dash(template, inside[0]):
            yield _dash_finding(loc, inside[0])
        before.append(bare)


# -- everything together --------------------------------------------------------------------------------------------


def switch_off(findings: Iterable[Finding], codes: Collection[str]) -> list[Finding]:
    """The findings without those that are switched off; an error never is."""
    return [finding for finding in findings if finding.severity is Severity.ERROR or finding.code not in codes]
