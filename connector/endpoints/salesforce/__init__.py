"""A Salesforce org as an Endpoint, over its REST API.

A poll is one composite call: up to five queries, and beside them the describes they rely on, revalidated. Writes are
collections of 200, each record for itself.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from connector import canon
from connector.endpoints.salesforce import soql as words
from connector.endpoints.salesforce.session import LostPlace, Part, Session, refusal
from connector.endpoints.salesforce.soql import literal, soql
from connector.endpoints.wire import NOT_MODIFIED, Transport, patiently
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, SetupError, Unanswered, Unavailable
from connector.model import Change, Clock, Column, Keys, Page, Query, Row, Shape, Written
from connector.shape import dump, shape_of

__all__ = ["Salesforce", "literal", "soql"]

QUERIES, SUBREQUESTS, RECORDS = 5, 25, 200
"""The most that one composite call takes of queries and altogether, and one collection."""
_RESTARTS = 3
_UNREAD = {"JSON_PARSER_ERROR", "MALFORMED_ID", "INVALID_ID_FIELD"}
"""A collection with one value that the org cannot even read is refused as a whole, with one of these."""


class Salesforce:
    """`settings`: login, auth (grant, client_id, client_secret), version. `cache` keeps describes from run to run."""

    settle = 10.0

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        clock: Clock,
        cache: MutableMapping[str, str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        login, auth, version = settings.get("login"), settings.get("auth"), str(settings.get("version", "66.0"))
        if not isinstance(login, str) or not isinstance(auth, Mapping):
            raise SetupError(f"system {name}: say where and how to sign in (login, auth)")
        if auth.get("grant") != "client_credentials":
            raise SetupError(
                f"system {name}: auth.grant is {auth.get('grant')!r}; client_credentials is what is supported"
            )
        if absent := [key for key in ("client_id", "client_secret") if not auth.get(key)]:
            raise SetupError(f"system {name}: auth.{absent[0]} is missing or its secret is empty")
        if not re.fullmatch(r"\d\d\.0", version):
            raise SetupError(f"system {name}: version is {version!r}; write one like 66.0")
        form = {"grant_type": "client_credentials", **{key: str(auth[key]) for key in ("client_id", "client_secret")}}
        login = login if "://" in login else f"https://{login}"
        self.name = name
        self._clock = clock
        self._session = Session(login, form, version, clock=clock, transport=transport)
        self._cache: MutableMapping[str, str] = {} if cache is None else cache
        self._prefix = f"describe {self._session.host} {version} "
        self._shapes: dict[str, Shape] = {}
        self._modified: dict[str, str] = {}
        self._checked: set[str] = set()

    @property
    def calls(self) -> int:
        return self._session.calls

    @property
    def usage(self) -> tuple[int, int] | None:
        """API calls of the whole org in the last 24 hours, and how many it may make, as last heard."""
        return self._session.usage

    def now(self) -> datetime:
        return self._session.time()

    def close(self) -> None:
        self._session.close()

    # ---- what objects look like --------------------------------------------------------------------------

    def describe(self, names: Sequence[str]) -> dict[str, Shape]:
        self._ask([], [name for name in names if name not in self._checked])
        return {name: self._shapes[name] for name in names}

    def recorded(self, names: Sequence[str]) -> dict[str, str]:
        """By object: its describe as a file of `mappings/shapes` holds it, fresh from the org."""
        self._ask([], names)
        return {name: dump(json.loads(self._cache[self._prefix + name])["describe"]) for name in names}

    def keys(self, name: str) -> Keys:
        shape = self._shape(name)
        return Keys("Id", words.stamp_of(shape), "CreatedDate" if "CreatedDate" in shape.fields else None)

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:  # noqa: ARG002
        """By the shape as last seen, which costs no call; only what looks wrong there is asked for anew."""
        if self._unwritable(name, columns, keys) and name not in self._checked:
            self._ask([], [name])
        if wrong := self._unwritable(name, columns, keys):
            raise wrong

    def _unwritable(self, name: str, columns: Sequence[Column], keys: Sequence[str]) -> Drifted | None:
        shape = self._shape(name)
        for first in dict.fromkeys(column.path[0] for column in columns):
            field = shape.fields.get(first) or next((f for f in shape.fields.values() if f.relationship == first), None)
            if field is None:
                return Drifted(f"cannot be written: {words.unknown(first, shape)}")
            if not (field.createable or field.updateable):
                why = "is calculated" if field.calculated else "may not be written by the integration user"
                return Drifted(f"{name}.{first} {why}; the mapping writes it")
        return words.gone(Query(name, tuple(keys)), self._shapes)

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:
        if child.window or list(on.values()) != ["Id"]:
            return None
        wanted = (child.object, *on)
        children = self._shape(query.object).children.items()
        return next((name for name, below in children if (below.object, below.field) == wanted), None)

    def canonical(self, name: str, values: Row) -> Row:
        shape = self._shape(name)
        made: Row = {}
        for key, value in values.items():
            parent = words.parent_of(shape, key) if isinstance(value, dict) else None
            field = shape.fields.get(key)
            made[key] = (
                self.canonical(parent, value) if parent else words.canonical(field.type if field else None, value)
            )
        return made

    def _shape(self, name: str) -> Shape:
        self._know([Query(name)])
        return self._shapes[name]

    def _know(self, queries: Sequence[Query]) -> list[str]:
        """The objects that these queries touch. Their shapes are known afterwards, if perhaps not the newest."""
        while True:
            names = sorted(set[str]().union(*(words.objects(query, self._shapes) for query in queries)))
            new = [name for name in names if name not in self._shapes]
            if not new:
                return names
            for name in new:
                if kept := self._cache.get(self._prefix + name):
                    entry = json.loads(kept)
                    self._shapes[name], self._modified[name] = shape_of(entry["describe"]), entry["modified"]
            if unknown := [name for name in new if name not in self._shapes]:
                self._ask([], unknown)

    def _learn(self, name: str, part: Part) -> None:
        if part.status == 404:
            raise Drifted(f"{self._session.host} has no object {name}, or its integration user may not see it")
        if part.status >= 400:
            raise self._refusal(part)
        if part.status != NOT_MODIFIED:
            try:
                describe = json.loads(dump(part.body))
                self._shapes[name] = shape_of(describe)
            except (KeyError, TypeError, AttributeError):
                raise Unavailable(f"{self._session.host} described {name} in a way that cannot be read") from None
            self._modified[name] = str(part.headers.get("last-modified") or "")
            self._cache[self._prefix + name] = json.dumps({"modified": self._modified[name], "describe": describe})
        self._checked.add(name)

    # ---- reading -----------------------------------------------------------------------------------------

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        names = self._know(queries)
        parts = [words.split(query, self._shapes) for query in queries]
        poll = any(query.window for query in queries)  # once a poll every shape in use is compared with the org's
        check = [name for name in names if poll or name not in self._checked]
        answers = self._answers([part for some in parts for part in some], check)
        for at, some in enumerate(parts):
            if not some:
                yield Page(at, [], last=True)
            for left, (part, body) in zip(range(len(some) - 1, -1, -1), answers, strict=False):
                for rows, end in self._pages(part, body):
                    yield Page(at, rows, last=end and not left)

    def _answers(self, queries: Sequence[Query], check: Sequence[str]) -> Iterator[tuple[Query, Any]]:
        for at in range(0, len(queries), QUERIES):
            group = queries[at : at + QUERIES]
            yield from zip(group, self._first_pages(group, () if at else check), strict=True)

    def _first_pages(self, queries: Sequence[Query], check: Sequence[str]) -> list[Any]:
        """If the shapes turn out to be out of date, the queries are written anew from the fresh ones and asked again."""
        asked = [soql(query, self._shapes) for query in queries]
        parts = self._ask(asked, check)
        if any(isinstance(self._refusal(part), Drifted) for part in parts if part.status >= 400):
            self._ask([], [name for name in self._know(queries) if name not in check])
        self._know(queries)
        anew = [soql(query, self._shapes) for query in queries]
        if anew != asked:
            parts = self._ask(anew, ())
        for query, part in zip(queries, parts, strict=True):
            if part.status >= 400:
                error = self._refusal(part)
                raise (words.gone(query, self._shapes) or error) if isinstance(error, Drifted) else error
        return [part.body for part in parts]

    def _ask(self, queries: Sequence[str], check: Sequence[str]) -> list[Part]:
        """The answers to SOQL texts, and the shapes of `check` brought up to date, in one call if that is not too much."""
        names = list(dict.fromkeys(check))
        while len(names) + len(queries) > SUBREQUESTS:
            self._ask([], names[:SUBREQUESTS])
            names = names[SUBREQUESTS:]
        if not names and not queries:
            return []
        known = {name: self._modified.get(name) for name in names}
        asks: list[tuple[str, Mapping[str, str]]] = [
            (f"/sobjects/{quote(name, safe='')}/describe", {"If-Modified-Since": since} if since else {})
            for name, since in known.items()
        ]
        asks += [(f"/query?q={quote(query, safe='')}", {}) for query in queries]
        parts = self._session.composite(asks)
        for name, part in zip(names, parts, strict=False):
            self._learn(name, part)
        return parts[len(names) :]

    def _refusal(self, part: Part) -> EndpointError:
        host = self._session.host
        return refusal(host, part.body) or EndpointError(f"{host} answered a part of a call with {part.status}")

    def _pages(self, query: Query, body: Any) -> Iterator[tuple[list[Row], bool]]:
        """Rows page by page, and whether they are the last. A place that is lost midway is found again by its keyset.

        Without a window there is no place to find again: such rows are handed out when all have come.
        """
        form = words.form(query, self._shapes)
        held: list[list[Row]] = []
        total, count, restarts = _total(body), 0, 0
        more: str | None = None
        while True:
            try:
                body = self._session.get(more) if more else body
                rows, more = self._rows(body, query)
            except LostPlace as error:
                restarts += 1
                if restarts > _RESTARTS:
                    raise Unavailable(f"reading {query.object} was cut off {restarts} times: {error}") from None
                if query.window is None:
                    held, count = [], 0
                (body,), more = self._first_pages([query], ()), None
                total = count + _total(body)
                continue
            count += len(rows)
            if more is None and count != total:
                raise Unavailable(f"{self._session.host} announced {total} rows of {query.object} and gave {count}")
            held.append(form.rows(rows))
            if query.window:
                if rows:
                    place = (rows[-1][words.window_field(query, self._shapes[query.object])], rows[-1]["Id"])
                    query = replace(query, window=replace(query.window, after=place))
                yield held.pop(), more is None
            elif more is None:
                for at, page in enumerate(held, 1):
                    yield page, at == len(held)
            if more is None:
                return

    def _rows(self, body: Any, query: Query) -> tuple[list[Row], str | None]:
        """The rows of one page, with the lists below them in full, and the address of the next page."""
        try:
            rows, more = body["records"], None if body["done"] else body["nextRecordsUrl"]
            for name, child in query.children.items():
                for row in rows:
                    row[name] = self._all(row[name], child) if row[name] else []
        except (KeyError, TypeError):
            raise Unavailable(f"{self._session.host} answered a query of {query.object} with half a page") from None
        return rows, more

    def _all(self, body: Any, child: Query) -> list[Row]:
        rows, more = self._rows(body, child)
        while more:
            further, more = self._rows(self._session.get(more), child)
            rows += further
        if len(rows) != _total(body):
            raise Unavailable(f"{self._session.host} did not give all {child.object} rows below another")
        return rows

    # ---- writing -----------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """Raises only while nothing can have been written; later on, a failed call is the answer of its rows."""
        answers: dict[int, Written] = {}
        failed: EndpointError | None = None
        batches = deque(_batches(changes))
        while batches:
            batch = batches.popleft()
            try:
                if failed:
                    raise failed
                answers |= self._collection(batch)
            except Unanswered as error:  # this batch may be there; the next one can still be written
                answers |= _same(batch, error)
            except EndpointError as error:
                if isinstance(error, Rejected) and error.reason in _UNREAD:  # one row spoils all: find it
                    if len(batch) == 1:
                        answers |= _same(batch, error)
                    rows, half = list(batch.items()), len(batch) // 2
                    batches.extendleft(dict(some) for some in (rows[half:], rows[:half]) if half)
                    continue
                if not answers:
                    raise
                failed = error
                answers |= _same(batch, error)
        return [answers[at] for at in range(len(changes))]

    def _collection(self, changes: Mapping[int, Change]) -> dict[int, Written]:
        answers: dict[int, Written] = {}
        todo: dict[int, tuple[Change, Row]] = {}
        for at, change in changes.items():
            record = {"attributes": {"type": change.object}, **change.values}
            if change.verb != "create":
                record = {**record, "id": change.id}
            try:
                json.dumps(record, allow_nan=False, ensure_ascii=False).encode()
                todo[at] = change, record
            except (TypeError, ValueError) as error:
                why = f"a value of this {change.object} cannot be sent: {error}"
                answers[at] = Written(change.id, Rejected(why, "INVALID_VALUE"))

        def attempt() -> None:
            nonlocal todo
            creates = next(iter(todo.values()))[0].verb == "create"
            results = self._session.collection("POST" if creates else "PATCH", [record for _, record in todo.values()])
            given = {at: self._written(todo[at][0], result) for at, result in zip(todo, results, strict=True)}
            answers.update(given)
            todo = {at: todo[at] for at, written in given.items() if _transient(written.error)}
            for at in todo:  # the first one speaks for all of them
                raise answers[at].error or Unavailable

        try:
            if todo:
                patiently(attempt, self._clock)
        except EndpointError as error:
            if not answers:
                raise
            for at, (change, _) in todo.items():
                if at not in answers or isinstance(error, Unanswered):
                    answers[at] = Written(change.id, error)
        return answers

    def _written(self, change: Change, result: Mapping[str, Any]) -> Written:
        where = f"{self._session.host} refused this {change.object}"
        if not result["success"]:
            error = refusal(where, result.get("errors")) or Rejected(f"{where} without saying why")
            return Written(change.id, error)
        made = result.get("id") or change.id
        if not made:
            return Written(None, Unanswered(f"{self._session.host} wrote a {change.object} and did not say which"))
        return Written(str(canon.id18(made)))


def _same(batch: Mapping[int, Change], error: EndpointError) -> dict[int, Written]:
    return {at: Written(change.id, error) for at, change in batch.items()}


def _batches(changes: Sequence[Change]) -> Iterator[dict[int, Change]]:
    """Creates, then updates, as many as one collection takes; a record stands in a collection once."""
    for creates in (True, False):
        batch: dict[int, Change] = {}
        ids: set[str | None] = set()
        for at, change in enumerate(changes):
            if (change.verb == "create") != creates:
                continue
            if len(batch) == RECORDS or change.id in ids:
                yield batch
                batch, ids = {}, set()
            batch[at] = change
            if change.id:
                ids.add(change.id)
        if batch:
            yield batch


def _transient(error: EndpointError | None) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, Unanswered | RateLimited)


def _total(body: Any) -> int:
    size = body.get("totalSize") if isinstance(body, dict) else None
    if not isinstance(size, int):
        raise Unavailable("an answer to a query does not say how many rows it has")
    return size
