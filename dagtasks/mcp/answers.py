"""What tools answer: facts of our own beside texts of others, which are named untrusted, and no answer without an end.

A fact is a word or a number that the files cannot choose freely: an id, a status, a day. All else that comes out of
files, records or logs stands under `untrusted`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dagtasks.errors import DagtasksError
from dagtasks.model.printable import printable

LIMIT = 32_000
"""Characters of JSON that the items of an answer have at the most."""
PIECE = 4_000
"""Characters that an untrusted value may have; a longer one comes in pieces."""
_WORD = re.compile(r"[A-Za-z0-9_.:/\[\]+-]{1,200}")


class Item(NamedTuple):
    """One thing of an answer: what we say of it, and what somebody wrote."""

    facts: Mapping[str, Any]
    untrusted: Any


class Answer(NamedTuple):
    """What a tool found: facts about the whole, and its items."""

    kind: str
    facts: Mapping[str, Any]
    items: Sequence[Item] = ()


class Refused(NamedTuple):
    """Why a tool did nothing. `message` and `hint` are ours, `untrusted` may quote files."""

    code: str
    message: str
    hint: str
    untrusted: Mapping[str, Any] | None = None


def to_json(answer: Answer, cursor: str = "") -> dict[str, Any]:
    """The answer as JSON values, its items from the cursor on; when not all fit, it says how to get the rest.

    A cursor is what an answer before gave: the number of an item, and of a piece of it.
    """
    said: dict[str, Any] = {"kind": answer.kind, **_facts(answer.facts), "total": len(answer.items), "items": []}
    left = LIMIT
    for place, item in _rendered(answer.items, cursor):
        left -= len(_dump(item))
        if left < 0:
            return {**said, "next_cursor": place, "rest": f'there is more: call again with cursor="{place}"'}
        said["items"].append(item)
    return said


def _rendered(items: Sequence[Item], cursor: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pieces of the items from the cursor on, each with its own cursor."""
    first, _, piece = cursor.partition(".")
    start = int(first or 0), int(piece or 0)
    for number in range(start[0], len(items)):
        for part, rendered in enumerate(_split(items[number])):
            if (number, part) >= start:
                yield (f"{number}.{part}" if part else str(number)), rendered


def refusal_to_json(refused: Refused) -> dict[str, Any]:
    """The refusal as JSON values, short whatever it quotes."""
    error: dict[str, Any] = {"code": refused.code, "message": refused.message, "hint": refused.hint}
    if refused.untrusted:
        error["untrusted"] = {name: cut(value) for name, value in refused.untrusted.items() if value}
    return {"error": error}


def cut(value: Any) -> Any:
    """The value without tricks; of a long text the beginning, and how much is missing."""
    text = value if isinstance(value, str) else _dump(value)
    if len(text) <= PIECE:
        return seen(value)
    return f"{printable(text[:PIECE], keep=_KEPT)} [{len(text) - PIECE} more characters]"


def seen(value: Any) -> Any:
    """The value with all that cannot be seen in texts and keys as escapes: some letters are read by programs only."""
    if isinstance(value, str):
        return printable(value, keep=_KEPT)
    if isinstance(value, Mapping):
        return {printable(key): seen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [seen(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else printable(value)


_KEPT = "\n\t"


def describe(error: DagtasksError) -> Refused:
    """What an agent is told of the error: its kind in our words, and the details as what they are, quotes."""
    code = type(error).__name__
    kind = next((name for name in map(_name_of, type(error).__mro__) if name in _KINDS), "")
    message, hint = _KINDS.get(kind, _OTHER)
    details = {"message": error.message, "hint": error.hint}
    problems = [str(problem) for problem in error.problems[:10]]
    return Refused(code, message, hint, {**details, "problems": problems})


def _name_of(kind: type) -> str:
    return kind.__name__


_KINDS = {
    "InvalidInput": ("An argument does not fit.", "Read `untrusted.message`, and call again with another value."),
    "NotFound": ("There is nothing of that name.", "`list` and `next` give the ids of tasks, `logs` those of runs."),
    "Conflict": (
        "The state of the repository does not allow that now.",
        "`untrusted.message` says what is in the way; `next` gives tasks that are free. Do not try to get round it.",
    ),
    "InvalidProject": ("A file that is needed is wrong.", "`validate` shows each problem with file and line."),
    "LockTimeout": ("Somebody else is changing the repository.", "Call again a little later."),
}
_OTHER = ("The repository, Git or the disk did not allow it.", "Tell the person you work for what `untrusted` says.")


def _split(item: Item) -> Iterator[dict[str, Any]]:
    """The item; in pieces with the same facts when it is long. Texts are cut as they are, all else as JSON text."""
    facts = _facts(item.facts)
    value = seen(item.untrusted)
    text = value if isinstance(value, str) else _dump(value)
    if len(text) <= PIECE:
        yield {**facts, "untrusted": value}
        return
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces, 1):
        yield {**facts, "piece": number, "of": len(pieces), "untrusted": piece}


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if _is_fact(value)}


def _is_fact(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_WORD.fullmatch(value))
    return isinstance(value, bool | int | float)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
