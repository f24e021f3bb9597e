"""Many clients at once: no change that was accepted is lost, and nobody is told anything but to try again."""

from __future__ import annotations

import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.api.served import Served
from tests.conftest import Result, Tell, git
from tests.load.conftest import HOT, LOAD_SECONDS, Client, check_whole

pytestmark = pytest.mark.slow

CLIENTS = 50
WRITES = 0.1


class Accepted(NamedTuple):
    """A change that a client was told of: which task, what its count became, and in which commit."""

    task: str
    count: int
    commit: str


class Person:
    """A client that reads, and now and then counts a task up: from what it has read, to one more."""

    def __init__(self, served: Served, number: int) -> None:
        self.client = Client(served)
        self.accepted: list[Accepted] = []
        self.answers: Counter[str] = Counter()
        self.taken: list[float] = []
        self.went_back: list[str] = []
        self.trouble: list[Exception] = []
        self._dice = random.Random(number)
        self._counts: dict[str, int] = {}

    def work(self, until: float) -> None:
        try:
            while time.monotonic() < until:
                task = self._dice.choice(HOT)
                if self._dice.random() < WRITES:
                    self._count_up(task, until)
                else:
                    self._read(task)
        except Exception as error:
            self.trouble.append(error)
        self.client.close()

    def _read(self, task: str) -> tuple[str, int]:
        begun = time.perf_counter()
        answer = self.client.ask("GET", f"/tasks/{task}")
        self.taken.append(time.perf_counter() - begun)
        self.answers[f"GET {answer.status}"] += 1
        if answer.status != 200:
            return "", 0
        count = answer.json["metadata"]["count"]
        if count < self._counts.get(task, 0):
            self.went_back.append(f"{task}: {count}")
        self._counts[task] = count
        return answer.headers["etag"], count

    def _count_up(self, task: str, until: float) -> None:
        """Try until it is accepted, or time is over."""
        while time.monotonic() < until:
            tag, count = self._read(task)
            if not tag:
                continue
            body = {"metadata": {"count": count + 1}}
            answer = self.client.ask("PATCH", f"/tasks/{task}", body, {"If-Match": tag})
            self.answers[f"PATCH {answer.status}"] += 1
            if answer.status == 200:
                self._counts[task] = count + 1
                self.accepted.append(Accepted(task, count + 1, answer.headers["dagtasks-commit"]))
                return
            assert answer.status in (412, 503), answer.body


def work(people: Sequence[Person], *others: Callable[[float], None]) -> None:
    """All of them at the same time."""
    until = time.monotonic() + LOAD_SECONDS
    threads = [threading.Thread(target=each, args=(until,)) for each in (*(one.work for one in people), *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check(root: Path, people: Sequence[Person], tell: Tell, others: Sequence[Accepted] = ()) -> None:
    """Each change that somebody was told of is one commit, in the order of the counts, and there is no other."""
    trouble = [error for person in people for error in person.trouble]
    assert not trouble, trouble
    assert [answer for person in people for answer in person.client.seen] == []
    assert [text for person in people for text in person.went_back] == []
    accepted = [*others, *(one for person in people for one in person.accepted)]
    assert sorted(accepted) == sorted(history_of(root))
    for task in HOT:
        counts = [one.count for one in accepted if one.task == task]
        assert sorted(counts) == list(range(1, len(counts) + 1))
        assert f"count: {len(counts)}\n" in (root / f"tasks/web/{task}.yaml").read_text()
    check_whole(root)
    taken = [one for person in people for one in person.taken]
    answers = sum((person.answers for person in people), Counter())
    median, worst = (statistics.quantiles(taken, n=100)[at] * 1000 for at in (49, 98))
    told = ", ".join(f"{number} {name}" for name, number in sorted(answers.items()))
    tell(
        f"{len(people)} clients, {LOAD_SECONDS:g} s: {told}; a GET takes {median:.0f} ms, 99 of 100 at most {worst:.0f}"
    )


def history_of(root: Path) -> list[Accepted]:
    """What each commit after the first changed; no commit changes two tasks."""
    first = git(root, "rev-list", "--max-parents=0", "HEAD")
    log = git(root, "log", "--format=commit %H", "-p", "-U0", f"{first}..HEAD")
    found = []
    for entry in re.split(r"(?m)^commit ", log)[1:]:
        [task] = re.findall(r"(?m)^\+\+\+ b/tasks/web/(.*)\.yaml$", entry)
        [count] = re.findall(r"(?m)^\+  count: (\d+)$", entry)
        found.append(Accepted(task, int(count), entry.partition("\n")[0]))
    return found


def test_no_change_is_lost_while_many_read_and_write(
    serve: Callable[[], Served], root: Path, process: Callable[..., Result], tell: Tell
) -> None:
    served = serve()
    people = [Person(served, number) for number in range(CLIENTS)]
    work(people)
    assert served.process.poll() is None
    check(root, people, tell)
    assert process(root, "validate").code == 0
    assert [line for line in served.said if "ERROR" in line] == []


def test_two_servers_and_the_command_line_do_not_lose_each_others_changes(
    serve: Callable[[], Served], root: Path, process: Callable[..., Result], tell: Tell
) -> None:
    servers = [serve(), serve()]
    people = [Person(servers[number % 2], number) for number in range(8)]
    task = HOT[0]
    done: list[Accepted] = []

    def type_commands(until: float) -> None:
        """`task set` says nothing of what it has seen, so this changes another field."""
        number = 0
        while time.monotonic() < until:
            number += 1
            found = process(root, "task", "set", "web-000001", f"metadata.count={number}", "--commit", "--json")
            if found.code == 0:
                done.append(Accepted("web-000001", number, git_commit(found)))
            else:
                assert found.code in (6, 75), found.err

    work(people, type_commands)
    assert done
    check(root, people, tell, done)
    assert task in {one.task for person in people for one in person.accepted}


def git_commit(found: Result) -> str:
    import json

    return str(json.loads(found.out)["commit"])
