"""Turn a method and an address into a Reply, or into an error of ours. The one module that imports httpx.

The other side is not trusted: it cannot send us elsewhere (pinned origin, no redirects, no proxy of the environment), keep
what it told us (no cookies), hold us up (one deadline for the whole call) or fill our memory (bytes are counted while
they are unpacked). httpx's Client is left out on purpose: it is what follows, remembers and logs.
"""

from __future__ import annotations

import json as jsonlib
import logging
import random
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, TypeVar

import httpcore
import httpx
import msgspec

from connector.errors import (
    EndpointError,
    RateLimited,
    Rejected,
    SetupError,
    TimedOut,
    Unanswered,
    Unavailable,
    Unreachable,
)
from connector.model import Clock

T = TypeVar("T")
Texts = Mapping[str, str]
Transport = httpx.BaseTransport
Decode = Callable[[bytes | msgspec.Raw], Any]
Content = Callable[[], Iterator[bytes]]
"""A body in pieces, from the beginning each time it is asked for."""
NOT_MODIFIED = 304
FLAT, RATIO = 16 << 20, 200
"""A packed answer may have so many bytes however it is packed, and more only up to so many for each that was sent: pages of
records have 10 to 50, a bomb has 1,000.
"""
LONGEST = 60.0
"""Seconds that are waited within a call; whoever is told to wait longer says so to the caller."""
NOT_NOW = {406, 420, 429}
"""Besides 5xx: how a system, or Salesforce's edge, says that it could not serve the call. Nothing was applied."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

for _name in ("httpx", "httpcore"):  # their lines show addresses with query strings
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """`asked` is method and address without query, for messages; `safe`: asking again does no harm."""

    status: int
    asked: str
    safe: bool
    headers: Texts = field(repr=False)
    body: bytes = field(repr=False)

    def json(self, decode: Decode | None = None) -> Any:
        """By `decode` if it takes the body; what it refuses is the standard parser's to read, or to call no JSON."""
        if decode:
            with suppress(msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError):
                return decode(self.body)
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            raise self.odd("with something that is not JSON") from None

    def odd(self, what: str) -> EndpointError:
        """An answer that does not hold together. Of a write one cannot know whether it was applied."""
        return (Unavailable if self.safe else Unanswered)(f"{self.asked} answered {self.status} {what}")

    def busy(self, why: str = "") -> EndpointError | None:
        """The error if this status asks for another try later. Only 5xx leaves open whether a write was applied."""
        text = f"{self.asked} answered {self.status}{why and f' ({why})'}"
        if self.status == 429 or (self.status == 503 and "retry-after" in self.headers):
            return RateLimited(f"{text}: too many calls at the moment", self._wait())
        if self.status in NOT_NOW or (self.status >= 500 and self.safe):
            return (Unreachable if self.status == 503 else Unavailable)(f"{text}: not available at the moment")
        return Unanswered(f"{text}: it may or may not have applied the call") if self.status >= 500 else None

    def _wait(self) -> float:
        told = self.headers.get("retry-after", "0")
        try:
            until, at = (parsedate_to_datetime(date) for date in (told, self.headers["date"]))
            return (until - at).total_seconds()
        except (KeyError, ValueError, TypeError):
            return float(told) if told.isdigit() else 0.0


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
            told = error.wait if isinstance(error, RateLimited) else 0.0
            if told is None or told > LONGEST:
                raise
        clock.sleep(told + random.uniform(0, min(LONGEST, 2.0**attempt)))  # noqa: S311 - spreads load, guards nothing
    return ask()


class Wire:
    """Calls to one origin (scheme, host and port). Threads may share it."""

    def __init__(
        self, origin: str, *, transport: Transport | None = None, deadline: float = 120.0, limit: int = 128 << 20
    ) -> None:
        self.origin = _address(origin).copy_with(path="/", query=None, fragment=None)
        if self.origin.scheme != "https" and not (self.origin.scheme == "http" and loopback(self.origin.host)):
            raise SetupError(f"{origin}: only https addresses are called (http only on this machine, at 127.0.0.1)")
        self._deadline, self._limit, self._network = deadline, limit, _Network()
        self._transport = transport or _Transport(self._network)

    def send(
        self,
        method: str,
        address: str,
        *,
        headers: Texts | None = None,
        json: Any = None,
        form: Texts | None = None,
        content: Content | None = None,
        safe: bool | None = None,
        deadline: float | None = None,
        into: BinaryIO | None = None,
    ) -> Reply:
        """One attempt. `address` is a path, or absolute at this origin; `safe` defaults to whether it is a GET.

        With `into` the body is written there as it comes, and is not in the Reply.
        """
        deadline = self._deadline if deadline is None else deadline
        safe = method == "GET" if safe is None else safe
        url = self._pinned(address)
        asked = f"{method} {url.copy_with(query=None, fragment=None)}"
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", **(headers or {})}
        times = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), deadline)}
        sent: dict[str, Any] = {"content": content()} if content else {"json": json, "data": form}
        try:
            request = httpx.Request(method, url, headers=headers, extensions=times, **sent)
        except (TypeError, ValueError) as error:
            raise Rejected(f"{asked} cannot carry a value: {error}", "INVALID_VALUE") from None
        self._network.until = time.monotonic() + deadline
        try:
            response = self._transport.handle_request(request)
            try:
                body = self._unpacked(response, into)
            finally:
                response.close()
        except _NOT_SENT as error:
            said = f"no connection to {url.netloc.decode()}: {_reason(error)}; is the address right, and the system up?"
            raise Unreachable(said) from None
        except httpx.LocalProtocolError:  # its text quotes the header: a token, a key
            raise EndpointError(
                f"{asked} was not sent: a header (a token, a key?) has a character not allowed"
            ) from None
        except (httpx.HTTPError, zlib.error) as error:
            late = isinstance(error, httpx.TimeoutException)
            kind: type[EndpointError] = (TimedOut if late else Unavailable) if safe else Unanswered
            raise kind(f"{asked} was not answered in full: {_reason(error)}") from None
        if body is None:
            kind = EndpointError if safe else Unanswered
            raise kind(
                f"{asked} answered with more than {self._limit >> 20} MB, or packed what is far more: not read any further"
            )
        if 300 < response.status_code < 400 and response.status_code != NOT_MODIFIED:
            raise EndpointError(
                f"{asked} answered {response.status_code}, a redirect, which is not followed: "
                "put the system's own address into the connection (for Salesforce its My Domain host)"
            )
        return Reply(response.status_code, asked, safe, response.headers, body)

    def close(self) -> None:
        self._transport.close()

    def _pinned(self, address: str) -> httpx.URL:
        url, origin = self.origin.join(_address(address)), self.origin
        if (url.scheme, url.host, url.port, url.userinfo) != (origin.scheme, origin.host, origin.port, b""):
            raise EndpointError(f"a call meant for {origin.host} was to go to {url.host}: not sent")
        return url

    def _unpacked(self, response: httpx.Response, into: BinaryIO | None) -> bytes | None:
        """The body; None as soon as it is too large."""
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", "deflate"):
            raise httpx.DecodingError(f"unknown content encoding {coding[:20]!r}")
        unzip, parts, size, packed = None, list[bytes](), 0, 0
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - a synchronous transport has no other
        for chunk in response.stream:
            packed += len(chunk)
            most = min(self._limit, max(FLAT, RATIO * packed)) if coding != "identity" else self._limit
            while chunk:
                part, rest = chunk, b""
                if coding != "identity":
                    if unzip is None or unzip.eof:  # a gzip body may have several members
                        unzip = zlib.decompressobj(47)  # 47: gzip or zlib, as it turns out
                    part, rest = unzip.decompress(chunk, most + 1 - size), unzip.unused_data
                (parts.append if into is None else into.write)(part)
                size += len(part)
                if size > most:
                    return None
                chunk = rest  # noqa: PLW2901 - what is left of it
        if unzip is not None and not unzip.eof:
            raise httpx.RemoteProtocolError("the packed answer ended early")
        return b"".join(parts)


def _address(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise EndpointError(f"not an address: {error}") from None


def loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def _reason(error: Exception) -> str:
    late = isinstance(error, httpx.TimeoutException)
    said = re.sub(r"\[Errno -?\d+\] ", "", str(error))
    return "no answer in time" if late else said or type(error).__name__


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

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *more: Any, **named: Any) -> _Stream:
        return _Stream(httpcore.SyncBackend().connect_tcp(host, port, self.left(timeout), *more, **named), self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, real: httpcore.NetworkStream, network: _Network) -> None:
        self._real, self._network = real, network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._real.read(max_bytes, self._network.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._real.write(buffer, self._network.left(timeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        return _Stream(self._real.start_tls(ssl_context, server_hostname, self._network.left(timeout)), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._real.get_extra_info(info)

    def close(self) -> None:
        self._real.close()
