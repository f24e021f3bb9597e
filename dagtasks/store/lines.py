"""Comparing texts line by line: which lines two texts share, and the merge of two texts with what they come from.

Standard library only, and no input makes it slow: lines that occur once anchor the comparison.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SMALL = 10_000
"""Pairs of lines up to which a stretch without anchors is compared exactly."""
_MAX_DEPTH = 64


class Chunk(NamedTuple):
    """A stretch of the merge: what the three texts hold there. Between two chunks all three agree."""

    base: Sequence[str]
    ours: Sequence[str]
    theirs: Sequence[str]

    @property
    def chosen(self) -> Sequence[str] | None:
        """What the merge holds: the changed side, or None when both sides changed it differently."""
        if self.ours == self.theirs or self.base == self.theirs:
            return self.ours
        return self.theirs if self.base == self.ours else None


def merge_lines(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Chunk]:
    """The chunks that make up the merge, in order. Changes of both sides need an unchanged line between them."""
    in_ours, in_theirs = dict(match_lines(base, ours)), dict(match_lines(base, theirs))
    stable = [(place, in_ours[place], in_theirs[place]) for place in sorted(in_ours.keys() & in_theirs.keys())]
    start = (0, 0, 0)
    for at in [*stable, (len(base), len(ours), len(theirs))]:
        chunk = Chunk(base[start[0] : at[0]], ours[start[1] : at[1]], theirs[start[2] : at[2]])
        if any(chunk):
            yield chunk
        same = base[at[0] : at[0] + 1]
        if same:
            yield Chunk(same, same, same)
        start = (at[0] + 1, at[1] + 1, at[2] + 1)


def match_lines(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of lines that are the same, rising in both texts."""
    found: list[tuple[int, int]] = []
    waiting = [(0, len(one), 0, len(other), 0)]
    while waiting:
        low, high, low_, high_, depth = waiting.pop()
        while low < high and low_ < high_ and one[low] == other[low_]:
            found.append((low, low_))
            low, low_ = low + 1, low_ + 1
        while low < high and low_ < high_ and one[high - 1] == other[high_ - 1]:
            high, high_ = high - 1, high_ - 1
            found.append((high, high_))
        if low == high or low_ == high_:
            continue
        anchors = _anchors(one, other, (low, high, low_, high_))
        if anchors and depth < _MAX_DEPTH:
            waiting += _gaps(anchors, (low, high, low_, high_), depth + 1)
            found += anchors
        elif (high - low) * (high_ - low_) <= _SMALL:
            found += [(low + a, low_ + b) for a, b in _longest_common(one[low:high], other[low_:high_])]
    return sorted(found)


_Range = tuple[int, int, int, int]


def _anchors(one: Sequence[str], other: Sequence[str], within: _Range) -> list[tuple[int, int]]:
    """The lines that occur once in each stretch, as many of them as keep their order."""
    low, high, low_, high_ = within
    counts, counts_ = Counter(one[low:high]), Counter(other[low_:high_])
    places = {line: place for place, line in enumerate(other[low_:high_], low_) if counts_[line] == 1}
    pairs = [
        (place, places[line]) for place, line in enumerate(one[low:high], low) if counts[line] == 1 and line in places
    ]
    return _longest_rising(pairs)


def _gaps(anchors: Sequence[tuple[int, int]], within: _Range, depth: int) -> Iterator[tuple[int, int, int, int, int]]:
    low, high, low_, high_ = within
    for place, place_ in [*anchors, (high, high_)]:
        yield low, place, low_, place_, depth
        low, low_ = place + 1, place_ + 1


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs whose second parts rise, too (patience sorting)."""
    tops: list[int] = []
    heads: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        tops[pile : pile + 1] = [place]
        heads[pile : pile + 1] = [index]
        before.append(heads[pile - 1] if pile else -1)
    run, index = [], heads[-1] if heads else -1
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


def _longest_common(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for a in range(len(one) - 1, -1, -1):
        for b in range(len(other) - 1, -1, -1):
            same = one[a] == other[b]
            lengths[a][b] = lengths[a + 1][b + 1] + 1 if same else max(lengths[a + 1][b], lengths[a][b + 1])
    pairs, a, b = [], 0, 0
    while a < len(one) and b < len(other):
        if one[a] == other[b]:
            pairs.append((a, b))
            a, b = a + 1, b + 1
        elif lengths[a + 1][b] >= lengths[a][b + 1]:
            a += 1
        else:
            b += 1
    return pairs
