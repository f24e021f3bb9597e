"""The files of Git's hooks: ours put in and taken out, and the hook that was there before kept and called first.

A hook of ours is one line that calls the program by its absolute path, and does nothing once that is gone. It is
recognised by being exactly that line; so what somebody wrote into it is never overwritten or removed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from dagtasks.errors import Conflict
from dagtasks.planning.drift import MEANINGS
from dagtasks.store.files import write_file
from dagtasks.store.git import Git

CHECKING = ("pre-commit", "pre-push")
"""The hooks that may stop Git: with the exit code `STOPPED` of ours, and no other."""
SPEAKER = "dagtasks: "
"""Begins each line that a hook of ours says."""
STOPPED = 7
GONE, BY_HAND = "program is gone", "changed by hand"
BEFORE = ".before-dagtasks"
"""What is added to the name of the hook that was there before."""

_AFTERWARDS = (
    '#!/bin/sh\nc="${{0%/*}}/{name}{before}"; s=0; [ ! -x "$c" ] || "$c" "$@" || s=$?; '
    '[ ! -x {program} ] || {unless}{command} hooks run {name} "$@"; exit $s\n'
)
_UNLESS_ELSEWHERE = (
    'case "$(git log -1 --first-parent -m --name-only --no-show-signature '
    f"--format='%(trailers:{','.join(f'key={name}' for name in MEANINGS)})' 2>&1)\" "
    "in *tasks/*|*templates/*|*:*) false;; esac || "
)
"""Git says ten times as fast as we could that a commit is none of tasks, and most are not. Its errors have a colon."""
_CHECK = (
    '#!/bin/sh\nc="${{0%/*}}/{name}{before}"; {read}[ ! -x "$c" ] || {give}"$c" "$@" || exit $?; '
    '[ ! -x {program} ] || {give}{command} hooks run {name} "$@" || [ $? -ne {stopped} ]\n'
)
_READ, _GIVE = 'i="$(cat; echo .)"; ', 'printf %s "${i%.}" | '
"""What Git tells a hook on its standard input is for both. A shell cuts off the last line breaks, but for the point."""
_COMMAND = re.compile(r".*; \[ ! -x .+? \] \|\| (?:case .+ esac \|\| |printf .+ \| )?(.+) hooks run ")


class State(NamedTuple):
    """How a hook stands.

    `state`: not installed, installed, chained (another one is called first), program is gone, changed by hand. `detail`
    says more: the command that is called, or what is in the way.
    """

    name: str
    state: str
    detail: str = ""


class HookFile(NamedTuple):
    """The file of a hook, and the one that was there before."""

    name: str
    path: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> Self:
        """The hook of that name in that folder."""
        return cls(name, folder / name)

    @property
    def before(self) -> Path:
        """Where the hook lies that was there before ours."""
        return self.path.with_name(self.name + BEFORE)

    def find_command(self) -> list[str] | None:
        """The words of the command that our hook calls; None when the file is not exactly ours."""
        text = self._read()
        found = _COMMAND.search(text)
        with suppress(ValueError):
            words = shlex.split(found[1]) if found else []
            return words if words and text == make_text(self.name, words) else None
        return None

    def look(self) -> State:
        """How the hook stands."""
        command = self.find_command()
        if command is None:
            return self._look_at_another()
        if not os.access(command[0], os.X_OK):
            return State(self.name, GONE, command[0])
        return State(self.name, "chained" if os.path.lexists(self.before) else "installed", shlex.join(command))

    def _look_at_another(self) -> State:
        if f"hooks run {self.name}" in self._read():
            return State(self.name, BY_HAND, str(self.path))
        there = "another hook is there; it would be called first" if os.path.lexists(self.path) else ""
        return State(self.name, "not installed", there)

    def _read(self) -> str:
        try:
            return self.path.read_text("utf-8", "surrogateescape")
        except (FileNotFoundError, IsADirectoryError):
            return ""

    def install(self, command: Sequence[str]) -> State:
        """Put our hook in its place, where none or a foreign one is. Raises `Conflict` when both names are taken."""
        text = make_text(self.name, command)
        if self._read() == text:
            return self.look()
        if self.find_command() is None and os.path.lexists(self.path):
            self._keep()
        write_file(self.path, text.encode("utf-8", "surrogateescape"), mode=0o755)
        return self.look()

    def _keep(self) -> None:
        """Give the hook that is there its second name; it keeps its bytes, its mode, and its first name for now."""
        if os.path.lexists(self.before):
            if self.path.samefile(self.before):
                return
            raise Conflict(
                f"{self.path} cannot be chained: {self.before.name} is there already",
                hint="call the one from the other, or give it another name",
            )
        if self.path.is_symlink():
            self.path.rename(self.before)
            return
        try:
            self.before.hardlink_to(self.path)
        except OSError:
            self.path.rename(self.before)

    def uninstall(self) -> State:
        """Take our hook away; the one that was there before is there again, byte for byte."""
        if os.path.lexists(self.before):
            self.before.replace(self.path)
        else:
            self.path.unlink()
        return self.look()


def make_text(name: str, command: Sequence[str]) -> str:
    """The whole of a hook of ours."""
    has_input = name == "pre-push"
    return (_CHECK if name in CHECKING else _AFTERWARDS).format(
        name=name,
        before=BEFORE,
        stopped=STOPPED,
        program=shlex.quote(command[0]),
        unless=_UNLESS_ELSEWHERE if name == "post-commit" else "",
        read=_READ if has_input else "",
        give=_GIVE if has_input else "",
        command=shlex.join(command),
    )


class Folder(NamedTuple):
    """Where the hooks of a repository lie, and why none may be put there ("": they may)."""

    path: Path
    refusal: str = ""


def find_folder(git: Git) -> Folder:
    """The folder of the hooks, shared by all work trees, or the one that `core.hooksPath` names."""
    configured = _hooks_path(git)
    if configured is None:
        return Folder(git.common_dir / "hooks")
    top = Path(git.read("rev-parse", "--show-toplevel"))
    folder = (top / configured).resolve()
    if folder.is_relative_to(git.common_dir.resolve()):
        return Folder(folder)
    if folder.is_relative_to(top.resolve()):
        return Folder(folder, f"core.hooksPath is {configured}: these hooks are the project's, and go to everybody")
    return Folder(folder, f"core.hooksPath is {configured}: these hooks are called in other repositories, too")


def _hooks_path(git: Git) -> str | None:
    """What is configured, but for what our own commands are given."""
    found = git.find("config", "--null", "--show-scope", "--type=path", "--get-all", "core.hooksPath") or ""
    words = found.split("\0")
    values = [value for scope, value in zip(words[::2], words[1::2], strict=False) if scope != "command"]
    return values[-1] if values else None
