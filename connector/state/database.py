"""A database by its URL: how it is opened, its transactions, and sentences for what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from connector.errors import LeaseLost, StateError
from connector.state.nouns import Lease
from connector.state.tables import meta, metadata, stream

VERSION = "1"

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # an intent that a power cut rolls back is a record created twice
    "busy_timeout=10000",
    "foreign_keys=ON",
    "temp_store=MEMORY",
)


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    memory = url in ("sqlite://", "sqlite:///:memory:")
    if not memory:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = sa.create_engine(url, poolclass=sa.StaticPool if memory else sa.QueuePool)

    @event.listens_for(made, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # the driver must not open transactions by itself
        for pragma in _PRAGMAS:
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def _begin(conn: sa.Connection) -> None:
        # A deferred transaction that reads and then writes fails with BUSY_SNAPSHOT whatever the time-out.
        conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get("read") else "BEGIN IMMEDIATE")

    return made


_RIGHT = "write sqlite:///FILE.db or postgresql+psycopg://USER@HOST/DATABASE"


class Database:
    """One database. Raises StateError, with what to do, when it cannot be opened, read or written."""

    def __init__(self, url: str = "sqlite://") -> None:
        self.url = url
        with self._told():
            self._engine = _engine(url)
            with self._engine.begin() as tx:
                metadata.create_all(tx)
                found = tx.scalar(sa.select(meta.c.value).where(meta.c.key == "schema_version"))
                if found is None:
                    self.upsert(tx, meta, [{"key": "schema_version", "value": VERSION}])
                elif found != VERSION:
                    said = f"made by a newer version of connector ({found}); install that one"
                    raise StateError(f"{self._shown}: {said}")

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
                held = sa.select(stream.c.token).where(stream.c.id == lease.stream).with_for_update()
                if tx.scalar(held) != lease.token:
                    raise LeaseLost("another worker has taken this stream over; this one stops")
            yield tx

    def upsert(self, tx: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        into = insert(tx, table)
        unique = next((c for c in table.constraints if isinstance(c, sa.UniqueConstraint)), table.primary_key)
        keys = [column.name for column in unique.columns]
        rest = {name: into.excluded[name] for name in rows[0] if name not in keys}
        statement = into.on_conflict_do_update(index_elements=keys, set_=rest)
        # Sorted, so that two writers lock rows in one order.
        tx.execute(statement, sorted(rows, key=lambda row: [str(row[key]) for key in keys]))

    def _all(self, asked: sa.Select[Any]) -> list[Any]:
        with self.reading() as conn:
            return list(conn.execute(asked))


def insert(tx: sa.Connection, table: sa.Table) -> Any:
    """Both know ON CONFLICT, each by a name of its own."""
    return (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table)


_REMEDIES = {
    "disk is full": "make room on the disk, then run again: nothing that was stored is lost",
    "disk I/O error": "check the disk, then run again: nothing that was stored is lost",
    "not a database": "this is no state file, or it is damaged: restore a backup, or move it away to start anew",
    "malformed": "the file is damaged: restore a backup, or move it away to start anew",
    "readonly": "give this user the right to write it",
    "unable to open": "check the path and the rights of its folder",
    "locked": "another process holds it; wait for it or stop it",
}


def _remedy(said: str) -> str:
    found = (remedy for sign, remedy in _REMEDIES.items() if sign in said)
    return next(found, "check that the database runs and that this user may use it")
