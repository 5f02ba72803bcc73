"""Run one flow: read, map, match, write, commit. A page at a time, each stored with the cursor in one transaction.

At least once, applied idempotently: a killed run's pass goes on from its last committed page, and what was written but
not stored is found again by its key, or by the intent that was journalled before a create without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from connector import canon, schedule
from connector.answering import Answering
from connector.below import Children
from connector.below import gone as gone_values
from connector.errors import ConnectorError, LeaseLost, SpecError, StateError, Unreachable
from connector.matching import Mapped, mapper
from connector.model import Flow, Note, Outcome, Page, Row
from connector.pages import (
    Asked,
    Bounds,
    Joined,
    Source,
    reach_back,
    remembered,
    since,
    truncated,
    unhandled,
    worth_keeping,
)
from connector.state import Batch, Cursor, Lease, Parked, Pass, Stream, Version
from connector.world import STATUSES, Paused, Run, World, code_of, side
from connector.writing import Writer, waves

LEASE = timedelta(minutes=10)
"""Renewed with every page; a worker that is silent for so long may be replaced."""

WAITING = ("failed", "blocked")
"""Outcomes of records that are tried again."""
FIRST_RETRY, LAST_RETRY = timedelta(minutes=15), timedelta(days=1)


def run(flow: Flow, world: World) -> Run:
    """Everything that changed since the last time. Raises StateError when the store fails; all else is in the answer."""
    return _leased(flow, world, _Work.catch_up)


def sync(flow: Flow, world: World) -> Run:
    """As run, looking back as far as `watch.sync` says: somebody asked for it."""
    return _leased(flow, world, lambda work: work.catch_up(forced=True))


def event(flow: Flow, world: World, record: Row) -> Run:
    """One record that the source hands over, now: the step behind webhooks and `push`. The cursor stays where it is.

    Raises SpecError for one that has no id: nobody could tell it from the next.
    """
    thing = flow.reads[flow.triggers[0].changed].object
    key = world.source.keys(thing).id
    known = record.get(key) if isinstance(record, dict) else None
    name = str(known) if isinstance(known, str | int) and not isinstance(known, bool) else ""
    if not (name.strip() and name.isprintable()):
        raise SpecError(f"one record of {thing} is wanted, with its id in {key}, a text or a whole number")
    return _leased(flow, world, lambda work: work.one(record), poll=False)


def preview(flow: Flow, world: World) -> Run:
    """What `run` would do, told and not done: nothing is written, to the target or to the store."""
    stream = world.store.stream(flow.connection, flow.object, flow.direction)
    work = _Work(flow, replace(world, dry=True), stream, Lease(stream.id, ""), 0)
    return work.ended(work.attempt(_Work.catch_up))


def _leased(flow: Flow, world: World, act: Callable[[_Work], None], *, poll: bool = True) -> Run:
    store, now = world.store, world.clock.now()
    stream = store.stream(flow.connection, flow.object, flow.direction)
    slot = schedule.slot(stream.slot, flow.every, now) if poll else stream.slot
    claimed = store.claim(stream, world.owner, now, slot, LEASE, world.alive, flow.digest)
    if claimed is None:
        return Run(flow.connection, flow.object, flow.direction, "running", code="already_running")
    work = _Work(flow, world, store.stream(flow.connection, flow.object, flow.direction), *claimed)
    try:
        return work.finish(work.attempt(act))
    except LeaseLost as lost:
        return work.ended(lost)


class _Work:
    """One run under way."""

    def __init__(self, flow: Flow, world: World, stream: Stream, lease: Lease, run_id: int) -> None:
        self.flow, self.world, self.stream, self.lease, self.run_id = flow, world, stream, lease, run_id
        self.cursor = stream.cursor
        self.source = Source(flow, world.source, self.linked)
        self.writer = self.write(flow)
        self.mapped = mapper(flow, world.target, world.files)
        self.answering = self.ask(flow)
        self.children = Children(flow.children, world.source, world.target, self.write, self.ask)
        parked = world.store.parked(stream.id)
        self.parked = {(record.read, record.record): record for record in parked if record.read in flow.reads}
        self.counts: Counter[str] = Counter(dict.fromkeys(("read", *STATUSES), 0))
        self.billed = world.source.calls + world.target.calls
        self.window: tuple[str | None, str | None] = (None, None)
        self.bounds: Bounds = {}
        self.seen: list[tuple[Version, int]] = []
        self.notes: list[Note] = []

    def write(self, flow: Flow) -> Writer:
        world, child = self.world, flow is not self.flow
        return Writer(flow, world.target, world.store, world.clock, self.lease, dry=world.dry, child=child)

    def ask(self, flow: Flow) -> Answering:
        world = self.world
        return Answering(flow, world.source, world.target, world.store, world.known, world.alone, dry=world.dry)

    def linked(self, name: str, active: bool) -> tuple[str, ...]:
        stream = self.world.store.stream(self.flow.connection, name)
        links = self.world.store.all_links(stream.id)
        return tuple(
            dict.fromkeys(getattr(link, self.writer.source_side) for link in links if link.active or not active)
        )

    def attempt(self, act: Callable[[_Work], None]) -> Exception | None:
        try:
            with side("target"):
                for flow in (self.flow, *(child.flow for child in self.flow.children)):
                    keys = [".".join(key.field) for key in flow.match.keys]
                    self.world.target.prepare(flow.write, flow.columns, keys, make=not self.world.dry)
            act(self)
        except (StateError, LeaseLost):
            raise
        except (ConnectorError, Paused) as failure:
            return failure
        return None

    def catch_up(self, *, forced: bool = False) -> None:
        """The rest of a pass that was cut short, under the rules it began with; then everything up to now."""
        opened = self.cursor.open
        if opened and opened.digest == self.flow.digest:
            self.traverse(opened, self.cursor)
        with side("source"):
            now = self.world.source.now()
        until = canon.text(now)
        if not (self.cursor.activated or self.world.dry):  # stored though the run may fail: the next counts from here
            self.cursor = replace(self.cursor, activated=until)
            self.world.store.commit(self.lease, self.run_id, Batch(), self.cursor, self.world.clock.now(), LEASE)
        if said := truncated(self.flow, self.cursor, now):
            self.notes.append(Note("warning", "window_truncated", said))
        lows = [since(read.watch, self.cursor, now, forced=forced) for read in self.flow.reads.values() if read.watch]
        low = None if None in lows or not lows else canon.text(min(low for low in lows if low))
        self.traverse(Pass(self.run_id, low, until, self.flow.digest, forced=forced), self.cursor)

    def one(self, record: Row) -> None:
        read = self.flow.reads[self.flow.triggers[0].changed]
        row = self.world.source.canonical(read.object, record)
        self.page(Asked(0, self.source.query(read), {}), [row], self.cursor)

    def finish(self, failure: Exception | None) -> Run:
        run, cursor, keep = self.ended(failure), None, {}
        if failure is None and self.cursor.watermark:
            cursor = self.cursor
            low = canon.text(canon.parse(self.cursor.watermark) - reach_back(self.flow))
            keep = {name: low for name, read in self.flow.reads.items() if read.watch}
        elif failure and not self.cursor.activated:  # and if the source did not even tell its time, from here
            cursor = replace(self.cursor, activated=canon.text(self.world.clock.now()))
        note = Note("info" if run.status == "paused" else "error", run.code or "failed", str(failure))
        notes = self.notes + ([note] if failure else [])
        ended = {name: getattr(run, name) for name in ("status", "counts", "calls", "error", "since", "until")}
        self.world.store.finish(self.lease, self.run_id, self.world.clock.now(), ended, notes, cursor, keep)
        return run

    def ended(self, failure: Exception | None) -> Run:
        status = "partial" if self.counts["failed"] or self.counts["blocked"] else "ok"
        if failure is not None:
            status = "paused" if isinstance(failure, Paused) else "failed"
        flow, calls = self.flow, self.world.source.calls + self.world.target.calls - self.billed
        gone = getattr(flow, failure.side) if isinstance(failure, Unreachable) else None
        said = (str(failure), code_of(failure), gone) if failure else (None, None, None)
        return Run(flow.connection, flow.object, flow.direction, status, dict(self.counts), calls, *self.window, *said)

    def traverse(self, opened: Pass, cursor: Cursor) -> None:
        """All triggers of one window, in order, from where the pass stands."""
        cursor, now = replace(cursor, open=opened), self.world.clock.now()
        self.window = (opened.since, opened.until)
        self.bounds = remembered(self.flow, cursor, canon.parse(opened.until), forced=opened.forced)
        due = [record for record in self.parked.values() if record.retry <= now]
        with side("source"):
            asked = self.source.ask(opened, cursor, due)
            pages = self.world.ahead(self.source.pages(asked))
        left = {(record.read, record.record) for record in due}
        for page in _each(pages):
            one = asked[page.query]
            read = self.flow.reads[self.flow.triggers[one.trigger].changed]
            if one.parked:
                left -= {(read.name, self.source.position(read, row)[1]) for row in page.rows}
                gone = [key for key in left if key[0] == read.name] if page.last else []
                self.page(one, page.rows, cursor, gone)
                continue
            after = self.source.position(read, page.rows[-1]) if page.rows and not page.last and read.watch else None
            opened = replace(opened, trigger=one.trigger + page.last, after=after)
            cursor = replace(cursor, open=opened)
            self.page(one, page.rows, cursor)
        self.cursor = replace(cursor, watermark=opened.until, open=None)

    def page(self, asked: Asked, rows: list[Row], cursor: Cursor, gone: list[tuple[str, str]] | None = None) -> None:
        batch = Batch()
        said = "the record is gone from the source"
        self.tell(batch, [Outcome(record, read, "skipped", "gone", said) for read, record in gone or ()])
        with side("source"):
            keep = worth_keeping({} if asked.parked else self.bounds)
            joined = self.source.join(asked, self.fresh(asked, rows, cursor), keep) if rows else []
        self.carry(joined, batch)
        self.answering.answer(self.flow.asks, joined, batch.notes)
        made = [self.mapped(one, batch.notes) for one in joined]
        wanted = [one for one in made if isinstance(one, Mapped)]
        self.tell(batch, [one for one in made if isinstance(one, Outcome)])
        batch.versions = [version for one in joined for version in one.versions if version.digest]
        for wave in waves(wanted, self.flow.match):
            if not self.world.allowed():
                raise Paused("switched off while it ran; the rest follows when it is on again")
            with side("target"):
                outcomes = self.children.write(wave, self.writer.write(wave, batch), batch)
            self.tell(batch, outcomes)
        if asked.options and wanted:
            with side("target"):
                batch.notes += gone_values(self.writer.target, wanted)
        if self.world.dry:
            self.seen += [(version, cursor.open.id if cursor.open else -1) for version in batch.versions]
        elif batch.outcomes or batch.versions or batch.notes:
            self.world.store.commit(self.lease, self.run_id, batch, cursor, self.world.clock.now(), LEASE)

    def carry(self, joined: list[Joined], batch: Batch) -> None:
        """A record that waits for a try of its own, and now travels with another, waits no more."""
        if not self.parked:
            return
        unless = {trigger.changed: trigger.unless for trigger in self.flow.triggers}
        for carrier, version in ((one, version) for one in joined for version in one.versions):
            if version.carrier in unless[version.read] and (version.read, version.record) in self.parked:
                said = f"{carrier.read} {carrier.record} has carried it"
                self.tell(batch, [Outcome(version.record, version.read, "skipped", "joined", said)])

    def fresh(self, asked: Asked, rows: list[Row], cursor: Cursor) -> list[Row]:
        """Without versions that were handled before, and without records that an earlier trigger of this pass carried."""
        trigger = self.flow.triggers[asked.trigger]
        read = self.flow.reads[trigger.changed]
        identity, digest = self.source.identity(read), partial(self.source.digest, read)
        identities = [identity(row) for row in rows]
        if asked.parked:  # some may have been carried since they were asked for
            left = [n for n, (record, *_) in enumerate(identities) if (trigger.changed, record) in self.parked]
            rows, identities = [rows[n] for n in left], [identities[n] for n in left]
        known = self.world.store.versions(self.stream.id, trigger.changed, [record for record, *_ in identities])
        known += [(version, by) for version, by in self.seen if version.read == trigger.changed]
        pass_id = cursor.open.id if cursor.open else -1
        return unhandled(rows, identities, known, trigger.unless, pass_id, digest, again=asked.parked)

    def tell(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Count them, store them, park those that failed for another try, and say them to whoever listens."""
        if not outcomes:
            return
        self.counts["read"] += len(outcomes)
        self.counts.update([outcome.outcome for outcome in outcomes])
        batch.outcomes += outcomes
        for outcome in outcomes:
            if self.parked or outcome.outcome in WAITING:
                self.park(batch, outcome)
        self.world.told(outcomes)

    def park(self, batch: Batch, outcome: Outcome) -> None:
        """A record that waited for a try has had it; one that failed waits for the next."""
        key = (outcome.read, outcome.record)
        waited = self.parked.pop(key, None)
        if waited:
            batch.closed.append(key)
        if outcome.outcome in WAITING:
            tries = waited.attempts + 1 if waited else 1
            now = self.world.clock.now()
            retry = now if tries == 1 else now + min(FIRST_RETRY * 2 ** min(tries - 2, 10), LAST_RETRY)
            batch.retries[key] = (tries, retry)
            self.parked[key] = Parked(*key, tries, retry)
        if outcome.outcome == "failed":
            batch.notes.append(
                Note("error", outcome.reason or "failed", outcome.message, outcome.record, outcome.field)
            )


def _each(pages: Iterator[Page]) -> Iterator[Page]:
    while True:
        with side("source"):
            page = next(pages, None)
        if page is None:
            return
        yield page
