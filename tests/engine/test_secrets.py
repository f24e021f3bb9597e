from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagtasks.engine.secrets import LIMIT, find_exposed, read_secrets
from dagtasks.errors import InvalidInput
from dagtasks.settings import Layer, Settings, combine

VALUE = "s3cret-value"


def settings_of(secrets: dict[str, dict[str, Any]], layer: str = "config.yaml") -> Settings:
    return combine([Layer(layer, {f"secrets.{name}": source for name, source in secrets.items()})])


def read(source: dict[str, Any], variables: dict[str, str] | None = None, **options: Any) -> str:
    return read_secrets(settings_of({"TOKEN": source}), ["TOKEN"], variables or {}, **options)["TOKEN"]


def shell(script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script]}


def test_a_variable() -> None:
    assert read({"env": "OTHER"}, {"OTHER": f" {VALUE}\n"}) == f" {VALUE}\n"


@pytest.mark.parametrize("content", [VALUE, f"{VALUE}\n", f"{VALUE}\r\n", f"{VALUE}\n\n"])
def test_a_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "real").write_bytes(content.encode())
    (tmp_path / "token").symlink_to("real")
    assert read({"file": str(tmp_path / "token")}) == VALUE


def test_a_file_of_the_home_folder() -> None:
    (Path.home() / "token").write_text("line one\nline two\n")
    assert read({"file": "~/token"}) == "line one\nline two"


def test_a_command() -> None:
    assert read(shell(f"echo {VALUE}; echo ignored >&2")) == VALUE
    assert read({"command": [sys.executable, "-c", f"print('{VALUE}')"]}) == VALUE


def test_a_command_gets_its_arguments_as_they_are_and_nothing_to_read() -> None:
    assert read({"command": ["printf", "%s|", "a b", "$HOME", "~/x"]}) == "a b|$HOME|~/x|"
    with given_on_stdin(b"not for it"):
        assert read(shell(f"cat; echo {VALUE}")) == VALUE


@contextmanager
def given_on_stdin(data: bytes) -> Iterator[None]:
    """What this process itself could read from its stdin."""
    source, target = os.pipe()
    os.write(target, data)
    os.close(target)
    before = os.dup(0)
    os.dup2(source, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(source)


def test_a_command_is_none_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read({"command": ["pwd"]}) == str(Path.home())


def test_a_program_of_the_home_folder() -> None:
    program = Path.home() / "give"
    program.write_text(f"#!/bin/sh\necho {VALUE}\n")
    program.chmod(0o755)
    assert read({"command": ["~/give"]}) == VALUE


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    settings = settings_of({"A": {"env": "A"}, "B": shell(f"touch {tmp_path}/ran; echo {VALUE}")})
    assert read_secrets(settings, ["A", "A"], {"A": VALUE}) == {"A": VALUE}
    assert read_secrets(settings, [], {}) == {}
    assert not (tmp_path / "ran").exists()


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"env": "OTHER"}, "env OTHER (says config.yaml): it is not set, or empty"),
    ({"env": "EMPTY"}, "env EMPTY (says config.yaml): it is not set, or empty"),
    ({"env": "SHORT"}, "env SHORT (says config.yaml): a secret of less than 6 characters cannot be masked"),
    ({"file": "/nowhere/token"}, "file /nowhere/token (says config.yaml): No such file or directory"),
    ({"file": "/dev/zero"}, "file /dev/zero (says config.yaml): it is not a regular file"),
    ({"file": "~/empty"}, "less than 6 characters"),
    ({"file": "~/latin"}, "it is no text in UTF-8"),
    ({"file": "~/nul"}, "it holds a NUL character"),
    ({"file": "~/big"}, f"it is larger than {LIMIT} bytes"),
    ({"file": "~/pipe"}, "file ~/pipe (says config.yaml): it is not a regular file"),
    (
        {"command": ["/nowhere/give", "--token", VALUE]},
        "command /nowhere/give (says config.yaml): it cannot be started",
    ),
    (shell(f"echo {VALUE}; echo {VALUE} >&2; exit 3"), "command sh (says config.yaml): it ended with exit code 3"),
    (shell("true"), "less than 6 characters"),
]


@pytest.mark.parametrize(("source", "message"), FAULTS)
def test_why_it_cannot_be_had(source: dict[str, Any], message: str) -> None:
    home = Path.home()
    (home / "empty").write_bytes(b"\n")
    (home / "latin").write_bytes(b"s3cret-\xe9")
    (home / "nul").write_bytes(b"s3cret-\0")
    (home / "big").write_bytes(b"s3cret-" * LIMIT)
    os.mkfifo(home / "pipe")
    with pytest.raises(InvalidInput) as caught:
        read(source, {"EMPTY": "", "SHORT": "s3cre"})
    assert message in caught.value.message
    assert "s3cre" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"


def test_all_that_are_missing_are_named_at_once() -> None:
    settings = settings_of({"A": {"env": "A"}, "B": {"env": "B"}, "C": {"env": "C"}})
    with pytest.raises(InvalidInput) as caught:
        read_secrets(settings, ["D", "C", "B", "A"], {"B": VALUE})
    assert caught.value.message.splitlines() == [
        "secrets that cannot be had:",
        "  A: env A (says config.yaml): it is not set, or empty",
        "  C: env C (says config.yaml): it is not set, or empty",
        "  D: nobody says where it comes from",
    ]
    assert "DAGTASKS_SECRET_NAME=VALUE" in caught.value.hint


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"(sleep 600; true) & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(InvalidInput, match=r"did not end within 0\.3 seconds"):
        read(shell(script), timeout=0.3)
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 10
    while _is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_file_that_everybody_may_read() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder, file = Path(name), Path(name) / "token"
        file.write_text(VALUE)
        settings = settings_of({"A": {"file": str(file)}, "B": {"env": "X"}, "C": {"file": "/nowhere"}})

        def found(file_mode: int, folder_mode: int) -> list[str]:
            file.chmod(file_mode)
            folder.chmod(folder_mode)
            return find_exposed(settings)

        assert found(0o644, 0o755) == [f"secret A: every user of this machine may read {file}"]
        assert find_exposed(settings, ["B", "C"]) == []
        assert found(0o640, 0o755) == found(0o644, 0o700) == []
