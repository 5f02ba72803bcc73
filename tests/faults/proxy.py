"""What stands between the adapter and the sandbox org: real HTTP on loopback, and a fault at the n-th request of a run.

Whatever a network, an edge or a broken org does to one exchange is a function: it is given what hands the request on
(`forward`), and returns the answer that goes out, and how that ends.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER of no seconds: to close is to reset


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def named(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


@dataclass(frozen=True)
class Answer:
    """`framed`: with its length; `cut`: only so many bytes of head and body; then the connection stays, or ends, or hangs."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    framed: bool = True
    cut: int | None = None
    pieces: int = 1
    end: Literal["stays", "closed", "reset", "hangs"] = "stays"

    def raw(self) -> bytes:
        told = {**self.headers, **({"Content-Length": str(len(self.body))} if self.framed else {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode("latin-1") + self.body


Bend = Callable[[Asked, Callable[[], Answer]], Answer]
NOTHING = Answer(0, cut=0, end="closed")


class Proxy:
    """`bend` strikes at request number `at` of what has come since `begin`, or from there on if it is `lasting`."""

    def __init__(self, org: str) -> None:
        self.org = org.removeprefix("http://")
        self.asked: list[str] = []
        self.bend: Bend | None = None
        self.at, self.lasting, self.refuses = 0, False, False
        self.before: Answer | None = None
        """The latest answer that nothing happened to."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.threads: list[threading.Thread] = []
        self.listening = True
        self._listen()

    # ---- what a test says ----

    def begin(self, bend: Bend | Literal["refused"] | None = None, at: int = 0, *, lasting: bool = False) -> None:
        self.asked, self.at, self.lasting, self.before = [], at, lasting, None
        self.refuses = bend == "refused"
        self.bend = None if bend == "refused" else bend  # type: ignore[assignment]
        if self.refuses and at == 1:
            self._deafen()
        elif not self.refuses:
            self.hear()

    def hear(self) -> None:
        """Take connections again."""
        if not self.listening:
            self.listener = socket.create_server(("127.0.0.1", self.port))
            self.listening = True
            self._listen()

    def close(self) -> None:
        self._deafen()
        for thread in self.threads:
            thread.join(10)

    # ---- connections ----

    def _deafen(self) -> None:
        if self.listening:
            self.listening = False
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def _listen(self) -> None:
        self._thread(self._accept, self.listener)

    def _thread(self, act: Callable[[Any], None], given: Any) -> None:
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        self.threads.append(threading.Thread(target=act, args=(given,), daemon=True))
        self.threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        behind = http.client.HTTPConnection(self.org)
        try:
            with connection, connection.makefile("rb") as stream, suppress(OSError):
                while (asked := _read(stream)) and self._exchange(connection, behind, asked):
                    pass
        finally:
            behind.close()

    def _exchange(self, connection: socket.socket, behind: http.client.HTTPConnection, asked: Asked) -> bool:
        self.asked.append(asked.named)
        number = len(self.asked)

        def forward() -> Answer:
            behind.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
            got = behind.getresponse()
            headers = {name: value for name, value in got.getheaders() if name.lower() not in _FRAMING}
            return Answer(got.status, got.read(), headers)

        struck = self.bend and (number >= self.at if self.lasting else number == self.at)
        answer = self.bend(asked, forward) if self.bend and struck else forward()
        if not struck:
            self.before = answer
        if self.refuses and number == self.at - 1:
            self._deafen()
            answer = replace(answer, headers={**answer.headers, "Connection": "close"}, end="closed")
        return _sent(connection, answer)


_FRAMING = {"content-length", "transfer-encoding", "connection"}


def _read(stream: Any) -> Asked | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = dict(line.split(": ", 1) for line in iter(lambda: stream.readline().decode("latin-1").rstrip("\r\n"), ""))
    length = next((int(value) for name, value in headers.items() if name.lower() == "content-length"), 0)
    return Asked(first[0], first[1], headers, stream.read(length))


def _sent(connection: socket.socket, answer: Answer) -> bool:
    raw = answer.raw()[: answer.cut]
    size = -(-len(raw) // answer.pieces) or 1
    for start in range(0, len(raw), size):
        connection.sendall(raw[start : start + size])
    if answer.end == "hangs":
        connection.recv(1)  # until the other side gives up
    if answer.end == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return answer.end == "stays" and answer.framed


@contextmanager
def standing_before(org: str) -> Iterator[Proxy]:
    proxy = Proxy(org)
    try:
        yield proxy
    finally:
        proxy.close()
