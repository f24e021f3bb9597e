"""Loading: from the files of a work tree to the index."""

from __future__ import annotations

import marshal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dagtasks.planning.index import Index
from dagtasks.store.cache import Cache
from dagtasks.store.scanning import Scan, scan
from dagtasks.store.snapshot import Snapshot, read_snapshot

if TYPE_CHECKING:
    from dagtasks.store.sharing import Shared

MANY = 2000
"""From so many tasks on, a second process is worth its start."""


def load_index(root: Path, cache: Cache, shared: Shared | None = None) -> Index:
    """The index of the work tree at `root`, with the problems of all files and of the links between them.

    That is the snapshot of the cache, if no file has changed since; only else are the modules imported that read files.
    What is `shared` stands for the cache as long as it is true.
    """
    return shared.load(lambda: _load(root, cache, shared)) if shared else _load(root, cache, None)


def _load(root: Path, cache: Cache, shared: Shared | None) -> Index:
    known, index = (shared and shared.known) or _recall(cache)
    found = scan(root, known.keys, in_two=len(known.tasks) >= MANY) if known else scan(root)
    if known and not found.problems:
        if not found.folders and len(found.same) == len(known.keys):
            return _keep(known, index or known.make_index(), shared)
        from dagtasks.store.updating import update

        if index := update(root, cache, known, found):
            return _forget(index, shared)
    return _forget(_load_all(root, cache, known, found), shared)


def _recall(cache: Cache) -> tuple[Snapshot | None, Index | None]:
    content = cache.snapshot()
    return read_snapshot(content) if content else None, None


def _keep(known: Snapshot, index: Index, shared: Shared | None) -> Index:
    if shared:
        shared.known = known, index
    return index


def _forget(index: Index, shared: Shared | None) -> Index:
    """The cache has something newer than what was shared."""
    if shared:
        shared.known = None
    return index


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
