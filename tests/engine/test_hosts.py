"""Every way to name an engine leads to the real one: the programs that lead into a container or pod are played."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ENGINE_HOST, REAL

from dagtasks.engine.diagnosis import find_connect_reason
from tests.conftest import MakeProject, Result, write_files

Process = Callable[..., Result]

SOCKET = (ENGINE_HOST or "").removeprefix("unix://")
DIAL = f"""\
#!{sys.executable}
import os, pathlib, socket, sys, threading
with open({{log!r}}, "a") as log:
    print(pathlib.Path(sys.argv[0]).name, *sys.argv[1:], file=log)
if "exec" in sys.argv:
    engine = socket.socket(socket.AF_UNIX)
    engine.connect({SOCKET!r})
    def up():
        while data := os.read(0, 65536):
            engine.sendall(data)
        engine.shutdown(socket.SHUT_WR)
    threading.Thread(target=up, daemon=True).start()
    while data := engine.recv(65536):
        while data:
            data = data[os.write(1, data):]
"""
TEMPLATE = """\
metadata: {name: one}
steps: [{name: a, container: {image: "alpine:latest", command: [echo, reached]}}]
"""


@pytest.mark.parametrize(
    ("text", "said", "wanted"),
    [
        (
            "Failed to start",
            'Error: start engine: driver for scheme "image" was not available',
            "neither Docker nor Podman is there, with which the SDK could start one",
        ),
        ("Failed to start", "Error: start engine: no driver for scheme", "no driver for scheme"),
        (
            "Failed to download the Dagger CLI: x",
            "",
            "Failed to download the Dagger CLI: x; put it there by hand, and name the file with _EXPERIMENTAL_DAGGER_CLI_BIN",
        ),
        ("no connection", "3   : | connecting to engine", "no connection"),
        ("no connection", "no space left", "no connection (no space left)"),
    ],
)
def test_why_there_is_no_connection(text: str, said: str, wanted: str) -> None:
    assert find_connect_reason(text, said) == wanted


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project({"templates/one.yaml": TEMPLATE}).root


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was asked of `docker` and `kubectl`, both of which lead to the engine."""
    log = tmp_path / "log"
    for name in ("docker", "kubectl"):
        write_files(tmp_path / "bin", {name: DIAL.format(log=str(log))})
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
    return log


WAYS = {
    "docker-container://eng": "docker exec -i eng buildctl dial-stdio",
    "kube-pod://eng?context=x&namespace=y&container=z": (
        "kubectl --context=x --namespace=y exec --container=z -i eng -- buildctl dial-stdio"
    ),
    "": "docker exec -i dagger-engine-v0.21.8 buildctl dial-stdio",
}


@pytest.mark.engine
@REAL
@pytest.mark.parametrize("host", WAYS)
def test_an_engine_behind_a_program(
    host: str, root: Path, log: Path, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host:
        monkeypatch.setenv("DAGTASKS_ENGINE_HOST", host)
    found = {check["name"]: check for check in process(root, "doctor", "--json").json}["engine"]
    assert (found["state"], found["found"]) == ("ok", f"dagger at {host or 'the place that the SDK finds'} answers")
    done = process(root, "run", "--template", "one", "--json")
    assert (done.code, done.json["steps"][0]["output"]) == (0, "reached")
    asked = log.read_text().splitlines()
    assert WAYS[host] in asked
    assert host or any(line.startswith("docker run --name dagger-engine") for line in asked)


FORWARD = """\
import asyncio, sys
async def pour(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def enter(reader, writer):
    inner = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(pour(reader, inner[1]), pour(inner[0], writer), return_exceptions=True)
async def main():
    server = await asyncio.start_server(enter, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Of this machine, where the engine answers."""
    with subprocess.Popen([sys.executable, "-c", FORWARD, SOCKET], stdout=subprocess.PIPE, text=True) as forwarding:
        assert forwarding.stdout
        yield int(forwarding.stdout.readline())
        forwarding.kill()


@pytest.mark.engine
@REAL
def test_an_engine_behind_a_port(root: Path, process: Process, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGTASKS_ENGINE_HOST", f"tcp://127.0.0.1:{port}")
    done = process(root, "run", "--template", "one", "--json")
    assert (done.code, done.json["steps"][0]["output"]) == (0, "reached")


def test_no_engine_and_nothing_to_start_one(
    root: Path, tmp_path: Path, cli: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said on a machine with no container runtime, no engine, and a Dagger CLI that says so."""
    write_files(
        tmp_path,
        {
            "dagger": "#!/bin/sh\necho 'Error: start engine: driver for scheme \"image\" was not available' >&2\nexit 1\n"
        },
    )
    (tmp_path / "dagger").chmod(0o755)
    monkeypatch.setenv("_EXPERIMENTAL_DAGGER_CLI_BIN", str(tmp_path / "dagger"))
    monkeypatch.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
    done = cli(root, "run", "--template", "one")
    assert (done.code, done.out) == (9, "")
    assert done.err.startswith("error: a Dagger engine cannot be used: neither Docker nor Podman is there")
    assert "DAGTASKS_ENGINE_HOST" in done.err
    assert cli(root, "runs", "list", "--json").json == []
