"""Asking a person whether something may run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dagtasks.planning.plan import Plan
    from dagtasks.service.trust import Asking


def make_asking(*, yes: bool) -> Asking:
    """Who says yes to a run: `--yes`, or a person at the terminal, or nobody."""
    from dagtasks.service.trust import Asking

    return Asking(yes, _ask if sys.stdin.isatty() else None)


def _ask(plan: Plan) -> None:
    """Show the plan and come back when the answer is yes; else the command is stopped."""
    from dagtasks.cli.progress import plan_text

    click.echo(plan_text(plan), err=True)
    gets = f" It gets {', '.join(plan.secrets)}." if plan.secrets else ""
    click.confirm(f"\nThis content has not run from here yet.{gets} Run it?", abort=True, err=True)
