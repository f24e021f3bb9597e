"""`init`: making a repository ready. Files that are there are never overwritten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from dagtasks import __version__
from dagtasks.board.scaffold import BOARD_FILES, write_board_files
from dagtasks.errors import InvalidInput
from dagtasks.service.hooks import status
from dagtasks.service.merging import ATTRIBUTES, configure_driver
from dagtasks.store.files import write_file
from dagtasks.store.git import find_git, init_repository
from dagtasks.store.origin import read_origin
from dagtasks.store.project import Project

IGNORED = ("site/", "config/.env", ".*.tmp")
"""Lines that `.gitignore` gets: the built board, the secrets of a machine, files of a write that was cut off."""


class Step(NamedTuple):
    """One thing that `init` did or left as it was."""

    path: str
    done: str


def init(path: Path, ci: str | None = None) -> list[Step]:
    """Make the folder ready for dagtasks: Git, tasks/, templates/, config/, the board, the merge driver.

    With the kind of a forge `ci` also its job that checks and publishes. Says what it did. In a clone of a repository
    that is ready, what is left to do is the driver. Raises `InvalidInput`.
    """
    if os.path.exists(path) and not path.is_dir():  # noqa: PTH110 - unlike `Path.exists`, no error for any name
        raise InvalidInput(f"{path} is no folder")
    if ci:
        _check_place_of_ci(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be made: {error.strerror}") from None
    steps = list(_init_git(path))
    steps += [_write_new(path, name, content) for name, content in starter_files()]
    steps.append(_add_lines(path, ".gitignore", IGNORED))
    steps.append(_add_lines(path, ".gitattributes", ATTRIBUTES))
    steps += init_board(path)
    steps += _write_ci(path, ci) if ci else ()
    steps += _set_up_git(path)
    return steps


def init_board(path: Path) -> list[Step]:
    """Write what the board needs, where it is missing."""
    written = [file.relative_to(path).as_posix() for file in write_board_files(path)]
    return [Step(name, "written" if name in written else "kept") for name in BOARD_FILES]


def _set_up_git(path: Path) -> Iterator[Step]:
    """Hooks run at every commit of everybody here: they are only mentioned."""
    project = Project(path.resolve())
    if project.git:
        yield Step("merge driver", "set up" if configure_driver(project) else "kept")
        is_hooked = any(state.state != "not installed" for state in status(project))
        yield Step("git hooks", "kept" if is_hooked else "not installed; they are there with: dagtasks hooks install")


def _init_git(path: Path) -> Iterator[Step]:
    if find_git(path.resolve()) is None:
        init_repository(path)
        yield Step(".git", "made")


def starter_files() -> Iterator[tuple[str, bytes]]:
    """The files of a new repository, as {path: content}."""
    folder = files("dagtasks.service") / "starter"
    for name in ("tasks/README.md", "templates/basic_task.yaml", *CONFIG_FILES):
        yield name, (folder / name).read_bytes()


CONFIG_FILES = ("config/default.yaml", "config/dagger.yaml", "config/example.env")


# -- the job of a forge ---------------------------------------------------------------------------------------------

CI_FILES = {
    "github": {".github/workflows/dagtasks.yml": "github.yml"},
    "gitlab": {".gitlab/dagtasks.yml": "gitlab.yml", ".gitlab-ci.yml": "gitlab-include.yml"},
    "forgejo": {".forgejo/workflows/dagtasks.yml": "forgejo.yml"},
}
"""The files of the job of each kind of forge, by where they go."""


def _check_place_of_ci(path: Path) -> None:
    """Refuse what no job can be written for, before anything is."""
    if not (path / ".git").exists() and find_git(path.resolve()):
        hint = "write the job by hand, each command with -C FOLDER; the guide on publishing says which"
        raise InvalidInput(
            f"a forge looks for jobs at the top of a repository, and {path} is a folder in one", hint=hint
        )
    branch = _find_branch(path)
    if not re.fullmatch("[A-Za-z0-9._/-]+", branch):
        raise InvalidInput(f"no job can be written for a branch called {branch!r}", hint="check another branch out")


def _write_ci(path: Path, kind: str) -> Iterator[Step]:
    branch = _find_branch(path)
    for name, source in CI_FILES[kind].items():
        text = (files("dagtasks.service") / "starter" / "ci" / source).read_text("utf-8")
        filled = text.replace("@BRANCH@", branch).replace("@VERSION@", __version__)
        step = _write_new(path, name, filled.encode())
        if step.done == "kept" and source == "gitlab-include.yml" and ".gitlab/dagtasks.yml" not in _read(path / name):
            step = step._replace(done="kept; add to its `include`:  - local: .gitlab/dagtasks.yml")
        yield step


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _find_branch(path: Path) -> str:
    """The branch that is published: the default one where the clone knows it, else the one that is checked out."""
    git = find_git(path.resolve())
    branch = (read_origin(git).branch or git.head().branch) if git else None
    return branch or "main"


def _write_new(root: Path, name: str, content: bytes) -> Step:
    target = root / name
    if target.exists():
        return Step(name, "kept")
    write_file(target, content)
    return Step(name, "written")


def _add_lines(root: Path, name: str, lines: Iterable[str]) -> Step:
    target = root / name
    old = target.read_text("utf-8") if target.exists() else ""
    missing = [line for line in lines if line not in old.splitlines()]
    if not missing:
        return Step(name, "kept")
    start = old if not old or old.endswith("\n") else old + "\n"
    write_file(target, (start + "\n".join(missing) + "\n").encode())
    return Step(name, "added to" if old else "written")
