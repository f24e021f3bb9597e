"""Drafts: copies of files that a person edits. A draft stays on disk until it is discarded, so no text is ever lost."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp

from dagtasks.errors import InvalidInput
from dagtasks.store.files import read_file, write_file
from dagtasks.store.git import run_editor
from dagtasks.store.project import Project


class Draft:
    """A copy of what a file holds, below Git's folder; outside of Git in one for temporary files."""

    def __init__(self, project: Project, name: str, content: bytes) -> None:
        self._root = project.root
        folder = project.git.state_dir / "drafts" if project.git else Path(mkdtemp(prefix="dagtasks-"))
        self.path = folder / f"{name}.{token_hex(3)}.yaml"
        write_file(self.path, content)

    def edit(self) -> bytes:
        """Let the user edit the draft and return what it holds then.

        Raises `GitError` when there is no editor or it fails, `InvalidInput` when it leaves no file.
        """
        run_editor(self.path, self._root)
        return self.read()

    def read(self) -> bytes:
        """What the draft holds now. Raises `InvalidInput`."""
        try:
            return read_file(self.path)
        except OSError as error:
            raise InvalidInput(f"the editor left no file that can be read: {error.strerror}") from None

    def discard(self) -> None:
        """Remove the draft."""
        self.path.unlink(missing_ok=True)
