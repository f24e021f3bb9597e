"""The branch that ours follows on a remote: its tip, and a commit put on top of it without touching anything here.

What is read from the remote goes into the objects alone, no ref moves; a commit is pushed only onto the tip that it was
made on. So of two clones that do this at once one wins, and the other has changed nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dagtasks.errors import GitError
from dagtasks.store.git import Git
from dagtasks.store.pushes import note_push

_FETCH = (
    *("--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "--no-auto-maintenance"),
    "--no-recurse-submodules",
)


# What git says of a branch that moved, or just does: the remote need not show it yet.
_MOVED = re.compile(
    r"stale info|fetch first|non-fast-forward|cannot lock ref|failed to update ref|\.lock': File exists"
)


class Upstream(NamedTuple):
    """The branch `branch` here follows `ref` of the remote."""

    branch: str
    remote: str
    ref: str

    @property
    def name(self) -> str:
        """As people call it: `origin/main`."""
        return f"{self.remote}/{self.ref.removeprefix('refs/heads/')}"


def find_upstream(git: Git) -> Upstream:
    """What the branch follows that is checked out. Raises `GitError` when it follows nothing on a remote."""
    branch = git.head().branch
    if branch is None:
        raise GitError("HEAD is on no branch, so there is nothing to push to", hint="switch to a branch first")
    remote, ref = (git.find("config", "--get", f"branch.{branch}.{key}") for key in ("remote", "merge"))
    if not remote or not ref or remote == ".":
        hint = f"say where it goes: git push -u REMOTE {branch}"
        raise GitError(f"the branch {branch} follows no branch of a remote", hint=hint)
    return Upstream(branch, remote, ref)


def fetch_tip(git: Git, upstream: Upstream) -> str:
    """The commit that the remote has there now; it and what it comes from are here then. Raises `GitError`."""
    hint = f"nothing was changed; see whether git can reach it: git ls-remote {upstream.remote}"
    with _hinting(f"{upstream.remote} cannot be asked", hint):
        listing = git.read("ls-remote", "--quiet", "--end-of-options", upstream.remote, upstream.ref)
        tips = [line.partition("\t")[0] for line in listing.splitlines() if line.endswith(f"\t{upstream.ref}")]
        if tips and not git.find_commit(tips[0]):
            git.write("fetch", *_FETCH, "--refmap=", "--end-of-options", upstream.remote, upstream.ref)
    if not tips:
        hint = f"push it first: git push -u {upstream.remote} {upstream.branch}"
        raise GitError(f"{upstream.name} is not there on the remote", hint=hint)
    return tips[0]


def update_tracking(git: Git, upstream: Upstream) -> None:
    """Let the ref that stands for the upstream here (`origin/main`) follow it, as a push does by itself."""
    with suppress(GitError), note_push(git) as environment:
        git.write("fetch", *_FETCH, "--end-of-options", upstream.remote, upstream.ref, env=environment)


@contextmanager
def _hinting(what: str, hint: str) -> Iterator[None]:
    try:
        yield
    except GitError as error:
        raise GitError(f"{what}: {error.message}", hint=hint) from None


def push_onto(git: Git, upstream: Upstream, commit: str, tip: str) -> bool:
    """Move the branch on the remote from `tip` to `commit`; False when it is not at the tip any more.

    Raises `GitError` when the remote or a hook refuses it.
    """
    options = ("--quiet", "--no-follow-tags", "--recurse-submodules=no", f"--force-with-lease={upstream.ref}:{tip}")
    try:
        with note_push(git) as environment:
            target = f"{commit}:{upstream.ref}"
            git.write("push", *options, "--end-of-options", upstream.remote, target, env=environment)
    except GitError as error:
        return _has_arrived(git, upstream, commit, tip, error)
    return True


def _has_arrived(git: Git, upstream: Upstream, commit: str, tip: str, error: GitError) -> bool:
    """What a push came to that failed. Its words differ between servers, so the branch itself is looked at."""
    what = f"the push to {upstream.name} failed"
    with _hinting(f"{what}, and whether it arrived is not known", "run the same command again; that is safe"):
        now = fetch_tip(git, upstream)
    if now == tip and not _MOVED.search(error.message):
        raise GitError(f"{what}: {error.message}", hint="nothing was changed; the remote or a hook refuses it")
    # The answer may have been lost on the way.
    return now == commit


def commit_onto(git: Git, tip: str, path: str, content: bytes, message: str) -> str:
    """A commit on top of `tip` that gives the file that content, and nothing here is moved to it. Raises `GitError`.

    The hooks `pre-commit` and `commit-msg` have their say, as for any commit.
    """
    prefix = git.read("rev-parse", "--show-prefix")
    blob = git.write("hash-object", "-w", "--stdin", given=content)
    mode = git.read("ls-tree", tip, "--", path).partition(" ")[0] or "100644"
    with TemporaryDirectory(prefix="dagtasks-") as name:
        index = {"GIT_INDEX_FILE": str(Path(name) / "index")}
        git.write("read-tree", tip, env=index)
        entry = f"{mode} {blob}\t{prefix}{path}\0".encode("utf-8", "surrogateescape")
        git.write("update-index", "-z", "--index-info", given=entry, env=index)
        words = Path(name) / "COMMIT_EDITMSG"
        words.write_text(f"{message}\n", "utf-8")
        with _hinting("a hook refuses the commit", "nothing was changed"):
            git.write("hook", "run", "--ignore-missing", "pre-commit", env=index)
            git.write("hook", "run", "--ignore-missing", "commit-msg", "--", str(words), env=index)
        tree = git.write("write-tree", env=index)
        sign = ["--gpg-sign"] if git.find("config", "--type=bool", "--get", "commit.gpgSign") == "true" else []
        return git.write("commit-tree", tree, "-p", tip, *sign, "-F", str(words))
