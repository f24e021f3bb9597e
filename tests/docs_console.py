"""The console examples of the documentation: reading them from Markdown, carrying them out, comparing what comes.

A block that is fenced as `console` holds commands after `$ ` and below each what it prints. Ids of tasks are made at
random, so the ids that a page shows are replaced by those that the same commands made here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```console[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TASK_ID = re.compile(r"\b[a-z][a-z0-9]{0,15}-[0-9a-hjkmnp-tv-z]{6}\b")
CHANGING = (
    (re.compile(r"\b\d{8}t\d{6}-[0-9a-z]{6}\b"), "RUN"),
    (re.compile(r"\b\d+(?:\.\d)?s\b|\b\d+m\d\ds\b"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)"), "MOMENT"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "MINUTE"),
    (re.compile(r"\b[0-9a-f]{10,64}\b"), "HASH"),
    (re.compile(r"^\d+ pages in "), "N pages in "),
    (re.compile(r"[ \t]+"), " "),
)
"""What differs from run to run, and how columns are aligned round it."""


FILE = re.compile(r'^```yaml title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
"""A file that a page shows whole, with its path in the repository."""


class Example(NamedTuple):
    """A command of a page and what the page says that it prints; `line` is the command's place in the page."""

    line: int
    command: str
    printed: str


def read_examples(text: str) -> Iterator[Example]:
    """The examples of a page, in order. A command goes on in the next line after a backslash."""
    for block in FENCE.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        yield from _examples_of(block[1], first)


def _examples_of(block: str, first: int) -> Iterator[Example]:
    starts = [place for place, line in enumerate(block.splitlines()) if line.startswith("$ ")]
    lines = block.splitlines()
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        stop = start + 1
        while lines[stop - 1].endswith("\\"):
            stop += 1
        command = "\n".join(lines[start:stop]).removeprefix("$ ")
        yield Example(first + start, command, "\n".join(lines[stop:end]).strip("\n"))


def read_files(text: str) -> dict[str, str]:
    """The files that a page shows whole, by path."""
    return {match[1]: match[2] for match in FILE.finditer(text)}


@dataclass
class Console:
    """A shell in a folder, which remembers where `cd` led and which ids stand for those of the page.

    `home` is the folder that pages call `~`.
    """

    folder: Path
    environ: Mapping[str, str]
    home: Path
    ids: dict[str, str] = field(default_factory=dict)

    def carry_out(self, example: Example) -> str:
        """What the example prints here (stdout and stderr as they come), in the words of the page."""
        command = TASK_ID.sub(lambda match: self.ids.get(match[0], match[0]), example.command)
        place = Path(self.environ["HOME"]) / "place"
        printed = self._run(f'{command}\nstatus=$?\npwd > "{place}"\nexit $status\n').stdout
        self.folder = Path(place.read_text().rstrip("\n"))
        self._learn(example.printed, printed)
        return self._in_words_of_page(printed)

    def succeeds(self, command: str) -> bool:
        """Whether the command ends with exit code 0."""
        return self._run(command).returncode == 0

    def _run(self, script: str) -> subprocess.CompletedProcess[str]:
        scripts = str(Path(sys.executable).parent)
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**self.environ, "PATH": f"{scripts}{os.pathsep}{self.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def _learn(self, shown: str, real: str) -> None:
        """Where the last line is an id and nothing else, as `task create` prints it, it tells which stands for which."""
        theirs, ours = (text.rstrip().rpartition("\n")[2] for text in (shown, real))
        if TASK_ID.fullmatch(theirs) and TASK_ID.fullmatch(ours):
            self.ids[theirs] = ours

    def _in_words_of_page(self, text: str) -> str:
        for theirs, ours in self.ids.items():
            text = text.replace(ours, theirs)
        return text.replace(f"{self.home}/", "~/").replace(str(self.home), "~").strip("\n")


def steady(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.splitlines())
