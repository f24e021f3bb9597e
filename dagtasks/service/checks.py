"""`validate`, `schema` and `doctor`: what is wrong in the files and on the machine."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dagtasks.errors import DagtasksError, EngineUnavailable, InvalidInput, NotFound, Problem
from dagtasks.store.git import Git
from dagtasks.store.project import Project


def validate(project: Project, paths: Sequence[str] = ()) -> list[Problem]:
    """Every problem of every file, sorted by place; with paths: only of these files and folders. Raises `NotFound`."""
    problems = sorted([*project.load().problems, *project.settings_problems()])
    if not paths:
        return problems
    wanted = [_relative(project, path) for path in paths]
    return [p for p in problems if any(p.path == path or p.path.startswith(f"{path}/") for path in wanted)]


def _relative(project: Project, path: str) -> str:
    found = Path(path).absolute()
    if not found.exists():
        found = project.root / path
    if not found.exists():
        raise NotFound(f"there is no file {path}")
    try:
        return found.relative_to(project.root).as_posix()
    except ValueError:
        raise InvalidInput(f"{path} lies outside of {project.root}") from None


def make_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind of file, for editors. Raises `NotFound`."""
    from dagtasks.service.schemas import SCHEMAS

    if kind not in SCHEMAS:
        raise NotFound(f"there is no schema {kind!r}", hint=f"there is: {', '.join(SCHEMAS)}")
    return SCHEMAS[kind]()


class Check(NamedTuple):
    """One thing that `doctor` looked at. `state` is ok, note or wrong; `hint` says what to do."""

    name: str
    state: str
    found: str
    hint: str = ""


def doctor(project: Project | None) -> list[Check]:
    """What works on this machine and what does not."""
    checks = [_check_python(), _check_yaml(), _check_git()]
    checks += [_check_extra(name, module) for name, module in EXTRAS.items()]
    if project is not None:
        checks += [_check_repository(project), _check_files(project), _check_engine(project)]
    return checks


EXTRAS = {"dagger": "dagger", "board": "material", "watch": "watchdog"}
"""The extras of the package, and a module that each brings."""


def _check_python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _check_yaml() -> Check:
    import yaml

    if yaml.__with_libyaml__:
        return Check("yaml", "ok", f"PyYAML {yaml.__version__} with libyaml")
    return Check("yaml", "wrong", "PyYAML without libyaml: ten times slower", "install a PyYAML wheel for this Python")


def _check_git() -> Check:
    if not shutil.which("git"):
        return Check("git", "wrong", "git is not there", "install git 2.39 or newer")
    return Check("git", "ok", Git(Path.cwd(), Path.cwd()).read("version"))


def _check_extra(name: str, module: str) -> Check:
    if find_spec(module):
        return Check(f"extra {name}", "ok", "installed")
    return Check(f"extra {name}", "note", "not installed", f"pip install 'dagtasks[{name}]'")


def _check_repository(project: Project) -> Check:
    if project.git is None:
        return Check("repository", "wrong", f"{project.root} is in no Git repository", "make one with `git init`")
    head = project.git.head()
    return Check("repository", "ok", f"{project.root} on {head.branch or head.commit or 'no commit yet'}")


def _check_files(project: Project) -> Check:
    errors = [problem for problem in validate(project) if problem.severity == "error"]
    if errors:
        return Check("files", "wrong", f"{len(errors)} errors", "see `dagtasks validate`")
    return Check("files", "ok", f"{len(project.load().tasks)} tasks without errors")


def _check_engine(project: Project) -> Check:
    from dagtasks.service.engines import probe

    try:
        return Check("engine", "ok", probe(project.settings.engine))
    except EngineUnavailable as error:
        return Check("engine", "note", error.message, error.hint)
    except DagtasksError as error:
        return Check("engine", "wrong", error.message, error.hint)
