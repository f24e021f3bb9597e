"""What every command gets: where to look for the repository, and how the answer is to be shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from dagtasks.store.project import Project

F = TypeVar("F", bound=Callable[..., Any])


class App(NamedTuple):
    """The options of the root command."""

    path: Path
    debug: bool = False
    use_cache: bool = True

    def project(self) -> Project:
        """The repository that the command works on. Raises `ProjectNotFound`."""
        from dagtasks.store.project import find_project

        return find_project(self.path, use_cache=self.use_cache)


def json_option(command: F) -> F:
    """Add `--json`: one document on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def write_options(command: F) -> F:
    """Add what every command that changes files has: `--commit`, `--no-commit`, `--dry-run`, `--json`."""
    command = json_option(command)
    command = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")(command)
    return click.option(
        "--commit/--no-commit", default=None, help="Commit exactly the changed files (default: setting `commit`)."
    )(command)


def yes_option(command: F) -> F:
    """Add `--yes` for commands that ask before they do something."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)
