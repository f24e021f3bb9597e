"""When a message that was not taken is sent again, and when nobody tries any more. Pure: the time is handed in."""

from __future__ import annotations

from typing import NamedTuple

WAITS = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each try: the first at once, the tenth a day after the ninth."""
FAILS_FOR = 5 * 86_400
"""Seconds for which an endpoint may fail; then it is disabled."""


class Answer(NamedTuple):
    """What came of a try: the status, or 0 and why there is none; and how long the receiver asks to be left alone."""

    status: int
    fault: str = ""
    retry_after: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has the message."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return self.fault or str(self.status)


class Tries(NamedTuple):
    """How often a message was tried, when it is due again, and since when (seconds since 1970) its endpoint fails.

    `disabled` says why nothing is sent there any more.
    """

    tries: int = 0
    next_at: float = 0.0
    failing_since: float | None = None
    disabled: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the message is given up."""
        return self.tries >= len(WAITS)


def after(before: Tries, answer: Answer, now: float) -> Tries:
    """What is to be done after that answer to the next try."""
    if answer.is_taken:
        return Tries()
    since = now if before.failing_since is None else before.failing_since
    tries = before.tries + 1
    wait = WAITS[tries] if tries < len(WAITS) else 0
    return Tries(tries, now + max(wait, answer.retry_after or 0), since, _why_disabled(answer, now - since))


def _why_disabled(answer: Answer, failing_for: float) -> str:
    if answer.status == 410:
        return "the receiver says that it is gone (410)"
    if failing_for >= FAILS_FOR:
        return f"nothing was taken for {FAILS_FOR // 86_400} days"
    return ""
