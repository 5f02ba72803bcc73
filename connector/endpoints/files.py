"""The address of a file -> a File that can be opened. Addresses come out of records, so they are not trusted: a file stands in
its address (`data:`), or at a host that the connection names.
"""

from __future__ import annotations

import io
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from connector.errors import EndpointError, Rejected
from connector.model import File

INLINE, FETCHED = 10 << 20, 2 << 30
"""The most bytes of a file that stands in its address, and of one that is fetched: what a Salesforce file may have."""
_HELD = 8 << 20
"""Bytes of a fetched file that stay in memory; more lie in a temporary file, and go when it is closed."""


def opener(origins: Sequence[str] = ()) -> Callable[[Any], Any]:
    """What makes a File of an address; null stays null. What is wrong with it is Rejected when it is opened."""
    return lambda address: None if address in (None, "") else file(str(address), tuple(origins))


def encoded(file: File) -> str:
    """The bytes of a file as base64, as JSON carries them. Raises Rejected when there are none."""
    with file.open() as opened:
        return b64encode(opened.read()).decode()


def file(address: str, origins: tuple[str, ...]) -> File:
    if address.startswith("data:"):
        content = _inline(address)
        return File("file", partial(_opened, content), None if isinstance(content, Rejected) else len(content))
    parts = urlsplit(address)
    return File(parts.path.rpartition("/")[2] or "file", partial(_fetched, address, origins))


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


def _fetched(address: str, origins: tuple[str, ...]) -> BinaryIO:
    from connector.endpoints.wire import Wire  # noqa: PLC0415 - httpx is slow to import, and most files are none

    parts = urlsplit(address)
    origin = f"{parts.scheme}://{parts.netloc}"
    if origin not in origins:
        named = (
            f"the connection names {', '.join(origins)}" if origins else "the connection names no host under `files`"
        )
        raise Rejected(f"a file at {parts.netloc or 'no host'} is not fetched: {named}", "FILE_REFUSED")
    spool: Any = tempfile.SpooledTemporaryFile(_HELD)  # noqa: SIM115 - whoever opens a file closes it
    wire = Wire(origin, limit=FETCHED)
    try:
        reply = wire.send("GET", address, headers={"Accept": "*/*"}, into=spool)
        if busy := reply.busy():
            raise busy
        if reply.status != 200:
            raise Rejected(f"{reply.asked} answered {reply.status}: there is no such file", "FILE_MISSING")
    except EndpointError:
        spool.close()
        raise
    finally:
        wire.close()
    spool.seek(0)
    opened: BinaryIO = spool
    return opened
