"""Takes secrets out of what is written down or shown: each becomes `***`, also encoded, quoted or cut in pieces.

Every sink (log, terminal, event, record, error text) gets what went through here, and nothing else. Masking comes
before cutting: of a secret that was cut in two, neither half can be told from other text.
"""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import quote

from dagtasks.errors import InvalidInput
from dagtasks.model.values import JSON

MASK = b"***"
SHORTEST = 6
"""Characters. What is shorter stands in ordinary text, too, and masking it would make logs unreadable."""

WRAPPED = 32
"""Characters of base64 or hex before a line break from which on the break is that of a program that wraps its output
(`base64` after 76, `xxd -p` after 60), so a value may go on in the next line."""

WRAP = re.compile(rb"\n(?<=[\w+/=-]{%d}\n)|\r\n(?<=[\w+/=-]{%d}\r\n)" % (WRAPPED, WRAPPED))
LINE_IN_FORM = re.compile(rb"([\w+/=-]*)\r?\n")

Span = tuple[int, int]


class Masker:
    """Masks the secrets in texts, values and streams; without secrets all of it passes through as it is.

    Raises `InvalidInput` for a secret of less than six characters, blanks around it not counted.
    """

    def __init__(self, secrets: Iterable[bytes | str] = ()) -> None:
        values = [secret if isinstance(secret, bytes) else encode(secret) for secret in secrets]
        for value in values:
            check_length(value)
        self._finder = _Finder({form for value in values for form in make_forms(value)})

    def mask_bytes(self, data: bytes) -> bytes:
        """The bytes without secrets. Whoever wants a part of them masks first and cuts afterwards."""
        return self.stream().feed_last(data)

    def mask_text(self, text: str) -> str:
        """The text without secrets. Give it whole: the caller cuts what comes out, never what goes in."""
        masked = self.mask_bytes(data := encode(text))
        return text if masked == data else _decode(masked, like=text)

    def mask_value(self, value: JSON) -> JSON:
        """The value with its texts, keys and numbers masked; a number that holds a secret becomes a text."""
        match value:
            case _ if not self._finder.forms:
                return value
            case str():
                return self.mask_text(value)
            case Mapping():
                return {self.mask_text(key): self.mask_value(item) for key, item in value.items()}
            case list() | tuple():
                return [self.mask_value(item) for item in value]
            case int() | float() if self.contains(json.dumps(value)):
                return self.mask_text(json.dumps(value))
        return value

    def contains(self, text: str | bytes) -> bool:
        """Whether there is a secret in it, in any of the forms that are masked."""
        data = text if isinstance(text, bytes) else encode(text)
        return bool(self._finder.find(unwrap(data).content)[0])

    def stream(self) -> MaskingStream:
        """What masks one stream of bytes that comes in pieces, for instance the stdout of one attempt of a step."""
        return MaskingStream(self._finder)


class MaskingStream:
    """Masks a stream. What comes out does not depend on where the stream was cut.

    Held back is only an end that may be the beginning of a secret, so at most as much as its longest form.
    """

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder
        self._given = b""  # the last that went out: it tells whether a line break is one of wrapping
        self._held = b""
        self._masked: int | None = None  # where in `_held` the mask ends that went out last

    def feed(self, data: bytes) -> bytes:
        """Take in the next piece; give all that is certain now."""
        if not self._finder.forms:
            return data
        data = self._held + data
        whole = data.removesuffix(b"\r")  # its \n may be still to come
        text = unwrap(whole, self._given)
        spans, cut = self._finder.find(text.content)
        return self._give(data, map(text.span, spans), text.place(cut, len(whole)))

    def finish(self) -> bytes:
        """What was still held back, at the end of the stream."""
        return self.feed_last(b"")

    def feed_last(self, data: bytes) -> bytes:
        """Take in the last piece, and give all that is left."""
        if not self._finder.forms:
            return data
        data = self._held + data
        text = unwrap(data, self._given)
        return self._give(data, map(text.span, self._finder.find(text.content)[0]), len(data))

    def _give(self, data: bytes, spans: Iterable[Span], cut: int) -> bytes:
        """The data up to `cut` with the spans masked; the rest is held."""
        pieces, end = [], self._masked
        for start, stop in spans:
            if start >= cut:
                break
            if end is None or start > end:
                pieces += [data[end or 0 : start], MASK]
            end = max(stop, end or 0)
        pieces.append(data[end or 0 : cut])
        self._masked = end - cut if end is not None and end >= cut else None
        self._given = (self._given + data[:cut])[-WRAPPED:]
        self._held = data[cut:]
        return b"".join(pieces)


# -- finding ---------------------------------------------------------------------------------------------------------


class _Finder:
    """Finds forms in bytes, all at once.

    A regular expression of all forms goes through 1 MB a second, because there are hundreds of them. Here the bytes
    are taken as machine words, which a set knows or not: each form has a word of its beginning in there, however it
    lies. Only forms of which a word was seen are looked for.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        self.forms = sorted(forms)
        shortest = min(map(len, self.forms), default=0)
        self._width = 8 if shortest >= 15 else 4
        self._beginning = 2 * self._width - 1  # so much of a form holds a whole word, however it lies
        self._of_word: dict[int, list[bytes]] = {}
        for form in self.forms:
            for start in range(self._width) if len(form) >= self._beginning else ():
                [word] = self._words(form[start : start + self._width])
                self._of_word.setdefault(word, []).append(form)
        self._known_words = frozenset(self._of_word)
        self._short = [form for form in self.forms if len(form) < self._beginning]
        self._beginnings = {form[:size] for form in self.forms for size in range(1, min(len(form), self._beginning))}

    def find(self, data: bytes) -> tuple[list[Span], int]:
        """The places that forms cover, in order (they may overlap), and where the longest end of the data begins
        that is the beginning of a form; the length of the data when none is.
        """
        words = self._known_words.intersection(self._words(data))
        forms = {*self._short, *(form for word in words for form in self._of_word[word])}
        ends = (_find_end(data, form, self._beginning) for form in forms)
        return sorted(span for form in forms for span in _cover(data, form)), min([self._find_short_end(data), *ends])

    def _find_short_end(self, data: bytes) -> int:
        """Where the end begins, of those too short for a word."""
        sizes = range(min(self._beginning - 1, len(data)), 0, -1)
        return len(data) - next((size for size in sizes if data[-size:] in self._beginnings), 0)

    def _words(self, data: bytes) -> memoryview[int]:
        view = memoryview(data)[: len(data) // self._width * self._width]
        return view.cast("Q") if self._width == 8 else view.cast("I")


def _cover(data: bytes, form: bytes) -> Iterator[Span]:
    """The places that the form covers, those that overlap taken together."""
    start = data.find(form)
    while start >= 0:
        end, last = start + len(form), start
        while (last := data.rfind(form, last + 1, end + len(form) - 1)) >= 0:
            end = last + len(form)
        yield start, end
        start = data.find(form, end)


def _find_end(data: bytes, form: bytes, least: int) -> int:
    """Where an end of the data begins that the form begins with, of at least so many bytes; else its length."""
    place = data.find(form[:least], max(0, len(data) - len(form) + 1))
    while place >= 0:
        if form.startswith(data[place:]):
            return place
        place = data.find(form[:least], place + 1)
    return len(data)


class Unwrapped(NamedTuple):
    """Bytes without the line breaks of wrapping; `breaks` says where they were, `removed` how much before each."""

    content: bytes
    breaks: list[int]
    removed: list[int]

    def place(self, place: int, size: int) -> int:
        """The place in the bytes as they were, of which there were `size`."""
        return size if place == len(self.content) else place + self.removed[bisect_right(self.breaks, place)]

    def span(self, span: Span) -> Span:
        """The span in the bytes as they were."""
        start, last = (place + self.removed[bisect_right(self.breaks, place)] for place in (span[0], span[1] - 1))
        return start, last + 1


def unwrap(data: bytes, before: bytes = b"") -> Unwrapped:
    """The data without the line breaks of wrapping; `before` is what came before it."""
    found = [(match.start() - len(before), match.end() - len(before)) for match in WRAP.finditer(before + data)]
    found = [(start, end) for start, end in found if start >= 0]
    if not found:
        return Unwrapped(data, [], [0])
    ends = [0, *(end for _, end in found)]
    starts = [*(start for start, _ in found), len(data)]
    content = b"".join(data[start:end] for start, end in zip(ends, starts, strict=True))
    removed = [0, *accumulate(end - start for start, end in found)]
    return Unwrapped(content, [start - gone for (start, _), gone in zip(found, removed, strict=False)], removed)


# -- forms -----------------------------------------------------------------------------------------------------------


def check_length(value: bytes) -> None:
    """Raises `InvalidInput` for a secret that is too short to be masked."""
    if _length(value.strip()) < SHORTEST:
        raise InvalidInput(
            f"a secret of less than {SHORTEST} characters cannot be masked",
            hint="use a longer one; what is that short could be guessed, too",
        )


def make_forms(value: bytes) -> set[bytes]:
    """Every form of the secret that is masked, without the line breaks of wrapping."""
    parts = {value, *(re.sub(rb"\r?\n", ending, value) for ending in (b"\n", b"\r\n")), *value.splitlines()}
    parts |= {part.strip() for part in parts}
    wanted = [part for part in parts if _length(part) >= SHORTEST]
    forms = {form for part in wanted for make in _MAKERS for form in make(part)}
    return {variant for form in forms for variant in _unwrapped(form)}


def _unwrapped(form: bytes) -> Iterator[bytes]:
    """The form as `unwrap` leaves it, whatever stands before it: its first line break may be one of wrapping."""
    yield unwrap(form).content
    if (first := LINE_IN_FORM.match(form)) and len(first[1]) < WRAPPED:
        yield first[1] + unwrap(form[first.end() :]).content


def _raw(value: bytes) -> Iterator[bytes]:
    yield value


def _hex(value: bytes) -> Iterator[bytes]:
    yield value.hex().encode()
    yield value.hex().upper().encode()


def _base64(value: bytes) -> Iterator[bytes]:
    """What of the base64 of a text is sure when the value stands in it, or at its end, with or without a newline."""
    yield from _base64_before((b"", b"\n"), value)


def _double_base64(value: bytes) -> Iterator[bytes]:
    for once in set(_base64(value)):
        yield from _base64_before((b"",), once)


def _base64_before(ends: tuple[bytes, ...], value: bytes) -> Iterator[bytes]:
    for shift, first in enumerate((0, 2, 3)):
        sure = 8 * (shift + len(value)) // 6
        whole = [b64encode(bytes(shift) + value + end)[first:] for end in ends]
        for form in {whole[0][: sure - first], *whole, *(form.rstrip(b"=") for form in whole)}:
            yield form
            yield form.replace(b"+", b"-").replace(b"/", b"_")


def _url(value: bytes) -> Iterator[bytes]:
    for safe in ("", "/", "!'()*", "/!'()*"):
        upper = quote(value, safe=safe).encode("ascii")
        for form in (upper, re.sub(rb"%..", lambda escape: escape[0].lower(), upper)):
            yield form
            yield form.replace(b"%20", b"+")


def _json(value: bytes) -> Iterator[bytes]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for once in set(_json_of(text)):
        yield once.encode()
        yield from (twice.encode() for twice in _json_of(once))


def _json_of(text: str) -> Iterator[str]:
    for to_ascii in (True, False):
        escaped = json.dumps(text, ensure_ascii=to_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
        yield escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shell(value: bytes) -> Iterator[bytes]:
    text = value.decode("utf-8", "surrogateescape")
    forms = (
        shlex.quote(text).removeprefix("'").removesuffix("'"),
        text.replace("'", r"'\''"),  # set -x of bash
        re.sub(r'["$`\\]', r"\\\g<0>", text),  # inside double quotes
        re.sub(r"[ \t!\"$&'()*,;<>?\[\\\]^`{|}]", r"\\\g<0>", text),  # printf %q of bash
        re.sub(r"[ -~]", lambda char: char[0] if _PLAIN.match(char[0]) else "\\" + char[0], text),
        "".join(_CONTROL.get(char, char) for char in text),  # $'...'
    )
    yield from (form.encode("utf-8", "surrogateescape") for form in forms)


_PLAIN = re.compile(r"[\w@%+=:,./-]")
_CONTROL = {**{chr(code): f"\\{code:03o}" for code in (*range(32), 127)}, "\\": "\\\\", "'": "\\'"} | dict(
    zip("\a\b\x1b\f\n\r\t\v", (f"\\{letter}" for letter in "abEfnrtv"), strict=True)
)
_MAKERS = (_raw, _hex, _base64, _double_base64, _url, _json, _shell)


def _length(value: bytes) -> int:
    """Characters, or bytes where these are none."""
    return len(value.decode("utf-8", "replace"))


def encode(text: str) -> bytes:
    """The bytes of a text that came from bytes (an argument, a variable), or from JSON with half a character."""
    return text.encode("utf-8", _handler(text))


def _decode(data: bytes, *, like: str) -> str:
    try:
        return data.decode("utf-8", _handler(like))
    except UnicodeDecodeError:  # a mask within a character
        return data.decode("utf-8", "replace")


def _handler(text: str) -> str:
    """How what UTF-8 does not have is encoded: bytes that were none stay themselves, all else has a code of its own."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "surrogatepass"
    return "surrogateescape"
