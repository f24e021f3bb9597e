"""What is wrong with a few files: found again only when one of them has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagtasks.errors import Problem
from dagtasks.store.cache import Cache
from dagtasks.store.records import Key, pack, unpack_problem
from dagtasks.store.scanning import look_at


def remember_problems(
    cache: Cache, name: str, files: Sequence[Path], find: Callable[[], Sequence[Problem]]
) -> list[Problem]:
    """What `find` finds in these files; under that name the cache keeps it until one of them changes."""
    begun = time.time_ns()
    keys = {str(path): look_at(path) for path in files}
    known: Any = cache.value(name)
    if known and known[0] == keys:
        return [unpack_problem(problem) for problem in known[1]]
    problems = [*find()]
    if _are_trusted(cache, keys, begun):
        cache.store_value(name, (keys, pack(problems)))
    return problems


def _are_trusted(cache: Cache, keys: Mapping[str, Key | None], begun: int) -> bool:
    """Whether the keys will show every change. That there is no file needs no proof: one that comes has a key."""
    return all(
        max(key[1:3]) < cache.trusted_before(Path(path).parent, begun) for path, key in keys.items() if key is not None
    )
