"""What the other side may do to a call, and what becomes of it. Real sockets wherever httpx itself is in doubt."""

import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from connector.endpoints.wire import Reply, Wire, patiently
from connector.errors import EndpointError, RateLimited, SetupError, Unanswered, Unavailable, Unreachable


class Still:
    """A clock that only moves when it is slept on."""

    def __init__(self):
        self.waits = []

    def now(self):
        return datetime(2026, 3, 2, 9, tzinfo=UTC)

    def sleep(self, seconds):
        self.waits.append(seconds)


def read(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got or (b"content-length" in got.lower() and got.endswith(b"\r\n\r\n")):
        got += connection.recv(65536)
    return got


@contextmanager
def server(*pieces: bytes, pause: float = 0.0, reset: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads one request, sends the pieces with a pause after each, and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve():
        with listening:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
        with connection:
            asked.append(read(connection))
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            except OSError:
                return
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        thread.join(10)


@contextmanager
def wired(origin="https://acme.my.salesforce.com", answer=None, **more) -> Iterator[Wire]:
    wire = Wire(origin, transport=httpx.MockTransport(answer) if answer else None, **more)
    try:
        yield wire
    finally:
        wire.close()


def says(status=200, **more):
    return lambda _: httpx.Response(status, **more)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PACKED = gzip.compress(json.dumps({"records": list(range(1000))}).encode())


# ---- where calls go --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "http://acme.my.salesforce.com",
        "ftp://acme.my.salesforce.com",
        "http://127.0.0.1.example.com",
        "acme.example.com",
    ],
)
def test_only_https_is_called_but_for_this_machine(origin):
    with pytest.raises((SetupError, EndpointError)):
        Wire(origin)


@pytest.mark.parametrize(
    "origin", ["https://acme.my.salesforce.com", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"]
)
def test_https_and_this_machine_are_called(origin):
    with wired(origin, says(json={})) as wire:
        assert wire.send("GET", "/x").status == 200


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.com/services/data",
        "//evil.example.com/services/data",
        "http://acme.my.salesforce.com/services/data",
        "https://acme.my.salesforce.com:8443/services/data",
        "https://acme.my.salesforce.com@evil.example.com/",
        "https://evil.example.com@acme.my.salesforce.com/",
        "https://acme.my.salesforce.com.evil.example.com/",
        "file:///etc/passwd",
    ],
)
def test_nothing_is_sent_to_another_origin(address):
    asked = []
    with wired(answer=asked.append) as wire, pytest.raises(EndpointError, match="not sent"):
        wire.send("GET", address, headers={"Authorization": "Bearer canary"})
    assert asked == []


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("/services/data/v66.0/query/0r8-2000", "https://acme.my.salesforce.com/services/data/v66.0/query/0r8-2000"),
        ("https://acme.my.salesforce.com/a?q=1", "https://acme.my.salesforce.com/a?q=1"),
        ("https://ACME.my.salesforce.com:443/a", "https://acme.my.salesforce.com/a"),
        ("/sobjects/X/Ext__c/a%2Fb%3Fc%23", "https://acme.my.salesforce.com/sobjects/X/Ext__c/a%2Fb%3Fc%23"),
        ("/näme and more", "https://acme.my.salesforce.com/n%C3%A4me%20and%20more"),
    ],
)
def test_a_path_or_an_address_of_the_origin_is_sent_encoded(address, sent):
    asked = []
    with wired(answer=lambda request: asked.append(str(request.url)) or httpx.Response(200)) as wire:
        wire.send("GET", address)
    assert asked == [sent]


def test_an_address_with_control_characters_is_no_address():
    with wired(answer=says()) as wire, pytest.raises(EndpointError, match="not an address"):
        wire.send("GET", "/a\r\nHost: evil.example.com")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["https://evil.example.com/", "/elsewhere", "http://acme.my.salesforce.com/"])
def test_a_redirect_is_an_error_and_not_followed(status, to):
    asked = []

    def answer(request):
        asked.append(request.url.path)
        return httpx.Response(status, headers={"Location": to})

    with wired(answer=answer) as wire, pytest.raises(EndpointError, match=f"{status}, a redirect"):
        wire.send("POST", "/services/oauth2/token", form={"a": "b"})
    assert asked == ["/services/oauth2/token"]


@pytest.mark.parametrize("status", [300, 304, 404, 503])
def test_other_statuses_are_handed_out(status):
    with wired(answer=says(status)) as wire:
        assert wire.send("GET", "/x").status == status


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with server(HEAD + b"Content-Length: 2\r\n\r\n{}") as (url, _), wired(url) as wire:
        assert wire.send("GET", "/").json() == {}


def test_cookies_are_not_kept():
    asked = []

    def answer(request):
        asked.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"Set-Cookie": "sid=1"})

    with wired(answer=answer) as wire:
        wire.send("GET", "/")
        wire.send("GET", "/")
    assert asked == [None, None]


# ---- how much and how long -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("identity", b'{"a": 1}'),
        ("gzip", gzip.compress(b'{"a": 1}')),
        ("gzip", gzip.compress(b'{"a"') + gzip.compress(b": 1}")),
        ("deflate", zlib.compress(b'{"a": 1}')),
    ],
)
def test_a_packed_body_is_unpacked(coding, body):
    head = HEAD + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with server(head, body) as (url, asked), wired(url) as wire:
        assert wire.send("GET", "/").json() == {"a": 1}
    assert b"accept-encoding: gzip, deflate" in asked[0].lower()


def test_a_bomb_is_left_packed():
    bomb = gzip.compress(b"\0" * (50 << 20))
    head = HEAD + f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with server(head, bomb) as (url, _), wired(url, limit=1 << 20) as wire:
        with pytest.raises(EndpointError, match="more than 1 MB") as caught:
            wire.send("GET", "/")
        assert not isinstance(caught.value, Unavailable)


def test_a_body_that_is_too_large_unpacked_as_it_is():
    with (
        server(HEAD + b"\r\n", b"x" * (2 << 20)) as (url, _),
        wired(url, limit=1 << 20) as wire,
        pytest.raises(Unanswered, match="more than 1 MB"),
    ):
        wire.send("POST", "/", json={})


TRUNCATED = {
    "length": [HEAD + b"Content-Length: 100\r\n\r\n{}"],
    "chunks": [HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n'],
    "gzip, close-delimited": [HEAD + b"Content-Encoding: gzip\r\n\r\n" + PACKED[:-20]],
    "json, close-delimited": [HEAD + b'\r\n{"records": ['],
    "nothing at all": [],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-"],
    "damaged gzip": [HEAD + b"Content-Encoding: gzip\r\n\r\n" + b"no gzip at all"],
    "unknown packing": [HEAD + b"Content-Encoding: br\r\n\r\nabc"],
    "not http": [b"SSH-2.0-OpenSSH\r\n\r\n"],
}


@pytest.mark.parametrize("kind", TRUNCATED)
def test_half_an_answer_to_a_get_is_none(kind):
    with server(*TRUNCATED[kind]) as (url, _), wired(url) as wire, pytest.raises(Unavailable) as caught:
        wire.send("GET", "/x").json()
    assert not isinstance(caught.value, Unanswered)


@pytest.mark.parametrize("kind", TRUNCATED)
def test_half_an_answer_to_a_write_leaves_open_whether_it_was_applied(kind):
    with server(*TRUNCATED[kind]) as (url, _), wired(url) as wire, pytest.raises(Unanswered):
        wire.send("POST", "/x", json={}).json()


def test_a_reset_after_the_request_leaves_a_write_open():
    with server(reset=True) as (url, _), wired(url) as wire, pytest.raises(Unanswered, match="POST http://127"):
        wire.send("POST", "/x", json={})


def test_a_write_that_found_nobody_was_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        wired(f"http://127.0.0.1:{port}") as wire,
        pytest.raises(Unavailable, match="no connection to 127") as caught,
    ):
        wire.send("POST", "/x", json={})
    assert not isinstance(caught.value, Unanswered)


TRICKLES = {
    "body": [HEAD + b"Content-Length: 100\r\n\r\n", *[b"x"] * 100],
    "head": [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100],
    "silence": [b""] * 100,
}


@pytest.mark.parametrize("kind", TRICKLES)
def test_the_deadline_is_for_the_whole_call(kind):
    began = time.monotonic()
    with server(*TRICKLES[kind][:15], pause=0.1) as (url, _):
        with wired(url, deadline=0.4) as wire, pytest.raises(Unavailable, match="no answer in time"):
            wire.send("GET", "/x")
        assert time.monotonic() - began < 1.2


# ---- what is said ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "read", "write"),
    [
        (406, {}, Unavailable, Unavailable),
        (420, {}, Unavailable, Unavailable),
        (429, {}, RateLimited, RateLimited),
        (503, {"Retry-After": "7"}, RateLimited, RateLimited),
        (500, {}, Unavailable, Unanswered),
        (502, {}, Unavailable, Unanswered),
        (503, {}, Unreachable, Unanswered),
    ],
)
def test_a_busy_server_is_unavailable_and_only_5xx_leaves_a_write_open(status, headers, read, write):
    with wired(answer=says(status, headers=headers)) as wire:
        assert type(wire.send("GET", "/").busy()) is read
        assert type(wire.send("POST", "/").busy()) is write
        assert type(wire.send("POST", "/", safe=True).busy()) is read


@pytest.mark.parametrize("status", [200, 304, 400, 401, 403, 404])
def test_other_statuses_are_not_busy(status):
    with wired(answer=says(status)) as wire:
        assert wire.send("GET", "/").busy() is None


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Mon, 02 Mar 2026 09:00:30 GMT", "Date": "Mon, 02 Mar 2026 09:00:00 GMT"}, 30.0),
        ({"Retry-After": "Mon, 02 Mar 2026 09:00:30 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_it_waits_as_told(headers, wait):
    with wired(answer=says(429, headers=headers)) as wire:
        assert wire.send("GET", "/").busy().wait == wait


def test_a_message_has_no_query_and_no_secret(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)

    def answer(request):
        raise httpx.ReadError("connection reset")

    with wired(answer=answer) as wire, pytest.raises(Unavailable) as caught:
        wire.send("GET", "/query?q=SELECT+canary", headers={"Authorization": "Bearer canary"})
    error = caught.value
    assert str(error) == "GET https://acme.my.salesforce.com/query was not answered in full: connection reset"
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert "canary" not in caplog.text


@pytest.mark.parametrize("key", ["canary\nX: y", "canary\0"])
def test_a_header_that_cannot_be_sent_is_not_quoted(key):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with wired(url) as wire, pytest.raises(EndpointError, match="was not sent: a header") as caught:
            wire.send("GET", "/x", headers={"Authorization": f"Bearer {key}"})
    assert "canary" not in str(caught.value)
    assert not isinstance(caught.value, Unavailable)


def test_a_reply_does_not_show_what_it_carries():
    assert "canary" not in repr(Reply(200, "GET https://a/", True, {"X": "canary"}, b"canary"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_what_is_not_json_is_an_error_of_ours(body):
    with pytest.raises(Unavailable, match="not JSON"):
        Reply(200, "GET https://a/", True, {}, body).json()


def test_httpx_is_imported_only_where_it_is_needed():
    code = "import sys, connector.model, connector.errors, connector.shape, connector.endpoints; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- patience --------------------------------------------------------------------------------------------


def failing(*errors):
    left = list(errors)

    def ask():
        if left:
            raise left.pop(0)
        return "done"

    return ask


def test_an_unavailable_system_is_asked_again_after_growing_random_pauses():
    clock = Still()
    assert patiently(failing(*[Unavailable("no")] * 4), clock) == "done"
    assert len(clock.waits) == 4
    assert all(0 <= wait <= 2**at for at, wait in enumerate(clock.waits, 1))


def test_patience_ends():
    clock = Still()
    with pytest.raises(Unavailable):
        patiently(failing(*[Unavailable("no")] * 5), clock)
    assert len(clock.waits) == 4


def test_it_waits_at_least_as_long_as_told():
    clock = Still()
    assert patiently(failing(RateLimited("no", 7.0)), clock) == "done"
    assert 7 <= clock.waits[0] <= 9


@pytest.mark.parametrize(
    "error", [Unanswered("?"), RateLimited("no", None), RateLimited("no", 3600.0), EndpointError("no")]
)
def test_a_lost_answer_and_a_long_wait_are_for_the_caller(error):
    clock = Still()
    with pytest.raises(type(error)):
        patiently(failing(error), clock)
    assert clock.waits == []
