"""What changed since another commit: what a pull request does to tasks, for whoever reviews it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from dagtasks.board.data import Compared
from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.printable import clip
from dagtasks.board.uris import DIFFERENCE, phase_uri, project_uri
from dagtasks.errors import Problem, Severity
from dagtasks.model.event import Event
from dagtasks.planning.index import Index
from dagtasks.planning.wording import TITLES, describe_fields, word_for

ENTRIES = 200
"""Things that changed which the page names; the weightiest first."""
FIELDS = 12
"""Fields, and dependencies, of one thing."""
LINES = 60
"""Lines of one text."""
LONG_TEXT = 2000
"""Lines of both versions of a text from which on they are only counted."""
ROOM = 150_000
"""Characters of all fields and texts of the page together."""
PROBLEMS = 50
_LONGEST_LINE = 300
_WAITING = "waiting"
_WORDS = {**TITLES, _WAITING: "has to wait now"}
_WEIGHTS = ("blocked", "deleted", "completed", "created", _WAITING, "ready", "moved", "updated")


class Line(NamedTuple):
    """A line of a text: `+` it came, `-` it went, a blank: it stayed."""

    mark: str
    text: str


class Text(NamedTuple):
    """What changed in a text; `more` lines of that are not shown."""

    field: str
    lines: list[Line]
    more: int


class Edge(NamedTuple):
    """A dependency that came or went; `uri` leads to the other task."""

    is_new: bool
    name: str
    uri: str | None


class Mark(NamedTuple):
    """Something that happened to a thing, and what it is called."""

    word: str
    title: str


class Entry(NamedTuple):
    """A project, phase or task with what happened to it. `is_left_out`: the page has no room for its fields."""

    project: str
    kind: str
    id: str
    name: str
    uri: str | None
    marks: list[Mark]
    edits: list[tuple[str, str]]
    edges: list[Edge]
    texts: list[Text]
    is_left_out: bool = False

    @property
    def weight(self) -> tuple[int, str, str]:
        """Lower comes first."""
        return _WEIGHTS.index(self.marks[0].word), self.kind, self.id

    @property
    def size(self) -> int:
        """How much room its fields and texts take."""
        fields = sum(len(name) + len(words) for name, words in self.edits) + 100 * len(self.edges)
        return fields + sum(len(line.text) for text in self.texts for line in text.lines)


class Group(NamedTuple):
    """What changed in a project; `uri` None: it is gone."""

    name: str
    uri: str | None
    entries: list[Entry]


@dataclass
class _Subject:
    name: str
    words: set[str] = field(default_factory=set)
    changed: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    remarks: list[tuple[str, str]] = field(default_factory=list)


def difference_pages(view: Overview) -> Iterator[BoardPage]:
    """The page of what changed, when somebody asked for it."""
    if view.data.compared:
        yield BoardPage(DIFFERENCE, "What changed", "difference.html", partial(_facts, view, view.data.compared))


def _facts(view: Overview, compared: Compared) -> Facts:
    entries = sorted(_find_entries(view, compared), key=lambda entry: entry.weight)
    shown = [*_fit(entries[:ENTRIES])]
    problems = _find_new(compared.old.problems, view.data.index.problems)
    were_broken = {file.path for file in compared.old.broken}
    broken = [card for card in view.broken_cards() if card.file.path not in were_broken]
    others = _only_others(problems, {card.file.path for card in broken})
    return {
        "revisions": compared.revisions,
        "before": compared.before,
        "after": view.data.commit if view.data.is_past else None,
        "counts": [*_count(entries, len(problems), len(_find_new(view.data.index.problems, compared.old.problems)))],
        "broken": broken,
        "found": others[:PROBLEMS],
        "more_found": max(0, len(others) - PROBLEMS),
        "groups": _group(view, shown),
        "more": len(entries) - len(shown),
    }


def _find_new(before: Iterable[Problem], after: Iterable[Problem]) -> list[Problem]:
    """The problems that were not there before, errors first. One that stands in another line now is the same."""
    known = {(problem.path, problem.code, problem.message) for problem in before}
    found = [problem for problem in after if (problem.path, problem.code, problem.message) not in known]
    return sorted(found, key=lambda problem: (problem.severity is not Severity.ERROR, problem))


def _only_others(problems: Iterable[Problem], paths: set[str]) -> list[Problem]:
    return [problem for problem in problems if problem.path not in paths]


def _count(entries: Sequence[Entry], came: int, went: int) -> Iterator[tuple[int, str]]:
    """How often each thing happened, with its name; what did not is left out."""
    marks = Counter(mark for entry in entries for mark in entry.marks)
    edges = Counter(edge.is_new for entry in entries for edge in entry.edges)
    numbers = {
        **{_WORDS[word]: marks[Mark(word, _WORDS[word])] for word in _WEIGHTS},
        "new dependencies": edges[True],
        "dependencies gone": edges[False],
        "new problems": came,
        "problems solved": went,
    }
    return ((number, name) for name, number in numbers.items() if number)


def _fit(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, those without fields that the page has no room for."""
    room = ROOM
    for entry in entries:
        if entry.size <= room:
            room -= entry.size
            yield entry
        else:
            yield entry._replace(edits=[], edges=[], texts=[], is_left_out=True)


def _group(view: Overview, entries: Iterable[Entry]) -> list[Group]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.project, []).append(entry)
    there = view.data.index.projects.keys() | view.by_project.keys()
    return [
        Group(view.project_name(key), project_uri(key) if key in there else None, groups[key])
        for key in sorted(groups, key=lambda key: (-len(groups[key]), key))
    ]


# -- what happened to each thing ------------------------------------------------------------------------------------


def _find_entries(view: Overview, compared: Compared) -> Iterator[Entry]:
    new = view.data.index
    subjects = _collect(compared.events)
    for name, task in new.tasks.items():
        old = compared.old.tasks.get(name)
        if old and new.is_waiting(task) and not compared.old.is_waiting(old):
            waits_for = ", ".join(islice(new.open_dependencies(task), FIELDS))
            subject = subjects.setdefault(("task", name), _Subject(task.name))
            subject.words.add(_WAITING)
            subject.remarks.append(("waits for", waits_for))
    return (_entry(view, compared.old, kind, name, subject) for (kind, name), subject in subjects.items())


def _collect(events: Iterable[Event]) -> dict[tuple[str, str], _Subject]:
    """The events by what they happened to; those of a workflow belong to its task."""
    found: dict[tuple[str, str], _Subject] = {}
    for event in events:
        kind, _, _ = event.type.partition(".")
        word = word_for(event.type, event.changed)
        if kind == "workflow":
            task, _, name = event.subject.partition("/")
            subject = found.setdefault(("task", task), _Subject(""))
            subject.remarks += _describe_workflow(name, word, event.changed)
        else:
            subject = found.setdefault((kind, event.subject), _Subject(event.name))
            subject.name = event.name
            subject.words.add(word)
            _note(subject, word, event)
    return found


def _note(subject: _Subject, word: str, event: Event) -> None:
    if word != "ready":
        subject.changed |= event.changed
    elif waited_for := event.changed.get("open_dependencies"):
        subject.remarks.append(("waited for", ", ".join(map(str, _list(waited_for[0])[:FIELDS]))))


def _describe_workflow(name: str, word: str, changed: Mapping[str, Any]) -> list[tuple[str, str]]:
    if word in ("created", "deleted"):
        template = next((text for text in changed.get("template", ()) if text), "")
        return [(f"workflow {name}", f"{word}, template {template}")]
    return [(f"workflow {name}, {part}", words) for part, words in describe_fields(changed)]


def _entry(view: Overview, old: Index, kind: str, name: str, subject: _Subject) -> Entry:
    changed = dict(subject.changed)
    edges = _find_edges(view, old, changed.pop("depends_on", (None, None)))
    is_whole = bool(subject.words & {"created", "deleted"})
    texts = [] if is_whole else [*_find_texts(changed)]
    for text in texts:
        del changed[text.field]
    edits = [] if is_whole else [*describe_fields(changed)]
    return Entry(
        project=name.partition("/")[0] if kind != "task" else _project_of(view, old, name),
        kind=kind,
        id=name,
        name=subject.name or _name_of(view, old, name),
        uri=_find_uri(view, kind, name),
        marks=_mark(subject),
        edits=[*edits, *subject.remarks][:FIELDS],
        edges=edges[:FIELDS],
        texts=texts,
    )


def _mark(subject: _Subject) -> list[Mark]:
    """What happened, the weightiest first; that something changed is said when nothing else is."""
    is_whole = subject.words & {"created", "deleted"}
    moved = {"moved"} if not is_whole and subject.changed.keys() & {"phase", "path"} else set()
    words = (subject.words | moved) - {"updated"} or {"updated"}
    return [Mark(word, _WORDS[word]) for word in _WEIGHTS if word in words]


def _project_of(view: Overview, old: Index, name: str) -> str:
    row = view.data.index.tasks.get(name) or old.tasks.get(name)
    return row.project if row else name.partition("-")[0]


def _name_of(view: Overview, old: Index, name: str) -> str:
    row = view.data.index.tasks.get(name) or old.tasks.get(name)
    return row.name if row else name


def _find_uri(view: Overview, kind: str, name: str) -> str | None:
    if kind == "task":
        return view.find_task_uri(name)
    if kind == "phase":
        return phase_uri(*name.split("/", 1)) if name in view.data.index.phases else None
    return project_uri(name) if name in view.data.index.projects else None


def _find_edges(view: Overview, old: Index, pair: tuple[Any, Any]) -> list[Edge]:
    before, after = map(_list, pair)
    came = [Edge(True, _name_of(view, old, name), view.find_task_uri(name)) for name in after if name not in before]
    went = [Edge(False, _name_of(view, old, name), view.find_task_uri(name)) for name in before if name not in after]
    return came + went


def _list(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


# -- texts ----------------------------------------------------------------------------------------------------------


def _find_texts(changed: Mapping[str, tuple[Any, Any]]) -> Iterator[Text]:
    """The fields that are texts of several lines, with these lines; those that are too long are only counted."""
    for name, (old, new) in changed.items():
        before, after = (value.splitlines() if isinstance(value, str) else [] for value in (old, new))
        if max(len(before), len(after)) > 1 and len(before) + len(after) <= LONG_TEXT:
            lines = [*_compare(before, after)]
            yield Text(name, lines[:LINES], max(0, len(lines) - LINES))


def _compare(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    """The lines that came and went, each with two lines around it."""
    for number, block in enumerate(SequenceMatcher(None, before, after).get_grouped_opcodes(2)):
        if number:
            yield Line(" ", "…")
        for tag, start, end, new_start, new_end in block:
            if tag == "equal":
                yield from _lines(" ", before[start:end])
            else:
                yield from _lines("-", before[start:end])
                yield from _lines("+", after[new_start:new_end])


def _lines(mark: str, lines: Iterable[str]) -> Iterator[Line]:
    return (Line(mark, _shorten(line)) for line in lines)


def _shorten(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else clip(line, _LONGEST_LINE)
