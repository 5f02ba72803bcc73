"""What a hostile system, or a hostile record, may try: each is refused or harmless, in 0.1 s and 50 MB.

Time is that of the CPU, times four for a machine that does other things; memory is what Python has allocated at most.
"""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from connector.endpoints.salesforce.soql import literal
from connector.endpoints.wire import Wire
from connector.errors import EndpointError
from connector.sandbox.soql import parse

SECONDS, MEMORY = 0.4, 50 << 20


@contextmanager
def bounded() -> Iterator[None]:
    tracemalloc.start()
    began = time.thread_time()
    try:
        yield
        assert time.thread_time() - began < SECONDS
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


# ---- values that would be SOQL ----------------------------------------------------------------------------

VALUES = {
    "quote": "' OR Name != '",
    "backslash before the quote": "\\' OR Name != \\'",
    "many backslashes": "\\" * 999 + "'",
    "comment": "x'--",
    "union": "x') UNION SELECT Id FROM User WHERE (Name = '",
    "semi-join": "x' AND Id IN (SELECT Id FROM User) AND Name = 'x",
    "line breaks": "a\nb\r\n' OR '\u2028' = '",
    "zero": "a\0b",
    "half a pair": "a\ud800b",
    "bidi": "\u202e'\u2066 OR 1=1",
    "wide quotes": "\uff07 OR Name \uff1d \uff07",
    "wildcards": "%_%'%",
    "bind": ":Name",
    "very long": "x" * 5_000_000,
    "very long and quoted": "'" * 100_000,
    "huge number": "9" * 100_000,
    "exponent": "1e999999999",
    "not a number": "NaN",
}
KINDS = ("string", "id", "double", "datetime", "date", "boolean", "time", "picklist")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_a_literal_or_nothing(name: str, kind: str) -> None:
    """Whatever it holds, it is one literal of the query: nothing of it is read as SOQL."""
    with bounded():
        try:
            text = literal(kind, VALUES[name])
        except ValueError:  # no field of this kind can hold it, so no row has it
            return
    query = parse(f"SELECT Id FROM Account WHERE Name = {text}")
    again = parse(f"SELECT Id FROM Account WHERE Name = {literal('string', 'plain')}")
    assert type(query.where) is type(again.where)
    assert text.count("'") >= 2 or kind in ("double", "datetime", "date", "boolean", "time")


# ---- answers ---------------------------------------------------------------------------------------------


def _chain(times: int) -> bytes:
    data = b"\0" * (64 << 20)
    for _ in range(times):
        data = gzip.compress(data)
    return data


ANSWERS: dict[str, Callable[[], tuple[int, dict[str, str], bytes]]] = {
    "gzip bomb": lambda: (200, {"Content-Encoding": "gzip"}, gzip.compress(b"\0" * (512 << 20), 1)),
    "deflate bomb": lambda: (200, {"Content-Encoding": "deflate"}, zlib.compress(b"\0" * (512 << 20), 1)),
    "bomb in a bomb": lambda: (200, {"Content-Encoding": "gzip, gzip"}, _chain(2)),
    "many small members": lambda: (200, {"Content-Encoding": "gzip"}, gzip.compress(b"\0" * (1 << 20)) * 64),
    "redirect to another host": lambda: (302, {"Location": "http://127.0.0.2:1/secret"}, b""),
    "redirect to a file": lambda: (301, {"Location": "file:///etc/passwd"}, b""),
    "redirect to itself": lambda: (307, {"Location": "/"}, b""),
    "redirect with a user": lambda: (308, {"Location": "http://a:b@127.0.0.1/"}, b""),
    "redirect without an end": lambda: (302, {"Location": "/" + "x" * 60_000}, b""),
    "unknown coding": lambda: (200, {"Content-Encoding": "br"}, b"x"),
    "deep JSON": lambda: (200, {}, b"[" * 200_000),
    "deep objects": lambda: (200, {}, b'{"a":' * 100_000),
    "huge number": lambda: (200, {}, b"9" * 1_000_000),
    "half a string": lambda: (200, {}, b'"' + b"\\u00" * 100_000),
}


@contextmanager
def served(status: int, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # the other side has had enough
                self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_refused(name: str) -> None:
    with served(*ANSWERS[name]()) as (url, asked), closing(Wire(url)) as wire:
        with bounded(), pytest.raises(EndpointError) as refused:
            wire.send("GET", "/").json()
        assert asked == ["/"]
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)


def test_a_page_that_packs_well_is_no_bomb() -> None:
    rows = [{"Id": f"a02A{n:011}IAA", **dict.fromkeys(f"Field_{m}__c" for m in range(100))} for n in range(2_000)]
    body = gzip.compress(json.dumps(rows).encode())
    with served(200, {"Content-Encoding": "gzip"}, body) as (url, _), closing(Wire(url)) as wire:
        assert wire.send("GET", "/").json() == rows
