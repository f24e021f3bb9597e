"""`doctor`: what works on the machine and in a repository."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import Conflict, DagtasksError, EngineUnavailable
from dagtasks.service.checks import validate
from dagtasks.service.hooks import GONE, status
from dagtasks.service.merging import check_driver
from dagtasks.service.trust import open_approvals
from dagtasks.store.git import Git
from dagtasks.store.project import Project


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
        checks += [_check_repository(project), *_check_git_setup(project), _check_files(project)]
        checks += [_check_engine(project), *_check_secrets(project)]
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


def _check_git_setup(project: Project) -> Iterator[Check]:
    if project.git:
        yield Check("merge driver", *check_driver(project.git))
        yield _check_hooks(project)
        yield _check_approvals(project)


def _check_approvals(project: Project) -> Check:
    approvals = open_approvals(project)
    try:
        return Check("approvals", "ok", f"{len(approvals.every())} in {approvals.folder}")
    except Conflict as error:
        return Check("approvals", "wrong", error.message, error.hint)


def _check_hooks(project: Project) -> Check:
    hint = "have merges looked at: dagtasks hooks install"
    found = [f"{name}: {state}" for name, state, _ in status(project) if state != "not installed"]
    if any(text.endswith(GONE) for text in found):
        return Check("git hooks", "wrong", ", ".join(found), "install them anew: dagtasks hooks install")
    return Check("git hooks", "ok", ", ".join(found)) if found else Check("git hooks", "note", "not installed", hint)


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


def _check_secrets(project: Project) -> Iterator[Check]:
    from dagtasks.engine.secrets import find_exposed

    with suppress(DagtasksError):
        settings = project.settings
        exposed = find_exposed(settings)
        if exposed:
            yield Check("secrets", "wrong", "; ".join(exposed), "take that right away, for instance with chmod 600")
        elif settings.secrets:
            yield Check("secrets", "ok", f"bound: {', '.join(settings.secrets)}")
