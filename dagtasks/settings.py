"""Settings: what there is to set, who may set it, and how the layers combine. Pure; `store/settings` reads the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dagtasks.errors import Finding

Value = str | int | float | bool | tuple[str, ...] | dict[str, Any] | None


class Setting(NamedTuple):
    """One setting: its dotted name, type, default, environment variable, and who may set it.

    `operator_only`: refused in committed files; True for every value, or the one value that is refused.
    """

    name: str
    kind: str
    default: Value
    meaning: str
    env: str | None = None
    operator_only: bool | str = False
    choices: tuple[str, ...] = ()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "engine.name",
        "string",
        "dagger",
        "Which engine runs the steps. `local` runs them as processes of this machine, without isolation.",
        env="DAGTASKS_ENGINE",
        operator_only="local",
        choices=("dagger", "local"),
    ),
    Setting(
        "engine.host",
        "string",
        None,
        "The Dagger engine to use: unix://, tcp://, kube-pod:// or docker-container://. "
        "Not set: what the Dagger SDK finds.",
        env="DAGTASKS_ENGINE_HOST",
        operator_only=True,
    ),
    Setting(
        "engine.max_parallel",
        "integer",
        None,
        "How many steps run at the same time. Not set: the number of processors.",
        env="DAGTASKS_MAX_PARALLEL",
    ),
    Setting(
        "engine.timeout",
        "duration",
        "24h",
        "How long a run may take when its template says nothing.",
        env="DAGTASKS_TIMEOUT",
    ),
    Setting(
        "commit",
        "boolean",
        False,
        "Whether commands that change files commit them, as if `--commit` was given.",
        env="DAGTASKS_COMMIT",
    ),
    Setting("site.url", "string", None, "The address under which the board is published."),
    Setting(
        "outbound.allow_hosts",
        "list",
        (),
        "Hosts inside private networks that api steps may reach, as in `127.0.0.1:8080,chat.internal`.",
        env="DAGTASKS_ALLOW_HOSTS",
        operator_only=True,
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


class Layer(NamedTuple):
    """Where settings come from, e.g. `config/default.yaml`, and what it says as {dotted name: value}."""

    source: str
    values: Mapping[str, object]
    is_committed: bool = False


class Resolved(NamedTuple):
    """The value in force of a setting and the source that gave it."""

    value: Value
    source: str


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an executor needs to know."""

    name: str = "dagger"
    host: str | None = None
    max_parallel: int = field(default_factory=lambda: os.cpu_count() or 1)
    timeout: float = 86400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force, typed; `resolved` tells each one's source for `config show`."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    commit: bool = False
    site_url: str | None = None
    allow_hosts: tuple[str, ...] = ()
    resolved: Mapping[str, Resolved] = field(default_factory=dict)
