"""Text that shows all that is in it: nothing moves a cursor, turns a direction or stays unseen."""

from __future__ import annotations

_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, turn the direction of text, or show nothing."""


def printable(text: object, *, keep: str = "") -> str:
    """The text with control, format and direction characters written as escapes, but for those in `keep`."""
    text = str(text)
    if text.isprintable():
        return text
    from unicodedata import category

    return "".join(
        character if category(character) not in _ESCAPED or character in keep else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
