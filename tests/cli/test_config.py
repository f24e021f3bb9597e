"""Settings from the command line: where secrets come from is shown, and refused where everybody could change it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, write_files

Cli = Callable[..., Result]

VALUE = "s3cret-value"


def user_settings(text: str) -> None:
    write_files(Path.home(), {".config/dagtasks/config.yaml": text})


def test_secrets_are_shown_by_name_and_place(project: MakeProject, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    user_settings(
        "secrets:\n  TOKEN: {env: OTHER}\n  KEY: {file: ~/key}\n  DB:\n    command: [pass, show, db/s3cret]\n  MINE: {env: X}\n"
    )
    root = project({".gitignore": "config/.env\n"}).root
    write_files(root, {"config/.env": f"DAGTASKS_SECRET_TOKEN={VALUE}\nDAGTASKS_SECRET_WEB='{VALUE}'\n"})
    monkeypatch.setenv("DAGTASKS_SECRET_WEB", VALUE)
    monkeypatch.setenv("DAGTASKS_SECRET_EMPTY", "")
    shown = cli(root, "config", "show", "--json")
    user = str(Path.home() / ".config/dagtasks/config.yaml")
    assert [(s["name"], s["value"], s["source"]) for s in shown.json if s["name"].startswith("secrets.")] == [
        ("secrets.DB", "command pass", user),
        ("secrets.KEY", "file ~/key", user),
        ("secrets.MINE", "env X", user),
        ("secrets.TOKEN", "env DAGTASKS_SECRET_TOKEN", "config/.env"),
        ("secrets.WEB", "env DAGTASKS_SECRET_WEB", "environment"),
    ]
    assert "s3cret" not in shown.out + cli(root, "config", "show").out + cli(root, "validate").out


@pytest.mark.parametrize("name", ["config/default.yaml", "config/dagger.yaml"])
def test_no_committed_file_says_where_secrets_come_from(name: str, project: MakeProject, cli: Cli) -> None:
    root = project({name: "secrets:\n  TOKEN: {file: /etc/passwd}\n"}).root
    assert f"{name}:2:3: DT142 where secrets come from is for the operator" in cli(root, "validate").out
    assert cli(root, "config", "show").code == 7


WRONG = [
    ("secrets: [TOKEN]", "1:10: DT141 secrets must map names"),
    (f"secrets: {{TOKEN: {VALUE}}}", "1:18: DT141 secret TOKEN: must say where it comes from"),
    ("secrets: {TOKEN: {}}", "1:18: DT141 secret TOKEN: must say where it comes from"),
    ("secrets: {TOKEN: {env: A, file: /b}}", "1:18: DT141 secret TOKEN: must say where it comes from"),
    ("secrets: {TOKEN: {value: x}}", "1:18: DT141 secret TOKEN: must say where it comes from"),
    ("secrets: {TOKEN: {env: A-B}}", "1:18: DT141 secret TOKEN: env must be the name of a variable"),
    ("secrets: {TOKEN: {file: token}}", "1:18: DT141 secret TOKEN: file must be an absolute path"),
    ("secrets: {TOKEN: {file: [/token]}}", "1:18: DT141 secret TOKEN: file must be an absolute path"),
    ("secrets: {TOKEN: {command: pass show x}}", "1:18: DT141 secret TOKEN: command must be a list"),
    ("secrets: {TOKEN: {command: []}}", "1:18: DT141 secret TOKEN: command must be a list"),
    ("secrets: {TOKEN: {command: [./give]}}", "1:18: DT141 secret TOKEN: command must begin with a program"),
    ("secrets: {TO-KEN: {env: A}}", "1:11: DT141 'TO-KEN' cannot be the name of a secret"),
    ("secrets: {a.b: {env: A}}", "1:11: DT141 'a.b' cannot be the name of a secret"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_a_source_that_is_none(text: str, problem: str, project: MakeProject, cli: Cli) -> None:
    user_settings(text + "\n")
    done = cli(project().root, "validate")
    assert f"config.yaml:{problem}" in done.out
    assert VALUE not in done.out + done.err


ADDRESSES = [
    ("url: javascript:alert(1)", "8", "forge.url: must be an address that begins with https:// or http://"),
    ("url: git@github.com:team/web", "8", "forge.url: must be an address that begins with https:// or http://"),
    ("url: 'https:///team'", "8", "forge.url: must be an address that begins with https:// or http://"),
    (f"url: https://ann:{VALUE}@github.com/team/web", "8", "forge.url: must not hold the name or password"),
    ("url: 'https://git.example/a b'", "8", "forge.url: is no address"),
    ('url: "https://git.example/\\n"', "8", "forge.url: is no address"),
    ("url: 'https://git.example\\@evil.example/'", "8", "forge.url: must not hold the name or password"),
    ("url: https://git.example/a?b", "8", "forge.url: must end with a path"),
    ("url: 'https://git.example/{path}'", "8", "forge.url: must not hold braces"),
    ("url: 7", "8", "forge.url: 7 is not text"),
    ("edit_url: 'data:text/html,{path}'", "13", "forge.edit_url: must be an address that begins with https:// or"),
    ("edit_url: https://git.example/edit", "13", "forge.edit_url: must hold {path}"),
    ("edit_url: 'https://git.example/{path}/{value}'", "13", "forge.edit_url: in braces there may be {path}, {branch}"),
    ("new_url: 'https://{branch}.example/{path}'", "12", "forge.new_url: is no address"),
    (
        "new_url: 'https://git.example/{path}/{'",
        "12",
        "forge.new_url: in braces there may be {path}, {branch}, {value}",
    ),
    ("kind: sourcehut", "9", "forge.kind: 'sourcehut' is not one of github, gitlab, gitea, forgejo"),
]


@pytest.mark.parametrize(("text", "column", "problem"), ADDRESSES)
def test_an_address_that_is_none(text: str, column: str, problem: str, project: MakeProject, cli: Cli) -> None:
    root = project({"config/default.yaml": f"forge:\n  {text}\n"}).root
    done = cli(root, "validate")
    assert f"config/default.yaml:2:{column}: DT141 setting {problem}" in done.out
    assert VALUE not in done.out + done.err


@pytest.mark.parametrize("text", ["secrets:", "secrets: {}", "secrets: {TOKEN: }"])
def test_no_source(text: str, project: MakeProject, cli: Cli) -> None:
    user_settings(text + "\n")
    root = project().root
    assert cli(root, "validate").code == 0
    assert "secrets." not in cli(root, "config", "show").out


def test_secrets_that_every_user_of_the_machine_may_read(cli: Cli) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        write_files(root, {"tasks/README.md": "", "config/.env": "DAGTASKS_ENGINE=local\n"})
        root.chmod(0o755)
        (root / "config/.env").chmod(0o644)
        assert cli(root, "validate", "--json").json == []
        write_files(root, {"config/.env": f"DAGTASKS_SECRET_A={VALUE}\n"})
        assert [problem["code"] for problem in cli(root, "validate", "--json").json] == ["DT144"]
        (root / "config/.env").chmod(0o600)
        assert cli(root, "validate", "--json").json == []


def test_lines_of_the_env_file_that_say_nothing(project: MakeProject, cli: Cli) -> None:
    root = project().root
    lines = [
        "# a comment",
        "",
        f"DAGTASKS_SECRET_A {VALUE}",
        "export DAGTASKS_ENGINE='local'",
        "#X=1",
        "DAGTASKS_ENGIN=a",
    ]
    write_files(root, {"config/.env": "\n".join(lines)})
    done = cli(root, "validate")
    assert "config/.env:3:1: DT145 the line is no NAME=value, and does nothing" in done.out
    assert "config/.env:6:1: DT140 there is no setting DAGTASKS_ENGIN" in done.out
    assert "2 warnings" in done.out
    assert VALUE not in done.out + done.err


def test_doctor_looks_at_the_files_of_secrets(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        write_files(root, {"tasks/README.md": "", "token": VALUE})
        root.chmod(0o755)
        (root / "token").chmod(0o644)
        assert find_check(cli, root) is None
        user_settings(f"secrets: {{TOKEN: {{file: {root}/token}}, OTHER: {{env: X}}}}\n")
        wrong = find_check(cli, root)
        assert wrong is not None
        assert (wrong["state"], wrong["found"]) == (
            "wrong",
            f"secret TOKEN: every user of this machine may read {root}/token",
        )
        (root / "token").chmod(0o600)
        assert find_check(cli, root) == {"name": "secrets", "state": "ok", "found": "bound: OTHER, TOKEN", "hint": ""}


def find_check(cli: Cli, root: Path) -> dict[str, str] | None:
    checks = cli(root, "doctor", "--json").json
    return next((check for check in checks if check["name"] == "secrets"), None)


def test_the_schema_knows_sources(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    schema = json.loads(cli(tmp_path, "schema", "settings").out)
    sources = schema["properties"]["secrets"]["additionalProperties"]["anyOf"]
    assert [list(source["properties"]) for source in sources] == [["env"], ["file"], ["command"]]
