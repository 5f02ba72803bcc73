"""Tables in dicts that behave like a system: for tests, for examples, for preview. Faults can be switched on.

A system whose rows or shapes have an `Id` behaves like Salesforce (stamps, 18-character ids, relationships by shape).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from threading import RLock
from typing import Any

from msgspec.structs import replace

from connector import canon
from connector.endpoints.files import encoded
from connector.endpoints.forms import FORMS, MADE, STAMPS, inside, list_below, sortable
from connector.errors import (
    Drifted,
    EndpointError,
    RateLimited,
    Rejected,
    SetupError,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connector.model import Change, Clock, Column, Field, File, Keys, Page, Query, Row, Shape, Window, Written

Path = tuple[str, ...]
DATES = ("CreatedDate", "LastModifiedDate", "SystemModstamp")
STANDARD = {"Id": "id"} | dict.fromkeys(DATES, "datetime")
OUTAGES: Mapping[int | str, tuple[type[EndpointError], int]] = {
    401: (Unauthorized, 2),
    403: (Unauthorized, 1),
    404: (Drifted, 1),
    429: (RateLimited, 5),
}
"""What an answer is in the end, and after how many attempts: as adapters do."""


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """How calls about `object` go wrong. `answer`: an HTTP status, timeout, lost_reply or unavailable.

    Only writes whose values include `match`; only the first `times` of them (None: all).
    """

    object: str
    answer: int | str
    match: Mapping[str, Any] = field(default_factory=dict)
    verb: str = "write"
    times: int | None = None


class Memory:
    """`rows` carry their object's name at the key `object`."""

    settle = 0.0
    calls = 0

    def __init__(
        self,
        name: str,
        rows: Iterable[Row] = (),
        *,
        clock: Clock,
        shapes: Mapping[str, Shape] | None = None,
        page: int = 200,
    ) -> None:
        self.name, self.clock, self.shapes, self.page = name, clock, dict(shapes or {}), page
        self.faults: list[Fault] = []
        self.on_call: Callable[[str], None] | None = None
        self.written: list[Change] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[Fault] = Counter()
        self._columns: defaultdict[str, dict[Path, str]] = defaultdict(dict)
        self._tables: defaultdict[str, dict[str, Row]] = defaultdict(dict)
        self._new = 0
        self._lock = RLock()
        given = list(rows)
        self.vendor = any("Id" in row for row in given) or any("Id" in shape.fields for shape in self.shapes.values())
        self.id = "Id" if self.vendor else "id"
        for row in given:
            self.edit(row["object"], [row], stamp=False)

    # ---- what tests and the example runner use ----

    @property
    def objects(self) -> list[str]:
        return list(self._tables)

    def rows(self, object_: str) -> list[Row]:
        return deepcopy(list(self._tables[object_].values()))

    def edit(self, object_: str, rows: Iterable[Row], *, stamp: bool = True) -> None:
        """Rows added, or changed by id as a user of the system would; `stamp` False leaves stamps as they are given."""
        with self._lock:
            for row in rows:
                values = self.canonical(object_, {key: deepcopy(row[key]) for key in row if key != "object"})
                known = self._id(values.get(self.id) or self._next(object_))
                values = {self.id: known} | self._tables[object_].get(known, {}) | values
                self._tables[object_][known] = values
                values |= self._stamps(object_, values, touched=stamp)

    def delete(self, object_: str, id_: str) -> None:
        with self._lock:
            del self._tables[object_][self._id(id_)]

    # ---- Endpoint ----

    def now(self) -> datetime:
        return self.clock.now()

    def keys(self, name: str) -> Keys:
        if self.vendor:
            return Keys("Id", "SystemModstamp", "CreatedDate")
        there = {column for row in list(self._tables[name].values()) for column in row}
        made = (column for column in MADE if column in there and (column,) not in self._columns[name])
        # what a mapping fills does not say when the system made a row
        return Keys("id", next((column for column in STAMPS if column in there), None), next(made, None))

    def describe(self, names: Sequence[str], *, fresh: bool = True) -> dict[str, Shape]:  # noqa: ARG002
        return {name: self.shapes[name] for name in names if name in self.shapes}

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:  # noqa: ARG002
        self._columns[name].update({column.path: column.kind for column in columns})

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:
        return list_below(self.shapes.get(query.object), child, on)

    def canonical(self, name: str, values: Row) -> Row:
        return self._canonical(name, values, ())

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        for query in queries:
            self._called(f"read:{query.object}")
            self._call(query.object, "read", "find" if query.where else "list", {})
            for child in query.children.values():
                self._call(child.object, "read", "below", {})
        selected = [self._select(query) for query in queries]
        for number, (query, rows) in enumerate(zip(queries, selected, strict=True)):
            below = {relation: self._below(query, relation) for relation in query.children}
            for at in range(0, len(rows) or 1, self.page):
                some = [self._answer(query, row, below) for row in rows[at : at + self.page]]
                yield Page(number, some, last=at + self.page >= len(rows))

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """`replace` and `update` are one here: a field is what `prepare` named, set whole; others keep what they hold."""
        answers: list[Written] = []
        with self._lock:
            for change in changes:
                try:
                    answers.append(self._write(change))
                except EndpointError as failed:
                    if not answers:
                        raise
                    # what was applied must be answered; one record is one call here, so the rest was not sent
                    return answers + [Written(one.id, failed) for one in changes[len(answers) :]]
        return answers

    def close(self) -> None:
        pass

    # ---- faults ----

    def _called(self, what: str) -> None:
        if self.on_call:
            self.on_call(what)

    def _call(self, object_: str, verb: str, count: str, values: Row) -> int | str | None:
        """One call with the retries that adapters make within it; gives what is left to answer for this row alone."""
        tries: Counter[int | str] = Counter()
        while True:
            self.counts[object_, count] += 1
            fault = next((fault for fault in self.faults if self._hits(fault, object_, verb, values)), None)
            if fault is None:
                return None
            self._failed[fault] += 1
            answer, told = fault.answer, f"{self.name}: {verb} {object_} answered {fault.answer}"
            tries[answer] += 1
            lasting = isinstance(answer, str) or answer >= 500
            kind, most = (Unavailable, 4) if lasting else OUTAGES.get(answer, (Unavailable, 1))
            if verb == "write" and (answer == "lost_reply" or most == 1):
                return answer
            if tries[answer] == most:
                raise RateLimited(told, wait=1) if kind is RateLimited else kind(told)
            self.clock.sleep(0 if answer == 401 else 2 ** (tries[answer] - 1))

    def _hits(self, fault: Fault, object_: str, verb: str, values: Row) -> bool:
        return (
            (fault.object, fault.verb) == (object_, verb)
            and (fault.times is None or self._failed[fault] < fault.times)
            and all(key in values and canon.same(values[key], wanted) for key, wanted in fault.match.items())
        )

    # ---- writing ----

    def _write(self, change: Change) -> Written:
        self._called(f"write:{change.object}")
        held = self._tables[change.object].get(self._id(change.id), {})
        verb = "create" if change.verb == "create" else "update"
        answer = self._call(change.object, "write", verb, held | change.values)
        written = self._apply(change, held, answer)
        self._called(f"wrote:{change.object}")
        return written

    def _apply(self, change: Change, held: Row, answer: int | str | None) -> Written:
        object_, table, name = change.object, self._tables[change.object], f"{self.name}: {change.object}"
        if isinstance(answer, int):
            return Written(change.id, Rejected(f"{name} answered {answer}", reason=str(answer)))
        try:
            given = {key: encoded(each) if isinstance(each, File) else each for key, each in change.values.items()}
        except EndpointError as error:
            return Written(change.id, error)
        values, creates = self.canonical(object_, deepcopy(given)), change.verb == "create"
        known = self._id((values.get(self.id) or self._next(object_)) if creates else change.id)
        if creates and known in table:
            return Written(None, Rejected(f"{name} {known} is there already", "DUPLICATE_VALUE", (self.id,)))
        if not creates and not held:
            return Written(change.id, Rejected(f"{name} has no row {change.id}", reason="NOT_FOUND"))
        groups = {path[:n] for path in self._columns[object_] for n in range(1, len(path))}
        row = {self.id: known} | _merged(held, values, groups, ())
        made = self.keys(object_).created if creates and not self.vendor else None
        stamps = self._stamps(object_, row, touched=True) if self.vendor else {}
        table[known] = ({made: canon.text(self.now())} if made else {}) | row | stamps
        self.written.append(replace(change, values=deepcopy(values), id=known))
        if answer == "lost_reply":
            return Written(None, Unanswered(f"{name}: the connection broke before the answer"))
        return Written(known)

    def _next(self, object_: str) -> str:
        known = list(self._tables[object_])
        if known and all(map(str.isdecimal, known)):
            return str(max(map(int, known)) + 1)
        self._new += 1
        return f"new{self._new}"

    def _stamps(self, object_: str, row: Row, *, touched: bool) -> Row:
        """What the system notes of a row that was just touched, or of one that was given and lacks a stamp."""
        now = canon.text(self.now())
        if self.vendor:
            changed = now if touched else row.get("LastModifiedDate") or row.get("SystemModstamp") or now
            stamps = dict.fromkeys(DATES, changed)
            return stamps | {name: row[name] for name in (DATES[:1] if touched else DATES) if row.get(name)}
        stamp = self.keys(object_).stamp if touched else None
        return {stamp: now} if stamp and (stamp != "created_at" or not row.get(stamp)) else {}

    # ---- reading ----

    def _id(self, value: Any) -> str:
        return str(canon.id18(value) if self.vendor else value)

    def _form(self, name: str, path: Path) -> Callable[[Any], Any]:
        flat = path[0] if len(path) == 1 else ""
        known = self.shapes[name].fields.get(flat) if name in self.shapes else None
        kind = known.type if known else self._columns[name].get(path) or STANDARD.get(flat, "")
        return FORMS.get(kind, lambda value: value)

    def _canonical(self, name: str, values: Row, at: Path) -> Row:
        out = {}
        for key, value in values.items():
            path = (*at, key)
            nested = isinstance(value, dict) and path not in self._columns[name]
            out[key] = self._canonical(name, value, path) if nested else self._form(name, path)(value)
        return out

    def _select(self, query: Query) -> list[Row]:
        name, rows = query.object, list(self._tables[query.object].values())
        for where in query.where:
            path = tuple(where.field.split("."))
            form = canon.fold if where.fold else self._id if path == (self.id,) else self._form(name, path)
            wanted = {None if value is None else sortable(form(value)) for value in where.values}
            held = [(self._value(name, row, path), row) for row in rows]
            rows = [row for value, row in held if (None if value is None else sortable(form(value))) in wanted]
        if query.window and rows:
            return self._in_window(query.window, rows, name)
        for column in reversed(query.order):
            values = [(self._value(name, row, tuple(column.split("."))), row) for row in rows]
            rows = [row for _, row in sorted(values, key=lambda pair: (pair[0] is not None, *sortable(pair[0])))]
        return rows

    def _in_window(self, window: Window, rows: list[Row], name: str) -> list[Row]:
        stamp = window.field or self.keys(name).stamp
        if stamp is None:
            stamps = ", ".join(STAMPS)
            raise SetupError(f"{self.name}: {name} has no column that says when a row changed (one of {stamps})")

        def place(moment: str, known: Any) -> tuple[datetime, Any]:
            return canon.parse(moment, assume_utc=True), sortable(int(known) if str(known).isdecimal() else known)

        after = place(*window.after) if window.after else None
        placed = sorted(((place(row[stamp], row[self.id]), row) for row in rows if row.get(stamp)), key=lambda p: p[0])
        inside = ((at, row) for at, row in placed if (window.since or at[0]) <= at[0] <= window.until)
        return [row for at, row in inside if after is None or at > after]

    def _value(self, name: str, row: Row, path: Path) -> Any:
        return canon.reach(self._project(name, row, [path]), path)

    def _answer(self, query: Query, row: Row, below: Mapping[str, dict[str, list[Row]]]) -> Row:
        window = query.window.field if query.window else None
        stamps = (self.id, self.keys(query.object).stamp, window) if query.stamped else ()
        paths = [tuple(path.split(".")) for path in (*stamps, *query.paths) if path]
        out = (deepcopy(row) if query.whole else {}) | self._project(query.object, row, paths)
        for relation, rows in below.items():
            child = query.children[relation]
            out[relation] = [self._answer(child, one, {}) for one in rows.get(str(row[self.id]), [])]
        return out

    def _below(self, query: Query, relation: str) -> dict[str, list[Row]]:
        column, rows = self.shapes[query.object].children[relation].field, defaultdict[str, list[Row]](list)
        for row in self._select(query.children[relation]):
            rows[str(row.get(column))].append(row)
        return rows

    def _project(self, name: str, row: Row, paths: Iterable[Path]) -> Row:
        """The fields at `paths`, through parents; a field that the row lacks is absent, not null."""
        tree: defaultdict[str, list[Path]] = defaultdict(list)
        for first, *rest in paths:
            tree[first].append(tuple(rest))
        parents = {} if tree.keys() <= row.keys() else self._parents(name)
        out = {}
        for key, below in tree.items():
            if key in row:
                out[key] = inside(row[key], below)
            elif key in parents:
                known = self._id(row.get(parents[key].name))
                held = ((each, self._tables[each].get(known)) for each in parents[key].targets)
                out[key] = next((self._project(each, parent, below) for each, parent in held if parent), None)
        return out

    def _parents(self, name: str) -> dict[str, Field]:
        fields = self.shapes[name].fields.values() if name in self.shapes else ()
        return {each.relationship: each for each in fields if each.relationship}


def _merged(old: Row, new: Row, groups: set[Path], at: Path) -> Row:
    out = dict(old)
    for key, value in new.items():
        path, held = (*at, key), out.get(key)
        both = isinstance(value, dict) and isinstance(held, dict) and path in groups
        out[key] = _merged(held or {}, value, groups, path) if both else value
    return out
