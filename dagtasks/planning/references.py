"""What `workflow.template` names: a template by its name, by name and version, or by its path (03 section 2.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from dagtasks.model.names import KEY_PATTERN, VERSION_ENDING, VERSION_NUMBER, VERSION_PATTERN, did_you_mean
from dagtasks.model.summary import TemplateSummary

LENGTH_LIMIT = 200

_ANY = "[xX*]"
_PARTIAL = (
    rf"({VERSION_NUMBER})(?:\.(?:{_ANY}|({VERSION_NUMBER})(?:\.(?:{_ANY}|({VERSION_NUMBER}){VERSION_ENDING}))?))?"
)
_COMPARATOR = re.compile(rf"(?P<operator>\^|~|>=|<=|>|<|=|){_PARTIAL}")
_FORMS = "write it as 1.2.3, ^1.2, ~1.2 or >=1.2 <3"


class ReferenceFault(ValueError):
    """What is written names no template: it cannot be read, there is no such template, or not in such a version."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Version(NamedTuple):
    """A version in the order of semantic versioning: what comes before a release is less than the release."""

    major: int
    minor: int
    patch: int
    is_release: bool = True
    pre: tuple[tuple[bool, int, str], ...] = ()

    @property
    def triple(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self.major, self.minor, self.patch


@dataclass(frozen=True, slots=True)
class Reference:
    """A template that is called: by `name`, which takes any version unless `wanted` says which; or by `path`."""

    name: str = ""
    wanted: str = ""
    path: str = ""


def parse_reference(text: str) -> Reference:
    """What the text names. Raises `ReferenceFault`.

    `publish`; `publish@1.2.3`, `publish@^1.2`, `publish@~1.2`, `publish@>=1.2 <3`; `templates/ci/publish.yaml`.
    """
    if len(text) > LENGTH_LIMIT:
        raise ReferenceFault(f"a template's name has at most {LENGTH_LIMIT} characters")
    if "${" in text:
        message = "the template that is called is known before anything runs, so no ${...} can stand in it"
        raise ReferenceFault(message, "call each template in a step of its own, with `if`")
    name, at, wanted = text.partition("@")
    if not at and ("/" in name or name.endswith((".yaml", ".yml"))):
        return Reference(path=_check_path(name))
    if not re.fullmatch(KEY_PATTERN, name):
        raise ReferenceFault(f"{name[:80]!r} is no name of a template", f"form: {KEY_PATTERN}")
    if at:
        _parse_range(wanted)
    return Reference(name, wanted.strip())


def _check_path(path: str) -> str:
    parts = path.split("/")
    if parts[0] == "templates" and len(parts) > 1 and path.endswith(".yaml") and not {"", ".", ".."} & set(parts):
        return path
    raise ReferenceFault(f"{path[:80]!r} is no path of a template", "write it as templates/ci/publish.yaml, or by name")


def parse_version(text: str) -> Version:
    """The version that the text is (semantic versioning 2.0.0). Raises `ReferenceFault`."""
    found = re.fullmatch(VERSION_PATTERN, text)
    if found is None:
        raise ReferenceFault(f"{text[:80]!r} is no version", "write it as 1.2.3 (semantic versioning)")
    return _version(found[1], found[2], found[3], found["pre"])


def _version(major: str, minor: str, patch: str, pre: str | None = None) -> Version:
    names = pre.split(".") if pre else []
    order = tuple((False, int(name), "") if name.isdigit() else (True, 0, name) for name in names)
    return Version(int(major), int(minor), int(patch), not order, order)


def satisfies(version: str | None, wanted: str) -> bool:
    """Whether a template of that version is wanted; one without a version never is, when anything is asked of it.

    As npm reads it: a version before a release is only taken where one of the same three numbers is written.
    Raises `ReferenceFault` for what is no version or no range.
    """
    bounds = _parse_range(wanted) if wanted else []
    if not bounds:
        return True
    if version is None:
        return False
    given = parse_version(version)
    if not given.is_release and not any(b.triple == given.triple and not b.is_release for _, b in bounds):
        return False
    return all(_holds(given, operator, bound) for operator, bound in bounds)


def _holds(given: Version, operator: str, bound: Version) -> bool:
    match operator:
        case ">=":
            return given >= bound
        case ">":
            return given > bound
        case "<":
            return given < bound
        case "<=":
            return given <= bound
        case _:
            return given == bound


def _parse_range(text: str) -> list[tuple[str, Version]]:
    """The bounds that all have to hold."""
    words = re.sub(r"([<>=^~])\s+", r"\1", text.strip()).replace(",", " ").split()
    if not words:
        raise ReferenceFault("the version after @ is missing", _FORMS)
    return [bound for word in words for bound in _parse_comparator(word)]


def _parse_comparator(word: str) -> Iterator[tuple[str, Version]]:
    found = _COMPARATOR.fullmatch(word)
    if found is None:
        raise ReferenceFault(f"{word[:80]!r} is no version and no range of versions", _FORMS)
    operator, major, minor, patch, pre = found["operator"], found[2], found[3], found[4], found["pre"]
    low = _version(major, minor or "0", patch or "0", pre)
    is_whole = patch is not None
    if operator in (">=", "<") or (is_whole and operator not in ("^", "~")):
        yield operator or "=", low
        return
    if operator == ">":
        yield ">=", _after(low, minor)
        return
    if operator != "<=":
        yield ">=", low
    yield "<", _after_caret(low, minor, patch) if operator == "^" else _after(low, minor)


def _after(low: Version, minor: str | None) -> Version:
    """The first version that no longer begins with the numbers that were written, of which the last is left out."""
    return Version(low.major + 1, 0, 0) if minor is None else Version(low.major, low.minor + 1, 0)


def _after_caret(low: Version, minor: str | None, patch: str | None) -> Version:
    """The first version that may break what worked with this one: its first number that is not 0 is another."""
    if low.major or minor is None:
        return Version(low.major + 1, 0, 0)
    if low.minor or patch is None:
        return Version(0, low.minor + 1, 0)
    return Version(0, 0, low.patch + 1)


def find_called(text: str, templates: Mapping[str, TemplateSummary]) -> TemplateSummary:
    """The template that the text names, out of all by name. Raises `ReferenceFault`."""
    reference = parse_reference(text)
    if reference.path:
        paths = {row.path: row for row in templates.values()}
        return _get(reference.path, paths, "template file")
    row = _get(reference.name, templates, "template")
    if not satisfies(row.version, reference.wanted):
        has = f"is {row.version}" if row.version else "has no `version`"
        message = f"template {row.name} {has}, and {reference.wanted} is wanted"
        raise ReferenceFault(message, f"ask for a version that {row.path} has")
    return row


def find_named(text: str, templates: Mapping[str, TemplateSummary]) -> TemplateSummary | None:
    """The same; None where the text names none of them."""
    with suppress(ReferenceFault):
        return find_called(text, templates)
    return None


def _get(name: str, known: Mapping[str, TemplateSummary], what: str) -> TemplateSummary:
    if name not in known:
        raise ReferenceFault(f"there is no {what} {name!r}", did_you_mean(name, known))
    return known[name]
