"""Looking at the files of a work tree without reading them: which there are, and whether they are still the same.

What is seen of a folder is kept as two packed values. To compare these takes a tenth of the time that a key for each of
its files would take, and most often nothing has changed.
"""

from __future__ import annotations

import marshal
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from struct import Struct, error
from typing import NamedTuple

from dagtasks.errors import Problem
from dagtasks.store.fork import beside
from dagtasks.store.layout import list_folder, top_folders
from dagtasks.store.records import Key, pack, unpack_problem

Keys = tuple[str, bytes]
"""The names of the files in a folder with `/` between them, and their keys, packed."""

_FORM = Struct("<qqqQ")
_UNKNOWN = (-1, -1, -1, 0)
_FOLDERS = 32
"""So many folders are enough to give half of them to a second process."""


class Scan(NamedTuple):
    """What was seen: `folders` that differ from what was known, and the names of those that are the `same`.

    `problems` are those of folders that cannot be read. `begun` is when the first file was looked at.
    """

    folders: dict[str, Keys]
    same: list[str]
    problems: list[Problem]
    begun: int


def scan(root: Path, known: Mapping[str, Keys] | None = None, *, in_two: bool = False) -> Scan:
    """All files that may be tasks, phases, projects or templates, and all symlinks, as they are now.

    `known` is what an earlier scan saw. With `in_two` a second process looks at half of the folders.
    """
    walk = _Walk(root, known or {})
    folders, links = top_folders(root)
    walk.note("", [root / name for name in links])
    if in_two:
        walk.go_in_two(folders)
    else:
        walk.go(folders)
    return walk.seen


def unpack_keys(folders: Mapping[str, Keys]) -> Iterator[tuple[str, Key | None]]:
    """The path and the key of each file; None for one that could not be looked at, and for one that is not trusted."""
    for folder, (names, packed) in folders.items():
        for name, key in zip(names.split("/"), _FORM.iter_unpack(packed), strict=True):
            yield f"{folder}/{name}" if folder else name, None if key == _UNKNOWN else key


def forget_keys(folders: Mapping[str, Keys], paths: Iterable[str]) -> dict[str, Keys]:
    """The same without the keys of the files at these paths, so that they differ from whatever is seen next."""
    untrusted: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        untrusted.setdefault(folder, set()).add(name)
    return {**folders, **{folder: _without(folders[folder], names) for folder, names in untrusted.items()}}


def _without(keys: Keys, untrusted: set[str]) -> Keys:
    names, packed = keys
    pairs = zip(names.split("/"), _FORM.iter_unpack(packed), strict=True)
    return names, b"".join([_FORM.pack(*(_UNKNOWN if name in untrusted else key)) for name, key in pairs])


def look_at(file: Path) -> Key | None:
    """The key of the file, if it can be looked at."""
    [key] = _FORM.iter_unpack(_key(file))
    return None if key == _UNKNOWN else key


class _Walk:
    """A walk through folders that notes what it sees."""

    def __init__(self, root: Path, known: Mapping[str, Keys]) -> None:
        self._root = str(root)  # to write a Path into the path of each folder would take longer than to look there
        self._known = known
        self.seen = Scan({}, [], [], time.time_ns())

    def go(self, folders: Iterable[str]) -> None:
        """Look into these folders and all below them."""
        waiting = [*folders]
        while waiting:
            waiting += self._look_into(waiting.pop())

    def go_in_two(self, folders: Sequence[str]) -> None:
        """The same, with a second process as soon as there is something to divide."""
        while folders and len(folders) < _FOLDERS:
            folders = [deeper for folder in folders for deeper in self._look_into(folder)]
        if not folders:
            return
        with beside(lambda: self._send(folders[1::2])) as answer:
            self.go(folders[::2])
            self._receive(answer())

    def _send(self, folders: Sequence[str]) -> bytes:
        walk = _Walk(Path(self._root), self._known)
        walk.go(folders)
        return marshal.dumps((walk.seen.folders, walk.seen.same, pack(walk.seen.problems)))

    def _receive(self, content: bytes) -> None:
        differing, same, problems = marshal.loads(content)  # noqa: S302 - it comes from a process of our own
        self.seen.folders.update(differing)
        self.seen.same.extend(same)
        self.seen.problems.extend(map(unpack_problem, problems))

    def _look_into(self, folder: str) -> list[str]:
        files, deeper = list_folder(self._root, folder, self._refuse)
        if files:
            self.note(folder, [file for file in files if file.name.endswith((".yaml", ".yml")) or file.is_symlink()])
        return deeper

    def _refuse(self, folder: str, error: OSError) -> None:
        hint = "check that you may read it"
        self.seen.problems.append(Problem(folder, 0, 0, "DT101", f"the folder cannot be read: {error.strerror}", hint))

    def note(self, folder: str, files: Sequence[os.DirEntry[str] | Path]) -> None:
        """Keep what can be seen of the files in the folder."""
        if not files:
            return
        keys = "/".join([file.name for file in files]), _pack(files)
        if self._known.get(folder) == keys:
            self.seen.same.append(folder)
        else:
            self.seen.folders[folder] = keys


def _pack(files: Sequence[os.DirEntry[str] | Path]) -> bytes:
    form = _FORM.pack
    try:
        found = [file.stat(follow_symlinks=False) for file in files]
        return b"".join([form(one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for one in found])
    except (OSError, error):
        return b"".join([_key(file) for file in files])


def _key(file: os.DirEntry[str] | Path) -> bytes:
    try:
        found = file.stat(follow_symlinks=False)
        return _FORM.pack(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    except (OSError, error):
        return _FORM.pack(*_UNKNOWN)  # gone, forbidden or of another century: reading it will tell
