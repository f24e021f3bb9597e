"""The index of a commit, or of what is staged: read from Git's objects by the code that reads a work tree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.errors import Finding
from dagtasks.planning.index import Index
from dagtasks.store.around import read_task
from dagtasks.store.cache import Cache
from dagtasks.store.files import MAX_BYTES
from dagtasks.store.git import Git
from dagtasks.store.judging import judge
from dagtasks.store.layout import COMMENTS, TASKS, TEMPLATES, check_place, place
from dagtasks.store.reading import Fresh, Job, Seen, pass_over, read_all, read_content, read_files, refuse
from dagtasks.store.records import Details, Record
from dagtasks.store.scanning import scan, unpack_keys

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


class Memo(NamedTuple):
    """What files gave that were read before.

    `records` holds them by all that a record is made of, so that nothing in it ever becomes wrong. Those in `likely`,
    by path, hold where a file turns out to have the same bytes.
    """

    records: dict[Entry, Record]
    likely: Mapping[str, Record]


class Tree:
    """The files below `tasks/` and `templates/` as a commit has them, or Git's index. Submodules are left out.

    `commit` is the id of the commit. What the memo has is not read again, and what is read is put into it.
    """

    def __init__(self, git: Git, entries: Iterable[Entry], memo: Memo, commit: str | None = None) -> None:
        self.commit = commit
        self._git = git
        self._memo = memo
        self._entries = {entry.path: entry for entry in entries if _is_looked_at(entry)}

    def load(self) -> Index:
        """The index, with the problems of all files."""
        known, likely = self._memo
        jobs = [Job(path, old=likely.get(path)) for path, entry in self._entries.items() if entry not in known]
        known.update({self._entries[path]: record for path, record, _ in read_all(jobs, self._read)})
        records = {path: known[entry] for path, entry in self._entries.items()}
        return judge(records, (), self.read_documents).whole

    def narrow(self, paths: Collection[str]) -> Tree:
        """The same with the files at these paths alone."""
        entries = (entry for path, entry in self._entries.items() if path in paths)
        return Tree(self._git, entries, self._memo, self.commit)

    def load_details(self, path: str) -> Details:
        """`description` and `workflows` of the task in that file. Raises `InvalidProject` when the file is wrong."""
        from dagtasks.store.rows import details_of

        [document] = self.read_documents([path])
        return details_of(read_task(document))

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
        return read_contents(self._git, [self._entries[path].blob for path in paths])


def read_document_at(git: Git, revision: str, path: str) -> Document | None:
    """The file at the path (from the root) as that commit has it, or with "" Git's index; None when it is not there."""
    from dagtasks.store.documents import parse_document

    blob = git.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}:./{path}")
    return parse_document(next(read_contents(git, [blob])), path) if blob else None


def read_contents(git: Git, blobs: Sequence[str]) -> Iterator[bytes]:
    """What the blobs hold, one after the other; of one that is too large for a file as much as it takes to see that."""
    sizes = git.read_sizes(blobs)
    fit = git.read_blobs([blob for blob, size in zip(blobs, sizes, strict=True) if size <= MAX_BYTES])
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


def read_commit(git: Git, commit: str, memo: Memo) -> Tree:
    """The tree of the commit with that id, below the folder that `git` is at; empty when it has no such folder."""
    folder = git.read("rev-parse", "--show-prefix")
    tree = git.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{folder}")
    listing = git.read("ls-tree", "-r", "-z", "--full-tree", tree, "--", TASKS, TEMPLATES) if tree else ""
    return Tree(git, (_committed(line) for line in listing.split("\0") if line), memo, commit)


def _committed(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, _, blob = facts.split(" ")
    return Entry(path, mode, blob)


def read_staged(git: Git, memo: Memo) -> Tree:
    """The tree that the next commit will have. A file that is only announced (`git add -N`) is not in it."""
    announced = _differing(git, "--diff-filter=A")
    return Tree(git, (entry for _, entry in _read_index(git) if entry.path not in announced), memo)


def _differing(git: Git, *options: str) -> set[str]:
    """The files that are not in the work tree as Git's index has them."""
    names = git.read("diff-files", "--name-only", "-z", "--relative", *options, "--", TASKS, TEMPLATES)
    return set(names.split("\0"))


def _read_index(git: Git) -> Iterator[tuple[str, Entry]]:
    """The files of Git's index, each with its tag: `H`, but for those whose place in the work tree is not looked at."""
    for line in git.read("ls-files", "--stage", "-v", "-z", "--", TASKS, TEMPLATES).split("\0"):
        facts, _, path = line.partition("\t")
        if path:
            tag, mode, blob, stage = facts.split(" ")
            yield tag, Entry(path, mode if stage == "0" else _UNMERGED, blob)


def read_memo(git: Git, cache: Cache) -> Memo:
    """What the cache knows of the files that are in the work tree as Git's index has them; often that is nearly all."""
    differing = _differing(git)
    same = (entry for tag, entry in _read_index(git) if tag == "H" and entry.path not in differing)
    entries = {entry.path: entry for entry in same if entry.mode != _SYMLINK}
    # Git looked before, but not so long before that a file whose key can be trusted may have changed in between.
    found = scan(git.root)
    records = read_files(git.root, cache, Seen(dict(unpack_keys(found.folders)), found.begun), cache.records())
    known = {entries[path]: record for path, record in records.items() if record.key and path in entries}
    return Memo(known, records)
