"""Keeps secrets out of the events of a run, before any listener sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dagtasks.engine.masking import SHORTEST, Masker, MaskingStream
from dagtasks.model.run import (
    Failure,
    RunEvent,
    RunFinished,
    RunStarted,
    StepChanged,
    StepFinished,
    StepOutput,
    StepRecord,
    StepStarted,
    Stream,
    item_of,
)
from dagtasks.model.values import JSON
from dagtasks.planning.plan import PlanStep

StreamKey = tuple[str, str, Stream]


class Secrecy:
    """Masks events, and learns on the way what else is secret: the values of sensitive outputs."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = set(values)
        self._masker = Masker(self._values)
        self._streams: dict[StreamKey, tuple[StepOutput, MaskingStream]] = {}
        self._hidden: dict[tuple[str, str], frozenset[str]] = {}

    def hide(self, run: str, step: PlanStep) -> None:
        """Show no sensitive output of the step, however short, and nothing of a stream that one is read from.

        What is printed has gone out before anybody knows which part of it was meant.
        """
        specs = {name: spec for name, spec in step.outputs.items() if spec.sensitive}
        if specs:
            self._hidden[run, step.name] = frozenset({*specs, *(f"from {spec.source}" for spec in specs.values())})

    def hide_outputs(self, run: str, outputs: Iterable[str]) -> None:
        """Show none of these outputs of the run, however short."""
        self._hidden[run, ""] = frozenset(outputs)

    def is_hidden(self, run: str, step: str, part: str) -> bool:
        """Whether an output of a step or an item of it (or with `from stdout` that stream) is not to be shown."""
        return part in self._hidden.get((run, item_of(step) or step), ())

    def learn(self, value: JSON) -> None:
        """Mask all texts in the value from now on; those too short to be told from other text are left."""
        known = {text for text in _texts(value) if len(text.strip()) >= SHORTEST} | self._values
        if known != self._values:
            self._values = known
            self._masker = Masker(known)

    def mask_text(self, text: str) -> str:
        """The text without secrets."""
        return self._masker.mask_text(text)

    def is_in(self, value: JSON) -> bool:
        """Whether a secret is in the value."""
        return bool(self._values) and self._masker.contains(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )

    def mask(self, event: RunEvent) -> Iterator[RunEvent]:
        """The event without secrets; before the end of a try, what was held back of its output."""
        if not self._values and not self._hidden:
            yield event
            return
        match event:
            case StepOutput() if self.is_hidden(event.run, event.step, f"from {event.stream}"):
                return
            case StepOutput():
                yield from self._mask_output(event)
            case StepFinished():
                yield from self._flush(event.run, event.result.name)
                yield replace(event, result=self._mask_step(event.run, event.result))
            case StepChanged():
                yield from self._flush(event.run, event.step)
                asks: Any = self._masker.mask_value(event.asks)  # type: ignore[arg-type]
                yield replace(event, reason=self._mask_failure(event.reason), asks=asks)
            case RunStarted():
                parameters: Any = self._masker.mask_value(dict(event.record.parameters))
                yield replace(event, record=replace(event.record, parameters=parameters))
            case RunFinished():
                outputs = self._mask_outputs(event.run, "", event.outputs)
                yield replace(event, outputs=outputs, error=self._mask_failure(event.error))
            case StepStarted():
                yield from self._flush(event.run, event.step)
                yield event
            case _:
                yield event

    def _mask_output(self, event: StepOutput) -> Iterator[StepOutput]:
        key: StreamKey = (event.run, event.step, event.stream)
        _, stream = self._streams.get(key) or (event, self._masker.stream())
        self._streams[key] = event, stream
        if data := stream.feed(event.data):
            yield replace(event, data=data)

    def _flush(self, run: str, step: str) -> Iterator[StepOutput]:
        for key in [key for key in self._streams if key[:2] == (run, step)]:
            last, stream = self._streams.pop(key)
            if data := stream.finish():
                yield replace(last, data=data)

    def _mask_step(self, run: str, step: StepRecord) -> StepRecord:
        mask: Any = self._masker.mask_value

        def is_hidden(part: str) -> bool:
            return self.is_hidden(run, step.name, part)

        return replace(
            step,
            output=None if is_hidden("from stdout") else mask(step.output),
            stderr=None if is_hidden("from stderr") else mask(step.stderr),
            outputs=self._mask_outputs(run, step.name, step.outputs),
            response=mask(step.response),
            error=self._mask_failure(step.error),
            item=mask(step.item),
            items=tuple(self._mask_step(run, item) for item in step.items),
            approval=mask(step.approval),
        )

    def _mask_outputs(self, run: str, step: str, outputs: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The outputs of a step, or of the run when the step has no name."""
        mask: Any = self._masker.mask_value
        return {
            name: "***" if value is not None and self.is_hidden(run, step, name) else mask(value)
            for name, value in outputs.items()
        }

    def _mask_failure(self, failure: Failure | None) -> Failure | None:
        return failure and replace(failure, message=self._masker.mask_text(failure.message))


def _texts(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield json.dumps(value)
