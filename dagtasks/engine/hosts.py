"""Where a Dagger engine is, whether anybody answers there, and the Dagger CLI that leads to it, a child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import urlsplit

from dagtasks.engine.supervisor import children_of, parents
from dagtasks.errors import EngineUnavailable
from dagtasks.settings import EngineSettings

RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
PROBE_TIMEOUT = 3.0
CONNECT_TIMEOUT = 30.0
POD_TIMEOUT = 10.0
"""Seconds for an engine in a pod, where nobody can knock first: the CLI would try for minutes."""
FIRST_START_TIMEOUT = 600.0
"""Seconds for an engine that the SDK finds or starts by itself: it may have to pull the engine's image."""

HINT = (
    "start one (https://docs.dagger.io/install), set engine.host or DAGTASKS_ENGINE_HOST to a running one, "
    "or use --engine local to run steps as processes of this machine"
)


def find_host(settings: EngineSettings) -> str | None:
    """Where the engine is: what the settings say, else what the SDK's own variable says, else what the SDK finds."""
    return settings.host or os.environ.get(RUNNER_HOST)


def find_connect_timeout(host: str | None) -> float:
    """How many seconds a connection to the host may take."""
    match urlsplit(host or "").scheme:
        case "unix" | "tcp" | "docker-container":
            return CONNECT_TIMEOUT
        case "kube-pod":
            return POD_TIMEOUT
        case _:
            return FIRST_START_TIMEOUT


async def probe(host: str | None) -> None:
    """Raises `EngineUnavailable` within a few seconds when nobody listens at a unix:// or tcp:// host, or the program
    that leads to a pod is missing. The SDK would try for ten minutes.
    """
    if not host:
        return
    if urlsplit(host).scheme == "kube-pod" and not shutil.which("kubectl"):
        raise EngineUnavailable(f"the Dagger engine at {host} cannot be reached without kubectl", hint=HINT)
    address = _address(host)
    if address is None:
        return
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            _, writer = await _open(address)
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {PROBE_TIMEOUT:g} seconds"
        raise EngineUnavailable(f"the Dagger engine at {host} does not answer: {reason}", hint=HINT) from None
    writer.close()


def _address(host: str) -> str | tuple[str, int] | None:
    """Where to knock: the path of a socket, or name and port; None for a host that the SDK has to find."""
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return parts.path
    if parts.scheme == "tcp" and parts.hostname:
        return parts.hostname, parts.port or 1234
    return None


async def _open(address: str | tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


def cli_processes() -> set[int]:
    """The Dagger CLI sessions that are children of this process."""
    found = set()
    for pid in children_of(os.getpid(), parents()):
        with contextlib.suppress(OSError):
            if b"dagger.io/sdk.name:python" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def send_signal(pids: set[int], number: signal.Signals) -> None:
    """Send it to those of the processes that are still CLI sessions of ours."""
    for pid in pids & cli_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
