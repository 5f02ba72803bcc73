"""A database by its URL: how it is opened, its transactions, and sentences for what it refuses."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event

from connector.errors import LeaseLost, StateError
from connector.state.migrations import MIGRATIONS, VERSION
from connector.state.nouns import Lease
from connector.state.tables import meta, metadata, stream

Found = Literal["fail", "keep", "replace"]
MANY = 20
"""Rows from which on it pays to look for what they have alike."""
_WORD = re.compile(r"\w*", re.ASCII)
MARKS = {"sqlite": "?", "postgresql": "%s"}
"""Where a value goes in a text of SQL, as the drivers spell it."""
BUSY = 10
"""Seconds to wait for another process that holds the file."""
_PRAGMAS = (
    f"busy_timeout={BUSY * 1000}",  # first: the next one may have to wait already
    "journal_mode=WAL",
    "synchronous=FULL",  # an intent that a power cut rolls back is a record created twice
    "foreign_keys=ON",
    "temp_store=MEMORY",
)


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        given = sa.make_url(url)
        if given.drivername in ("postgresql", "postgres"):
            given = given.set(drivername="postgresql+psycopg")
        made = sa.create_engine(given, pool_pre_ping=True)
        event.listen(made, "connect", _patience)
        return made
    memory = url in ("sqlite://", "sqlite:///:memory:")
    if not memory:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = sa.create_engine(url, poolclass=sa.StaticPool if memory else sa.QueuePool)

    @event.listens_for(made, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # the driver must not open transactions by itself
        for pragma in _PRAGMAS:
            _insisting(raw, f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def _begin(conn: sa.Connection) -> None:
        # A deferred transaction that reads and then writes fails with BUSY_SNAPSHOT whatever the time-out.
        conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get("read") else "BEGIN IMMEDIATE")

    return made


def _insisting(raw: sqlite3.Connection, statement: str) -> None:
    """SQLite does not wait, whatever the time-out, where several go over to WAL at once: one of them is told `locked`."""
    until = time.monotonic() + BUSY
    while True:
        try:
            raw.execute(statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _patience(raw: Any, _record: Any) -> None:
    """As long as SQLite waits; and a worker that stands still inside a transaction does not hold the others for ever."""
    raw.execute("SET lock_timeout = '10s'")
    raw.execute("SET idle_in_transaction_session_timeout = '60s'")
    raw.commit()


_RIGHT = "write sqlite:///FILE.db or postgresql+psycopg://USER@HOST/DATABASE"


class Database:
    """One database. Raises StateError, with what to do, when it cannot be opened, read or written."""

    def __init__(self, url: str = "sqlite://") -> None:
        self.url = url
        with self._told():
            self._engine = _engine(url)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Makes the tables that are not there, and brings those of an older version forward; one process at a time."""
        with self.reading() as conn:
            there = set(sa.inspect(conn).get_table_names())
            if there.issuperset(metadata.tables) and _version(conn) == str(VERSION):
                return
        with self.writing() as tx:
            if tx.dialect.name == "postgresql":
                tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("connector state"))))
            made = meta.name not in sa.inspect(tx).get_table_names()
            metadata.create_all(tx)
            found = str(VERSION) if made else _version(tx)
            if not (found.isdecimal() and int(found) <= VERSION):
                said = f"made by a newer version of connector ({found}); install that one"
                raise StateError(f"{self._shown}: {said}")
            for number in range(int(found), VERSION):
                for statement in MIGRATIONS[number + 1]:
                    tx.exec_driver_sql(statement)
            self.put(tx, meta, ("key", "value"), [("schema_version", str(VERSION))], "replace")

    @property
    def _shown(self) -> str:
        if self.url.startswith("sqlite:///"):
            return self.url.removeprefix("sqlite:///")
        return sa.make_url(self.url).render_as_string(hide_password=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.ArgumentError:
            raise StateError(f"CONNECTOR_STATE: {self.url.split('@')[-1]!r} is not a database URL; {_RIGHT}") from None
        except (sa.exc.NoSuchModuleError, ImportError) as error:
            raise StateError(f"{self._shown}: no driver for it is installed ({error}); {_RIGHT}") from None
        except OSError as error:
            raise StateError(f"{self._shown}: the folder cannot be made ({error.strerror})") from None
        except sa.exc.DBAPIError as error:
            said = str(error.orig).strip().splitlines()[0]
            raise StateError(f"{self._shown}: {said}; {_remedy(said)}") from None

    def close(self) -> None:
        self._engine.dispose()

    def backup(self, file: Path) -> None:
        """One moment of it as a new file, while others read and write. SQLite only; raises StateError."""
        if self._engine.dialect.name != "sqlite":
            raise StateError(f"{self._shown}: PostgreSQL brings what it needs: pg_dump --format=custom --file={file}")
        try:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise StateError(f"{file}: {error.strerror}; name a file that can be made and is not there yet") from None
        try:
            with closing(sqlite3.connect(self._engine.url.database or "", isolation_level=None)) as db:
                db.execute("VACUUM INTO ?", (str(file),))
            with file.open("rb+") as made:
                os.fsync(made.fileno())
        except (sqlite3.Error, OSError) as error:
            file.unlink()
            raise StateError(f"{file}: {error}; {_remedy(str(error))}") from None

    # ---- transactions --------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self._told(), self._engine.connect().execution_options(read=True) as conn, conn.begin():
            yield conn

    @contextmanager
    def writing(self, lease: Lease | None = None) -> Iterator[sa.Connection]:
        """A transaction that writes; with a lease only as long as its token is the stream's. Raises LeaseLost."""
        with self._told(), self._engine.begin() as tx:
            if lease is not None:
                _guard(tx, lease)
            yield tx

    def check(self, lease: Lease) -> None:
        """Raises LeaseLost when the stream is another worker's by now: what it is about to send must not go."""
        with self.reading() as conn:
            _guard(conn, lease)

    def put(
        self,
        tx: sa.Connection,
        table: sa.Table,
        columns: Sequence[str],
        rows: Iterable[tuple[Any, ...]],
        found: Found = "fail",
        owned: Mapping[str, Any] | None = None,
    ) -> int:
        """Rows as tuples in the order of `columns`, each with what is `owned` by all; `found` says what becomes of one
        whose key is there. How many went in.
        """
        by = [columns.index(name) for name in key(table) if name in columns]
        # Sorted, so that two writers lock rows in one order.
        given = list(rows) if found == "fail" else sorted(rows, key=itemgetter(*by))
        if not given:
            return 0
        told: dict[str, Sequence[Any]] = dict(zip(columns, zip(*given, strict=True), strict=True))
        if "message" in told:
            told["message"] = [one if one.isprintable() else plain(one) for one in told["message"]]
        told |= {name: [value] * len(given) for name, value in (owned or {}).items()}
        others = [*told][1:] if len(given) >= MANY else []  # a row needs one value of its own
        alike = {name: _literal(told[name][0]) for name in others if told[name].count(told[name][0]) == len(given)}
        texts = {name: text for name, text in alike.items() if text is not None}
        bound = {name: values for name, values in told.items() if name not in texts}
        text = _insert(table, (*bound,), (*texts.items(),), found, tx.dialect.name)
        return tx.exec_driver_sql(text, list(zip(*bound.values(), strict=True))).rowcount

    def _among(
        self, table: sa.Table, columns: tuple[str, ...], where: Mapping[str, Any], column: str, values: Sequence[Any]
    ) -> list[Any]:
        """Rows as tuples, as the driver has them: `where` equals, and `column` is one of the values."""
        found: list[Any] = []
        with self.reading() as conn:
            for some in chunks(values):
                text = _select(table, columns, (*where,), column, len(some), conn.dialect.name)
                found += conn.exec_driver_sql(text, (*where.values(), *some)).cursor.fetchall()
        return found

    def _all(self, *asked: sa.Select[Any]) -> list[Any]:
        with self.reading() as conn:
            return [row for one in asked for row in conn.execute(one)]


def _guard(tx: sa.Connection, lease: Lease) -> None:
    held = sa.select(stream.c.token).where(stream.c.id == lease.stream).with_for_update()
    if tx.scalar(held) != lease.token:
        raise LeaseLost("another worker has taken this stream over; this one stops")


def chunks(values: Sequence[Any], size: int = 500) -> Iterable[Sequence[Any]]:
    """Values of one IN list at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


def plain(text: str) -> str:
    """What a system has said, without what no database stores: NUL (PostgreSQL) and halves of characters (UTF-8)."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


@cache
def key(table: sa.Table) -> list[str]:
    """What two rows cannot share."""
    unique = next((c for c in table.constraints if isinstance(c, sa.UniqueConstraint)), table.primary_key)
    return [column.name for column in unique.columns]


@cache
def _select(
    table: sa.Table, columns: tuple[str, ...], where: tuple[str, ...], column: str, count: int, dialect: str
) -> str:
    mark = MARKS[dialect]
    equal = [f"{name} = {mark}" for name in where]
    among = f"{column} IN ({', '.join([mark] * count)})"
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {' AND '.join([*equal, among])}"


@lru_cache(256)
def _insert(
    table: sa.Table, columns: tuple[str, ...], alike: tuple[tuple[str, str], ...], found: Found, dialect: str
) -> str:
    """One row, for executemany, which psycopg sends in one go. As text: SQLAlchemy takes longer over it than SQLite does."""
    names = (*columns, *dict(alike))
    values = (*[MARKS[dialect]] * len(columns), *dict(alike).values())
    text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})"
    rest = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key(table))
    then = {"fail": "", "keep": "DO NOTHING", "replace": f"DO UPDATE SET {rest}"}[found]
    return f"{text} ON CONFLICT ({', '.join(key(table))}) {then}" if then else text


def _literal(value: Any) -> str | None:
    """A value of which SQL can be told in its text, which costs less than to bind it for each row; None: it has to be bound."""
    match value:
        case None:
            return "NULL"
        case int() if abs(value) < 2**63:
            return str(value)
        case str() if _WORD.fullmatch(value):
            return f"'{value}'"
    return None


_REMEDIES = {
    "disk is full": "make room on the disk, then run again: nothing that was stored is lost",
    "disk I/O error": "check the disk, then run again: nothing that was stored is lost",
    "not a database": "this is no state file, or it is damaged: restore a backup, or move it away to start anew",
    "malformed": "the file is damaged: restore a backup, or move it away to start anew",
    "readonly": "give this user the right to write it",
    "unable to open": "check the path and the rights of its folder",
    "lock timeout": "another process holds it; wait for it or stop it",
    "locked": "another process holds it; wait for it or stop it",
}


def _version(conn: sa.Connection) -> str:
    return str(conn.scalar(sa.select(meta.c.value).where(meta.c.key == "schema_version")))


def _remedy(said: str) -> str:
    found = (remedy for sign, remedy in _REMEDIES.items() if sign in said)
    return next(found, "check that the database runs and that this user may use it")
