"""The server is killed under load: what it answered is there, what it did not is told apart, and the next one starts."""

from __future__ import annotations

import http.client
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.served import Served
from tests.conftest import Result, Tell, git
from tests.load.conftest import HOT, TIMES, Client, check_whole

pytestmark = pytest.mark.slow

KILLS = int(4 * TIMES)
GONE = (http.client.HTTPException, OSError)


class Maker:
    """A client that makes tasks, each under a name of its own, and remembers what it heard of each."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._next = 0
        self.answered: dict[str, bytes] = {}
        self.asked: list[str] = []

    def work(self, served: Served) -> None:
        """Make tasks until the server is gone."""
        client = Client(served)
        try:
            while True:
                self._next += 1
                name = f"{self._number}-{self._next}"
                self.asked.append(name)
                answer = make(client, name)
                if answer.status == 201:
                    self.answered[name] = answer.body
                    self.asked.pop()
                elif answer.status == 503:
                    self.asked.pop()
                else:
                    raise AssertionError(answer)
        except GONE:
            client.close()


class Counter:
    """A client that counts a task up."""

    def __init__(self, task: str) -> None:
        self._task = task
        self.answered: list[str] = []

    def work(self, served: Served) -> None:
        client = Client(served)
        try:
            while True:
                found = client.ask("GET", f"/tasks/{self._task}")
                body = {"metadata": {"count": found.json["metadata"]["count"] + 1}}
                answer = client.ask("PATCH", f"/tasks/{self._task}", body, {"If-Match": found.headers["etag"]})
                assert answer.status in (200, 412, 503), answer
                if answer.status == 200:
                    self.answered.append(answer.headers["dagtasks-commit"])
        except GONE:
            client.close()


def make(client: Client, name: str):
    return client.ask("POST", "/tasks", {"project": "web", "name": name}, {"Idempotency-Key": name})


def test_what_was_answered_outlives_a_server_that_is_killed(
    serve: Callable[[], Served], root: Path, process: Callable[..., Result], tell: Tell
) -> None:
    dice = random.Random(7)
    makers = [Maker(number) for number in range(3)]
    counters = [Counter(task) for task in HOT[:3]]
    told: dict[str, int] = {"201": 0, "409": 0, "replayed": 0, "there": 0}
    served = serve()
    for _ in range(KILLS):
        threads = [threading.Thread(target=one.work, args=(served,)) for one in (*makers, *counters)]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.3, 2.0))
        served.end(signal.SIGKILL)
        for thread in threads:
            thread.join()
        served = serve()
        check_after(served, makers, told)
    commits = git(root, "rev-list", "HEAD").split()
    assert {one for counter in counters for one in counter.answered} <= {*commits}
    assert process(root, "validate").code == 0
    commit_rest(served, root)
    check_whole(root)
    answered = sum(len(one.answered) for one in (*makers, *counters))
    tell(f"{KILLS} kills, {answered} changes answered, asked again: {told}")


def check_after(served: Served, makers: list[Maker], told: dict[str, int]) -> None:
    """After the restart each name that was asked for stands for one task at the most, and for one if it was answered."""
    client = Client(served)
    assert client.ask("PATCH", f"/tasks/{HOT[4]}", {"metadata": {"x": time.time()}}, {"If-Match": "*"}).status == 200
    rows = every_task(client)
    names = [row["name"] for row in rows]
    for maker in makers:
        for name, body in [*maker.answered.items()][-5:]:
            again = make(client, name)
            assert (again.status, again.body, again.headers["idempotency-replayed"]) == (201, body, "true")
            assert names.count(name) == 1
        for name in maker.asked:
            again = make(client, name)
            assert again.status in (201, 409), again
            is_replayed = "idempotency-replayed" in again.headers
            told["replayed" if is_replayed else str(again.status)] += 1
            told["there"] += names.count(name)
            if again.status == 201:
                assert names.count(name) == is_replayed
            else:
                assert names.count(name) <= 1
                assert "nobody knows" in again.json["detail"]
        maker.asked.clear()
    assert client.seen == []
    client.close()


def commit_rest(served: Served, root: Path) -> None:
    """What was written and not yet committed when the server died is as any other file of ours: the next change takes it."""
    client = Client(served)
    for path in (
        git(root, "diff", "--name-only", "HEAD").split() + git(root, "ls-files", "-o", "--exclude-standard").split()
    ):
        answer = client.ask("PATCH", f"/tasks/{Path(path).stem}", {"metadata": {"rest": 1}}, {"If-Match": "*"})
        assert (answer.status, "dagtasks-commit" in answer.headers) == (200, True), answer
    client.close()


def every_task(client: Client) -> list[dict]:
    found, cursor = [], ""
    while True:
        page = client.ask("GET", f"/tasks?limit=200{cursor}").json
        found += page["data"]
        if not page["next"]:
            return found
        cursor = f"&cursor={page['next']}"
