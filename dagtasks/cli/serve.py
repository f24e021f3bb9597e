"""`dagtasks serve`: the REST API."""

from __future__ import annotations

import gc
import signal
import threading
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from dagtasks.cli.app import App
from dagtasks.cli.output import note, show_problems
from dagtasks.cli.watch import make_watcher
from dagtasks.errors import Conflict, DagtasksError

if TYPE_CHECKING:
    from dagtasks.service.boards import LiveBoard
    from dagtasks.store.project import Project
    from dagtasks.triggers.watch import Seen


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0: any that is free.")
@click.pass_obj
def serve(app: App, /, host: str, port: int) -> int:
    """Serve the REST API and the board, and watch files meanwhile, as `watch` does.

    It needs a key (see `dagtasks keys`), and prints a link to sign in with a browser, which works once. It ends with
    ^C; runs that it started go on.
    """
    project = app.project().sharing()
    _refuse_without_key(project)
    _serve(project, host, port)
    return 0


def _refuse_without_key(project: Project) -> None:
    from dagtasks.service import keys

    if not keys.has_active(project, datetime.now(UTC)):
        hint = "make one: dagtasks keys create --name NAME --scope read"
        raise Conflict("there is no key that opens anything, so nobody could use it", hint=hint)


def _serve(project: Project, host: str, port: int) -> None:
    try:
        from dagtasks.api import serving
        from dagtasks.api.desk import Server
        from dagtasks.api.sessions import PATH, Sessions
        from dagtasks.service import keys
        from dagtasks.service.keys import Grant
        from dagtasks.triggers import runner
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'dagtasks[api]'"
        raise DagtasksError(f"serving needs the package {error.name}", hint=hint) from error
    gc.enable()  # a command that ends soon needs none
    signal.signal(signal.SIGINT, signal.default_int_handler)
    listening = serving.listen(host, port)
    address = serving.address_of(listening)
    person = keys.find_person(project)
    signed_in = Sessions(
        Grant("browser", person, frozenset(keys.Scope)), lambda code: note(f"sign in once: {address}{PATH}?code={code}")
    )
    board = _find_board(project)
    watcher = make_watcher(project, board.notice if board else lambda: None, tell=_tell)
    watching = threading.Thread(target=watcher.run, daemon=True)
    watching.start()
    opening = threading.Thread(target=_open_board, args=(board,), daemon=True)
    server = Server(project, runner.start_if_idle, board=board, sessions=signed_in if board else None)
    names = [*project.settings.api_hosts, *([] if _is_everywhere(host) else [host])]

    def ready() -> None:
        note(f"serving at {address}; ^C ends it")
        if board:
            signed_in.offer()
            opening.start()

    try:
        serving.run(server, listening, names, ready)
    finally:
        watcher.stop()
        watching.join()
        if board:
            board.close()


def _tell(seen: Seen) -> None:
    """Each in a line, beside what the server says of itself."""
    for event in seen.events:
        note(f"{event.type} {event.subject}  {event.name}")
    show_problems(seen.problems)
    for text in seen.notes:
        note(text)


def _open_board(board: LiveBoard) -> None:
    """Make it while the first requests come already: who asks for a page waits for that."""
    try:
        board.open()
    except DagtasksError as error:
        note(f"the board cannot be shown: {_in_a_line(error)}")


def _find_board(project: Project) -> LiveBoard | None:
    """The board; None, with a note, where there is none to show."""
    from dagtasks.service.boards import LiveBoard

    try:
        return LiveBoard(project)
    except DagtasksError as error:
        note(f"the API is served without the board: {_in_a_line(error)}")
        return None


def _in_a_line(error: DagtasksError) -> str:
    text = " ".join(error.message.split())
    return f"{text} ({error.hint})" if error.hint else text


def _is_everywhere(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
