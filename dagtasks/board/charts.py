"""Charts as SVG: a few numbers a week as bars and a line. Their words and colours come from classes of the style sheet.

A chart says nothing that the table beside it does not say: it is hidden from screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 640, 160
_LEFT, _BOTTOM, _TOP = 32, 18, 8
"""Room for the numbers at the side and the words below; and above."""


class Series(NamedTuple):
    """Numbers in the order of time, of the colour that the style sheet gives the class `dt-chart__<kind>`."""

    kind: str
    values: Sequence[int]


def draw_bars(series: Sequence[Series], labels: Sequence[str]) -> Markup:
    """The series side by side at each label; every label is written where there is room for it."""
    top = _nice(max((value for one in series for value in one.values), default=0))
    room = (WIDTH - _LEFT) / max(len(labels), 1)
    width = room * 0.8 / max(len(series), 1)
    bars = [
        _bar(one.kind, _LEFT + room * (at + 0.1) + width * number, width, value / top)
        for number, one in enumerate(series)
        for at, value in enumerate(one.values)
        if value
    ]
    return _frame(Markup().join(bars), top, labels)


def draw_area(series: Series, labels: Sequence[str]) -> Markup:
    """The series as a line with the area below it."""
    top = _nice(max(series.values, default=0))
    room = (WIDTH - _LEFT) / max(len(labels), 1)
    places = [(_LEFT + room * (at + 0.5), _y(value / top)) for at, value in enumerate(series.values)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    area = f"{places[0][0]:.1f},{_y(0):.1f} {points} {places[-1][0]:.1f},{_y(0):.1f}" if places else ""
    drawn = Markup('<polygon class="dt-chart__{0}" points="{1}"/><polyline class="dt-chart__line" points="{2}"/>')
    return _frame(drawn.format(series.kind, area, points), top, labels)


def _bar(kind: str, x: float, width: float, share: float) -> Markup:
    y = _y(share)
    return Markup('<rect class="dt-chart__{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1"/>').format(
        kind, x, y, width, _y(0) - y
    )


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _BOTTOM - _TOP)


def _nice(value: int) -> int:
    """The top of the scale: the least of 1, 2, 4, 6, 8 times a power of ten that is not below the value."""
    power = int("1" + "0" * (len(str(value)) - 1))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def _frame(drawn: Markup, top: int, labels: Sequence[str]) -> Markup:
    """The chart with a scale at its side and the labels below."""
    marks = [0, top // 2, top] if top % 2 == 0 else [0, top]
    lines = Markup().join(
        Markup('<path d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}">{}</text>').format(
            _LEFT, _y(mark / top), WIDTH, _LEFT - 5, _y(mark / top) + 3, mark
        )
        for mark in marks
    )
    return Markup(
        '<svg class="dt-chart" viewBox="0 0 {} {}" aria-hidden="true"><g class="dt-chart__scale">{}</g>{}'
        '<g class="dt-chart__labels">{}</g></svg>'
    ).format(WIDTH, HEIGHT, lines, drawn, _labels(labels))


def _labels(labels: Sequence[str]) -> Markup:
    every = max(1, -(-len(labels) // 9))
    room = (WIDTH - _LEFT) / max(len(labels), 1)
    return Markup().join(
        Markup('<text x="{:.1f}" y="{}">{}</text>').format(_LEFT + room * (at + 0.5), HEIGHT - 5, label)
        for at, label in enumerate(labels)
        if at % every == 0
    )
