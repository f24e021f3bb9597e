"""Keys, from outside: what is shown once, what is kept, and whom a key lets in."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagtasks.errors import Conflict
from dagtasks.service import keys
from dagtasks.service.keys import Scope
from dagtasks.store.keys import is_well_formed
from dagtasks.store.operator import state_home
from dagtasks.store.project import Project
from tests.conftest import MakeProject, Result

Cli = Callable[..., Result]
NOW = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project().root


def key_file() -> Path:
    (file,) = state_home().glob("dagtasks/*/keys.json")
    return file


def make(root: Path, name: str = "ci", scope: str = "write", **options: str) -> str:
    return keys.create(Project(root), name, [scope], NOW, user=None, expires=options.get("expires", "90d")).secret


def test_a_key_is_shown_once_and_its_digest_is_kept_for_the_owner_alone(root: Path, cli: Cli) -> None:
    made = cli(root, "keys", "create", "--name", "ci", "--scope", "write")
    secret = made.out.strip()
    assert re.fullmatch(r"dgt_[0-9A-Za-z]{36}", secret)
    assert secret not in made.err + cli(root, "keys", "list").out + cli(root, "keys", "list", "--json").out
    assert secret not in key_file().read_text()
    assert secret[4:12] not in key_file().read_text()
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file().parent.stat().st_mode) == 0o700
    assert not key_file().is_relative_to(root)


def test_json_has_the_key_and_what_is_kept_of_it(root: Path, cli: Cli) -> None:
    made = cli(
        root, "keys", "create", "--name", "ci", "--scope", "run", "--scope", "read", "--as", "Bo <bo@x>", "--json"
    )
    assert is_well_formed(made.json["key"])
    (listed,) = cli(root, "keys", "list", "--json").json
    assert {"key": made.json["key"], **listed} == made.json
    assert (listed["scopes"], listed["user"], listed["active"], listed["last_used"]) == (
        ["read", "run"],
        "Bo <bo@x>",
        True,
        None,
    )
    held = datetime.fromisoformat(listed["expires_at"]) - datetime.fromisoformat(listed["created_at"])
    assert held == timedelta(days=90)


def test_a_key_stands_for_the_user_of_git(root: Path, cli: Cli) -> None:
    cli(root, "keys", "create", "--name", "ci", "--scope", "read")
    assert cli(root, "keys", "list", "--json").json[0]["user"] == "Ann <ann@example.org>"


def test_without_a_user_of_git_one_has_to_be_named(root: Path, cli: Cli) -> None:
    (Path(os.environ["HOME"]) / ".gitconfig").write_text("")
    refused = cli(root, "keys", "create", "--name", "ci", "--scope", "read")
    assert refused.code == 2
    assert "--as" in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scope", "write"],
        ["--name", "ci"],
        ["--name", "", "--scope", "read"],
        ["--name", "a\nb", "--scope", "read"],
        ["--name", "ci", "--scope", "write,run"],
        ["--name", "ci", "--scope", "read", "--expires", "0d"],
        ["--name", "ci", "--scope", "read", "--expires", "never"],
        ["--name", "ci", "--scope", "read", "--as", "Ann"],
        ["--name", "ci", "--scope", "read", "--as", "<a@x>"],
        ["--name", "ci", "--scope", "read", "--as", "A <a@x> <b@x>"],
        ["--name", "ci", "--scope", "read", "--as", "A\u202e <a@x>"],
    ],
)
def test_what_is_no_key_is_refused(arguments: list[str], root: Path, cli: Cli) -> None:
    assert cli(root, "keys", "create", *arguments).code == 2
    assert cli(root, "keys", "list", "--json").json == []


def test_two_of_a_name_are_active_and_a_third_is_refused(root: Path, cli: Cli) -> None:
    make(root), make(root)
    with pytest.raises(Conflict, match="2 keys called 'ci'"):
        make(root)
    make(root, name="other")
    first = cli(root, "keys", "list", "--json").json[0]["id"]
    assert cli(root, "keys", "revoke", "ci").code == 2
    assert cli(root, "keys", "revoke", first).code == 0
    make(root)


def test_expired_keys_make_room_and_let_nobody_in(root: Path) -> None:
    secret = make(root, expires="1h")
    make(root, expires="1h")
    assert keys.find_grant(Project(root), secret, NOW + timedelta(minutes=59))
    assert keys.find_grant(Project(root), secret, NOW + timedelta(hours=1)) is None
    later = NOW + timedelta(hours=1)
    assert not keys.has_active(Project(root), later)
    keys.create(Project(root), "ci", ["read"], later, user=None, expires="1h")
    assert keys.has_active(Project(root), later)


def test_a_revoked_key_lets_nobody_in(root: Path, cli: Cli) -> None:
    secret = make(root)
    assert keys.find_grant(Project(root), secret, NOW)
    assert cli(root, "keys", "revoke", "ci").code == 0
    assert keys.find_grant(Project(root), secret, NOW) is None
    assert cli(root, "keys", "revoke", "ci").code == 5


@pytest.mark.parametrize("wrong", ["", "dgt_", "x", "dgt_" + "0" * 36, "dgt_\udcff", "Dgt_"])
def test_what_is_no_key_lets_nobody_in(wrong: str, root: Path) -> None:
    secret = make(root)
    assert keys.find_grant(Project(root), wrong, NOW) is None
    assert keys.find_grant(Project(root), secret[:-1] + ("a" if secret[-1] != "a" else "b"), NOW) is None
    assert keys.find_grant(Project(root), secret + "0", NOW) is None


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("write", {"read", "write"}),
        ("run", {"read", "run"}),
        ("admin", {"read", "write", "run", "admin"}),
    ],
)
def test_what_scopes_allow(scope: str, allowed: set[str], root: Path) -> None:
    grant = keys.find_grant(Project(root), make(root, scope=scope), NOW)
    assert grant
    assert {str(one) for one in Scope if grant.allows(one)} == allowed


def test_the_last_use_is_kept_once_a_minute(root: Path) -> None:
    secret = make(root)

    def use(seconds: int) -> str | None:
        now = NOW + timedelta(seconds=seconds)
        keys.find_grant(Project(root), secret, now)
        (row,) = keys.list_all(Project(root), now)
        return row["last_used"]

    assert use(0) == use(59) == "2026-11-26T12:00:30+00:00"
    assert use(60) == "2026-11-26T12:01:30+00:00"


def test_keys_that_are_made_at_once_are_all_there(root: Path) -> None:
    threads = [threading.Thread(target=make, args=(root, f"key {number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["name"] for row in keys.list_all(Project(root), NOW)} == {f"key {number}" for number in range(8)}


@pytest.mark.parametrize("content", ["", "{}", '{"form": 2, "keys": []}', '{"form": 1, "keys": [{"id": "a"}]}'])
def test_a_damaged_file_lets_nobody_in_and_is_not_written_over(content: str, root: Path, cli: Cli) -> None:
    secret = make(root)
    key_file().write_text(content)
    with pytest.raises(Conflict, match="cannot be read"):
        keys.find_grant(Project(root), secret, NOW)
    assert cli(root, "keys", "create", "--name", "b", "--scope", "read").code == 6
    assert key_file().read_text() == content


def test_keys_that_others_could_have_written_do_not_count(root: Path, cli: Cli) -> None:
    secret = make(root)
    key_file().parent.chmod(0o770)
    with pytest.raises(Conflict, match="others may write"):
        keys.find_grant(Project(root), secret, NOW)


def test_keys_of_one_repository_open_no_other(project: MakeProject) -> None:
    one, other = project(name="one"), project(name="other")
    assert keys.find_grant(other, make(one.root), NOW) is None


def test_a_full_disk_keeps_nobody_out(root: Path) -> None:
    secret = make(root)
    (key_file().parent / "keys.lock").unlink()
    (key_file().parent / "keys.lock").symlink_to("/nowhere/at/all")
    assert keys.find_grant(Project(root), secret, NOW)


def test_what_is_kept_is_plain_json(root: Path) -> None:
    make(root)
    assert json.loads(key_file().read_text())["keys"][0]["scopes"] == ["write"]
