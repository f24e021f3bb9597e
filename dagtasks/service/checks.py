"""`validate`, `schema` and `doctor`: what is wrong in the files and on the machine."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dagtasks.errors import DagtasksError, EngineUnavailable, InvalidInput, NotFound, Problem, Severity
from dagtasks.planning.index import Index
from dagtasks.planning.links import comes_from
from dagtasks.service.gates import check_gates
from dagtasks.service.hooks import GONE, status
from dagtasks.service.merging import check_driver, check_mergings, find_lost
from dagtasks.store.comments import check_comments
from dagtasks.store.git import Git
from dagtasks.store.layout import TASKS, TEMPLATES
from dagtasks.store.merges import read_changed_paths, read_committed_paths, read_merges, read_staged_paths
from dagtasks.store.project import Project


def validate(project: Project, paths: Sequence[str] = (), *, since: str | None = None) -> list[Problem]:
    """Every problem of every file, sorted by place; with paths: only of these files and folders. Raises `NotFound`.

    With a commit `since`: only of files that changed after it, and between files; and what the merges since lost.
    """
    index = project.load()
    ids = index.tasks.keys() | {file.id for file in index.broken}
    problems = sorted([*index.problems, *check_comments(project.root, ids), *project.settings_problems()])
    if since is not None:
        changed = _of_changed(project, problems, since)
        problems = sorted([*changed, *find_lost(project, since), *_check_gates(project, index, since)])
    if not paths:
        return problems
    wanted = [relative_path(project, path) for path in paths]
    return [p for p in problems if any(p.path == path or p.path.startswith(f"{path}/") for path in wanted)]


def _of_changed(project: Project, problems: Iterable[Problem], since: str) -> list[Problem]:
    """What a change breaks is often shown where nothing changed."""
    git = project.get_git()
    if not git.find_commit(since):
        raise InvalidInput(f"there is no commit {since!r}", hint="paths go before the option: PATH --changed REV")
    changed = read_changed_paths(git, since)
    return [problem for problem in problems if comes_from(problem, changed)]


class Brought(NamedTuple):
    """What a merge or a rebase brought: the problems, and how many merges among its commits were not compared."""

    problems: list[Problem]
    unseen: int


def find_brought(project: Project, since: str) -> Brought:
    """The errors that came with the commits after `since`, and what merges among them lost; what a hook tells.

    Bounded: only the newest merges are compared. What is wrong in files that nobody committed does not count.
    """
    git = project.get_git()
    changed = read_committed_paths(git, since)
    mergings = [merging for merging in read_merges(git, since) if merging.commit]
    lost = check_mergings(project, mergings[:MERGES])
    wrong = [problem for problem in _errors(project.load()) if comes_from(problem, changed)]
    return Brought([*lost, *wrong], max(len(mergings) - MERGES, 0))


MERGES = 20
"""Merges that a hook compares."""


def find_staged(project: Project) -> list[Problem]:
    """The errors that the next commit would bring."""
    changed = {path for path in read_staged_paths(project.get_git()) if path.startswith((f"{TASKS}/", f"{TEMPLATES}/"))}
    if not changed:
        return []
    return [problem for problem in _errors(project.staged().load()) if comes_from(problem, changed)]


def _errors(index: Index) -> list[Problem]:
    return sorted(problem for problem in index.problems if problem.severity is Severity.ERROR)


def _check_gates(project: Project, index: Index, since: str) -> Iterator[Problem]:
    if any(owner.gates for owner in index.projects.values()):
        yield from check_gates(project, index, project.at(since).load())


def last_change(project: Project) -> str | None:
    """The commit that `--changed` compares with by itself: HEAD, or what a merge that is HEAD was made on.

    None before the first commit: everything is new then.
    """
    git = project.get_git()
    if git.head().commit is None:
        return None
    return "HEAD^1" if git.find_commit("HEAD^2") else "HEAD"


def relative_path(project: Project, path: str) -> str:
    """The path of a file or folder that is there, as the index writes it. Raises `NotFound` or `InvalidInput`."""
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
