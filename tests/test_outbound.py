from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagtasks.outbound import (
    Answer,
    OutboundClient,
    OutboundError,
    Outgoing,
    is_public,
    redirected,
    retry_after,
)

REFUSED_ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "168.63.129.16",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("text", REFUSED_ADDRESSES)
def test_address_that_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_address_that_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_no_private_address_hides_in_an_ipv6_form(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    forms = [number, (0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)]
    assert not any(is_public(ip_address(form)) for form in forms if form > 0xFFFFFFFF)


REFUSED_URLS = {
    "http://127.0.0.1/": "address_refused",
    "http://localhost:80/": "address_refused",
    "http://2130706433/": "address_refused",
    "http://0x7f000001/": "address_refused",
    "http://0177.0.0.1/": "bad_url",
    "http://127.1/": "address_refused",
    "http://127.0.1/": "address_refused",
    "http://0x7f.1/": "address_refused",
    "http://017700000001/": "address_refused",
    "http://127。0。0。1/": "address_refused",
    "http://127.0.0.1./": "unknown_host",
    "http://%31%32%37.0.0.1/": "bad_url",
    "http://127.0.0.1%00.example.com/": "bad_url",
    "http://127.0.0.1#@example.com/": "address_refused",
    "HTTP://LOCALHOST/": "address_refused",
    "http://0/": "address_refused",
    "http://[::1]/": "address_refused",
    "http://[::ffff:127.0.0.1]/": "address_refused",
    "http://[0:0:0:0:0:ffff:7f00:1]/": "address_refused",
    "http://[::127.0.0.1]/": "address_refused",
    "http://[64:ff9b::7f00:1]/": "address_refused",
    "http://[2002:7f00:1::]/": "address_refused",
    "http://[::]/": "address_refused",
    "http://169.254.169.254/latest/meta-data/": "address_refused",
    "http://①②⑦.⓪.⓪.①/": "bad_url",
    "http://[fe80::1%25lo]/": "bad_url",
    "http://user:word@example.com/": "bad_url",
    "http://user@example.com/": "bad_url",
    "http://127.0.0.1\\@example.com/": "bad_url",
    "ftp://example.com/": "bad_url",
    "file:///etc/passwd": "bad_url",
    "unix:///run/docker.sock": "bad_url",
    "//example.com/": "bad_url",
    "http:///path": "bad_url",
    "http://a\r\nHost: b/": "bad_url",
    "http://[/": "bad_url",
    "http://ex ample/": "bad_url",
    "http://example.com:99999/": "bad_url",
    "": "bad_url",
}


def send(outgoing: Outgoing, *, allow: tuple[str, ...] = (), names: dict[str, list[str]] | None = None) -> Answer:
    async def resolve(host: str, port: int) -> list[str]:
        assert names is not None
        return names[host]

    async def once() -> Answer:
        async with OutboundClient(allow, resolve=resolve if names is not None else None) as client:
            return await client.send(outgoing)

    return asyncio.run(once())


@pytest.mark.parametrize(("url", "code"), REFUSED_URLS.items())
def test_url_that_is_refused(url: str, code: str) -> None:
    with pytest.raises(OutboundError) as caught:
        send(Outgoing(url))
    assert caught.value.code == code


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1", "2606:4700::1111"]])
def test_name_with_any_private_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(OutboundError, match=r"intranet\.example is .* not on the public internet") as caught:
        send(Outgoing("http://intranet.example/secret?token=1"), names={"intranet.example": addresses})
    assert caught.value.code == "address_refused"
    assert "token" not in caught.value.message


BAD_HEADERS = [
    {"X-A": "b\r\nX-C: d"},
    {"X-A": "b\nc"},
    {"X-A": "b\0c"},
    {"X-A": "naïve"},
    {"X A": "b"},
    {"X-A:": "b"},
    {"": "b"},
    {"Host": "other"},
    {"content-length": "5"},
    {"Transfer-Encoding": "chunked"},
    {"Authorization": "a", "authorization": "b"},
]


@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_header_that_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(OutboundError) as caught:
        send(Outgoing("http://127.0.0.1/", headers=headers), allow=("127.0.0.1",))
    assert caught.value.code == "bad_header"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers.items()), self._body()))  # type: ignore[attr-defined]
        kind, _, rest = self.path[1:].partition("/")
        getattr(self, f"answer_{kind}")(rest)

    def do_POST(self) -> None:
        self.do_GET()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_ok(self, rest: str) -> None:
        self._answer(200, b"fine", X_Answer="yes", Set_Cookie="a=b")

    def answer_to(self, rest: str) -> None:
        status, _, target = rest.partition("/")
        self._answer(int(status), Location=target)

    def answer_loop(self, rest: str) -> None:
        self._answer(302, Location=f"/loop/{int(rest) + 1}")

    def answer_big(self, rest: str) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(int(rest)):
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.server.seen.append("hung up")  # type: ignore[attr-defined]
        self.close_connection = True

    def answer_gzip(self, rest: str) -> None:
        self._answer(200, gzip.compress(b"x" * 10_000_000), Content_Encoding="gzip")

    def answer_drip(self, rest: str) -> None:
        """An answer of which a little comes all the time."""
        self.send_response(200)
        self.end_headers()
        self._go_on(b"x")

    def answer_headers(self, rest: str) -> None:
        """An answer whose headers never end."""
        self.send_response(200)
        self._go_on(b"X-More: " + b"x" * 1000 + b"\r\n")

    def _go_on(self, piece: bytes) -> None:
        try:
            self.flush_headers()
            while not self.server.released.wait(0.01):  # type: ignore[attr-defined]
                self.wfile.write(piece)
        except OSError:
            pass
        self.close_connection = True

    def answer_nothing(self, rest: str) -> None:
        self.close_connection = True

    def answer_slow(self, rest: str) -> None:
        self.server.released.wait(5)  # type: ignore[attr-defined]
        self._answer(200)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []  # type: ignore[attr-defined]
    server.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with serving() as server:
        yield server


def at(server: ThreadingHTTPServer, path: str, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_port}{path}"


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}"])
def test_allowed_host_is_reached(server: ThreadingHTTPServer, entry: str) -> None:
    request = Outgoing(at(server, "/ok/?q=1#part"), "POST", {"X-Mine": "1"}, b"body")
    answer = send(request, allow=(entry.format(port=server.server_port),))
    assert (answer.status, answer.body, answer.headers["x-answer"]) == (200, b"fine", "yes")
    [(method, path, headers, body)] = server.seen  # type: ignore[attr-defined]
    assert (method, path, body) == ("POST", "/ok/?q=1", b"body")
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert headers["X-Mine"] == "1"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("entry", ["127.0.0.1:1", "localhost", "127.0.0.10"])
def test_only_the_allowed_host_and_port(server: ThreadingHTTPServer, entry: str) -> None:
    with pytest.raises(OutboundError, match=r"outbound\.allow_hosts"):
        send(Outgoing(at(server, "/ok/")), allow=(entry,))


def test_the_judged_address_is_the_one_connected_to(server: ThreadingHTTPServer) -> None:
    answers = iter([["127.0.0.1"]])

    async def resolve(host: str, port: int) -> list[str]:
        return next(answers)

    async def once() -> Answer:
        async with OutboundClient(("chat.internal",), resolve=resolve) as client:
            return await client.send(Outgoing(at(server, "/ok/", "Chat.internal")))

    assert asyncio.run(once()).status == 200
    assert server.seen[0][2]["Host"] == f"chat.internal:{server.server_port}"  # type: ignore[attr-defined]


def test_next_address_when_the_first_does_not_answer(server: ThreadingHTTPServer) -> None:
    names = {"chat.internal": ["127.0.0.2", "127.0.0.1"]}
    assert send(Outgoing(at(server, "/ok/", "chat.internal")), allow=("chat.internal",), names=names).status == 200


def test_proxies_of_the_environment_are_not_used(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert send(Outgoing(at(server, "/ok/")), allow=("127.0.0.1",)).status == 200


def test_redirects_are_answers_unless_asked_for(server: ThreadingHTTPServer) -> None:
    assert send(Outgoing(at(server, "/to/302//ok/")), allow=("127.0.0.1",)).status == 302
    followed = send(Outgoing(at(server, "/to/302//ok/"), redirects=5), allow=("127.0.0.1",))
    assert (followed.status, followed.url) == (200, at(server, "/ok/"))


def test_redirects_end(server: ThreadingHTTPServer) -> None:
    with pytest.raises(OutboundError, match="more than 5 redirects") as caught:
        send(Outgoing(at(server, "/loop/0"), redirects=100), allow=("127.0.0.1",))
    assert caught.value.code == "too_many_redirects"
    assert len(server.seen) == 6  # type: ignore[attr-defined]


def test_redirect_to_a_refused_address(server: ThreadingHTTPServer) -> None:
    with serving() as other:
        request = Outgoing(at(server, f"/to/302/{at(other, '/ok/')}"), redirects=5)
        with pytest.raises(OutboundError) as caught:
            send(request, allow=(f"127.0.0.1:{server.server_port}",))
        assert other.seen == []  # type: ignore[attr-defined]
    assert caught.value.code == "address_refused"


def test_redirect_to_another_host_drops_what_may_be_secret(server: ThreadingHTTPServer) -> None:
    given = {"Authorization": "Bearer t", "Cookie": "a=b", "X-API-Key": "k", "Accept": "text/plain"}
    with serving() as other:
        request = Outgoing(at(server, f"/to/307/{at(other, '/ok/')}"), "GET", given, redirects=5)
        assert send(request, allow=("127.0.0.1",)).status == 200
        [(method, _, headers, _)] = other.seen  # type: ignore[attr-defined]
    assert method == "GET"
    assert not {"authorization", "cookie", "x-api-key"} & {name.lower() for name in headers}
    assert headers["Accept"] == "text/plain"
    assert server.seen[0][2]["X-API-Key"] == "k"  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [307, 308])
def test_no_other_host_gets_the_body(server: ThreadingHTTPServer, status: int) -> None:
    with serving() as other:
        request = Outgoing(
            at(server, f"/to/{status}/{at(other, '/ok/')}"), "POST", body=b"client_secret=s", redirects=5
        )
        with pytest.raises(OutboundError, match="redirects to another host") as caught:
            send(request, allow=("127.0.0.1",))
        assert other.seen == []  # type: ignore[attr-defined]
    assert caught.value.code == "bad_redirect"
    assert redirected(request, 303, "http://b.example/").body == b""


REDIRECTS = [
    ("POST", 301, "GET", b""),
    ("POST", 302, "GET", b""),
    ("PUT", 302, "PUT", b"x"),
    ("POST", 303, "GET", b""),
    ("PUT", 303, "GET", b""),
    ("HEAD", 303, "HEAD", b"x"),
    ("POST", 307, "POST", b"x"),
    ("POST", 308, "POST", b"x"),
]


@pytest.mark.parametrize(("method", "status", "after", "body"), REDIRECTS)
def test_method_after_a_redirect(method: str, status: int, after: str, body: bytes) -> None:
    request = Outgoing("http://a.example/x", method, {"Authorization": "t"}, b"x", redirects=5)
    following = redirected(request, status, "y")
    assert (following.method, following.body, following.url) == (after, body, "http://a.example/y")
    assert following.headers == {"Authorization": "t"}


@pytest.mark.parametrize(
    "location", ["https://a.example/", "ftp://a.example/", "javascript:1", "http://u:p@a.example/", "http://[/"]
)
def test_redirect_that_is_not_followed(location: str) -> None:
    with pytest.raises(OutboundError):
        redirected(Outgoing("http://a.example/", redirects=5), 302, location)


def test_response_over_the_limit_is_left(server: ThreadingHTTPServer) -> None:
    with pytest.raises(OutboundError) as caught:
        send(Outgoing(at(server, "/big/1000"), max_response=100_000), allow=("127.0.0.1",))
    assert caught.value.code == "response_too_big"
    assert len(send(Outgoing(at(server, "/big/2"), max_response=131_072), allow=("127.0.0.1",)).body) == 131_072


def test_compressed_response_is_refused(server: ThreadingHTTPServer) -> None:
    with pytest.raises(OutboundError) as caught:
        send(Outgoing(at(server, "/gzip/")), allow=("127.0.0.1",))
    assert caught.value.code == "content_encoding"


@pytest.mark.parametrize("way", ["slow", "drip"])
def test_the_deadline_covers_the_whole_request(server: ThreadingHTTPServer, way: str) -> None:
    with pytest.raises(OutboundError, match=r"within 0\.2 seconds") as caught:
        send(Outgoing(at(server, f"/{way}/"), timeout=0.2), allow=("127.0.0.1",))
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("way", ["headers", "nothing"])
def test_an_answer_that_is_none(server: ThreadingHTTPServer, way: str) -> None:
    with pytest.raises(OutboundError, match=r"no answer from http://127\.0\.0\.1:\d+: \w") as caught:
        send(Outgoing(at(server, f"/{way}/?token=1")), allow=("127.0.0.1",))
    assert (caught.value.code, "token" in caught.value.message) == ("no_answer", False)


def test_nobody_listens() -> None:
    with serving() as gone:
        url = at(gone, "/path?token=1")
    with pytest.raises(OutboundError, match=r"no connection to http://127\.0\.0\.1:\d+: \w") as caught:
        send(Outgoing(url), allow=("127.0.0.1",))
    assert (caught.value.code, "token" in caught.value.message) == ("no_connection", False)


def test_an_allowed_ipv6_address_is_tried() -> None:
    with pytest.raises(OutboundError) as caught:
        send(Outgoing("http://[::1]:1/"), allow=("[::1]",))
    assert caught.value.code == "no_connection"


def test_nothing_secret_is_in_the_text_of_a_request() -> None:
    request = Outgoing("https://a.example/", headers={"Authorization": "t0ken"}, body=b"t0ken")
    assert "t0ken" not in repr(request)


# -- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that no authority signed, for chat.internal and 127.0.0.1; its key is in the file, too."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", "/CN=chat.internal", "-addext", "subjectAltName=DNS:chat.internal,IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made = subprocess.run(["openssl", "req", *kind, *subject, "-keyout", "-"], capture_output=True, check=True)
    file.write_bytes(made.stdout)
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[ThreadingHTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server


def ask(server: ThreadingHTTPServer, host: str, *, verify_tls: bool = True) -> Answer:
    request = Outgoing(f"https://{host}:{server.server_port}/ok/", verify_tls=verify_tls)
    return send(request, allow=(host,), names={host: ["127.0.0.1"]})


def test_a_certificate_that_nobody_vouches_for(secure: ThreadingHTTPServer) -> None:
    with pytest.raises(
        OutboundError, match=r"no secure connection to https://chat\.internal:\d+: .*self-signed"
    ) as caught:
        ask(secure, "chat.internal")
    assert caught.value.code == "tls"
    assert ask(secure, "chat.internal", verify_tls=False).status == 200
    assert len(secure.seen) == 1  # type: ignore[attr-defined]


def test_the_certificate_has_to_be_that_of_the_name(
    secure: ThreadingHTTPServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask(secure, "chat.internal").status == 200
    assert ask(secure, "127.0.0.1").status == 200
    with pytest.raises(OutboundError, match="not valid for 'other") as caught:
        ask(secure, "other.internal")
    assert caught.value.code == "tls"


def test_no_tls_at_all(server: ThreadingHTTPServer) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(server, "chat.internal", verify_tls=False)
    assert caught.value.code == "tls"


# -- when to try again ----------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC+9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("3601", 3600.0),
        ("9" * 5000, 3600.0),
        ("Wed, 25 Nov 2026 12:01:30 GMT", 90.0),
        ("Wed, 25 Nov 2026 12:01:30 -0000", 90.0),
        ("Wed, 25 Nov 2026 13:01:30 +0100", 90.0),
        ("Wednesday, 25-Nov-26 12:01:30 GMT", 90.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Wed, 99 Nov 2026 12:01:30 GMT", None),
        ("Wed, 25 Nov 2026 12:01:30 +9999", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600.0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
    ],
)
@pytest.mark.usefixtures("_far_from_greenwich")
def test_when_to_try_again(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds


def test_an_answer_that_does_not_say_when() -> None:
    assert retry_after({"date": "Wed, 25 Nov 2026 12:01:30 GMT"}, NOW) is None


@given(st.text(max_size=40))
def test_any_text_as_the_time_to_wait(text: str) -> None:
    found = retry_after({"retry-after": text}, NOW)
    assert found is None or 0 <= found <= 3600
