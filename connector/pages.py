"""The source side of a run: which windows are asked for, and how changed rows become joined rows.

A trigger's rows are joined a page at a time: lists under a changed record by a sub-select where the source can, everything
else by one query per page with all its keys. Each joined row knows the versions of the records in it, which is what keeps
the overlap from handling one twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from connector import canon
from connector.errors import Drifted
from connector.model import (
    SETTINGS,
    Endpoint,
    Flow,
    Join,
    Page,
    Query,
    Read,
    Row,
    Shape,
    Trigger,
    Watch,
    Where,
    Window,
)
from connector.shape import valid
from connector.state import Cursor, Parked, Pass, Version

Identity = tuple[str, str]
"""(id, stamp): one version of one record, but for two edits within one second, which only `digest` tells apart."""
Keep = Callable[[str, str], Callable[[str], bool]]
"""By its read and what carries it: whether a version is to be stored, by its stamp."""


class Asked(msgspec.Struct, frozen=True):
    """One query of a pass, and which trigger it is for. `parked` rows are tried again, whatever was handled."""

    trigger: int
    query: Query
    nested: Mapping[str, str]
    parked: bool = False
    options: Read | None = None
    """The rows are the values of a picklist: the shape has them, and no query is asked."""


class Joined(msgspec.Struct, frozen=True):
    """What one output is built from: the changed record's id, the row that paths read, and the versions in it."""

    record: str
    read: str
    row: Row
    label: str
    versions: tuple[Version, ...]
    unsure: str | None = None
    """A single read for which several rows were found: nothing was joined."""


def since(watch: Watch, cursor: Cursor, until: datetime, *, forced: bool = False) -> datetime | None:
    """The lower bound of a read's window; None is the beginning. `forced`: somebody asked for a sync."""
    low = _low(watch, cursor, until)
    if forced and watch.sync and low is not None:
        low = min(low, until - watch.sync)
    return max(low or until - watch.furthest, until - watch.furthest) if watch.furthest else low


def _low(watch: Watch, cursor: Cursor, until: datetime) -> datetime | None:
    if cursor.watermark is None:
        if watch.first == "all":
            return None
        activated = canon.parse(cursor.activated) if cursor.activated else until
        return activated if watch.first == "none" else min(activated, until) - watch.first
    watermark = canon.parse(cursor.watermark)
    low = watermark - watch.overlap
    low = min(low, until - watch.at_least) if watch.at_least else low
    if watch.first == "none" and cursor.activated:  # nothing from before, not by way of the overlap either
        low = max(low, min(canon.parse(cursor.activated), watermark))
    return low


def truncated(flow: Flow, cursor: Cursor, until: datetime) -> str:
    """What the log says when `furthest` leaves a gap behind the last successful run; else nothing."""
    for read in flow.reads.values():
        furthest = read.watch.furthest if read.watch else None
        if furthest and cursor.watermark and canon.parse(cursor.watermark) < until - furthest:
            low = canon.text(until - furthest)
            return f"the last run read up to {cursor.watermark}; changes of {read.label} from then to {low} are not looked at"
    return ""


def reach_back(flow: Flow) -> timedelta:
    """How far behind the watermark any later window can begin."""
    watches = [read.watch for read in flow.reads.values() if read.watch]
    return max((max(watch.overlap, watch.at_least or watch.overlap) for watch in watches), default=timedelta())


class NotDependent(Drifted):
    """The values of a picklist are asked for by those of another one that it does not depend on."""

    code = "not_dependent"


class Source:
    """One flow's reads against one endpoint."""

    def __init__(self, flow: Flow, endpoint: Endpoint, linked: Callable[[str, bool], tuple[str, ...]]) -> None:
        """`linked`: the source's ids of all links of an object, or of the active ones alone."""
        self.flow, self.endpoint, self.linked = flow, endpoint, linked
        self.changed = {trigger.changed for trigger in flow.triggers}
        self.stored: dict[str, frozenset[str] | None] = {}

    def query(self, read: Read, *where: Where) -> Query:
        changed, paths = read.name in self.changed, read.paths
        stamped = changed and (read.watch is not None or self.flow.two_way is not None)
        if changed and not stamped:
            paths = tuple(dict.fromkeys((*paths, self.endpoint.keys(read.object).id)))
        return Query(
            object=read.object,
            paths=paths,
            whole=read.whole,
            where=(*read.where, *(Where(name, self.linked(*of)) for name, of in read.linked.items()), *where),
            order=read.order,
            stamped=stamped,
            children=self._children(read),
        )

    def _children(self, read: Read) -> dict[str, Query]:
        if not read.children:
            return {}
        shape = self.endpoint.describe([read.object], fresh=False).get(read.object)  # the poll itself renews it
        below = shape.children if shape else {}
        lacking = next((name for name in read.children if name not in below), None)
        if lacking:
            raise Drifted(f"{read.object} has no children {lacking}; it has {', '.join(below) or 'none'}")
        return {
            name: Query(below[name].object, paths, order=("CreatedDate", "Id"), stamped=False)
            for name, paths in read.children.items()
        }

    def as_spelled(self, read: Read, rows: Sequence[Row]) -> None:
        """Lists below rows the way paths and Salesforce spell them: `{records: [...]}`, null when there is none."""
        for name in read.children:
            for row in rows:
                row[name] = {"records": below} if (below := row.get(name)) else None

    def ask(self, opened: Pass, cursor: Cursor, parked: Sequence[Parked]) -> list[Asked]:
        """Every query that is left of a pass, in order: the parked records of a trigger, then its window."""
        asked = []
        until = canon.parse(opened.until)
        for index, trigger in enumerate(self.flow.triggers):
            if index < opened.trigger:
                continue
            read = self.flow.reads[trigger.changed]
            if read.picklist:
                asked.append(Asked(index, Query(read.object), {}, options=read))
                continue
            query, nested = self._nest(trigger, self.query(read))
            ids = tuple(record.record for record in parked if record.read == read.name)
            if ids and not (index == opened.trigger and opened.after):
                wanted = Where(self.endpoint.keys(read.object).id, ids)
                asked.append(Asked(index, replace(query, where=(*query.where, wanted)), nested, parked=True))
            if read.watch:
                after = opened.after if index == opened.trigger else None
                low = since(read.watch, cursor, until, forced=opened.forced)
                window = Window(low, until, read.watch.field, after)
                query = replace(query, window=window, order=())
            asked.append(Asked(index, query, nested))
        return asked

    def pages(self, asked: Sequence[Asked]) -> Iterator[Page]:
        """All of them in order, by their place in `asked`; of a picklist the one page that its shape makes."""
        at = 0
        while at < len(asked):
            if read := asked[at].options:
                yield Page(at, self.options(read, {}), last=True)
                at += 1
                continue
            end = next((n for n in range(at, len(asked)) if asked[n].options), len(asked))
            for page in self.endpoint.read([one.query for one in asked[at:end]]):
                yield replace(page, query=at + page.query)
            at = end

    def options(self, read: Read, row: Row) -> list[Row]:
        """The values of a picklist as rows; with `valid_for`, those that go with what `row` has there."""
        shape = self.endpoint.describe([read.object]).get(read.object)
        field = shape.fields.get(read.picklist or "") if shape else None
        if shape is None or field is None:
            raise Drifted(f"{read.object} has no field {read.picklist}, whose values are read")
        options = valid(field, shape, read.valid_for(row)) if read.valid_for else field.options
        if options is None:
            raise NotDependent(
                f"{read.object}.{field.name} does not depend on another field, so no value is valid for one"
            )
        return [
            {"value": each.value, "label": each.label, "index": index, "active": each.active}
            for index, each in enumerate(options)
        ]

    def _nest(self, trigger: Trigger, query: Query) -> tuple[Query, dict[str, str]]:
        nested = {}
        prefix = f"{trigger.changed}."
        for join in trigger.joins:
            read = self.flow.reads[join.name]
            if not read.many or not all(path.text.startswith(prefix) for path in join.on.values()):
                continue
            child, on = self.query(read), {field: path.text.removeprefix(prefix) for field, path in join.on.items()}
            relationship = self.endpoint.nest(query, child, on)
            if relationship is not None:
                nested[join.name] = relationship
                query = replace(query, children={**query.children, relationship: child})
        return query, nested

    def identity(self, read: Read) -> Callable[[Row], Identity]:
        if read.picklist:
            return lambda row: (str(row["value"]), "")
        keys = self.endpoint.keys(read.object)
        known, stamp = keys.id, keys.stamp or ""

        def identity(row: Row) -> Identity:
            record, at = row.get(known), row.get(stamp)
            return record if type(record) is str else str(record), at if type(at) is str else str(at or "")

        return identity

    def digest(self, read: Read, row: Row) -> str:
        """Of the stored fields that were read. To make one takes longer than all else about a row that is not new."""
        if read.picklist:
            return ""
        if read.object not in self.stored:
            self.stored[read.object] = stored_fields(self.endpoint.describe([read.object]).get(read.object))
        return digest(row, self.stored[read.object])

    def position(self, read: Read, row: Row) -> tuple[str, str]:
        keys = self.endpoint.keys(read.object)
        stamp = read.watch.field if read.watch and read.watch.field else keys.stamp
        return str(row.get(stamp) if stamp else ""), str(row.get(keys.id))

    def join(self, asked: Asked, rows: list[Row], keep: Keep) -> list[Joined]:
        """One page of changed rows with everything that its trigger joins to them."""
        trigger = self.flow.triggers[asked.trigger]
        empty: Row = {name: [] if read.many else None for name, read in self.flow.reads.items()}
        empty[SETTINGS] = self.flow.settings
        read = self.flow.reads[trigger.changed]
        joined: list[Row] = []
        self.as_spelled(read, rows)
        for row in rows:
            made = {**empty, read.name: row}
            for name, relationship in asked.nested.items():
                made[name] = row.pop(relationship, None) or []
            joined.append(made)
        unsure: dict[int, str] = {}
        for join in trigger.joins:
            if join.name not in asked.nested:
                self._fill(join, joined, unsure)
        names = (trigger.changed, *(join.name for join in trigger.joins))
        watched = [name for name in names if name in self.changed and not self.flow.reads[name].picklist]
        identity = self.identity(read)
        versioned = [(name, self.flow.reads[name].many, self._versioned(name, read.name, keep)) for name in watched]
        if watched == [read.name] and not trigger.joins and not read.many:  # the usual trigger
            own, label = map(versioned[0][2], rows), self._label(read.name)
            return [Joined(one.record, read.name, row, label, (one,)) for one, row in zip(own, joined, strict=True)]
        labels: dict[tuple[str, ...], str] = {}
        whole = []
        for n, row in enumerate(joined):
            there = tuple([name for name in names if row[name]])
            if there not in labels:
                labels[there] = " + ".join(map(self._label, there))
            versions = [
                version(one)
                for name, many, version in versioned
                for one in (row[name] if many else (row[name],))
                if one is not None
            ]
            record = identity(row[read.name])[0]
            whole.append(Joined(record, read.name, row, labels[there], tuple(versions), unsure.get(n)))
        return whole

    def _label(self, name: str) -> str:
        read = self.flow.reads[name]
        return read.label + (" (list)" if read.many else "")

    def _fill(self, join: Join, joined: list[Row], unsure: dict[int, str]) -> None:
        """Rows of one read by one query for the whole page; what fails here fails the page: it is never "no record"."""
        read = self.flow.reads[join.name]
        wanted = [tuple(path.get(row) for path in join.on.values()) for row in joined]
        full = [values for values in wanted if None not in values]
        if not full:
            return
        first = next(iter(join.on))
        values = tuple(dict.fromkeys(value[0] for value in full))
        found: dict[tuple[Any, ...], list[Row]] = {}
        for page in self.endpoint.read([self.query(read, Where(first, values))]):
            self.as_spelled(read, page.rows)
            for row in page.rows:
                found.setdefault(tuple(row.get(field) for field in join.on), []).append(row)
        for n, (row, key) in enumerate(zip(joined, wanted, strict=True)):
            rows = found.get(key, [])
            if read.many:
                row[join.name] = [dict(one) for one in rows]
            elif len(rows) == 1:
                row[join.name] = rows[0]
            elif rows:
                unsure[n] = join.name

    def _versioned(self, name: str, carrier: str, keep: Keep) -> Callable[[Row], Version]:
        """A digest is made only of what is going to be stored: it is there to be compared with, later."""
        read = self.flow.reads[name]
        identity, kept = self.identity(read), keep(name, carrier)

        def version(row: Row) -> Version:
            record, stamp = identity(row)
            return Version(name, record, stamp, self.digest(read, row) if kept(stamp) else "", carrier)

        return version


def stored_fields(shape: Shape | None) -> frozenset[str] | None:
    """What a record itself holds: formulas and related rows change without the record being another version."""
    return frozenset(name for name, field in shape.fields.items() if not field.calculated) if shape else None


_sorted = msgspec.json.Encoder(order="sorted", enc_hook=str).encode


def digest(row: Row, stored: frozenset[str] | None) -> str:
    """Nulls count for nothing: a field that is new in a system, and empty there, makes no record another version."""
    names = row.keys() if stored is None else stored
    told = {name: value for name, value in row.items() if value is not None and name in names}
    try:
        text = _sorted(told)
    except (TypeError, ValueError, OverflowError, RecursionError):  # half a character, a number beyond all sizes
        text = json.dumps(told, sort_keys=True, default=str).encode()
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def unhandled(
    rows: Sequence[Row],
    identities: Sequence[Identity],
    known: Collection[tuple[Version, int]],
    unless: Collection[str],
    pass_id: int,
    digest: Callable[[Row], str],
    *,
    again: bool = False,
) -> list[Row]:
    """The rows whose version no run has handled (with `again`, those too), and that no trigger of `unless` has carried."""
    if not known:
        return [*rows]
    handled: dict[Identity, set[str]] = {}
    for version, _ in () if again else known:
        handled.setdefault((version.record, version.stamp), set()).add(version.digest)
    carried = {version.record for version, by in known if by == pass_id and version.carrier in unless}
    return [
        row
        for row, identity in zip(rows, identities, strict=True)
        if identity[0] not in carried and not (identity in handled and digest(row) in handled[identity])
    ]


Bounds = dict[str, tuple[datetime, datetime | None]]


def remembered(flow: Flow, cursor: Cursor, until: datetime, *, forced: bool) -> Bounds:
    """By watched read: from which stamp on later windows, and this pass, can bring a version again. None: from any.

    A version that nothing can read again need not be stored. A pass itself reads a record twice only when another
    trigger has joined it before.
    """
    bounds = {}
    for read in flow.reads.values():
        if read.watch:
            later = until - max(read.watch.overlap, read.watch.at_least or read.watch.overlap)
            low = since(read.watch, cursor, until, forced=forced)
            bounds[read.name] = (later, None if low is None else min(low, later))
    return bounds


def worth_keeping(bounds: Bounds) -> Keep:
    texts = {read: [canon.text(at)[:-1] if at else None for at in pair] for read, pair in bounds.items()}

    def keep(read: str, carrier: str) -> Callable[[str], bool]:
        later, here = texts.get(read, (None, None))
        if (bound := later if carrier == read else here) is None:
            return lambda _stamp: True

        def kept(stamp: str) -> bool:
            at = canon.instant(stamp)
            return at is None or at[:-1] >= bound  # without Z, a fraction sorts behind the whole second

        return kept

    return keep
