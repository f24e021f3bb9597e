"""How things may be called, and near names: what somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable

KEY_PATTERN = r"[a-z][a-z0-9_-]{0,62}"
"""Names of phases, workflows and templates."""
PROJECT_PATTERN = r"[a-z][a-z0-9]{0,15}"
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter looks like a digit."""
ID_LENGTH = 6
TASK_ID_PATTERN = r"[a-z][a-z0-9]{0,15}-[0-9a-hjkmnp-tv-z]{6}"
"""The project's key and six characters of Crockford's base 32."""

_IDENTIFIER = r"(?:0|[1-9][0-9]{0,15}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
VERSION_ENDING = (
    rf"(?:-(?P<pre>{_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"  # what comes before a release
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"  # what says nothing about the order
)
VERSION_PATTERN = rf"({VERSION_NUMBER})\.({VERSION_NUMBER})\.({VERSION_NUMBER}){VERSION_ENDING}"
"""A version as semantic versioning 2.0.0 has it."""


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Up to `limit` of the known names that look like the given one, nearest first."""
    import difflib  # costs 10 ms, and only errors need it

    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or nothing when no known name is near."""
    near = near_names(name, known, limit=1)
    return f"did you mean {near[0]!r}?" if near else ""


def choose_from(name: str, known: Iterable[str]) -> str:
    """A hint with all known names when there are 20 or fewer, else the nearest."""
    names = sorted(known)
    if len(names) <= 20:
        return f"there is: {', '.join(names)}" if names else "there is none yet"
    return f"near: {', '.join(near_names(name, names))}" if near_names(name, names) else ""
