"""A system as its api file describes it, on loopback: real HTTP over rows in memory. No vendor is known here.

It answers the calls that the file declares: lists and searches by cursor, page or offset, and calls that write one record, all
signed by a header. What a file says in other ways (tokens, batches, forms, links, paths that compute) is not served.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from connector import canon
from connector.endpoints.http.call import filled, holes
from connector.endpoints.http.rows import READ, SENT, formed
from connector.endpoints.memory import Fault, Memory
from connector.errors import SpecError
from connector.model import Change, Clock, Row, Verb

_HOLE = re.compile(r"\{(\w+)\}")
_PATH = re.compile(r"!?\w+(\.\w+)*")
_UNSERVED = ("mint", "batch", "form", "link")


class Answer(msgspec.Struct, frozen=True):
    """`body` None with `status` 0: the connection breaks."""

    status: int
    body: Any = None


class Route(msgspec.Struct, frozen=True):
    """One call of the file. `verb` is list, find, create, update or save, `field` what a find looks for."""

    object: str
    verb: str
    node: Any
    field: str = ""

    def holds(self, method: str, url: str, body: Any) -> dict[str, Any] | None:
        """What stands for its placeholders in a request; None when that is another call."""
        asked, parts = urlsplit(url), self.node["call"].split(" ", 1)[1].split("/")
        steps = asked.path.split("/")
        if method != self.node["call"].split(" ", 1)[0] or len(parts) != len(steps):
            return None
        sent = body if self.node.get("json") or self.verb in ("create", "update", "save") else {}
        said = self.node.get("json", "{fields}" if sent is body else {})
        query = dict(parse_qsl(asked.query, keep_blank_values=True))
        found = caught([parts, self.node.get("query", {}), said], [list(map(unquote, steps)), query, sent])
        needed = {"find": {"value", "values"}, "update": {"id", "record"}}.get(self.verb)
        return found if found is None or needed is None or needed & found.keys() else None


def caught(node: Any, given: Any) -> dict[str, Any] | None:
    """The other way round of `filled`: the values of a node's placeholders, or None when it does not say this."""
    if isinstance(node, str) and (names := _HOLE.findall(node)):
        if _HOLE.fullmatch(node):
            return {names[0]: given}
        shape = "(.*)".join(map(re.escape, _HOLE.split(node)[::2]))
        hit = re.fullmatch(shape, str(given), re.DOTALL)
        return dict(zip(names, hit.groups(), strict=True)) if hit else None
    if isinstance(node, dict):
        if not isinstance(given, dict) or not given.keys() <= node.keys():
            return None
        if any(key not in given and not holes(each) for key, each in node.items()):
            return None
        pairs = [(each, given[key]) for key, each in node.items() if key in given]
    elif isinstance(node, list):
        if not isinstance(given, list) or len(given) != len(node):
            return None
        pairs = list(zip(node, given, strict=True))
    else:
        return {} if given in (node, json.dumps(node)) else None
    found: dict[str, Any] = {}
    for each, value in pairs:
        some = caught(each, value)
        if some is None:
            return None
        found |= some
    return found


def placed(answer: Row, path: str | None, value: Any) -> Row:
    """The answer with a value at a dotted path; `!path` says the contrary. No path: as it was."""
    if path is None:
        return answer
    name, _, rest = path.removeprefix("!").partition(".")
    value = not value if path.startswith("!") else value
    return answer | {name: placed(answer.get(name) or {}, rest, value) if rest else value}


def _refused(name: str, node: Any) -> None:
    """Raises SpecError for an api file that says more than is served here."""
    paths = [node[key] for key in ("items", "next", "more", "total") if key in node]
    said = next((key for key in _UNSERVED if isinstance(node.get(key), dict | str)), None)  # batch: 50 is a search's
    said = said or next((path for path in paths if not _PATH.fullmatch(path)), None)
    said = said or ("a save that finds by its fields" if node.get("repeatable") and not holes(node) else None)
    if said:
        raise SpecError(f"api {name}: {said} cannot be served on this machine (only: memory)")


@dataclass
class System:
    """`tree` is an api file that lint finds right, `secrets` what its header holds. Rows carry `object` and `id`."""

    tree: Any
    clock: Clock
    given: Sequence[Row] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    page: int = 50
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.routes = list(self._routes())
        self._failed: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._memory = Memory(self.tree["api"], clock=self.clock)
        for row in self.given:
            self.edit(row["object"], row, new=True)

    def _routes(self) -> Iterator[Route]:
        """Searches first: a list by the same address says less."""
        name, objects = self.tree["api"], self.tree["objects"]
        found = [
            Route(each, "find", node, key) for each in objects for key, node in objects[each].get("find", {}).items()
        ]
        verbs = ("list", "create", "update", "save")
        found += [Route(each, verb, objects[each][verb]) for each in objects for verb in verbs if verb in objects[each]]
        _refused(name, self.tree.get("auth", {}))
        for route in found:
            _refused(name, route.node)
            yield route

    # ---- what tests and the demo do to it by hand ----

    @property
    def objects(self) -> list[str]:
        return self._memory.objects

    def rows(self, name: str) -> list[Row]:
        return self._memory.rows(name)

    def edit(self, name: str, values: Row, *, new: bool = False) -> None:
        """A row added, or changed by id, as by a user of the system; `new` keeps the stamps that it is given."""
        made = all(str(row["id"]) != str(values.get("id")) for row in self.rows(name))
        rest, stamps = {key: value for key, value in values.items() if key != "object"}, self._stamps(name, made=made)
        self._memory.edit(name, [stamps | rest if new else rest | stamps], stamp=False)

    def _stamps(self, name: str, *, made: bool) -> Row:
        """What the system notes of a row that is touched."""
        there = [key for key in ("stamp", *(["created"] if made else [])) if key in self.tree["objects"][name]]
        return {self._last(name, key): canon.text(self.clock.now()) for key in there}

    def delete(self, name: str, known: str) -> None:
        self._memory.delete(name, known)

    def _last(self, name: str, key: str) -> str:
        """What a row calls its id or a stamp: the last name of its place."""
        return str(self.tree["objects"][name].get(key, "id" if key == "id" else "")).rpartition(".")[2]

    # ---- one request ----

    def answer(self, method: str, url: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        with self._lock:
            try:
                body = json.loads(raw) if raw else {}
            except ValueError:
                return self._no(400, "this is no JSON")
            found = ((route, route.holds(method, url, body)) for route in self.routes)
            route, values = next(((route, got) for route, got in found if got is not None), (None, {}))
            if route is None or values is None:
                return self._no(404, f"there is no call {method} {urlsplit(url).path}")
            return self._signed(route, values, headers)

    def _signed(self, route: Route, values: Row, headers: Mapping[str, str]) -> Answer:
        auth, known = self.tree.get("auth"), self._known(route, values)
        verb = route.verb if route.verb != "save" else "create" if known is None else "update"
        self.counts[route.object, verb] += 1
        if auth and headers.get(auth.get("header", "Authorization").lower()) != filled(auth["value"], self.secrets):
            return self._no(401, "this key is not known")
        reads = route.verb in ("list", "find")
        sent = (
            {} if reads else formed(values.get("fields") or values.get("record") or {}, self._forms(route.object, READ))
        )
        held = next((row for row in self.rows(route.object) if str(row["id"]) == known), {})
        fault = self._fault(route.object, "read" if reads else "write", held | sent)
        if fault == "timeout":
            return Answer(0)
        if fault == "unavailable" or isinstance(fault, int):
            status = fault if isinstance(fault, int) else 503
            return self._no(status, "not now" if status >= 500 else f"{route.object} is refused")
        made = self._listed(route, values) if reads else self._wrote(route, known, sent)
        return Answer(0) if fault == "lost_reply" else made

    def _known(self, route: Route, values: Row) -> str | None:
        """The id that a call names, if it does."""
        named = values.get("id") or (values.get("record") or {}).get(self._last(route.object, "id"))
        return None if named is None else str(named)

    def _fault(self, name: str, verb: str, values: Row) -> int | str | None:
        for n, fault in enumerate(self.faults):
            fits = all(key in values and canon.same(values[key], want) for key, want in fault.match.items())
            if (fault.object, fault.verb) == (name, verb) and fits and self._failed[n] != fault.times:
                self._failed[n] += 1
                return fault.answer
        return None

    def _no(self, status: int, said: str) -> Answer:
        paths = self.tree.get("errors", {})
        where = {key: paths[key] for key in ("message", "code") if _PATH.fullmatch(paths.get(key, ""))}
        body = placed({}, where.get("message"), said)
        return Answer(status, placed(body, where.get("code"), str(status)))

    # ---- reading ----

    def _listed(self, route: Route, values: Row) -> Answer:
        node, rows = route.node, self._wanted(route, values)
        first = node.get("first_page", 1)
        at = int(values.get("cursor") or values.get("offset") or (int(values.get("page", first)) - first) * self.page)
        numbered = {"cursor", "offset", "page"} & holes(node)
        some = rows[at : at + self.page] if numbered else rows
        more = at + len(some) < len(rows)
        records = [self._record(route.object, row) for row in some]
        if "items" not in node:
            return Answer(200, records)
        body = placed({}, node["items"], records)
        body = placed(body, node.get("next"), str(at + self.page) if more else None)
        return Answer(200, placed(placed(body, node.get("more"), more), node.get("total"), len(rows)))

    def _wanted(self, route: Route, values: Row) -> list[Row]:
        rows = self.rows(route.object)
        if route.verb == "find":
            asked = values.get("values", [values.get("value")])
            form = canon.fold if route.node.get("ignores_case") else str
            wanted = {form(one) for one in (asked.split(",") if isinstance(asked, str) else asked)}
            field_ = "id" if route.field == self._last(route.object, "id") else route.field
            rows = [row for row in rows if row.get(field_) is not None and form(row[field_]) in wanted]
        for key in {"since", "until"} & values.keys():
            how, stamp = route.node["since"], self._last(route.object, "stamp")
            moment = canon.parse(READ[how["as"]](values[key]), assume_utc=True)
            held = [(canon.parse(row[stamp], assume_utc=True), row) for row in rows if row.get(stamp)]
            later = [(at, row) for at, row in held if at > moment or (at == moment and not how.get("exclusive"))]
            rows = [row for _, row in later] if key == "since" else [row for at, row in held if at <= moment]
        return rows

    def _record(self, name: str, row: Row) -> Row:
        """A row as the system spells it: fields where they stand, id and stamps at their places."""
        node = self.tree["objects"][name]
        known = int(row["id"]) if node.get("number_ids") else row["id"]
        values = formed({key: value for key, value in row.items() if key != "id"}, self._forms(name, SENT))
        apart = {node[key]: values.pop(self._last(name, key), None) for key in ("stamp", "created") if key in node}
        made = placed({}, node["fields"], values) if "fields" in node else values
        for path, value in {**apart, node.get("id", "id"): known}.items():
            made = placed(made, path, value)
        return made

    def _forms(self, name: str, forms: Mapping[str, Any]) -> Mapping[tuple[str, ...], Any]:
        types = self.tree["objects"][name].get("types", {})
        return {tuple(key.split(".")): forms[kind] for key, kind in types.items() if kind in forms}

    # ---- writing ----

    def _wrote(self, route: Route, known: str | None, sent: Row) -> Answer:
        name, node = route.object, self.tree["objects"][route.object]
        rest = {key: value for key, value in sent.items() if key != self._last(name, "id")}
        verb: Verb = "create" if known is None else "update"
        made = self._memory.write([Change(verb, name, rest | self._stamps(name, made=known is None), known)])[0]
        if made.error:
            return self._no(404, str(made.error))  # the one thing that memory refuses here
        told = int(str(made.id)) if node.get("number_ids") else made.id
        return Answer(201 if known is None else 200, placed({}, route.node.get("id", node.get("id", "id")), told))


@contextmanager
def serve(system: System, port: int = 0) -> Iterator[str]:
    """The address of a system, as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answered(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = system.answer(
                self.command, self.path, {name.lower(): said for name, said in self.headers.items()}, raw
            )
            if not answer.status:
                self.close_connection = True
                return
            body = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = answered  # noqa: N815

        def log_message(self, *_given: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


__all__ = ["Answer", "System", "serve"]
