"""What the messages of a Dagger engine mean, as errors of steps. Seen on version 0.21.8. Pure."""

from __future__ import annotations

import re

from dagtasks.engine.executor import StepError
from dagtasks.planning.plan import ExecRequest, ServiceRequest

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
TRACE_SUFFIX = re.compile(r"\s*\[traceparent:[^\]]*\]")
QUERY = re.compile(r"^query:\n.*\n\nerror: ", re.DOTALL)
"""Comes before some errors, and may hold the text of a secret."""
NOT_STARTED = re.compile(r"(?:fork/)?exec:? \"?(?P<command>[^\"\n]*?)\"?: (?P<reason>[^:\n]+)")
SERVICE_ENDED = re.compile(r"bound service \S+ \(aliased as (?P<names>[^)]+)\) exited(?:: (?P<reason>[^\n]*))?")
PROGRESS = re.compile(r"\d+ *: ")
"""How a line of the Dagger CLI begins that says what it is doing."""
GO_ON = "when `dagtasks doctor` says that it answers, `dagtasks runs retry` goes on with the run"
"""What to do after an engine was lost in the middle of a run."""
NO_RUNTIME = 'driver for scheme "image" was not available'
NO_PLATFORM = ("no manifest matches requested platform", "unknown operating system or architecture")


def clean(text: str) -> str:
    """A message of the engine without the query, trace ids and colours."""
    return QUERY.sub("", TRACE_SUFFIX.sub("", ESCAPES.sub("", text))).strip()


def find_connect_reason(text: str, said: str) -> str:
    """Why there is no connection, by the SDK's text and what the Dagger CLI said last, which knows more."""
    text, said = clean(text), "" if PROGRESS.match(said) else clean(said)
    if NO_RUNTIME in said:
        return "neither Docker nor Podman is there, with which the SDK could start one"
    if "Failed to download the Dagger CLI" in text:
        return f"{text}; put it there by hand, and name the file with _EXPERIMENTAL_DAGGER_CLI_BIN"
    if said.startswith("Error: "):
        return said.removeprefix("Error: ").removeprefix("start engine: ")
    return f"{text} ({said})" if said else text


def engine_lost(reason: str) -> StepError:
    """What to say of a step whose engine went away, and what to do."""
    return StepError("engine_lost", f"{reason}; {GO_ON}")


def image_error(image: str, text: str, platform: str | None = None) -> StepError:
    """What to say when an image cannot be had."""
    if any(sign in text for sign in NO_PLATFORM):
        return StepError("platform_unavailable", f"there is no image {image} for the platform {platform}: {text}")
    if "not found" in text or "invalid reference format" in text or "access denied" in text:
        return StepError("image_not_found", f"there is no image {image}: {text}")
    return StepError("image_unavailable", f"the image {image} cannot be had: {text}")


def find_start_failure(request: ExecRequest, code: int, stdout: str, stderr: str) -> StepError | None:
    """Whether the command did not even start. The engine then says exit code 1, and why on stderr."""
    if code != 1 or stdout or not request.argv:
        return None
    found = NOT_STARTED.fullmatch(stderr.strip())
    if found is None or found["command"] not in (request.argv[0], "/.init"):
        return None
    command, reason = request.argv[0], found["reason"]
    if reason in ("executable file not found in $PATH", "no such file or directory"):
        return StepError("command_not_found", f"the command {command!r} was not found in the image {request.image}")
    if reason == "permission denied":
        return StepError("command_not_executable", f"the command {command!r} may not be executed")
    if reason == "argument list too long":
        return StepError("argument_too_long", "an argument or variable is longer than 128 KiB; use a file")
    if reason == "exec format error":
        return StepError("platform_unavailable", f"the engine cannot run {command!r}: it is for another platform")
    return StepError("not_started", f"the command {command!r} could not be started: {reason}")


def service_not_ready(service: ServiceRequest, reason: str, lines: str) -> StepError:
    """What to say of a service that does not get ready."""
    return StepError("service_not_ready", f"service {service.name} is not ready: {reason}{_said(lines)}")


def service_ended(name: str, reason: str, lines: str) -> StepError:
    """What to say of a service that ended while it was needed."""
    return StepError("service_ended", f"service {name} ended: {reason}{_said(lines)}")


def _said(lines: str) -> str:
    return f"; its last lines:\n{lines.rstrip()}" if lines.strip() else ""
