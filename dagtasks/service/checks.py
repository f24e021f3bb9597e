"""`validate` and `schema`: what is wrong in the files.

What compares commits is imported for that: most often only the files are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dagtasks.errors import InvalidInput, NotFound, Problem, Severity
from dagtasks.planning.index import Index
from dagtasks.store.layout import DEFAULT_SETTINGS, ENGINE_SETTINGS, TASKS, TEMPLATES, WEBHOOKS
from dagtasks.store.problems import find_problems
from dagtasks.store.project import Project

CONFIGS = (DEFAULT_SETTINGS, ENGINE_SETTINGS, WEBHOOKS)


def validate(project: Project, paths: Sequence[str] = (), *, since: str | None = None) -> list[Problem]:
    """Every problem of every file, sorted by place; with paths: only of these files and folders. Raises `NotFound`.

    With a commit `since`: only of files that changed after it, and between files; and what the merges since lost.
    """
    index = project.load()
    problems = sorted([*find_problems(project, index), *project.settings_problems()])
    if since is not None:
        problems = sorted(_find_since(project, index, problems, since))
    if not paths:
        return problems
    wanted = [relative_path(project, path) for path in paths]
    return [problem for problem in problems if is_among(problem.path, wanted)]


def is_among(path: str, wanted: Iterable[str]) -> bool:
    """Whether the file is one of the wanted files, or lies in one of the wanted folders."""
    return any(path == one or path.startswith(f"{one}/") for one in wanted)


def _find_since(project: Project, index: Index, problems: Sequence[Problem], since: str) -> Iterator[Problem]:
    """Those of the problems that come from changes after the commit, and what only these changes show."""
    from dagtasks.planning.links import comes_from
    from dagtasks.service.merging import find_lost
    from dagtasks.store.merges import read_changed_paths

    git = project.get_git()
    if not git.find_commit(since):
        raise InvalidInput(f"there is no commit {since!r}", hint="paths go before the option: PATH --changed REV")
    changed = read_changed_paths(git, since)
    yield from (problem for problem in problems if comes_from(problem, changed))
    yield from find_lost(project, since)
    yield from _check_gates(project, index, since)


class Brought(NamedTuple):
    """What a merge or a rebase brought: the problems, and how many merges among its commits were not compared."""

    problems: list[Problem]
    unseen: int


def find_brought(project: Project, since: str) -> Brought:
    """The errors that came with the commits after `since`, and what merges among them lost; what a hook tells.

    Bounded: only the newest merges are compared. What is wrong in files that nobody committed does not count.
    """
    from dagtasks.planning.links import comes_from
    from dagtasks.service.merging import check_mergings
    from dagtasks.store.merges import read_committed_paths, read_merges

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
    from dagtasks.planning.links import comes_from
    from dagtasks.store.merges import read_staged_paths

    changed = {*filter(_is_ours, read_staged_paths(project.get_git()))}
    if not changed:
        return []
    index = project.staged().load()
    found = [*_find_in_configs(project, "", changed, index), *_errors(index)]
    return [problem for problem in found if comes_from(problem, changed)]


def _is_ours(path: str) -> bool:
    return path in CONFIGS or path.startswith((f"{TASKS}/", f"{TEMPLATES}/"))


def _find_in_configs(project: Project, commit: str, changed: Collection[str], index: Index) -> list[Problem]:
    """The errors of those settings and webhooks that changed, as the commit has them; "" is Git's index."""
    from dagtasks.store.project import parse_settings
    from dagtasks.store.trees import read_document_at
    from dagtasks.store.webhooks import find_webhook_problems

    documents = (read_document_at(project.get_git(), commit, path) for path in CONFIGS if path in changed)
    problems: list[Problem] = []
    for document in filter(None, documents):
        is_webhooks = document.path == WEBHOOKS
        problems += find_webhook_problems(document, index.projects) if is_webhooks else parse_settings(document)[1]
    return sorted(problem for problem in problems if problem.severity is Severity.ERROR)


def find_unpushed(project: Project, remote: str, commits: Iterable[str]) -> list[Problem]:
    """The errors that a push of the commits would bring to the remote, each with its commit before the path."""
    found = (_find_unpushed(project, remote, commit) for commit in dict.fromkeys(commits))
    return [problem for problems in found for problem in problems]


def _find_unpushed(project: Project, remote: str, commit: str) -> Iterator[Problem]:
    from dagtasks.planning.links import comes_from
    from dagtasks.store.merges import read_unpushed_paths

    paths = read_unpushed_paths(project.get_git(), commit, remote)
    changed = {*filter(_is_ours, paths)}
    if not changed:
        return
    index = project.at(commit).load()
    for problem in (*_find_in_configs(project, commit, changed, index), *_errors(index)):
        if comes_from(problem, changed):
            yield problem._replace(path=f"{commit[:10]}:{problem.path}")


def _errors(index: Index) -> list[Problem]:
    return sorted(problem for problem in index.problems if problem.severity is Severity.ERROR)


def _check_gates(project: Project, index: Index, since: str) -> Iterator[Problem]:
    if any(owner.gates for owner in index.projects.values()):
        from dagtasks.service.gates import check_gates

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
    # Unlike `Path.exists` this says no of a name that is too long or holds NUL.
    found = next((at for at in (Path(path).absolute(), project.root / path) if os.path.exists(at)), None)  # noqa: PTH110
    if found is None:
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
