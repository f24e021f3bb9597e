from __future__ import annotations

import base64
import json
import random
import subprocess
from itertools import accumulate, pairwise
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dagtasks.engine.masking import Masker, make_forms
from dagtasks.errors import InvalidInput
from tests.canaries import CANARY, ENCODINGS, find_canaries

TOKEN = "q7Xw9-Zk2pLm4RtY8vBn3"
KEY = "\n".join(base64.b64encode(random.Random(number).randbytes(48)).decode() for number in range(4))
PEM = f"-----BEGIN THING-----\n{KEY}\nshrt\n-----END THING-----\n"


def masked(secret: str | bytes, text: str | bytes) -> bytes:
    return Masker([secret]).mask_bytes(text if isinstance(text, bytes) else text.encode())


# -- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_canary_in_each_encoding(encoding: str) -> None:
    encoded = ENCODINGS[encoding](CANARY)
    assert find_canaries(encoded)
    for text in (encoded, b"a" + encoded + b"z", b"x=" + encoded + b"\n" + encoded):
        done = masked(CANARY, text)
        assert b"***" in done
        assert find_canaries(done) == []


WHOLE = [
    (TOKEN, "%s"),
    (TOKEN, base64.b64encode(TOKEN.encode()).decode()),
    (TOKEN, base64.b64encode(TOKEN.encode()).decode().rstrip("=")),
    (TOKEN, base64.b64encode(base64.b64encode(TOKEN.encode())).decode()),
    (TOKEN, base64.b64encode(f"{TOKEN}\n".encode()).decode()),
    (TOKEN[:-1], base64.b64encode(f"{TOKEN[:-1]}\n".encode()).decode()),
    (TOKEN[:-2], base64.b64encode(f"{TOKEN[:-2]}\n".encode()).decode().rstrip("=")),
    (TOKEN, TOKEN.encode().hex()),
    (TOKEN, TOKEN.encode().hex().upper()),
    ("ab?>\xff\xfe~secret", base64.urlsafe_b64encode("ab?>\xff\xfe~secret".encode()).decode()),
    ("a b/c+d&é=x", quote_plus("a b/c+d&é=x")),
    ("a b/c+d&é=x", quote_plus("a b/c+d&é=x").lower()),
    ("a b/c+d&é=x", quote_plus("a b/c+d&é=x").replace("+", "%20").replace("%2F", "/")),
    ('tab\t"quote" \\ é', json.dumps('tab\t"quote" \\ é')[1:-1]),
    ('tab\t"quote" \\ é', json.dumps('tab\t"quote" \\ é', ensure_ascii=False)[1:-1]),
    ('tab\t"quote" \\ é', json.dumps(json.dumps('tab\t"quote" \\ é'))[3:-3]),
    ('a "b" é', json.dumps(json.dumps('a "b" é', ensure_ascii=False))[3:-3]),
    ("one/two/three", "one\\/two\\/three"),
    ("<secret>&more", "\\u003csecret\\u003e\\u0026more"),
    ("it's a secret", "it'\"'\"'s a secret"),
    ("it's a secret", "it'\\''s a secret"),
    ("it's a secret", "it\\'s\\ a\\ secret"),
    ("say $HOME `x`", "say \\$HOME \\`x\\`"),
    ("  with blanks around \n", "with blanks around"),
    (PEM, PEM.replace("\n", "\r\n")),
    (PEM, KEY.split("\n")[2]),
    (PEM, base64.b64encode(KEY.split("\n")[1].encode()).decode()),
    (PEM, json.dumps(PEM)[1:-1]),
    (b"\xff\xfe\x00binary\x80", base64.b64encode(b"\xff\xfe\x00binary\x80").decode()),
]


@pytest.mark.parametrize(("secret", "form"), WHOLE)
def test_nothing_is_left_of_a_form(secret: str | bytes, form: str) -> None:
    text = form.replace("%s", TOKEN)
    assert masked(secret, f"<{text}>") == b"<***>"


@pytest.mark.parametrize("secret", [TOKEN, TOKEN[:-1], TOKEN[:-2]])
@pytest.mark.parametrize("before", ["", "u", "u:", "you"])
@pytest.mark.parametrize("after", ["", "~", "~~", "~~~", "\n"])
def test_base64_of_a_text_around_it(secret: str, before: str, after: str) -> None:
    left = masked(secret, base64.b64encode(f"{before}{secret}{after}".encode())).split(b"***")
    assert len(left[0]) <= len(before) * 4 / 3 + 1.5
    assert len(left[1].rstrip(b"=")) <= len(after) * 4 / 3 + 1.5


def run(*command: str, given: str) -> str:
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, env=env, cwd="/").stdout


HARD = [
    "it's a secret",
    'a "b" $c `d` \\e',
    "#hash ~tilde",
    "a,b;c*d?e[f]",
    "tab\tand\x07bell",
    "é and € too",
    "a\nb'c\nd",
]


@pytest.mark.parametrize("secret", HARD)
@pytest.mark.parametrize("script", ['printf %q "$v"', "declare -p v", 'set -x; : "x=$v"', "export v; export -p"])
def test_what_bash_makes_of_it(secret: str, script: str) -> None:
    printed = run("bash", "-c", f"read -rd '' v; exec 2>&1; {script}", given=secret)
    done = Masker([secret]).mask_text(printed)
    assert "***" in done
    assert [word for word in ("secret", "`d", "tilde", "d?e", "bell", "too", "b'c") if word in done] == []


@pytest.mark.parametrize("secret", [TOKEN * 5, PEM, KEY])
@pytest.mark.parametrize("command", ["base64", "base64 -w 40", "openssl base64", "xxd -p"])
@pytest.mark.parametrize("before", ["", "u", "user:"])
def test_output_that_a_program_wraps(secret: str, command: str, before: str) -> None:
    printed = run(*command.split(), given=before + secret)
    assert len(printed.splitlines()) > 1
    done = Masker([secret]).mask_text(f"key:\n{printed}done\n")
    assert len(done) < 40, done
    assert done.endswith("done\n")


def test_lines_of_crlf_are_wrapped_too() -> None:
    secret = TOKEN * 5
    printed = run("base64", given=secret).replace("\n", "\r\n").encode()
    assert masked(secret, printed) == b"***\r\n"
    assert streamed(Masker([secret]), [bytes([byte]) for byte in printed]) == b"***\r\n"


def test_other_lines_are_not_taken_together() -> None:
    secret = "abcdefghijkl"
    for text in ("abcdef\nghijkl", "x" * 40 + "\n\nabcdef", "abcdef\r\nghijkl", "x" * 31 + "abcdef \nghijkl"):
        assert masked(secret, text) == text.encode()


# -- texts, values --------------------------------------------------------------------------------------------------


def test_matches_that_overlap_or_touch_are_one_mask() -> None:
    masker = Masker(["abcabc", "cabcxyz"])
    assert masker.mask_text("-abcabcabc-") == "-***-"
    assert masker.mask_text("-abcabcxyz-") == "-***-"
    assert masker.mask_text("-abcabcabcabc-") == "-***-"
    assert masker.mask_text("-abcabc-abcabc-") == "-***-***-"
    assert Masker(["abcdea"]).mask_text("-abcdeabcdea-") == "-***-"


def test_a_value_is_masked_in_all_its_parts() -> None:
    masker = Masker([TOKEN, "12345678"])
    value = {"a": [TOKEN, 1, None, True, 1.5], f"key {TOKEN}": {"n": 12345678, "m": -123456789.5}, "same": "text"}
    assert masker.mask_value(value) == {
        "a": ["***", 1, None, True, 1.5],
        "key ***": {"n": "***", "m": "-***9.5"},
        "same": "text",
    }
    assert Masker().mask_value(value) is value


def test_contains() -> None:
    masker = Masker([TOKEN])
    assert masker.contains(f"x{TOKEN}")
    assert masker.contains(base64.b64encode(b"ab" + TOKEN.encode()))
    assert not masker.contains(TOKEN[:-1])
    assert not Masker().contains(TOKEN)


@pytest.mark.parametrize("text", ["\ud800 half", "\udcff byte", "\udcff\ud800"])
def test_texts_that_utf8_does_not_have(text: str) -> None:
    masker = Masker([TOKEN, b"\xffbyte\xfe."])
    assert masker.mask_text(text) == text
    assert masker.mask_text(f"{text}{TOKEN}") == f"{text}***"
    assert masker.mask_text("\udcffbyte\udcfe.") == "***"
    assert Masker(["\udcffbyte\udcfe."]).mask_bytes(b"\xffbyte\xfe.") == b"***"
    assert masker.mask_text("x" + "é" * 3) == "xééé"


def test_a_secret_within_a_character() -> None:
    assert "***" in Masker([b"\xa9secret"]).mask_text("ésecret \ud800")


@pytest.mark.parametrize("secret", ["", "12345", "   12345   ", "é" * 5, b"\xff" * 5, "\n\n\n\n\n\n\n"])
def test_a_secret_that_is_too_short(secret: str | bytes) -> None:
    with pytest.raises(InvalidInput, match="less than 6 characters") as caught:
        Masker([TOKEN, secret])
    assert caught.value.hint
    assert not secret or str(secret) not in str(caught.value)


def test_nothing_shows_the_secret() -> None:
    masker = Masker([TOKEN])
    assert TOKEN not in repr(masker) + repr(masker.stream()) + str(masker)


def test_mask_before_cutting() -> None:
    masker = Masker([TOKEN])
    log = f"start {TOKEN} end"
    assert TOKEN[8:] not in masker.mask_text(log)[-20:]


# -- streams --------------------------------------------------------------------------------------------------------


def streamed(masker: Masker, pieces: list[bytes]) -> bytes:
    stream = masker.stream()
    return b"".join([*map(stream.feed, pieces), stream.finish()])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1000])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_chunk_size(encoding: str, size: int) -> None:
    data = b"first\r\n" + ENCODINGS[encoding](CANARY) + b"\nlast " + ENCODINGS[encoding](CANARY)[:-9] + b"\r"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert streamed(Masker([CANARY]), pieces) == masked(CANARY, data)


def test_what_cannot_become_a_secret_goes_out_at_once() -> None:
    stream = Masker([TOKEN]).stream()
    assert stream.feed(b"Compiling!\n") == b"Compiling!\n"
    assert stream.feed(b"half " + TOKEN[:10].encode()) == b"half "
    assert stream.feed(b"!\n") == TOKEN[:10].encode() + b"!\n"
    assert stream.feed(TOKEN.encode()) == b"***"
    assert stream.finish() == b""
    repeating = Masker(["abc" * 8 + "d-and-so-on"]).stream()
    assert repeating.feed(b"abc" * 9 + b"d-an") == b"abc"
    assert repeating.feed(b"d-so-on") == b"***"


def test_what_is_held_back_is_no_longer_than_the_longest_form() -> None:
    secret = TOKEN * 5
    longest = max(map(len, make_forms(secret.encode())))
    nearly = base64.encodebytes(secret.encode()[:-5]) + secret.encode()[:-1]
    stream = Masker([secret]).stream()
    held = [1 - len(stream.feed(bytes([byte]))) for byte in nearly * 5]
    assert len(secret) / 2 < max(accumulate(held)) <= longest * 1.1


def test_without_secrets_the_very_bytes_pass() -> None:
    stream = Masker().stream()
    data = b"text" * 10
    assert stream.feed(data) is data
    assert stream.finish() == b""


RANDOM = settings(max_examples=40, deadline=None)
SECRETS = st.one_of(
    st.text("aAb/+ \n'é", min_size=6, max_size=12),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=6, max_size=20),
    st.binary(min_size=6, max_size=20).filter(lambda value: b"*" not in value),
).filter(lambda value: len(value.strip()) >= 6 and len(value.strip().split()) > 0)


def as_bytes(secret: str | bytes) -> bytes:
    return secret if isinstance(secret, bytes) else secret.encode()


def usable(secret: str | bytes) -> bool:
    try:
        Masker([secret])
    except InvalidInput:
        return False
    return True


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str | bytes], bytes]:
    """Secrets, and a text of forms of them, parts of such, and other bytes."""
    secrets = draw(st.lists(SECRETS.filter(usable), min_size=1, max_size=3))
    forms = sorted(form for secret in secrets for form in make_forms(as_bytes(secret)))
    form = st.sampled_from(forms)
    part = st.tuples(form, st.integers(0, 40), st.integers(0, 40)).map(lambda it: it[0][it[1] : it[1] + it[2]])
    ends = st.sampled_from([b"\n", b"\r\n"])
    wrapped = st.tuples(form, ends).map(lambda it: b"A" * 30 + it[0][:9] + it[1] + it[0][9:])
    other = st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b"a", b"x" * 40, "é".encode(), b"=", b"\0"])
    pieces = draw(st.lists(st.one_of(form, part, wrapped, other, st.binary(max_size=5)), max_size=8))
    return secrets, b"".join(pieces)


@RANDOM
@given(cases(), st.lists(st.integers(0, 10_000), max_size=12))
def test_the_result_is_the_same_for_any_split(case: tuple[list[str | bytes], bytes], places: list[int]) -> None:
    secrets, data = case
    masker = Masker(secrets)
    whole = masker.mask_bytes(data)
    assert streamed(masker, cut(data, places)) == whole
    assert streamed(masker, [bytes([byte]) for byte in data]) == whole


@RANDOM
@given(cases())
@example((["AAAA\nA"], b"A" * 34 + b"\nA\n"))
def test_no_secret_is_left(case: tuple[list[str | bytes], bytes]) -> None:
    secrets, data = case
    masker = Masker(secrets)
    done = masker.mask_bytes(data)
    assert not any(as_bytes(secret) in done for secret in secrets)
    if not masker.contains(data):
        assert done == data


@RANDOM
@given(cases())
def test_all_that_a_form_covers_and_nothing_else(case: tuple[list[str | bytes], bytes]) -> None:
    """Against a search for each form at each place, in texts without line breaks."""
    secrets, data = case
    data = data.replace(b"\n", b"").replace(b"\r", b"")
    forms = {form for secret in secrets for form in make_forms(as_bytes(secret))}
    covered = [False] * len(data)
    for form in forms:
        for start in range(len(data)):
            if data.startswith(form, start):
                covered[start : start + len(form)] = [True] * len(form)
    wanted = bytearray()
    for index, byte in enumerate(data):
        if not covered[index]:
            wanted.append(byte)
        elif not index or not covered[index - 1]:
            wanted += b"***"
    assert Masker(secrets).mask_bytes(data) == wanted


@RANDOM
@given(SECRETS.filter(usable), st.sampled_from(sorted(ENCODINGS)), st.text(max_size=8), st.text(max_size=8))
def test_any_secret_in_each_encoding(secret: str | bytes, encoding: str, before: str, after: str) -> None:
    assume(isinstance(secret, str))
    assert isinstance(secret, str)
    encoded = ENCODINGS[encoding](secret)
    done = masked(secret, before.encode() + encoded + after.encode())
    assert b"***" in done
    assert encoded not in done


@given(st.binary(max_size=300))
@example(b"x" * 40 + b"\r\n\n" + b"y" * 40 + b"\n")
def test_text_without_secrets_is_as_it_was(data: bytes) -> None:
    assert masked(TOKEN, data) == data


def test_forms_in_queries_and_documents() -> None:
    secret = "p@ss w/rd+é&more"
    assert masked(secret, urlencode({"a": secret, "b": "c"})) == b"a=***&b=c"
    assert masked(secret, json.dumps({"a": secret})) == b'{"a": "***"}'
