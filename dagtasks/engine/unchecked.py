"""Imports without the checks of types that beartype makes at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unchecked() -> Iterator[None]:
    """What is imported in the block does without the decorators of beartype.

    The Dagger SDK decorates some thousand methods, which takes nearly half of its import, at each run. Its calls are
    checked by mypy here. What was imported before stays as it is.
    """
    import beartype

    decorator = beartype.beartype
    beartype.beartype = _leave_alone
    try:
        yield
    finally:
        beartype.beartype = decorator


def _leave_alone(*given: Any, **_: Any) -> Any:
    """In place of a decorator, with or without options."""
    return given[0] if given else _same


def _same(decorated: Callable[..., Any]) -> Callable[..., Any]:
    return decorated
