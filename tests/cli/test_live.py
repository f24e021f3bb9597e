"""What a person sees of a run on a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import MakeProject
from tests.terminal import on_terminal

TEMPLATE = """\
metadata: {name: t}
steps:
  - name: words
    foreach: [1, 2]
    container: {image: "alpine:3", command: "echo first of ${item}; sleep 0.4; printf 'last\\\\033[31m of ${item}\\\\n'; sleep 0.5"}
  - name: bad
    retry: {max_attempts: 2, delay: 800ms, jitter: false}
    container: {image: "alpine:3", command: "echo try $DT_ATTEMPT; exit 3"}
"""


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project({"templates/t.yaml": TEMPLATE}).root


def test_steps_change_in_place(root: Path) -> None:
    seen = on_terminal(root, "run", "--yes", "--template", "t")
    assert "\x1b[2K" in seen  # lines are written anew
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert re.search(r"words\[0\] \d\.\ds first of 1", plain)
    assert r"\x1b[31m of" in plain  # what steps print cannot drive the terminal
    assert "words[1]: ok" in plain
    assert "bad (attempt 2)" in plain or "will be tried again" in plain
    end = plain[plain.index("step bad: the command ended with exit code 3") :]
    assert "try 2" in end
    assert "try 1" not in end
    assert "full log: dagtasks runs logs" in end


def test_a_dumb_terminal_gets_plain_lines(root: Path) -> None:
    seen = on_terminal(root, "run", "--yes", "--template", "t", TERM="dumb", NO_COLOR="1")
    assert "\x1b[2K" not in seen
    assert "words[0] | first of 1" in seen
