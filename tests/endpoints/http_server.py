"""Real HTTP servers for tests: a function answers each request. One of them keeps items, as `apis/crud.yaml` describes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connector import source
from connector.endpoints.http.adapter import Http
from connector.lint import check_source
from connector.model import Query, Row


@dataclass(frozen=True)
class Asked:
    """`path` as it was sent, `steps` unescaped; `body` parsed where it is JSON."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def steps(self) -> list[str]:
        return [unquote(step) for step in self.path.strip("/").split("/")]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw.decode()))


@dataclass(frozen=True)
class Answer:
    """`body` of bytes goes out as it is, None not at all, anything else as JSON. `drop`: no answer, the call was taken."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


@contextmanager
def serving(answer: Callable[[Asked], Answer | Any]) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a server, and all that it was asked. What `answer` gives that is no Answer goes out as JSON."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            url = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append(
                Asked(self.command, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, raw)
            )
            said = answer(asked[-1])
            said = said if isinstance(said, Answer) else Answer(said)
            if said.drop:
                self.close_connection = True
                return
            body = (
                said.body
                if isinstance(said.body, bytes)
                else b""
                if said.body is None
                else json.dumps(said.body).encode()
            )
            self.send_response_only(said.status)
            for name, value in {"Content-Length": str(len(body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = handle_one  # noqa: N815

        def log_message(self, *_given: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Crud:
    """Items with a title that must not be `refuse me`; pages by cursor, creates in batches, fields set whole."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.page = 200

    def __call__(self, asked: Asked) -> Any:
        kind, *rest = asked.steps
        if kind != "items" or asked.headers.get("authorization") != "Bearer k-123456":
            return Answer({"error": "no"}, 404 if kind != "items" else 401)
        match asked.method, rest:
            case "GET", []:
                wanted = asked.query.get("title")
                rows = [row for row in self.rows.values() if wanted is None or row["title"] == wanted]
                at = int(asked.query.get("after", 0))
                more = {"next": at + self.page} if at + self.page < len(rows) else {}
                return {"data": rows[at : at + self.page], "paging": more}
            case "POST", ["batch"]:
                return Answer({"results": [self.made(values) for values in asked.body["items"]]}, 207)
            case "PATCH", [known]:
                row = self.rows.get(int(known)) if known.isdecimal() else None
                if row is None:
                    return Answer({"error": {"message": f"there is no item {known}", "code": "not_found"}}, 404)
                self.set(row, asked.body)
                return Answer(None, 204)
        return Answer({"error": "no"}, 405)

    def made(self, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("title") == "refuse me":
            return {"error": {"message": "this title is refused", "code": "bad_title"}}
        row = {"id": len(self.rows) + 1, "title": None, "updated_at": "2025-03-10T14:30:00Z"}
        self.rows[row["id"]] = row
        self.set(row, values)
        return {"id": row["id"]}

    def set(self, row: dict[str, Any], values: dict[str, Any]) -> None:
        for name, value in values.items():
            row[name] = {**row.get(name, {}), **value} if name == "address" else value


class Moving:
    """A clock that moves when it is slept on, and remembers how long."""

    def __init__(self) -> None:
        self.at, self.waits = datetime(2026, 3, 2, 9, tzinfo=UTC), list[float]()

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += timedelta(seconds=seconds)


@contextmanager
def spoken(
    api: str, answer: Callable[[Asked], Any], clock: Any = None, **settings: Any
) -> Iterator[tuple[Http, list[Asked]]]:
    """The endpoint that the text of an api file describes, before a server; and what that is asked. The text is right."""
    read = source.parse(f"api: vendor\n{api}", "vendor.yaml")
    assert [finding for finding in check_source(read) if finding.level == "error"] == []
    with serving(answer) as (url, asked):
        endpoint = Http("vendor", {"url": url, "api": read.tree, **settings}, clock=clock or Moving())
        with closing(endpoint):
            yield endpoint, asked


def rows(endpoint: Http, name: str = "staff", **query: Any) -> list[Row]:
    query = {"whole": True, "stamped": False} | query
    return [row for page in endpoint.read([Query(name, **query)]) for row in page.rows]
