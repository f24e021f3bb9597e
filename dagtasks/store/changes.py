"""What dagtasks committed on a branch in this clone, as Git itself remembers it.

Git's log of a branch (the reflog) says what moved the branch and is written together with that; our commits have a word
of their own in it. It belongs to this clone: what others committed with dagtasks is in no way ours to undo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dagtasks.store.commits import CHANGED, UNDONE, Written
from dagtasks.store.git import Git

_FACTS = "%an%x00%ae%x00%at%x00%s"
"""What stays of a commit when it is rebased or amended: author, author's time, subject."""


class OwnChange(NamedTuple):
    """A commit that dagtasks made; `parent` None: it is the first of all.

    `passed_over` are the subjects of those that were made later and are not there any more: dropped or rewritten.
    """

    commit: str
    parent: str | None
    subject: str
    passed_over: tuple[str, ...] = ()


def read_own_changes(git: Git) -> Iterator[OwnChange]:
    """The commits of this branch that dagtasks made here and did not undo yet, newest first.

    Those that were rebased or amended since are given as they are now.
    """
    head = git.head()
    made = _read_made(git, f"refs/heads/{head.branch}" if head.branch else "HEAD") if head.commit else {}
    if not made:
        return
    oldest = min(int(facts.split("\0")[2]) for facts in made)
    lines = _log(git, f"--format=%H%x00%P%x00{_FACTS}", f"--since=@{oldest - 1}", "--end-of-options", "HEAD")
    commits = [line.split("\0", 2) for line in lines]
    there = {facts for _, _, facts in commits}
    gone = [facts for facts in made if facts not in there]
    undone: list[str] = []
    for commit, parents, facts in commits:
        subject = _subject(facts)
        if facts not in made:
            continue
        if made[facts] == UNDONE:
            undone.append(subject)
        elif undo_subject(subject) in undone:
            undone.remove(undo_subject(subject))
        else:
            yield OwnChange(commit, parents or None, subject, _made_after(facts, made, gone))


def undo_subject(subject: str) -> str:
    """The subject of the commit that undoes the one with this subject."""
    return f"undo: {subject}"


def _made_after(facts: str, made: Mapping[str, str], gone: Sequence[str]) -> tuple[str, ...]:
    order = [*made]
    return tuple(_subject(other) for other in gone if order.index(other) < order.index(facts))


def _read_made(git: Git, ref: str) -> dict[str, str]:
    """The facts of all commits with which dagtasks moved the ref, newest first, and what it called the movement."""
    lines = _log(git, "--walk-reflogs", f"--format=%gs%x00{_FACTS}", "--end-of-options", ref)
    entries = (line.split("\0", 1) for line in lines)
    return {facts: action for said, facts in entries if (action := said.partition(": ")[0]) in (CHANGED, UNDONE)}


def _subject(facts: str) -> str:
    return facts.split("\0")[3]


def _log(git: Git, *arguments: str) -> Sequence[str]:
    printed = git.read("-c", "log.showSignature=false", "log", "--no-color", *arguments, "--")
    return printed.split("\n") if printed else []


def read_entries(git: Git, revision: str, paths: Sequence[str]) -> dict[str, str]:
    """The blobs that the commit has at these paths, relative to the root."""
    listing = git.read("ls-tree", "-r", "-z", revision, "--", *paths)
    entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
    return {path: facts.split(" ")[2] for facts, _, path in entries}


def find_uncommitted(git: Git) -> list[str]:
    """The files that dagtasks wrote after its last commit and nobody committed."""
    written = Written(git).later()
    return git.changed_paths(*written) if written else []
