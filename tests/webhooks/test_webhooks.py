"""`dagtasks webhooks`: what the file says, and the secrets that only this machine has."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, git, write_files
from tests.webhooks.conftest import Create
from tests.webhooks.receiver import Receiver

Cli = Callable[..., Result]
FILE = "config/webhooks.yaml"
GIVEN = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def test_a_webhook_is_a_committed_file_and_its_secret_is_shown_once(root: Path, cli: Cli) -> None:
    done = cli(root, "webhooks", "create", "chat", "https://example.org/x?y=1", "--event", "task.*", "--commit")
    secret = done.out.strip()
    assert (done.code, secret[:6], len(base64.b64decode(secret[6:]))) == (0, "whsec_", 32)
    assert (root / FILE).read_text() == (
        "webhooks:\n  chat:\n    url: https://example.org/x?y=1\n    events:\n      - task.*\n"
    )
    assert git(root, "show", "--format=%s", "--name-only").split("\n") == ["webhook chat: created", "", FILE]
    for words in (["list"], ["list", "--json"], ["show", "chat"], ["show", "chat", "--json"]):
        shown = cli(root, "webhooks", *words)
        assert shown.code == 0
        assert "whsec_" not in shown.out + shown.err
    said = {"name": "chat", "url": "https://example.org/x?y=1", "events": ["task.*"], "project": None, "enabled": True}
    found = {"state": "ready", "secrets": 1, "waiting": 0, "last": None}
    assert cli(root, "webhooks", "show", "chat", "--json").json == {**said, **found}


def test_a_project_stays_while_a_webhook_tells_of_it_alone(root: Path, cli: Cli) -> None:
    """Else the file of all webhooks would be wrong."""
    cli(root, "project", "create", "lab", "--name", "Lab", "--commit")
    cli(root, "webhooks", "create", "chat", "https://example.org/x", "--project", "lab", "--commit")
    refused = cli(root, "project", "delete", "lab", "--yes")
    assert (refused.code, "chat" in refused.err) == (6, True)
    assert cli(root, "webhooks", "delete", "chat", "--yes").code == 0
    assert cli(root, "project", "delete", "lab", "--yes").code == 0


def test_secrets_lie_outside_of_the_repository_for_their_owner_alone(root: Path, create: Create) -> None:
    secret = create("chat")
    inside = [path for path in root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert inside == []
    [file] = Path(os.environ["XDG_STATE_HOME"]).rglob("webhooks.json")
    assert secret in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_dry_run_makes_nothing(root: Path, cli: Cli) -> None:
    done = cli(root, "webhooks", "create", "chat", "https://example.org", "--dry-run")
    assert (done.code, done.out) == (0, f"would: webhook chat: created ({FILE})\n")
    assert not (root / FILE).exists()
    assert not [*Path(os.environ["XDG_STATE_HOME"]).rglob("webhooks.json")]


def test_set_edits_the_file_in_place(root: Path, cli: Cli) -> None:
    write_files(root, {FILE: "# ours\nwebhooks:\n  chat: # the room\n    url: https://example.org # here\n"})
    for changes in (["events=run.*"], ["events+=task.created", "project=web"], ["enabled=false"]):
        done = cli(root, "webhooks", "set", "chat", *changes)
        assert done.code == 0, done.err
    assert (root / FILE).read_text() == (
        "# ours\nwebhooks:\n  chat: # the room\n    enabled: false\n"
        "    events:\n      - run.*\n      - task.created\n    project: web\n    url: https://example.org # here\n"
    )
    assert cli(root, "webhooks", "set", "chat", "enabled=true", "events-=run.*", "project=").code == 0
    shown = cli(root, "webhooks", "show", "chat", "--json").json
    assert (shown["events"], shown["project"], shown["enabled"]) == (["task.created"], None, True)


REFUSED: list[tuple[list[str], int, str]] = [
    (["create", "c", "ftp://example.org"], 2, "must begin with https://"),
    (["create", "c", "https://u:secret@example.org"], 2, "must not hold a user name"),
    (["create", "c", "https://exämple.org"], 2, "is no address"),
    (["create", "c", "http://a b/"], 2, "is no address"),
    (["create", "c", "https://example.org:99999"], 2, ""),
    (["create", "c", "https://example.org", "--event", "task.complete"], 2, "did you mean 'task.completed'"),
    (["create", "c", "https://example.org", "--event", "*.*.*"], 2, "there is no event"),
    (["create", "c", "https://example.org", "--project", "nope"], 2, "there is: ops, web"),
    (["create", "C", "https://example.org"], 2, "'C' is no name for a webhook"),
    (["create", "chat", "https://example.org"], 6, "webhooks set chat"),
    (["set", "nope", "url=https://example.org"], 5, "there is: chat"),
    (["set", "chat", "url="], 2, "`url` is required"),
    (["set", "chat", "enabled=no"], 2, "enabled is true or false"),
    (["set", "chat", "secret=x"], 2, "there is no field"),
    (["delete", "nope", "--yes"], 5, "there is: chat"),
    (["delete", "chat"], 2, "say --yes"),
    (["show", "nope"], 5, "there is: chat"),
    (["secret", "nope"], 5, "there is: chat"),
    (["test", "nope"], 5, "there is: chat"),
    (["replay", "nope"], 5, "there is: chat"),
    (["replay", "chat", "evt_x"], 5, "there is no event 'evt_x'"),
    (["deliveries", "nope"], 5, "there is: chat"),
]


def test_what_cannot_be_is_refused_and_changes_nothing(root: Path, cli: Cli, create: Create) -> None:
    create("chat")
    before = (root / FILE).read_bytes()
    for words, code, said in REFUSED:
        done = cli(root, "webhooks", *words)
        assert (done.code, done.out, said in done.err) == (code, "", True), (words, done.err)
        assert "secret@" not in done.err
        assert (root / FILE).read_bytes() == before


WRONG = [
    ("webhooks:\n  chat:\n    events: [task.*]\n", "2:3: DT120 `url` is required"),
    ("webhooks:\n  chat:\n    url: ftp://x\n", "3:10: DT123 `url`: must begin with https:// or http://"),
    ("webhooks:\n  chat:\n    url: https://x\n    events: [task.x]\n", "4:14: DT123 `events item 1`: there is no"),
    ("webhooks:\n  chat:\n    url: https://x\n    events: []\n", "4:13: DT123 `events` has 0 items"),
    ("webhooks:\n  chat:\n    url: https://x\n    enabled: 'yes'\n", "4:14: DT121 `enabled` must be true or false"),
    ("webhooks:\n  chat:\n    url: https://x\n    project: nope\n", "4:14: DT122 there is no project 'nope'"),
    ("webhooks:\n  chat:\n    url: https://x\n    secret: x\n", "4:5: DT125 unknown key 'secret'"),
    ("webhooks:\n  Chat: {url: 'https://x'}\n", "2:3: DT123"),
    ("hooks: {}\n", "1:1: DT125 unknown key 'hooks'"),
    ("[]\n", "1:1: DT108"),
]


def test_validate_says_what_is_wrong_in_the_file_and_where(root: Path, cli: Cli) -> None:
    for text, problem in WRONG:
        write_files(root, {FILE: text})
        done = cli(root, "validate")
        assert f"{FILE}:{problem}" in done.out + done.err, (text, done.out)
        assert done.code == (0 if "DT125" in problem else 1)


@pytest.mark.parametrize("given", [f"{GIVEN}\n", "whsec_" + base64.b64encode(bytes(64)).decode()])
def test_a_secret_of_the_receiver_can_be_given(given: str, root: Path, cli: Cli) -> None:
    done = cli(root, "webhooks", "create", "chat", "https://example.org", "--given", "--json", given=given)
    assert done.json["secret"] == given.strip()


@pytest.mark.parametrize(
    "given", ["", "whsec_", "whsec_AAAA", GIVEN[6:], "whsec_" + base64.b64encode(bytes(65)).decode()]
)
def test_a_weak_or_wrong_secret_is_refused(given: str, root: Path, cli: Cli, create: Create) -> None:
    done = cli(root, "webhooks", "create", "chat", "https://example.org", "--given", given=given)
    assert (done.code, done.out) == (2, "")
    assert not (root / FILE).exists()
    create("chat")
    assert cli(root, "webhooks", "secret", "chat", "--given", given=given).code == 2


def test_a_file_of_comments_says_nothing_and_keeps_them(root: Path, cli: Cli, create: Create) -> None:
    path = root / "config/webhooks.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"# who is told\n# ask Ann")
    assert cli(root, "validate", "config/webhooks.yaml").out.startswith("0 errors, 0 warnings")
    assert cli(root, "webhooks", "list", "--json").json == []
    create("chat")
    assert path.read_text().startswith("# who is told\n# ask Ann\nwebhooks:\n  chat:\n")
    assert cli(root, "webhooks", "list", "--json").json[0]["name"] == "chat"


def test_delete_takes_secret_and_queue_along(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    secret = create("chat")
    create("other")
    receiver.answers = lambda _got: 500
    assert cli(root, "task", "set", "web-000002", "priority=high").code == 0
    assert cli(root, "webhooks", "deliver").code == 0
    assert cli(root, "webhooks", "delete", "chat", "--yes").code == 0
    [file] = Path(os.environ["XDG_STATE_HOME"]).rglob("webhooks.json")
    assert secret not in file.read_text()
    assert [*json.loads(file.read_text())["webhooks"]] == ["other"]
    assert [path.name for path in (root / ".git/dagtasks/webhooks").iterdir()] == ["other"]
    create("chat")
    assert cli(root, "webhooks", "show", "chat", "--json").json["waiting"] == 0


def test_secrets_that_others_could_have_written_do_not_count(root: Path, cli: Cli, create: Create) -> None:
    create("chat")
    [file] = Path(os.environ["XDG_STATE_HOME"]).rglob("webhooks.json")
    file.parent.chmod(0o777)
    for words in (["list"], ["test", "chat"], ["secret", "chat"]):
        done = cli(root, "webhooks", *words)
        assert (done.code, "others may write" in done.err) == (6, True)
    assert cli(root, "task", "set", "web-000002", "priority=high").code == 0
    assert cli(root, "webhooks", "deliver").code == 0
    file.parent.chmod(0o700)
    assert cli(root, "webhooks", "show", "chat", "--json").json["waiting"] == 0
