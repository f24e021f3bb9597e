"""What receivers get: each event of every door, at least once, signed, in order, whatever goes wrong in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from dagtasks.model.event import EventRecord
from dagtasks.service import dispatch
from dagtasks.service.deliveries import list_deliveries
from dagtasks.service.postman import Postman, Sent, deliver
from dagtasks.store.project import Project
from dagtasks.webhooks.delivery import MAX_BODY, make_body
from dagtasks.webhooks.schedule import WAITS
from tests.conftest import MakeProject, Result, git, write_files
from tests.webhooks.conftest import FILES, ONE, TWO, Create
from tests.webhooks.receiver import Got, Receiver

Cli = Callable[..., Result]
DAY = 86_400


def rename(root: Path, *names: str, path: str = TWO) -> None:
    """Give the task one name after the other, as an editor does, and let each be seen."""
    for name in names:
        write_files(root, {path: f"name: {name}\n\nstatus: planned\n"})
        dispatch.look(Project(root))


def names(got: Iterable[Got]) -> list[str]:
    return [one.message["data"]["name"] for one in got]


def send(root: Path, cli: Cli) -> list[tuple[str, str, str]]:
    done = cli(root, "webhooks", "deliver", "--json")
    assert done.code == 0, done.err
    return [(sent["webhook"], sent["type"], sent["result"]) for sent in done.json]


def states(root: Path, name: str = "chat") -> list[tuple[str, str]]:
    """The events by name and what became of them, the oldest first."""
    return [(row["event"]["name"], row["state"]) for row in reversed(list_deliveries(Project(root), name))]


class At:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def send_at(root: Path, clock: At) -> list[Sent]:
    sent: list[Sent] = []
    deliver(Project(root), sent.append, clock=clock)
    return sent


# -- what is sent ---------------------------------------------------------------------------------------------------


def test_a_message_says_what_happened_and_is_signed(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    secret = create("chat")
    assert cli(root, "task", "set", "web-000002", "status=in_progress").code == 0
    assert send(root, cli) == [("chat", "task.updated", "200")]
    [got] = receiver.got
    assert got.is_signed_by(secret)
    assert Webhook(secret).verify(got.body, dict(got.headers)) == got.message
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("application/json", "dagtasks-webhooks")
    data = got.message["data"]
    assert [*got.message] == ["type", "timestamp", "data"]
    assert (got.message["type"], got.message["timestamp"], data["id"]) == ("task.updated", data["time"], got.id)
    assert (data["subject"], data["project"], data["actor"]) == ("web-000002", "web", "ann@example.org")
    assert data["changed"] == {"status": ["planned", "in_progress"]}
    assert send(root, cli) == []


def test_a_changed_message_or_another_secret_is_noticed(
    root: Path, cli: Cli, create: Create, receiver: Receiver
) -> None:
    secret, other = create("chat"), create("other")
    assert cli(root, "webhooks", "test", "chat").code == 0
    [got] = receiver.got
    assert not got.is_signed_by(other)
    assert not got._replace(body=got.body.replace(b"webhook.test", b"webhook.tesd")).is_signed_by(secret)
    assert not got._replace(headers={**got.headers, "webhook-id": "evt_0"}).is_signed_by(secret)
    assert not got._replace(headers={**got.headers, "webhook-timestamp": "1"}).is_signed_by(secret)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(got.body, dict(got.headers))


def test_while_secrets_change_both_sign(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    def signers() -> list[bool]:
        assert cli(root, "webhooks", "test", "chat").code == 0
        return [receiver.got[-1].is_signed_by(secret) for secret in (first, second, third)]

    first = create("chat")
    second = third = cli(root, "webhooks", "secret", "chat").out.strip()
    assert signers() == [True, True, True]
    third = cli(root, "webhooks", "secret", "chat", "--json").json["secret"]
    assert signers() == [False, True, True]
    assert cli(root, "webhooks", "secret", "chat", "--retire").code == 0
    assert signers() == [False, False, True]


def test_only_wanted_events_are_sent(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("all")
    create("web", "--project", "web")
    create("done", "--event", "task.completed", "--event", "phase.*")
    create("made", "--event", "*.created")
    write_files(root, {TWO: "name: B\n\nstatus: completed\n", "tasks/ops/ops-000002.yaml": "name: C\n"})
    dispatch.look(Project(root))
    send(root, cli)
    told = {path: [got.message["type"] for got in receiver.to(path)] for path in ("/all", "/web", "/done", "/made")}
    assert told == {
        "/all": ["task.created", "task.ready", "task.completed"],
        "/web": ["task.completed"],
        "/done": ["task.completed"],
        "/made": ["task.created"],
    }
    assert len({got.id for got in receiver.got}) == 3


@pytest.mark.parametrize("where", ["changed", "name", "error", "all"])
def test_a_message_is_never_larger_than_20_kb(where: str) -> None:
    huge = "é\n" * 50_000
    event = EventRecord(
        "evt_1", "run.failed", "2026-11-26T10:00:00Z", "web", "x", "n", {"a": (None, "b")}, run={"id": "r"}
    )
    assert "is_cut" not in json.loads(make_body(event))["data"]
    if where in ("changed", "all"):
        event = event._replace(changed={"name": (huge, huge)})
    if where in ("name", "all"):
        event = event._replace(name=huge)
    if where in ("error", "all"):
        event = event._replace(run={"id": "r", "error": {"code": "c", "message": huge}})
    body = make_body(event)
    data = json.loads(body)["data"]
    assert len(body) <= MAX_BODY
    assert (data["is_cut"], data["id"], data["run"]["id"]) == (True, "evt_1", "r")


# -- every door -----------------------------------------------------------------------------------------------------


def test_events_of_every_door_are_sent(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("chat")

    def sent() -> list[tuple[str, str]]:
        count = len(receiver.got)
        send(root, cli)
        return [(got.message["type"], got.message["data"]["subject"]) for got in receiver.got[count:]]

    assert cli(root, "task", "set", "web-000002", "priority=high", "--commit").code == 0
    assert sent() == [("task.updated", "web-000002")]
    write_files(root, {TWO: "name: By hand\n\nstatus: planned\n"})
    assert sent() == [("task.updated", "web-000002")]
    git(root, "add", "--all")
    git(root, "commit", "-qm", "mine")
    git(root, "checkout", "-qb", "side")
    write_files(root, {"tasks/ops/ops-000001.yaml": "name: Merged\n\nstatus: planned\n"})
    git(root, "commit", "-qam", "side", "--author", "Bob <bob@example.org>")
    git(root, "checkout", "-q", "main")
    assert sent() == []
    git(root, "merge", "-q", "--no-ff", "side")
    assert sent() == [("task.updated", "ops-000001")]
    assert receiver.got[-1].message["data"]["actor"] == "bob@example.org"
    run = cli(root, "run", "web-000001", "--json").json["id"]
    told = [("run.started", run), ("run.succeeded", run), ("task.completed", "web-000001")]
    assert sorted(sent()) == sorted([*told, ("workflow.completed", "web-000001/w")])
    origins = {got.message["type"]: got.message["data"]["origin"] for got in receiver.got}
    assert origins["task.completed"] == run


@pytest.mark.slow
def test_a_hook_of_git_has_it_sent(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    """By a runner that outlives the hook."""
    create("chat")
    assert cli(root, "hooks", "install").code == 0
    write_files(root, {TWO: "name: Committed\n\nstatus: planned\n"})
    git(root, "commit", "-qam", "x")
    wait_for(lambda: names(receiver.got) == ["Committed"])


def test_the_runner_sends_what_its_runs_give(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    write_files(root, {ONE: FILES[ONE] + "    run_on: [in_progress]\n"})
    create("chat")
    assert cli(root, "trust", "approve", "t", "--yes").code == 0
    assert cli(root, "task", "set", "web-000001", "status=in_progress").code == 0
    assert cli(root, "queue", "work").code == 0
    told = [got.message["type"] for got in receiver.got]
    run = ["run.queued", "run.started", "run.succeeded", "workflow.completed"]
    assert [one for one in told if one in run] == run
    assert "task.completed" in told


@pytest.mark.slow
def test_a_postman_sends_what_comes_and_what_runs_give(
    root: Path, cli: Cli, create: Create, receiver: Receiver
) -> None:
    create("chat", "--event", "task.*", "--event", "run.*")
    said: list[str] = []
    postman = Postman(Project(root), said.append)
    thread = threading.Thread(target=postman.run)
    thread.start()
    try:
        rename(root, "Seen")
        wait_for(lambda: names(receiver.got) == ["Seen"])
        assert cli(root, "run", "web-000001").code == 0
        wait_for(lambda: receiver.got[-1].message["type"] == "run.succeeded")
    finally:
        postman.stop()
        thread.join(20)
    assert not thread.is_alive()
    assert said == []


def wait_for(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_what_is_not_taken_is_sent_again_with_the_same_id(
    root: Path, cli: Cli, create: Create, receiver: Receiver
) -> None:
    secret, clock = create("chat"), At()
    rename(root, "A")
    receiver.answers = lambda _got: 500
    assert [sent.result for sent in send_at(root, clock)] == ["500"]
    clock.now += 4.9
    assert send_at(root, clock) == []
    assert states(root) == [("A", "waiting")]
    clock.now += 0.2
    receiver.answers = lambda _got: 204
    assert [sent.result for sent in send_at(root, clock)] == ["204"]
    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    assert second.is_signed_by(secret)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) in (5, 6)
    assert states(root) == [("A", "delivered")]


def test_events_come_in_order_also_when_the_first_is_not_taken(root: Path, create: Create, receiver: Receiver) -> None:
    create("chat")
    clock = At()
    rename(root, "A", "B", "C")
    receiver.answers = lambda got: 500 if len(receiver.got) < 3 else 200
    for _ in range(4):
        send_at(root, clock)
        clock.now += 301
    assert names(receiver.got) == ["A", "A", "A", "B", "C"]
    rename(root, "D")
    send_at(root, clock)
    assert names(receiver.got)[5:] == ["D"]


def test_a_dead_letter_lets_the_next_come_and_can_be_sent_again(
    root: Path, cli: Cli, create: Create, receiver: Receiver
) -> None:
    create("chat")
    clock = At()
    rename(root, "A", "B")
    receiver.answers = lambda got: 500 if names([got]) == ["A"] else 200
    for wait in WAITS:
        clock.now += wait
        send_at(root, clock)
    assert names(receiver.got) == ["A"] * 10 + ["B"]
    assert states(root) == [("A", "dead"), ("B", "delivered")]
    receiver.answers = lambda _got: 200
    assert cli(root, "webhooks", "replay", "chat").code == 0
    assert states(root) == [("A", "waiting"), ("B", "delivered")]
    assert cli(root, "webhooks", "replay", "chat", "--json").json == []
    send_at(root, clock)
    assert states(root) == [("A", "delivered"), ("B", "delivered")]
    assert receiver.got[-1].id == receiver.got[0].id
    assert cli(root, "webhooks", "replay", "chat", "--json").json == []
    [again] = cli(root, "webhooks", "replay", "chat", receiver.got[-2].id, "--json").json
    assert again["name"] == "B"
    send_at(root, clock)
    assert [got.id for got in receiver.got[-1:]] == [again["id"]]


def test_gone_disables_the_endpoint_until_somebody_enables_it(
    root: Path, cli: Cli, create: Create, receiver: Receiver
) -> None:
    create("chat")
    rename(root, "A")
    receiver.answers = lambda _got: 410
    assert send(root, cli) == [("chat", "task.updated", "410")]
    assert "410" in cli(root, "webhooks", "show", "chat", "--json").json["state"]
    assert send(root, cli) == []
    rename(root, "B")
    for words in (["test", "chat"], ["replay", "chat"]):
        done = cli(root, "webhooks", *words)
        assert (done.code, "webhooks set chat enabled=true" in done.err) == (6, True)
    receiver.answers = lambda _got: 200
    assert cli(root, "webhooks", "set", "chat", "enabled=true").code == 0
    rename(root, "C")
    send(root, cli)
    assert names(receiver.got) == ["A", "A", "C"]


@pytest.mark.slow
def test_five_days_of_failure_disable_the_endpoint(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("chat")
    clock = At()
    rename(root, *"ABCD")
    receiver.answers = lambda _got: 503
    while "5 days" not in cli(root, "webhooks", "show", "chat", "--json").json["state"]:
        send_at(root, clock)
        clock.now += DAY / 2
        assert len(receiver.got) < 40
    count = len(receiver.got)
    clock.now += DAY
    assert send_at(root, clock) == []
    assert len(receiver.got) == count


@pytest.mark.parametrize("asked", ["3000", "date"])
def test_a_receiver_is_left_alone_for_as_long_as_it_asks(
    asked: str, root: Path, create: Create, receiver: Receiver
) -> None:
    create("chat")
    clock = At()
    text = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(clock.now + 3000)) if asked == "date" else asked
    receiver.answers = lambda _got: (429, {"retry-after": text}, b"")
    rename(root, "A")
    send_at(root, clock)
    for seconds, count in ((2990, 1), (20, 2)):
        clock.now += seconds
        send_at(root, clock)
        assert len(receiver.got) == count


def test_no_redirect_is_followed(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("chat")
    for status in (301, 302, 303, 307, 308):
        receiver.answers = lambda _got, status=status: (status, {"location": f"{receiver.url}/other"}, b"")
        done = cli(root, "webhooks", "test", "chat")
        assert (done.code, str(status) in done.out) == (1, True)
    assert {got.path for got in receiver.got} == {"/chat"}


def test_the_rest_of_a_long_answer_is_not_read(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("chat")
    for status, code in ((200, 0), (500, 1)):
        receiver.answers = lambda _got, status=status: (status, {}, b"x" * 10_000_000)
        done = cli(root, "webhooks", "test", "chat")
        assert (done.code, str(status) in done.out) == (code, True)


def test_a_receiver_that_is_not_there_fails(root: Path, cli: Cli) -> None:
    assert cli(root, "webhooks", "create", "chat", "http://127.0.0.1:9/").code == 0
    done = cli(root, "webhooks", "test", "chat")
    assert (done.code, "no connection" in done.out) == (1, True)


def test_a_slow_endpoint_holds_up_no_other(root: Path, create: Create, receiver: Receiver) -> None:
    create("slow")
    create("fast")
    may_answer = threading.Event()
    receiver.answers = lambda got: 200 if got.path == "/fast" or may_answer.wait(60) else 500
    rename(root, "A", "B", "C")
    sender = threading.Thread(target=send_at, args=(root, At()))
    sender.start()
    try:
        wait_for(lambda: names(receiver.to("/fast")) == ["A", "B", "C"])
        assert names(receiver.to("/slow")) == ["A"]
    finally:
        may_answer.set()
        sender.join(60)
    assert names(receiver.to("/slow")) == ["A", "B", "C"]


def test_two_who_deliver_at_once_send_each_event_once(root: Path, create: Create, receiver: Receiver) -> None:
    create("chat")
    rename(root, *"ABCDE")
    senders = [threading.Thread(target=send_at, args=(root, At())) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert names(receiver.got) == [*"ABCDE"]


# -- to whom nothing is sent ----------------------------------------------------------------------------------------


REFUSED_HOSTS = [
    *("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "017700000001"),
    *("10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "168.63.129.16", "224.0.0.1"),
    *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[fe80::1]", "[fd00::1]"),
]


def test_no_address_of_this_network_is_reached_unless_the_operator_says_so(
    root: Path, cli: Cli, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGTASKS_ALLOW_HOSTS")
    port = receiver.url.rpartition(":")[2]
    assert cli(root, "webhooks", "create", "chat", "http://example.org/").code == 0
    for host in REFUSED_HOSTS:
        assert cli(root, "webhooks", "set", "chat", f"url=http://{host}:{port}/").code == 0
        done = cli(root, "webhooks", "test", "chat")
        assert (done.code, "public internet" in done.out) == (1, True), (host, done.out)
    assert receiver.got == []


def test_a_machine_without_a_secret_sends_nothing(
    root: Path, cli: Cli, create: Create, receiver: Receiver, tmp_path: Path
) -> None:
    create("chat")
    git(root, "add", "--all")
    git(root, "commit", "-qm", "webhook")
    git(tmp_path, "clone", "-q", str(root), "clone")
    clone = tmp_path / "clone"
    dispatch.begin(Project(clone))
    rename(clone, "A")
    assert send(clone, cli) == []
    assert "no secret" in cli(clone, "webhooks", "show", "chat", "--json").json["state"]
    secret = cli(clone, "webhooks", "secret", "chat").out.strip()
    rename(clone, "B")
    assert send(clone, cli) == [("chat", "task.updated", "200")]
    assert receiver.got[-1].is_signed_by(secret)


def test_an_address_that_others_changed_gets_nothing(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    """Not even what waits already; who agrees to the address makes a new secret, or changes it here."""
    secret = create("chat")
    rename(root, "A")
    file = root / "config/webhooks.yaml"
    write_files(root, {"config/webhooks.yaml": file.read_text().replace("/chat", "/evil")})
    rename(root, "B")
    assert send(root, cli) == []
    assert "address" in cli(root, "webhooks", "show", "chat", "--json").json["state"]
    done = cli(root, "webhooks", "test", "chat")
    assert (done.code, "webhooks secret chat" in done.err) == (6, True)
    fresh = cli(root, "webhooks", "secret", "chat").out.strip()
    send(root, cli)
    assert names(receiver.to("/evil")) == ["A"]
    assert not receiver.got[-1].is_signed_by(secret)
    assert cli(root, "webhooks", "set", "chat", f"url={receiver.url}/moved").code == 0
    rename(root, "C")
    send(root, cli)
    assert receiver.to("/moved")[-1].is_signed_by(fresh)


def test_a_broken_file_counts_as_it_was(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("chat")
    send(root, cli)
    rename(root, "A")
    file = root / "config/webhooks.yaml"
    good = file.read_bytes()
    file.write_bytes(b"webhooks: [\n")
    rename(root, "B")
    file.write_bytes(good)
    send(root, cli)
    assert names(receiver.got) == ["A", "B"]


def test_a_disabled_webhook_is_told_nothing(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    """What waits already is told when it is enabled again."""
    create("chat")
    rename(root, "A")
    assert cli(root, "webhooks", "set", "chat", "enabled=false").code == 0
    rename(root, "B")
    assert send(root, cli) == []
    assert cli(root, "webhooks", "set", "chat", "enabled=true").code == 0
    rename(root, "C")
    send(root, cli)
    assert names(receiver.got) == ["A", "C"]


# -- the queue ------------------------------------------------------------------------------------------------------


def test_a_queue_that_was_sent_is_emptied(root: Path, create: Create, receiver: Receiver) -> None:
    create("chat")
    queue = root / ".git/dagtasks/webhooks/chat/queue.jsonl"
    for name in "ABC":
        rename(root, name)
        assert queue.stat().st_size > 0
        send_at(root, At())
        assert queue.stat().st_size == 0
    assert names(receiver.got) == [*"ABC"]


@pytest.mark.parametrize("damage", ["half", "garbage", "progress gone", "progress damaged"])
def test_a_damaged_queue_loses_no_whole_event(damage: str, root: Path, create: Create, receiver: Receiver) -> None:
    create("chat")
    clock = At()
    rename(root, "A", "B")
    receiver.answers = lambda _got: 500 if len(receiver.got) == 2 else 200
    send_at(root, clock)
    folder = root / ".git/dagtasks/webhooks/chat"
    if damage in ("half", "garbage"):
        with (folder / "queue.jsonl").open("ab") as file:
            file.write(b'{"at":' if damage == "half" else b"\xff{]\n")
    elif damage == "progress gone":
        (folder / "progress.json").unlink()
    else:
        (folder / "progress.json").write_bytes(b"{")
    clock.now += 10
    rename(root, "C")
    send_at(root, clock)
    assert list(dict.fromkeys(names(receiver.got))) == ["A", "B", "C"]
    assert names(receiver.got)[-2:] == ["B", "C"]
    assert not Project(root).root.joinpath("x").exists()


def test_what_was_delivered_and_not_written_down_is_sent_once_more(
    root: Path, create: Create, receiver: Receiver
) -> None:
    create("chat")
    rename(root, "A", "B")
    progress = root / ".git/dagtasks/webhooks/chat/progress.json"
    receiver.answers = lambda _got: 200 if len(receiver.got) == 1 else 500
    send_at(root, At())
    old: Any = json.loads(progress.read_bytes())
    progress.write_text(json.dumps({**old, "done": 0, "next_at": 0}))
    receiver.answers = lambda _got: 200
    send_at(root, At())
    assert names(receiver.got) == ["A", "B", "A", "B"]
    assert receiver.got[0].id == receiver.got[2].id


def test_outside_of_git_nothing_is_told(tmp_path: Path, cli: Cli) -> None:
    write_files(tmp_path, {"tasks/README.md": "tasks\n"})
    for words in (["create", "chat", "https://example.org"], ["deliver"]):
        assert cli(tmp_path, "webhooks", *words).code == 4
    assert cli(tmp_path, "webhooks", "list").code == 0


def test_a_large_change_is_put_aside_at_once(
    project: MakeProject, cli: Cli, create: Create, root: Path, receiver: Receiver
) -> None:
    create("chat", "--event", "task.created")
    write_files(root, {f"tasks/web/web-1{n:05d}.yaml": f"name: N{n}\n" for n in range(30)})
    dispatch.look(Project(root))
    send(root, cli)
    assert names(receiver.got) == [f"N{n}" for n in range(30)]


def test_a_look_that_died_puts_nothing_aside_twice(root: Path, create: Create, receiver: Receiver) -> None:
    create("chat")
    cursor = root / ".git/dagtasks/cursor"
    old = cursor.read_bytes()
    rename(root, "A")
    cursor.write_bytes(old)
    dispatch.look(Project(root))
    send_at(root, At())
    assert names(receiver.got) == ["A"]


def test_a_run_that_was_seen_half_way_is_told_once(root: Path, cli: Cli, create: Create, receiver: Receiver) -> None:
    create("chat", "--event", "run.*")
    run = cli(root, "run", "web-000001", "--json").json["id"]
    journal = root / ".git/dagtasks/runs" / run / "events.jsonl"
    whole = journal.read_bytes()
    for lines in (1, 2, -1, None):
        journal.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
        send(root, cli)
    assert [got.message["type"] for got in receiver.got] == ["run.started", "run.succeeded"]
