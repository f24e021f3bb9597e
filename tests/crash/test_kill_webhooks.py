"""Whoever looks and delivers is killed at every call that changes something: what happened is told, with one id."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dagtasks.store.git import Git
from dagtasks.store.operator import OperatorState
from tests.conftest import Tell, write_files
from tests.crash.scene import FILES, ONE, THE_CACHE, Case, Interfered, interfere_everywhere, make_repository
from tests.crash.zygote import Zygote
from tests.webhooks.receiver import receiving

pytestmark = pytest.mark.slow

COPIES = 300
DELIVER = ["webhooks", "deliver", "--json"]


def state_of(root: Path) -> Path:
    return OperatorState(Git(root, root / ".git")).folder


@pytest.mark.parametrize("how", ["one", "ENOSPC"])
def test_a_change_is_told_at_least_once_wherever_it_ends(
    how: str, zygote: Zygote, folder: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGTASKS_ALLOW_HOSTS", "127.0.0.1")
    source = make_repository(folder / "source")
    with receiving() as receiver:
        made = zygote.run(source, ["webhooks", "create", "chat", receiver.url])
        assert made.code == 0, made.err
        # A copy is another repository: its secret lies elsewhere.
        for name in ("usual", *map(str, range(1, COPIES))):
            shutil.copytree(state_of(source), state_of(folder / name))
        write_files(source, {ONE: FILES[ONE].replace("planned", "in_progress")})

        def check(found: Interfered) -> None:
            for _ in range(2):
                again = zygote.run(found.root, DELIVER)
                assert again.code == 0, again.err
            listed = json.loads(zygote.run(found.root, ["webhooks", "deliveries", "--json"]).out)["data"]
            assert [(row["subject"], row["state"]) for row in listed] == [("web-000001", "delivered")]

        case = Case(DELIVER, without=[THE_CACHE], only=["/.git/dagtasks/"])
        count, states = interfere_everywhere(zygote, source, case, how, folder, check)
        assert len({got.id for got in receiver.got}) == 1
        assert count < len(receiver.got)
    tell(f"{how} at {count} calls, {states} different states left, {len(receiver.got)} messages with one id")
