from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

pytest.register_assert_rewrite("tests.crash.scene")

from tests.crash.tracer import reason_why_not  # noqa: E402
from tests.crash.zygote import Zygote  # noqa: E402

MEMORY = Path("/dev/shm")
COUNTS = re.compile(r"(\d+) calls.*, (\d+) different states left")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of all cases together."""
    passed = {report.nodeid: dict(report.user_properties) for report in terminalreporter.getreports("passed")}
    found = [match.groups() for known in passed.values() if (match := COUNTS.search(str(known.get("figures"))))]
    calls, states = (sum(int(pair[place]) for pair in found) for place in (0, 1))
    if found:
        terminalreporter.write_line(f"crash: {len(found)} cases, {calls} kills and errors, {states} states looked at")


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Runs commands, and interferes with them; skips where processes cannot be traced."""
    yield from _running()


@pytest.fixture(scope="module")
def board_zygote() -> Iterator[Zygote]:
    """The same, ready to build sites."""
    yield from _running("dagtasks.board.driver")


def _running(*modules: str) -> Iterator[Zygote]:
    if reason := reason_why_not():
        pytest.skip(reason)
    with Zygote(*modules) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a thousand repositories are copied, and nobody waits for the disk."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    made = Path(mkdtemp(prefix="dagtasks-", dir=MEMORY))
    yield made
    shutil.rmtree(made)
