"""Concurrency groups between processes: first come, first served, and who died leaves its line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dagtasks.store.turns import take_turn

WORKER = """
import sys, time
from pathlib import Path
from dagtasks.store.turns import take_turn
folder, log, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
turn = take_turn(folder, "deploy", 1)
print("in line", flush=True)
while not turn.has_come():
    time.sleep(0.01)
with log.open("a") as file:
    file.write(f"begin {name}\\n")
time.sleep(float(sys.argv[4]))
with log.open("a") as file:
    file.write(f"end {name}\\n")
turn.leave()
"""


def start(tmp_path: Path, name: str, seconds: float = 0.05) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WORKER, str(tmp_path / "turns"), str(tmp_path / "log"), name, str(seconds)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "in line\n"
    return process


def test_processes_take_turns_in_their_order(tmp_path: Path) -> None:
    workers = [start(tmp_path, name) for name in "abcd"]
    for worker in workers:
        worker.communicate(timeout=30)
    assert (tmp_path / "log").read_text().split("\n")[:-1] == [
        line for name in "abcd" for line in (f"begin {name}", f"end {name}")
    ]


def test_who_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    holder, waiter, last = start(tmp_path, "a", 60), start(tmp_path, "b"), start(tmp_path, "c")
    deadline = time.monotonic() + 20
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    waiter.send_signal(signal.SIGKILL)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    waiter.communicate()
    last.communicate(timeout=30)
    assert (tmp_path / "log").read_text() == "begin a\nbegin c\nend c\n"


def test_as_many_as_the_limit_go_on_at_once(tmp_path: Path) -> None:
    turns = [take_turn(tmp_path, "group", 2) for _ in range(4)]
    assert [turn.has_come() for turn in turns] == [True, True, False, False]
    turns[1].leave()
    assert [turn.has_come() for turn in turns[2:]] == [True, False]
    turns[1].leave()  # leaving twice is nothing
    other = take_turn(tmp_path, "other group", 1)
    assert other.has_come()


def test_a_ticket_of_a_process_of_before_the_last_boot_is_taken_away(tmp_path: Path) -> None:
    first = take_turn(tmp_path, "group", 1)
    [ticket] = tmp_path.glob("*/*.json")
    ticket.write_text(ticket.read_text().replace(f'"pid": {os.getpid()}', '"pid": 4194300'))
    assert take_turn(tmp_path, "group", 1).has_come()
    assert not ticket.exists()
    first.leave()
