"""Durations as people write them: `500ms`, `90s`, `10m`, `1h30m`."""

from __future__ import annotations

import re

_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s?([a-z]+)")
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?(?:T(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,9})M)?"
    r"(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.IGNORECASE,
)
_LONG_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1000),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000),
    **dict.fromkeys(("w", "week", "weeks"), 604_800_000),
}


class DurationError(ValueError):
    """The value is no duration; the hint shows the right form."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parse_duration(value: object) -> float:
    """The duration in seconds; raises `DurationError`. Hours, minutes, seconds, milliseconds, in that order."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise DurationError(f"{_shown(value)} is not a duration", _hint(value))
    counts = zip(found.groups("0"), _UNITS.values(), strict=True)
    return sum(int(count) * size for count, size in counts) / 1000


def format_duration(seconds: float) -> str:
    """The duration as `parse_duration` reads it, to the millisecond: 90 gives `1m30s`."""
    rest, parts = round(seconds * 1000), []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _shown(value: object) -> str:
    return repr(value if isinstance(value, str) else str(value))[:60]


def _hint(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if re.fullmatch("[0-9]{1,9}", text):
        return f"write {text}s"
    seconds = _guess(text) if len(text) <= 40 else None
    return "write it as 500ms, 90s, 10m or 1h30m" if seconds is None else f"write {format_duration(seconds)}"


def _guess(text: str) -> float | None:
    """How many seconds are probably meant."""
    if re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", text):
        return float(text)
    iso = _ISO.fullmatch(text)
    if iso and any(iso.groups()):
        return sum(float(count) * _LONG_UNITS[unit] for unit, count in iso.groupdict("0").items()) / 1000
    parts = _PART.findall(text.lower())
    is_read = re.fullmatch(rf"(?:{_PART.pattern}\s?){{1,6}}", text.lower())
    if not is_read or not all(unit in _LONG_UNITS for _, unit in parts):
        return None
    return sum(float(count) * _LONG_UNITS[unit] for count, unit in parts) / 1000
