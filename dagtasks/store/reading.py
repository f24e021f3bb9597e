"""Reading the files of a work tree: those that changed since the cache saw them, and no others.

YAML, models and digests are imported when a file has to be read: with a warm cache none is.
"""

from __future__ import annotations

import errno
import marshal
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import Finding, Problem
from dagtasks.model.summary import BrokenFile
from dagtasks.store.cache import Cache
from dagtasks.store.files import read_file
from dagtasks.store.fork import beside
from dagtasks.store.layout import TASKS, Place, check_place, check_symlink, place
from dagtasks.store.records import Details, Key, Record, pack, pack_row
from dagtasks.store.scanning import look_at

FORK_ABOVE = 1000
"""From so many files on, a second process reads half of them (threads would only take turns)."""


class Seen(NamedTuple):
    """Files with their keys (see `scanning`), and when looking at them began."""

    keys: Mapping[str, Key | None]
    begun: int


class Job(NamedTuple):
    """A file to read; `old` is what the cache knows about it."""

    path: str
    key: Key | None = None
    old: Record | None = None


class Fresh(NamedTuple):
    """What a file gave: its record, and of a task that was parsed the rest, packed."""

    path: str
    record: Record
    detail: Details | None = None


def read_files(root: Path, cache: Cache, seen: Seen, known: dict[str, Record]) -> dict[str, Record]:
    """The record of each file that was seen: the known one where that still holds, else a new one, which is stored."""
    gone = [path for path in known if path not in seen.keys]
    jobs = [
        Job(path, key, known.get(path))
        for path, key in seen.keys.items()
        if key is None or path not in known or known[path].key != key
    ]
    for path in gone:
        del known[path]
    if not jobs and not gone:
        return known
    fresh = read_all(jobs, lambda jobs: [_read(root, job) for job in jobs])
    trusted = cache.trusted_before(root / TASKS, seen.begun)
    records = {path: _without_young_key(record, trusted) for path, record, _ in fresh}
    changed = {path: record for path, record in records.items() if known.get(path) != record}
    if changed or gone:
        cache.store(changed, {path: detail for path, _, detail in fresh if detail is not None}, gone)
    return {**known, **records}


def read_paths(root: Path, cache: Cache, paths: Collection[str]) -> dict[str, Record]:
    """The records of the files at these paths, as they are now; of those that are there."""
    begun = time.time_ns()
    keys = {path: look_at(root / path) for path in paths if os.path.lexists(f"{root}/{path}")}
    return read_files(root, cache, Seen(keys, begun), cache.records(paths))


def _without_young_key(record: Record, trusted: int) -> Record:
    key = record.key
    return record._replace(key=None) if key and max(key[1], key[2]) >= trusted else record


def read_all(jobs: Sequence[Job], read: Callable[[Sequence[Job]], list[Fresh]]) -> list[Fresh]:
    """What all of the files gave; of many a second process reads one half."""
    if len(jobs) < FORK_ABOVE:
        return read(jobs)
    import dagtasks.store.rows  # noqa: F401 - once, before there are two processes that need it

    with beside(lambda: _dump(read(jobs[1::2]))) as answer:
        fresh = read(jobs[::2])
        found = marshal.loads(answer())  # noqa: S302 - it comes from a process of our own
    return fresh + [Fresh(path, Record._make(record), detail) for path, record, detail in found]


def _dump(fresh: Sequence[Fresh]) -> bytes:
    return marshal.dumps([(path, tuple(record), detail) for path, record, detail in fresh])


def _read(root: Path, job: Job) -> Fresh:
    """The record of the file. The old one stays while its bytes are the same."""
    file = f"{root}/{job.path}"  # a Path for each of 100,000 files takes longer than reading it
    found = place(job.path)
    if found is None or check_place(found):
        return pass_over(job, found, is_symlink=os.path.islink(file))  # noqa: PTH114
    try:
        content = read_file(file)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return pass_over(job, found, is_symlink=True)
        return _read_unreadable(root, found)
    return read_content(job, found, content)


def pass_over(job: Job, found: Place | None, *, is_symlink: bool) -> Fresh:
    """The record of a file that is wrong by what it is or where it lies, or no matter of ours; nothing is read."""
    wrong = check_symlink(job.path) if is_symlink else found and check_place(found)
    return refuse(job, found, wrong) if wrong else Fresh(job.path, Record(job.key, _digest(job.path), None, ()))


def refuse(job: Job, found: Place | None, wrong: Finding) -> Fresh:
    """The record of a file that cannot be used; its content is not looked at."""
    row = BrokenFile(job.path, found.kind if found else "other", Path(job.path).stem, found.project if found else None)
    problem = Problem(job.path, 0, 0, wrong.code, wrong.message, wrong.hint, wrong.severity)
    record = Record(job.key, _digest(job.path, wrong.code.encode()), pack_row(row), (pack(problem),))
    return Fresh(job.path, record)


def read_content(job: Job, found: Place, content: bytes) -> Fresh:
    """What the content gives; the old record stays while it was made of the same."""
    digest = _digest(job.path, content)
    if job.old and job.old.digest == digest:
        return Fresh(job.path, job.old._replace(key=job.key))
    from dagtasks.store.documents import parse_document
    from dagtasks.store.rows import read_row

    row, problems, details = read_row(found, parse_document(content, found.path))
    return Fresh(found.path, Record(job.key, digest, pack_row(row), pack(tuple(problems))), pack(details))


def _read_unreadable(root: Path, found: Place) -> Fresh:
    """What to say about the file, now; it is asked again each time, because its key says nothing about permissions."""
    from dagtasks.store.documents import read_document
    from dagtasks.store.rows import read_row

    row, problems, _ = read_row(found, read_document(root / found.path, found.path))
    digest = _digest(found.path, repr((row, problems)).encode())
    return Fresh(found.path, Record(None, digest, pack_row(row), pack(tuple(problems))))


def _digest(path: str, content: bytes = b"") -> bytes:
    from hashlib import sha256

    return sha256(b"%d %s %s" % (len(path), path.encode("utf-8", "surrogateescape"), content)).digest()[:16]
