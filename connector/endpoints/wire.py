"""Turn a method and an address into a Reply, or into an error of ours. The one module that imports httpx.

The other side is not trusted: it cannot send us elsewhere (pinned origin, no redirects, no proxy of the environment), keep
what it told us (no cookies), hold us up (one deadline for the whole call) or fill our memory (bytes are counted while
they are unpacked). httpx's Client is left out on purpose: it is what follows, remembers and logs.
"""

from __future__ import annotations

import json as jsonlib
import logging
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpcore
import httpx

from connector.errors import EndpointError, RateLimited, SetupError, Unanswered, Unavailable
from connector.model import Clock

T = TypeVar("T")
Transport = httpx.BaseTransport
NOT_MODIFIED = 304
LONGEST = 60.0
"""Seconds that are waited within a call; whoever is told to wait longer says so to the caller."""
_NOT_NOW = {406, 420}
"""Besides 429 and 5xx: how Salesforce's edge says that it could not serve the call. Nothing was applied."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

for _name in ("httpx", "httpcore"):  # their lines show addresses with query strings
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """`asked` is method and address without query, for messages; `safe`: asking again does no harm."""

    status: int
    asked: str
    safe: bool
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            raise self.odd("with something that is not JSON") from None

    def odd(self, what: str) -> EndpointError:
        """An answer that does not hold together. Of a write one cannot know whether it was applied."""
        kind = Unavailable if self.safe else Unanswered
        return kind(f"{self.asked} answered {self.status} {what}")

    def busy(self, why: str = "") -> EndpointError | None:
        """The error if this status asks for another try later. Only 5xx leaves open whether a write was applied."""
        text = f"{self.asked} answered {self.status}{why and f' ({why})'}"
        if self.status == 429 or (self.status == 503 and "retry-after" in self.headers):
            return RateLimited(f"{text}: too many calls at the moment", self._wait())
        if self.status in _NOT_NOW or (self.status >= 500 and self.safe):
            return Unavailable(f"{text}: not available at the moment")
        if self.status >= 500:
            return Unanswered(f"{text}: it may or may not have applied the call")
        return None

    def _wait(self) -> float:
        told = self.headers.get("retry-after", "0")
        try:
            return float(told) if told.isdigit() else _seconds(told) - _seconds(self.headers["date"])
        except (KeyError, ValueError, TypeError):
            return 0.0


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def patiently(ask: Callable[[], T], clock: Clock, attempts: int = 5) -> T:
    """`ask()`, and again after a random pause (full jitter, or as told) while it raises that it is busy or unreachable.

    Not when the answer was lost (the caller has to look first), nor when told to wait for long.
    """
    for attempt in range(1, attempts):
        try:
            return ask()
        except Unanswered:
            raise
        except Unavailable as error:
            pause = random.uniform(0, min(LONGEST, 2.0**attempt))  # noqa: S311 - spreads load, guards nothing
            if isinstance(error, RateLimited):
                if error.wait is None or error.wait > LONGEST:
                    raise
                pause += error.wait
        clock.sleep(pause)
    return ask()


class Wire:
    """Calls to one origin (scheme, host and port). Threads may share it."""

    def __init__(
        self, origin: str, *, transport: Transport | None = None, deadline: float = 120.0, limit: int = 128 << 20
    ) -> None:
        self.origin = _address(origin).copy_with(path="/", query=None, fragment=None)
        if self.origin.scheme != "https" and not (self.origin.scheme == "http" and loopback(self.origin.host)):
            raise SetupError(f"{origin}: only https addresses are called (http only on this machine, at 127.0.0.1)")
        self._deadline = deadline
        self._limit = limit
        self._network = _Network()
        self._transport = transport or _Transport(self._network)

    def send(
        self,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Reply:
        """One attempt. `address` is a path, or absolute at this origin; `safe` defaults to whether it is a GET."""
        safe = method == "GET" if safe is None else safe
        url = self._pinned(address)
        asked = f"{method} {url.copy_with(query=None, fragment=None)}"
        request = httpx.Request(
            method,
            url,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip, deflate", **(headers or {})},
            params=params,
            json=json,
            data=form,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._deadline)},
        )
        until = self._network.until = time.monotonic() + self._deadline
        try:
            response = self._transport.handle_request(request)
            try:
                body = self._unpacked(response, until)
            finally:
                response.close()
        except _NOT_SENT as error:
            raise Unavailable(f"no connection to {url.host}: {_reason(error)}") from None
        except _TooLarge:
            kind = EndpointError if safe else Unanswered
            raise kind(f"{asked} answered with more than {self._limit >> 20} MB: not read any further") from None
        except httpx.HTTPError as error:
            kind = Unavailable if safe else Unanswered
            raise kind(f"{asked} was not answered in full: {_reason(error)}") from None
        if 300 < response.status_code < 400 and response.status_code != NOT_MODIFIED:
            raise EndpointError(
                f"{asked} answered {response.status_code}, a redirect, which is not followed: "
                "put the system's own address into the connection (for Salesforce its My Domain host)"
            )
        return Reply(response.status_code, asked, safe, response.headers, body)

    def close(self) -> None:
        self._transport.close()

    def _pinned(self, address: str) -> httpx.URL:
        url = self.origin.join(_address(address))
        if (url.scheme, url.host, url.port, url.userinfo) != (
            self.origin.scheme,
            self.origin.host,
            self.origin.port,
            b"",
        ):
            raise EndpointError(f"a call meant for {self.origin.host} was to go to {url.host}: not sent")
        return url

    def _unpacked(self, response: httpx.Response, until: float) -> bytes:
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", "deflate"):
            raise httpx.DecodingError(f"unknown content encoding {coding[:20]!r}")
        unzip = None if coding == "identity" else zlib.decompressobj(47)  # 47: gzip or zlib, as it turns out
        raw, parts, size = 0, list[bytes](), 0
        for chunk in _stream(response):
            if time.monotonic() > until:
                raise httpx.ReadTimeout("the answer took too long")
            raw += len(chunk)
            rest = chunk
            while rest:
                if unzip is None:
                    part, rest = rest, b""
                else:
                    if unzip.eof:  # a gzip body may have several members
                        unzip = zlib.decompressobj(47)
                    part, rest = _inflate(unzip, rest, self._limit + 1 - size)
                parts.append(part)
                size += len(part)
                if size > self._limit:
                    raise _TooLarge
        whole = response.headers.get("content-length", "")
        if response.status_code not in (204, NOT_MODIFIED) and whole.isdigit() and int(whole) != raw:
            raise httpx.RemoteProtocolError("the answer ended early")
        if unzip is not None and raw and not unzip.eof:
            raise httpx.RemoteProtocolError("the packed answer ended early")
        return b"".join(parts)


class _TooLarge(Exception):
    pass


def _inflate(unzip: Any, chunk: bytes, most: int) -> tuple[bytes, bytes]:
    try:
        return unzip.decompress(chunk, most), unzip.unused_data
    except zlib.error:
        raise httpx.DecodingError("the packed answer is damaged") from None


def _stream(response: httpx.Response) -> Iterable[bytes]:
    stream = response.stream
    assert isinstance(stream, httpx.SyncByteStream)  # noqa: S101 - a synchronous transport has no other
    return stream


def _address(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise EndpointError(f"not an address: {error}") from None


def loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


class _Transport(httpx.HTTPTransport):
    """httpx's transport over our network; certificates are always checked, and nothing is taken from the environment."""

    def __init__(self, network: _Network) -> None:
        self._pool = httpcore.ConnectionPool(network_backend=network, keepalive_expiry=15.0)


class _Network(httpcore.NetworkBackend, threading.local):
    """Sockets whose every wait ends at `until`, that of the call under way in this thread.

    A time-out of httpx is for one read: a server that sends a byte now and then could hold a call up for ever.
    """

    until = 0.0

    def left(self, timeout: float | None) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the call took too long")
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        real = httpcore.SyncBackend().connect_tcp(host, port, self.left(timeout), local_address, socket_options)
        return _Stream(real, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, real: httpcore.NetworkStream, network: _Network) -> None:
        self._real = real
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._real.read(max_bytes, self._network.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._real.write(buffer, self._network.left(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._real.start_tls(ssl_context, server_hostname, self._network.left(timeout)), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._real.get_extra_info(info)

    def close(self) -> None:
        self._real.close()
