"""The steps of a template as a picture."""

from __future__ import annotations

import yaml

from dagtasks.model.template import Template
from dagtasks.planning.drawing import Drawing, Node, make_drawing, to_dot, to_mermaid

TEXT = """
metadata: {name: release}
steps:
  - {name: build, container: {image: alpine:3}, depends_on: []}
  - {name: test, foreach: [1, 2], container: {image: "alpine:3", command: ["${steps.build.output}"]}}
  - {name: style, script: {source: echo}, depends_on: []}
  - {name: ask, approval: {message: ok}, depends_on: [build, test, style]}
  - {name: publish, if: run.dirty, workflow: {template: publish@^1}, depends_on: [ask, build]}
finally:
  - {name: tell, api: {url: "https://example.org"}}
  - {name: clean, container: {image: alpine:3}}
"""


def drawing(text: str, **states: str) -> Drawing:
    return make_drawing(Template.model_validate(yaml.safe_load(text)), states)


def test_edges_that_follow_from_others_are_left_out() -> None:
    assert drawing(TEXT).edges == (
        ("build", "test"),
        ("test", "ask"),
        ("style", "ask"),
        ("ask", "publish"),
        ("publish", "tell"),
        ("tell", "clean"),
    )


def test_steps_in_the_order_of_the_list_are_one_chain() -> None:
    steps = "".join(f"  - {{name: s{place}, container: {{image: alpine}}}}\n" for place in range(400))
    made = drawing(f"metadata: {{name: t}}\nsteps:\n{steps}")
    assert made.edges == tuple((f"s{place}", f"s{place + 1}") for place in range(399))


def test_mermaid() -> None:
    assert to_mermaid(drawing(TEXT, build="succeeded", test="failed", ask="omitted")).splitlines() == [
        "flowchart TD",
        '  s0["build (container) succeeded"]:::succeeded',
        '  s1["test (container: for each) failed"]:::failed',
        '  s2["style (script)"]',
        '  s3{{"ask (approval) omitted"}}:::omitted',
        '  s4[["publish (workflow: publish#64;#94;1, if)"]]',
        '  s5(["tell (api)"])',
        '  s6["clean (container)"]',
        "  s0 --> s1",
        "  s1 --> s3",
        "  s2 --> s3",
        "  s3 --> s4",
        "  s4 --> s5",
        "  s5 --> s6",
        "  classDef succeeded fill:#d3f0d6",
        "  classDef failed fill:#f8d0d0",
        "  classDef omitted fill:#e4e4e4",
    ]


def test_dot() -> None:
    made = Drawing("t", (Node("a", "api"), Node("b", "workflow", "x", "failed")), (("a", "b"),))
    assert to_dot(made) == (
        'digraph "t" {\n  node [shape=box, style=filled, fillcolor=white];\n'
        '  "a" [label="a (api)"];\n  "b" [label="b (workflow: x) failed", fillcolor="#f8d0d0"];\n  "a" -> "b";\n}'
    )


def test_what_could_be_syntax_is_text() -> None:
    hostile = 'x"] --> y\n%%{init}%% <b>\\" \u202e ; click s0 href "javascript:alert(1)"'
    made = Drawing("t", (Node("a", "workflow", hostile, "no state"),))
    [_, line] = to_mermaid(made).splitlines()
    assert line.startswith('  s0[["a (workflow: x#34;#93; --#62; y#10;#37;#37;#123;init')
    assert line.count('"') == 2
    dot = to_dot(made)
    assert len(dot.splitlines()) == 4
    assert r"x\"] --> y %%{init}%% <b>\\\"   ; click s0 href \"javascript:alert(1)\"" in dot
