"""The index of a commit, or of what is staged: read from Git's objects by the code that reads a work tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.errors import Finding
from dagtasks.planning.index import Index
from dagtasks.store.cache import Cache
from dagtasks.store.files import MAX_BYTES
from dagtasks.store.git import Git
from dagtasks.store.layout import COMMENTS, TASKS, TEMPLATES, check_place, place
from dagtasks.store.loading import make_index
from dagtasks.store.reading import Fresh, Job, pass_over, read_all, read_content, refuse
from dagtasks.store.records import Record

if TYPE_CHECKING:
    from dagtasks.store.documents import Document

_SYMLINK = "120000"
_SUBMODULE = "160000"
_UNMERGED = "unmerged"


class Entry(NamedTuple):
    """A file of a tree, by its path relative to the root. Files of equal entries are the same."""

    path: str
    mode: str
    blob: str


class Tree:
    """The files below `tasks/` and `templates/` as a commit has them, or Git's index. Submodules are left out."""

    def __init__(self, git: Git, entries: Iterable[Entry]) -> None:
        self._git = git
        self._entries = {entry.path: entry for entry in entries if _is_looked_at(entry)}
        self._records: Mapping[Entry, Record] = {}

    def load(self, known: Tree | None = None) -> Index:
        """The index, with the problems of all files. What the tree `known` has loaded is not read again."""
        kept = {entry: known._records[entry] for entry in self._entries.values() if known and entry in known._records}
        fresh = read_all([Job(path) for path, entry in self._entries.items() if entry not in kept], self._read)
        self._records = {**kept, **{self._entries[path]: record for path, record, _ in fresh}}
        records = {entry.path: record for entry, record in self._records.items()}
        return make_index(records, (), Cache(None), self.read_documents)

    def read_documents(self, paths: Sequence[str]) -> Iterator[Document]:
        """The documents at these paths, in this order. Raises `KeyError` for a path that is not in the tree."""
        from dagtasks.store.documents import parse_document

        return map(parse_document, self._read_contents(paths), paths)

    def _read(self, jobs: Sequence[Job]) -> list[Fresh]:
        passed = [fresh for job in jobs if (fresh := _pass_over(job, self._entries[job.path]))]
        left = {fresh.path for fresh in passed}
        jobs = [job for job in jobs if job.path not in left]
        contents = self._read_contents([job.path for job in jobs])
        return passed + [_read_placed(job, content) for job, content in zip(jobs, contents, strict=True)]

    def _read_contents(self, paths: Sequence[str]) -> Iterator[bytes]:
        """What the files hold, one after the other; of one that is too large as much as it takes to see that."""
        blobs = [self._entries[path].blob for path in paths]
        sizes = self._git.read_sizes(blobs)
        fit = self._git.read_blobs([blob for blob, size in zip(blobs, sizes, strict=True) if size <= MAX_BYTES])
        return (next(fit) if size <= MAX_BYTES else b" " * (MAX_BYTES + 1) for size in sizes)


def _is_looked_at(entry: Entry) -> bool:
    """As a walk of the work tree would find the file."""
    *folders, name = entry.path.split("/")
    if entry.mode == _SUBMODULE or folders[2:3] == [COMMENTS] or any(folder.startswith(".") for folder in folders):
        return False
    return entry.mode == _SYMLINK or name.endswith((".yaml", ".yml"))


def _pass_over(job: Job, entry: Entry) -> Fresh | None:
    """The record of a file whose content does not count."""
    found = place(job.path)
    if entry.mode == _UNMERGED:
        finding = Finding((), "DT106", "Git could not merge this file", "merge it field by field: dagtasks resolve")
        return refuse(job, found, finding)
    if entry.mode == _SYMLINK or found is None or check_place(found):
        return pass_over(job, found, is_symlink=entry.mode == _SYMLINK)
    return None


def _read_placed(job: Job, content: bytes) -> Fresh:
    found = place(job.path)
    assert found, f"{job.path} is no file of ours"  # noqa: S101 - for the type: `_pass_over` has taken the others
    return read_content(job, found, content)


def read_commit(git: Git, commit: str) -> Tree:
    """The tree of the commit with that id, below the folder that `git` is at; empty when it has no such folder."""
    folder = git.read("rev-parse", "--show-prefix")
    tree = git.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{folder}")
    if tree is None:
        return Tree(git, ())
    listing = git.read("ls-tree", "-r", "-z", "--full-tree", tree, "--", TASKS, TEMPLATES)
    return Tree(git, (_entry(line) for line in listing.split("\0") if line))


def _entry(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, _, blob = facts.split(" ")
    return Entry(path, mode, blob)


def read_staged(git: Git) -> Tree:
    """The tree that the next commit will have. A file that is only announced (`git add -N`) is not in it."""
    listing = git.read("ls-files", "--stage", "-z", "--", TASKS, TEMPLATES)
    new = git.read("diff-files", "--name-only", "-z", "--relative", "--diff-filter=A", "--", TASKS, TEMPLATES)
    announced = set(new.split("\0"))
    entries = (_staged_entry(line) for line in listing.split("\0") if line)
    return Tree(git, (entry for entry in entries if entry.path not in announced))


def _staged_entry(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, blob, stage = facts.split(" ")
    return Entry(path, mode if stage == "0" else _UNMERGED, blob)
