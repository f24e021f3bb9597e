"""Where in a shell text a value would stand: bare, in quotes, in a heredoc, in arithmetic ...

Reads the text as dash, bash and busybox ash do, as far as quoting goes. What the three read differently, and what
cannot be followed without running it, is never guessed: from there on every place is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

MARK = "\0"
"""Stands for a value in the shell text; no shell text can hold it otherwise."""

NESTING_LIMIT = 100


class Context(StrEnum):
    """How the text around a place is quoted."""

    BARE = "bare"
    DOUBLE = "double quotes"
    SINGLE = "single quotes"
    HEREDOC = "heredoc"
    ARITHMETIC = "arithmetic"
    COMMENT = "comment"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `reason` says why it is refused; `integers_only`: the shell computes with what stands there."""

    context: Context
    reason: str = ""
    integers_only: bool = False


@dataclass(frozen=True, slots=True)
class _Heredoc:
    word: str
    is_quoted: bool
    strips_tabs: bool


@dataclass(slots=True)
class _Frame:
    """The state of one list of commands: the text itself, or one `$( )` or `( )` in it.

    `test_start` is where a `[[` began; `test_computes` whether that test compares numbers.
    """

    word_start: int | None = None
    at_command: bool = True
    test_start: int | None = None
    test_computes: bool = False
    heredocs: list[_Heredoc] = field(default_factory=list)


_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%^~?*+=!{\[\]-]+")
_SEPARATORS = frozenset(" \t\n;&|()<>")
_LEADING = frozenset({"if", "then", "elif", "else", "do", "while", "until", "{", "!", "time", "coproc"})
_COMPUTING = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_ARRAY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_DELIMITER = re.compile(
    r"""[ \t]*((?:[A-Za-z0-9_.!+,:@%^=-]|'[^'\n\0]*'|"[^"\n$`\\\0]*"|\\[A-Za-z0-9_])++)(?=[\s;&|<>()]|\Z)"""
)

_AFTER_BACKSLASH = "a backslash stands right before it"
_IN_BRACES = "it is inside a ${...} of the shell"
_IN_BACKTICKS = "it is inside backticks; write $( ) instead"
_IN_QUOTED_HEREDOC = "it is in a heredoc whose end word is quoted, which the shell leaves as it is"
_IN_DOLLAR_QUOTES = "it is inside $'...'"


def find_places(text: str) -> tuple[list[Place], str]:
    """The places of all marks in the shell text, in order, and what is wrong with the text (empty: nothing)."""
    reader = _Reader(text)
    reader.read_commands(closing="")
    unread = Place(Context.REFUSED, reader.doubt)
    positions = (found.start() for found in re.finditer(MARK, text))
    return [reader.places.get(position, unread) for position in positions], reader.fault


class _Reader:
    """Moves over the text once. `doubt` is why nothing after it is certain; `fault` what no shell would accept."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.end = len(text)
        self.places: dict[int, Place] = {}
        self.doubt = ""
        self.fault = ""
        self.refusal = ""
        self.integers_only = False
        self.substitutions = 0
        self.nesting = 0

    # --- places

    def mark(self, context: Context) -> None:
        if reason := self.doubt or self.refusal:
            self.refuse(reason)
            return
        self.places[self.position] = Place(context, integers_only=self.integers_only)
        self.position += 1

    def refuse(self, reason: str) -> None:
        self.places[self.position] = Place(Context.REFUSED, self.doubt or reason)
        self.position += 1

    def doubt_from_here(self, reason: str) -> None:
        self.doubt = self.doubt or f"{reason}, and from there on the quoting is not certain"

    def run_out(self, what: str) -> None:
        if not self.doubt:
            self.fault = f"{what} is not closed"
        self.doubt_from_here(f"{what} is not closed")

    @contextmanager
    def inside(self, *, refusal: str = "", integers_only: bool = False, substitution: bool = False) -> Iterator[None]:
        before = (self.refusal, self.integers_only)
        self.refusal = self.refusal or refusal
        self.integers_only = self.integers_only or integers_only
        self.substitutions += substitution
        self.nesting += 1
        if self.nesting > NESTING_LIMIT:
            self.doubt_from_here("the shell text is nested too deeply")
            self.position = self.end
        yield
        self.nesting -= 1
        self.substitutions -= substitution
        self.refusal, self.integers_only = before

    # --- characters

    @property
    def char(self) -> str:
        return self.text[self.position]

    def is_next(self, text: str) -> bool:
        return self.text.startswith(text, self.position, self.end)

    def peek(self, distance: int) -> str:
        place = self.position + distance
        return self.text[place] if 0 <= place < self.end else ""

    def skip(self, count: int) -> None:
        self.position = min(self.position + count, self.end)

    def close(self, closing: str, what: str) -> None:
        if self.position >= self.end:
            self.run_out(what)
        self.skip(len(closing))

    # --- commands

    def read_commands(self, closing: str) -> None:
        """Reads up to the closing parenthesis and over it, or to the end when there is none to wait for."""
        frame = _Frame()
        while self.position < self.end:
            if closing and self.char == closing and frame.test_start is None:
                break
            self.read_command_part(frame)
        self.end_word(frame)
        self.end_test(frame)
        if frame.heredocs and closing:
            self.doubt_from_here("a ) comes before the lines of a heredoc")
        if closing:
            self.close(closing, "a (")

    def read_command_part(self, frame: _Frame) -> None:
        start, char = self.position, self.char
        if char in _SEPARATORS:
            self.read_separator(frame, self.end_word(frame))
        else:
            self.read_word_part(frame)
        if frame.heredocs and char != "\n" and "\n" in self.text[start : self.position]:
            self.doubt_from_here("a line with a heredoc goes on in the next line")

    def read_word_part(self, frame: _Frame) -> None:
        if frame.word_start is None and self.char == "#":
            self.read_comment()
            return
        if self.is_next("\\\n"):
            self.read_escape()
            return
        if frame.word_start is None:
            frame.word_start = self.position
        with self.inside(integers_only=self.is_in_subscript(frame.word_start)):
            self.read_quotable()

    def read_quotable(self) -> None:
        readers: dict[str, Callable[[], None]] = {
            "\\": self.read_escape,
            "'": self.read_single,
            '"': self.read_double,
            "`": self.read_backticks,
            "$": self.read_dollar,
            MARK: lambda: self.mark(Context.BARE),
        }
        if self.position >= self.end:
            return
        if reader := readers.get(self.char):
            reader()
            return
        plain = _PLAIN.match(self.text, self.position, self.end)
        self.position = plain.end() if plain else self.position + 1

    def is_in_subscript(self, word_start: int) -> bool:
        """Whether the word has an open `[`: bash computes what stands in the subscript of an array."""
        opening = self.text.rfind("[", word_start, self.position)
        return opening >= 0 and self.text.find("]", opening, self.position) < 0

    def end_word(self, frame: _Frame) -> str:
        """Takes note of the word that ends here; gives it, or nothing when there is none."""
        if frame.word_start is None:
            return ""
        word = self.text[frame.word_start : self.position]
        if word == "case" and self.substitutions:
            self.doubt_from_here("there is a `case` inside $( )")
        if word == "[[" and frame.at_command:
            frame.test_start = self.position
        if word == "]]":
            self.end_test(frame)
        if frame.test_start is not None and word in _COMPUTING:
            frame.test_computes = True
        frame.word_start = None
        frame.at_command = word in _LEADING
        return word

    def end_test(self, frame: _Frame) -> None:
        """In `[[ a -eq b ]]` bash computes both sides, so that text there could run commands."""
        if frame.test_computes and frame.test_start is not None:
            for position in [place for place in self.places if place > frame.test_start]:
                place = self.places[position]
                self.places[position] = Place(place.context, place.reason, integers_only=True)
        frame.test_start, frame.test_computes = None, False

    def read_separator(self, frame: _Frame, word: str) -> None:
        char = self.char
        if char not in " \t":
            frame.at_command = char not in "<>"
        if char == "\n":
            self.position += 1
            self.read_heredocs(frame)
        elif char in "<>":
            self.read_redirection(frame)
        elif char == "(" and frame.test_start is None:
            self.read_parenthesis(word)
        else:
            self.position += 1

    def read_parenthesis(self, word: str) -> None:
        if self.is_next("()"):
            self.position += 2
            return
        if self.is_next("((") and not word:
            self.position += 2
            self.read_arithmetic()
            return
        if word and not _ARRAY.fullmatch(word):
            self.doubt_from_here("there is a ( in the middle of a word")
        self.read_nested(1)

    def read_nested(self, opening: int) -> None:
        """Reads commands in parentheses, after an opening of so many characters."""
        self.position += opening
        with self.inside():
            self.read_commands(closing=")")

    def read_comment(self) -> None:
        while self.position < self.end and self.char != "\n":
            if self.char == MARK:
                self.mark(Context.COMMENT)
            else:
                self.position += 1

    # --- quotes

    def read_escape(self) -> None:
        if self.peek(1) == "\n" and self.peek(-1) not in ("", " ", "\t", "\n", ";", "&", "|"):
            self.doubt_from_here("a line goes on in the middle of a word")
        self.skip_escaped()

    def read_quoted_escape(self) -> None:
        if self.peek(1) == "\n" and self.peek(-1) in ("$", "(", "{"):
            self.doubt_from_here("a line goes on after a $")
        self.skip_escaped()

    def skip_escaped(self) -> None:
        if self.peek(1) == MARK:
            self.position += 1
            self.refuse(_AFTER_BACKSLASH)
        else:
            self.skip(2)

    def read_single(self) -> None:
        self.position += 1
        while self.position < self.end and self.char != "'":
            if self.char == MARK:
                self.mark(Context.SINGLE)
            else:
                self.position += 1
        self.close("'", "a '")

    def read_double(self) -> None:
        self.position += 1
        with self.inside():
            while self.position < self.end and self.char != '"':
                self.read_in_double(Context.DOUBLE)
        self.close('"', 'a "')

    def read_in_double(self, context: Context) -> None:
        """One step in text where only the backslash, `$` and backticks are special."""
        match self.char:
            case "\\":
                self.read_quoted_escape()
            case "$":
                self.read_quoted_dollar()
            case "`":
                self.read_backticks()
            case "\0":
                self.mark(context)
            case _:
                self.position += 1

    def read_backticks(self) -> None:
        self.position += 1
        while self.position < self.end and self.char != "`":
            if self.char == MARK:
                self.refuse(_IN_BACKTICKS)
            else:
                self.skip(2 if self.char == "\\" and self.peek(1) != MARK else 1)
        self.close("`", "a `")

    # --- what a $ begins

    def read_dollar(self) -> None:
        if self.is_next("${"):
            self.read_braces()
        elif self.is_next("$'"):
            self.read_dollar_quotes()
        else:
            self.read_expansion()

    def read_quoted_dollar(self) -> None:
        if self.is_next("${"):
            self.read_quoted_braces()
        else:
            self.read_expansion()

    def read_expansion(self) -> None:
        """What reads the same with and without quotes around it."""
        if self.is_next("$(("):
            self.position += 3
            self.read_arithmetic()
        elif self.is_next("$("):
            with self.inside(substitution=True):
                self.read_nested(2)
        elif self.is_next("$["):
            self.doubt_from_here("there is a $[ ], which not all shells know")
            self.position += 2
        else:
            if self.peek(1) == "$" and self.peek(2) in ("(", "{", "[", "'"):
                self.doubt_from_here("what comes right after $$ is read in two ways")
            self.position += 1

    def read_arithmetic(self) -> None:
        """Reads up to `))` and over it."""
        depth = 0
        with self.inside(integers_only=True):
            while self.position < self.end and not (depth == 0 and self.char == ")"):
                depth += {"(": 1, ")": -1}.get(self.char, 0)
                if self.char in "'\n":
                    self.doubt_from_here("arithmetic has quotes or several lines")
                self.read_in_double(Context.ARITHMETIC)
        if self.position < self.end and not self.is_next("))"):
            self.doubt_from_here("a (( can be arithmetic or commands; write ( ( for commands")
        self.close("))", "a ((")

    def read_braces(self) -> None:
        self.position += 2
        with self.inside(refusal=_IN_BRACES):
            while self.position < self.end and self.char != "}":
                self.read_quotable()
        self.close("}", "a ${")

    def read_quoted_braces(self) -> None:
        self.position += 2
        with self.inside(refusal=_IN_BRACES):
            while self.position < self.end and self.char != "}":
                if self.char in "'\"":
                    self.doubt_from_here("there are quotes inside a quoted ${...}")
                self.read_in_double(Context.DOUBLE)
        self.close("}", "a ${")

    def read_dollar_quotes(self) -> None:
        self.position += 2
        while self.position < self.end and self.char != "'":
            if self.is_next("\\'"):
                self.doubt_from_here("there is a \\' inside $'...'")
            if self.char == MARK:
                self.refuse(_IN_DOLLAR_QUOTES)
            else:
                self.skip(2 if self.char == "\\" and self.peek(1) != MARK else 1)
        self.close("'", "a $'")

    # --- redirections and heredocs

    def read_redirection(self, frame: _Frame) -> None:
        start = self.position
        if self.is_next("<(") or self.is_next(">("):
            self.read_nested(2)
            frame.word_start = start
        elif self.is_next("<<<"):
            self.position += 3
        elif self.is_next("<<"):
            self.read_heredoc_start(frame)
        else:
            self.position += 1

    def read_heredoc_start(self, frame: _Frame) -> None:
        strips_tabs = self.is_next("<<-")
        self.position += 3 if strips_tabs else 2
        found = _DELIMITER.match(self.text, self.position, self.end)
        if found is None:
            self.doubt_from_here("the end word of a heredoc is no simple word")
            return
        word = re.sub(r"['\"\\]", "", found[1])
        frame.heredocs.append(_Heredoc(word, word != found[1], strips_tabs))
        self.position = found.end()

    def read_heredocs(self, frame: _Frame) -> None:
        waiting, frame.heredocs = frame.heredocs, []
        for heredoc in waiting:
            self.read_heredoc(heredoc)

    def read_heredoc(self, heredoc: _Heredoc) -> None:
        body_end, after = self.find_heredoc_end(heredoc)
        end, self.end = self.end, body_end
        with self.inside(refusal=_IN_QUOTED_HEREDOC if heredoc.is_quoted else ""):
            while self.position < self.end:
                if not heredoc.is_quoted or self.char == MARK:
                    self.read_in_double(Context.HEREDOC)
                else:
                    self.position += 1
        self.end, self.position = end, after

    def find_heredoc_end(self, heredoc: _Heredoc) -> tuple[int, int]:
        """Where the lines of the heredoc end, and where the line after its end word begins."""
        start = self.position
        while start < self.end:
            stop = self.text.find("\n", start, self.end)
            stop = self.end if stop < 0 else stop
            line = self.text[start:stop].lstrip("\t") if heredoc.strips_tabs else self.text[start:stop]
            if line == heredoc.word:
                if self.text.endswith("\\\n", self.position, start) and not heredoc.is_quoted:
                    self.doubt_from_here("a line before the end word of a heredoc goes on in the next line")
                return start, min(stop + 1, self.end)
            start = stop + 1
        return self.end, self.end
