"""Tables of a database, over SQLAlchemy Core. Nested values become columns joined by `_`, lists and whole rows JSON.

Names come from reflection only, values are always bound. What a column makes of a value: `columns.py`. Instants are UTC
text in tables that we make, and real timestamps where a table has them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from connector import canon
from connector.endpoints.forms import STAMPS, rounds
from connector.endpoints.sql.columns import UNFIT, loads
from connector.endpoints.sql.tables import Path, Table, among, builder, prepared, reflect, unknown
from connector.endpoints.sql.writing import Item, create, grouped, returning, update
from connector.errors import ConnectorError, Drifted, Rejected, SetupError, Unanswered, Unauthorized, Unavailable
from connector.model import Change, Clock, Column, Keys, Page, Query, Row, Shape, Where, Window, Written

PAGE, CHUNK = 1000, 500
"""Rows that are fetched at a time, and values of one IN list."""
_TEXT_TIME = "%Y-%m-%dT%H:%M:%f"
_POSTGRESQL = {"connect_timeout": 10, "options": "-c timezone=UTC -c statement_timeout=300s"}
_ROW = "22|23|54|P0|SQLITE_CONSTRAINT|SQLITE_MISMATCH|SQLITE_TOOBIG"
"""Codes that blame the row: data, constraints, limits, a trigger that refuses. SQLSTATE, or SQLite's own."""
_KINDS: tuple[tuple[str, type[ConnectorError], str], ...] = (
    ("53100|SQLITE_FULL", SetupError, ": the disk is full, make room"),
    ("25006|SQLITE_READONLY", SetupError, ": the database cannot be written, give this program's user the right to"),
    ("28|3D|SQLITE_(CANTOPEN|NOTADB|CORRUPT|PERM)", SetupError, ": check `url`"),
    (".*(authentication failed|no password|no pg_hba|(database|role) .* does not exist)", SetupError, ": check `url`"),
    ("42501", Unauthorized, ""),
    ("42P01|42703|.*(no such (table|column)|has no column)", Drifted, ""),
    (_ROW, SetupError, ""),  # outside of a row's own statement: an index over doubles
    ("", Unavailable, ""),
)
"""The beginning of code and message -> who can act, and how. The first that fits."""


class Sql:
    """`settings`: `url`, and `create_tables` if the tables that mappings write may be made."""

    calls = 0

    def __init__(self, name: str, settings: Mapping[str, Any], *, clock: Clock) -> None:
        self.name, self.clock, self.create = name, clock, bool(settings.get("create_tables"))
        self.engine = _engine(name, settings)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.settle = 0.0 if self.sqlite else 30.0  # a COMMIT on its way to a server may still arrive
        self._prepared: dict[str, Sequence[Column]] = {}
        self._tables: dict[str, Table] = {}
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _pragmas)
            sa.event.listen(self.engine, "begin", _begin)
        else:
            sa.event.listen(self.engine, "do_executemany", returning)

    def now(self) -> datetime:
        if self.sqlite:
            return self.clock.now()
        with self._errors("asking for the time"), self.engine.connect() as db:
            return canon.parse(db.scalar(sa.select(sa.func.clock_timestamp())))

    def keys(self, name: str) -> Keys:
        table = self._find(name)
        return Keys(table.id, table.stamp, table.made) if table else Keys("id", None)

    def describe(self, names: Sequence[str], *, fresh: bool = True) -> dict[str, Shape]:  # noqa: ARG002
        return {}

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:
        columns = list({column.path: column for column in (*self._prepared.get(name, ()), *columns)}.values())
        with self._errors(f"preparing {name}"), self._connect(writer=self.create and make) as db:
            table = prepared(db, self.name, name, columns, keys, create=self.create, make=make)
            self._commit(db)
        self._prepared[name], self._tables[name] = columns, table

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:  # noqa: ARG002
        return None

    def canonical(self, name: str, values: Row) -> Row:
        table = self._tables.get(name) or self._find(name)
        return table.canonical(values) if table else values

    def close(self) -> None:
        self.engine.dispose()

    # ---- reading ----

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        tables = [self._table(query.object) for query in queries]
        wanted = [_columns(table, query) for table, query in zip(tables, queries, strict=True)]
        with self._errors("reading"), self._connect(yield_per=PAGE) as db:
            for number, (query, table, columns) in enumerate(zip(queries, tables, wanted, strict=True)):
                rows = builder(tuple([(path, table.codecs[column]) for column, path in columns.items()]))
                held: list[Row] = []
                for some in self._results(db, table, query, tuple(columns)):
                    if held:
                        yield Page(number, held, last=False)
                    held = rows(some)
                yield Page(number, held, last=True)

    def _results(self, db: Connection, table: Table, query: Query, columns: Path) -> Iterator[Sequence[Any]]:
        """The values of these columns, PAGE rows or less at a time."""
        if (listed := self._listed(table, query)) is None:
            select = sa.select(*(table.sql.c[column] for column in columns))
            for statement in self._statements(db, table, query, select):
                yield from db.execute(statement).partitions(PAGE)
            return
        name, lists = listed
        for values in lists:
            cursor = db.exec_driver_sql(among(db, table, columns, name, len(values)), values).cursor
            while some := cursor.fetchmany(PAGE):
                yield some

    def _listed(self, table: Table, query: Query) -> tuple[str, Iterable[tuple[Any, ...]]] | None:
        """Of the usual query, rows that have one of many values, the column and the values, CHUNK or less at a time.

        SQLite alone takes values as they are, whatever the column. SQLAlchemy takes longer over each than SQLite does.
        """
        if not self.sqlite or query.window or query.order or len(query.where) != 1:
            return None
        where = query.where[0]
        column, bind = self._comparable(table, name := table.scalar(where.field))
        if where.fold or None in where.values or column is not table.sql.c[name] or not isinstance(table.sql, sa.Table):
            return None
        starts = range(0, len(where.values), CHUNK)
        lists = (tuple(_fitting(bind, where.values[at : at + CHUNK])) for at in starts)
        return name, filter(None, lists)

    def _statements(
        self, db: Connection, table: Table, query: Query, select: sa.Select[Any]
    ) -> Iterator[sa.Select[Any]]:
        """One, or several if the longest list is too long for one; with an order, chunks would each have their own."""
        select = self._ordered(table, query, select)
        lists = [(table.scalar(where.field), self._spelt(db, table, where)) for where in query.where]
        *some, (column, values) = sorted(lists, key=lambda pair: len(pair[1])) or [("", ())]
        select = select.where(*(self._among(table, *each) for each in some))
        size = len(values) or 1 if query.window or query.order else CHUNK
        for at in range(0, len(values) or 1, size):
            yield select.where(self._among(table, column, values[at : at + size])) if column else select

    def _spelt(self, db: Connection, table: Table, where: Where) -> Sequence[Any]:
        """The values as they stand in the column: what Unicode says of letter case Python knows, lower() does not."""
        if not where.fold:
            return where.values
        name, wanted = table.scalar(where.field), set(map(canon.fold, where.values))
        held = db.scalars(sa.select(table.sql.c[name]).distinct())
        return [value for value in held if canon.fold(value) in wanted]

    def _among(self, table: Table, name: str, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        expression, beside = self._comparable(table, name)
        known = _fitting(beside, [value for value in values if value is not None])
        null = [expression.is_(None)] if None in values else []
        return sa.or_(sa.false(), *([expression.in_(known)] if known else []), *null)

    def _ordered(self, table: Table, query: Query, select: sa.Select[Any]) -> sa.Select[Any]:
        known, window = table.sql.c[table.id], query.window
        if window is None:
            return select.order_by(*(table.sql.c[table.scalar(path)].nulls_first() for path in query.order), known)
        column = table.scalar(window.field) if window.field else table.stamp
        if column is None or table.codecs[column].family not in ("instant", "text"):
            raise SetupError(f"{table.label} has no column that says when a row changed (one of {', '.join(STAMPS)})")
        stamp, moment = self._comparable(table, column, time=True)
        select = select.where(stamp <= moment(window.until)).order_by(stamp, known)
        if self.sqlite:
            select = select.where(*_days(table.sql.c[column], window))
        if window.since is not None:
            select = select.where(stamp >= moment(window.since))
        if window.after is not None:
            last, id_ = moment(window.after[0]), table.codecs[table.id].bind(window.after[1])
            select = select.where(sa.or_(stamp > last, sa.and_(stamp == last, known > id_)))
        return select

    def _comparable(
        self, table: Table, name: str, *, time: bool = False
    ) -> tuple[sa.ColumnElement[Any], Callable[[Any], Any]]:
        """An expression, and what a value is beside it. With `time`, the expression orders as time does."""
        column, of = table.sql.c[name], table.codecs[name]
        if self.sqlite and (time or of.family == "instant"):  # any spelling may stand there; to the millisecond
            spelt = sa.func.strftime
            return spelt(_TEXT_TIME, column), lambda at: spelt(_TEXT_TIME, canon.instant(at, assume_utc=True))
        if time and of.family == "text":  # without the Z, for `12:00:00.500Z` is text before `12:00:00Z`
            plain = sa.func.rtrim(column, "Z").collate("C")
            return plain, lambda at: canon.text(canon.parse(at, assume_utc=True)).rstrip("Z")
        return column, of.bind

    # ---- writing ----

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """In one transaction; rows that the database refuses are left out of it. `replace` and `update` are one here:
        a field is a column, set whole, and a column that is not given keeps what it holds.
        """
        if not changes:
            return []
        table = self._table(changes[0].object)
        answers: dict[int, Written] = {}
        groups: list[tuple[Path, list[Item]]] = []
        for some in rounds(changes):
            groups += grouped(table, some, answers)
        with self._errors(f"writing {changes[0].object}"), self._connect(writer=True) as db:
            for names, items in groups:
                answers |= self._group(db, table, names, items)
            self._commit(db)
        return [answers[number] for number in range(len(changes))]

    def _group(self, db: Connection, table: Table, names: Path, items: list[Item]) -> dict[int, Written]:
        """One batch; when the database refuses it, its halves, until the rows that it refuses stand alone."""
        tried = db.begin_nested()
        try:
            made = (create if items[0][1].verb == "create" else update)(db, table, names, items)
            tried.commit()
        except (SQLAlchemyError, ValueError, ArithmeticError) as error:
            if (refused := _refusal(error, table)) is None:
                raise  # all of it is rolled back; a full disk has done so by itself
            tried.rollback()
        else:
            return made
        if len(items) == 1:
            return {items[0][0]: Written(items[0][1].id, refused)}
        half = len(items) // 2
        return self._group(db, table, names, items[:half]) | self._group(db, table, names, items[half:])

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
            if self.sqlite:
                db.invalidate()  # SQLite keeps the transaction open, and the pool would hand it to the next one
            if self.sqlite or not error.connection_invalidated:
                raise
            raise Unanswered(f"{self.name}: the connection broke while committing: {_first_line(error)}") from error

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._tables.clear()  # what is known of them may be what was wrong
            raise _failure(error, f"{self.name}: {doing}") from error


def _fitting(beside: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """`beside` of each value, but for those that the column cannot hold: they stand in no row."""
    try:
        return [beside(value) for value in values]
    except UNFIT:
        half = len(values) // 2
        return _fitting(beside, values[:half]) + _fitting(beside, values[half:]) if half else []


def _columns(table: Table, query: Query) -> dict[str, Path]:
    out: dict[str, Path] = {}
    if query.stamped:
        named = query.window.field if query.window else None
        for path in filter(None, (table.id, table.stamp, named)):
            out |= table.resolve(path)
    for path in query.paths:
        out |= table.resolve(path)
    if query.whole:
        out |= table.paths
    return dict(sorted(out.items(), key=lambda column: len(column[1]) > 1)) or {table.id: (table.id,)}


def _days(column: sa.Column[Any], window: Window) -> Iterator[sa.ColumnElement[bool]]:
    """Every spelling of an instant begins with a day at most one away, and an index knows days."""
    with suppress(OverflowError):
        yield column < (window.until + timedelta(days=2)).date().isoformat()
        if window.since is not None:
            yield column >= (window.since - timedelta(days=1)).date().isoformat()


def _engine(name: str, settings: Mapping[str, Any]) -> Engine:
    try:
        url = make_url(str(settings["url"]))
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "postgresql":
            wanted = {key: value for key, value in _POSTGRESQL.items() if key not in url.query}
            options = {"pool_pre_ping": True, "json_deserializer": loads, "connect_args": wanted}
            return sa.create_engine(url, hide_parameters=True, **options)
        if url.database in (None, "", ":memory:"):
            raise SetupError(f"{name}: `url` names no database: write sqlite:///FILE.db")
        return sa.create_engine(url, hide_parameters=True)
    except (KeyError, ValueError, SQLAlchemyError):  # their texts may quote the password
        right = "write sqlite:///FILE.db or postgresql://USER@HOST/DATABASE"
        raise SetupError(f"{name}: `url` is no database URL: {right}") from None


def _pragmas(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    with suppress(sqlite3.Error):  # a read-only file, or none: the first statement says so
        for pragma in ("busy_timeout=10000", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").close()
        if connection.execute("PRAGMA page_count").fetchone() == (
            0,
        ):  # how somebody else's file is kept is theirs to say
            connection.execute("PRAGMA journal_mode=WAL").close()


def _begin(db: Connection) -> None:
    # a deferred transaction that reads, then writes, fails at once if another has written meanwhile, whatever the timeout
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writer") else "BEGIN")


# ---- what its errors mean: neither SQL nor passwords get into the sentences ----


def _failure(error: Exception, doing: str) -> ConnectorError:
    """Of a whole call."""
    said = f"{_code(error)} {_first_line(error)}"
    kind, hint = next((kind, hint) for begins, kind, hint in _KINDS if re.match(begins, said))
    return kind(f"{doing}: {_first_line(error)}{hint}")


def _refusal(error: Exception, table: Table) -> Rejected | None:
    """Of one row, if it is the row's fault."""
    code, line = _code(error), _first_line(error)
    unsent = isinstance(error, StatementError) and not isinstance(error, DBAPIError)  # a value that the driver refused
    if not (unsent or isinstance(error, (IntegrityError, DataError, *UNFIT)) or re.match(_ROW, code)):
        return None
    diag = getattr(getattr(error, "orig", None), "diag", None)
    said = f"{line} {getattr(diag, 'column_name', '')} {str(getattr(diag, 'message_detail', '')).partition('=')[0]}"
    named = tuple(column for column in table.codecs if re.search(rf"\b{re.escape(column)}\b", said))
    return Rejected(f"{table.label}: {line}", code or "INVALID_VALUE", named)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def _code(error: Exception) -> str:
    cause = getattr(error, "orig", error)
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or "")
