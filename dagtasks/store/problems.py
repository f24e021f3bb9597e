"""Everything that is wrong in the files of a repository, but for its settings, which depend on the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from dagtasks.errors import Finding, Problem, Severity
from dagtasks.planning.index import Index
from dagtasks.store.comments import check_comments
from dagtasks.store.layout import WEBHOOKS
from dagtasks.store.project import Project


def find_problems(project: Project, index: Index) -> list[Problem]:
    """What is wrong in files and between them, sorted by place. The index is the one that the project loads.

    Left out are the remarks on templates that the repository switches off.
    """
    broken = {file.id for file in index.broken}
    of_comments = check_comments(project.root, lambda name: name in index.tasks or name in broken)
    found = [*index.problems, *of_comments, *_find_in_webhooks(project, index), *_find_lacking(project, index)]
    return without_remarks(project, sorted(found))


def _find_in_webhooks(project: Project, index: Index) -> list[Problem]:
    if not os.path.lexists(project.root / WEBHOOKS):
        return []
    from dagtasks.store.webhooks import find_webhook_problems

    return find_webhook_problems(project.read_document(WEBHOOKS), index.projects)


def _find_lacking(project: Project, index: Index) -> Iterator[Problem]:
    """What templates need of tasks that those do not have."""
    if not any(template.reads for template in index.templates.values()):
        return
    from dagtasks.planning.needs import find_lacking

    found: dict[str, list[Finding]] = {}
    for path, finding in find_lacking(index):
        found.setdefault(path, []).append(finding)
    for path, findings in found.items():
        yield from project.read_document(path).problems_for(findings)


def without_remarks(project: Project, problems: Iterable[Problem]) -> list[Problem]:
    """The problems without the remarks on templates that the repository switches off."""
    names = project.lint_off()
    if not names:
        return [*problems]
    from dagtasks.planning.lint import codes_of

    off = codes_of(names)
    return [problem for problem in problems if problem.code not in off or problem.severity is Severity.ERROR]
