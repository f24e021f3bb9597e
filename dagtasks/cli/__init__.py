"""The terminal: the lazy root group and the one place that turns errors into text and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from dagtasks import __version__
from dagtasks.cli.app import App
from dagtasks.cli.lazy import LazyGroup
from dagtasks.cli.output import show_bug, show_error, show_usage
from dagtasks.errors import DagtasksError

SURROUNDINGS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)
)
"""A full or broken disk, a lack of permission, too many open files."""
UNTOLD = 8
"""The exit code when what was to be said could not be written."""

COMMANDS = {
    "init": ("setup", "init", "Make a repository ready for dagtasks."),
    "demo": ("setup", "demo", "Make a small project, run workflows of it and build its board."),
    "project": ("project", "group", "Projects: create, list, show, set, delete."),
    "phase": ("phase", "group", "Phases of a project: create, list, show, set, delete."),
    "task": ("task", "group", "Tasks: create, list, show, set, edit, move, comment, delete, next, claim, stale."),
    "workflow": ("workflow", "group", "Workflows of a task: add, list, show, set, remove."),
    "template": ("template", "group", "Workflow templates: list, show, new, validate, graph, test."),
    "run": ("run", "run", "Execute a workflow of a task, or a template."),
    "plan": ("run", "plan", "Show what a run would do, without doing it."),
    "runs": ("runs", "group", "Records of runs: list, show, logs, retry, approve, diff."),
    "trust": ("trust", "group", "What may run unasked: list, show, approve, revoke."),
    "diff": ("diff", "diff", "Show what changed between two commits, or since one."),
    "undo": ("undo", "undo", "Take back the last change that dagtasks committed here."),
    "validate": ("check", "validate", "Show every problem of every file."),
    "fmt": ("formatting", "fmt", "Bring task files into canonical form."),
    "resolve": ("merging", "resolve", "Merge the task files that Git could not merge."),
    "merge-driver": ("merging", "merge_driver", "Merge one file field by field, as Git calls it."),
    "hooks": ("hooks", "group", "Hooks of Git: install, uninstall, status."),
    "watch": ("watch", "watch", "Look whenever files change, and have done what that starts."),
    "queue": ("queue", "group", "What changes of files have started: list, work, cancel."),
    "serve": ("serve", "serve", "Serve the REST API."),
    "webhooks": ("webhooks", "group", "Who is told of events: create, set, test, deliver and more."),
    "keys": ("keys", "group", "Keys of the REST API: create, list, revoke."),
    "mcp": ("mcp", "mcp", "Serve tools for agents over stdin and stdout."),
    "schema": ("check", "schema", "Print the JSON Schema of a kind of file, for editors."),
    "board": ("board", "group", "The static site: init, build, serve."),
    "config": ("config", "group", "Settings: show."),
    "doctor": ("check", "doctor", "Say what works on this machine and what does not."),
    "completion": ("config", "completion", "Print the completion script for a shell."),
}


@click.group(
    cls=LazyGroup, commands_at=("dagtasks.cli", COMMANDS), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "-C",
    "path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Look for the repository from PATH upwards.",
)
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
@click.option("--no-cache", is_flag=True, help="Read every file, whatever the cache says. The answer is the same.")
@click.version_option(__version__, message="dagtasks %(version)s")
@click.pass_context
def root(context: click.Context, path: Path, *, debug: bool, no_cache: bool) -> None:
    """Tasks as YAML files in Git, workflows that run on Dagger, a board that anyone can read."""
    context.obj = App(path, debug, use_cache=not no_cache)


def call(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code; errors are shown on stderr, as a document with `--json`."""
    as_json = "--json" in arguments
    try:
        status = root.main(list(arguments), prog_name="dagtasks", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        return show_usage(error, arguments, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:
        # Who read our output has gone; what is still in the buffer must not be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except DagtasksError as error:
        if "--debug" in arguments:
            raise
        return show_error(error, as_json=as_json)
    except Exception as error:
        if "--debug" in arguments:
            raise
        if isinstance(error, OSError) and _lies_outside(error):
            return show_error(_refused(error), as_json=as_json)
        return show_bug(error)
    return status if isinstance(status, int) else 0


def _lies_outside(error: OSError) -> bool:
    """Whether the system refused something for reasons of its own: no bug, whichever call met with it."""
    return error.errno in SURROUNDINGS or _has_no_temporary_folder(error)


def _has_no_temporary_folder(error: OSError) -> bool:
    # What `tempfile` says when it may write nowhere has no code of its own.
    return "usable temporary directory" in str(error.strerror)


def _refused(error: OSError) -> DagtasksError:
    from dagtasks.store.files import WriteError

    where = "a temporary file" if _has_no_temporary_folder(error) else error.filename or "the answer"
    return WriteError(f"cannot read or write {where}: {error.strerror}", hint="when the cause is gone, do it again")
