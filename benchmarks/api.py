"""What the REST API takes: `python benchmarks/api.py [COUNT...]`.

Prints tables of Markdown in about five minutes. The server is `dagtasks serve` as its own process, and each client has one
connection to it on this machine, which stays open. "bare" is the same web server with one route that answers what the
first of our answers had, no key asked; "commit" is a bare `git commit -- path` of another task in the same repository.
Requests of a kind and those of its floor come in turns.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from tasks import make_repository

TOOL = str(Path(sys.executable).parent / "dagtasks")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
IDENTITY = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
CLIENTS, WRITERS = 8, 8
READ_SECONDS, WRITE_SECONDS, COMMITS, ROUNDS, TOLD = 1.5, 4.0, 12, 3, 9
BARE = """
import sys, uvicorn
from fastapi import FastAPI
from starlette.responses import Response
app = FastAPI()
body = open(sys.argv[2], "rb").read()
@app.get("/{path:path}")
def show(path: str) -> Response:
    return Response(body, 200, {"ETag": "x"}, "application/json")
uvicorn.run(app, http="h11", loop="asyncio", port=int(sys.argv[1]), log_level="error", access_log=False)
"""

Ask = Callable[[http.client.HTTPConnection, int, int], object]


class Place(NamedTuple):
    """Where a server listens, and what requests to it carry."""

    port: int
    headers: dict[str, str]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def call(root: Path, *words: str, given: str | None = None) -> str:
    done = subprocess.run(words, cwd=root, env=ENVIRONMENT, check=True, capture_output=True, text=True, input=given)
    return done.stdout


@contextmanager
def serving(root: Path) -> Iterator[Place]:
    """`dagtasks serve`, once it answers."""
    key = json.loads(call(root, TOOL, "keys", "create", "--name", "b", "--scope", "admin", "--as", "B <b@x>", "--json"))
    words = [TOOL, "serve", "--port", "0"]
    ends = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, cwd=root, env=ENVIRONMENT, **ends, text=True) as process:
        try:
            assert process.stderr
            found = next(re.search(r"127\.0\.0\.1:(\d+)", line) for line in process.stderr if "serving at" in line)
            assert found
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield Place(int(found[1]), {"Authorization": f"Bearer {key['data']['key']}"})
        finally:
            process.kill()
    call(root, TOOL, "keys", "revoke", "b")


@contextmanager
def bare(body: bytes) -> Iterator[Place]:
    """A server that answers these bytes to all."""
    with socket.create_server(("127.0.0.1", 0)) as free, tempfile.NamedTemporaryFile() as file:
        port = free.getsockname()[1]
        free.close()
        file.write(body)
        file.flush()
        with subprocess.Popen([sys.executable, "-c", BARE, str(port), file.name], env=ENVIRONMENT) as process:
            try:
                place = Place(port, {})
                _wait_for(place)
                yield place
            finally:
                process.kill()


def _wait_for(place: Place) -> None:
    while True:
        try:
            return ask(place, place.connect(), "GET", "/")[0] and None
        except ConnectionRefusedError:
            time.sleep(0.05)


def ask(
    place: Place, client: http.client.HTTPConnection, method: str, path: str, body: object = None, **headers: str
) -> Answer:
    given = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    client.request(method, path, given, {**place.headers, **kind, **more})
    answer = client.getresponse()
    return Answer(answer.status, answer.headers, answer.read())


class Figures(NamedTuple):
    """Seconds of each request, and of all of them together."""

    each: list[float]
    whole: float

    @property
    def rate(self) -> float:
        return len(self.each) / self.whole


def use(place: Place, clients: int, seconds: float, do: Ask) -> Figures:
    """So many clients do it for so long. Each turn gets the number of its client and of itself."""
    taken: list[float] = []
    begin = threading.Barrier(clients + 1)

    def one(number: int) -> None:
        client = place.connect()
        client.connect()
        begin.wait()
        end = time.perf_counter() + seconds
        for turn in itertools.count():
            if (begun := time.perf_counter()) >= end:
                break
            do(client, number, turn)
            taken.append(time.perf_counter() - begun)
        client.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return Figures(taken, time.perf_counter() - begun)


def join(found: Sequence[Figures]) -> Figures:
    return Figures([one for each in found for one in each.each], sum(each.whole for each in found))


def show_reads(place: Place, ids: Sequence[str]) -> None:
    """Print what reading takes."""
    tasks = "/api/v1/tasks"
    kinds = {
        "nothing there (gate, key and routes alone)": lambda turn: "/api/v1/nope",
        "one task": lambda turn: f"{tasks}/{ids[turn * 7 % len(ids)]}",
        "50 tasks": lambda turn: f"{tasks}?limit=50",
        "50 tasks by a query": lambda turn: f"{tasks}?q=status:planned+label:api&limit=50",
    }
    print("| request | clients | median | 99 of 100 | a second | bare, a second | times as long as bare |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for label, path in kinds.items():
        client = place.connect()
        with bare(ask(place, client, "GET", path(0)).body) as floor:
            for clients in (1, CLIENTS):
                show_read(label, clients, place, floor, path)
        client.close()


def show_read(label: str, clients: int, place: Place, floor: Place, path: Callable[[int], str]) -> None:
    def read(of: Place) -> Ask:
        return lambda client, number, turn: ask(of, client, "GET", path(number * 1000 + turn))

    pairs = [[use(of, clients, READ_SECONDS, read(of)) for of in (place, floor)] for _ in range(ROUNDS)]
    ours, theirs = (join(each) for each in zip(*pairs, strict=True))
    median, worst = (statistics.quantiles(ours.each, n=100)[at] * 1000 for at in (49, 98))
    rates = f"{ours.rate:.0f} | {theirs.rate:.0f} | {theirs.rate / ours.rate:.1f}"
    print(f"| {label} | {clients} | {median:.1f} ms | {worst:.1f} ms | {rates} |", flush=True)


def show_writes(root: Path, place: Place, ids: Sequence[str]) -> None:
    """Print what a change with its commit takes, beside a bare commit in the same repository."""
    print("\n| changes, each read first, with its commit | median | a second | commit | a second | times as long |")
    print("|---|---|---|---|---|---|")
    for writers in (1, WRITERS):
        ours, bares = [], []
        for turn in range(ROUNDS):
            ours.append(use(place, writers, WRITE_SECONDS, lambda *at: change(place, ids, *at)))
            bares += [commit(root, ids[-1], turn * COMMITS + number) for number in range(COMMITS)]
        found, floor = join(ours), statistics.median(bares)
        times = f"{1 / floor:.1f} | {1 / floor / found.rate:.1f}"
        label = "1 writer" if writers == 1 else f"{writers} writers, each of its own tasks"
        median = statistics.median(found.each) * 1000
        print(f"| {label} | {median:.0f} ms | {found.rate:.1f} | {floor * 1000:.0f} ms | {times} |", flush=True)


def change(place: Place, ids: Sequence[str], client: http.client.HTTPConnection, number: int, turn: int) -> None:
    """One change of a task of this writer, again while others hold the lock."""
    path = f"/api/v1/tasks/{ids[number * 10 + turn % 10]}"
    tag = ask(place, client, "GET", path).headers["ETag"]
    body = {"metadata": {"turn": str(time.time_ns())}}
    while (answer := ask(place, client, "PATCH", path, body, If_Match=tag)).status == 503:
        time.sleep(0.05)
    assert answer.status == 200, answer.body
    assert answer.headers["Dagtasks-Commit"]


def path_of(root: Path, name: str) -> Path:
    return next(root.glob(f"tasks/{name.partition('-')[0]}/**/{name}.yaml"))


def commit(root: Path, name: str, number: int) -> float:
    """Seconds of a bare commit of that task."""
    path = path_of(root, name)
    path.write_text(re.sub(r"(?m)^(name: .*?)( bare \d+)?$", rf"\1 bare {number}", path.read_text(), count=1))
    begun = time.perf_counter()
    call(root, "git", *IDENTITY, "commit", "--quiet", "--message", "bare", "--", str(path.relative_to(root)))
    return time.perf_counter() - begun


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        at = time.time()
        self.server.got.put((at, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def receive(got: multiprocessing.Queue, port: multiprocessing.Queue) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    server.got = got  # type: ignore[attr-defined]
    port.put(server.server_port)
    server.serve_forever()


def show_told(root: Path, ids: Sequence[str]) -> None:
    """Print how long after a change by the command line a webhook has come."""
    got: multiprocessing.Queue = multiprocessing.Queue()
    port: multiprocessing.Queue = multiprocessing.Queue()
    receiver = multiprocessing.Process(target=receive, args=(got, port), daemon=True)
    receiver.start()
    url = f"http://127.0.0.1:{port.get()}/"
    call(root, TOOL, "webhooks", "create", "bench", url, "--event", "task.*", "--commit")
    with serving(root):
        time.sleep(3)
        while not got.empty():
            got.get()
        taken = sorted(tell(root, ids[number], got) for number in range(TOLD))
    receiver.kill()
    print("\n| a change by the command line, until the webhook has come | at most | |\n|---|---|---|")
    median = statistics.median(taken)
    verdict = "reached" if taken[-1] <= 1 else "**missed**"
    print(
        f"| median {median * 1000:.0f} ms, worst {taken[-1] * 1000:.0f} ms after the command ended | 1 s | {verdict} |"
    )


def tell(root: Path, name: str, got: multiprocessing.Queue) -> float:
    """Seconds from the end of the command to the webhook; less than nothing where that came first."""
    call(root, TOOL, "task", "set", name, f"metadata.turn={time.time_ns()}", "--commit")
    ended = time.time()
    while True:
        at, body = got.get(timeout=60)
        if body["data"]["subject"] == name:
            time.sleep(0.5)
            return at - ended


def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repository"
        root.mkdir()
        ids = make_repository(root, count)
        for name, value in (("user.name", "bench"), ("user.email", "bench@localhost")):
            call(root, "git", "config", name, value)
        call(root, TOOL, "validate")
        with serving(root) as place:
            print(f"\n{count:,} tasks, {os.cpu_count()} processors.\n")
            show_reads(place, ids)
            show_writes(root, place, ids)
        show_told(root, ids)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", type=int, nargs="*", default=[1_000, 10_000])
    state = tempfile.mkdtemp()
    ENVIRONMENT.update({"XDG_STATE_HOME": state, "DAGTASKS_ALLOW_HOSTS": "127.0.0.1"})
    for count in parser.parse_args().counts:
        measure(count)


if __name__ == "__main__":
    main()
