"""What Git knows of merges: their parents, what they changed, and the versions of files that it could not merge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dagtasks.errors import GitError
from dagtasks.planning.merges import BlobChange
from dagtasks.store.git import Git

_CONFLICT_STYLES = ((), ("--diff3",), ("--zdiff3",))
_MARKS = ("<" * 7, "|" * 7, ">" * 7)


class Merging(NamedTuple):
    """A merge: its parents, and its commit (None while it is under way)."""

    parents: tuple[str, ...]
    commit: str | None = None


def read_merges(git: Git, since: str) -> Iterator[Merging]:
    """The merges that HEAD has and the commit `since` has not, newest first; the one under way before them."""
    merging = git.git_dir / "MERGE_HEAD"
    head = git.head().commit
    if head and merging.exists():
        yield Merging((head, *merging.read_text(errors="replace").split()))
    for line in git.read("rev-list", "--merges", "--parents", "--end-of-options", f"{since}..HEAD").splitlines():
        commit, *parents = line.split()
        yield Merging(tuple(parents), commit)


def find_base(git: Git, one: str, other: str) -> str | None:
    """The best common ancestor of two commits, or None."""
    return git.find("merge-base", one, other)


def is_shallow(git: Git) -> bool:
    """Whether the clone lacks a part of its history."""
    return git.read("rev-parse", "--is-shallow-repository") == "true"


def read_changes(git: Git, base: str, commit: str | None, folder: str) -> dict[str, BlobChange]:
    """The files below the folder that differ between two commits (None: the index), by path relative to the root."""
    command = ("diff-index", "--cached") if commit is None else ("diff-tree", "-r")
    ends = (base,) if commit is None else (base, commit)
    options = ("--raw", "-z", "--no-renames", "--relative", "--no-abbrev", "--no-ext-diff")
    parts = iter(git.read(*command, *options, "--end-of-options", *ends, "--", folder).split("\0"))
    return {path: _change(facts) for facts, path in zip(parts, parts, strict=False) if path}


def _change(facts: str) -> BlobChange:
    _, _, before, after, _ = facts.split(" ")
    return BlobChange(*(blob if blob.strip("0") else None for blob in (before, after)))


_NAMES = ("--name-only", "-z", "--relative", "--no-renames", "--no-ext-diff", "--no-textconv")


def read_changed_paths(git: Git, since: str) -> set[str]:
    """The files, relative to the root, that are not as they were in that commit, new ones too."""
    untracked = git.read("ls-files", "--others", "--exclude-standard", "-z")
    return {*_split(git.read("diff", *_NAMES, "--end-of-options", since, "--")), *_split(untracked)}


def read_committed_paths(git: Git, since: str) -> set[str]:
    """The files, relative to the root, that HEAD has not as that commit has them."""
    return _split(git.read("diff", *_NAMES, "--end-of-options", since, "HEAD", "--"))


def read_staged_paths(git: Git) -> set[str]:
    """The files, relative to the root, that Git's index has not as HEAD has them."""
    return _split(git.read("diff", "--cached", *_NAMES, "--"))


def read_unpushed_paths(git: Git, commit: str, remote: str) -> set[str]:
    """The files, relative to the root, that commits change which the remote, as far as is known here, has not."""
    names = git.read("log", "--format=", "-m", *_NAMES, commit, "--not", f"--remotes={remote}", "--")
    return _split(names)


def _split(paths: str) -> set[str]:
    return {path for path in paths.split("\0") if path}


def read_unmerged(git: Git, *paths: str) -> dict[str, dict[int, str]]:
    """The blobs of each unmerged path, by stage: 1 the base, 2 ours, 3 theirs."""
    found: dict[str, dict[int, str]] = {}
    for entry in git.read("ls-files", "--unmerged", "-z", "--", *paths).split("\0"):
        facts, _, path = entry.partition("\t")
        if path:
            _, blob, stage = facts.split(" ")
            found.setdefault(path, {})[int(stage)] = blob
    return found


def read_blobs(git: Git, blobs: Iterable[str]) -> dict[str, bytes]:
    """The contents of blobs, by id, read by one process."""
    wanted = sorted(set(blobs))
    return dict(zip(wanted, git.read_blobs(wanted), strict=True))


def is_untouched(git: Git, content: bytes, versions: Mapping[int, bytes]) -> bool:
    """Whether the content of an unmerged file is what Git itself left there, so that no work by hand is in it."""
    if content in (versions[2], versions[3]):
        return True
    return any(without_labels(content) == without_labels(left) for left in _left_by_git(git, versions))


def without_labels(content: bytes) -> list[str]:
    """The lines, conflict marks without the names of the sides."""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    return [line[:7] if line.startswith(_MARKS) else line for line in lines]


def _left_by_git(git: Git, versions: Mapping[int, bytes]) -> Iterator[bytes]:
    with TemporaryDirectory() as name:
        ours, base, theirs = (Path(name, side) for side in ("ours", "base", "theirs"))
        base.write_bytes(versions.get(1, b""))
        theirs.write_bytes(versions[3])
        for style in _CONFLICT_STYLES:
            ours.write_bytes(versions[2])
            # Its status is the number of conflicts.
            with suppress(GitError):
                git.write("merge-file", *style, str(ours), str(base), str(theirs))
            yield ours.read_bytes()
