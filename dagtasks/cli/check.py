"""`dagtasks validate`, `schema` and `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.output import note, printable, problem_line, show, show_json, table
from dagtasks.errors import Problem, ProjectNotFound, Severity, has_errors
from dagtasks.service import checks

if TYPE_CHECKING:
    from dagtasks.store.project import Project


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github", "gitlab"]), default="text", show_default=True
)
@click.option("--fix", is_flag=True, help="First mend what has one right answer, as quotes round `no`; say what.")
@click.option(
    "--changed",
    "since",
    metavar="[REV]",
    is_flag=False,
    flag_value="",
    help="Only files changed since REV (default: the last commit or merge); and what merges since then lost.",
)
@json_option
@click.pass_obj
def validate(app: App, /, paths: tuple[str, ...], form: str, since: str | None, *, fix: bool, as_json: bool) -> int:
    """Show every problem of every file, all at once.

    With PATH only of these files and folders. Exit code 1 when one of the problems is an error.
    """
    project = app.project()
    if fix:
        _fix(project, paths)
    problems = checks.validate(project, paths, since=checks.last_change(project) if since == "" else since)
    if as_json or form == "json":
        show_json("problems", [problem.to_json() for problem in problems])
    elif form == "github":
        click.echo("\n".join(_annotation(problem) for problem in problems), nl=bool(problems))
    elif form == "gitlab":
        click.echo(_quality_report(problems))
    else:
        click.echo("\n".join([*map(problem_line, problems), _summary(problems)]))
    return 1 if has_errors(problems) else 0


def _fix(project: Project, paths: tuple[str, ...]) -> None:
    from dagtasks.service.formatting import fix_files

    for fixed in fix_files(project, paths):
        note(f"{fixed.path}: {fixed.done}")


def _summary(problems: list[Problem]) -> str:
    counts = {level: sum(problem.severity is level for problem in problems) for level in Severity}
    return ", ".join(f"{count} {level}{'s' if count != 1 else ''}" for level, count in counts.items())


def _annotation(problem: Problem) -> str:
    """The problem as a workflow command of GitHub Actions. What a file says, or its name, gives no other command."""
    level = {"note": "notice"}.get(problem.severity, str(problem.severity))
    text = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
    file = _escape(problem.path).replace(":", "%3A").replace(",", "%2C")
    place = f"file={file},line={problem.line or 1},col={problem.column or 1},title={problem.code}"
    return f"::{level} {place}::{_escape(text)}"


def _quality_report(problems: list[Problem]) -> str:
    """The problems as a code quality report of GitLab, which tells by the fingerprints which of them are new."""
    import json
    from collections import Counter
    from hashlib import sha256

    levels = {"error": "major", "warning": "minor", "note": "info"}
    seen: Counter[str] = Counter()
    entries = []
    for problem in problems:
        what = "\0".join([problem.path, problem.code, problem.message])
        seen[what] += 1
        entries.append(
            {
                "description": f"{problem.message} ({problem.hint})" if problem.hint else problem.message,
                "check_name": problem.code,
                "fingerprint": sha256(f"{what}\0{seen[what]}".encode("utf-8", "backslashreplace")).hexdigest(),
                "severity": levels[str(problem.severity)],
                "location": {"path": problem.path, "lines": {"begin": problem.line or 1}},
            }
        )
    return json.dumps(entries, indent=2)


def _escape(text: str) -> str:
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


@click.command()
@click.argument("kind", metavar="task|project|phase|template|settings|webhooks")
def schema(kind: str) -> int:
    """Print the JSON Schema (2020-12) of a kind of file, for editors."""
    import json

    click.echo(json.dumps(checks.make_schema(kind), indent=2, ensure_ascii=False))
    return 0


@click.command()
@json_option
@click.pass_obj
def doctor(app: App, /, *, as_json: bool) -> int:
    """Say what works on this machine and in this repository, and what to do about the rest."""
    from dagtasks.service.doctor import doctor as examine

    try:
        project = app.project()
    except ProjectNotFound:
        project = None
    found = examine(project)
    text = table(
        ("CHECK", "STATE", "FOUND"), [(c.name, c.state, f"{c.found}; {c.hint}" if c.hint else c.found) for c in found]
    )
    show("checks", [check._asdict() for check in found], text, as_json=as_json)
    return 1 if any(check.state == "wrong" for check in found) else 0
