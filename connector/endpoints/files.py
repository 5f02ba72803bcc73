"""The address of a file -> a File that can be opened. Addresses come out of records, so they are not trusted: a file stands in
its address (`data:`), or at a host that the connection names.
"""

from __future__ import annotations

import io
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from connector.errors import EndpointError, Rejected, TimedOut, Unavailable, Unreachable
from connector.model import File

if TYPE_CHECKING:
    from connector.endpoints.wire import Wire

INLINE, FETCHED = 10 << 20, 2 << 30
"""The most bytes of a file that stands in its address, and of one that is fetched: what a Salesforce file may have."""
TIME, SIGN = 120.0, 10.0
"""Seconds that a file may take, and those in which a host of which one did not come shows that it answers at all."""
_HELD = 8 << 20
"""Bytes of a fetched file that stay in memory; more lie in a temporary file, and go when it is closed."""


def opener(origins: Sequence[str] = ()) -> Callable[[Any], Any]:
    """What makes a File of an address; null stays null. To open it raises Rejected when there is something wrong with it,
    and Unavailable when its host is at fault; one that cannot be connected to, or is silent, is not asked for the next file.
    """
    down: dict[str, str] = {}
    return lambda address: None if address in (None, "") else file(str(address), tuple(origins), down)


def encoded(file: File) -> str:
    """The bytes of a file as base64, as JSON carries them. Raises what opening it raises."""
    with file.open() as opened:
        return b64encode(opened.read()).decode()


def file(address: str, origins: tuple[str, ...], down: dict[str, str]) -> File:
    if address.startswith("data:"):
        content = _inline(address)
        return File("file", partial(_opened, content), None if isinstance(content, Rejected) else len(content))
    try:
        parts = urlsplit(address)
    except ValueError as error:
        return File("file", partial(_opened, Rejected(f"a file has no address: {error}", "INVALID_FILE")))
    return File(parts.path.rpartition("/")[2] or "file", partial(_fetched, address, origins, down))


def _opened(content: bytes | Rejected) -> BinaryIO:
    if isinstance(content, Rejected):
        raise content
    return io.BytesIO(content)


def _inline(address: str) -> bytes | Rejected:
    head, comma, body = address.removeprefix("data:").partition(",")
    if not comma:
        return Rejected("a data: address has its content behind a comma; this one has none", "INVALID_FILE")
    if len(body) > INLINE * 2:
        return Rejected(f"a file in its address has {INLINE >> 20} MB at most", "FILE_TOO_LARGE")
    try:
        content = b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except ValueError:
        return Rejected("the content of a data: address is not base64", "INVALID_FILE")
    return (
        content
        if len(content) <= INLINE
        else Rejected(f"a file in its address has {INLINE >> 20} MB at most", "FILE_TOO_LARGE")
    )


def _fetched(address: str, origins: tuple[str, ...], down: dict[str, str]) -> BinaryIO:
    parts = urlsplit(address)
    origin = f"{parts.scheme}://{parts.netloc}"
    if origin not in origins:
        named = (
            f"the connection names {', '.join(origins)}" if origins else "the connection names no host under `files`"
        )
        raise Rejected(f"a file at {parts.netloc or 'no host'} is not fetched: {named}", "FILE_REFUSED")
    if origin in down:
        raise Unreachable(f"{down[origin]} (as for the file before, not tried again)")
    spool: Any = tempfile.SpooledTemporaryFile(_HELD)  # noqa: SIM115 - whoever opens a file closes it
    try:
        _fetch(origin, address, down, spool)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    opened: BinaryIO = spool
    return opened


def _fetch(origin: str, address: str, down: dict[str, str], into: BinaryIO) -> None:
    from connector.endpoints.wire import Wire  # noqa: PLC0415 - httpx is slow to import, and most files are none

    with closing(Wire(origin, deadline=TIME, limit=FETCHED)) as wire:
        try:
            reply = wire.send("GET", address, headers={"Accept": "*/*"}, into=into)
        except Unavailable as error:
            if isinstance(error, Unreachable):
                down[origin] = str(error)
            elif isinstance(error, TimedOut) and _silent(wire):
                down[origin] = f"no answer in time from {wire.origin.netloc.decode()}"
            raise
        except EndpointError as error:  # too large, sent elsewhere, no address
            raise Rejected(str(error), "FILE_REFUSED") from None
    if busy := reply.busy():
        raise busy
    if reply.status != 200:
        raise Rejected(f"{reply.asked} answered {reply.status}, and no file", "FILE_MISSING")
    page = reply.headers.get("content-type", "").strip().lower().startswith("text/html")
    if page and not address.partition("?")[0].lower().endswith((".html", ".htm")):
        raise Rejected(f"{reply.asked} answered with a page of HTML, and no file", "FILE_MISSING")


def _silent(wire: Wire) -> bool:
    """Whether the host answers nothing; if it is only one address that is not answered, no other file waits for that."""
    try:
        wire.send("HEAD", "/", safe=True, deadline=SIGN)
    except (Unreachable, TimedOut):
        return True
    except EndpointError:
        pass
    return False
