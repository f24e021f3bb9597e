"""A timeline as SVG: a bar for the days on which a task was worked on, a mark for the day on which it is due.

It says nothing that the table beside it does not say: it is hidden from screen readers, and the keyboard does not stop
in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from markupsafe import Markup

from dagtasks.board.printable import clip

WIDTH, NAMES, ROW, HEAD = 1000, 230, 22, 22
"""Width of all and of the names; heights of a row and of the line with the dates."""
LETTERS = 32
LABELS = 12
"""So many dates are written at most."""


class Bar(NamedTuple):
    """A row: a task of that status, when it was begun and ended (None: not yet, or nobody knows), when it is due."""

    name: str
    uri: str
    status: str
    begun: date | None
    ended: date | None
    due: date | None


def draw_timeline(bars: Sequence[Bar], today: date) -> Markup:
    """The rows from top to bottom, over all the days that they name and today."""
    days = [day for bar in bars for day in (bar.begun, bar.ended, bar.due) if day]
    scale = _Scale(min([*days, today]), max([*days, today]) + timedelta(days=1))
    height = HEAD + ROW * len(bars) + 4
    rows = Markup().join(_draw_row(bar, HEAD + ROW * number, scale, today) for number, bar in enumerate(bars))
    return Markup(
        '<div class="dt-wide" tabindex="0" role="group" aria-label="Drawing"><svg class="dt-timeline" width="{0}"'
        ' height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true">{2}{3}{4}</svg></div>'
    ).format(WIDTH, height, _draw_dates(scale, height), _draw_today(scale.x(today), height), rows)


class _Scale(NamedTuple):
    """Days on the width of the picture, the last one not included."""

    first: date
    last: date

    def x(self, day: date) -> float:
        """Where the day begins."""
        return NAMES + (WIDTH - NAMES) * (day - self.first).days / max((self.last - self.first).days, 1)


def _draw_row(bar: Bar, y: int, scale: _Scale, today: date) -> Markup:
    name = Markup('<a href="{}" tabindex="-1"><text y="{}"><title>{}</title>{}</text></a>').format(
        bar.uri, y + 15, clip(bar.name, 200), clip(bar.name, LETTERS)
    )
    return name + _draw_bar(bar, y, scale, today) + _draw_due(bar, y, scale)


def _draw_bar(bar: Bar, y: int, scale: _Scale, today: date) -> Markup:
    if bar.begun is None:
        return Markup()
    start, end = scale.x(bar.begun), scale.x(max(bar.ended or today, bar.begun) + timedelta(days=1))
    return Markup('<rect class="dt-span dt-is-{}" x="{:.1f}" y="{}" width="{:.1f}" height="12" rx="3"/>').format(
        bar.status, start, y + 5, max(end - start, 3)
    )


def _draw_due(bar: Bar, y: int, scale: _Scale) -> Markup:
    if bar.due is None:
        return Markup()
    x, middle = scale.x(bar.due), y + 11
    late = " dt-due--late" if bar.begun and bar.ended and bar.ended > bar.due else ""
    return Markup('<path class="dt-due-mark{}" d="M{:.1f} {}l5 5-5 5-5-5z"/>').format(late, x, middle - 5)


def _draw_today(x: float, height: int) -> Markup:
    return Markup('<path class="dt-now" d="M{:.1f} {}V{}"/>').format(x, HEAD - 4, height)


def _draw_dates(scale: _Scale, height: int) -> Markup:
    return Markup().join(
        Markup(
            '<path class="dt-tick" d="M{0:.1f} {1}V{2}"/><text class="dt-date" x="{0:.1f}" y="12">{3}</text>'
        ).format(scale.x(day), HEAD - 4, height, day)
        for day in _pick_dates(scale)
    )


def _pick_dates(scale: _Scale) -> Iterator[date]:
    """Mondays with the same distance, few enough to be read."""
    weeks = max((scale.last - scale.first).days // 7, 1)
    step = timedelta(weeks=-(-weeks // LABELS))
    day = scale.first + timedelta(days=-scale.first.weekday() % 7)
    while day < scale.last:
        yield day
        day += step
