"""What is forgotten of the log, and when. Links, cursors, intents and what waits are never part of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from connector.state.database import Database
from connector.state.tables import meta, millis, note, outcome, run

KEEP = timedelta(days=90)
"""How long a store keeps outcomes, runs and notes by itself."""
EVERY = timedelta(days=1)
BATCH = 1000
"""Rows of one transaction: a run that wants to commit waits for no more than these."""


def due(store: Database, now: datetime) -> bool:
    """Whether something can be old, and nobody has looked for a day."""
    oldest = sa.select(run.c.started).order_by(run.c.id).limit(1).scalar_subquery()
    looked = sa.select(meta.c.value).where(meta.c.key == "pruned").scalar_subquery()
    with store.reading() as conn:
        first, last = conn.execute(sa.select(oldest, looked)).one()
    return first is not None and first < millis(now - KEEP) and int(last or 0) <= millis(now - EVERY)


def looked(store: Database, now: datetime) -> None:
    with store.writing() as tx:
        store.put(tx, meta, ("key", "value"), [("pruned", str(millis(now)))], "replace")


def prune(store: Database, before: datetime) -> int:
    """Forget what is older than `before`; the latest outcome of each record and the latest run of each stream stay.

    Gives the number of rows. Runs go when nothing is left that belongs to them.
    """
    at, newer, next_ = millis(before), outcome.alias(), run.alias()
    same = (newer.c.stream_id == outcome.c.stream_id) & (newer.c.record == outcome.c.record)
    later = sa.exists().where(same & (newer.c.read == outcome.c.read) & (newer.c.id > outcome.c.id))
    left = sa.exists().where(outcome.c.run_id == run.c.id)
    followed = sa.exists().where((next_.c.stream_id == run.c.stream_id) & (next_.c.id > run.c.id))
    old = {
        outcome: (outcome.c.at < at) & ~outcome.c.open & later,
        note: note.c.at < at,
        run: (run.c.started < at) & run.c.finished.is_not(None) & ~left & followed,
    }
    return sum(_delete(store, table, which) for table, which in old.items())


def _delete(store: Database, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    """In batches by id, each found before its transaction begins: what is old does not become young again."""
    count, after = 0, 0
    while True:
        asked = sa.select(table.c.id).where((table.c.id > after) & which).order_by(table.c.id).limit(BATCH)
        with store.reading() as conn:
            ids = conn.scalars(asked).all()
        if not ids:
            return count
        with store.writing() as tx:
            tx.execute(sa.delete(table).where(table.c.id.in_(ids)))
        count, after = count + len(ids), ids[-1]
