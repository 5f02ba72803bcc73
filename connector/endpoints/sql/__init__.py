"""Tables of a database, over SQLAlchemy Core. Nested values become columns joined by `_`, lists and whole rows JSON.

Names come from reflection only, values are always bound. What a column makes of a value: `columns.py`. Instants are UTC
text in tables that we make, and real timestamps where a table has them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from connector import canon
from connector.endpoints.sql.faults import failure, first_line, refusal
from connector.endpoints.sql.tables import STAMPS, UNFIT, Path, Table, builder, imagined, prepared, reflect, unknown
from connector.errors import Drifted, Rejected, SetupError, Unanswered
from connector.model import Change, Clock, Column, Field, Keys, Page, Query, Row, Shape, Window, Written

PAGE = 1000
CHUNK = 500
_TEXT_TIME = "%Y-%m-%dT%H:%M:%f"
_FIELD_TYPES = {"integer": "int", "number": "double", "boolean": "boolean", "instant": "datetime", "date": "date"}
_POSTGRESQL = {"connect_timeout": 10, "options": "-c timezone=UTC -c statement_timeout=300s"}
_Item = tuple[int, Change, Row]
"""A change with its place among its siblings, and its values as columns."""


class Sql:
    """`settings`: `url`, and `create_tables` if the tables that mappings write may be made."""

    calls = 0

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        clock: Clock,
        engine: Engine | None = None,
        cache: object = None,  # noqa: ARG002 - every adapter is offered one; a database has no tokens to keep
    ) -> None:
        self.name, self.clock, self.create = name, clock, bool(settings.get("create_tables"))
        self.engine = engine or _engine(name, settings)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.settle = 0.0 if self.sqlite else 30.0  # a COMMIT on its way to a server may still arrive
        self._prepared: dict[str, Sequence[Column]] = {}
        self._tables: dict[str, Table] = {}
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _pragmas)
            sa.event.listen(self.engine, "begin", _begin)

    def now(self) -> datetime:
        if self.sqlite:
            return self.clock.now()
        with self._errors("asking for the time"), self.engine.connect() as db:
            return canon.parse(db.scalar(sa.select(sa.func.clock_timestamp())))

    def keys(self, name: str) -> Keys:
        table = self._find(name) if self.create else self._table(name)
        return Keys(table.id, table.first(STAMPS), table.made) if table else Keys("id", None)

    def describe(self, names: Sequence[str]) -> dict[str, Shape]:
        """Fields as rows have them, groups included. A table that may still be made has no shape yet."""
        tables = {name: self._find(name) if self.create else self._table(name) for name in names}
        return {name: Shape(name, name, dict(_fields(table))) for name, table in tables.items() if table}

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:
        with self._errors(f"preparing {name}"), self._connect(writer=self.create and make) as db:
            columns = list({column.path: column for column in (*self._prepared.get(name, ()), *columns)}.values())
            if self.create and not make:
                table = imagined(db, self.name, name, columns)
            else:
                table = prepared(db, self.name, name, columns, keys, create=self.create)
                self._commit(db)
        self._prepared[name], self._tables[name] = columns, table

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:  # noqa: ARG002
        return None

    def canonical(self, name: str, values: Row) -> Row:
        table = self._find(name)
        return table.canonical(values) if table else values

    def close(self) -> None:
        self.engine.dispose()

    # ---- reading ----

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        tables = [self._table(query.object) for query in queries]
        wanted = [_columns(table, query) for table, query in zip(tables, queries, strict=True)]
        with self._errors("reading"), self._connect(yield_per=PAGE) as db:
            for number, (query, table, columns) in enumerate(zip(queries, tables, wanted, strict=True)):
                row = builder([(path, table.codecs[column].decode) for column, path in columns])
                select = sa.select(*(table.sql.c[column] for column, _ in columns))
                statements = self._statements(db, table, query, select)
                held: list[Row] = []
                for some in chain.from_iterable(db.execute(statement).partitions(PAGE) for statement in statements):
                    if held:
                        yield Page(number, held, last=False)
                    held = [row(values) for values in some]
                yield Page(number, held, last=True)

    def _statements(
        self, db: Connection, table: Table, query: Query, select: sa.Select[Any]
    ) -> Iterator[sa.Select[Any]]:
        select = self._ordered(table, query, select)
        exact: list[tuple[str, Sequence[Any]]] = [
            (table.scalar(where.field), where.values) for where in query.where if not where.fold
        ]
        if len(exact) < len(query.where):
            exact.append((table.id, self._folded(db, table, query, exact)))
        if not exact:
            yield select
            return
        *some, (column, values) = sorted(exact, key=lambda clause: len(clause[1]))
        select = select.where(*(self._among(table, *clause) for clause in some))
        size = len(values) or 1 if query.window or query.order else CHUNK  # chunks would each be ordered by themselves
        for at in range(0, len(values) or 1, size):
            yield select.where(self._among(table, column, values[at : at + size]))

    def _folded(
        self, db: Connection, table: Table, query: Query, exact: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[Any]:
        """Ids of rows that match without regard to case: what Unicode says of it Python knows, lower() does not."""
        folded = [(table.sql.c[table.scalar(where.field)], where.values) for where in query.where if where.fold]
        wanted = [{canon.fold(value) for value in values} for _, values in folded]
        select = sa.select(table.sql.c[table.id], *(column for column, _ in folded))
        select = select.where(*(self._among(table, *clause) for clause in exact if len(clause[1]) <= CHUNK))
        return [
            known
            for known, *held in db.execute(select)
            if all(canon.fold(value) in some for value, some in zip(held, wanted, strict=True))
        ]

    def _among(self, table: Table, name: str, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        column, of = table.sql.c[name], table.codecs[name]
        known = []
        for value in values:
            with suppress(*UNFIT):  # what the column cannot hold stands in no row
                known += [] if value is None else [of.encode(of.canonical(value))]
        expression, moment = self._moment(table, name) if of.family == "instant" else (column, lambda value: value)
        some = [expression.in_([moment(value) for value in known])] if known else []
        return sa.or_(sa.false(), *some, *([column.is_(None)] if None in values else []))

    def _ordered(self, table: Table, query: Query, select: sa.Select[Any]) -> sa.Select[Any]:
        known, window = table.sql.c[table.id], query.window
        if window is None:
            return select.order_by(*(table.sql.c[table.scalar(path)].nulls_first() for path in query.order), known)
        column = table.scalar(window.field) if window.field else table.first(STAMPS)
        if column is None or table.codecs[column].family not in ("instant", "text"):
            raise SetupError(f"{table.label} has no column that says when a row changed (one of {', '.join(STAMPS)})")
        stamp, moment = self._moment(table, column)
        select = select.where(stamp <= moment(window.until)).order_by(stamp, known)
        if self.sqlite:
            select = select.where(*_days(table.sql.c[column], window))
        if window.since is not None:
            select = select.where(stamp >= moment(window.since))
        if window.after is not None:
            last, id_ = moment(canon.parse(window.after[0], assume_utc=True)), table.codecs[table.id]
            behind = sa.and_(stamp == last, known > id_.encode(id_.canonical(window.after[1])))
            select = select.where(sa.or_(stamp > last, behind))
        return select

    def _moment(self, table: Table, name: str) -> tuple[sa.ColumnElement[Any], Callable[[Any], Any]]:
        """An expression that orders as time does, and what a time is beside it."""
        column, of = table.sql.c[name], table.codecs[name]
        if self.sqlite:  # any spelling may stand there, whatever the type; to the millisecond
            spelt = sa.func.strftime
            return spelt(_TEXT_TIME, column), lambda at: spelt(_TEXT_TIME, canon.instant(at, assume_utc=True))
        if of.family == "instant":
            return (
                column,
                lambda at: at if isinstance(at, datetime) and at.tzinfo is None else of.encode(of.canonical(at)),
            )
        # without the Z, for `12:00:00.500Z` is text before `12:00:00Z`
        return sa.func.rtrim(column, "Z").collate("C"), lambda at: canon.text(at).rstrip("Z")

    # ---- writing ----

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """In one transaction; rows that the database refuses are left out of it. `replace` and `update` are one here:
        a field is a column, set whole, and a column that is not given keeps what it holds.
        """
        if not changes:
            return []
        table, seen = self._table(changes[0].object), Counter[str]()
        answers: dict[int, Written] = {}
        groups: defaultdict[tuple[Any, ...], list[_Item]] = defaultdict(list)
        for number, change in enumerate(changes):
            try:
                row = table.flat(change)
            except Rejected as error:
                answers[number] = Written(change.id, error)
                continue
            known = change.id or ""
            groups[seen[known], change.verb == "create", *row].append((number, change, row))
            seen[known] += bool(known)  # the same row twice: one after the other
        with self._errors(f"writing {changes[0].object}"), self._connect(writer=True) as db:
            for group in sorted(groups, key=lambda group: group[0]):
                answers |= self._group(db, table, groups[group])
            self._commit(db)
        return [answers[number] for number in range(len(changes))]

    def _group(self, db: Connection, table: Table, items: list[_Item]) -> dict[int, Written]:
        """One batch; when the database refuses it, its halves, until the rows that it refuses stand alone."""
        try:
            with db.begin_nested():
                return (_create if items[0][1].verb == "create" else _update)(db, table, items)
        except (SQLAlchemyError, ValueError, ArithmeticError) as error:
            if (refused := refusal(error, table)) is None:
                raise
        if len(items) == 1:
            return {items[0][0]: Written(items[0][1].id, refused)}
        half = len(items) // 2
        return self._group(db, table, items[:half]) | self._group(db, table, items[half:])

    # ---- the database ----

    def _table(self, name: str) -> Table:
        if table := self._find(name):
            return table
        with self._errors(f"looking for {name}"), self._connect() as db:
            raise Drifted(unknown(db, self.name, name))

    def _find(self, name: str) -> Table | None:
        if name not in self._tables:
            with self._errors(f"looking for {name}"), self._connect() as db:
                found = reflect(db, self.name, name, self._prepared.get(name, ()))
            if found is None:
                return None
            self._tables[name] = found
        return self._tables[name]

    def _connect(self, **options: Any) -> Connection:
        return self.engine.connect().execution_options(**options)

    def _commit(self, db: Connection) -> None:
        try:
            db.commit()
        except DBAPIError as error:
            if self.sqlite or not error.connection_invalidated:
                raise
            raise Unanswered(f"{self.name}: the connection broke while committing: {first_line(error)}") from error

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self._tables.clear()  # what is known of them may be what was wrong
            raise failure(error, f"{self.name}: {doing}") from error


def _create(db: Connection, table: Table, items: Sequence[_Item]) -> dict[int, Written]:
    insert, rows = table.sql.insert(), [row for _, _, row in items]
    known = table.sql.c[table.id]
    if not rows[0]:
        made = [db.scalar(insert.returning(known)) for _ in rows]
    elif db.dialect.name == "sqlite" and table.codecs[table.id].family == "integer" and table.id not in rows[0]:
        made = sorted(
            db.scalars(insert.returning(known), rows)
        )  # returned in any order, but numbered in that of the rows
    else:
        made = list(db.scalars(insert.returning(known, sort_by_parameter_order=True), rows))
    return {number: Written(str(id_)) for (number, _, _), id_ in zip(items, made, strict=True)}


def _update(db: Connection, table: Table, items: Sequence[_Item]) -> dict[int, Written]:
    column, of = table.sql.c[table.id], table.codecs[table.id]
    ids: dict[int, Any] = {}
    for number, change, _ in items:
        with suppress(*UNFIT):
            ids[number] = of.encode(of.canonical(change.id))
    rows = [{f"_{key}": value for key, value in row.items()} | {"_": ids[n]} for n, _, row in items if n in ids]
    new = {key: sa.bindparam(f"_{key}", type_=table.sql.c[key].type) for key in items[0][2]}
    update = table.sql.update().where(column == sa.bindparam("_", type_=column.type)).values(new)
    there = set(map(str, ids.values()))
    if not rows or not new or db.execute(update, rows).rowcount != len(rows):
        there = set(map(str, db.scalars(sa.select(column).where(column.in_(list(ids.values()))))))
    gone = {n for n, _, _ in items if n not in ids or str(ids[n]) not in there}
    return {
        n: Written(change.id, Rejected(f"{table.label} has no row {change.id}", "NOT_FOUND") if n in gone else None)
        for n, change, _ in items
    }


def _fields(table: Table) -> Iterator[tuple[str, Field]]:
    for (name, *below), column in table.paths.items():
        family = table.codecs[column].family
        yield name, Field(name, "string" if below else _FIELD_TYPES.get(family, "string"), filterable=family != "json")


def _columns(table: Table, query: Query) -> list[tuple[str, Path]]:
    out: dict[str, Path] = {}
    if query.stamped:
        out |= {column: (column,) for column in (table.id, table.first(STAMPS)) if column}
        out |= table.resolve(query.window.field) if query.window and query.window.field else {}
    for path in query.paths:
        out |= table.resolve(path)
    if query.whole:
        out |= {column: path for path, column in table.paths.items()}
    return list((out or {table.id: (table.id,)}).items())


def _days(column: sa.Column[Any], window: Window) -> Iterator[sa.ColumnElement[bool]]:
    """Every spelling of an instant begins with a day at most one away, and an index knows days."""
    with suppress(OverflowError):
        yield column < (window.until + timedelta(days=2)).date().isoformat()
    with suppress(OverflowError):
        if window.since is not None:
            yield column >= (window.since - timedelta(days=1)).date().isoformat()


def _engine(name: str, settings: Mapping[str, Any]) -> Engine:
    try:
        url = make_url(str(settings["url"]))
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "postgresql":
            wanted = {key: value for key, value in _POSTGRESQL.items() if key not in url.query}
            return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=wanted)
        if url.database in (None, "", ":memory:"):
            raise SetupError(f"{name}: `url` names no database: write sqlite:///FILE.db")
        return sa.create_engine(url, hide_parameters=True)
    except (KeyError, ValueError, SQLAlchemyError):  # their texts may quote the password
        right = "write sqlite:///FILE.db or postgresql://USER@HOST/DATABASE"
        raise SetupError(f"{name}: `url` is no database URL: {right}") from None
    except ImportError as error:
        raise SetupError(f"{name}: {error.name} is not installed: pip install 'connector[postgresql]'") from None


def _pragmas(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    with suppress(sqlite3.Error):  # a read-only file, or none: the first statement says so
        for pragma in ("busy_timeout=10000", "foreign_keys=ON", "synchronous=FULL", "journal_mode=WAL"):
            connection.execute(f"PRAGMA {pragma}").close()


def _begin(db: Connection) -> None:
    # a deferred transaction that reads, then writes, fails at once if another has written meanwhile, whatever the timeout
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writer") else "BEGIN")
