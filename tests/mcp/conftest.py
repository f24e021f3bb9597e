"""Agents: clients of the SDK that start `dagtasks mcp` as their own process, as real ones do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

TASK = "tasks/web/web-{}.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    TASK.format("000001"): "name: One\npriority: high\nphase: build\nlabels: [ui]\n",
    TASK.format("000002"): "name: Two\ndepends_on: [web-000001]\ndescription: |\n  Do it.\n",
    TASK.format("000003"): "name: Three\nworkflows:\n  w:\n    template: t\n",
    "templates/t.yaml": "metadata:\n  name: t\nsteps:\n  - name: a\n    container:\n      image: alpine:3\n"
    "      command: echo hello\n",
}


class Agent(NamedTuple):
    """A client, and the file that its server's stderr goes to."""

    client: Client
    errors: Path

    async def call(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """What the tool answers, which is the same as text and as a structure."""
        result = await self.client.call_tool(name, arguments)
        (text,) = result.content
        said: dict[str, Any] = result.structured_content
        assert json.loads(text.text) == said
        assert result.is_error == ("error" in said)
        return said

    async def refused(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """What is wrong with the call."""
        said = await self.call(name, **arguments)
        assert set(said) == {"error"}, said
        assert {"code", "message", "hint"} <= set(said["error"])
        return said["error"]


@asynccontextmanager
async def agent(root: Path, *options: str, mode: str = "auto", **env: str) -> AsyncIterator[Agent]:
    """An agent that has started a server for the repository; the server's own folder is another one."""
    command = ["-m", "dagtasks", "-C", str(root), "mcp", *options]
    errors = root.parent / "stderr"
    parameters = StdioServerParameters(
        command=sys.executable, args=command, env={**os.environ, **env}, cwd=str(root.parent)
    )
    with errors.open("a") as file:
        async with Client(stdio_client(parameters, errlog=file), mode=mode) as client:
            yield Agent(client, errors)
    assert "Traceback" not in errors.read_text()


WRITER = ("--allow", "write", "--as", "agent:writer")


def audit(root: Path) -> list[dict[str, Any]]:
    """The lines of the audit log."""
    from dagtasks.store.audit import AuditLog
    from dagtasks.store.git import find_git

    git = find_git(root)
    assert git
    path = AuditLog(git).path
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def divide(lines: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of calls that had begun, and those of calls that had ended."""
    begun = [line for line in lines if line["outcome"] == "begun"]
    return begun, [line for line in lines if line not in begun]


def texts(value: Any, *, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Every text and key of an answer, with whether it stands under a key `untrusted`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, inside
            yield from texts(item, inside=inside or key == "untrusted")
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, inside=inside)
    elif isinstance(value, str):
        yield value, inside
