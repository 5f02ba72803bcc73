"""What the engine remembers: streams with lease and cursor, links, handled versions, runs, outcomes, intents.

SQLAlchemy Core on SQLite (WAL, synchronous FULL, BEGIN IMMEDIATE) by default, the same SQL on PostgreSQL. Every write of
a run goes through one guarded transaction that first checks that the run still holds the stream's token. Times are
integers, milliseconds since 1970 in UTC.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from connector import canon
from connector.errors import LeaseLost, StateError
from connector.model import Note, Outcome

VERSION = "1"
T = TypeVar("T")

_meta = sa.MetaData()
_text, _whole = sa.Text, sa.BigInteger
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up only an INTEGER key


def _id(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _number, primary_key=True) for name in names]


def _columns(type_: Any, *names: str, null: bool = False, key: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, type_, nullable=null, primary_key=key) for name in names]


stream = sa.Table(
    "stream",
    _meta,
    *_id("id"),
    *_columns(_text, "connection", "object", "cursor"),
    *_columns(_whole, "started_at", "slot_at", "lease_until", null=True),
    *_columns(_text, "owner", "token", null=True),
    sa.UniqueConstraint("connection", "object"),
)
link = sa.Table(
    "link",
    _meta,
    *_id("id"),
    *_columns(_number, "stream_id"),
    *_columns(_text, "key", "home", "remote", "made"),
    *_columns(sa.Boolean, "active"),
    *_columns(_whole, "at"),
    sa.UniqueConstraint("stream_id", "key"),
    sa.Index("link_home", "stream_id", "home"),
    sa.Index("link_remote", "stream_id", "remote"),
)
version = sa.Table(
    "version",
    _meta,
    *_id("stream_id"),
    *_columns(_text, "read", "record", "carrier", key=True),
    *_columns(_text, "stamp", "digest"),
    *_columns(_number, "pass_id"),
)
run = sa.Table(
    "run",
    _meta,
    *_id("id"),
    sa.Column("stream_id", _number, nullable=False, index=True),
    *_columns(_whole, "started", "calls"),
    *_columns(_whole, "finished", null=True),
    *_columns(_text, "status", "counts", "digest"),
    *_columns(_text, "since", "until", "error", null=True),
)
outcome = sa.Table(
    "outcome",
    _meta,
    *_id("id"),
    sa.Column("run_id", _number, nullable=False, index=True),
    *_columns(_number, "stream_id"),
    *_columns(_whole, "at", "attempts"),
    *_columns(_whole, "retry_at", null=True),
    *_columns(_text, "read", "record", "outcome", "message"),
    *_columns(_text, "reason", "target", "field", null=True),
    *_columns(sa.Boolean, "open"),
    sa.Index("outcome_record", "stream_id", "record"),
    sa.Index("outcome_open", "stream_id", "open"),
)
note = sa.Table(
    "note",
    _meta,
    *_id("id"),
    sa.Column("run_id", _number, index=True),
    *_columns(_number, "stream_id"),
    *_columns(_whole, "at"),
    *_columns(_text, "level", "code", "message"),
    *_columns(_text, "record", "field", null=True),
)
intent = sa.Table(
    "intent", _meta, *_id("stream_id"), *_columns(_text, "key", key=True), *_columns(_text, "payload", "sent")
)
remembered = sa.Table("cache", _meta, *_columns(_text, "scope", "key", key=True), *_columns(_text, "value"))
meta = sa.Table("meta", _meta, *_columns(_text, "key", key=True), *_columns(_text, "value"))


@dataclass(frozen=True, slots=True)
class Pass:
    """One traversal of a window by all triggers. It outlives a killed run: the next one goes on where it stopped."""

    id: int
    since: str | None
    until: str
    digest: str
    trigger: int = 0
    after: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """`watermark`: everything up to there has been read. Instants are canonical text of the source's clock."""

    watermark: str | None = None
    activated: str | None = None
    open: Pass | None = None

    @classmethod
    def load(cls, text: str) -> Cursor:
        node = json.loads(text)
        if opened := node.pop("open", None):
            opened = Pass(**{**opened, "after": opened["after"] and tuple(opened["after"])})
        return cls(**node, open=opened)

    def dump(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Stream:
    id: int
    connection: str
    object: str
    cursor: Cursor
    started: datetime | None
    slot: datetime | None
    running: bool


@dataclass(frozen=True, slots=True)
class Lease:
    stream: int
    token: str


@dataclass(frozen=True, slots=True)
class Link:
    key: str
    home: str
    remote: str
    active: bool = True
    made: str = "auto"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one record, and what carried it: its own trigger, or the one that joined it."""

    read: str
    record: str
    stamp: str
    digest: str
    carrier: str


@dataclass(frozen=True, slots=True)
class Parked:
    """A failed or blocked record that waits for its next try."""

    read: str
    record: str
    attempts: int
    retry: datetime


@dataclass(frozen=True, slots=True)
class Intent:
    key: str
    payload: str
    sent: str


@dataclass
class Batch:
    """What one page did: all of it is stored in one transaction, or none."""

    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    retries: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)
    closed: list[tuple[str, str]] = field(default_factory=list)


def millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def moment(value: int | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def chunks(values: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


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


class Store:
    """One store. Raises StateError, with what to do, when it cannot be opened, read or written."""

    def __init__(self, url: str = "sqlite://") -> None:
        self.url = url
        with self._told():
            self._engine = _engine(url)
            with self._engine.begin() as tx:
                _meta.create_all(tx)
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
        insert: Any = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table)
        unique = next((c for c in table.constraints if isinstance(c, sa.UniqueConstraint)), table.primary_key)
        keys = [column.name for column in unique.columns]
        rest = {name: insert.excluded[name] for name in rows[0] if name not in keys}
        statement = insert.on_conflict_do_update(index_elements=keys, set_=rest)
        # Sorted, so that two writers lock rows in one order.
        tx.execute(statement, sorted(rows, key=lambda row: [str(row[key]) for key in keys]))

    def _all(self, asked: sa.Select[Any]) -> list[Any]:
        with self.reading() as conn:
            return list(conn.execute(asked))

    # ---- streams -------------------------------------------------------------------------------------------

    def stream(self, connection: str, name: str) -> Stream:
        """The stream of an object, made when it is not there yet."""
        asked = sa.select(stream).where((stream.c.connection == connection) & (stream.c.object == name))
        rows = self._all(asked)
        if not rows:
            with self.writing() as tx:
                self.upsert(tx, stream, [{"connection": connection, "object": name, "cursor": "{}"}])
            rows = self._all(asked)
        row = rows[0]
        place = (Cursor.load(row.cursor), moment(row.started_at), moment(row.slot_at), row.token is not None)
        return Stream(row.id, row.connection, row.object, *place)

    def claim(
        self,
        found: Stream,
        owner: str,
        now: datetime,
        slot: datetime | None,
        ttl: timedelta,
        alive: Callable[[str], bool],
        digest: str,
    ) -> tuple[Lease, int] | None:
        """The right to run a stream and the id of the run, or None while a living worker holds it.

        Act on it only after this has returned: before that it is not committed.
        """
        lease = Lease(found.id, secrets.token_hex(8))
        with self.writing() as tx:
            row = tx.execute(sa.select(stream).where(stream.c.id == found.id).with_for_update()).one()
            if row.token and row.lease_until > millis(now) and alive(row.owner):
                return None
            held = {"owner": owner, "token": lease.token, "lease_until": millis(now + ttl)}
            self._set(tx, lease, **held, started_at=millis(now), slot_at=millis(slot) if slot else None)
            killed = (run.c.stream_id == found.id) & run.c.finished.is_(None)
            ended = {"finished": millis(now), "status": "failed", "error": "it was killed"}
            tx.execute(sa.update(run).where(killed).values(**ended))
            begun = {"stream_id": found.id, "started": millis(now), "status": "running", "digest": digest}
            made = tx.execute(sa.insert(run).values(**begun, counts="{}", calls=0)).inserted_primary_key
        return lease, int(made[0])  # type: ignore[index]

    def _set(self, tx: sa.Connection, lease: Lease, **values: Any) -> None:
        tx.execute(sa.update(stream).where(stream.c.id == lease.stream).values(**values))

    def place(self, found: Stream, cursor: Cursor, slot: datetime | None = None) -> None:
        """Put a stream somewhere by hand. Not while it runs."""
        with self.writing() as tx:
            self._set(tx, Lease(found.id, ""), cursor=cursor.dump(), slot_at=millis(slot) if slot else None)

    # ---- one run -------------------------------------------------------------------------------------------

    def commit(self, lease: Lease, run_id: int, batch: Batch, cursor: Cursor, now: datetime, ttl: timedelta) -> None:
        """One page: outcomes, log, links, versions, settled intents and the cursor, all or nothing."""
        owned = {"run_id": run_id, "stream_id": lease.stream, "at": millis(now)}
        passed = {"stream_id": lease.stream, "pass_id": cursor.open.id if cursor.open else 0}
        with self.writing(lease) as tx:
            if batch.closed:
                here = (outcome.c.stream_id == lease.stream) & outcome.c.open
                named = (outcome.c.read == sa.bindparam("r")) & (outcome.c.record == sa.bindparam("i"))
                rows = [{"r": read, "i": record} for read, record in batch.closed]
                tx.execute(sa.update(outcome).where(here & named).values(open=False), rows)
            if batch.outcomes:
                waits = [batch.retries.get((one.read, one.record)) for one in batch.outcomes]
                rows = [
                    _row(outcome, one, **owned, **_wait(wait)) for one, wait in zip(batch.outcomes, waits, strict=True)
                ]
                tx.execute(sa.insert(outcome), rows)
            if batch.notes:
                tx.execute(sa.insert(note), [_row(note, one, **owned) for one in batch.notes])
            self.upsert(tx, link, [_row(link, one, **owned) for one in batch.links])
            self.upsert(tx, version, [_row(version, one, **passed) for one in batch.versions])
            if batch.settled:
                gone = (intent.c.stream_id == lease.stream) & intent.c.key.in_(batch.settled)
                tx.execute(sa.delete(intent).where(gone))
            self._set(tx, lease, cursor=cursor.dump(), lease_until=millis(now + ttl))

    def journal(self, lease: Lease, intents: Sequence[Intent]) -> None:
        """What is about to be created, before it is: after a kill recovery looks for exactly this."""
        with self.writing(lease) as tx:
            self.upsert(tx, intent, [_row(intent, one, stream_id=lease.stream) for one in intents])

    def finish(
        self,
        lease: Lease,
        run_id: int,
        now: datetime,
        ended: Mapping[str, Any],
        notes: Sequence[Note],
        cursor: Cursor | None,
        keep_from: str,
    ) -> None:
        """The run's last transaction; it gives the token back. `ended`: status, counts, calls, error, since, until.

        With a cursor the run has read everything; versions stamped before `keep_from` are then forgotten.
        """
        owned = {"run_id": run_id, "stream_id": lease.stream, "at": millis(now)}
        with self.writing(lease) as tx:
            if notes:
                tx.execute(sa.insert(note), [_row(note, one, **owned) for one in notes])
            values = {**ended, "counts": json.dumps(ended["counts"]), "finished": millis(now)}
            tx.execute(sa.update(run).where(run.c.id == run_id).values(**values))
            freed: dict[str, Any] = {"token": None, "owner": None, "lease_until": None}
            if cursor is not None:
                freed["cursor"] = cursor.dump()
                old = (version.c.stream_id == lease.stream) & (version.c.stamp < keep_from)
                tx.execute(sa.delete(version).where(old))
            self._set(tx, lease, **freed)

    # ---- what the engine asks, a page at a time --------------------------------------------------------------

    def versions(self, stream_id: int, read: str, records: Sequence[str]) -> list[tuple[Version, int]]:
        """The handled versions of these records, each with the pass that handled it."""
        here = sa.select(version).where((version.c.stream_id == stream_id) & (version.c.read == read))
        rows = [row for some in chunks(records) for row in self._all(here.where(version.c.record.in_(some)))]
        return [(_made(Version, row), row.pass_id) for row in rows]

    def links(self, stream_id: int, side: str, ids: Sequence[str]) -> list[Link]:
        """Links of these ids of one side, `home` or `remote`."""
        here = sa.select(link).where(link.c.stream_id == stream_id)
        return [_made(Link, row) for some in chunks(ids) for row in self._all(here.where(link.c[side].in_(some)))]

    def all_links(self, stream_id: int) -> list[Link]:
        asked = sa.select(link).where(link.c.stream_id == stream_id).order_by(link.c.id)
        return [_made(Link, row) for row in self._all(asked)]

    def put_links(self, stream_id: int, links: Sequence[Link], now: datetime, lease: Lease | None = None) -> None:
        """Links that belong to no page: made by hand, by an example, or by a run (with its lease) that looked for what was lost."""
        with self.writing(lease) as tx:
            self.upsert(tx, link, [_row(link, one, stream_id=stream_id, at=millis(now)) for one in links])

    def intents(self, stream_id: int) -> dict[str, Intent]:
        rows = self._all(sa.select(intent).where(intent.c.stream_id == stream_id))
        return {row.key: _made(Intent, row) for row in rows}

    def parked(self, stream_id: int) -> list[Parked]:
        """Records whose last outcome waits for another try, oldest first."""
        here = (outcome.c.stream_id == stream_id) & outcome.c.open
        rows = self._all(sa.select(outcome).where(here).order_by(outcome.c.id))
        return [Parked(r.read, r.record, r.attempts, datetime.fromtimestamp(r.retry_at / 1000, UTC)) for r in rows]

    # ---- what people ask -------------------------------------------------------------------------------------

    def runs(self, connection: str, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs, newest first: object, started, finished, status, counts, calls, error."""
        return self._latest(run, connection, limit)

    def outcomes(
        self, connection: str, *, record: str | None = None, failed: bool = False, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The latest outcomes, newest first."""
        only = [outcome.c.outcome.in_(("failed", "blocked"))] if failed else []
        return self._latest(outcome, connection, limit, *only, *([outcome.c.record == record] if record else []))

    def notes(self, connection: str, *, record: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest lines of the log, newest first."""
        return self._latest(note, connection, limit, *([note.c.record == record] if record else []))

    def _latest(self, table: sa.Table, connection: str, limit: int, *only: Any) -> list[dict[str, Any]]:
        joined = sa.select(table, stream.c.object).join(stream, stream.c.id == table.c.stream_id)
        asked = joined.where(stream.c.connection == connection, *only).order_by(table.c.id.desc()).limit(limit)
        return [_shown(row) for row in self._all(asked)]

    def say(self, found: Stream, notes: Sequence[Note], now: datetime) -> None:
        """Lines of the log that belong to no run."""
        owned = {"run_id": None, "stream_id": found.id, "at": millis(now)}
        with self.writing() as tx:
            tx.execute(sa.insert(note), [_row(note, one, **owned) for one in notes])

    def cache(self, scope: str) -> MutableMapping[str, str]:
        """Text that an endpoint wants to find again in the next process (describes, with when they changed)."""
        return _Cache(self, scope)


class _Cache(MutableMapping[str, str]):
    def __init__(self, store: Store, scope: str) -> None:
        self.store, self.scope, self.here = store, scope, remembered.c.scope == scope

    def __getitem__(self, key: str) -> str:
        with self.store.reading() as conn:
            found = conn.scalar(sa.select(remembered.c.value).where(self.here & (remembered.c.key == key)))
        if found is None:
            raise KeyError(key)
        return str(found)

    def __setitem__(self, key: str, value: str) -> None:
        with self.store.writing() as tx:
            self.store.upsert(tx, remembered, [{"scope": self.scope, "key": key, "value": value}])

    def __delitem__(self, key: str) -> None:
        with self.store.writing() as tx:
            tx.execute(sa.delete(remembered).where(self.here & (remembered.c.key == key)))

    def __iter__(self) -> Iterator[str]:
        with self.store.reading() as conn:
            return iter(conn.scalars(sa.select(remembered.c.key).where(self.here)).all())

    def __len__(self) -> int:
        return sum(1 for _ in self)


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


def _row(table: sa.Table, one: Any, **owned: Any) -> dict[str, Any]:
    """An object as a row: the columns that are called like its fields, and those that are given."""
    given = {column.name: getattr(one, column.name) for column in table.columns if hasattr(one, column.name)}
    return given | {name: value for name, value in owned.items() if name in table.columns}


def _made(cls: Callable[..., T], row: Any) -> T:
    return cls(*(getattr(row, one.name) for one in fields(cls)))  # type: ignore[arg-type]


def _wait(wait: tuple[int, datetime] | None) -> dict[str, Any]:
    attempts, retry = wait or (1, None)
    return {"attempts": attempts, "retry_at": millis(retry) if retry else None, "open": retry is not None}


def _shown(row: Any) -> dict[str, Any]:
    made = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    for name in {"at", "started", "finished", "retry_at"} & made.keys():
        found = moment(made[name])
        made[name] = canon.text(found) if found else None
    if "counts" in made:
        made["counts"] = json.loads(made["counts"])
    return made
