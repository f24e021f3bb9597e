"""Settings: what there is to set, who may set it, and how the layers combine. Pure; `store/project` reads the files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args

from dagtasks.errors import Finding, InvalidInput

Value = str | int | float | bool | tuple[str, ...] | None

CODES = {
    "DT140": "A key in a settings file that is no setting. `dagtasks config show` lists all settings.",
    "DT141": "A setting has a value of the wrong type, or one that is not allowed.",
    "DT142": "A setting that only the operator of a machine may choose stands in a file of the repository. Put it "
    "into `config/.env`, `~/.config/dagtasks/config.yaml` or the environment.",
    "DT143": "`config/.env` is tracked by Git, so everybody would get its secrets. Remove it from Git "
    "(`git rm --cached config/.env`) and keep it in `.gitignore`.",
    "DT144": "`config/.env` holds a secret, and every user of the machine may read it: `chmod 600 config/.env`.",
    "DT145": "A line of `config/.env` that is no `NAME=value`. It does nothing; the line is not shown, it may hold a "
    "secret.",
}

SECRETS = "secrets."
"""What the names of settings begin with that say where secrets come from."""
SECRET_VARIABLE = "DAGTASKS_SECRET_"  # noqa: S105 - no secret, the beginning of a name
"""What the names of variables begin with that are secrets themselves."""
SecretKind = Literal["env", "file", "command"]


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
    places: tuple[str, ...] = ()
    """What may stand in braces in an address, as `{path}`; the first of them has to."""


LINTS = (
    *("code-param", "raw", "optional-in-text", "always-true-if", "secret-name-in-plain-env", "no-loop", "dash-value"),
    *("latest-image", "no-timeout", "unused-parameter", "unpinned-template", "foreach-without-limit"),
    *("source-parameter", "shellcheck"),
)
"""The names of remarks on templates, each of which can be switched off."""

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
        "engine.privileged",
        "boolean",
        False,
        "Whether steps may have all rights on the machine that runs them: `privileged` containers, scripts with "
        "`runtime: host`.",
        env="DAGTASKS_ENGINE_PRIVILEGED",
        operator_only=True,
    ),
    Setting(
        "commit",
        "boolean",
        False,
        "Whether commands that change files commit them, as if `--commit` was given.",
        env="DAGTASKS_COMMIT",
    ),
    Setting(
        "lint.off",
        "list",
        (),
        "Remarks on templates that this repository does without, by name, as in `latest-image,no-timeout`.",
        choices=LINTS,
    ),
    Setting("site.url", "string", None, "The address under which the board is published."),
    Setting(
        "forge.kind",
        "string",
        None,
        "What hosts the repository. Not set: guessed from its address.",
        choices=("github", "gitlab", "gitea", "forgejo"),
    ),
    Setting(
        "forge.url",
        "url",
        None,
        "The address of the repository's page, as `https://git.example.org/team/web`. Not set: that of the remote "
        "`origin`.",
    ),
    Setting(
        "forge.branch",
        "string",
        None,
        "The branch on which links edit files. Not set: the default branch of `origin`, else the one checked out.",
    ),
    Setting(
        "forge.edit_url",
        "url",
        None,
        "Where a file can be edited, with `{path}` and `{branch}`, for a forge of another kind.",
        places=("path", "branch"),
    ),
    Setting(
        "forge.new_url",
        "url",
        None,
        "Where a file can be made, with `{path}`, `{branch}` and its text as `{value}`, for a forge of another kind.",
        places=("path", "branch", "value"),
    ),
    Setting(
        "outbound.allow_hosts",
        "list",
        (),
        "Hosts inside private networks that api steps may reach, as in `127.0.0.1:8080,chat.internal`.",
        env="DAGTASKS_ALLOW_HOSTS",
        operator_only=True,
    ),
    Setting(
        "api.hosts",
        "list",
        (),
        "Names under which clients may reach `dagtasks serve`, beside this machine's own, as in `tasks.example.org`.",
        env="DAGTASKS_API_HOSTS",
        operator_only=True,
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


class Layer(NamedTuple):
    """Where settings come from, e.g. `config/default.yaml`, and what it says as {dotted name: value}."""

    source: str
    values: Mapping[str, object]


class Resolved(NamedTuple):
    """The value in force of a setting and the source that gave it."""

    value: Value
    source: str


class SecretSource(NamedTuple):
    """Where a secret comes from: a variable, a file, or what a command prints. Never the secret itself.

    `layer` is where that is said.
    """

    kind: SecretKind
    place: str | tuple[str, ...]
    layer: str

    def __str__(self) -> str:
        return f"{self.kind} {self.place if isinstance(self.place, str) else self.place[0]}"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an executor needs to know. `timeout` is in seconds."""

    name: str = "dagger"
    host: str | None = None
    max_parallel: int = field(default_factory=lambda: os.cpu_count() or 1)
    timeout: float = 86400.0
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class ForgeSettings:
    """Where the repository is hosted, as far as the settings say it."""

    kind: str | None = None
    url: str | None = None
    branch: str | None = None
    edit_url: str | None = None
    new_url: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force, typed; `resolved` tells each one's source for `config show`."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    commit: bool = False
    site_url: str | None = None
    allow_hosts: tuple[str, ...] = ()
    resolved: Mapping[str, Resolved] = field(default_factory=dict)
    secrets: Mapping[str, SecretSource] = field(default_factory=dict)
    lint_off: tuple[str, ...] = ()
    forge: ForgeSettings = field(default_factory=ForgeSettings)
    api_hosts: tuple[str, ...] = ()


def combine(layers: Sequence[Layer]) -> Settings:
    """The settings that the layers give, the first layer strongest. Raises `InvalidInput` naming layer and setting."""
    resolved = {setting.name: _resolve(setting, layers) for setting in SETTINGS}
    values: dict[str, Any] = {name: value for name, (value, _) in resolved.items()}
    engine = EngineSettings(
        name=values["engine.name"],
        host=values["engine.host"],
        max_parallel=values["engine.max_parallel"] or os.cpu_count() or 1,
        timeout=parse_seconds(values["engine.timeout"]),
        privileged=values["engine.privileged"],
    )
    secrets = _find_secrets(layers)
    resolved |= {f"{SECRETS}{name}": Resolved(str(source), source.layer) for name, source in secrets.items()}
    forge = ForgeSettings(*(values[f"forge.{part.name}"] for part in fields(ForgeSettings)))
    hosts, off = values["outbound.allow_hosts"], values["lint.off"]
    served = values["api.hosts"]
    return Settings(engine, values["commit"], values["site.url"], hosts, resolved, secrets, off, forge, served)


def _resolve(setting: Setting, layers: Sequence[Layer]) -> Resolved:
    for layer in layers:
        if layer.values.get(setting.name) is not None:
            try:
                return Resolved(coerce(setting, layer.values[setting.name]), layer.source)
            except ValueError as error:
                raise InvalidInput(f"{layer.source}: setting {setting.name}: {error}") from None
    return Resolved(setting.default, "default")


def _find_secrets(layers: Sequence[Layer]) -> dict[str, SecretSource]:
    """The sources by name, in order; the first layer is strongest."""
    found = {
        name.removeprefix(SECRETS): SecretSource(*parse_source(value), layer.source)
        for layer in reversed(layers)
        for name, value in layer.values.items()
        if name.startswith(SECRETS) and value is not None
    }
    return dict(sorted(found.items()))


def parse_source(value: object) -> tuple[SecretKind, str | tuple[str, ...]]:
    """What a settings file says of a secret: its kind and place. Raises ValueError, which never shows the value."""
    kinds: tuple[SecretKind, ...] = get_args(SecretKind)
    kind = next((kind for kind in kinds if isinstance(value, Mapping) and list(value) == [kind]), None)
    if kind is None or not isinstance(value, Mapping):
        raise ValueError("must say where it comes from, as {env: NAME}, {file: PATH} or {command: [PROGRAM, ...]}")
    return kind, _PARSE_PLACE[kind](value[kind])


def _parse_variable(place: object) -> str:
    if not isinstance(place, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", place):
        raise ValueError("env must be the name of a variable")
    return place


def _parse_path(place: object) -> str:
    if not isinstance(place, str) or not place.startswith(("/", "~/")):
        raise ValueError("file must be an absolute path, or one that begins with ~/")
    return place


def _parse_command(place: object) -> tuple[str, ...]:
    if not isinstance(place, list) or not place or not all(isinstance(item, str) for item in place):
        raise ValueError("command must be a list of texts: a program and its arguments")
    if not place[0].startswith(("/", "~/")) and ("/" in place[0] or not place[0]):
        raise ValueError("command must begin with a program that PATH has, or an absolute path, or one with ~/")
    return tuple(place)


_PARSE_PLACE: Mapping[SecretKind, Callable[[object], str | tuple[str, ...]]] = {
    "env": _parse_variable,
    "file": _parse_path,
    "command": _parse_command,
}


def check_values(values: Mapping[str, object], *, is_committed: bool) -> Iterator[Finding]:
    """What is wrong with the values of one settings file; `is_committed`: everybody gets it with a clone."""
    for name, value in values.items():
        loc = tuple(name.split("."))
        setting = BY_NAME.get(name)
        if name.startswith(SECRETS) or name == "secrets":
            yield from _check_secret(name, value, is_committed=is_committed)
        elif setting is None:
            yield Finding(loc, "DT140", f"there is no setting {name!r}", "see `dagtasks config show`", on_key=True)
        elif value is not None:
            yield from _check_value(setting, value, loc, is_committed=is_committed)


def _check_secret(name: str, value: object, *, is_committed: bool) -> Iterator[Finding]:
    key = name.removeprefix(SECRETS)
    loc = ("secrets", key) if key != name else ("secrets",)
    if is_committed:
        message = "where secrets come from is for the operator of a machine only"
        hint = f"bind it in ~/.config/dagtasks/config.yaml, or as {SECRET_VARIABLE}NAME in config/.env"
        yield Finding(loc, "DT142", message, hint, on_key=True)
    if name == "secrets" and value is not None:
        yield Finding(loc, "DT141", "secrets must map names to where they come from")
    if name == "secrets" or value is None:
        return
    try:
        _parse_variable(key)
    except ValueError:
        yield Finding(loc, "DT141", f"{key!r} cannot be the name of a secret: letters, digits and _", on_key=True)
    try:
        parse_source(value)
    except ValueError as error:
        yield Finding(loc, "DT141", f"secret {key}: {error}")


def _check_value(setting: Setting, value: object, loc: tuple[str, ...], *, is_committed: bool) -> Iterator[Finding]:
    try:
        coerce(setting, value)
    except ValueError as error:
        yield Finding(loc, "DT141", f"setting {setting.name}: {error}")
    refused = setting.operator_only is True or (bool(setting.operator_only) and setting.operator_only == value)
    if is_committed and refused:
        what = setting.name if setting.operator_only is True else f"{setting.name}: {value}"
        yield Finding(loc, "DT142", f"{what} is for the operator of a machine only", _OPERATOR_HINT, on_key=True)


_OPERATOR_HINT = "set it in config/.env, ~/.config/dagtasks/config.yaml or the environment"


def coerce(setting: Setting, value: object) -> Value:
    """The value as the setting's type, from YAML or from text. Raises ValueError that says what fits."""
    coerced = _COERCE[setting.kind](value)
    for item in coerced if isinstance(coerced, tuple) else (coerced,):
        if setting.choices and item not in setting.choices:
            raise ValueError(f"{item!r} is not one of {', '.join(setting.choices)}")
    if setting.kind == "url":
        _check_places(str(coerced), setting.places)
    return coerced


def _check_places(address: str, places: Sequence[str]) -> None:
    found = re.findall(r"\{(.*?)\}", address)
    rest = re.sub(r"\{.*?\}", "", address)
    allowed = ", ".join(f"{{{place}}}" for place in places)
    if "{" in rest or "}" in rest or not {*found} <= {*places}:
        raise ValueError(f"in braces there may be {allowed}" if places else "must not hold braces")
    if places and places[0] not in found:
        raise ValueError(f"must hold {{{places[0]}}}")
    if not places and re.search("[?#]", address):
        raise ValueError("must end with a path, without ? and #")


def _coerce_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _coerce_url(value: object) -> str:
    """The value is never shown: somebody may have put a password into it."""
    text = _coerce_text(value)
    begin, _, rest = text.partition("://")
    host = re.split("[/?#]", rest)[0]
    if begin.lower() not in ("http", "https") or not host:
        raise ValueError("must be an address that begins with https:// or http://")
    if "@" in host:
        raise ValueError("must not hold the name or password of a user: everybody can read it on the board")
    if "{" in host or not text.isprintable() or re.search(r'[\s\\"<>^`|]', text):
        raise ValueError("is no address: blanks and the like are written as %20")
    return text


def _coerce_integer(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{value!r} is not a whole number above 0")
    return int(text)


def _coerce_boolean(value: object) -> bool:
    if value not in (True, False, "true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return value in (True, "true")


def _coerce_duration(value: object) -> str:
    parse_seconds(value)
    return str(value)


def _coerce_list(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(item.strip() for item in items if item.strip())


_COERCE: Mapping[str, Callable[[object], Value]] = {
    "string": _coerce_text,
    "url": _coerce_url,
    "integer": _coerce_integer,
    "boolean": _coerce_boolean,
    "duration": _coerce_duration,
    "list": _coerce_list,
}


def parse_seconds(value: object) -> float:
    """The seconds of a duration such as `90s`, `10m` or `1h30m`. Raises ValueError."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", str(value))
    if not match or not any(match.groups()):
        raise ValueError(f"{value!r} is not a duration such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested maps as {dotted name: value}; the source of a secret is one value."""
    flat: dict[str, object] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        is_group = isinstance(value, dict) and prefix != SECRETS
        flat |= flatten(value, f"{name}.") if is_group else {name: value}
    return flat


def is_known_variable(name: str) -> bool:
    """Whether a variable that begins with `DAGTASKS_` is one of ours; other variables are none of our business."""
    known = _is_secret(name) or any(setting.env == name for setting in SETTINGS)
    return known or not name.startswith("DAGTASKS_")


def from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that the environment's `DAGTASKS_*` variables give; of a secret only in which variable it is."""
    values: dict[str, object] = {s.name: environment[s.env] for s in SETTINGS if s.env and environment.get(s.env)}
    given = [name for name, value in environment.items() if value and _is_secret(name)]
    return values | {f"{SECRETS}{name.removeprefix(SECRET_VARIABLE)}": {"env": name} for name in given}


def _is_secret(variable: str) -> bool:
    """Whether the variable is a secret: what follows the prefix is a name that one can have."""
    return re.fullmatch(f"{SECRET_VARIABLE}[A-Za-z_][A-Za-z0-9_]*", variable) is not None
