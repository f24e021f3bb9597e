"""`dagtasks config` and `completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dagtasks.cli.app import App, json_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import show, table


@click.group(cls=Group)
def group() -> None:
    """Settings: show."""


@group.command("show")
@json_option
@click.pass_obj
def show_(app: App, /, *, as_json: bool) -> int:
    """Show every setting and where it comes from."""
    resolved = app.project().settings.resolved
    data = [{"name": name, "value": value, "source": source} for name, (value, source) in resolved.items()]
    text = table(("SETTING", "VALUE", "FROM"), [(s["name"], _shown(s["value"]), s["source"]) for s in data])
    return show("settings", data, text, as_json=as_json)


def _shown(value: object) -> str:
    """The value as a settings file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, tuple) else str(value if value is not None else "")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script for a shell.

    Use it as in `eval "$(dagtasks completion bash)"`.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click.Choice allows only shells that Click knows
    click.echo(kind(context.find_root().command, {}, "dagtasks", "_DAGTASKS_COMPLETE").source())
    return 0
