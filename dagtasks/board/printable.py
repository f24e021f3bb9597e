"""Text that cannot play tricks on a reader: no terminal codes, no control characters, no reversed text."""

from __future__ import annotations

import re

_TERMINAL_CODE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings meant for the terminal itself
    r"|\x1b[ -/]*[0-~]?"
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def clean(text: str) -> str:
    """The text without control characters (line breaks and tabs stay) and without marks that change its direction."""
    return text if text.isprintable() else _UNSEEN.sub("", text)


def clean_log(text: str) -> str:
    """What a terminal would leave of the text: no codes, and of a line that was written over only the last version."""
    lines = _TERMINAL_CODE.sub("", text).split("\n")
    return clean("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def clip(text: str, limit: int) -> str:
    """The text on one line, clean, and cut with an ellipsis when it is longer than `limit` characters."""
    line = " ".join(clean(text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def tail(text: str, limit: int) -> str:
    """The last lines of the text that fit in `limit` characters (at least the end of the last one)."""
    if len(text) <= limit:
        return text
    end = text[-limit:]
    return end.partition("\n")[2] or end
