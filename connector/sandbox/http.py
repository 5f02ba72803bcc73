"""The org on real HTTP: uvicorn in a thread, headers and bodies as Salesforce sends them, connections dropped on request.

Every response carries the Date of the org's clock. Bodies come chunked and gzipped, in both directions.
"""

import asyncio
import gzip
import queue
import socket
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from connector.sandbox import control, rest
from connector.sandbox.calls import Reply, Request, reply
from connector.sandbox.conditional import http_date
from connector.sandbox.delivery import Receive, Scope, Send, deliver, drop
from connector.sandbox.errors import HangUp
from connector.sandbox.files.multipart import is_multipart
from connector.sandbox.org import Org

MAX_BODY = 50 * 1024 * 1024  # 1.9: a body without parts
MAX_PARTS = 500 * 1024 * 1024  # 1.9 says 2 GB for a ContentVersion, 500 MB for the rest: here they are in memory
MAX_CSV = 150 * 1024 * 1024  # 1.10: a bulk job
MAX_URI = 16_384  # 1.6: the URI, and the URI with the headers
_CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # of a request, with what zlib calls them
_SMALL = 1_024
_UNANSWERABLE = 1024 * 1024
_GRACE = 2.0


def app(org: Org) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def serve_one(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            made = _too_long(scope) or await _made(org, scope, headers, await _body(receive, headers))
        except HangUp:
            await drop(scope, receive, "hang_up")
            return
        except _BadBody as refused:
            made = reply(refused.status, [{"message": refused.message, "errorCode": refused.code}])
        response = await run_in_threadpool(_response, org, made, headers)
        await deliver(response, made.wire, made.seconds, scope, receive, send)

    return serve_one


async def _made(org: Org, scope: Scope, headers: dict[str, str], body: bytes) -> Reply:
    origin = f"{scope['scheme']}://{headers.get('host', 'localhost')}"
    path = scope["raw_path"].decode("latin-1")
    request = Request(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body, origin)
    if path.startswith("/sandbox/"):
        client = scope["client"][0] if scope.get("client") else None
        return await run_in_threadpool(control.answer, org, request, client)
    return await run_in_threadpool(rest.answer, org, request)


def _response(org: Org, made: Reply, asked: dict[str, str]) -> Response:
    headers = {"Date": http_date(org.now()), "Cache-Control": "no-cache,must-revalidate,max-age=0,no-store,private"}
    headers |= dict(made.headers)
    if made.text is None and made.data is None:
        return Response(None, made.status, headers)
    content = (made.text or "").encode("utf-8", "replace") if made.data is None else made.data
    headers = {"Content-Type": "application/json;charset=UTF-8", "Vary": "Accept-Encoding", **headers}
    if "gzip" in asked.get("accept-encoding", "") and len(content) >= _SMALL:
        content = gzip.compress(content, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
        if "ETag" in headers:
            headers["ETag"] = f'{headers["ETag"][:-1]}--gzip"'
    return Response(content, made.status, headers)


# -- what comes in


class _BadBody(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


async def _body(receive: Receive, headers: dict[str, str]) -> bytes:
    most = MAX_PARTS if is_multipart(headers) else MAX_CSV if "csv" in headers.get("content-type", "") else MAX_BODY
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HangUp
        size += len(message.get("body", b""))
        if size > most:
            raise _BadBody(413, "REQUEST_ENTITY_TOO_LARGE", "The request body is too large")  # [U]
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    coding = headers.get("content-encoding", "").strip().lower()
    return body if coding in ("", "identity") else _unpacked(body, coding, most)


def _unpacked(body: bytes, coding: str, most: int) -> bytes:
    if coding not in _CODINGS:
        raise _BadBody(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Encoding {coding} is not supported")  # [U]
    unpacker = zlib.decompressobj(wbits=_CODINGS[coding])
    try:
        content = unpacker.decompress(body, most)
    except zlib.error:
        raise _BadBody(400, "JSON_PARSER_ERROR", f"The request body is not {coding}") from None  # [U]
    if unpacker.unconsumed_tail:
        raise _BadBody(413, "REQUEST_ENTITY_TOO_LARGE", "The request body is too large")  # [U]
    if not unpacker.eof:  # half of a table would be a table, too
        raise _BadBody(400, "JSON_PARSER_ERROR", f"The request body is not whole {coding}")  # [U]
    return content


def _too_long(scope: Scope) -> Reply | None:
    uri = len(scope["raw_path"]) + len(scope["query_string"])
    if uri > MAX_URI:
        page = "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>"
        return Reply(414, page, {"Content-Type": "text/html;charset=iso-8859-1"})
    if uri + sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_URI:
        page = "<h1>Bad Message 431</h1><pre>reason: Request Header Fields Too Large</pre>"  # [U] body
        return Reply(431, page, {"Content-Type": "text/html;charset=iso-8859-1"})
    return None


# -- the server


class _Protocol(H11Protocol):
    """Lets the application drop its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does this only for sockets made with a protocol number; without it each answer waits 40 ms for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "hang_up": transport.abort, "cut": transport.close}


@contextmanager
def serve(org: Org, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve until the block ends; the value is the org's url. Port 0 takes a free one."""
    listener = socket.create_server((host, port))
    url = f"http://{host}:{listener.getsockname()[1]}"
    started: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: asyncio.run(_run(org, listener, started.put)), name="sandbox org", daemon=True
    )
    thread.start()
    stop = started.get()
    try:
        yield url
    finally:
        stop()
        thread.join()


async def _run(org: Org, listener: socket.socket, started: Callable[[Callable[[], object]], None]) -> None:
    """uvicorn's protocol without its server, which polls: an org starts and stops within milliseconds."""
    config = uvicorn.Config(
        app(org),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=_UNANSWERABLE,
    )
    config.load()
    state, stopping, loop = ServerState(), asyncio.Event(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(config=config, server_state=state, app_state={}), sock=listener)
    started(lambda: loop.call_soon_threadsafe(stopping.set))
    await stopping.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            # each task answers a call, or lets in a connection: closed while it does, asyncio's server would leave that open
            while state.connections or len(asyncio.all_tasks()) > 1:
                for connection in list(state.connections):
                    if not connection.transport.is_closing():
                        connection.shutdown()
                await asyncio.sleep(0.001)
    server.close()
