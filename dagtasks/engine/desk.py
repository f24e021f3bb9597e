"""What a run needs from outside: a clock and ids, who listens, secrets, answers to approvals, turns, and its past."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from dagtasks.engine.keeping import Artifact
from dagtasks.language.evaluation import Functions
from dagtasks.model.run import RunEvent, RunRecord, StepRecord
from dagtasks.model.values import JSON, StepState
from dagtasks.planning.plan import Places

Listener = Callable[[RunEvent], None]


class Answer(NamedTuple):
    """A person's decision on an approval: `by` whom, `at` when (ISO 8601), why, and what was answered."""

    approved: bool
    by: str
    at: str
    reason: str = ""
    parameters: Mapping[str, JSON] = {}

    def to_json(self) -> dict[str, JSON]:
        """What the record keeps of it."""
        return {"approved": self.approved, "by": self.by, "at": self.at, "reason": self.reason}


class Turn(Protocol):
    """A place in the line of a concurrency group."""

    def has_come(self) -> bool:
        """Whether it is our turn now."""
        ...

    def leave(self) -> None:
        """Leave the line, or let the next one go on."""
        ...


class FreeTurn:
    """A turn where nobody else is: it has come at once."""

    def has_come(self) -> bool:
        """Always."""
        return True

    def leave(self) -> None:
        """Nobody waits."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What happened before: in the run that this one is a retry of, or in this run until its process ended.

    `results` are taken as they are, as long as all that they depend on is taken, too; with `checks_inputs` only where a
    step would be asked to do the same again. `records` are all of them: a child run or an item goes on from its own.
    `continues`: it is this very run that goes on; `is_cancelled`: only to clear away.
    """

    run: str = ""
    results: Mapping[str, StepRecord] = field(default_factory=dict)
    records: Mapping[str, StepRecord] = field(default_factory=dict)
    checks_inputs: bool = False
    continues: bool = False
    is_cancelled: bool = False

    def is_done(self, item: StepRecord) -> bool:
        """Whether the item of a loop need not be done again."""
        if self.continues:
            return item.conclusion is not None
        return item.state is StepState.SUCCEEDED and not item.is_cut

    def reuse(self, record: StepRecord) -> StepRecord:
        """The record, saying where it comes from when that is another run."""
        return record if self.continues else replace(record, reused_from=record.reused_from or self.run)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a run needs from outside. `now` gives aware times, `make_id` the id of a run that begins then.

    `waits`: whether the run waits for approvals; else it ends as `waiting`, to be continued. `find_answer` takes run
    and step, `take_turn` the name of a concurrency group and how many may go on at once. `keep` takes a folder of
    collected artifacts; `export` such a folder, what was asked for and the targets, and may raise `StepError`;
    `has_artifact` says whether one is still there. `dice`
    gives numbers from 0 to 1. `beat` gives a sign of life of the run.
    """

    listeners: tuple[Listener, ...]
    now: Callable[[], datetime]
    make_id: Callable[[datetime], str]
    allow_hosts: Sequence[str] = ()
    places: Places = field(default_factory=lambda: Places("", "", ""))
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    functions: Functions = field(default_factory=dict)
    waits: bool = True
    find_answer: Callable[[str, str], Answer | None] = lambda run, step: None
    find_record: Callable[[str], RunRecord | None] = lambda run: None
    take_turn: Callable[[str, int], Turn] = lambda group, limit: FreeTurn()
    keep: Callable[[Path], Mapping[str, Artifact]] = lambda folder: {}
    export: Callable[[Path, Sequence[tuple[str, str]]], object] = lambda folder, pairs: None
    has_artifact: Callable[[str], bool] = lambda digest: True
    beat: Callable[[str], None] = lambda run: None
    dice: Callable[[], float] = random.random
