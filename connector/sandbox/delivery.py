"""An answer on its way: whole, cut off in the middle, or in small pieces with pauses (the wire faults)."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PIECES = 20


async def deliver(
    response: Response, wire: str | None, seconds: float, scope: Scope, receive: Receive, send: Send
) -> None:
    if wire is None:
        await response(scope, receive, send)
        return
    content = bytes(response.body)
    chunked = wire == "truncated_chunks"
    headers = [(name, value) for name, value in response.raw_headers if not (chunked and name == b"content-length")]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    if wire == "trickled":
        await _trickle(content, seconds, send)
        return
    await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
    await drop(scope, receive, "cut")


async def _trickle(content: bytes, seconds: float, send: Send) -> None:
    size = -(-len(content) // _PIECES) or 1
    for start in range(0, len(content), size):
        await send({"type": "http.response.body", "body": content[start : start + size], "more_body": True})
        await asyncio.sleep(seconds / _PIECES)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def drop(scope: Scope, receive: Receive, how: str) -> None:
    """hang_up at once, or cut after what was sent."""
    scope["state"][how]()
    while (await receive())["type"] != "http.disconnect":
        pass
