"""The one HTTP client that leaves this machine: it checks the address that it really connects to.

Used by api steps and webhooks, whose URLs are written by people who may not be trusted with the network of this
machine. A name is resolved here, every address it has is judged, and the connection goes to a judged address, so a
name that changes its answer in between gains nothing. No proxies or cookies, no credentials in URLs, no content
encodings (a small compressed body could fill the memory).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import TracebackType
from typing import Self

import httpx

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Iterable[str]]]
"""From a host name and a port to the addresses it has, as text."""

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONNECT_TIMEOUT = 10.0
LONGEST_WAIT = 3600.0
"""Seconds: what `Retry-After` may ask for; a server must not be able to stop a run for days."""
PORTS = {"http": 80, "https": 443}

PUBLIC_IPV6 = ip_network("2000::/3")
"""All that is routed publicly (RFC 4291, IANA); NAT64, IPv4-mapped, ULA, link-local and multicast lie outside."""

NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments (RFC 6890); older Pythons call most of it global
        "168.63.129.16/32",  # the metadata service of a cloud, on an address that looks public
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "2001::/23",  # Teredo, ORCHID and other protocol assignments (RFC 2928)
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries any IPv4 address (RFC 3056)
        "3fff::/20",
    )
)

HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
SET_BY_CLIENT = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade"})
KEPT_ACROSS_HOSTS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class OutboundError(Exception):
    """The request was refused or got no answer. `code` is stable; the message never holds path, query or headers."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send. `timeout` is in seconds and covers everything, redirects too; `max_response` is in bytes.

    `redirects` is how many redirects may be followed (0: a redirect is the answer). With `leaves_rest` the rest of an
    answer that is larger is left unread, and no error.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float = 30.0
    max_response: int = 1 << 20
    leaves_rest: bool = False
    redirects: int = 0
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case; a header sent several times is joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class OutboundClient:
    """Sends requests to public addresses, and to the hosts of `allow_hosts` (`host` or `host:port`) wherever they are.

    Use it as an async context manager; `resolve` is how names become addresses.
    """

    def __init__(self, allow_hosts: Iterable[str] = (), *, resolve: Resolve | None = None) -> None:
        self._allowed = frozenset(entry.lower().rstrip(".") for entry in allow_hosts)
        self._resolve = resolve or _system_addresses
        self._transports: dict[bool, httpx.AsyncHTTPTransport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.aclose()

    async def send(self, outgoing: Outgoing) -> Answer:
        """The answer to the request, whatever its status; raises `OutboundError` when there is none."""
        check_headers(outgoing.headers)
        try:
            async with asyncio.timeout(outgoing.timeout):
                return await self._follow(outgoing)
        except TimeoutError:
            raise OutboundError("timeout", f"no whole answer within {outgoing.timeout:g} seconds") from None

    async def _follow(self, outgoing: Outgoing) -> Answer:
        limit = min(outgoing.redirects, MAX_REDIRECTS)
        for _ in range(limit + 1):
            answer = await self._send_once(outgoing)
            target = answer.headers.get("location")
            if not limit or target is None or answer.status not in REDIRECTS:
                return answer
            outgoing = redirected(outgoing, answer.status, target)
        raise OutboundError("too_many_redirects", f"more than {limit} redirects")

    async def _send_once(self, outgoing: Outgoing) -> Answer:
        url = parse_url(outgoing.url)
        failure: httpx.TransportError | None = None
        for address in await self._addresses(url):
            request = _make_request(outgoing, url, address)
            try:
                response = await self._transport(outgoing).handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
                continue
            except httpx.TransportError as error:
                raise _no_answer(url, error) from error
            return await _read(response, url, outgoing)
        raise _no_connection(url, failure)

    def _transport(self, outgoing: Outgoing) -> httpx.AsyncHTTPTransport:
        # Connections are never kept: a pool would share one TLS connection between names on the same address.
        if outgoing.verify_tls not in self._transports:
            self._transports[outgoing.verify_tls] = httpx.AsyncHTTPTransport(
                verify=httpx.create_ssl_context(verify=outgoing.verify_tls),
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        return self._transports[outgoing.verify_tls]

    async def _addresses(self, url: httpx.URL) -> list[Address]:
        host, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        try:
            addresses = [ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
        except (OSError, UnicodeError) as error:
            raise OutboundError("unknown_host", f"the name {host} cannot be resolved: {error}") from None
        if not addresses:
            raise OutboundError("unknown_host", f"the name {host} has no address")
        if not self._is_allowed(host, port):
            _refuse_private(host, addresses)
        return addresses

    def _is_allowed(self, host: str, port: int) -> bool:
        name = host.lower().rstrip(".")
        name = f"[{name}]" if ":" in name else name
        return name in self._allowed or f"{name}:{port}" in self._allowed


def is_public(address: Address) -> bool:
    """Whether the address is that of somebody on the public internet, and of nobody else.

    `is_global` alone says yes to NAT64, 6to4, IPv4-compatible and multicast addresses.
    """
    if any(address in network for network in NOT_PUBLIC if network.version == address.version):
        return False
    if isinstance(address, IPv6Address):
        return address in PUBLIC_IPV6
    return address.is_global and not address.is_multicast and not address.is_reserved


def parse_url(text: str) -> httpx.URL:
    """The URL, when it is one that may be asked for: http or https, a host, and no user or password."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise OutboundError("bad_url", f"this is no URL: {error}") from None
    if url.scheme not in PORTS:
        raise OutboundError("bad_url", f"the URL must start with http:// or https://, not {url.scheme or 'nothing'!r}")
    if not HOST.fullmatch(url.raw_host.decode("ascii")):
        raise OutboundError("bad_url", "the URL names no host, or one with characters that no host has")
    if url.port is not None and not 0 < url.port < 65536:
        raise OutboundError("bad_url", f"{url.port} is no port")
    if url.userinfo:
        raise OutboundError("bad_url", "a URL must not hold a user name or a password; use `auth`")
    return url


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuses names and values that would end the header or change how the message is framed, and a name twice."""
    if len({name.lower() for name in headers}) < len(headers):
        raise OutboundError("bad_header", "a header is given twice; upper and lower case make no difference")
    for name, value in headers.items():
        if not name or not set(name) <= TOKEN:
            raise OutboundError("bad_header", f"{name!r} cannot be the name of a header")
        if name.lower() in SET_BY_CLIENT:
            raise OutboundError("bad_header", f"the header {name} is set by the client and cannot be given")
        if not value.isascii() or not value.replace("\t", " ").isprintable():
            raise OutboundError("bad_header", f"the value of header {name} holds more than printable ASCII")


def redirected(outgoing: Outgoing, status: int, location: str) -> Outgoing:
    """The request that follows a redirect: no other scheme, and nothing secret to another host (RFC 9110 15.4)."""
    here = parse_url(outgoing.url)
    try:
        there = parse_url(str(here.join(location)))
    except (httpx.InvalidURL, ValueError):
        raise OutboundError("bad_redirect", f"{_origin(here)} redirects to something that is no URL") from None
    if there.scheme != here.scheme:
        raise OutboundError("bad_redirect", f"{_origin(here)} redirects from {here.scheme} to {there.scheme}")
    after = replace(outgoing, url=str(there))
    after = _as_get(after) if _becomes_get(outgoing.method, status) else after
    return after if _origin(there) == _origin(here) else _for_another_host(after, here)


def _for_another_host(outgoing: Outgoing, here: httpx.URL) -> Outgoing:
    if outgoing.body:
        message = f"{_origin(here)} redirects to another host, which would get the body that is meant for the first"
        raise OutboundError("bad_redirect", message)
    kept = {name: value for name, value in outgoing.headers.items() if name.lower() in KEPT_ACROSS_HOSTS}
    return replace(outgoing, headers=kept)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that an answer asks to wait before the next try (RFC 9110 10.2.3), at most `LONGEST_WAIT`.

    None when it does not ask, or in no way that can be understood. `now` is an aware time.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_WAIT)


def _becomes_get(method: str, status: int) -> bool:
    return (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST")


def _as_get(outgoing: Outgoing) -> Outgoing:
    headers = {name: value for name, value in outgoing.headers.items() if name.lower() != "content-type"}
    return replace(outgoing, method="GET", body=b"", headers=headers)


def _make_request(outgoing: Outgoing, url: httpx.URL, address: Address) -> httpx.Request:
    host = url.netloc.decode("ascii")
    headers = [("Host", host), ("Accept-Encoding", "identity"), ("Connection", "close"), *_encoded(outgoing.headers)]
    content = outgoing.body if outgoing.body or outgoing.method in ("POST", "PUT", "PATCH") else None
    return httpx.Request(
        outgoing.method,
        url.copy_with(host=str(address), fragment=None),
        headers=headers,
        content=content,
        extensions={
            "sni_hostname": url.raw_host.decode("ascii"),
            "timeout": httpx.Timeout(outgoing.timeout, connect=CONNECT_TIMEOUT).as_dict(),
        },
    )


def _encoded(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    given = {name.lower() for name in headers}
    usual = [
        (name, value) for name, value in (("User-Agent", "dagtasks"), ("Accept", "*/*")) if name.lower() not in given
    ]
    return [*usual, *headers.items()]


async def _read(response: httpx.Response, url: httpx.URL, outgoing: Outgoing) -> Answer:
    try:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise OutboundError("content_encoding", f"{_origin(url)} sent a compressed body that was not asked for")
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=await _read_body(response, outgoing),
            url=str(url),
        )
    except httpx.TransportError as error:
        raise _no_answer(url, error) from error
    finally:
        await response.aclose()


async def _read_body(response: httpx.Response, outgoing: Outgoing) -> bytes:
    body, limit = bytearray(), outgoing.max_response
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit and outgoing.leaves_rest:
            break
        if len(body) > limit:
            raise OutboundError("response_too_big", f"the response is larger than {limit} bytes")
    return bytes(body[:limit])


def _refuse_private(host: str, addresses: Iterable[Address]) -> None:
    refused = [str(address) for address in addresses if not is_public(address)]
    if refused:
        names = ", ".join(sorted(set(refused)))
        raise OutboundError(
            "address_refused",
            f"{host if names == host else f'{host} is {names}, which'} is not on the public internet; "
            f"the operator may allow it with the setting outbound.allow_hosts",
        )


def _no_answer(url: httpx.URL, error: Exception) -> OutboundError:
    return OutboundError("no_answer", f"no answer from {_origin(url)}: {_reason(error)}")


def _no_connection(url: httpx.URL, error: Exception | None) -> OutboundError:
    """Nothing of the request was sent."""
    if found := _find_tls_error(error):
        return OutboundError("tls", f"no secure connection to {_origin(url)}: {_reason(found)}")
    return OutboundError("no_connection", f"no connection to {_origin(url)}: {_reason(error)}")


def _find_tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _reason(error: BaseException | None) -> str:
    return str(error) or type(error).__name__


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.host}:{url.port or PORTS[url.scheme]}"


async def _system_addresses(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
