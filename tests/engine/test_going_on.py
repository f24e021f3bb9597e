"""Approvals, waiting, going on in another process, retrying, and taking turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from running import NOW, Engine, Ran, plan_of

from dagtasks.engine.desk import Answer
from dagtasks.engine.scheduler import make_earlier
from dagtasks.model.run import RunChanged, RunFinished, RunRecord, StepChanged, StepStarted


def container(name: str, command: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "container": {"image": "alpine", "command": command}, **fields}


def approval(name: str = "ok", **fields: Any) -> dict[str, Any]:
    return {"name": name, "approval": {"message": "Go on?", **fields}}


def yes(**parameters: Any) -> Answer:
    return Answer(True, "bo@example.org", "2026-11-25T10:00:00.000+00:00", "fine", parameters)


def states(ran: Ran) -> dict[str, str]:
    return {step.name: str(step.state) for step in ran.record.steps}


def go_on(engine: Engine, case: dict[str, Any], before: RunRecord, **options: Any) -> Ran:
    plan = plan_of(case)
    earlier = replace(make_earlier(before, plan, lambda digest: True), continues=True)
    return engine.perform(case, earlier=earlier, record=before, **options)


# -- approvals ------------------------------------------------------------------------------------------------------


def test_an_answer_lets_the_run_go_on(local: Engine) -> None:
    case = {"template": {"steps": [approval(), container("use", "echo ${steps.ok.outputs.version}")]}}
    ran = local.perform(case, find_answer=lambda run, step: yes(version="1.2"))
    assert (ran.record.status, ran.step("use").output) == ("succeeded", "1.2")
    assert ran.step("ok").approval == {
        "message": "Go on?",
        "approvers": [],
        "parameters": {},
        "approved": True,
        "by": "bo@example.org",
        "at": "2026-11-25T10:00:00.000+00:00",
        "reason": "fine",
    }
    changes = [str(event.status) for event in ran.events if isinstance(event, RunChanged)]
    assert changes == ["waiting", "running"]


def test_a_no_fails_the_step(local: Engine) -> None:
    case = {"template": {"steps": [approval(), container("use", "true")]}}
    no = Answer(False, "bo@example.org", "", "not today")
    ran = local.perform(case, find_answer=lambda run, step: no)
    error = ran.step("ok").error
    assert states(ran) == {"ok": "failed", "use": "omitted"}
    assert error
    assert (error.code, error.message) == ("rejected", "rejected by bo@example.org: not today")


@pytest.mark.parametrize(("on_timeout", "state"), [("reject", "failed"), ("approve", "succeeded")])
def test_silence_is_an_answer_after_the_limit(local: Engine, on_timeout: str, state: str) -> None:
    case = {"template": {"timeout": "500ms", "steps": [approval(timeout="1s", on_timeout=on_timeout)]}}
    moments = iter([NOW.replace(second=second) for second in range(50)])
    ran = local.perform(case, now=lambda: next(moments))
    assert ran.step("ok").state == state
    assert ran.record.status == state  # the time of the run stands still meanwhile


def test_an_approval_without_a_limit_counts_as_time_of_the_run(local: Engine) -> None:
    ran = local.perform({"template": {"timeout": "400ms", "steps": [approval()]}})
    assert (ran.record.status, ran.step("ok").state) == ("timed_out", "timed_out")


def test_a_run_that_does_not_wait_is_left_as_it_is_and_goes_on_later(local: Engine) -> None:
    steps = [
        container("before", "echo once"),
        approval(),
        container("after", "echo ${steps.before.output} ${steps.ok.outputs.n}"),
    ]
    cleanup = [container("cleanup", "echo ${run.status}")]
    case = {"template": {"steps": steps, "finally": cleanup}}
    parked = local.perform(case, waits=False)
    assert (parked.record.status, parked.record.process) == ("waiting", {})
    assert states(parked) == {"before": "succeeded", "ok": "waiting", "after": "pending", "cleanup": "pending"}
    assert not any(isinstance(event, RunFinished) for event in parked.events)

    still = go_on(local, case, parked.record, waits=False)
    assert still.record.status == "waiting"

    done = go_on(local, case, still.record, find_answer=lambda run, step: yes(n=7))
    assert done.record.status == "succeeded"
    assert done.step("after").output == "once 7"
    assert [event.step for event in done.events if isinstance(event, StepStarted)] == ["ok", "after", "cleanup"]
    assert done.record.id == parked.record.id


def test_other_branches_go_on_while_one_waits(local: Engine) -> None:
    steps = [
        {**approval(), "depends_on": []},
        container("beside", "echo done", depends_on=[]),
        container("after", "true", depends_on=["ok"]),
    ]
    parked = local.perform({"template": {"steps": steps}}, waits=False)
    assert states(parked) == {"ok": "waiting", "beside": "succeeded", "after": "pending"}


def test_each_approval_of_a_loop_is_answered_on_its_own(local: Engine) -> None:
    ask = {"name": "ok", "foreach": ["a", "b"], "approval": {"message": "Deploy to ${item}?"}}
    case = {"template": {"steps": [ask, container("after", "true")]}}
    parked = local.perform(case, waits=False, find_answer=lambda run, step: yes() if step == "ok[0]" else None)
    assert parked.record.status == "waiting"
    assert [(item.state, item.approval and item.approval["message"]) for item in parked.step("ok").items] == [
        ("succeeded", "Deploy to a?"),
        ("waiting", "Deploy to b?"),
    ]
    asked: list[str] = []

    def find_answer(run: str, step: str) -> Answer:
        asked.append(step)
        return yes()

    done = go_on(local, case, parked.record, find_answer=find_answer)
    assert (done.record.status, asked) == ("succeeded", ["ok[1]"])


def test_a_child_that_waits_parks_its_parent(local: Engine) -> None:
    inner = {
        "steps": [container("first", "echo first"), approval(), container("last", "echo ${steps.first.output} last")],
        "outputs": {"said": {"value": "${steps.last.output}"}},
    }
    call = {"name": "call", "workflow": {"template": "inner"}}
    case = {
        "templates": {"inner": inner},
        "template": {"steps": [call, container("use", "echo ${steps.call.outputs.said}")]},
    }
    parked = local.perform(case, waits=False)
    waiting = parked.step("call")
    assert (parked.record.status, waiting.state, waiting.error and waiting.error.code) == (
        "waiting",
        "waiting",
        "approval",
    )
    assert waiting.child
    child = parked.whole(waiting.child)
    assert (child.status, child.parent) == ("waiting", parked.record.id)

    done = go_on(local, case, parked.record, find_answer=lambda run, step: yes(), find_record=lambda run: child)
    assert (done.record.status, done.step("use").output) == ("succeeded", "first last")
    assert done.step("call").child == child.id
    assert [e.step for e in done.events if isinstance(e, StepStarted)] == ["call", "ok", "last", "use"]


def test_a_run_that_waited_can_be_cancelled(local: Engine) -> None:
    case = {
        "template": {
            "steps": [approval(), container("after", "true")],
            "finally": [container("end", "echo ${run.status}")],
        }
    }
    parked = local.perform(case, waits=False)
    plan = plan_of(case)
    earlier = replace(make_earlier(parked.record, plan, lambda digest: True), continues=True, is_cancelled=True)
    ran = local.perform(case, earlier=earlier, record=parked.record)
    assert ran.record.status == "cancelled"
    assert states(ran) == {"ok": "omitted", "after": "omitted", "end": "succeeded"}
    assert ran.step("end").output == "cancelled"


# -- retrying a run -------------------------------------------------------------------------------------------------


def retry(engine: Engine, case: dict[str, Any], before: Ran, **changes: Any) -> Ran:
    plan = plan_of(case)
    earlier = replace(make_earlier(before.record, plan, lambda digest: True), **changes)
    return engine.perform(case, earlier=earlier, find_record=lambda run: before.whole(run))


def started(ran: Ran) -> list[str]:
    return [event.step for event in ran.events if isinstance(event, StepStarted)]


def test_a_retry_takes_over_what_succeeded(local: Engine) -> None:
    steps = [
        container("a", "echo $DT_RUN"),
        container("b", "test ${flag} = yes"),
        container("c", "echo ${steps.a.output}"),
    ]
    template = {"parameters": {"flag": {"type": "string", "default": "no"}}, "steps": steps}
    first = local.perform({"template": template})
    assert states(first) == {"a": "succeeded", "b": "failed", "c": "omitted"}
    second = retry(local, {"template": template, "parameters": {"flag": "yes"}}, first)
    assert (second.record.status, started(second)) == ("succeeded", ["b", "c"])
    assert second.step("c").output == first.step("a").output
    assert second.step("a").reused_from == first.record.id
    third = retry(local, {"template": template, "parameters": {"flag": "yes"}}, second)
    assert (started(third), third.step("a").reused_from) == ([], first.record.id)


def test_all_that_comes_after_a_step_that_is_done_again_is_done_again(local: Engine) -> None:
    steps = [
        container("a", "exit 1", depends_on=[]),
        container("b", "true", depends_on=["a"], **{"if": "always()"}),
        container("c", "true", depends_on=[]),
    ]
    case = {"template": {"fail_fast": False, "steps": steps}}
    first = local.perform(case)
    assert states(first) == {"a": "failed", "b": "succeeded", "c": "succeeded"}
    assert started(retry(local, case, first)) == ["a", "b"]


def test_tolerated_failures_and_finally_are_done_again(local: Engine) -> None:
    steps = [container("a", "exit 1", continue_on_error=True), container("b", "true")]
    case = {"template": {"steps": steps, "finally": [container("end", "true")]}}
    first = local.perform(case)
    assert first.record.status == "succeeded"
    assert started(retry(local, case, first)) == ["a", "b", "end"]


def test_only_bad_items_are_done_again(local: Engine) -> None:
    step = container("a", "test ${item} != ${bad} && echo ${item}", foreach=["x", "y", "z"], fail_fast=False)
    template = {"parameters": {"bad": {"type": "string", "default": "y"}}, "steps": [step]}
    first = local.perform({"template": template})
    second = retry(local, {"template": template, "parameters": {"bad": "none"}}, first)
    assert (second.record.status, started(second)) == ("succeeded", ["a", "a[1]"])
    assert [item.output for item in second.step("a").items] == ["x", "y", "z"]
    assert [item.reused_from for item in second.step("a").items] == [first.record.id, None, first.record.id]


def test_a_child_run_takes_over_what_succeeded_in_it(local: Engine) -> None:
    inner = {
        "parameters": {"ok": {"type": "boolean"}},
        "steps": [container("one", "echo $DT_RUN"), container("two", "${'test'} ${ok} = true")],
    }
    call = {"name": "call", "workflow": {"template": "inner", "parameters": {"ok": "${ok}"}}}
    template = {"parameters": {"ok": {"type": "boolean", "default": False}}, "steps": [call]}
    templates = {"inner": inner}
    first = local.perform({"template": template, "templates": templates})
    assert first.record.status == "failed"
    second = retry(local, {"template": template, "templates": templates, "parameters": {"ok": True}}, first)
    assert (second.record.status, started(second)) == ("succeeded", ["call", "two"])
    [child] = second.children.values()
    assert child.retry_of == first.step("call").child


def test_with_other_parameters_a_step_that_would_do_something_else_is_done_again(local: Engine) -> None:
    steps = [
        container("same", "echo same", depends_on=[]),
        container("other", "echo ${v}", depends_on=[]),
        container("loop", "echo ${item}", depends_on=[], foreach=["a", "b"]),
        container("others", "echo ${item} ${v}", depends_on=[], foreach=["a", "b"]),
        container("bad", "exit 1", depends_on=["same", "other", "loop", "others"]),
    ]
    template = {"parameters": {"v": {"type": "string", "default": "one"}}, "steps": steps}
    first = local.perform({"template": template})
    again = retry(local, {"template": template, "parameters": {"v": "two"}}, first, checks_inputs=True)
    assert [name for name in started(again) if "[" not in name] == ["other", "others", "bad"]


# -- turns ----------------------------------------------------------------------------------------------------------


class Line:
    """Whose turn has come, by hand."""

    def __init__(self, *, free: bool) -> None:
        self.free = free
        self.left = 0

    def has_come(self) -> bool:
        return self.free

    def leave(self) -> None:
        self.left += 1


@pytest.mark.parametrize("whole_run", [False, True])
def test_waiting_for_a_turn(local: Engine, *, whole_run: bool) -> None:
    line = Line(free=False)
    taken: list[tuple[str, int]] = []
    group = {"group": "deploy-${where}", "limit": 2}
    template: dict[str, Any] = {"parameters": {"where": {"type": "string", "default": "eu"}}}
    template["steps"] = [container("a", "true", **({} if whole_run else {"concurrency": group}))]
    if whole_run:
        template["concurrency"] = group

    def take(name: str, limit: int) -> Line:
        taken.append((name, limit))
        return line

    def free(event: object) -> None:
        if isinstance(event, RunChanged) and event.status == "waiting":
            line.free = True

    ran = local.perform({"template": template}, take_turn=take, listeners=(free,))
    assert (ran.record.status, taken, line.left) == ("succeeded", [("deploy-eu", 2)], 1)
    assert any(isinstance(event, StepChanged) for event in ran.events) is not whole_run


@pytest.mark.parametrize("whole_run", [False, True])
def test_a_group_that_rejects(local: Engine, *, whole_run: bool) -> None:
    group = {"concurrency": {"group": "g", "on_conflict": "reject"}}
    template = {"steps": [container("a", "true", **({} if whole_run else group))], **(group if whole_run else {})}
    ran = local.perform({"template": template}, take_turn=lambda name, limit: Line(free=False))
    assert ran.record.status == "failed"
    assert ran.record.error
    assert ran.record.error.code == "rejected"
    assert ran.step("a").state == ("pending" if whole_run else "failed")


def test_a_step_that_waits_for_its_turn_holds_no_place(local: Engine) -> None:
    line = Line(free=False)
    steps = [
        container("waits", "true", depends_on=[], concurrency={"group": "g"}),
        container("works", "true", depends_on=[]),
    ]

    def free(event: object) -> None:
        if isinstance(event, StepStarted) and event.step == "works":
            line.free = True

    case = {"template": {"max_parallel": 1, "steps": steps}}
    ran = local.perform(case, take_turn=lambda name, limit: line, listeners=(free,))
    assert (ran.record.status, started(ran)) == ("succeeded", ["works", "waits"])


# -- secrets --------------------------------------------------------------------------------------------------------


def test_secrets_are_masked_in_all_that_is_told(local: Engine) -> None:
    command = "echo begin-$TOKEN-end; echo $TOKEN | base64 >&2; exit 3"
    step = container("a", command, env={"TOKEN": "${secrets.TOKEN}"})
    case = {"template": {"secrets": ["TOKEN"], "steps": [step]}}
    ran = local.perform(case, secrets={"TOKEN": "correct-horse"})
    assert ran.step("a").output == "begin-***-end"
    told = repr(ran.events) + repr(ran.record)
    assert "correct-horse" not in told
    assert "Y29ycmVjdC1ob3JzZ" not in told


def test_an_output_that_is_read_must_hold_no_secret(local: Engine) -> None:
    steps = [container("a", "echo $TOKEN", env={"TOKEN": "${secrets.TOKEN}"}), container("b", "echo ${steps.a.output}")]
    ran = local.perform({"template": {"secrets": ["TOKEN"], "steps": steps}}, secrets={"TOKEN": "correct-horse"})
    error = ran.step("a").error
    assert (ran.step("a").state, error and error.code) == ("errored", "secret_in_output")
    assert "correct-horse" not in repr(ran.events)


def test_a_sensitive_output_is_read_and_masked(local: Engine) -> None:
    first = container("a", "echo made-up-token", outputs={"token": {"sensitive": True}})
    steps = [
        first,
        container("b", "test ${steps.a.outputs.token} = made-up-token && echo got ${steps.a.outputs.token}"),
    ]
    ran = local.perform({"template": {"steps": steps}})
    assert ran.record.status == "succeeded"
    assert ran.step("b").output == "got ***"
    assert ran.step("a").outputs == {"token": "***"}
    case = {"template": {"steps": steps}}
    assert started(retry(local, case, ran)) == ["a", "b"]  # what was hidden cannot be taken over


def test_a_sensitive_output_that_is_still_needed_is_made_again(local: Engine) -> None:
    use = container("use", "test ${steps.a.outputs.token} = made-up-token")
    steps = [container("a", "echo made-up-token", outputs={"token": {"sensitive": True}}), container("b", "true")]
    for following, again in ((use, ["a", "ok", "use"]), (container("c", "true"), ["ok", "c"])):
        case = {"template": {"steps": [*steps, approval(), following]}}
        before = local.perform(case, waits=False).record
        assert before.status == "waiting"
        ran = go_on(local, case, before, find_answer=lambda run, step: yes())
        assert (ran.record.status, started(ran)) == ("succeeded", again)


def test_a_sensitive_parameter_is_hidden(local: Engine) -> None:
    template = {
        "parameters": {"token": {"type": "string", "sensitive": True}, "open": {"type": "string", "default": "x"}},
        "steps": [container("a", "echo $T", env={"T": "${token}"})],
    }
    case = {"template": template, "parameters": {"token": "correct-horse"}}
    assert plan_of(case).parameters == {"token": "***", "open": "x"}
    ran = local.perform(case)
    assert ran.step("a").output == "***"
    assert "correct-horse" not in repr(ran.events)


def test_a_child_gets_only_the_secrets_that_are_handed_down(local: Engine) -> None:
    inner = {
        "secrets": ["TOKEN"],
        "steps": [container("say", 'test -n "$T" && echo yes', env={"T": "${secrets.TOKEN}"})],
    }
    call: dict[str, Any] = {"name": "call", "workflow": {"template": "inner", "secrets": ["TOKEN"]}}
    case = {"templates": {"inner": inner}, "template": {"secrets": ["TOKEN"], "steps": [call]}}
    assert local.perform(case, secrets={"TOKEN": "correct-horse"}).record.status == "succeeded"
    call["workflow"]["secrets"] = []
    ran = local.perform(case, secrets={"TOKEN": "correct-horse"})
    error = ran.step("call").error
    assert error
    assert (error.code, error.message) == (
        "secret_missing",
        "the template wants TOKEN, which was not handed down to it",
    )


def test_a_digest_of_what_is_asked_tells_nothing_of_a_secret(local: Engine) -> None:
    step = container("a", "true", env={"TOKEN": "${secrets.TOKEN}"})
    call = {"name": "b", "api": {"url": "http://127.0.0.1:9/", "headers": {"X-Key": "${secrets.TOKEN}"}}}
    case = {"template": {"secrets": ["TOKEN"], "fail_fast": False, "steps": [step, {**call, "if": "always()"}]}}
    runs = [local.perform(case, secrets={"TOKEN": token}) for token in ("correct-horse", "battery-staple")]
    assert [step.inputs for step in runs[0].record.steps] == [step.inputs for step in runs[1].record.steps]
