"""An index as the cache keeps it: at hand as soon as its bytes are read, and unpacked where somebody looks."""

from __future__ import annotations

import marshal
from bisect import bisect_right
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from dagtasks.model.summary import TaskSummary
from dagtasks.planning.index import Index, LazyTasks
from dagtasks.planning.ready import Start
from dagtasks.store.cache import SEAL
from dagtasks.store.records import Packed, Record, pack_row, unpack_problem, unpack_row
from dagtasks.store.scanning import Keys

GROUP = 32
"""Rows that are unpacked together."""
_SIZE = 4
"""Bytes that say how long the part before the tasks is."""


class Tasks(LazyTasks):
    """Tasks by id, in the order of ids. They are unpacked in groups, when one of a group is asked for.

    The groups lie in `content` one after the other, from the first of the `starts` to the last; `firsts` are the first
    ids of each.
    """

    def __init__(self, content: bytes, starts: Sequence[int], firsts: Sequence[str], count: int) -> None:
        self._content = content
        self._starts = starts
        self._firsts = firsts
        self._count = count
        self._unpacked: dict[int, dict[str, TaskSummary]] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (name for group in self.groups() for name in group)

    def __getitem__(self, name: str) -> TaskSummary:
        return self._group(self._find_group(name))[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name)

    def values(self) -> ValuesView[TaskSummary]:
        """The tasks, by id."""
        return _Values(self)

    def items(self) -> ItemsView[str, TaskSummary]:
        """The ids with the tasks."""
        return _Items(self)

    def groups(self) -> Iterator[dict[str, TaskSummary]]:
        """The tasks by id, some at a time; each group is unpacked when its turn comes."""
        return (self._group(number) for number in range(len(self._firsts)))

    def rows(self) -> Iterator[TaskSummary]:
        """The tasks, by id; each group is unpacked when its turn comes."""
        return (task for group in self.groups() for task in group.values())

    def packed(self) -> Iterator[Packed]:
        """The rows as they are kept."""
        return (row for number in range(len(self._firsts)) for row in self._load(number)[1])

    def find_dependents(self, name: str) -> list[TaskSummary]:
        """The tasks that depend on the one of that name. Only groups in which the name occurs are unpacked."""
        groups = (self._group(number).values() for number in self._find_mentions(name.encode()))
        return [task for group in groups for task in group if name in task.depends_on]

    def digest(self, name: str) -> bytes:
        """The digest of the file of the task. Raises `KeyError`."""
        digests, _ = self._load(self._find_group(name))
        return digests[name]

    def find_different(self, other: Tasks) -> set[str]:
        """The ids of tasks that may not be the same in the other ones. Only groups that differ are unpacked."""
        mine, theirs = self._slices().items(), other._slices().items()
        own, others = _read_digests(mine - theirs), _read_digests(theirs - mine)
        return {name for name in own.keys() | others.keys() if not own.get(name) or own[name] != others.get(name)}

    def _slices(self) -> dict[str, bytes]:
        """The groups by their first ids."""
        bounds = pairwise(self._starts)
        return {first: self._content[start:end] for first, (start, end) in zip(self._firsts, bounds, strict=True)}

    def replace(self, rows: Mapping[str, TaskSummary | None]) -> Tasks:
        """The same with other rows for these ids, and without those that have None. Which files they are of is lost."""
        records = {name: Record(None, b"", pack_row(row), ()) if row else None for name, row in rows.items()}
        return self.with_records(records) if self._firsts else pack_tasks({n: one for n, one in records.items() if one})

    def with_records(self, records: Mapping[str, Record | None]) -> Tasks:
        """The same with other records for some of the tasks, and with new tasks. There must be a task already.

        Those that have None are left out.
        """
        changed: dict[int, dict[str, Record | None]] = {}
        for name, record in records.items():
            changed.setdefault(max(bisect_right(self._firsts, name) - 1, 0), {})[name] = record
        groups: list[_Group] = []
        for number, (start, end) in enumerate(pairwise(self._starts)):
            if number in changed:
                groups += _pack_groups(self._change(number, changed[number]))
            else:
                groups.append(_Group(self._firsts[number], memoryview(self._content)[start:end]))
        return _join(groups, self._count + sum((one is not None) - (name in self) for name, one in records.items()))

    def _change(self, number: int, changed: Mapping[str, Record | None]) -> dict[str, _Kept]:
        digests, rows = self._load(number)
        old = {name: _Kept(digests[name], row) for name, row in zip(digests, rows, strict=True) if name not in changed}
        return old | {name: _Kept(one.digest, one.row) for name, one in changed.items() if one}

    def content_id(self) -> str:
        """Stands for the files of all these tasks and what they say; equal ones may have different ids."""
        from hashlib import blake2b

        return blake2b(memoryview(self._content)[self._starts[0] :], digest_size=16).hexdigest()

    def parts(self) -> tuple[Sequence[int], Sequence[str], int, memoryview]:
        """What it is made of: where groups start, counted from the first, their first ids, the number of tasks, and
        the groups."""
        first = self._starts[0]
        groups = memoryview(self._content)[first:]
        return [start - first for start in self._starts], self._firsts, self._count, groups

    def _find_group(self, name: str) -> int:
        number = bisect_right(self._firsts, name) - 1
        if number < 0:
            raise KeyError(name)
        return number

    def _find_mentions(self, text: bytes) -> Iterator[int]:
        place = self._content.find(text, self._starts[0])
        while place >= 0:
            number = bisect_right(self._starts, place) - 1
            yield number
            place = self._content.find(text, self._starts[number + 1])

    def _group(self, number: int) -> dict[str, TaskSummary]:
        if number not in self._unpacked:
            digests, rows = self._load(number)
            self._unpacked[number] = dict(zip(digests, map(unpack_row, rows), strict=True))
        return self._unpacked[number]

    def _load(self, number: int) -> tuple[dict[str, bytes], list[Packed]]:
        """The ids of a group with the digests of the files, and the rows."""
        view = memoryview(self._content)[self._starts[number] :]
        group: tuple[dict[str, bytes], list[Packed]] = marshal.loads(view)  # noqa: S302 - the cache looked at the seal
        return group


def _read_digests(groups: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """The ids of all tasks in the groups with the digests of the files."""
    loaded = (marshal.loads(group) for _, group in groups)  # noqa: S302 - as above
    return {name: digest for digests, _ in loaded for name, digest in digests.items()}


class _Items(ItemsView[str, TaskSummary]):
    _mapping: Tasks

    def __iter__(self) -> Iterator[tuple[str, TaskSummary]]:
        return (item for group in self._mapping.groups() for item in group.items())


class _Values(ValuesView[TaskSummary]):
    _mapping: Tasks

    def __iter__(self) -> Iterator[TaskSummary]:
        return self._mapping.rows()


class _Kept(NamedTuple):
    """What is kept of a record of a task."""

    digest: bytes
    row: Packed | None


class _Group(NamedTuple):
    first: str
    content: bytes | memoryview


def pack_tasks(records: Mapping[str, Record]) -> Tasks:
    """The tasks of these ids and records."""
    return _join(_pack_groups({name: _Kept(one.digest, one.row) for name, one in records.items()}), len(records))


def _pack_groups(kept: Mapping[str, _Kept]) -> list[_Group]:
    names = sorted(kept)
    # A group that has grown a little stays as it is: else each new task would leave two small ones.
    size = len(names) if len(names) <= 2 * GROUP else GROUP
    groups = [names[start : start + size] for start in range(0, len(names), size or 1)]
    return [
        _Group(
            group[0], marshal.dumps(({name: kept[name].digest for name in group}, [kept[name].row for name in group]))
        )
        for group in groups
    ]


def _join(groups: Sequence[_Group], count: int) -> Tasks:
    contents = [group.content for group in groups]
    return Tasks(
        b"".join(contents), [*accumulate(map(len, contents), initial=0)], [group.first for group in groups], count
    )


class Snapshot(NamedTuple):
    """An index with the keys of all files that it was made of.

    `others` are the packed rows of projects, phases, templates and broken files, and `digests` those of all files that
    are no task of the index. `starts` is what `startable` of the index says, and `placed` the problems between files by
    what they were made of; both packed.
    """

    keys: Mapping[str, Keys]
    others: Packed
    digests: Mapping[str, bytes]
    tasks: Tasks
    problems: Packed
    starts: bytes
    placed: bytes

    def make_index(self) -> Index:
        """The index."""
        projects, phases, templates, broken = (map(unpack_row, rows) for rows in self.others)
        index = _Known(
            projects={row.key: row for row in projects},
            phases={row.id: row for row in phases},
            tasks=self.tasks,
            templates={row.name: row for row in templates},
            broken=tuple(broken),
            problems=tuple([unpack_problem(problem) for problem in self.problems]),
        )
        index.starts = self.starts
        return index

    def holds(self, name: str, path: str, digest: bytes) -> bool:
        """Whether it was made of the file at that path, which has that id, with the content of that digest."""
        if path in self.digests:
            return self.digests[path] == digest
        return name in self.tasks and self.tasks.digest(name) == digest

    def dump(self) -> list[bytes | memoryview]:
        """All of it as bytes, in parts."""
        starts, firsts, count, groups = self.tasks.parts()
        parts: Any = (*self[:3], (starts, firsts, count), *self[4:])
        head = marshal.dumps(parts)
        return [len(head).to_bytes(_SIZE), head, groups]


class _Known(Index):
    """An index that was kept, and with it what takes long to find out."""

    starts: bytes

    @cached_property
    def startable(self) -> Sequence[Start]:
        """What can be started now, best first."""
        starts: Sequence[Start] = marshal.loads(self.starts)  # noqa: S302 - as above
        return starts


def read_snapshot(content: bytes) -> Snapshot:
    """The snapshot that the bytes are, which begin with their seal."""
    begin = SEAL + _SIZE
    end = begin + int.from_bytes(content[SEAL:begin])
    head: Any = marshal.loads(memoryview(content)[begin:])  # noqa: S302 - as above
    keys, others, digests, (starts, firsts, count), *rest = head
    return Snapshot(keys, others, digests, Tasks(content, [end + start for start in starts], firsts, count), *rest)
