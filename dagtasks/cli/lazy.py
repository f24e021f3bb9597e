"""Click groups: one that names the commands there are, and one that imports a command only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from dagtasks.model.names import choose_from


class Group(click.Group):
    """A group that names its commands when one is asked for that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in Click, with all names or the near ones when there is no such command."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}; {choose_from(args[0], known)}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group made of a table {name: (module, attribute, short help)}; `--help` needs the table only."""

    def __init__(self, *args: Any, commands_at: tuple[str, Mapping[str, tuple[str, str, str]]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._table = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return [*self._table, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; its module is imported now."""
        if cmd_name not in self._table:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = self._table[cmd_name]
        command: click.Command = getattr(import_module(f"{self._package}.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands with their short help, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in self._table.items()])
