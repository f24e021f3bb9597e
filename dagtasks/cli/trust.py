"""`dagtasks trust`: what may run unasked on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, yes_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, note, printable, show, table
from dagtasks.cli.writing import confirm

if TYPE_CHECKING:
    from dagtasks.service.approvals import Candidate


@click.group(cls=Group)
def group() -> None:
    """What may run unasked: list, show, approve, revoke."""


@group.command("list")
@json_option
@click.pass_obj
def list_(app: App, /, *, as_json: bool) -> int:
    """List the workflows of all tasks and whether they are approved on this machine.

    Also approved templates, and approvals of what is not there (any more).
    """
    from dagtasks.service import approvals

    answer = approvals.list_all(app.project())
    rows = [(row["name"], row["template"], _state(row), _short(row["hash"]), row.get("by")) for row in answer.data]
    text = table(("NAME", "TEMPLATE", "STATE", "HASH", "BY"), rows)
    return show("trust", answer.data, text, as_json=as_json, problems=answer.problems)


@group.command("show")
@click.argument("name", metavar="TEMPLATE|TASK/WORKFLOW", shell_complete=complete.templates)
@json_option
@click.pass_obj
def show_(app: App, /, name: str, *, as_json: bool) -> int:
    """Show what an approval would be given to.

    That are the steps as they are written, what they call and name, and the parameters that files give; and the lines
    that have changed since the last approval. A template is shown by itself and with each workflow that binds it.
    """
    from dagtasks.service import approvals

    sheets = approvals.show(app.project(), name)
    return show("trust", sheets, "\n\n".join(map(_sheet, sheets)), as_json=as_json)


@group.command()
@click.argument("name", metavar="TEMPLATE|TASK/WORKFLOW", shell_complete=complete.templates)
@yes_option
@json_option
@click.pass_obj
def approve(app: App, /, name: str, *, yes: bool, as_json: bool) -> int:
    """Let what is there now run unasked, and have the secrets that it names.

    A template is approved by itself and with each workflow that binds it. The first changed byte needs a new approval.
    Nothing starts by this: `dagtasks runs retry` begins a run that awaits it.
    """
    from dagtasks.service import approvals

    def ask(candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            note(_line(candidate))
        confirm("Approve this?", yes=yes, options={"dry_run": False})

    rows = approvals.approve(app.project(), name, ask)
    text = "\n".join(f"approved: {row['name']} {_short(row['hash'])}" for row in rows)
    return show("trust", rows, text, as_json=as_json)


@group.command()
@click.argument("name", metavar="TEMPLATE|TASK/WORKFLOW|HASH", shell_complete=complete.templates)
@json_option
@click.pass_obj
def revoke(app: App, /, name: str, *, as_json: bool) -> int:
    """Take back every approval that was given for NAME, also of what is not there any more."""
    from dagtasks.service import approvals

    gone = approvals.revoke(app.project(), name)
    lines = [f"revoked: {', '.join(row['names'])} {_short(row['hash'])}" for row in gone]
    return show("trust", gone, "\n".join(lines) or "revoked: what was seen of it", as_json=as_json)


def _state(row: dict[str, Any]) -> str:
    """The state, and why a template cannot be used."""
    return f"{row['state']}: {row['reason']}" if row.get("reason") else str(row["state"])


def _short(of: str | None) -> str:
    return of[:16] if of else ""


def _line(candidate: Candidate) -> str:
    """A candidate in one line: name, template, and what a file gives it."""
    from dagtasks.service.approvals import shown_parameters

    given = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in shown_parameters(candidate).items()]
    return printable(f"{candidate.name} ({candidate.template.path}){': ' if given else ''}{', '.join(given)}")


def _sheet(sheet: dict[str, Any]) -> str:
    parts = [f"{sheet['name']}: {sheet['state']}", fields(_about(sheet)), *map(_step, sheet["steps"])]
    before = sheet["approved_before"]
    if before:
        changes = "\n".join(printable(line, keep="\t") for line in sheet["difference"])
        parts.append(f"changed since {printable(before['by'])} approved it at {before['at']}:\n{changes}")
    return "\n\n".join(parts)


def _about(sheet: dict[str, Any]) -> dict[str, Any]:
    given = {f"parameter {name}": json.dumps(value, ensure_ascii=False) for name, value in sheet["parameters"].items()}
    called = {f"calls {reference}": path for reference, path in sheet["calls"].items()}
    names = {kind: sheet[kind] for kind in ("files", "images", "env", "secrets")}
    return {"hash": sheet["hash"], "by": sheet["by"], "template": sheet["path"], **called, **names, **given}


def _step(step: dict[str, Any]) -> str:
    what = step["executes"]
    text = what if isinstance(what, str) else json.dumps(what, ensure_ascii=False) if what is not None else ""
    return "\n".join([f"{step['template']}: {step['name']} ({step['kind']})", *_indented(text)])


def _indented(text: str) -> Iterator[str]:
    return (f"  {printable(line, keep=chr(9))}" for line in text.splitlines())
