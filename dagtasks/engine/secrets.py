"""The values of secrets, had when a run begins and not before, from where the operator bound their names.

A value is in no error, log or record: what is said of a secret is its name and where it was looked for.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dagtasks.engine.masking import check_length
from dagtasks.errors import InvalidInput
from dagtasks.settings import SECRET_VARIABLE, SecretKind, SecretSource, Settings
from dagtasks.store.files import is_readable_by_all, read_file

LIMIT = 32 << 10
"""Bytes. What is masked in every form is about a hundred times as much."""
COMMAND_TIMEOUT = 30.0

HINT = (
    f"bind a secret as {SECRET_VARIABLE}NAME=VALUE in the environment or in config/.env, or say where it comes from in "
    "~/.config/dagtasks/config.yaml: secrets: {NAME: {file: ~/token}}"
)


class _Missing(Exception):
    """Why a secret cannot be had; never with its value."""


def read_secrets(
    settings: Settings, names: Iterable[str], variables: Mapping[str, str], *, timeout: float = COMMAND_TIMEOUT
) -> dict[str, str]:
    """The values of the secrets, by name. `variables` is the environment, with that of `config/.env` below it.

    `timeout` is how many seconds a command has. Raises one `InvalidInput` that names all that cannot be had, and why.
    """
    found, missing = {}, []
    for name in sorted(set(names)):
        try:
            found[name] = _read_secret(settings.secrets.get(name), variables, timeout)
        except _Missing as error:
            missing.append(f"\n  {name}: {error}")
    if missing:
        raise InvalidInput(f"secrets that cannot be had:{''.join(missing)}", hint=HINT)
    return found


def _read_secret(source: SecretSource | None, variables: Mapping[str, str], timeout: float) -> str:
    if source is None:
        raise _Missing("nobody says where it comes from")
    where = f"{source} (says {source.layer})"
    try:
        return _check(_READ[source.kind](source.place, variables, timeout))
    except _Missing as error:
        raise _Missing(f"{where}: {error}") from None


def _check(value: bytes) -> str:
    if len(value) > LIMIT:
        raise _Missing(f"it is larger than {LIMIT} bytes")
    if b"\0" in value:
        raise _Missing("it holds a NUL character, which no variable can")
    try:
        check_length(value)
        return value.decode()
    except InvalidInput as error:
        raise _Missing(error.message) from None
    except UnicodeDecodeError:
        raise _Missing("it is no text in UTF-8") from None


def _read_variable(place: Any, variables: Mapping[str, str], _timeout: float) -> bytes:
    if not variables.get(place):
        raise _Missing("it is not set, or empty")
    return os.fsencode(variables[place])


def _read_file(place: Any, _variables: Mapping[str, str], _timeout: float) -> bytes:
    try:
        return _without_end(read_file(os.path.realpath(_expand(place))))
    except OSError as error:
        raise _Missing(error.strerror or "it cannot be read") from None


def _read_command(place: Any, _variables: Mapping[str, str], timeout: float) -> bytes:
    """What the command prints. It runs in the home folder, so that it takes no program of a repository; it gets
    nothing to read, and what it says on stderr, which may be the secret, is seen by nobody.
    """
    argv = [_expand(item) for item in place[:1]] + list(place[1:])
    nothing = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            argv, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, cwd=Path.home(), start_new_session=True
        )
    except OSError as error:
        raise _Missing(f"it cannot be started: {error.strerror}") from None
    with process:
        output = _wait_for(process, timeout)
    if process.returncode:
        raise _Missing(f"it ended with exit code {process.returncode}; run it by hand to see why")
    return _without_end(output)


def _wait_for(process: subprocess.Popen[bytes], timeout: float) -> bytes:
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise _Missing(f"it did not end within {timeout:g} seconds; it must not ask for anything") from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


_READ: Mapping[SecretKind, Callable[[Any, Mapping[str, str], float], bytes]] = {
    "env": _read_variable,
    "file": _read_file,
    "command": _read_command,
}


def _expand(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~/") else path


def _without_end(content: bytes) -> bytes:
    """Without the line breaks at its end, which programs and editors put there."""
    return content.rstrip(b"\r\n")


def find_exposed(settings: Settings, names: Iterable[str] | None = None) -> list[str]:
    """A sentence for each secret (of these names, or of all) whose file every user of this machine may read."""
    files = {name: _expand(str(source.place)) for name, source in settings.secrets.items() if source.kind == "file"}
    wanted = files.keys() if names is None else files.keys() & set(names)
    return [
        f"secret {name}: every user of this machine may read {files[name]}"
        for name in sorted(wanted)
        if is_readable_by_all(Path(files[name]))
    ]
