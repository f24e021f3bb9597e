"""Events and changed fields in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dagtasks.cli.output import printable
from dagtasks.planning.wording import TITLES, describe_fields, word_for

_SILENT = {"created", "deleted", "ready"}
"""Groups whose events say nothing more than their line."""

_Event = Mapping[str, Any]


def describe_events(events: Sequence[_Event]) -> str:
    """What happened, in groups. Of what is new one line says all."""
    new = {event["subject"] for event in events if _word(event) == "created"}
    ready = {event["subject"] for event in events if _word(event) == "ready"}
    groups: dict[str, list[str]] = {word: [] for word in TITLES}
    for event in events:
        if (word := _word(event)) == "created" or event["subject"] not in new:
            groups[word] += _describe(word, event, is_ready=event["subject"] in ready)
    blocks = ("\n".join([TITLES[word], *lines]) for word, lines in groups.items() if lines)
    return "\n\n".join(blocks) or "nothing changed"


def _word(event: _Event) -> str:
    return word_for(event["type"], event["changed"])


def _describe(word: str, event: _Event, *, is_ready: bool) -> Iterator[str]:
    kind, changed = event["type"].partition(".")[0], event["changed"]
    subject = event["subject"] if kind == "task" else f"{kind} {event['subject']}"
    name = event["name"] if kind != "workflow" else changed.get("template", [""])[-1]
    remarks = ", ".join(_remarks(word, changed, is_ready=is_ready))
    yield f"  {printable(subject)}  {printable(name or '')}{remarks and f'  ({remarks})'}".rstrip()
    if word not in _SILENT:
        fields = {field: pair for field, pair in changed.items() if field != "status" or word == "updated"}
        yield from (f"    {line}" for line in describe_changed(fields))


def _remarks(word: str, changed: Mapping[str, Any], *, is_ready: bool) -> Iterator[str]:
    """What to say of the subject beside its name."""
    status = changed.get("status", [None])[-1]
    if word == "created" and status not in (None, "planned"):
        yield status
    if word == "created" and is_ready:
        yield "ready"
    if word == "ready" and "open_dependencies" in changed:
        yield f"waited for {', '.join(changed['open_dependencies'][0])}"


def describe_history(entries: Iterable[Mapping[str, Any]], *, is_cut: bool) -> str:
    """The past of a task, the newest first, each entry with what it changed."""
    lines = ["history"]
    for entry in entries:
        lines += [f"  {_describe_entry(entry)}", *(f"    {line}" for line in _describe_edit(entry))]
    if is_cut:
        lines.append("  (this clone is shallow: fetch what was before with `git fetch --unshallow`)")
    return "\n".join(lines)


def _describe_entry(entry: Mapping[str, Any]) -> str:
    if entry["commit"] is None:
        return "not committed"
    return printable(f"{minute(entry['time'])}  {entry['commit'][:10]}  {entry['author']}: {entry['subject']}".rstrip())


def _describe_edit(entry: Mapping[str, Any]) -> Iterable[str]:
    if entry.get("invalid"):
        return ["(the file could not be read)"]
    old, new = entry["changed"].get("name", ("", ""))
    if old is None or new is None:
        return ["created" if old is None else "deleted"]
    return describe_changed(entry["changed"])


def minute(moment: str) -> str:
    """A moment in UTC as people read it."""
    return f"{moment[:16].replace('T', ' ')} UTC"


def describe_changed(changed: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field that changed."""
    return (f"{printable(field)}: {printable(words)}" for field, words in describe_fields(changed))
