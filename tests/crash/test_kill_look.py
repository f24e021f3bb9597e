"""A look is killed at every call that changes something: what changed is queued once, and done once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Tell, write_files
from tests.crash.scene import (
    FILES,
    ONE,
    THE_CACHE,
    Case,
    Interfered,
    check_locks,
    check_next_command,
    interfere_everywhere,
    make_repository,
)
from tests.crash.zygote import Zygote

pytestmark = pytest.mark.slow

FLOW = "\nworkflows:\n  greet:\n    template: hello\n    run_on: [in_progress]\n"
LOOK = ["hooks", "run", "--foreground", "post-commit"]


@pytest.mark.parametrize("how", ["one", "ENOSPC"])
def test_a_change_starts_one_run_wherever_the_look_ends(how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    """Nothing is approved: the run is recorded as waiting for that, or as interrupted while that was written."""
    source = make_repository(folder / "source", {ONE: FILES[ONE] + FLOW})
    assert zygote.run(source, ["queue", "work"]).code == 0
    write_files(source, {ONE: FILES[ONE].replace("planned", "in_progress") + FLOW})

    def check(found: Interfered) -> None:
        for _ in range(2):
            again = zygote.run(found.root, ["queue", "work"])
            assert again.code == 0, again.err
        listed = json.loads(zygote.run(found.root, ["runs", "list", "--json"]).out)["data"]
        assert [record["task"] for record in listed] == ["web-000001"]
        assert listed[0]["status"] in ("awaiting_approval", "interrupted")
        assert json.loads(zygote.run(found.root, ["queue", "list", "--json"]).out)["data"] == []
        check_next_command(zygote, found.root)
        check_locks(found.root)

    count, states = interfere_everywhere(zygote, source, Case(LOOK, without=[THE_CACHE]), how, folder, check)
    tell(f"{how} at {count} calls, {states} different states left, all whole")
