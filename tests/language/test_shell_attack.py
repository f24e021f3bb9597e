"""Hostile values in every place of a shell text, run by real shells: nothing executed, every value verbatim."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagtasks.errors import Severity
from dagtasks.language.checking import Names
from dagtasks.language.evaluation import render
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.kinds import INTEGER, STRING, object_of
from dagtasks.language.shell import BoundCommand, bind, process_text

NAMES = Names({"params": object_of({"v": STRING, "n": INTEGER})})
SHELLS = [command for command in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(command[0])]
SHELL_IDS = [" ".join(command) for command in SHELLS]
TOUCH = "touch CANARY"

VALUES = [
    "plain",
    "",
    " ",
    "two  words",
    "\ttab\t",
    "line\nline",
    "\n",
    "trailing\n\n",
    f"$({TOUCH})",
    f"`{TOUCH}`",
    f"; {TOUCH};",
    f"\n{TOUCH}\n",
    f"&& {TOUCH}",
    f"|| {TOUCH}",
    f"| {TOUCH}",
    f"& {TOUCH} &",
    f"' ; {TOUCH}; '",
    f'" ; {TOUCH}; "',
    f"'\"; {TOUCH} #",
    f"\"'; {TOUCH} #",
    f"'$({TOUCH})'",
    f'"$({TOUCH})"',
    f"\\'; {TOUCH}; \\'",
    f"); {TOUCH}; (",
    f") ;; esac; {TOUCH}",
    f"x) {TOUCH};; *",
    f"; done; {TOUCH}",
    f"EOF\n{TOUCH}\nEOF",
    f"A\n{TOUCH}\n\tEOF\nB\n",
    "EOF",
    f"() {{ :; }}; {TOUCH}",
    f"a[$({TOUCH})]",
    f"x[0$({TOUCH})]=1",
    f"$((a[$({TOUCH})]))",
    f"<({TOUCH})",
    f"${{IFS}}{TOUCH.replace(' ', '${IFS}')}",
    f"${{x:-$({TOUCH})}}",
    f"{TOUCH}",
    "> CANARY",
    "2>CANARY",
    "$HOME $PATH ${DT_0} $DT_0",
    "${v} $${v} {{ v }}",
    "*",
    "/*/?[a-z]",
    "~ ~root",
    "{a,b} {1..3}",
    "!! !$ !",
    "# no comment",
    "%s %n %d %%",
    "\\",
    "\\n \\t \\0 \\c \\x41",
    "ends with \\",
    "-n",
    "-e --help --",
    "'",
    '"',
    "`",
    "'\\''",
    "$\"x\" $'x'",
    "\r\n \x1b[31m \x7f \x01",
    "grüße ✓ 漢字 \U0001f600",
    "$" * 50 + "`" * 49 + "(" * 50,
    "'\"`\\" * 500,
]

Expected = Callable[[str], str]

PLACES: dict[str, tuple[str, Expected]] = {
    "bare": ("printf '%s' ${v}", lambda v: v),
    "bare, glued": ("printf '%s' pre${v}post#${v}", lambda v: f"pre{v}post#{v}"),
    "bare, twice": ("printf '%s' ${v}${v}", lambda v: v + v),
    "bare, after operators": ("true&&printf '%s' ${v};false||printf '%s' ${v}|cat", lambda v: v + v),
    "double quotes": ("printf '%s' \"a ${v} 'b ${v}'\"", lambda v: f"a {v} 'b {v}'"),
    "single quotes": ("printf '%s' 'a ${v} \"b ${v}\"'", lambda v: f'a {v} "b {v}"'),
    "quotes in a row": ("printf '%s' 'it'\\''s ${v}'\"${v}\"${v}", lambda v: f"it's {v}{v}{v}"),
    "heredoc": ("cat <<EOF\na ${v} \"${v}\" '${v}' # ${v}\nEOF", lambda v: f"a {v} \"{v}\" '{v}' # {v}\n"),
    "heredoc without tabs": ("cat <<-EOF\n\ta ${v}\n\tEOF", lambda v: f"a {v}\n"),
    "two heredocs": ("cat <<A; cat <<B\n${v}1\nA\n${v}2\nB", lambda v: f"{v}1\n{v}2\n"),
    "heredoc in $( )": ("x=$(cat <<EOF\n${v}.\nEOF\n); printf '%s' \"$x\"", lambda v: f"{v}."),
    "$( ) in heredoc": ("cat <<EOF\n$(printf '%s.' ${v} '${v}' \"${v}\")\nEOF", lambda v: f"{v}.{v}.{v}.\n"),
    "comment": ("printf ok # it's ${v} \" ${v}\n# ${v}", lambda v: "ok"),
    "$( )": ("x=$(printf '%s.' ${v}); printf '%s' \"$x\"", lambda v: f"{v}."),
    "$( ) in quotes": (
        "printf '%s' \"$(printf '%s.' \"${v}\" '${v}' ${v})${v}\"",
        lambda v: f"{v}.{v}.{v}.{v}",
    ),
    "$( ) in $( )": (
        "printf '%s' \"$(printf '%s.' \"$(printf '%s.' ${v} \"${v}\")\" # it's\n)\"",
        lambda v: f"{v}.{v}..",
    ),
    "assignment": ("x=${v}; y=\"a${v}\" z='${v}'; printf '%s' \"$x$y$z\"", lambda v: f"{v}a{v}{v}"),
    "export": ("export X=${v}; printf '%s' \"$X\"", lambda v: v),
    "variable of one command": ("X=${v} env | grep -c '^X=' >/dev/null; printf ok", lambda v: "ok"),
    "word of a case": ("case ${v} in zz) printf no;; *) printf '%s' ${v};; esac", lambda v: v),
    "pattern of a case": ("case zz in ${v}|'${v}') printf no;; (*) printf '%s' \"${v}\";; esac", lambda v: v),
    "words of a for": ('for i in ${v} "${v}" end; do printf \'<%s>\' "$i"; done', lambda v: f"<{v}><{v}><end>"),
    "test": ('if [ x${v} = "x${v}" ]; then printf same; fi', lambda v: "same"),
    "argument of a function": ("f() { printf '%s' \"$#$1\"; }; f ${v} 'x'", lambda v: f"2{v}"),
    "set --": ("(set -- ${v} b; printf '%s' \"$#$1\")", lambda v: f"2{v}"),
    "( ) and { }": ("( printf '%s' ${v} ); { printf '%s' ${v}; }", lambda v: v + v),
    "while": ("while printf '%s' ${v}; do break; done", lambda v: v),
    "after ${ }": ("X=q; printf '%s' \"$${X:-\\\"}\" $${X#'$(('} ${v}", lambda v: f"qq{v}"),
    "after $$ and $#": ('x="$$"; printf \'%s\' "$#"#${v}', lambda v: f"0#{v}"),
    "after arithmetic": ("printf '%s' $((1 + (2 * 3))) ${v}", lambda v: f"7{v}"),
    "after a case": ("case a in a) : ;; (b) : ;; esac; printf '%s' ${v}", lambda v: v),
    "after a long line": ("printf '%s' a \\\n  '${v}' \\\n  # it's\nprintf '%s' ${v}", lambda v: f"a{v}{v}"),
    "after backticks": ("printf '%s' `printf q` ${v}", lambda v: f"q{v}"),
}

BASH_PLACES: dict[str, tuple[str, Expected]] = {
    "array": ('a=(${v} "${v}" b); printf \'%s\' "$${#a[@]}$${a[0]}$${a[1]}"', lambda v: f"3{v}{v}"),
    "[[ ]]": ("if [[ ${v} == \"${v}\" && (a = a) ]]; then printf same; fi; printf '%s' ${v}", lambda v: f"same{v}"),
    "<<<": ("cat <<<${v}", lambda v: f"{v}\n"),
    "<( )": ("cat <(printf '%s' ${v})", lambda v: v),
    '$""': ("printf '%s' $\"a ${v}\"", lambda v: f"a {v}"),
    "$' ' before": ("printf '%s' $'q\\n' ${v}", lambda v: f"q\n{v}"),
}

REFUSED = [
    "echo `echo ${v}`",
    'echo "`echo ${v}`"',
    "echo $((${v} + 1))",
    'echo "$((1 + ${v}))"',
    "echo $((1 + $(echo ${v})))",
    "((x = ${v}))",
    "echo $[${v}]",
    "cat <<'EOF'\n${v}\nEOF",
    'cat <<"EOF"\n${v}\nEOF',
    "cat <<\\EOF\n$(${v})\nEOF",
    "cat <<${v}\nx\nEOF",
    "echo $${X:-${v}}",
    'echo "$${X:-${v}}"',
    "echo $${X:-$(echo ${v})}",
    "cat <<EOF\n$${X:-${v}}\nEOF",
    "echo \\${v}",
    'echo "\\${v}"',
    "cat <<EOF\n\\${v}\nEOF",
    "echo $'${v}'",
    "echo $'\\'' ${v}",
    "a[${v}]=1",
    'a["${v}"]=1',
    "a[$(echo ${v})]=1",
    "a=([${v}]=1)",
    "[[ ${v} -eq 1 ]]",
    '[[ 1 -lt "${v}" ]]',
    "if [[ -n x && 1 -lt ${v} ]]; then :; fi",
    'echo "$(case a in a) echo ${v};; esac)"',
    "echo @(a|#${v})",
    "echo @(a|b) ${v}",
    'echo "$$(x)" ${v}',
    "echo $$'x' ${v}",
    'echo "$${X:-\'}" ${v}',
    "echo ec\\\nho ${v}",
    'cat <<EOF "\n" ${v}\nEOF',
    "x=$(cat <<EOF) ${v}\nEOF",
    "echo 'open ${v}",
    'echo "open ${v}',
    "echo $(open ${v}",
]


def bind_text(text: str) -> BoundCommand:
    return bind(parse_scalar(text), NAMES)


def is_refused(bound: BoundCommand) -> bool:
    return any(finding.severity is Severity.ERROR for finding in bound.findings)


def run(shell: list[str], text: str, env: dict[str, str], folder: Path) -> bytes:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nowhere", **env}
    done = subprocess.run(
        [*shell, "-ec", text], env=clean, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=20
    )
    return done.stdout


def run_bound(shell: list[str], bound: BoundCommand, value: str, folder: Path) -> bytes:
    scope = {"params": {"v": value, "n": -7}}
    env = {name: process_text(render(parse_scalar(source), scope)) for name, source in bound.env.items()}
    return run(shell, str(render(parse_scalar(bound.source), scope)), env, folder)


def places_for(shell: list[str]) -> dict[str, tuple[str, Expected]]:
    return {**PLACES, **(BASH_PLACES if shell == ["bash"] else {})}


@pytest.mark.parametrize("shell", SHELLS, ids=SHELL_IDS)
def test_every_value_is_printed_verbatim_and_nothing_runs(shell, tmp_path):
    places = places_for(shell)
    bound = bind_text("\nprintf '\\036'\n".join(text for text, _ in places.values()))
    assert not is_refused(bound), bound.findings
    wrong = []
    for value in VALUES:
        printed = run_bound(shell, bound, value, tmp_path).decode().split("\036")
        expected = [expect(value) for _, expect in places.values()]
        wrong += [(name, value, got) for name, got, want in zip(places, printed, expected, strict=False) if got != want]
        assert len(printed) == len(expected), (value, printed[-1], list(places)[len(printed) - 1])
        assert list(tmp_path.iterdir()) == [], f"{value!r} was executed"
    assert wrong == []
    print(f"{shell}: {len(VALUES)} values x {len(places)} places, {len(wrong)} wrong, 0 executed")


@pytest.mark.parametrize("shell", SHELLS, ids=SHELL_IDS)
def test_each_place_holds_alone(shell, tmp_path):
    value = f"a'b\"c`{TOUCH}`$({TOUCH})\n{TOUCH}\nEOF\n"
    for name, (text, expect) in places_for(shell).items():
        printed = run_bound(shell, bind_text(text), value, tmp_path).decode()
        assert printed == expect(value), name
        assert list(tmp_path.iterdir()) == [], name


@pytest.mark.parametrize("text", REFUSED)
def test_places_that_are_not_safe_are_refused(text):
    findings = [finding for finding in bind_text(text).findings if finding.severity is Severity.ERROR]
    assert findings
    assert {finding.code for finding in findings} == {"DT304"}


@pytest.mark.parametrize("shell", SHELLS, ids=SHELL_IDS)
def test_integers_stand_in_arithmetic(shell, tmp_path):
    bound = bind_text("printf '%s ' $((3 -${n})) $((${n} * (2 + ${n}))) \"$(( ${n} ))\" '${n}' ${n}")
    assert not is_refused(bound), bound.findings
    assert run_bound(shell, bound, "", tmp_path) == b"10 35 -7 -7 -7 "


def test_the_attack_works_when_values_are_pasted(tmp_path):
    """Shows that the places and values above would execute something, if values were pasted."""
    executed = 0
    for text, _ in list(PLACES.values())[:14]:
        for value in VALUES[8:24]:
            run(SHELLS[0], text.replace("${v}", value).replace("$${", "${"), {}, tmp_path)
            executed += (tmp_path / "CANARY").exists()
            (tmp_path / "CANARY").unlink(missing_ok=True)
    assert executed > 60


PIECES = st.sampled_from(
    [
        "${v}", "${v}", "${v}", "echo ", "printf '%s' ", " ", "\n", ";", "'", '"', "\\", "$(", ")", "(", "((",
        "))", "$((", "`", "$${X:-", "}", "{ ", "#", "<<EOF\n", "\nEOF\n", "<<-EOF\n", "<<'EOF'\n", "|", "&&", "a",
        "x=", "[", "]", "[[ ", " ]]", "case ", " in ", " esac", ";;", "1", "!", "\\\n", "$'", "$[", "@(", "-eq ",
        "$#", "$@", "<", ">f", "<<<", "<(", "if ", "then ", "fi\n", "cat ", "\t", "=(", "()",
    ]
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, min_size=2, max_size=14), shell=st.sampled_from(SHELLS))
def test_a_bound_word_behaves_as_if_it_were_written_there(pieces, shell, tmp_path):
    """For any text that is accepted: a harmless value does what pasting it does, a hostile one runs nothing."""
    text = "".join(["printf '%s' ${v}", *pieces])
    bound = bind_text(text)
    if is_refused(bound):
        return
    pasted = str(render(parse_scalar(text), {"params": {"v": "Zq9"}}))
    assert run_bound(shell, bound, "Zq9", tmp_path) == run(shell, pasted, {}, tmp_path), bound.source
    run_bound(shell, bound, f"'\"$({TOUCH})`{TOUCH}`;{TOUCH}\n{TOUCH}\n", tmp_path)
    run_bound(shell, bound, f"a[$({TOUCH})]", tmp_path)
    assert not (tmp_path / "CANARY").exists(), bound.source
