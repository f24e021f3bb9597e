"""What reads the outputs of called templates, checked with the kinds that those declare. A large import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagtasks.errors import Finding
from dagtasks.language.checking import Names, check_condition, check_scalar
from dagtasks.language.expressions import parse_condition, parse_scalar
from dagtasks.language.functions import ALL_FUNCTIONS
from dagtasks.language.kinds import ANY, Kind, KindName, array_of, object_of
from dagtasks.language.syntax import ExpressionError
from dagtasks.model.parameter import ROOTS
from dagtasks.model.summary import TemplateSummary, TextSummary

_FIELDS = (
    *("output", "stderr", "exit_code", "state", "outcome", "conclusion", "attempts", "duration"),
    *("artifacts", "error", "items"),
)


def check_texts(template: TemplateSummary, called: Mapping[str, TemplateSummary]) -> Iterator[Finding]:
    """What is wrong in texts that read what steps give which call these templates."""
    looped = {call.step for call in template.calls if call.is_looped}
    steps = dict.fromkeys(template.steps, ANY)
    steps |= {name: _step_kind(row, is_looped=name in looped) for name, row in called.items()}
    names = Names({**dict.fromkeys(ROOTS, ANY), "steps": object_of(steps)}, frozenset(ALL_FUNCTIONS))
    for text in template.texts:
        yield from _check_text(text, names)


def _check_text(text: TextSummary, names: Names) -> Iterator[Finding]:
    try:
        if text.is_condition:
            yield from check_condition(parse_condition(text.text), names, text.loc).findings
        else:
            yield from check_scalar(parse_scalar(text.text), names, text.loc).findings
    except ExpressionError:
        return  # it is told of the file by itself


def _step_kind(row: TemplateSummary, *, is_looped: bool) -> Kind:
    kinds = {name: _kind(name_of_kind) for name, name_of_kind in row.outputs.items()}
    outputs = {name: array_of(kind) for name, kind in kinds.items()} if is_looped else kinds
    return object_of({**dict.fromkeys(_FIELDS, ANY), "outputs": object_of(outputs)})


def _kind(name: str) -> Kind:
    found: KindName = name  # type: ignore[assignment]
    return ANY if name == "null" else Kind(found)
