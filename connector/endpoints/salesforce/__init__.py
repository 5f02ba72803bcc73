"""A Salesforce org as an Endpoint, over its REST API.

A poll is one composite call: up to five queries, and beside them the describes they rely on, revalidated. Writes are
collections of 200, each record for itself.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from connector import canon
from connector.endpoints.forms import FORMS, list_below, rounds
from connector.endpoints.salesforce import soql as words
from connector.endpoints.salesforce.session import LostPlace, Part, Session, refusal
from connector.endpoints.salesforce.signin import app
from connector.endpoints.wire import NOT_MODIFIED, Transport, patiently
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, Unanswered, Unavailable
from connector.model import Change, Clock, Column, Keys, Page, Query, Row, Shape, Written
from connector.shape import dump, shape_of
from connector.vault import Vault

QUERIES, SUBREQUESTS, RECORDS = 5, 25, 200
"""The most that one composite call takes of queries and altogether, and one collection."""
_ATTEMPTS = 4
_UNREAD = {"JSON_PARSER_ERROR", "MALFORMED_ID", "INVALID_ID_FIELD", "INVALID_VALUE"}
"""A collection with one value that the org, or JSON, cannot hold at all is refused as a whole, with one of these."""


class Salesforce:
    """`settings`: login, auth, version. `cache` keeps describes from run to run, `vault` what a person has allowed."""

    settle = 10.0

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        clock: Clock,
        cache: MutableMapping[str, str] | None = None,
        vault: Vault | None = None,
        transport: Transport | None = None,
    ) -> None:
        version = str(settings.get("version", "66.0"))
        self._clock = clock
        self._session = Session(app(name, settings), version, clock=clock, vault=vault, transport=transport)
        self._cache: MutableMapping[str, str] = {} if cache is None else cache
        self._prefix = f"describe {self._session.host} {version} "
        self._shapes: dict[str, Shape] = {}
        self._modified: dict[str, str] = {}
        self._checked: set[str] = set()

    @property
    def calls(self) -> int:
        return self._session.calls

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
        written = tuple(dict.fromkeys(column.path[0] for column in columns))
        for first in written:
            field = shape.fields.get(first)
            if field and not (field.createable or field.updateable):
                why = "is calculated" if field.calculated else "may not be written by the integration user"
                return Drifted(f"{name}.{first} {why}; the mapping writes it")
        return words.gone(Query(name, (*written, *keys)), self._shapes)

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:
        return list_below(self._shape(query.object), child, on)

    def canonical(self, name: str, values: Row) -> Row:
        shape, made = self._shape(name), dict[str, Any]()
        for key, value in values.items():
            if isinstance(value, dict) and (parent := words.parent_of(shape, key)):
                made[key] = self.canonical(parent, value)
            else:
                form = FORMS.get(shape.fields[key].type) if key in shape.fields else None
                made[key] = None if value in ("", None) else form(value) if form else value
        return made

    def _shape(self, name: str) -> Shape:
        if name not in self._shapes:
            self._know([Query(name)])
        return self._shapes[name]

    def _know(self, queries: Sequence[Query]) -> set[str]:
        """The objects that these queries touch. Their shapes are known afterwards, if perhaps not the newest."""
        while True:
            names = set[str]().union(*(words.objects(query, self._shapes) for query in queries))
            if names <= self._shapes.keys():
                return names
            for name in names - self._shapes.keys():
                if kept := self._cache.get(self._prefix + name):
                    entry = json.loads(kept)
                    self._shapes[name], self._modified[name] = shape_of(entry["describe"]), entry["modified"]
            self._ask([], sorted(names - self._shapes.keys()))

    def _learn(self, name: str, part: Part) -> None:
        if part.status == 404:
            raise Drifted(f"{self._session.host} has no object {name}, or its integration user may not see it")
        if part.error:
            raise part.error
        if part.status != NOT_MODIFIED:
            try:
                describe = json.loads(dump(part.body))
                self._shapes[name], self._modified[name] = shape_of(describe), part.modified
            except (KeyError, TypeError, AttributeError):
                raise Unavailable(f"{self._session.host} described {name} in a way that cannot be read") from None
            self._cache[self._prefix + name] = json.dumps({"modified": part.modified, "describe": describe})
        self._checked.add(name)

    # ---- reading -----------------------------------------------------------------------------------------

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        names = self._know(queries)
        parts = [words.split(query, self._shapes) for query in queries]
        poll = any(query.window for query in queries)  # once a poll every shape in use is compared with the org's
        check = sorted(name for name in names if poll or name not in self._checked)
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
        asked, parts = list[str](), list[Part]()
        while (texts := [words.soql(query, self._shapes) for query in queries]) != asked:
            asked, parts = texts, self._ask(texts, check)
            if any(isinstance(part.error, Drifted) for part in parts):
                self._ask([], sorted(self._know(queries).difference(check)))
            self._know(queries)
            check = ()
        for query, part in zip(queries, parts, strict=True):
            if part.error:
                raise (isinstance(part.error, Drifted) and words.gone(query, self._shapes)) or part.error
        return [part.body for part in parts]

    def _ask(self, queries: Sequence[str], check: Sequence[str]) -> list[Part]:
        """The answers to SOQL texts, and the shapes of `check` brought up to date, in one call if that is not too much."""
        names = list(dict.fromkeys(check))
        while len(names) + len(queries) > SUBREQUESTS:
            self._ask([], names[:SUBREQUESTS])
            names = names[SUBREQUESTS:]
        asks: list[tuple[str, Mapping[str, str]]] = []
        for name in names:
            since = self._modified.get(name)
            asks.append((f"/sobjects/{quote(name, safe='')}/describe", {"If-Modified-Since": since} if since else {}))
        asks += [(f"/query?q={quote(query, safe='')}", {}) for query in queries]
        parts = self._session.composite(asks) if asks else []
        for name, part in zip(names, parts, strict=False):
            self._learn(name, part)
        return parts[len(names) :]

    def _pages(self, query: Query, body: Any) -> Iterator[tuple[list[Row], bool]]:
        """Rows page by page, and whether they are the last. A place that is lost midway is found again by its keyset.

        Without a window there is no place to find again: such rows are handed out when all have come.
        """
        form = words.form(query, self._shapes)
        for attempt in range(_ATTEMPTS):
            held: list[tuple[list[Row], bool]] = []
            try:
                for rows, last in self._turned(query, self._first_pages([query], ())[0] if attempt else body):
                    held.append((form(rows), last))
                    if query.window:
                        if rows:
                            place = (rows[-1][words.window_field(query, self._shapes[query.object])], rows[-1]["Id"])
                            query = replace(query, window=replace(query.window, after=place))
                        yield held.pop()
                yield from held
            except LostPlace as error:
                lost = error
            else:
                return
        raise Unavailable(f"reading {query.object} was cut off {_ATTEMPTS} times: {lost}")

    def _turned(self, query: Query, body: Any) -> Iterator[tuple[list[Row], bool]]:
        """The pages behind a first one, with the lists below their rows in full: as many rows as it announced."""
        count, total, more = 0, None, None
        while total is None or more:
            body = self._session.get(more) if more else body
            try:
                rows, more = body["records"], None if body["done"] else body["nextRecordsUrl"]
                total = body["totalSize"] if total is None else total
                for name, child in query.children.items():
                    for row in rows:
                        lists = self._turned(child, row[name]) if row[name] else ()
                        row[name] = [one for some, _ in lists for one in some]
            except (KeyError, TypeError):
                raise Unavailable(f"{self._session.host} answered a query of {query.object} with half a page") from None
            count += len(rows)
            if more is None and count != total:
                raise Unavailable(f"{self._session.host} announced {total} rows of {query.object} and gave {count}")
            yield rows, more is None

    # ---- writing -----------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """Raises only while nothing can have been written; later on, a failed call is the answer of its rows."""
        answers: dict[int, Written] = {}
        batches = deque(dict(some) for each in rounds(changes) for some in _chunks(list(each.items())))
        while batches:
            batch = batches.popleft()
            try:
                patiently(partial(self._send, batch, answers), self._clock)
            except EndpointError as error:
                spoilt = isinstance(error, Rejected) and error.reason in _UNREAD
                if spoilt and len(batch) > 1:  # by one row: find it
                    rows, half = list(batch.items()), len(batch) // 2
                    batches.extendleft((dict(rows[half:]), dict(rows[:half])))
                    continue
                # what was lost may be there, and what was partly answered is over: the next batch can still be written
                if not (spoilt or isinstance(error, Unanswered) or any(at in answers for at in batch)):
                    if not answers:
                        raise
                    batch = dict(enumerate(changes))  # nothing goes now: all that are left
                    batches.clear()
                answers |= {at: Written(batch[at].id, error) for at in _open(batch, answers)}
        return [answers[at] for at in range(len(changes))]

    def _send(self, batch: Mapping[int, Change], answers: dict[int, Written]) -> None:
        """Once those of a collection that have no answer yet, or one that another try may change."""
        todo = {at: batch[at] for at in _open(batch, answers)}
        records = [
            {"attributes": {"type": each.object}, **each.values} | ({} if each.verb == "create" else {"id": each.id})
            for each in todo.values()
        ]
        creates = all(each.verb == "create" for each in todo.values())
        results = self._session.collection("POST" if creates else "PATCH", records)
        answers |= {at: self._written(todo[at], result) for at, result in zip(todo, results, strict=True)}
        for at in _open(batch, answers):  # the first one speaks for all of them
            raise answers[at].error or Unavailable

    def _written(self, change: Change, result: Mapping[str, Any]) -> Written:
        where, made = f"{self._session.host} refused this {change.object}", result.get("id") or change.id
        if not result["success"]:
            error = refusal(where, result.get("errors")) or Rejected(f"{where} without saying why")
            return Written(change.id, error)
        if not made:
            return Written(None, Unanswered(f"{self._session.host} wrote a {change.object} and did not say which"))
        return Written(str(canon.id18(made)))


def _open(batch: Mapping[int, Change], answers: Mapping[int, Written]) -> list[int]:
    """Those without an answer, or with one that another try may change: a locked row, for instance."""
    return [at for at in batch if at not in answers or _transient(answers[at].error)]


def _transient(error: EndpointError | None) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, Unanswered | RateLimited)


def _chunks(items: list[tuple[int, Change]]) -> Iterator[list[tuple[int, Change]]]:
    return (items[at : at + RECORDS] for at in range(0, len(items), RECORDS))
