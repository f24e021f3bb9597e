"""What Git's hooks call: they look at what Git did, and tell. Git's own answer stays what it is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from dagtasks.errors import InvalidInput, InvalidProject, LockTimeout, ProjectNotFound
from dagtasks.model.names import choose_from
from dagtasks.service import dispatch
from dagtasks.service.dispatch import is_busy
from dagtasks.store.files import LOCK_HELD
from dagtasks.store.hooks import SPEAKER
from dagtasks.store.layout import WEBHOOKS
from dagtasks.store.process import DEPTH
from dagtasks.store.project import Project, find_project
from dagtasks.store.queue import Queue

SECONDS = 30
"""A hook that is not ready by then gives up: something is wrong, or the machine has far too much to do."""
LOCK_SECONDS = 2.0
"""So long a hook waits for others; then a runner looks for it."""
SHOWN = 20


class Call(NamedTuple):
    """A hook that Git called: its arguments, and the repository with the index that Git works with."""

    arguments: Sequence[str]
    project: Project


class Options(NamedTuple):
    """How a hook does its work. `in_foreground`: what it starts is done before it ends."""

    use_cache: bool = True
    in_foreground: bool = False


def run(name: str, arguments: Sequence[str], start: Path, options: Options) -> list[str]:
    """Do what the hook is for and return what is to be said, a line each.

    Raises `InvalidProject` when a check that was asked for says no, and `InvalidInput` for an unknown hook.
    """
    if name not in _HOOKS:
        raise InvalidInput(f"there is no hook {name!r} of dagtasks", hint=choose_from(name, _HOOKS))
    call = _find_call(arguments, start, options)
    if call is None:
        return []
    try:
        with _limit(SECONDS):
            lines = _HOOKS_BELOW_RUNS.get(name, _do_nothing)(call) if os.environ.get(DEPTH) else _HOOKS[name](call)
    except _TooLong:
        if not os.environ.get(DEPTH):
            _start_runner(call.project)  # it looks, too, and takes its time
        lines = [f"{SPEAKER}{name} took longer than {SECONDS} s and was given up; see: dagtasks validate --changed"]
    return [*lines, *_work(call.project, options)]


def _find_call(arguments: Sequence[str], start: Path, options: Options) -> Call | None:
    """What Git called us for; None where there is nothing to do."""
    try:
        project = find_project(start, use_cache=options.use_cache)
    except ProjectNotFound:
        return None
    # Git names the repository that it works in where that is not the one around us: then this is not our business.
    named = os.environ.get("GIT_DIR")
    if project.git is None or (named and Path(named).resolve() != project.git.git_dir.resolve()):
        return None
    index = os.environ.get("GIT_INDEX_FILE")
    project = project.with_index(Path(index).absolute()) if index else project
    return Call(arguments, project)


# --- the hooks ----------------------------------------------------------------------------------------------------


def _post_merge(call: Call) -> list[str]:
    is_squash = call.arguments[:1] == ["1"]
    if is_squash or is_busy(call.project):
        return []
    return [*_tell(call.project, "ORIG_HEAD"), *_look(call)]


def _post_commit(call: Call) -> list[str]:
    """A merge that stopped ends with a plain commit; no hook of merges is called then."""
    if is_busy(call.project):
        return []
    is_merge = not os.environ.get(LOCK_HELD) and call.project.get_git().find_commit("HEAD^2")
    return [*(_tell(call.project, "HEAD^1") if is_merge else ()), *_look(call)]


def _post_rewrite(call: Call) -> list[str]:
    """Called once at the end of a rebase, while its folder is still there; an amended commit has been looked at."""
    return [*_tell(call.project, "ORIG_HEAD"), *_look(call)] if call.arguments[:1] == ["rebase"] else []


def _post_applypatch(call: Call) -> list[str]:
    """`git am` keeps its folder until the last patch is applied; a rebase may have the same one."""
    is_rebase = any(
        (call.project.get_git().git_dir / name).exists() for name in ("rebase-merge", "rebase-apply/rebasing")
    )
    return [] if is_rebase else _look(call)


def _post_checkout(call: Call) -> list[str]:
    """A checkout of a branch starts nothing; one of files is a change like any edit."""
    if is_busy(call.project):
        return []
    if call.arguments[2:3] != ["1"]:
        return _look(call)
    with suppress(LockTimeout):
        dispatch.pass_over_checkout(call.project, seconds=LOCK_SECONDS)
    return []


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


def _pre_push(call: Call) -> list[str]:
    """Git tells a line for each ref: what is pushed and its commit, what that becomes there and what it was."""
    from dagtasks.service.checks import find_unpushed

    remote = call.arguments[0] if call.arguments else ""
    commits = [words[1] for words in map(str.split, sys.stdin) if len(words) == 4 and words[1].strip("0")]
    problems = find_unpushed(call.project, remote, commits)
    if problems:
        raise InvalidProject(
            "what is pushed has errors, so nothing was pushed",
            hint="mend it and commit; `git push --no-verify` pushes without this check",
            problems=problems,
        )
    return []


def _pass_over(call: Call) -> list[str]:
    """What the steps of a run commit starts nothing."""
    with suppress(LockTimeout):
        dispatch.pass_over_commit(call.project, seconds=LOCK_SECONDS)
    return []


def _do_nothing(_call: Call) -> list[str]:
    return []


_HOOKS: dict[str, Callable[[Call], list[str]]] = {
    "post-applypatch": _post_applypatch,
    "post-checkout": _post_checkout,
    "post-commit": _post_commit,
    "post-merge": _post_merge,
    "post-rewrite": _post_rewrite,
    "pre-commit": _pre_commit,
    "pre-push": _pre_push,
}
_HOOKS_BELOW_RUNS = {"post-commit": _pass_over}


def _look(call: Call) -> list[str]:
    """Queue what has been started, do what commits say of tasks, and say so."""
    # Our own commands say nothing of tasks in their commits, and are not done yet.
    look = dispatch.look if os.environ.get(LOCK_HELD) else dispatch.catch_up
    try:
        found = look(call.project, seconds=LOCK_SECONDS)
    except LockTimeout:
        # A runner looks, too, and waits longer.
        _start_runner(call.project)
        return []
    lines = [*found.said[:SHOWN]]
    if len(found.said) > SHOWN:
        lines.append(f"and {len(found.said) - SHOWN} more tasks")
    if found.queued:
        from dagtasks.triggers.runner import describe_queued  # all that runs need, and most changes start nothing

        lines.append(describe_queued(call.project, found.queued))
    return [f"{SPEAKER}{line}" for line in lines]


def _work(project: Project, options: Options) -> list[str]:
    """Have done what is in the queue, also what another runner has left there."""
    if os.environ.get(DEPTH) or not (Queue(project.get_git()).names() or _has_due(project)):
        return []
    if not options.in_foreground:
        _start_runner(project)
        return []
    from dagtasks.service.queue import name_of
    from dagtasks.triggers.runner import work

    return [f"{SPEAKER}{name_of(record)}: {record.status} ({record.id})" for record in work(project)]


def _has_due(project: Project) -> bool:
    """Whether something is to be told to endpoints of webhooks."""
    if not os.path.lexists(project.root / WEBHOOKS):
        return False
    from dagtasks.service.deliveries import has_due

    return has_due(project)


def _start_runner(project: Project) -> None:
    from dagtasks.triggers.runner import start

    start(project)


def _tell(project: Project, since: str) -> list[str]:
    from dagtasks.service.checks import find_brought

    if project.get_git().find_commit(since) is None:
        return []
    brought = find_brought(project, since)
    lines = [f"{SPEAKER}{problem}" for problem in brought.problems[:SHOWN]]
    left = len(brought.problems) - len(lines)
    if left:
        lines.append(f"{SPEAKER}{left} more; see: dagtasks validate --changed={since}")
    if brought.unseen:
        lines.append(
            f"{SPEAKER}{brought.unseen} older merges were not compared; see: dagtasks validate --changed={since}"
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
