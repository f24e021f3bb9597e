"""What Git's hooks call: they look at what Git did, and tell. Git's own answer stays what it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from dagtasks.errors import InvalidInput, InvalidProject, ProjectNotFound
from dagtasks.model.names import choose_from
from dagtasks.store.files import LOCK_HELD
from dagtasks.store.git import Git
from dagtasks.store.project import Project, find_project

DEPTH = "DAGTASKS_DEPTH"
"""Set in what a run starts: its commits start nothing."""
SECONDS = 10
"""A hook that is not ready by then gives up."""
SHOWN = 20


class Call(NamedTuple):
    """A hook that Git called: its arguments, and the repository with the index that Git works with."""

    arguments: Sequence[str]
    project: Project


def run(name: str, arguments: Sequence[str], start: Path, *, use_cache: bool = True) -> list[str]:
    """Do what the hook is for and return what is to be said, a line each.

    Raises `InvalidProject` when a check that was asked for says no, and `InvalidInput` for an unknown hook.
    """
    if name not in _HOOKS:
        raise InvalidInput(f"there is no hook {name!r} of dagtasks", hint=choose_from(name, _HOOKS))
    call = _find_call(arguments, start, use_cache=use_cache)
    if call is None:
        return []
    try:
        with _limit(SECONDS):
            return _HOOKS[name](call)
    except _TooLong:
        return [f"dagtasks: {name} took longer than {SECONDS} s and was given up; see: dagtasks validate --changed"]


def _find_call(arguments: Sequence[str], start: Path, *, use_cache: bool) -> Call | None:
    """What Git called us for; None where there is nothing to do."""
    if os.environ.get(DEPTH):
        return None
    try:
        project = find_project(start, use_cache=use_cache)
    except ProjectNotFound:
        return None
    # Git names the repository that it works in where that is not the one around us: then this is not our business.
    named = os.environ.get("GIT_DIR")
    if project.git is None or (named and Path(named).resolve() != project.git.git_dir.resolve()):
        return None
    index = os.environ.get("GIT_INDEX_FILE")
    return Call(arguments, project.with_index(Path(index).absolute()) if index else project)


# --- the hooks ----------------------------------------------------------------------------------------------------


def _post_merge(call: Call) -> list[str]:
    is_squash = call.arguments[:1] == ["1"]
    if is_squash or _is_busy(call.project.get_git()):
        return []
    return _tell(call.project, "ORIG_HEAD")


def _post_commit(call: Call) -> list[str]:
    """A merge that stopped ends with a plain commit; no hook of merges is called then."""
    git = call.project.get_git()
    if os.environ.get(LOCK_HELD) or _is_busy(git) or not git.find_commit("HEAD^2"):
        return []
    return _tell(call.project, "HEAD^1")


def _post_rewrite(call: Call) -> list[str]:
    """Called once at the end of a rebase, while its folder is still there; an amended commit brings nothing."""
    return _tell(call.project, "ORIG_HEAD") if call.arguments[:1] == ["rebase"] else []


def _pre_commit(call: Call) -> list[str]:
    """Our own commands have checked what they commit."""
    from dagtasks.service.checks import find_staged

    if os.environ.get(LOCK_HELD):
        return []
    problems = find_staged(call.project)
    if problems:
        raise InvalidProject(
            "what is staged has errors, so nothing was committed",
            hint="mend it and `git add` it; `git commit --no-verify` commits without this check",
            problems=problems,
        )
    return []


_HOOKS: dict[str, Callable[[Call], list[str]]] = {
    "post-commit": _post_commit,
    "post-merge": _post_merge,
    "post-rewrite": _post_rewrite,
    "pre-commit": _pre_commit,
}


def _is_busy(git: Git) -> bool:
    """Whether a rebase, or a merge that is no commit yet, is under way. Its mark outlives the hook of a merge."""
    if any((git.git_dir / name).exists() for name in ("rebase-merge", "rebase-apply")):
        return True
    merging = git.git_dir / "MERGE_HEAD"
    if not merging.exists():
        return False
    parents = git.read("rev-parse", "HEAD^@").split()
    return not set(merging.read_text(errors="replace").split()) <= set(parents)


def _tell(project: Project, since: str) -> list[str]:
    from dagtasks.service.checks import find_brought

    if project.get_git().find_commit(since) is None:
        return []
    brought = find_brought(project, since)
    lines = [f"dagtasks: {problem}" for problem in brought.problems[:SHOWN]]
    left = len(brought.problems) - len(lines)
    if left:
        lines.append(f"dagtasks: {left} more; see: dagtasks validate --changed={since}")
    if brought.unseen:
        lines.append(
            f"dagtasks: {brought.unseen} older merges were not compared; see: dagtasks validate --changed={since}"
        )
    return lines


class _TooLong(Exception):
    """The hook has used up its time."""


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
