"""Values of a template that can be seen to be wrong by themselves: forms, limits, keys that contradict each other."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from dagtasks.errors import Finding, Loc
from dagtasks.language.durations import DurationError, parse_duration
from dagtasks.language.expressions import parse_expression
from dagtasks.language.syntax import Expr, ExpressionError, Field, Item, Literal, Path
from dagtasks.model.names import did_you_mean
from dagtasks.model.template import (
    Api,
    Concurrency,
    Container,
    Export,
    Mount,
    Retry,
    Script,
    Service,
    Step,
    StepOutput,
    Template,
)
from dagtasks.model.values import Priority, Status
from dagtasks.planning.plan import STEP_FOLDER
from dagtasks.planning.references import ReferenceFault, parse_reference

CODES = {
    "DT326": "A value has a form that cannot work: an image, a path, a header, a port, a range of status codes, the "
    "name or version of a template that is called. The message says what is wrong with it.",
    "DT328": "A step cannot be done for each item of this: `foreach` and `matrix` together, more than 256 items, an "
    "axis without values, or no list at all.",
    "DT329": "A key does nothing here, or contradicts another one. The message says which; take one of them out.",
    "DT330": "`updates` names a field that a run cannot set, or a value that the field cannot have. A run may set "
    "`status`, `assignee`, `priority` and `metadata.<key>`.",
    "DT331": "The name of an environment variable begins with `DT_`. Those are kept for dagtasks itself.",
}

ITEM_LIMIT = 256
_GROUP_LIMIT = 200
_IMAGE_LIMIT = 255

_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_IMAGE = re.compile(rf"((?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::{_TAG})?(?:@{_DIGEST})?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?")
_STATUSES = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")


def check_forms(template: Template) -> Iterator[Finding]:
    """Everything of the template that is wrong by itself."""
    yield from _check_duration(template.timeout, ("timeout",))
    yield from _check_group(template.concurrency, ("concurrency",))
    yield from _check_env_names(template.env, ("env",))
    yield from _check_updates(template.updates.model_dump(exclude_unset=True))
    for place, step in enumerate(template.steps):
        yield from _check_step(step, ("steps", place))
    for place, step in enumerate(template.finally_):
        yield from _check_step(step, ("finally", place))
        if step.depends_on is not None:
            message = "steps of `finally` run in the order of the list, after all others"
            yield _useless((*("finally", place), "depends_on"), message, "take `depends_on` out")


def _check_step(step: Step, loc: Loc) -> Iterator[Finding]:
    yield from _check_duration(step.timeout, (*loc, "timeout"))
    yield from _check_group(step.concurrency, (*loc, "concurrency"))
    yield from _check_env_names(step.env, (*loc, "env"))
    yield from _check_loop(step, loc)
    yield from _check_what_kinds_have(step, loc)
    if step.retry:
        yield from _check_retry(step, step.retry, (*loc, "retry"))
    for name, output in step.outputs.items():
        yield from _check_output(step, output, (*loc, "outputs", name))
    for name, artifact in step.artifacts.items():
        yield from _check_kept(artifact.path, (*loc, "artifacts", name, "path"))
    yield from _check_kind(step, loc)


def _check_kind(step: Step, loc: Loc) -> Iterator[Finding]:
    if step.container:
        yield from _check_container(step.container, (*loc, "container"))
    if step.script:
        yield from _check_script(step.script, (*loc, "script"))
    if step.api:
        yield from _check_api(step.api, (*loc, "api"))
    if step.workflow:
        yield from _check_reference(step.workflow.template, (*loc, "workflow", "template"))
    if step.approval:
        yield from _check_duration(step.approval.timeout, (*loc, "approval", "timeout"))
        if step.approval.timeout is None and "on_timeout" in step.approval.model_fields_set:
            yield _useless((*loc, "approval", "on_timeout"), "there is no `timeout`, so silence never ends it")


# -- small things ---------------------------------------------------------------------------------------------------


def _wrong(loc: Loc, message: str, hint: str = "") -> Finding:
    return Finding(loc, "DT326", message, hint)


def _useless(loc: Loc, message: str, hint: str = "") -> Finding:
    return Finding(loc, "DT329", message, hint, on_key=True)


def is_fixed(text: object) -> bool:
    """Whether the value is a text in which nothing is replaced."""
    return isinstance(text, str) and "${" not in text


def _check_duration(text: object, loc: Loc) -> Iterator[Finding]:
    """That it is one; of `${` in it is told elsewhere, but `$${` stands for itself."""
    if (
        isinstance(text, int | float)
        or is_fixed(text)
        or (isinstance(text, str) and "${" not in text.replace("$${", ""))
    ):
        try:
            parse_duration(text)
        except DurationError as error:
            yield Finding(loc, "DT311", error.message, error.hint)


def _seconds(text: object) -> float | None:
    with suppress(DurationError):
        return parse_duration(text)
    return None


def _check_group(group: Concurrency | None, loc: Loc) -> Iterator[Finding]:
    if group is None or not is_fixed(group.group):
        return
    name = group.group
    if not name.strip() or len(name) > _GROUP_LIMIT or not name.isprintable():
        hint = f"one line of 1 to {_GROUP_LIMIT} characters that can be seen"
        yield _wrong((*loc, "group"), f"{name[:40]!r} is no name for a group", hint)


def _check_env_names(env: Iterable[str], loc: Loc) -> Iterator[Finding]:
    for name in env:
        if name.startswith("DT_"):
            yield Finding(
                (*loc, name), "DT331", f"`{name}` begins with DT_, which is reserved", "rename it", on_key=True
            )


def _check_updates(updates: Mapping[str, Any]) -> Iterator[Finding]:
    for moment, fields in updates.items():
        for name, value in (fields or {}).items():
            loc: Loc = ("updates", moment, name)
            if fault := _find_update_fault(name, value):
                yield Finding(loc, "DT330", *fault, on_key=fault[0].startswith("a run"))


def _find_update_fault(name: str, value: Any) -> tuple[str, str] | None:
    """Message and hint, when the field cannot be set to the value."""
    if re.fullmatch(r"metadata\.[^.\s]+", name):
        return None
    words: Collection[str] = {"status": [*Status], "priority": [*Priority]}.get(name, [])
    if not words and name != "assignee":
        known = ("status", "assignee", "priority", "metadata.<key>")
        return f"a run cannot set {name!r}", did_you_mean(name, known) or f"it can set: {', '.join(known)}"
    if isinstance(value, str) and not is_fixed(value):
        return None
    if words and value not in words:
        return f"{value!r} is not a {name}", did_you_mean(str(value), words) or f"allowed: {', '.join(words)}"
    if name == "assignee" and not (value is None or (isinstance(value, str) and 0 < len(value) <= 100)):
        return "an assignee is one line of up to 100 characters", ""
    return None


# -- all kinds ------------------------------------------------------------------------------------------------------


def _check_loop(step: Step, loc: Loc) -> Iterator[Finding]:
    if step.foreach is not None and step.matrix:
        hint = "write both as axes of `matrix`"
        yield Finding((*loc, "matrix"), "DT328", "`foreach` and `matrix` cannot both be given", hint, on_key=True)
    if step.foreach is not None:
        yield from _check_items(step.foreach, (*loc, "foreach"))
    for axis, values in step.matrix.items():
        yield from _check_items(values, (*loc, "matrix", axis))
        if values == []:
            yield Finding(
                (*loc, "matrix", axis), "DT328", f"the axis `{axis}` has no values", "give it some", on_key=True
            )
    counts = [len(values) for values in step.matrix.values() if isinstance(values, list)]
    if len(counts) == len(step.matrix) > 1 and math.prod(counts) > ITEM_LIMIT:
        message = f"these are {math.prod(counts)} combinations; at most {ITEM_LIMIT} are done"
        yield Finding((*loc, "matrix"), "DT328", message, "do them in groups", on_key=True)


def _check_items(items: Any, loc: Loc) -> Iterator[Finding]:
    if isinstance(items, list) and len(items) > ITEM_LIMIT:
        message = f"these are {len(items)} items; at most {ITEM_LIMIT} are done"
        yield Finding(loc, "DT328", message, "do them in groups", on_key=True)
    if is_fixed(items):
        yield Finding(loc, "DT328", f"{items[:40]!r} is a text and no list", "write [a, b] or ${an_expression}")


def _check_what_kinds_have(step: Step, loc: Loc) -> Iterator[Finding]:
    """Keys that all kinds of steps may have, and that do nothing for some."""
    kind, is_process = step.kind, step.container is not None or step.script is not None
    given = step.model_fields_set
    if not is_process and step.cache:
        yield _useless((*loc, "cache"), f"`cache` is for processes, and not for {kind} steps")
    if not is_process and step.artifacts:
        yield _useless((*loc, "artifacts"), f"a step of kind {kind} leaves no files")
    if kind in ("workflow", "approval") and step.outputs:
        what = "the outputs of the template" if kind == "workflow" else "the `parameters` of the approval"
        yield _useless((*loc, "outputs"), f"`steps.{step.name}.outputs` are {what}", "take `outputs` out")
    if kind == "approval" and "retry" in given and step.retry:
        yield _useless((*loc, "retry"), "a person's answer is not asked for twice", "take `retry` out")
    if kind == "approval" and step.timeout is not None:
        yield _useless((*loc, "timeout"), "an approval says how long it waits in itself", "write `approval.timeout`")


def _check_retry(step: Step, retry: Retry, loc: Loc) -> Iterator[Finding]:
    for key in ("delay", "max_delay", "max_duration"):
        yield from _check_duration(getattr(retry, key), (*loc, key))
    delay, longest = _seconds(retry.delay), _seconds(retry.max_delay)
    if delay is not None and longest is not None and longest < delay:
        yield _useless((*loc, "max_delay"), "`max_delay` is shorter than `delay`")
    if "factor" in retry.model_fields_set and retry.backoff == "constant":
        yield _useless((*loc, "factor"), "`factor` is for `backoff: exponential`", "add `backoff: exponential`")
    if retry.on == []:
        yield _useless((*loc, "on"), "with an empty list nothing is ever tried again", "take `on` out, or `retry`")
    yield from _check_exit_codes(step, retry, (*loc, "exit_codes"))


def _check_exit_codes(step: Step, retry: Retry, loc: Loc) -> Iterator[Finding]:
    if not retry.exit_codes:
        return
    body = step.container or step.script
    if body is None:
        yield _useless(loc, f"a step of kind {step.kind} has no exit code")
        return
    if retry.on is not None and "failed" not in retry.on:
        yield _useless(loc, "only a step that failed has an exit code, and `on` does not name `failed`")
    for place, code in enumerate(retry.exit_codes):
        if code in body.success_exit_codes:
            message = f"{code} counts as success, so it is never tried again for it"
            yield Finding((*loc, place), "DT329", message)


def _check_output(step: Step, output: StepOutput, loc: Loc) -> Iterator[Finding]:
    if step.api and output.from_ != "stdout":
        yield _useless((*loc, "from"), "an api step has nothing but the answer", "take `from` out")
    if output.path is not None and output.from_ != "file":
        yield _useless(
            (*loc, "path"), f"`path` is for a file, and the output comes from {output.from_}", "add `from: file`"
        )
    elif output.path is not None:
        yield from _check_kept(output.path, (*loc, "path"))
    if output.select is None:
        return
    if output.format == "text":
        yield _useless((*loc, "select"), "`select` looks into JSON or YAML", "add `format: json`")
    if fault := find_select_fault(output.select):
        yield _wrong((*loc, "select"), fault, "write it as a.b[0]")


def find_select_fault(text: str) -> str:
    """Why the text is no way to a part of a value, as in `a.b[0]`; empty when it is one."""
    try:
        expr: Expr = parse_expression(f"value{'' if text.startswith('[') else '.'}{text}")
    except ExpressionError as error:
        return f"{text[:40]!r} leads nowhere: {error.message}"
    is_plain = isinstance(expr, Path) and all(
        isinstance(part, Field) or (isinstance(part, Item) and isinstance(part.index, Literal)) for part in expr.steps
    )
    return "" if is_plain else f"{text[:40]!r} is more than a way to a part of the value"


def _check_kept(path: str, loc: Loc) -> Iterator[Finding]:
    if is_fixed(path) and not path.strip("/. "):
        yield _wrong(loc, f"{path!r} is no file that could be taken", "name a file or folder")


# -- processes ------------------------------------------------------------------------------------------------------


def _check_container(body: Container, loc: Loc) -> Iterator[Finding]:
    yield from _check_image(body.image, (*loc, "image"))
    if body.args and not isinstance(body.command, list):
        message = "`args` come after a `command` that is a list"
        yield _useless((*loc, "args"), message, "write `command` as a list, or the arguments into it")
    if body.platform is not None and is_fixed(body.platform) and not _PLATFORM.fullmatch(body.platform):
        yield _wrong((*loc, "platform"), f"{body.platform[:40]!r} is no platform", "write it as linux/arm64")
    yield from _check_process(body, loc)
    for name, service in body.services.items():
        yield from _check_service(name, service, (*loc, "services", name))


def _check_script(body: Script, loc: Loc) -> Iterator[Finding]:
    if body.image is not None:
        yield from _check_image(body.image, (*loc, "image"))
    if body.file is not None and is_fixed(body.file) and not _is_inside(body.file):
        message = f"{body.file!r} does not lie in the repository"
        yield _wrong((*loc, "file"), message, "give a path from the root, without ..")
    yield from _check_process(body, loc)


def _check_process(body: Container | Script, loc: Loc) -> Iterator[Finding]:
    yield from _check_env_names(body.env, (*loc, "env"))
    if not body.success_exit_codes:
        yield _wrong((*loc, "success_exit_codes"), "with an empty list no step can succeed", "write [0]")
    for place, code in enumerate(body.success_exit_codes):
        if not 0 <= code <= 255:
            yield _wrong((*loc, "success_exit_codes", place), f"{code} is no exit code", "they go from 0 to 255")
    yield from _check_mounts(body.mounts, (*loc, "mounts"))
    for place, export in enumerate(body.export):
        yield from _check_export(export, (*loc, "export", place))


def find_image_fault(image: str) -> str:
    """Why no registry could have an image of that name; empty when the name is right (the OCI grammar)."""
    found = _IMAGE.fullmatch(image)
    if found is None:
        what = "images are written in small letters" if _IMAGE.fullmatch(image.lower()) else "write it as alpine:3.20"
        return f"{image[:80]!r} is no name of an image; {what}"
    return f"the name of an image has at most {_IMAGE_LIMIT} characters" if len(found[1]) > _IMAGE_LIMIT else ""


def _check_image(image: str, loc: Loc) -> Iterator[Finding]:
    if is_fixed(image) and (fault := find_image_fault(image)):
        message, _, hint = fault.partition("; ")
        yield _wrong(loc, message, hint)


def _check_mounts(mounts: list[Mount], loc: Loc) -> Iterator[Finding]:
    counts = Counter(mount.path for mount in mounts)
    for place, mount in enumerate(mounts):
        if counts[mount.path] > 1 and mount.path in [other.path for other in mounts[:place]]:
            yield _wrong((*loc, place, "path"), f"something is mounted at {mount.path} already", "take another path")
        if is_fixed(mount.path) and (fault := _find_mount_fault(mount.path)):
            yield _wrong((*loc, place, "path"), *fault)
        if mount.cache is not None and is_fixed(mount.cache) and not mount.cache.strip():
            yield _wrong((*loc, place, "cache"), "the key of a cache cannot be empty", "as in `cache: pip`")


def _find_mount_fault(path: str) -> tuple[str, str] | None:
    parts = path.split("/")
    if not path.startswith("/") or path == "/" or {"", ".", ".."} & set(parts[1:]):
        return f"{path!r} is no path for a mount", "write an absolute one, as /src, with no .. and no / at its end"
    if path == STEP_FOLDER or path.startswith(f"{STEP_FOLDER}/"):
        return f"{path} lies in {STEP_FOLDER}, which dagtasks keeps for itself", "take another path"
    return None


def _check_export(export: Export, loc: Loc) -> Iterator[Finding]:
    yield from _check_kept(export.from_, (*loc, "from"))
    if not is_fixed(export.to):
        return
    if not export.to.strip() or not _is_inside(export.to):
        message = f"{export.to!r} does not lie in the repository"
        yield _wrong((*loc, "to"), message, "give a path from the root, without ..")
    if any(part.casefold().rstrip(". ") == ".git" for part in export.to.split("/")):
        yield _wrong((*loc, "to"), "nothing is written into Git's own folder", "take another path")


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _check_service(name: str, service: Service, loc: Loc) -> Iterator[Finding]:
    if not _LABEL.fullmatch(name):
        message = f"{name!r} is no host name, and the step reaches the service by it"
        yield Finding(loc, "DT326", message, "use small letters, digits and -", on_key=True)
    yield from _check_image(service.image, (*loc, "image"))
    yield from _check_env_names(service.env, (*loc, "env"))
    for number, count in Counter(service.ports).items():
        if count > 1:
            yield _wrong((*loc, "ports"), f"port {number} is named {count} times")
    if service.ready is None:
        return
    yield from _check_duration(service.ready.timeout, (*loc, "ready", "timeout"))
    port = service.ready.port
    if port is not None and service.ports and port not in service.ports:
        yield _wrong((*loc, "ready", "port"), f"port {port} is not among `ports`", f"add {port} to it")


# -- requests and calls ---------------------------------------------------------------------------------------------


def _check_api(body: Api, loc: Loc) -> Iterator[Finding]:
    yield from _check_duration(body.timeout, (*loc, "timeout"))
    yield from _check_url(body.url, (*loc, "url"))
    yield from _check_headers(body, loc)
    if not body.success_status:
        yield _wrong((*loc, "success_status"), "with an empty list no request can succeed", 'write ["200-299"]')
    for place, status in enumerate(body.success_status):
        found = _STATUSES.fullmatch(str(status))
        if found is None or int(found[1]) > int(found[2] or found[1]):
            message = f"{status!r} is no status code and no range of them"
            yield _wrong((*loc, "success_status", place), message, 'write 204, or "200-299"')


def _check_url(url: str, loc: Loc) -> Iterator[Finding]:
    begin = url.partition("${")[0]
    if begin and not re.match(r"https?://", begin, re.IGNORECASE):
        yield _wrong(loc, f"{begin[:40]!r} begins no address", "write it as https://example.org/path")


def _check_headers(body: Api, loc: Loc) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, value in body.headers.items():
        place = (*loc, "headers", name)
        yield from _check_header(name, value, place, place)
        if name.lower() in seen:
            yield Finding(
                place, "DT326", f"the header is given as {seen[name.lower()]!r}, too", "keep one", on_key=True
            )
        seen[name.lower()] = name
    header = body.auth.header if body.auth else None
    if header:
        within = (*loc, "auth", "header")
        yield from _check_header(header.name, header.value, (*within, "name"), (*within, "value"))


def _check_header(name: str, value: Any, at_name: Loc, at_value: Loc) -> Iterator[Finding]:
    if not _HEADER.fullmatch(name):
        message = f"{name[:40]!r} is no name of a header"
        yield Finding(at_name, "DT326", message, "letters, digits and -", on_key=at_name == at_value)
    if isinstance(value, str) and ("\r" in value or "\n" in value):
        yield _wrong(at_value, "a header cannot hold a line break", "write it on one line")


def _check_reference(text: str, loc: Loc) -> Iterator[Finding]:
    try:
        parse_reference(text)
    except ReferenceFault as fault:
        yield _wrong(loc, fault.message, fault.hint)
