"""Tables in dicts that behave like a system: for tests, for examples, for preview. Faults can be switched on.

Objects whose id column is `Id` behave like Salesforce's (stamps, 18-character ids, relationships by shape).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import RLock
from typing import Any

from connector import canon
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
from connector.model import Change, Clock, Column, Keys, Page, Query, Row, Shape, Where, Window, Written

Tree = dict[str, "Tree"]
STAMPS = ("updated_at", "updated", "created_at")
MADE = ("created_at", "created")
_MISSING = object()


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


def _instant(value: Any) -> Any:
    return canon.instant(value) or value


def _date(value: Any) -> Any:
    return canon.date(value) or value


FORMS: Mapping[str, Callable[[Any], Any]] = {
    "id": canon.id18,
    "reference": canon.id18,
    "datetime": _instant,
    "instant": _instant,
    "date": _date,
}
STANDARD = {"Id": "id"} | dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), "datetime")


class Memory:
    """`rows` carry their object's name at the key `object`. `ids` names the id column where rows cannot tell it."""

    settle = 0.0
    calls = 0

    def __init__(
        self,
        name: str,
        rows: Iterable[Row] = (),
        *,
        clock: Clock,
        shapes: Mapping[str, Shape] | None = None,
        ids: str | None = None,
        page: int = 200,
    ) -> None:
        self.name, self.clock, self.shapes, self.ids, self.page = name, clock, dict(shapes or {}), ids, page
        self.faults: list[Fault] = []
        self.on_call: Callable[[str], None] | None = None
        self.written: list[Change] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[Fault] = Counter()
        self._columns: dict[str, dict[tuple[str, ...], str]] = {}
        self._tables: dict[str, dict[str, Row]] = {}
        self._new = 0
        self._lock = RLock()
        given: defaultdict[str, list[Row]] = defaultdict(list)
        for row in rows:
            given[row["object"]].append({key: value for key, value in row.items() if key != "object"})
        for object_, some in given.items():
            id_ = self._id_column(object_, some)
            self._tables[object_] = {self._id(id_, row[id_]): self._load(object_, id_, row) for row in some}

    # ---- what tests and the example runner use ----

    @property
    def objects(self) -> list[str]:
        return list(self._tables)

    def rows(self, object_: str) -> list[Row]:
        return deepcopy(list(self._tables.get(object_, {}).values()))

    def edit(self, object_: str, rows: Iterable[Row], *, stamp: bool = True) -> None:
        """Rows added, or changed by id as a user of the system would; `stamp` False leaves stamps as they are given."""
        with self._lock:
            for row in rows:
                values = {key: value for key, value in row.items() if key != "object"}
                table, id_ = self._tables.setdefault(object_, {}), self._id_column(object_, [values])
                known = self._id(id_, values.get(id_) or self._next(object_))
                values = {id_: known} | self.canonical(object_, table.get(known, {}) | deepcopy(values))
                table[known] = values
                table[known] = self._stamp(object_, values) if stamp else self._load(object_, id_, values)

    def delete(self, object_: str, id_: str) -> None:
        with self._lock:
            del self._tables[object_][self._id(self._id_column(object_), id_)]

    # ---- Endpoint ----

    def now(self) -> datetime:
        return self.clock.now()

    def keys(self, name: str) -> Keys:
        if (id_ := self._id_column(name)) == "Id":
            return Keys("Id", "SystemModstamp", "CreatedDate")
        rows, mapped = list(self._tables.get(name, {}).values()), self._columns.get(name, {})
        stamp = next((column for column in STAMPS if any(column in row for row in rows)), None)
        made = (column for column in MADE if (column,) not in mapped and any(column in row for row in rows))
        return Keys(id_, stamp, next(made, None))  # what a mapping fills does not say when the system made a row

    def describe(self, names: Sequence[str]) -> dict[str, Shape]:
        return {name: self.shapes[name] for name in names if name in self.shapes}

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:  # noqa: ARG002
        self._columns.setdefault(name, {}).update({column.path: column.kind for column in columns})

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:
        children = self.shapes[query.object].children if query.object in self.shapes else {}
        for relation, below in children.items():
            if below.object == child.object and dict(on) == {below.field: "Id"} and child.window is None:
                return relation
        return None

    def canonical(self, name: str, values: Row) -> Row:
        return self._canonical(name, values, ())

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        for query in queries:
            self._called(f"read:{query.object}")
            self._call(query.object, "read", "find" if query.where else "list", {})
        selected = [self._select(query) for query in queries]
        for number, (query, rows) in enumerate(zip(queries, selected, strict=True)):
            children = {relation: self._children(query, relation) for relation in query.children}
            keys = self.keys(query.object)
            for at in range(0, len(rows) or 1, self.page):
                some = [self._answer(query, keys, row, children) for row in rows[at : at + self.page]]
                yield Page(number, some, last=at + self.page >= len(rows))

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """`replace` and `update` set the given fields, `update` merging nested dicts. A field is what `prepare` named,
        set whole; where nothing is prepared, `replace` sets top-level values and `update` merges dicts all the way down.
        """
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
        tries: Counter[int | str | None] = Counter()
        while True:
            self.counts[object_, count] += 1
            fault = next((fault for fault in self.faults if self._hits(fault, object_, verb, values)), None)
            self._failed.update([fault] if fault else [])
            answer = fault.answer if fault else None
            tries[answer] += 1
            told = f"{self.name}: {verb} {object_} answered {answer}"
            if answer is None or (verb == "write" and answer == "lost_reply"):
                return answer
            if answer == 401 and tries[answer] > 1:
                raise Unauthorized(told)
            if answer == 429:
                if tries[answer] == 5:
                    raise RateLimited(told, wait=1)
                self.clock.sleep(1)
            elif isinstance(answer, str) or answer >= 500:
                if tries[answer] > 3:
                    raise Unavailable(told)
                self.clock.sleep(2 ** (tries[answer] - 1))
            elif answer != 401 and verb == "write":
                return answer
            elif answer != 401:
                raise {403: Unauthorized, 404: Drifted}.get(answer, Unavailable)(told)

    def _hits(self, fault: Fault, object_: str, verb: str, values: Row) -> bool:
        return (
            (fault.object, fault.verb) == (object_, verb)
            and (fault.times is None or self._failed[fault] < fault.times)
            and all(key in values and canon.same(values[key], wanted) for key, wanted in fault.match.items())
        )

    # ---- writing ----

    def _known(self, change: Change) -> Row:
        return self._tables.get(change.object, {}).get(self._id(self._id_column(change.object), change.id), {})

    def _write(self, change: Change) -> Written:
        self._called(f"write:{change.object}")
        answer = self._call(change.object, "write", _verb(change), self._known(change) | change.values)
        written = self._apply(change, answer)
        self._called(f"wrote:{change.object}")
        return written

    def _apply(self, change: Change, answer: int | str | None) -> Written:
        object_, name = change.object, f"{self.name}: {change.object}"
        if isinstance(answer, int):
            return Written(change.id, Rejected(f"{name} answered {answer}", reason=str(answer)))
        id_, values = self._id_column(object_), self.canonical(object_, deepcopy(change.values))
        if change.verb == "create":
            row, known = {}, self._id(id_, values.get(id_) or self._next(object_))
            if known in self._tables.get(object_, {}):
                return Written(
                    None, Rejected(f"{name} {known} is there already", reason="DUPLICATE_VALUE", fields=(id_,))
                )
        else:
            row, known = self._known(change), self._id(id_, change.id)
            if not row:
                return Written(change.id, Rejected(f"{name} has no row {change.id}", reason="NOT_FOUND"))
        row = {id_: known} | _merged(row, values, self._groups(object_, deep=change.verb == "update"), ())
        made = self.keys(object_).created if change.verb == "create" else None
        row = self._stamp(object_, row) if id_ == "Id" else {made: canon.text(self.clock.now())} | row if made else row
        self._tables.setdefault(object_, {})[known] = row
        self.written.append(replace(change, values=deepcopy(values), id=known))
        if answer == "lost_reply":
            return Written(None, Unanswered(f"{name}: the connection broke before the answer"))
        return Written(known)

    def _groups(self, object_: str, *, deep: bool) -> Callable[[tuple[str, ...]], bool]:
        if object_ not in self._columns:
            return lambda _: deep
        groups = {path[:n] for path in self._columns[object_] for n in range(1, len(path))}
        return groups.__contains__

    def _next(self, object_: str) -> str:
        table = self._tables.get(object_, {})
        if table and next(reversed(table)).isdecimal() and all(known.isdecimal() for known in table):
            return str(max(map(int, table)) + 1)
        self._new += 1
        return f"new{self._new}"

    def _stamp(self, object_: str, row: Row) -> Row:
        now, keys = canon.text(self.clock.now()), self.keys(object_)
        if keys.id == "Id":
            return row | {"CreatedDate": row.get("CreatedDate") or now, "LastModifiedDate": now, "SystemModstamp": now}
        fresh = {keys.stamp: now} if keys.stamp and (keys.stamp != "created_at" or not row.get("created_at")) else {}
        return row | fresh

    def _load(self, object_: str, id_: str, row: Row) -> Row:
        row = self.canonical(object_, deepcopy(row))
        if id_ == "Id":
            changed = row.get("LastModifiedDate") or row.get("SystemModstamp") or canon.text(self.clock.now())
            for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp"):
                row[name] = row.get(name) or changed
        return row

    # ---- reading ----

    def _id_column(self, name: str, rows: Sequence[Row] = ()) -> str:
        if self.ids:
            return self.ids
        rows = rows or list(self._tables.get(name, {}).values())
        if rows:
            return "Id" if any("Id" in row for row in rows) else "id"
        if name in self.shapes:
            return "id" if "id" in self.shapes[name].fields else "Id"
        return (
            "Id" if any("Id" in row for table in list(self._tables.values()) for row in list(table.values())) else "id"
        )

    @staticmethod
    def _id(column: str, value: Any) -> str:
        return str(canon.id18(value) if column == "Id" else value)

    def _form(self, name: str, path: tuple[str, ...]) -> Callable[[Any], Any]:
        flat = path[0] if len(path) == 1 else ""
        field_ = self.shapes[name].fields.get(flat) if name in self.shapes else None
        return FORMS.get(
            field_.type if field_ else self._columns.get(name, {}).get(path) or STANDARD.get(flat, ""), _as_is
        )

    def _canonical(self, name: str, values: Row, at: tuple[str, ...]) -> Row:
        out = {}
        for key, value in values.items():
            path = (*at, key)
            nested = isinstance(value, dict) and path not in self._columns.get(name, {})
            out[key] = self._canonical(name, value, path) if nested else self._form(name, path)(value)
        return out

    def _select(self, query: Query) -> list[Row]:
        name, rows, keys = query.object, list(self._tables.get(query.object, {}).values()), self.keys(query.object)
        for where in query.where:
            token = self._token(name, where, keys)
            wanted = {token(value) for value in where.values}
            rows = [row for row in rows if token(self._value(name, row, where.field.split("."))) in wanted]
        if query.window and rows:
            return _in_window(rows, query.window, query.window.field or keys.stamp, keys.id, f"{self.name}: {name}")
        for column in reversed(query.order):
            values = [(self._value(name, row, column.split(".")), row) for row in rows]
            rows = [row for _, row in sorted(values, key=lambda pair: (pair[0] is not None, *_sortable(pair[0])))]
        return rows

    def _token(self, name: str, where: Where, keys: Keys) -> Callable[[Any], Any]:
        """What a value of this field compares as."""
        form = self._form(name, tuple(where.field.split(".")))
        if where.fold:
            return canon.fold
        if where.field == keys.id:
            return lambda value: None if value is None else self._id(keys.id, value)
        return lambda value: _sortable(form(value))

    def _value(self, name: str, row: Row, path: Sequence[str]) -> Any:
        value: Any = self._project(name, row, _tree([".".join(path)]))
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _answer(self, query: Query, keys: Keys, row: Row, children: Mapping[str, dict[str, list[Row]]]) -> Row:
        asked = (keys.id, keys.stamp, query.window and query.window.field) if query.stamped else ()
        stamps = [column for column in asked if column]
        out = deepcopy(row) if query.whole else {}
        out |= self._project(query.object, row, _tree([*stamps, *query.paths]))
        for relation, below in children.items():
            child, rows = query.children[relation], below.get(self._id(keys.id, row[keys.id]), [])
            out[relation] = [self._answer(child, self.keys(child.object), one, {}) for one in rows]
        return out

    def _children(self, query: Query, relation: str) -> dict[str, list[Row]]:
        column, below = self.shapes[query.object].children[relation].field, defaultdict[str, list[Row]](list)
        for row in self._select(query.children[relation]):
            below[str(row.get(column))].append(row)
        return below

    def _project(self, name: str, row: Row, tree: Tree) -> Row:
        """The fields of `tree`, through parents; a field that the row lacks is absent, not null."""
        out = {}
        for key, below in tree.items():
            if key in row:
                value = _pick(row[key], below)
            else:
                object_, value = self._parent(name, row, key) if below else ("", _MISSING)
                value = self._project(object_, value, below) if isinstance(value, dict) else value
            if value is not _MISSING:
                out[key] = value
        return out

    def _parent(self, name: str, row: Row, relation: str) -> tuple[str, Any]:
        fields = self.shapes[name].fields.values() if name in self.shapes else ()
        field_ = next((field_ for field_ in fields if field_.relationship == relation), None)
        column = relation[:-1] + "c" if relation.endswith("__r") else relation + "Id"  # how Salesforce names them
        column, targets = (field_.name, field_.targets) if field_ else (column, ())
        if not field_ and column not in row:
            return "", _MISSING
        known = str(canon.id18(row.get(column)))
        found = ((object_, self._tables.get(object_, {}).get(known)) for object_ in targets or self.objects)
        return next(((object_, parent) for object_, parent in found if parent), ("", None))


def _verb(change: Change) -> str:
    return "create" if change.verb == "create" else "update"


def _as_is(value: Any) -> Any:
    return value


def _merged(old: Row, new: Row, deeper: Callable[[tuple[str, ...]], bool], at: tuple[str, ...]) -> Row:
    out = dict(old)
    for key, value in new.items():
        path, held = (*at, key), out.get(key)
        both = isinstance(value, dict) and isinstance(held, dict)
        out[key] = _merged(held or {}, value, deeper, path) if both and deeper(path) else value
    return out


def _in_window(rows: list[Row], window: Window, stamp: str | None, id_: str, name: str) -> list[Row]:
    if stamp is None:
        raise SetupError(f"{name} has no column that says when a row changed (one of {', '.join(STAMPS)})")

    def place(moment: str, known: Any) -> tuple[datetime, Any]:
        return canon.parse(moment, assume_utc=True), _sortable(int(known) if str(known).isdecimal() else known)

    placed = sorted(((place(row[stamp], row[id_]), row) for row in rows if row.get(stamp)), key=lambda pair: pair[0])
    after = place(*window.after) if window.after else None
    return [
        row
        for at, row in placed
        if (window.since is None or at[0] >= window.since) and at[0] <= window.until and (after is None or at > after)
    ]


def _sortable(value: Any) -> tuple[str, Any]:
    """Numbers with numbers, text with text: equal as `canon.same`, hashable, and in an order."""
    if isinstance(value, bool | int | float):
        return ("bool" if isinstance(value, bool) else "number"), value
    return ("text", value) if isinstance(value, str) else (type(value).__name__, repr(value))


def _tree(paths: Iterable[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        at = tree
        for part in path.split("."):
            at = at.setdefault(part, {})
    return tree


def _pick(value: Any, tree: Tree) -> Any:
    if not tree or value is None:
        return deepcopy(value)
    if isinstance(value, list):
        return [_pick(item, tree) for item in value]
    return (
        {key: _pick(value[key], below) for key, below in tree.items() if key in value}
        if isinstance(value, dict)
        else value
    )
