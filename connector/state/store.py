"""The verbs: streams and their leases, what a run stores, what it asks, what people ask."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from connector.model import Note, Outcome
from connector.state import retention
from connector.state.cache import Cache
from connector.state.database import Database, Found, chunks, plain
from connector.state.nouns import Batch, Cursor, Intent, Lease, Link, Parked, Stream, Version
from connector.state.tables import common, intent, link, millis, moment, note, of, outcome, run, shown, stream, version


class Store(Database):
    """One store. Raises StateError, with what to do, when it cannot be opened, read or written."""

    # ---- streams -------------------------------------------------------------------------------------------

    def stream(self, connection: str, name: str, way: str = "") -> Stream:
        """The stream of an object with its cursor of one way, made when it is not there yet."""
        asked = sa.select(stream).where((stream.c.connection == connection) & (stream.c.object == name))
        rows = self._all(asked)
        if not rows:
            with self.writing() as tx:
                self.put(tx, stream, ("connection", "object", "cursor"), [(connection, name, "{}")], "keep")
            rows = self._all(asked)
        row = rows[0]
        place = (Cursor.load(row.cursor, way), moment(row.started_at), moment(row.slot_at), row.token is not None)
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

    def _put(
        self,
        tx: sa.Connection,
        table: sa.Table,
        ones: Sequence[Any],
        owned: Mapping[str, Any],
        found: Found = "fail",
    ) -> None:
        """Objects of one class, each with what is `owned` by all."""
        if ones:
            cls: Any = type(ones[0])
            names = common(table, cls)
            self.put(tx, table, names, map(attrgetter(*names), ones), found, owned)

    def hold(
        self, found: Stream, owner: str, now: datetime, ttl: timedelta, alive: Callable[[str], bool]
    ) -> Lease | None:
        """The right to be alone at something that is no run; None while a living worker has it."""
        lease = Lease(found.id, secrets.token_hex(8))
        with self.writing() as tx:
            row = tx.execute(sa.select(stream).where(stream.c.id == found.id).with_for_update()).one()
            if row.token and row.lease_until > millis(now) and alive(row.owner):
                return None
            self._set(tx, lease, owner=owner, token=lease.token, lease_until=millis(now + ttl))
        return lease

    def release(self, lease: Lease, slot: datetime) -> None:
        """Given back, with when that was; nothing happens when another one has taken it over."""
        freed = {"token": None, "owner": None, "lease_until": None, "slot_at": millis(slot)}
        with self.writing() as tx:
            held = (stream.c.id == lease.stream) & (stream.c.token == lease.token)
            tx.execute(sa.update(stream).where(held).values(**freed))

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
            names = common(outcome, Outcome)
            said, waits = attrgetter(*names), batch.retries
            made = [said(one) + _wait(waits.get((one.read, one.record)) if waits else None) for one in batch.outcomes]
            self.put(tx, outcome, (*names, "attempts", "retry_at", "open"), made, owned=owned)
            self._put(tx, note, batch.notes, owned)
            self._put(tx, link, batch.links, {"stream_id": lease.stream, "at": millis(now)}, "replace")
            self._put(tx, version, batch.versions, passed, "replace")
            if batch.settled:
                gone = (intent.c.stream_id == lease.stream) & (intent.c.key == sa.bindparam("k"))
                tx.execute(sa.delete(intent).where(gone), [{"k": key} for key in batch.settled])
            self._set(tx, lease, cursor=cursor.dump(), lease_until=millis(now + ttl))

    def journal(self, lease: Lease, intents: Sequence[Intent]) -> None:
        """What is about to be created, before it is: after a kill recovery looks for exactly this."""
        with self.writing(lease) as tx:
            self._put(tx, intent, intents, {"stream_id": lease.stream}, "replace")

    def finish(
        self,
        lease: Lease,
        run_id: int,
        now: datetime,
        ended: Mapping[str, Any],
        notes: Sequence[Note],
        cursor: Cursor | None,
        keep_from: Mapping[str, str],
    ) -> None:
        """The run's last transaction; it gives the token back. `ended`: status, counts, calls, error, since, until.

        With a cursor the run has read everything; versions stamped before `keep_from` (by read) are then forgotten. Once
        a day the old part of the log is, too.
        """
        owned = {"run_id": run_id, "stream_id": lease.stream, "at": millis(now)}
        with self.writing(lease) as tx:
            self._put(tx, note, notes, owned)
            error = plain(ended["error"]) if ended["error"] else None
            values = {**ended, "counts": json.dumps(ended["counts"]), "error": error, "finished": millis(now)}
            tx.execute(sa.update(run).where(run.c.id == run_id).values(**values))
            freed: dict[str, Any] = {"token": None, "owner": None, "lease_until": None}
            if cursor is not None:
                freed["cursor"] = cursor.dump()
                for read, stamp in keep_from.items():
                    old = (version.c.read == read) & (version.c.stamp < stamp)
                    tx.execute(sa.delete(version).where((version.c.stream_id == lease.stream) & old))
            self._set(tx, lease, **freed)
        if retention.due(self, now):
            retention.looked(self, now)
            retention.prune(self, now - retention.KEEP)

    # ---- what the engine asks, a page at a time --------------------------------------------------------------

    def versions(self, stream_id: int, read: str, records: Sequence[str]) -> list[tuple[Version, int]]:
        """The handled versions of these records, each with the pass that handled it."""
        names, here = common(version, Version), {"stream_id": stream_id, "read": read}
        rows = self._among(version, (*names, "pass_id"), here, "record", records)
        return [(Version(*row), by) for *row, by in rows]

    def links(self, stream_id: int, side: str, ids: Sequence[str]) -> list[Link]:
        """Links of these ids of one side, `home` or `remote`."""
        rows = self._among(link, common(link, Link), {"stream_id": stream_id}, side, ids)
        return [Link(key, home, remote, bool(active), *rest) for key, home, remote, active, *rest in rows]

    def all_links(self, stream_id: int) -> list[Link]:
        asked = of(link, Link).where(link.c.stream_id == stream_id).order_by(link.c.id)
        return [Link(*row) for row in self._all(asked)]

    def put_links(self, stream_id: int, links: Sequence[Link], now: datetime, lease: Lease | None = None) -> None:
        """Links that belong to no page: made by hand, by an example, or by a run (with its lease) that looked for what was lost."""
        with self.writing(lease) as tx:
            self._put(tx, link, links, {"stream_id": stream_id, "at": millis(now)}, "replace")

    def unlink(self, stream_id: int, links: Sequence[Link]) -> None:
        """These links are forgotten."""
        keys = [one.key for one in links]
        with self.writing() as tx:
            for some in chunks(keys):
                tx.execute(sa.delete(link).where((link.c.stream_id == stream_id) & link.c.key.in_(some)))

    def intents(self, stream_id: int) -> dict[str, Intent]:
        rows = self._all(of(intent, Intent).where(intent.c.stream_id == stream_id))
        return {row.key: Intent(*row) for row in rows}

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
        return [shown(row) for row in self._all(asked)]

    def say(self, found: Stream, notes: Sequence[Note], now: datetime) -> None:
        """Lines of the log that belong to no run."""
        owned = {"run_id": None, "stream_id": found.id, "at": millis(now)}
        with self.writing() as tx:
            self._put(tx, note, notes, owned)

    def prune(self, before: datetime) -> int:
        """Forget outcomes, runs and notes of before; how many that were. What waits and what is latest stays."""
        return retention.prune(self, before)

    def cache(self, scope: str) -> Cache:
        """Text that an endpoint wants to find again in the next process (describes, with when they changed)."""
        return Cache(self, scope)


def _wait(wait: tuple[int, datetime] | None) -> tuple[int, int | None, bool]:
    """attempts, retry_at, open"""
    return (1, None, False) if wait is None else (wait[0], millis(wait[1]), True)
