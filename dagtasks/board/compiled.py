"""Compiled templates, kept from one build to the next: to compile ours and the theme's takes half a second."""

from __future__ import annotations

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from dagtasks.store.project import Project

NAME = "board-templates"


class CompiledTemplates(BytecodeCache):
    """What the last build of this clone compiled. Jinja looks at the source before it takes one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        known = project.recall(NAME)
        self._known: dict[str, bytes] = known if isinstance(known, dict) else {}
        self._used: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take what is known of the template; Jinja compiles it where that is nothing, or of another text."""
        if code := self._known.get(bucket.key):
            bucket.bytecode_from_string(code)
            self._used[bucket.key] = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Take in what was compiled."""
        self._used[bucket.key] = bucket.bytecode_to_string()

    def keep(self) -> None:
        """Remember what was used, where that is not what was known."""
        if self._used != self._known:
            self._project.remember(NAME, self._used)
