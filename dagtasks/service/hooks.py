"""Hooks of Git: installed when somebody asks for it, taken out again, and how they stand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dagtasks.errors import Conflict, InvalidInput
from dagtasks.model.names import choose_from
from dagtasks.service import dispatch, drift
from dagtasks.store.hooks import BY_HAND, CHECKING, GONE, Folder, HookFile, State, find_folder
from dagtasks.store.project import Project

__all__ = ["BY_HAND", "GONE", "HOOKS", "State", "find_refusal", "install", "program", "status", "uninstall"]

AFTERWARDS = ("post-applypatch", "post-checkout", "post-commit", "post-merge", "post-rewrite")
"""The hooks that only look: `install` puts these in. The others must be asked for by their names."""
HOOKS = (*AFTERWARDS, *CHECKING)


def status(project: Project, names: Iterable[str] = HOOKS) -> list[State]:
    """How each hook stands."""
    folder = find_folder(project.get_git())
    return [HookFile.of(folder.path, name).look() for name in names]


def find_refusal(project: Project) -> str:
    """Why no hooks can be installed in this clone; "" when they can."""
    return find_folder(project.get_git()).refusal


def install(project: Project, names: Sequence[str]) -> list[State]:
    """Put hooks in: those that only look, or those named. Raises `Conflict` where that is no business of ours.

    What was changed by hand is left as it is.
    """
    command = _command(project)

    def install_one(file: HookFile) -> State:
        state = file.look()
        return state if state.state == BY_HAND else file.install(command)

    states = _each(project, _known(names) or AFTERWARDS, install_one, what="hooks install", refuse=_refuse)
    dispatch.begin(project)
    drift.begin(project)
    return states


def uninstall(project: Project, names: Sequence[str]) -> list[State]:
    """Take hooks out: all of ours, or those named. What was changed by hand is left as it is."""

    def uninstall_one(file: HookFile) -> State:
        return file.look() if file.find_command() is None else file.uninstall()

    return _each(project, _known(names) or HOOKS, uninstall_one, what="hooks uninstall", refuse=lambda _: None)


def _known(names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in HOOKS:
            raise InvalidInput(f"there is no hook {name!r} of dagtasks", hint=choose_from(name, HOOKS))
    return [name for name in HOOKS if name in names]


def _each(
    project: Project,
    names: Iterable[str],
    change: Callable[[HookFile], State],
    *,
    what: str,
    refuse: Callable[[Folder], None],
) -> list[State]:
    folder = find_folder(project.get_git())
    refuse(folder)
    with project.lock(what):
        return [change(HookFile.of(folder.path, name)) for name in names]


def _refuse(folder: Folder) -> None:
    if folder.refusal:
        line = shlex.join([*program(), "hooks", "run"])
        raise Conflict(folder.refusal, hint=f'add a line to the hooks there yourself: {line} post-merge "$@"')


def _command(project: Project) -> list[str]:
    """The words that a hook calls, which Git starts at the top of the work tree."""
    below = project.get_git().read("rev-parse", "--show-prefix").rstrip("/")
    return [*program(), *(["-C", below] if below else [])]


def program() -> list[str]:
    """The words that start this installation, without PATH; and never a folder of the work tree called dagtasks."""
    script = Path(sys.executable).with_name("dagtasks")
    return [str(script)] if script.is_file() else [sys.executable, "-P", "-m", "dagtasks"]
