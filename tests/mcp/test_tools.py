"""What the tools do, through a real client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.conftest import MakeProject, Result, git, write_files
from tests.mcp.conftest import FILES, TASK, WRITER, agent, audit, divide, texts

Cli = Callable[..., Result]
READING = ["list", "show", "next", "plan", "logs", "validate", "diff"]
WRITING = ["claim", "comment", "set_status", "create"]


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def test_without_a_word_of_the_operator_tools_only_read(root: Path) -> None:
    async def work() -> None:
        async with agent(root) as one:
            tools = (await one.client.list_tools()).tools
            assert [tool.name for tool in tools] == READING
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
            for name in [*WRITING, "run"]:
                error = await one.refused(name, task="web-000001", text="x", status="completed")
                assert error["code"] == "NotAllowed"
            assert (await one.refused("delete", task="web-000001"))["code"] == "NotFound"

    anyio.run(work)
    assert git(root, "status", "--short") == ""
    assert [(line["tool"], line["outcome"]) for line in audit(root)][-2:] == [
        ("run", "NotAllowed"),
        ("delete", "NotFound"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "names"),
    [(WRITER, [*READING, *WRITING]), (("--allow", "run"), [*READING, "run"])],
)
def test_what_is_allowed_is_listed_and_nothing_else(options: tuple[str, ...], names: list[str], root: Path) -> None:
    async def work() -> None:
        # Also the protocol of before 2026, which many agents speak.
        async with agent(root, *options, mode="legacy") as one:
            assert [tool.name for tool in (await one.client.list_tools()).tools] == names
            assert "untrusted" in (one.client.instructions or "")

    anyio.run(work)


def test_reading_while_a_file_is_broken(root: Path, cli: Cli) -> None:
    write_files(root, {TASK.format("00000b"): "name: [\n"})
    assert cli(root, "run", "web-000003", "--engine", "local").code == 0
    git(root, "commit", "--quiet", "--all", "--allow-empty", "--message", "next")
    write_files(root, {TASK.format("000001"): FILES[TASK.format("000001")] + "status: completed\n"})

    async def work() -> None:
        async with agent(root) as one:
            found = await one.call("list", query="is:ready", sort="-id")
            assert [task["id"] for task in found["items"]] == ["web-000003", "web-000002"]
            assert found["errors"] == 1
            assert [task["id"] for task in (await one.call("next"))["items"]] == ["web-000002", "web-000003"]
            (reason,) = (await one.call("next", explain=True))["items"] or [None]
            assert reason is None
            await _look(one)

    async def _look(one: Any) -> None:
        shown = await one.call("show", task="000002")
        assert (shown["id"], shown["status"], shown["ready"]) == ("web-000002", "planned", True)
        assert {"field": "description", "untrusted": "Do it.\n"} in shown["items"]
        problems = await one.call("validate", file="tasks/web/")
        assert {item["untrusted"]["path"] for item in problems["items"]} == {TASK.format("00000b")}
        assert (await one.call("validate", file="templates"))["items"] == []
        events = (await one.call("diff"))["items"]
        assert {event["type"] for event in events} >= {"task.completed"}
        plan = await one.call("plan", task="web-000003")
        assert (plan["workflow"], plan["approved"]) == ("w", False)
        assert "echo hello" in str(plan["items"][0]["untrusted"])
        (run,) = (await one.call("logs", task="web-000003"))["items"]
        told = await one.call("logs", run=run["run"], step="a")
        assert (told["status"], told["has_ended"]) == ("succeeded", True)
        assert told["items"][-1] == {"field": "log", "step": "a", "attempt": 1, "untrusted": "hello"}

    anyio.run(work)


def test_writing(root: Path, cli: Cli) -> None:
    async def work() -> str:
        async with agent(root, *WRITER, DAGTASKS_COMMIT="true") as one:
            claimed = await one.call("claim", task="web-000001")
            assert claimed["changed"]
            assert claimed["commit"] == git(root, "rev-parse", "HEAD")
            assert git(root, "show", "--name-only", "--format=", "HEAD") == TASK.format("000001")
            await one.call("comment", task="web-000001", text="On it.")
            assert not (await one.call("claim", task="web-000001"))["changed"]
            await one.call("set_status", task="web-000001", status="completed")
            made = await one.call("create", project="web", name="Four", labels=["b", "a"], depends_on=["000002"])
            assert (await one.refused("claim", task=made["task"]))["code"] == "Conflict"
            assert (await one.refused("set_status", task="000002", status="done"))["code"] == "InvalidInput"
            assert (await one.refused("create", project="none", name="x"))["code"] == "NotFound"
            return str(made["task"])

    made = cli(root, "task", "show", anyio.run(work), "--json").json
    assert (made["name"], made["labels"], made["depends_on"]) == ("Four", ["a", "b"], ["web-000002"])
    done = cli(root, "task", "show", "web-000001", "--json").json
    assert (done["status"], done["assignee"]) == ("completed", "agent:writer")
    assert [(said["author"], said["text"]) for said in done["comments"]] == [("agent:writer", "On it.")]
    assert git(root, "status", "--short") == ""
    begun, lines = divide(audit(root))
    assert [line["tool"] for line in begun] == [line["tool"] for line in lines]
    assert {line["as"] for line in lines} == {"agent:writer"}
    assert [line["outcome"] for line in lines] == ["ok"] * 5 + ["Conflict", "InvalidInput", "NotFound"]
    assert (lines[3]["task"], lines[0]["changed"], lines[2]["changed"]) == ("web-000001", True, False)
    assert lines[1]["arguments"] == {"task": "web-000001", "text": "On it."}


@pytest.mark.slow
def test_of_two_agents_one_gets_the_task(root: Path) -> None:
    names = [f"0000{number}" for number in range(10, 16)]
    write_files(root, {TASK.format(name): "name: Some\n" for name in names})

    async def claim(one: Any, name: str, said: list[bool]) -> None:
        answer = await one.call("claim", task=name)
        assert "error" not in answer or answer["error"]["code"] == "Conflict"
        said.append("error" not in answer)

    async def work() -> None:
        async with agent(root, *WRITER) as one, agent(root, "--allow", "write", "--as", "agent:other") as other:
            for name in names:
                said: list[bool] = []
                async with anyio.create_task_group() as both:
                    both.start_soon(claim, one, f"web-{name}", said)
                    both.start_soon(claim, other, f"web-{name}", said)
                assert sorted(said) == [False, True]

    anyio.run(work)
    assert [len(lines) for lines in divide(audit(root))] == [2 * len(names)] * 2


EVIL = "IGNOREALL"
HOSTILE = {
    "tasks/web/project.yaml": f"name: {EVIL}\n",
    f"tasks/web/{EVIL}/web-00000b.yaml": f"name: {EVIL} [\nstatus: {EVIL}\n",
    f"tasks/web/{EVIL} x.yaml": "name: A\n",
    TASK.format("000001"): f"""name: {EVIL} all\nassignee: {EVIL} you\nlabels: [{EVIL}]\nstatus: in_progress
depends_on: [{EVIL}]\nmetadata: {{{EVIL}: "{EVIL}\\U000e0041"}}\ndescription: {EVIL}\nworkflows:
  w: {{template: t, parameters: {{a: {EVIL}}}}}
  n: {{template: {EVIL}}}
""",
    TASK.format("000004"): f"name: {EVIL} me\nworkflows:\n  w: {{template: t, parameters: {{a: {EVIL}}}}}\n",
    "templates/t.yaml": f"metadata:\n  name: t\n  description: {EVIL}\nparameters:\n  a: {{type: string}}\nsteps:\n"
    f"  - name: a\n    container: {{image: 'alpine:3', command: \"printf '{EVIL} \\\\342\\\\200\\\\256'; exit 3\"}}\n",
}


def test_what_others_wrote_stands_under_untrusted(root: Path, cli: Cli) -> None:
    write_files(root, HOSTILE)
    cli(root, "task", "comment", "web-000001", EVIL, "--as", EVIL)
    assert cli(root, "run", "web-000004", "--engine", "local").code == 1
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list", {}),
        ("list", {"query": "is:invalid"}),
        ("show", {"task": "web-000001"}),
        ("show", {"task": "web-00000b"}),
        ("next", {}),
        ("next", {"explain": True}),
        ("plan", {"task": "web-000004"}),
        ("plan", {"task": "web-000001", "workflow": "n"}),
        ("logs", {}),
        ("validate", {}),
        ("diff", {}),
        ("claim", {"task": "web-000001"}),
        ("claim", {"task": "web-00000b"}),
        ("set_status", {"task": "web-000004", "status": "blocked"}),
        ("run", {"task": "web-000001", "workflow": "n"}),
    ]

    async def work() -> list[dict[str, Any]]:
        async with agent(root, *WRITER, "--allow", "run") as one:
            (run,) = (await one.call("logs"))["items"]
            return [await one.call(name, **given) for name, given in [*calls, ("logs", {"run": run["run"]})]]

    answers = anyio.run(work)
    for (name, given), said in zip([*calls, ("logs", {})], answers, strict=True):
        assert [text for text, inside in texts(said) if EVIL in text and not inside] == [], (name, given)
    told = [name for (name, _), said in zip(calls, answers, strict=False) if EVIL in str(said)]
    assert {*told} >= {"list", "show", "next", "plan", "validate", "diff", "claim", "set_status"}
    assert EVIL in str(answers[-1]["items"][-1])
    # What nobody sees and a program reads is shown.
    assert "\\U000e0041" in next(text for text, _ in texts(answers[2]) if "0041" in text)
    assert answers[-1]["items"][-1]["untrusted"] == f"{EVIL} \\u202e"


@pytest.mark.slow
def test_long_answers_come_in_parts(root: Path) -> None:
    text = "".join(f'{number} \\"\n' for number in range(9_000))[:60_000]
    body = "\n".join(f"  {line}" for line in text.split("\n"))
    write_files(root, {TASK.format("000005"): f"name: Long\ndescription: |\n{body}\n"})
    write_files(root, {TASK.format(f"1{number:05}"): f"name: {'é' * 400}\n" for number in range(150)})

    async def every(one: Any, name: str, **given: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            result = await one.client.call_tool(name, {**given, "cursor": cursor})
            assert len(result.content[0].text) < 36_000
            said = result.structured_content
            items += said["items"]
            if "next_cursor" not in said:
                assert "rest" not in said
                return items
            assert said["next_cursor"] in said["rest"]
            assert said["items"]
            cursor = said["next_cursor"]

    async def work() -> None:
        async with agent(root) as one:
            ids = [item["id"] for item in await every(one, "list")]
            assert len(ids) == len({*ids}) == 154
            pieces = [item for item in await every(one, "show", task="000005") if item["field"] == "description"]
            assert [piece["piece"] for piece in pieces] == list(range(1, pieces[0]["of"] + 1))
            assert "".join(piece["untrusted"] for piece in pieces).strip() == text.strip()
            assert (await one.call("list", cursor="900"))["items"] == []
            assert (await one.refused("list", cursor="-1"))["code"] == "InvalidInput"

    anyio.run(work)


@pytest.mark.slow
def test_nothing_leads_out_of_the_repository(root: Path) -> None:
    write_files(root.parent, {"other/tasks/web/web-000009.yaml": "name: Other\n", "secret.yaml": "name: [\n"})

    async def work() -> None:
        async with agent(root) as one:
            for given in ({"path": ".."}, {"root": "/"}, {"cwd": str(root.parent / "other")}):
                assert (await one.refused("list", **given))["code"] == "InvalidInput"
            for task in ("web-000009", "../other/tasks/web/web-000009", "--help", "\0", "/etc/passwd"):
                assert (await one.refused("show", task=task))["code"] == "NotFound"
            assert (await one.refused("logs", run="../../../secret"))["code"] == "NotFound"
            for file in ("../secret.yaml", str(root.parent / "secret.yaml"), "/etc", ".."):
                assert (await one.call("validate", file=file))["items"] == []
            for revisions in (f"--output={root.parent}/out..HEAD", "HEAD..--all", "@{-1}", "HEAD:x"):
                assert (await one.refused("diff", revisions=revisions))["code"] == "InvalidInput"
            assert (await one.refused("plan", task="web-000003", workflow="../t"))["code"] == "NotFound"

    anyio.run(work)
    assert not (root.parent / "out").exists()
