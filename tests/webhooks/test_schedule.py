"""When a message is sent again: a table, with a clock that only the test moves."""

from __future__ import annotations

import pytest

from dagtasks.webhooks.schedule import Answer, Tries, after

DAY = 86_400
TAKEN, FAILED = Answer(200), Answer(500)


def test_a_message_is_tried_ten_times_at_the_times_of_the_table() -> None:
    now, tries, waits = 1000.0, Tries(), []
    while not tries.is_over:
        tries = after(tries, FAILED, now)
        waits.append(tries.next_at - now)
        now = tries.next_at
    assert waits == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, 0]
    assert (tries.tries, tries.failing_since, tries.disabled) == (10, 1000.0, "")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_what_is_taken_is_done_and_the_endpoint_fails_no_more(status: int) -> None:
    assert after(Tries(4, 99.0, 1.0), Answer(status), 100.0) == Tries()


@pytest.mark.parametrize("status", [0, 100, 199, 300, 301, 302, 304, 400, 401, 404, 408, 422, 429, 500, 503])
def test_all_else_is_tried_again(status: int) -> None:
    assert after(Tries(), Answer(status, "x" * (not status)), 100.0) == Tries(1, 105.0, 100.0)


@pytest.mark.parametrize(("asked", "wait"), [(None, 5), (0.0, 5), (4.0, 5), (60.0, 60), (3600.0, 3600)])
def test_a_receiver_may_ask_to_be_left_alone_for_longer(asked: float | None, wait: float) -> None:
    assert after(Tries(), Answer(503, retry_after=asked), 100.0).next_at == 100.0 + wait


def test_gone_disables_the_endpoint_at_once() -> None:
    assert "410" in after(Tries(), Answer(410), 100.0).disabled


@pytest.mark.parametrize(("failing_for", "is_disabled"), [(5 * DAY - 1, False), (5 * DAY, True), (9 * DAY, True)])
def test_five_days_of_failure_disable_the_endpoint(failing_for: float, is_disabled: bool) -> None:
    tries = after(Tries(2, 0.0, 1000.0), FAILED, 1000.0 + failing_for)
    assert bool(tries.disabled) == is_disabled
    assert not after(Tries(2, 0.0, 1000.0), TAKEN, 1000.0 + failing_for).disabled
