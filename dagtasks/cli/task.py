"""`dagtasks task`: tasks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, write_options, yes_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, printable, show, table
from dagtasks.cli.wording import describe_history, minute
from dagtasks.cli.writing import ask_again, confirm, read_text, show_saved, write_settings
from dagtasks.service import views

HEAD = ("ID", "STATUS", "PRIORITY", "ASSIGNEE", "PHASE", "NAME")


@click.group(cls=Group)
def group() -> None:
    """Tasks: create, list, show, set, edit, move, comment, delete, next, claim, stale."""


def today() -> date:
    """The day where the user is: due dates are days of a calendar, not instants."""
    return date.today()  # noqa: DTZ011


@group.command()
@click.argument("project", shell_complete=complete.projects)
@click.option("--name", required=True, help="What the task is called, on one line.")
@click.option("--description", default="", help="What is to be done, as Markdown; `-` reads stdin.")
@click.option(
    "--status",
    shell_complete=complete.statuses,
    help="planned (default), in_progress, completed, blocked or cancelled.",
)
@click.option("--priority", shell_complete=complete.priorities, help="low, medium (default), high or critical.")
@click.option("--assignee", help="A user, or an agent as agent:NAME.")
@click.option("--phase", help="A phase of the project.")
@click.option("--label", "labels", multiple=True, help="A label; may be given again.")
@click.option(
    "--depends-on",
    multiple=True,
    metavar="ID",
    shell_complete=complete.tasks,
    help="A task that must end before; may be given again.",
)
@click.option("--meta", "metadata", multiple=True, metavar="KEY=VALUE", help="Data of your own; may be given again.")
@click.option("--due", help="The day on which it should be done, as 2026-12-31.")
@write_options
@click.pass_obj
def create(app: App, /, project: str, description: str, metadata: tuple[str, ...], **options: Any) -> int:
    """Create a task in PROJECT and print its id.

    The id is all that goes to stdout, so that scripts can take it.
    """
    from dagtasks.service import tasks
    from dagtasks.service.fields import parse_pairs, split_items

    data = {
        **{key: options[key] for key in ("name", "status", "priority", "assignee", "phase", "due")},
        **{key: [item for text in options[key] for item in split_items(text)] for key in ("labels", "depends_on")},
        "description": read_text(description),
        "metadata": parse_pairs(metadata),
    }
    saved = tasks.create(app.project(), project, data, write_settings(options))
    return show_saved(saved, options, answer="id")


@group.command("list")
@click.argument("query", nargs=-1)
@click.option("--project", shell_complete=complete.projects, help="Only tasks of this project.")
@click.option("--phase", help="Only tasks of this phase.")
@click.option("--status", shell_complete=complete.statuses, help="Only tasks in this status (or these: a,b).")
@click.option("--assignee", help="Only tasks of this user or agent.")
@click.option("--label", help="Only tasks with this label (or any of these: a,b).")
@click.option("--sort", default="id", show_default=True, help="A field; `-field` for the other way round.")
@click.option("--limit", type=click.IntRange(min=1), help="Show so many at the most.")
@json_option
@click.pass_obj
def list_(app: App, /, query: tuple[str, ...], sort: str, limit: int | None, *, as_json: bool, **filters: Any) -> int:
    """List tasks: all, or those asked for.

    QUERY is as in `status:blocked label:api,ui -label:bug @ann is:overdue "free text"`: commas mean or, blanks mean
    and, `-` negates. It is one quoted argument, after `--` when it begins with `-`.
    """
    text = views.join_query(query, filters)
    answer = views.list_matching(app.project(), text, today(), sort=sort, limit=limit)
    text = table(HEAD, [_row(task) for task in answer.data])
    return show("tasks", answer.data, text, as_json=as_json, problems=answer.problems)


def _row(task: dict[str, Any]) -> tuple[Any, ...]:
    if task.get("invalid"):
        return task["id"], "INVALID", None, None, None, task["path"]
    status = "waiting" if task["waiting"] else task["status"]
    return task["id"], status, task["priority"], task["assignee"], task["phase"], task["name"]


@group.command("show")
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@click.option("--dependents", is_flag=True, help="Also the tasks that depend on it; every file is looked at for them.")
@click.option("--history", is_flag=True, help="Also what was changed, when and by whom, as Git knows it.")
@json_option
@click.pass_obj
def show_(app: App, /, task: str, *, dependents: bool, history: bool, as_json: bool) -> int:
    """Show everything about one task."""
    data, problems = views.show(app.project(), task, today(), dependents=dependents, with_history=history)
    return show("task", data, _sheet(data), as_json=as_json, problems=problems)


def _sheet(data: dict[str, Any]) -> str:
    state = " ".join(word for word in ("ready", "waiting", "overdue") if data[word])
    top = {
        "id": data["id"],
        "status": f"{data['status']} ({state})" if state else data["status"],
        **{key: data[key] for key in ("priority", "assignee", "phase", "due", "labels", "depends_on")},
        "dependents": data.get("dependents"),
        **{f"metadata.{key}": value for key, value in data["metadata"].items()},
        **{f"workflow {name}": binding["template"] for name, binding in data["workflows"].items()},
        "file": data["path"],
        **{word: _stamp(data[word]) for word in ("created", "updated") if data.get(word)},
    }
    description = printable(data["description"].rstrip(), keep="\n")
    below = [description, *map(_comment_text, data["comments"])]
    if "history" in data:
        below.append(describe_history(data["history"], is_cut=data["shallow"]))
    return "\n\n".join([printable(data["name"]), fields(top), *filter(None, below)])


def _stamp(stamp: dict[str, str]) -> str:
    return f"{minute(stamp['time'])}, {stamp['author']}"


def _comment_text(comment: dict[str, Any]) -> str:
    """The comment under a line that says who and when, set in so that no text can pass for such a line."""
    from textwrap import indent

    head = f"-- {printable(comment['author'])}, {minute(comment['date'])}"
    return f"{head}\n{indent(printable(comment['text'], keep=chr(10)), '   ')}"


@group.command("set")
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=VALUE...", shell_complete=complete.changes)
@click.option("--ignore-dependencies", is_flag=True, help="Do it although a task that it depends on is open.")
@write_options
@click.pass_obj
def set_(app: App, /, task: str, changes: tuple[str, ...], *, ignore_dependencies: bool, **options: bool) -> int:
    """Change fields of a task.

    As in `status=completed`, `labels+=ui`, `depends_on-=ID`, `metadata.team=core`; `due=` empties the field, and
    `description=-` reads it from stdin.
    """
    from dagtasks.service import tasks

    texts = [f"description={read_text('-')}" if change == "description=-" else change for change in changes]
    settings = write_settings(options)
    saved = tasks.change(app.project(), task, texts, settings, ignore_dependencies=ignore_dependencies)
    return show_saved(saved, options)


@group.command()
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@write_options
@click.pass_obj
def edit(app: App, /, task: str, **options: bool) -> int:
    """Edit the file of a task in your editor.

    A copy is edited and checked. When something is wrong, the editor can be opened again; the text is never lost.
    """
    from dagtasks.service import editing

    return show_saved(editing.edit(app.project(), task, write_settings(options), ask_again), options)


@group.command()
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@click.option("--phase", required=True, metavar="KEY", help="A phase of the task's project.")
@write_options
@click.pass_obj
def move(app: App, /, task: str, phase: str, **options: bool) -> int:
    """Move a task to another phase of its project."""
    from dagtasks.service import tasks

    return show_saved(tasks.change(app.project(), task, [f"phase={phase}"], write_settings(options)), options)


@group.command()
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@click.argument("text")
@click.option("--as", "author", metavar="NAME", help="Who says it (default: Git's user).")
@write_options
@click.pass_obj
def comment(app: App, /, task: str, text: str, author: str | None, **options: bool) -> int:
    """Comment on a task: TEXT, as Markdown; `-` reads stdin."""
    from dagtasks.service import comments

    words = read_text(text)
    saved = comments.add(app.project(), task, words, datetime.now(UTC), write_settings(options), author)
    return show_saved(saved, options)


@group.command()
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@click.option("--detach", is_flag=True, help="Also remove it from the dependencies of other tasks.")
@yes_option
@write_options
@click.pass_obj
def delete(app: App, /, task: str, *, detach: bool, yes: bool, **options: bool) -> int:
    """Delete a task that no other depends on."""
    from dagtasks.service import tasks

    confirm(f"Delete task {task}?", yes=yes, options=options)
    return show_saved(tasks.delete(app.project(), task, write_settings(options), detach=detach), options)


@group.command("next")
@click.option("--assignee", help="Tasks of this user or agent, and those of nobody.")
@click.option("--all", "show_all", is_flag=True, help="Show all that can be started, not the first only.")
@click.option("--explain", is_flag=True, help="Say why each other open task cannot be started.")
@json_option
@click.pass_obj
def next_(app: App, /, assignee: str | None, *, show_all: bool, explain: bool, as_json: bool) -> int:
    """Show the task to start now.

    The most urgent one that waits for nothing: by priority, then by how many tasks wait for it, then by its day.
    """
    if explain:
        answer = views.explain_next(app.project())
        text = table(("ID", "REASON", "NAME"), [(t["id"], t["reason"], t["name"]) for t in answer.data])
        return show("reasons", answer.data, text, as_json=as_json, problems=answer.problems)
    answer = views.list_next(app.project(), today(), assignee, limit=None if show_all else 1)
    rows = [_row(task) for task in answer.data]
    text = table(HEAD, rows) if rows else "nothing can be started now (see --explain)"
    return show("tasks", answer.data, text, as_json=as_json, problems=answer.problems)


@group.command()
@click.argument("task", metavar="ID", shell_complete=complete.tasks)
@click.option("--as", "assignee", metavar="NAME", help="Who takes it (default: Git's user); an agent is agent:NAME.")
@click.option("--push", is_flag=True, help="Take it in the upstream of the branch: of several clones one wins.")
@write_options
@click.pass_obj
def claim(app: App, /, task: str, assignee: str | None, *, push: bool, **options: bool) -> int:
    """Take a task: it becomes in progress, by you.

    Refused when somebody else has it, or when it cannot be started. `--push` commits and pushes exactly that.
    """
    from dagtasks.service import claims

    take = claims.claim_and_push if push else claims.claim
    return show_saved(take(app.project(), task, write_settings(options), assignee), options)


@group.command()
@click.option("--days", type=click.IntRange(min=0), default=14, show_default=True, help="Days without a commit.")
@json_option
@click.pass_obj
def stale(app: App, /, days: int, *, as_json: bool) -> int:
    """Show tasks whose status is doubtful.

    In progress, and no commit has named them or changed their file for some time; blocked, although all that they
    depend on has ended; completed, although they depend on open tasks.
    """
    from dagtasks.service import drift

    answer = drift.list_stale(app.project(), datetime.now(UTC), days)
    rows = [(task["id"], task["reason"], task["assignee"], task["name"]) for task in answer.data]
    text = table(("ID", "REASON", "ASSIGNEE", "NAME"), rows) if rows else "no status is doubtful"
    return show("stale", answer.data, text, as_json=as_json, problems=answer.problems)
