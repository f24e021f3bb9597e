"""Random edits of random awkward files, judged by plain PyYAML: what was asked for changes, and nothing else."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dagtasks.errors import Conflict, Loc
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.edits import add_item, quote_value, remove_item, remove_key, set_value
from dagtasks.store.emitter import is_same
from dagtasks.store.formatting import format_document
from dagtasks.store.layout import Kind, Place
from dagtasks.store.mending import mend
from dagtasks.store.merge import WHOLE_FILE, Merge, merge
from dagtasks.store.rows import read_row
from tests.store import seen
from tests.store.awkward import Scribe

ORDER = ("name", "status", "labels", "description", "metadata")
TEXTS = (
    "x", "planned", "no", "1.10", "012", "12:30", "7e1234", "2026-01-02", "~", "", "a: b", "a # b", "# c", "- d", "it's",
    '"q"', "a, b", "[f]", "{g}", " lead", "tail ", "日本", "a\tb", "\\", "a\\nb", "---", "...", "=", "<<", "x" * 200, "|", "a:",
    "one\ntwo\n", "one\n\ntwo", " one\ntwo\n", "\none\n", "one\n\n", "\n", "\n\n", "# one\n# two\n", "  \nx\n", "x\n  ", "\tx\n",
    "x\ty\n\n  z\n", "a\n---\nb\n", "one\n ", "\n \n", " \n",
)  # fmt: skip
SCALARS = (None, True, False, 0, -7, 2**62, 1.5, -1e30, 1e-7, 1e22)


class Asked(NamedTuple):
    """An edit: what it is, where, and the data that it must give."""

    name: str
    loc: Loc
    edit: Callable[[Document], Document]
    expected: Any


class Asker:
    """Thinks up edits of a document."""

    def __init__(self, choices: random.Random) -> None:
        self._random = choices

    def ask(self, document: Document) -> Asked:
        """An edit that the data of the document allows."""
        makers = (self._set, self._set, self._set_new, self._add, self._remove, self._take, self._quote)
        while True:
            asked = self._random.choice(makers)(document.data)
            if asked:
                return asked

    def value(self, depth: int = 0) -> Any:
        """Something to be written."""
        kind = self._random.random()
        if depth < 2 and kind < 0.12:
            return [self.value(depth + 1) for _ in range(self._random.randint(0, 3))]
        if depth < 2 and kind < 0.24:
            names = self._random.sample(("k", "no", "ü", "a b", "1", "a: b"), self._random.randint(0, 3))
            return {name: self.value(depth + 1) for name in names}
        return self._random.choice(SCALARS if kind < 0.4 else TEXTS)

    def _set(self, data: Any) -> Asked:
        loc = self._random.choice([loc for loc in places(data) if loc])
        value = self.value()
        return Asked("set", loc, lambda doc: set_value(doc, loc, value, order=ORDER), put(data, loc, value))

    def _set_new(self, data: Any) -> Asked | None:
        parent = self._random.choice([loc for loc in places(data) if isinstance(at(data, loc), dict)])
        loc = (*parent, self._random.choice(("due", "name", "zz", "a-new", "1", "new key")))
        value = self.value()
        if loc[-1] in at(data, parent) or value is None or (not parent and value in ([], {})):
            return None
        return Asked("new", loc, lambda doc: set_value(doc, loc, value, order=ORDER), put(data, loc, value))

    def _add(self, data: Any) -> Asked | None:
        lists = [loc for loc in places(data) if isinstance(at(data, loc), list)]
        if not lists:
            return None
        loc, value = self._random.choice(lists), self.value()
        if any(is_same(item, value) for item in at(data, loc)):
            return None
        return Asked("add", loc, lambda doc: add_item(doc, loc, value, order=ORDER), (loc, value))

    def _take(self, data: Any) -> Asked | None:
        lists = [loc for loc in places(data) if loc and isinstance(at(data, loc), list) and at(data, loc)]
        if not lists:
            return None
        loc = self._random.choice(lists)
        value = self._random.choice(at(data, loc))
        left = [item for item in at(data, loc) if not is_same(item, value)]
        return Asked("take", loc, lambda doc: remove_item(doc, loc, value), put(data, loc, left or None))

    def _remove(self, data: Any) -> Asked | None:
        keys = [loc for loc in places(data) if loc and (len(data) > 1 or len(loc) > 1)]
        if not keys:
            return None
        loc = self._random.choice(keys)
        return Asked("remove", loc, lambda doc: remove_key(doc, loc), without(data, loc))

    def _quote(self, data: Any) -> Asked | None:
        scalars = [loc for loc in places(data) if loc and not isinstance(at(data, loc), list | dict | None)]
        if not scalars:
            return None
        loc = self._random.choice(scalars)
        return Asked("quote", loc, lambda doc: quote_value(doc, loc), None)


def places(data: Any, loc: Loc = ()) -> list[Loc]:
    steps = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    return [loc, *(place for step in steps for place in places(data[step], (*loc, step)))]


def at(data: Any, loc: Loc) -> Any:
    for step in loc:
        data = data[step]
    return data


def put(data: Any, loc: Loc, value: Any) -> Any:
    """The data with the value there. At the top, empty lists and maps are nothing."""
    if len(loc) == 1 and isinstance(value, list | dict) and not value:
        value = None
    return put_exactly(data, loc, value)


def put_exactly(data: Any, loc: Loc, value: Any) -> Any:
    if not loc:
        return value
    copy = list(data) if isinstance(data, list) else dict(data)
    copy[loc[0]] = put_exactly(copy[loc[0]], loc[1:], value) if len(loc) > 1 else value
    return copy


def without(data: Any, loc: Loc) -> Any:
    parent = at(data, loc[:-1])
    left: Any = (
        [item for index, item in enumerate(parent) if index != loc[-1]]
        if isinstance(parent, list)
        else {name: value for name, value in parent.items() if name != loc[-1]}
    )
    return put(data, loc[:-1], left or None) if loc[:-1] else left


def attack(choices: random.Random) -> str:
    """One awkward file and a few edits of it, each judged. Returns what became of the last one."""
    text = Scribe(choices).document()
    document = parse_document(text.encode(), "x.yaml")
    assert not document.problems, document.problems
    outcome = ""
    for _ in range(choices.randint(1, 3)):
        asked = Asker(choices).ask(document)
        try:
            result = asked.edit(document)
        except Conflict as refusal:
            return f"{asked.name}: {refusal.message.partition(': ')[2].partition(': ')[2]}"
        if result is not document:
            judge(document.text, asked, result)
            if not isinstance(asked.loc[-1], int) or asked.name != "remove":
                assert asked.edit(result) is result, "not the same a second time"
        outcome, document = asked.name, result
    return outcome


def judge(old: str, asked: Asked, result: Document) -> None:
    """That the result says what was asked for, and is otherwise as it was."""
    new = result.text
    try:
        if asked.name == "add":
            judge_addition(old, result, *asked.expected)
        elif asked.name == "new":
            judge_new_key(old, new, asked)
        elif asked.name in ("remove", "take"):
            judge_removal(old, new, asked)
        else:
            judge_replacement(old, new, asked)
        if "\r\n" in old:
            assert "\n" not in new.replace("\r\n", "")
    except AssertionError as error:
        raise AssertionError(
            f"{error}\n--- {asked.name} {asked.loc}\n{old}\n--- gives\n{new}\n---\n{old!r}\n{new!r}"
        ) from error


def judge_addition(old: str, result: Document, loc: Loc, value: Any) -> None:
    new = result.text
    assert seen.is_insertion(old, new), "more than an insertion"
    index = next(i for i, item in enumerate(at(result.data, loc)) if is_same(item, value))
    assert is_same(seen.value_at(new, (*loc, index)), value), "the value is another"
    before, after = seen.values(old), seen.values(new)
    del at_bare(after, loc)[index]
    assert before == after, "other values changed"
    assert seen.comments(old) == seen.comments(new), "comments"


def judge_new_key(old: str, new: str, asked: Asked) -> None:
    *parent, name = asked.loc
    assert is_same(seen.value_at(new, asked.loc), at(asked.expected, asked.loc)), "the value is another"
    before, after = seen.values(old), seen.values(new)
    if at_bare(before, tuple(parent))["map"]:
        pairs = at_bare(after, tuple(parent))["map"]
        pairs[:] = [pair for pair in pairs if pair[0] != name]
        assert before == after, "other values changed"
        assert seen.is_insertion(old, new), "more than an insertion"
    assert seen.comments(old) == seen.comments(new), "comments"


def judge_replacement(old: str, new: str, asked: Asked) -> None:
    if asked.name == "set":
        assert is_same(seen.value_at(new, asked.loc), at(asked.expected, asked.loc)), "the value is another"
    else:
        assert isinstance(seen.value_at(new, asked.loc), str)
    before, after = seen.values(old), seen.values(new)
    assert masked(before, asked.loc) == masked(after, asked.loc), "other values changed"
    assert seen.comments(old) == seen.comments(new), "comments"
    where = seen.span(old, asked.loc)
    start, end = seen.common(old, new)
    assert start >= where.before, "something before it changed"
    assert end >= len(old) - where.after or is_last(old, where), "something behind it changed"
    below = old[where.end :].split("\n")[1:]
    if not where.is_block_text:
        assert not below or new.split("\n")[-len(below) :] == below, "the lines below changed"


def is_last(old: str, where: seen.Span) -> bool:
    return not re.sub("#.*", "", old[where.end :]).strip(" \r\n.")


def judge_removal(old: str, new: str, asked: Asked) -> None:
    parent = asked.loc if asked.name == "take" else asked.loc[:-1]
    before, after = seen.values(old), seen.values(new)
    assert masked(before, parent) == masked(after, parent), "other values changed"
    assert is_in_order(seen.comments(new), seen.comments(old)), "comments"
    gone = [asked.loc] if asked.name == "remove" else [(*parent, i) for i in indexes_of_taken(old, asked)]
    if at(asked.expected, parent) is None:
        assert seen.value_at(new, parent) is None
    else:
        for loc in reversed(gone):
            drop(at_bare(before, parent), loc[-1])
        assert before == after, "other values changed"
        if len(gone) == 1:
            assert seen.is_insertion(new, old), "more than a deletion"
    spans = [seen.span(old, loc) for loc in gone]
    first, last = spans[0], spans[-1]
    if at(asked.expected, parent) is None:
        first = last = seen.span(old, parent)
    start, end = seen.common(old, new)
    assert start >= first.before, "something before it changed"
    assert end >= len(old) - last.after or is_last(old, last), "something behind it changed"
    assert is_in_order(comments_that_stay(old, spans), seen.comments(new)), "a comment is gone"


def indexes_of_taken(old: str, asked: Asked) -> list[int]:
    items, left = at(parse_document(old.encode(), "x").data, asked.loc), at(asked.expected, asked.loc) or []
    return [index for index, item in enumerate(items) if not any(is_same(item, other) for other in left)]


def drop(bare: Any, step: str | int) -> None:
    if isinstance(step, int):
        del bare[step]
    else:
        bare["map"][:] = [pair for pair in bare["map"] if pair[0] != step]


def comments_that_stay(old: str, gone: list[seen.Span]) -> list[str]:
    """The comments but for those beside what is gone, in it, and below it at a deeper column."""
    lines = old.splitlines()
    going: set[int] = set()
    for where in gone:
        first, last = old.count("\n", 0, where.start), old.count("\n", 0, where.end)
        going |= set(range(first, last + 1))
        column = where.start - (old.rfind("\n", 0, where.start) + 1)
        below = last + 1
        while below < len(lines) and (not lines[below].strip() or lines[below].lstrip().startswith("#")):
            if lines[below].strip() and len(lines[below]) - len(lines[below].lstrip()) <= column:
                break
            going.add(below)
            below += 1
    return [found.rstrip() for place, found in seen.placed_comments(old) if old.count("\n", 0, place) not in going]


def is_in_order(some: list[str], among: list[str]) -> bool:
    rest = iter(among)
    return all(item in rest for item in some)


def masked(bare: Any, loc: Loc) -> Any:
    """The values with a hole at `loc`."""
    if not loc:
        return "?"
    if isinstance(bare, dict):
        return {"map": [(key, masked(value, loc[1:]) if key == loc[0] else value) for key, value in bare["map"]]}
    return [masked(value, loc[1:]) if index == loc[0] else value for index, value in enumerate(bare)]


def at_bare(bare: Any, loc: Loc) -> Any:
    for step in loc:
        bare = dict(bare["map"])[step] if isinstance(bare, dict) else bare[step]
    return bare


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**64))
def test_edits_change_what_was_asked_for_and_nothing_else(seed: int) -> None:
    event(attack(random.Random(seed)))


def test_few_edits_are_refused() -> None:
    outcomes = [attack(random.Random(seed)) for seed in range(150)]
    refused = [outcome for outcome in outcomes if ":" in outcome]
    assert len(refused) < len(outcomes) / 10, refused


# --- the canonical form -------------------------------------------------------------------------------------------


def attack_format(choices: random.Random) -> str:
    """Format one awkward file, judged by plain PyYAML. Returns what became of it."""
    document = parse_document(Scribe(choices).document().encode(), "x.yaml")
    try:
        result = format_document(document, ORDER)
    except Conflict as refusal:
        return refusal.message.partition(": ")[2]
    text = f"\n{document.text}\n--- gives\n{result.text}\n---\n{document.text!r}\n{result.text!r}"
    assert format_document(result, ORDER) is result, "not the same a second time" + text
    before, after = dict(seen.values(document.text)["map"]), dict(seen.values(result.text)["map"])
    assert list(after) == [*ORDER, *(key for key in before if key not in ORDER)], "order" + text
    for key, value in after.items():
        assert unordered(key, value) == unordered(key, before.get(key)), key + text
    assert sorted(seen.comments(document.text)) == sorted(seen.comments(result.text)), "comments" + text
    return "same" if result is document else "changed"


def unordered(key: str, bare: Any) -> Any:
    """The values of a key; the order of lists that are sets and of maps of metadata does not count."""
    empty = ("tag:yaml.org,2002:null", "")
    if bare is None or bare == [] or bare == {"map": []}:
        return empty if key in ("labels", "metadata", "depends_on") or bare is None else bare
    if key in ("labels", "depends_on") and isinstance(bare, list):
        return sorted(map(str, bare))
    if key == "metadata" and isinstance(bare, dict):
        return sorted((name, str(unordered(key, value))) for name, value in bare["map"])
    return bare


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64))
def test_the_canonical_form_says_the_same_and_keeps_all_comments(seed: int) -> None:
    event(attack_format(random.Random(seed)))


# --- mending ------------------------------------------------------------------------------------------------------

TASK = Place("tasks/web/web-000001.yaml", Kind.TASK, "web-000001", "web")
KEYS = (
    "name",
    "status",
    "assignee",
    "phase",
    "due",
    "labels",
    "depends_on",
    "description",
    "metadata",
    "on",
    "12",
    "x",
)


def attack_mend(choices: random.Random) -> str:
    """Mend one awkward file. Returns how many problems it had, and has."""
    document = parse_document(Scribe(choices, KEYS).document().encode(), TASK.path)
    mended = mend(TASK, document)
    text = f"\n{document.text}\n--- gives\n{mended.document.text}\n---\n{document.text!r}\n{mended.document.text!r}"
    before, after = (
        Counter(
            problem.code + problem.message for problem in read_row(TASK, doc).problems if problem.severity == "error"
        )
        for doc in (document, mended.document)
    )
    if not mended.done:
        assert mended.document is document
        return "nothing to mend"
    assert mend(TASK, mended.document).document is mended.document, "not the same a second time" + text
    assert without_quotes(mended.document.text) == without_quotes(document.text), "more than quotes" + text
    if document.data is None:
        return "can be read" if mended.document.data else "fewer problems"
    assert after < before, "not fewer problems" + text
    assert seen.comments(mended.document.text) == seen.comments(document.text), "comments" + text
    for loc in places(document.data):
        old, new = at(document.data, loc), at(mended.document.data, loc)
        assert isinstance(old, list | dict) or is_same(old, new) or isinstance(new, str), text
    return "mended"


def without_quotes(text: str) -> str:
    """The text without quotes and gaps: mended text over several lines comes to stand on one."""
    return re.sub(r'["\s]', "", text)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64))
def test_mending_puts_quotes_and_leaves_fewer_problems(seed: int) -> None:
    event(attack_mend(random.Random(seed)))


# --- merging ------------------------------------------------------------------------------------------------------


def edited(choices: random.Random, document: Document, keys: Sequence[str]) -> Document:
    """The document after a few edits below these keys; refused ones are left out."""
    for _ in range(choices.randint(1, 3)):
        asked = Asker(choices).ask(document)
        if asked.loc[0] in keys:
            with suppress(Conflict):
                document = asked.edit(document)
    return document


def attack_merge(choices: random.Random) -> str:
    """Two sides of an awkward file that edit different keys, merged. Returns how it went."""
    base = parse_document(Scribe(choices).document().encode(), "x.yaml")
    keys = [*(base.data or {}), "due", "name", "zz", "a-new"]
    mine = [key for key in dict.fromkeys(keys) if choices.random() < 0.5]
    ours, theirs = (edited(choices, base, side) for side in (mine, [key for key in keys if key not in mine]))
    merged = merge(base.content, ours.content, theirs.content)
    text = f"\n--- base\n{base.text}\n--- ours\n{ours.text}\n--- theirs\n{theirs.text}\n--- gives {merged.conflicts}\n"
    text += (
        f"{merged.content.decode()}\n---\n{base.content!r}\n{ours.content!r}\n{theirs.content!r}\n{merged.content!r}"
    )
    check_lines(base, ours, theirs, merged, text)
    mirrored = merge(base.content, theirs.content, ours.content)
    assert set(merged.conflicts) == set(mirrored.conflicts), "other conflicts when mirrored" + text
    if merged.conflicts:
        return f"conflict: {'whole file' if merged.conflicts == (WHOLE_FILE,) else 'a field'}"
    assert merged.content == mirrored.content, "another merge when mirrored" + text
    result = parse_document(merged.content, "x.yaml")
    assert not result.problems, str(result.problems) + text
    expected = both(base, ours, theirs)
    assert is_same(result.data, expected), f"{expected}" + text
    seen.values(result.text)
    return "clean" if ours is not base and theirs is not base else "one side"


def both(base: Document, ours: Document, theirs: Document) -> dict[str, Any]:
    """The data when each key comes from the side that changed it."""
    start, one, other = base.data or {}, ours.data or {}, theirs.data or {}
    sides = {key: other if is_same(one.get(key, ...), start.get(key, ...)) else one for key in {**one, **other}}
    return {key: side[key] for key, side in sides.items() if key in side}


def check_lines(base: Document, ours: Document, theirs: Document, merged: Merge, text: str) -> None:
    """No line of one side is lost that the other side did not take away."""
    before, one, other, now = (
        lines_that_say(content) for content in (base.content, ours.content, theirs.content, merged.content)
    )
    for line in one | other:
        least = max(one[line] if other[line] >= before[line] else 0, other[line] if one[line] >= before[line] else 0)
        assert now[line] >= least, f"lost {line!r}" + text


def lines_that_say(content: bytes) -> Counter[str]:
    return Counter(line.strip() for line in content.decode().splitlines() if line.strip())


def attack_conflict(choices: random.Random) -> str:
    """Two sides give one key of an awkward file two values, and edit others besides. Returns how it went."""
    base = parse_document(Scribe(choices).document().encode(), "x.yaml")
    key = choices.choice(list(base.data or {}))
    others = [name for name in [*(base.data or {}), "due", "zz"] if name != key]
    mine = [name for name in others if choices.random() < 0.5]
    sides = [edited(choices, base, side) for side in (mine, [name for name in others if name not in mine])]
    values = choices.sample([text for text in TEXTS if text], 2)
    try:
        ours, theirs = (set_value(side, (key,), value) for side, value in zip(sides, values, strict=True))
    except Conflict:
        return "refused"
    if base.data and any(is_same(base.data[key], value) for value in values):
        return "no change"
    merged = merge(base.content, ours.content, theirs.content)
    text = f"\n--- {key} base\n{base.text}\n--- ours\n{ours.text}\n--- theirs\n{theirs.text}\n--- gives {merged.conflicts}\n"
    text += (
        f"{merged.content.decode()}\n---\n{base.content!r}\n{ours.content!r}\n{theirs.content!r}\n{merged.content!r}"
    )
    names = [str(yaml.safe_load(name)) for name in merged.conflicts]
    check_lines(base, ours, theirs, merged, text)
    if len(names) > 1 and has_comments_that_moved(base, ours, theirs):
        return "conflict, and a comment above what one side removed"
    assert names == [key], "other conflicts" + text
    for side, document in (("ours", ours), ("theirs", theirs)):
        result = parse_document(decided(merged.content, side), "x.yaml")
        expected = {**both(base, ours, theirs), key: (document.data or {})[key]}
        assert not result.problems, f"{side}: {result.problems}" + text
        assert is_same(result.data, expected), f"{side}: {expected}" + text
    return "conflict"


def has_comments_that_moved(base: Document, *sides: Document) -> bool:
    """Whether a side removed a key: a comment beside it now stands above another key, which is changed by that."""
    return any((base.data or {}).keys() - (side.data or {}).keys() for side in sides)


def decided(content: bytes, side: str) -> bytes:
    """The content when every conflict is decided for one side."""
    pattern = rb"^<{7} ours\r?\n(.*?)^\|{7} base\r?\n.*?^={7}\r?\n(.*?)^>{7} theirs(?:\r?\n|\Z)"
    return re.sub(pattern, rb"\1" if side == "ours" else rb"\2", content, flags=re.DOTALL | re.MULTILINE)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**64))
def test_merges_of_different_keys_hold_both_sides(seed: int) -> None:
    event(attack_merge(random.Random(seed)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64))
def test_a_conflict_stands_round_the_one_key_and_can_be_decided(seed: int) -> None:
    event(attack_conflict(random.Random(seed)))


def test_few_merges_of_different_keys_conflict() -> None:
    outcomes = [attack_merge(random.Random(seed)) for seed in range(300)]
    assert sum(outcome.startswith("conflict") for outcome in outcomes) < outcomes.count("clean") / 20
