"""The merge of two versions of a task, phase or project file, field by field; Git calls it for each file.

What only one side changed is taken. Lists that are sets are merged as sets (a removal counts), maps key by key, text
line by line. Where both sides changed one thing differently, that thing alone is put between Git's conflict marks.
All bytes come from one of the sides: nothing is written anew. Standard library only: it starts once for each file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import dropwhile, takewhile
from typing import NamedTuple, TypeVar

from dagtasks.store.blocks import (
    MAX_DEPTH,
    Block,
    Blocks,
    Lines,
    Scalar,
    Unclear,
    first_column,
    meaning,
    read_items,
    split_map,
    split_scalar,
    split_start,
    text_at_the_end,
)
from dagtasks.store.lines import merge_lines

T = TypeVar("T")
Path = tuple[str, ...]

WHOLE_FILE = "the whole file"
_SETS = frozenset((("labels",), ("depends_on",)))


class Merge(NamedTuple):
    """The merged content, and what both sides changed differently (`status`, `metadata.package`; none: it is clean)."""

    content: bytes
    conflicts: tuple[str, ...] = ()


class Marks(NamedTuple):
    """How conflicts are marked: the length of the marks, and what the three versions are called."""

    size: int = 7
    base: str = "base"
    ours: str = "ours"
    theirs: str = "theirs"


def merge(base: bytes, ours: bytes, theirs: bytes, marks: Marks | None = None) -> Merge:
    """The two versions merged, seen from the version that both come from. An empty `base`: there is none.

    Two files that were made independently are never blended: all of both stands between marks.
    """
    if ours == theirs or base == theirs:
        return Merge(ours)
    if base == ours:
        return Merge(theirs)
    texts = [_Text.read(content) for content in (base, ours, theirs)]
    merger = _Merger(marks or Marks())
    lines = merger.document(*texts)
    newline = _pick(texts[0].newline, texts[1].newline, texts[2].newline) or texts[1].newline
    ends = bool(lines) and (merger.ends_with_mark(lines) or _ends_line(texts, lines[-1]))
    end = newline if ends else ""
    content = (newline.join(lines) + end).encode("utf-8", "surrogateescape")
    return Merge(content, tuple(dict.fromkeys(merger.conflicts)))


def _ends_line(texts: Sequence[_Text], last: str) -> bool:
    """Whether the merge ends with a line end. It is left out only behind a line that a version ends with like that.

    Elsewhere a missing line end could change what a text says.
    """
    base, ours, theirs = (text.ends_line for text in texts)
    return _pick(base, ours, theirs) is True or all(text.ends_line or text.lines[-1] != last for text in texts)


class _Text(NamedTuple):
    """A version as lines. In a file that mixes line ends, a carriage return is part of its line."""

    lines: Lines
    newline: str
    ends_line: bool
    is_regular: bool

    @classmethod
    def read(cls, content: bytes) -> _Text:
        text = content.decode("utf-8", "surrogateescape")
        returns = text.count("\r")
        is_windows = returns > 0 and returns == text.count("\r\n") == text.count("\n")
        newline = "\r\n" if is_windows else "\n"
        ends_line = not text or text.endswith(newline)
        lines = text.removesuffix(newline).split(newline) if text else []
        return cls(tuple(lines), newline, ends_line, is_windows or not returns)


class _Merger:
    """Merges one file and collects the names of what is in conflict."""

    def __init__(self, marks: Marks) -> None:
        self.conflicts: list[str] = []
        self._marks = marks

    def document(self, base: _Text, ours: _Text, theirs: _Text) -> list[str]:
        """The lines of the merge."""
        sides = (base.lines, ours.lines, theirs.lines)
        if not base.lines:
            return self._conflict((), *sides)
        lines = self._fields(base, ours, theirs) or self._by_lines((), *sides)
        # Each side may have removed what the other left; a file that says nothing is none.
        _, body = split_start(tuple(lines))
        return self._conflict((), *sides) if first_column(body) is None else lines

    def _fields(self, *texts: _Text) -> list[str] | None:
        """The merge field by field; None when one of the texts cannot be taken apart."""
        starts, bodies = zip(*(split_start(text.lines) for text in texts), strict=True)
        start = _pick(*starts)
        if start is None or not all(text.is_regular for text in texts):
            return None
        try:
            return [*start, *self._map((), *(split_map(body, 0) for body in bodies))]
        except Unclear:
            return None

    def ends_with_mark(self, lines: Sequence[str]) -> bool:
        """Whether the last line ends a conflict."""
        return bool(self.conflicts) and lines[-1] == f"{'>' * self._marks.size} {self._marks.theirs}"

    def _map(self, path: Path, base: Blocks, ours: Blocks, theirs: Blocks) -> list[str]:
        blocks = [side.by_name for side in (base, ours, theirs)]
        lines: list[str] = []
        last: Sequence[str] = ()
        for name in merge_order(base.names, ours.names, theirs.names):
            entry = self._entry((*path, name), *(side.get(name) for side in blocks))
            lines += _fitting_below(last, entry)
            last = entry or last
        return [*lines, *_fitting_below(last, self._remarks(path, base.tail, ours.tail, theirs.tail))]

    def _entry(self, path: Path, base: Block | None, ours: Block | None, theirs: Block | None) -> list[str]:
        if ours and theirs:
            before = base or Block("", (), ())
            lead = self._remarks(path, before.lead, ours.lead, theirs.lead)
            return [*lead, *self._value(path, before.lines, ours.lines, theirs.lines)]
        kept = ours or theirs
        if kept is None or (base and _says(kept) == _says(base)):
            return []
        if base is None:
            return [*kept.lead, *kept.lines]
        gap = takewhile(lambda line: not line.strip(), kept.lead)
        return [*gap, *self._conflict(path, _says(base), _says(ours), _says(theirs))]

    def _remarks(self, path: Path, base: Lines, ours: Lines, theirs: Lines) -> Sequence[str]:
        """Comments and empty lines; about how many lines are empty there is no conflict."""
        lines: list[str] = []
        for chunk in merge_lines(base, ours, theirs):
            chosen = chunk.chosen
            if chosen is None and not any(line.strip() for side in chunk for line in side):
                chosen = max(chunk.ours, chunk.theirs, key=lambda side: (len(side), [*side]))
            lines += self._conflict(path, *chunk) if chosen is None else chosen
        return lines

    def _value(self, path: Path, base: Lines, ours: Lines, theirs: Lines) -> Sequence[str]:
        chosen = _pick(base, ours, theirs)
        if chosen is not None:
            return chosen
        for attempt in (self._set, self._one_line, self._nested):
            found = attempt(path, base, ours, theirs)
            if found is not None:
                return found
        return self._by_lines(path, base, ours, theirs)

    def _one_line(self, _: Path, base: Lines, ours: Lines, theirs: Lines) -> list[str] | None:
        """A scalar and the comment beside it, merged apart; None when both changed one of them differently."""
        if len(ours) != 1 or len(theirs) != 1 or len(base) > 1:
            return None
        mine, other = split_scalar(ours[0]), split_scalar(theirs[0])
        before = split_scalar(base[0]) if base else Scalar(mine.head)
        value = _pick_scalar(before.value, mine.value, other.value)
        comment = _pick(before.comment, mine.comment, other.comment)
        if value is None or comment is None:
            return None
        side = mine if value == mine.value else other
        return [side._replace(comment=comment).line]

    def _set(self, path: Path, *sides: Lines) -> Sequence[str] | None:
        """A list that is a set, merged item by item; None when it is not one, or is written in an unusual way."""
        try:
            base, ours, theirs = (read_items(lines) for lines in sides)
        except Unclear:
            return None
        if not _is_set(path, base.items.names, ours.items.names, theirs.items.names):
            return None
        head = self._heads(path, base.head or ours.head, ours.head, theirs.head)
        columns = [side.column for side in (ours, theirs, base) if side.column is not None]
        if not columns:
            return _flow_lines(head, self._map(path, base.items, ours.items, theirs.items))
        column = _pick(base.column, ours.column, theirs.column)
        at = columns[0] if column is None else column
        return [*head, *self._map(path, *(side.at_column(at) for side in (base, ours, theirs)))]

    def _nested(self, path: Path, *sides: Lines) -> Sequence[str] | None:
        """A map, merged key by key; None when it is not one, or is indented differently."""
        heads = [split_scalar(lines[0]) if lines else Scalar("") for lines in sides]
        columns = {column for lines in sides if (column := first_column(lines[1:])) is not None}
        if len(path) >= MAX_DEPTH or len(columns) != 1 or any(head.value not in ("", "{}") for head in heads):
            return None
        try:
            maps = [split_map(lines[1:], *columns) for lines in sides]
        except Unclear:
            return None
        base, ours, theirs = (head._replace(gap="", value="").line for head in heads)
        return [*self._heads(path, base or ours, ours, theirs), *self._map(path, *maps)]

    def _heads(self, path: Path, base: str, ours: str, theirs: str) -> Sequence[str]:
        found = self._one_line(path, (base,), (ours,), (theirs,))
        return self._by_lines(path, (base,), (ours,), (theirs,)) if found is None else found

    def _by_lines(self, path: Path, base: Lines, ours: Lines, theirs: Lines) -> list[str]:
        lines: list[str] = []
        for chunk in merge_lines(base, ours, theirs):
            chosen = chunk.chosen
            lines += self._conflict(path, *chunk) if chosen is None else chosen
        return lines

    def _conflict(self, path: Path, base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
        self.conflicts.append(".".join(path) or WHOLE_FILE)
        marks = self._marks
        begin, middle, end = (
            f"{mark * marks.size} {label}"
            for mark, label in (("<", marks.ours), ("|", marks.base), (">", marks.theirs))
        )
        return [begin, *ours, middle, *base, "=" * marks.size, *theirs, end]


def _fitting_below(above: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    """The lines with a gap on top that does not become part of a text above: of `|+` any, of others blanks."""
    header = text_at_the_end(above)
    if not header:
        return lines
    gap = [*takewhile(lambda line: not line.strip(), lines)]
    return [*([] if "+" in header else [""] * len(gap)), *lines[len(gap) :]]


def merge_order(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """All names of both sides, in an order that does not depend on which side is called ours.

    Who moved names has the say. Names that both added at one place are sorted, when each side's are.
    """
    shared = set(ours) & set(theirs)
    order, other = ([name for name in side if name in shared] for side in (ours, theirs))
    if order != other:
        before = [name for name in base if name in shared]
        order = _pick(before, order, other) or min(order, other)
    runs, runs_ = _runs_after(ours, shared), _runs_after(theirs, shared)
    names = _together(runs[""], runs_[""])
    for name in order:
        names += [name, *_together(runs[name], runs_[name])]
    return names


def _runs_after(names: Sequence[str], shared: set[str]) -> dict[str, list[str]]:
    """The names of one side alone, by the shared name that they follow ("": by none)."""
    runs: dict[str, list[str]] = {"": []}
    last = ""
    for name in names:
        if name in shared:
            last = name
            runs[last] = []
        else:
            runs[last].append(name)
    return runs


def _together(one: list[str], other: list[str]) -> list[str]:
    if one == sorted(one, key=_bare) and other == sorted(other, key=_bare):
        return sorted([*one, *other], key=_bare)
    return [*min(one, other), *max(one, other)]


def _bare(name: str) -> str:
    return name.strip("'\"")


def _pick(base: T, ours: T, theirs: T) -> T | None:
    """What a three-way merge takes; None when both sides changed it differently."""
    if ours == theirs or base == theirs:
        return ours
    return theirs if base == ours else None


def _pick_scalar(base: str, ours: str, theirs: str) -> str | None:
    """As `_pick`; two ways to write one value are no conflict."""
    chosen = _pick(base, ours, theirs)
    if chosen is None and meaning(ours) == meaning(theirs):
        return min(ours, theirs)
    return chosen


def _says(block: Block | None) -> Lines:
    """The lines of a block with the comments above it, without the empty lines before those."""
    if block is None:
        return ()
    return (*dropwhile(lambda line: not line.strip(), block.lead), *block.lines)


def _is_set(path: Path, base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether the order of the items says nothing. Of free data that is believed while both sides only add."""
    if path in _SETS or (path[0] == "workflows" and len(path) == 3 and path[2] == "run_on"):
        return True
    return path[0] == "metadata" and set(base) <= set(ours) & set(theirs)


def _flow_lines(head: Sequence[str], items: Sequence[str]) -> list[str] | None:
    """The items in brackets behind the key; None when the line of the key itself is in conflict."""
    if len(head) != 1:
        return None
    line = split_scalar(head[0])
    return [line._replace(gap=" ", value=f"[{', '.join(items)}]").line]


# --- as Git calls it ----------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Merge as `merge.<name>.driver` of Git wants it: BASE OURS THEIRS [SIZE [PATH [LABELS...]]]; OURS is rewritten.

    Returns 0, or 1 when conflicts are marked in OURS. The labels are those of base, ours and theirs (%S %X %Y).
    """
    base, ours, theirs, size, path, *labels = [*arguments, *[""] * 8][:8]
    merged = merge(_read(base), _read(ours), _read(theirs), _marks(size, labels))
    _write(ours, merged.content)
    if merged.conflicts:
        where = f"{path}: " if path else ""
        sys.stderr.write(f"dagtasks: {where}both sides changed {', '.join(merged.conflicts)}\n")
    return 1 if merged.conflicts else 0


def _marks(size: str, labels: Sequence[str]) -> Marks:
    """The marks; a Git that knows no labels hands over `%S`, or the caller nothing."""
    known = Marks()
    names = [
        given if given.isprintable() and given and not given.startswith("%") else name
        for given, name in zip(labels, known[1:], strict=True)
    ]
    return Marks(int(size) if size.isdigit() else known.size, *names)


def _read(name: str) -> bytes:
    with open(name, "rb") as file:  # noqa: PTH123 - pathlib costs half of what starting Python costs
        return file.read()


def _write(name: str, content: bytes) -> None:
    """All or nothing: what Git then reads is never half of a file."""
    folder, _, last = name.rpartition("/")
    temp = f"{folder}/.{last}.tmp" if folder else f".{last}.tmp"
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temp, name)  # noqa: PTH105 - as above
