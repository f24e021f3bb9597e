"""`demo`: a small real project, runs of its workflows (one fails on purpose), and its board."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import as_file, files
from pathlib import Path

from dagtasks.errors import EngineUnavailable, InvalidInput
from dagtasks.model.run import RunRecord
from dagtasks.service import boards, engines, records, runs, setup
from dagtasks.service.runs import Selection
from dagtasks.store.files import write_file
from dagtasks.store.git import init_repository
from dagtasks.store.project import Project

RUNS = (
    (Selection(task="web-d1f7g3", workflow="check"), "a command in a container"),
    (Selection(task="web-g8n3p7", workflow="weigh"), "a script with an output"),
    (Selection(task="web-j7s2t5", workflow="review"), "a request to a service that this demo starts"),
    (Selection(task="web-d1f7g3", workflow="quality"), "two templates and a summary"),
    (Selection(task="web-f2k6m4", workflow="check"), "fails on purpose"),
)


def make(folder: Path, engine: str | None, program: str) -> Iterator[str]:
    """Make the demo in an empty folder and tell, line by line, what is done and where to look.

    `program` is how the user can call dagtasks. Raises `InvalidInput` when the folder holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(f"{folder} is not empty", hint="name a new folder: dagtasks demo FOLDER")
    # A repository of its own, also below another one: nothing of what lies around the demo is its business.
    folder.mkdir(parents=True, exist_ok=True)
    init_repository(folder)
    setup.init(folder)
    project = Project(folder.resolve())
    _copy_files(project)
    yield f"project: {project.root} ({_contents(project)})"
    chosen, reason = _choose_engine(project, engine)
    if reason:
        yield reason
    with _review_service() as address:
        ready = project.with_settings(engine__name=chosen, outbound__allow_hosts=address)
        for selection, what in RUNS:
            yield from _run(ready, selection, address, what)
    built = boards.build(project)
    yield f"board: {built.site / 'index.html'} ({built.pages} pages)"
    yield f"look round: cd {project.root}"
    yield from (f"  {program} {command}" for command in ("task next --all", "runs list", "board serve"))


def _contents(project: Project) -> str:
    index = project.load()
    parts = {"tasks": index.tasks, "phases": index.phases, "templates": index.templates}
    return ", ".join(f"{len(things)} {name}" for name, things in parts.items())


def _copy_files(project: Project) -> None:
    with as_file(files("dagtasks.service") / "starter" / "demo") as source:
        for file in sorted(source.rglob("*.yaml")):
            write_file(project.root / file.relative_to(source), file.read_bytes())
    git = project.get_git()
    identity = [] if git.find("config", "user.email") else ["-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    git.write("add", "--all")
    git.write(*identity, "commit", "--quiet", "--message", "Start the demo")


def _choose_engine(project: Project, wanted: str | None) -> tuple[str, str]:
    """The engine to use and, where it is not Dagger, one line that says why."""
    if wanted:
        return wanted, ""
    try:
        engines.probe(project.settings.engine)
    except EngineUnavailable as error:
        return "local", f"engine: local, without isolation ({error.message})"
    return "dagger", ""


def _run(project: Project, selection: Selection, address: str, what: str) -> Iterator[str]:
    if selection.workflow == "review":
        selection = Selection(selection.task, selection.workflow, params=[f"url=http://{address}/reviews"])
    record, _ = runs.run(project, selection, [])
    yield f"run: {_result(record)} ({selection.task} {selection.workflow}: {what})"
    for step in record.steps:
        if step.state.is_bad:
            yield from (
                f"  {line['step']} | {line['text']}" for line in records.read_logs(project, record.id, step.name)
            )
            yield f"  all of it: dagtasks runs logs {record.id} {step.name}"


def _result(record: RunRecord) -> str:
    bad = next((step for step in record.steps if step.state.is_bad), None)
    detail = f", exit code {bad.exit_code}" if bad and bad.exit_code is not None else ""
    return f"{record.id} {record.status}{detail}"


class _Reviews(BaseHTTPRequestHandler):
    """Accepts every question, so that the api workflow of the demo has somebody to ask."""

    def do_POST(self) -> None:
        """Answer a question."""
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"accepted": True, "answer": f"{question['task']}: yes, it is clear"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: the run's log holds the answer."""


@contextmanager
def _review_service() -> Iterator[str]:
    """A service on a free port of this machine; gives its host and port."""
    with HTTPServer(("127.0.0.1", 0), _Reviews) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
