"""Loading: from the files of a work tree to the index."""

from __future__ import annotations

import marshal
from functools import partial
from pathlib import Path

from dagtasks.planning.index import Index
from dagtasks.store.cache import Cache
from dagtasks.store.scanning import Scan, scan
from dagtasks.store.snapshot import Snapshot, read_snapshot

MANY = 2000
"""From so many tasks on, a second process is worth its start."""


def load_index(root: Path, cache: Cache) -> Index:
    """The index of the work tree at `root`, with the problems of all files and of the links between them.

    That is the snapshot of the cache, if no file has changed since; only else are the modules imported that read files.
    """
    content = cache.snapshot()
    known = read_snapshot(content) if content else None
    found = scan(root, known.keys, in_two=len(known.tasks) >= MANY) if known else scan(root)
    if known and not found.problems:
        if not found.folders and len(found.same) == len(known.keys):
            return known.make_index()
        from dagtasks.store.updating import update

        if index := update(root, cache, known, found):
            return index
    return _load_all(root, cache, known, found)


def _load_all(root: Path, cache: Cache, known: Snapshot | None, found: Scan) -> Index:
    from dagtasks.store.judging import judge, read_documents, take_snapshot
    from dagtasks.store.reading import Seen, read_files
    from dagtasks.store.scanning import forget_keys, unpack_keys

    folders = {**({folder: known.keys[folder] for folder in found.same} if known else {}), **found.folders}
    records = read_files(root, cache, Seen(dict(unpack_keys(folders)), found.begun), cache.records())
    placed = marshal.loads(known.placed) if known else {}  # noqa: S302 - the cache has looked at the seal
    judged = judge(records, found.problems, partial(read_documents, root), placed)
    if not found.problems:
        keys = forget_keys(folders, (path for path, record in records.items() if record.key is None))
        cache.store_snapshot(take_snapshot(keys, judged, records).dump())
    return judged.whole
