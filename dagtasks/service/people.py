"""Who does something: assignees and authors are free text, and agents are written `agent:NAME`."""

from __future__ import annotations

import getpass

from dagtasks.errors import InvalidInput
from dagtasks.store.project import Project


def name_or_me(project: Project, given: str | None) -> str:
    """The given name, else the name with which Git would commit here. Raises `InvalidInput` when there is none."""
    if given is not None:
        return given
    # Git would make a name up of the machine's; nobody should find a task taken by `root`.
    identity = project.git.find("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT") if project.git else None
    if not identity:
        raise InvalidInput("who does this? Git knows no name", hint="say --as NAME, or set user.name and user.email")
    return identity.rpartition(" <")[0]


def actor(project: Project) -> str:
    """Who runs or approves something: Git's user, else the user of the machine."""
    email = project.git.find("config", "user.email") if project.git else None
    return email or getpass.getuser()
