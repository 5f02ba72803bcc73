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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from connector import canon
from connector.errors import LeaseLost, StateError
from connector.model import Note, Outcome

VERSION = "1"

_meta = sa.MetaData()
_text, _whole = sa.Text, sa.BigInteger
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up only an INTEGER key

meta = sa.Table("meta", _meta, sa.Column("key", _text, primary_key=True), sa.Column("value", _text))
stream = sa.Table(
    "stream",
    _meta,
    sa.Column("id", _number, primary_key=True),
    sa.Column("connection", _text, nullable=False),
    sa.Column("object", _text, nullable=False),
    sa.Column("cursor", _text, nullable=False, default="{}"),
    sa.Column("started_at", _whole),
    sa.Column("slot_at", _whole),
    sa.Column("owner", _text),
    sa.Column("token", _text),
    sa.Column("lease_until", _whole),
    sa.UniqueConstraint("connection", "object"),
)
link = sa.Table(
    "link",
    _meta,
    sa.Column("id", _number, primary_key=True),
    sa.Column("stream_id", _number, nullable=False),
    sa.Column("key", _text, nullable=False),
    sa.Column("home_id", _text, nullable=False),
    sa.Column("remote_id", _text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("made", _text, nullable=False),
    sa.Column("updated_at", _whole, nullable=False),
    sa.UniqueConstraint("stream_id", "key"),
    sa.Index("link_home", "stream_id", "home_id"),
    sa.Index("link_remote", "stream_id", "remote_id"),
)
version = sa.Table(
    "version",
    _meta,
    sa.Column("stream_id", _number, primary_key=True),
    sa.Column("read", _text, primary_key=True),
    sa.Column("record", _text, primary_key=True),
    sa.Column("carrier", _text, primary_key=True),
    sa.Column("stamp", _text, nullable=False),
    sa.Column("digest", _text, nullable=False),
    sa.Column("pass_id", _number, nullable=False),
)
run = sa.Table(
    "run",
    _meta,
    sa.Column("id", _number, primary_key=True),
    sa.Column("stream_id", _number, nullable=False, index=True),
    sa.Column("started", _whole, nullable=False),
    sa.Column("finished", _whole),
    sa.Column("status", _text, nullable=False),
    sa.Column("since", _text),
    sa.Column("until", _text),
    sa.Column("counts", _text, nullable=False, default="{}"),
    sa.Column("calls", _whole, nullable=False, default=0),
    sa.Column("digest", _text, nullable=False),
    sa.Column("error", _text),
)
outcome = sa.Table(
    "outcome",
    _meta,
    sa.Column("id", _number, primary_key=True),
    sa.Column("run_id", _number, nullable=False, index=True),
    sa.Column("stream_id", _number, nullable=False),
    sa.Column("at", _whole, nullable=False),
    sa.Column("read", _text, nullable=False),
    sa.Column("record", _text, nullable=False),
    sa.Column("outcome", _text, nullable=False),
    sa.Column("reason", _text),
    sa.Column("message", _text, nullable=False),
    sa.Column("target", _text),
    sa.Column("field", _text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("retry_at", _whole),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Index("outcome_record", "stream_id", "record"),
    sa.Index("outcome_open", "stream_id", "open"),
)
note = sa.Table(
    "note",
    _meta,
    sa.Column("id", _number, primary_key=True),
    sa.Column("run_id", _number, index=True),
    sa.Column("stream_id", _number, nullable=False),
    sa.Column("at", _whole, nullable=False),
    sa.Column("level", _text, nullable=False),
    sa.Column("code", _text, nullable=False),
    sa.Column("message", _text, nullable=False),
    sa.Column("record", _text),
    sa.Column("field", _text),
)
intent = sa.Table(
    "intent",
    _meta,
    sa.Column("stream_id", _number, primary_key=True),
    sa.Column("key", _text, primary_key=True),
    sa.Column("payload", _text, nullable=False),
    sa.Column("sent_at", _text, nullable=False),
)
remembered = sa.Table(
    "cache",
    _meta,
    sa.Column("scope", _text, primary_key=True),
    sa.Column("key", _text, primary_key=True),
    sa.Column("value", _text, nullable=False),
)


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
        opened = node.pop("open", None)
        if opened:
            opened["after"] = tuple(opened["after"]) if opened["after"] else None
        return cls(**node, open=Pass(**opened) if opened else None)

    def dump(self) -> str:
        names = ("id", "since", "until", "digest", "trigger", "after")
        opened = {name: getattr(self.open, name) for name in names} if self.open else None
        return json.dumps({"watermark": self.watermark, "activated": self.activated, "open": opened})


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


_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # an intent that a power cut rolls back is a record created twice
    "busy_timeout=10000",
    "foreign_keys=ON",
    "temp_store=MEMORY",
)


def _engine(url: str) -> sa.Engine:
    if url.startswith("sqlite"):
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
    return sa.create_engine(url, pool_pre_ping=True)


class Store:
    """One store. Raises StateError, with what to do, when it cannot be opened, read or written."""

    def __init__(self, url: str = "sqlite://") -> None:
        self.url = url
        with self._told():
            self._engine = _engine(url)
            with self._engine.begin() as tx:
                _meta.create_all(tx)
                self._migrate(tx)

    def _migrate(self, tx: sa.Connection) -> None:
        found = tx.scalar(sa.select(meta.c.value).where(meta.c.key == "schema_version"))
        if found is None:
            self.upsert(tx, meta, [{"key": "schema_version", "value": VERSION}])
        elif int(found) > int(VERSION):
            raise StateError(f"{self._shown}: made by a newer version of connector ({found}); install that one")

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
            raise StateError(f"CONNECTOR_STATE: {self.url.split('@')[-1]!r} is not a database URL") from None
        except sa.exc.NoSuchModuleError as error:
            raise StateError(f"{self._shown}: no driver for it is installed ({error})") from None
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

    # ---- streams -------------------------------------------------------------------------------------------

    def stream(self, connection: str, name: str) -> Stream:
        """The stream of an object, made when it is not there yet."""
        where = (stream.c.connection == connection) & (stream.c.object == name)
        with self.reading() as conn:
            row = conn.execute(sa.select(stream).where(where)).one_or_none()
        if row is None:
            with self.writing() as tx:
                self.upsert(tx, stream, [{"connection": connection, "object": name, "cursor": "{}"}])
                row = tx.execute(sa.select(stream).where(where)).one()
        return _stream(row)

    def streams(self, connection: str) -> list[Stream]:
        with self.reading() as conn:
            return [_stream(row) for row in conn.execute(sa.select(stream).where(stream.c.connection == connection))]

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
            tx.execute(
                sa.update(run).where(killed).values(finished=millis(now), status="failed", error="it was killed")
            )
            values = {"stream_id": found.id, "started": millis(now), "status": "running", "digest": digest}
            made = tx.execute(sa.insert(run).values(counts="{}", calls=0, **values)).inserted_primary_key
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
        at, owned = millis(now), {"run_id": run_id, "stream_id": lease.stream, "at": millis(now)}
        with self.writing(lease) as tx:
            if batch.closed:
                here = (outcome.c.stream_id == lease.stream) & outcome.c.open
                named = (outcome.c.read == sa.bindparam("r")) & (outcome.c.record == sa.bindparam("i"))
                rows = [{"r": read, "i": record} for read, record in batch.closed]
                tx.execute(sa.update(outcome).where(here & named).values(open=False), rows)
            if batch.outcomes:
                tx.execute(sa.insert(outcome), [_outcome_row(o, owned, batch.retries) for o in batch.outcomes])
            if batch.notes:
                tx.execute(sa.insert(note), [_note_row(n, owned) for n in batch.notes])
            self.upsert(tx, link, [_link_row(found, lease.stream, at) for found in batch.links])
            self.upsert(tx, version, [_version_row(v, lease.stream, cursor) for v in batch.versions])
            if batch.settled:
                gone = (intent.c.stream_id == lease.stream) & intent.c.key.in_(batch.settled)
                tx.execute(sa.delete(intent).where(gone))
            self._set(tx, lease, cursor=cursor.dump(), lease_until=millis(now + ttl))

    def journal(self, lease: Lease, intents: Sequence[Intent]) -> None:
        """What is about to be created, before it is: after a kill recovery looks for exactly this."""
        rows = [{"stream_id": lease.stream, "key": i.key, "payload": i.payload, "sent_at": i.sent} for i in intents]
        with self.writing(lease) as tx:
            self.upsert(tx, intent, rows)

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
                tx.execute(sa.insert(note), [_note_row(n, owned) for n in notes])
            values = {**ended, "counts": json.dumps(ended["counts"]), "finished": millis(now)}
            tx.execute(sa.update(run).where(run.c.id == run_id).values(**values))
            freed: dict[str, Any] = {"token": None, "owner": None, "lease_until": None}
            if cursor is not None:
                freed["cursor"] = cursor.dump()
                tx.execute(
                    sa.delete(version).where((version.c.stream_id == lease.stream) & (version.c.stamp < keep_from))
                )
            self._set(tx, lease, **freed)

    # ---- what the engine asks, a page at a time --------------------------------------------------------------

    def versions(self, stream_id: int, read: str, records: Sequence[str]) -> list[tuple[Version, int]]:
        """The handled versions of these records, each with the pass that handled it."""
        columns = (version.c.stream_id == stream_id) & (version.c.read == read)
        with self.reading() as conn:
            return [
                (Version(row.read, row.record, row.stamp, row.digest, row.carrier), row.pass_id)
                for chunk in chunks(records)
                for row in conn.execute(sa.select(version).where(columns & version.c.record.in_(chunk)))
            ]

    def links(self, stream_id: int, side: str, ids: Sequence[str]) -> list[Link]:
        """Links of these ids of one side, `home` or `remote`."""
        column = link.c.home_id if side == "home" else link.c.remote_id
        with self.reading() as conn:
            return [
                Link(row.key, row.home_id, row.remote_id, row.active, row.made)
                for chunk in chunks(ids)
                for row in conn.execute(sa.select(link).where((link.c.stream_id == stream_id) & column.in_(chunk)))
            ]

    def all_links(self, stream_id: int) -> list[Link]:
        with self.reading() as conn:
            rows = conn.execute(sa.select(link).where(link.c.stream_id == stream_id).order_by(link.c.id))
            return [Link(row.key, row.home_id, row.remote_id, row.active, row.made) for row in rows]

    def put_links(self, stream_id: int, links: Sequence[Link], now: datetime) -> None:
        """Links made by hand or by an example."""
        with self.writing() as tx:
            self.upsert(tx, link, [_link_row(found, stream_id, millis(now)) for found in links])

    def intents(self, stream_id: int) -> dict[str, Intent]:
        with self.reading() as conn:
            rows = conn.execute(sa.select(intent).where(intent.c.stream_id == stream_id))
            return {row.key: Intent(row.key, row.payload, row.sent_at) for row in rows}

    def parked(self, stream_id: int) -> list[Parked]:
        """Records whose last outcome waits for another try, oldest first."""
        columns = (outcome.c.stream_id == stream_id) & outcome.c.open
        with self.reading() as conn:
            rows = conn.execute(sa.select(outcome).where(columns).order_by(outcome.c.id))
            return [
                Parked(row.read, row.record, row.attempts, datetime.fromtimestamp(row.retry_at / 1000, UTC))
                for row in rows
            ]

    # ---- what people ask -------------------------------------------------------------------------------------

    def runs(self, connection: str, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs, newest first: object, started, finished, status, counts, calls, error."""
        joined = sa.select(run, stream.c.object).join(stream, stream.c.id == run.c.stream_id)
        with self.reading() as conn:
            rows = conn.execute(joined.where(stream.c.connection == connection).order_by(run.c.id.desc()).limit(limit))
            return [_shown(row) for row in rows]

    def outcomes(
        self, connection: str, *, record: str | None = None, failed: bool = False, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The latest outcomes, newest first."""
        asked = sa.select(outcome, stream.c.object).join(stream, stream.c.id == outcome.c.stream_id)
        asked = asked.where(stream.c.connection == connection)
        if record is not None:
            asked = asked.where(outcome.c.record == record)
        if failed:
            asked = asked.where(outcome.c.outcome.in_(("failed", "blocked")))
        with self.reading() as conn:
            return [_shown(row) for row in conn.execute(asked.order_by(outcome.c.id.desc()).limit(limit))]

    def notes(self, connection: str, *, record: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest lines of the log, newest first."""
        asked = sa.select(note, stream.c.object).join(stream, stream.c.id == note.c.stream_id)
        asked = asked.where(stream.c.connection == connection)
        if record is not None:
            asked = asked.where(note.c.record == record)
        with self.reading() as conn:
            return [_shown(row) for row in conn.execute(asked.order_by(note.c.id.desc()).limit(limit))]

    def say(self, found: Stream, notes: Sequence[Note], now: datetime) -> None:
        """Lines of the log that belong to no run."""
        owned = {"run_id": None, "stream_id": found.id, "at": millis(now)}
        with self.writing() as tx:
            tx.execute(sa.insert(note), [_note_row(n, owned) for n in notes])

    def cache(self, scope: str) -> MutableMapping[str, str]:
        """Text that an endpoint wants to find again in the next process (describes, with when they changed)."""
        return _Cache(self, scope)


class _Cache(MutableMapping[str, str]):
    def __init__(self, store: Store, scope: str) -> None:
        self.store, self.here = store, remembered.c.scope == scope
        self.scope = scope

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


def chunks(values: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _remedy(said: str) -> str:
    for sign, remedy in (
        ("disk is full", "make room on the disk, then run again: nothing that was stored is lost"),
        ("disk I/O error", "check the disk, then run again: nothing that was stored is lost"),
        ("not a database", "this is no state file, or it is damaged: restore a backup, or move it away to start anew"),
        ("malformed", "the file is damaged: restore a backup, or move it away to start anew"),
        ("readonly", "give this user the right to write it"),
        ("unable to open", "check the path and the rights of its folder"),
        ("locked", "another process holds it; wait for it or stop it"),
    ):
        if sign in said:
            return remedy
    return "check that the database runs and that this user may use it"


def _stream(row: Any) -> Stream:
    return Stream(
        row.id,
        row.connection,
        row.object,
        Cursor.load(row.cursor),
        moment(row.started_at),
        moment(row.slot_at),
        row.token is not None,
    )


def _outcome_row(o: Outcome, owned: Mapping[str, Any], retries: Mapping[tuple[str, str], tuple[int, datetime]]) -> Any:
    attempts, retry = retries.get((o.read, o.record), (1, None))
    return {
        **owned,
        "read": o.read,
        "record": o.record,
        "outcome": o.outcome,
        "reason": o.reason,
        "message": o.message,
        "target": o.target,
        "field": o.field,
        "attempts": attempts,
        "retry_at": millis(retry) if retry else None,
        "open": retry is not None,
    }


def _note_row(n: Note, owned: Mapping[str, Any]) -> Any:
    said = {"level": n.level, "code": n.code, "message": n.message, "record": n.record, "field": n.field}
    return {**owned, **said}


def _link_row(found: Link, stream_id: int, at: int) -> Any:
    return {
        "stream_id": stream_id,
        "key": found.key,
        "home_id": found.home,
        "remote_id": found.remote,
        "active": found.active,
        "made": found.made,
        "updated_at": at,
    }


def _version_row(v: Version, stream_id: int, cursor: Cursor) -> Any:
    pass_id = cursor.open.id if cursor.open else 0
    seen = {"read": v.read, "record": v.record, "carrier": v.carrier, "stamp": v.stamp, "digest": v.digest}
    return {"stream_id": stream_id, "pass_id": pass_id, **seen}


def _shown(row: Any) -> dict[str, Any]:
    made = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    for name in ("at", "started", "finished", "retry_at"):
        if made.get(name) is not None:
            made[name] = canon.text(moment(made[name]) or datetime.now(UTC))
    if "counts" in made:
        made["counts"] = json.loads(made["counts"])
    return made


__all__ = ["Batch", "Cursor", "Intent", "Lease", "Link", "Parked", "Pass", "Store", "Stream", "Version", "replace"]
