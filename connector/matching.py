"""The target side of a run: which record a mapped row is, and what has to be written to it. Reads, never writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from json.encoder import encode_basestring
from typing import Any

import msgspec
from msgspec.structs import replace

from connector import canon
from connector.agreeing import agree, bases
from connector.canon import reach
from connector.comparing import differing, misfit, moment, subset
from connector.model import (
    UNMAPPED,
    Change,
    Endpoint,
    Flow,
    Key,
    Note,
    Outcome,
    Query,
    Row,
    Shape,
    Skip,
    Status,
    Unmapped,
    Where,
    Window,
)
from connector.pages import Joined
from connector.state import Intent, Link

UNCHANGED: Mapping[str, tuple[Any, Any]] = {}
"""One for all: nobody writes to what an outcome says."""


class Mapped(msgspec.Struct, frozen=True):
    """A joined row with what its mapping makes of it. `keys` are normalised for comparing, `key` identifies the link."""

    joined: Joined
    values: Row
    keys: tuple[Any, ...]
    raw: tuple[Any, ...]
    key: str

    def outcome(
        self,
        status: Any,
        reason: str | None = None,
        message: str = "",
        target: str | None = None,
        field: str | None = None,
        changed: Mapping[str, tuple[Any, Any]] = UNCHANGED,
    ) -> Outcome:
        joined = self.joined
        return Outcome(joined.record, joined.read, status, reason, message, target, field, joined.label, changed)


class Decision(msgspec.Struct, frozen=True):
    """What is to be done with one row: a change to write, or its outcome at once. `target` is the row that was found."""

    mapped: Mapped
    change: Change | None
    outcome: Outcome | None = None
    target: str | None = None
    notes: tuple[Note, ...] = ()
    changed: Mapping[str, tuple[Any, Any]] = UNCHANGED
    bases: tuple[str, str] | None = None
    """Of a pair: what its link remembers of home and remote once this is done."""


_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


def _as_it_is(value: Any) -> Any:
    return value


NORMAL: Mapping[str, Callable[[Any], Any]] = {"exact": _as_it_is, "ignore_case": canon.fold, "instant": moment}
"""How a key's values are made comparable, by its `compare`."""


Mapper = Callable[[Joined, list[Note]], Mapped | Outcome]


def mapper(flow: Flow, target: Endpoint, files: Callable[[Any], Any] = _as_it_is) -> Mapper:
    """Makes of a joined row what the mapping makes of it, as the target spells it; or the outcome of one that is not written.

    `files` makes a File of an address. Worked out once for a flow, called for each row.
    """
    record, name = flow.record, flow.write
    streamed = [column.path[0] for column in flow.columns if column.kind == "file"]
    keys = [(key, key.value) for key in flow.match.keys]
    normals = [NORMAL[key.compare] for key in flow.match.keys]
    exact = all(normal is _as_it_is for normal in normals)
    by_record = flow.match.by_link or flow.match.found == "link"  # several may be linked to one record
    way = (flow.direction,) if flow.two_way else ()

    def mapped(joined: Joined, notes: list[Note]) -> Mapped | Outcome:
        row = joined.row
        unmapped: Unmapped = {}
        row[UNMAPPED] = unmapped
        made = record(row, None)
        for text, value in unmapped:
            said = f"{value!r} is not in the value map of {text}; nothing is written for it"
            notes.append(Note("error", "unmapped_value", said, joined.record, text))
        if joined.unsure:
            said = f"several {joined.unsure} have the key that it is joined by; nothing was written"
            return Outcome(joined.record, joined.read, "failed", "ambiguous_match", said, label=joined.label)
        if isinstance(made, Skip):
            if made.outcome != "failed":  # of what failed the log is told anyway
                notes.append(Note("warning", made.reason, made.message, joined.record, made.field))
            told = (made.outcome, made.reason, made.message, None, made.field, joined.label)
            return Outcome(joined.record, joined.read, *told)
        values = target.canonical(name, made)
        for field in streamed:
            if field in values:
                values[field] = files(values[field])
        raw = tuple(
            [
                _spelled(key, value(row, values), name, target) if key.foreign else value(row, values)
                for key, value in keys
            ]
        )
        normal = raw if exact else tuple([norm(value) for norm, value in zip(normals, raw, strict=True)])
        return Mapped(joined, values, normal, raw, _identity((*way, joined.record) if by_record else normal))

    return mapped


def _identity(parts: tuple[Any, ...]) -> str:
    """A JSON list. Most have one text."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return f"[{encode_basestring(parts[0])}]"
    return _JSON.encode(parts)


_LACKING: Mapping[str, tuple[Status, str]] = {
    "skip": ("skipped", "not_linked"),
    "ask": ("blocked", "not_linked"),
    "fail": ("failed", "not_found"),
}
"""By `missing`: the outcome of a row that is not found, where it is not made."""


class Target:
    """One flow's writes against one endpoint: finding, comparing, deciding."""

    def __init__(self, flow: Flow, endpoint: Endpoint) -> None:
        self.flow = flow
        self.endpoint = endpoint
        self.columns = tuple(".".join(column.path) for column in flow.columns if column.kind != "file")

    @cached_property
    def id(self) -> str:
        return self.endpoint.keys(self.flow.write).id

    @cached_property
    def stamp(self) -> str | None:
        return self.endpoint.keys(self.flow.write).stamp

    @cached_property
    def shape(self) -> Shape | None:
        return self.endpoint.describe([self.flow.write], fresh=False).get(self.flow.write)

    def key(self, row: Row) -> tuple[Any, ...]:
        """The match key of a row of the target, as it compares."""
        return tuple(_normal(key, row) for key in self.flow.match.keys)

    def rows(self, *where: Where, window: Window | None = None) -> list[Row]:
        keys = (".".join(key.field) for key in self.flow.match.keys)
        stamp = [self.stamp] if self.stamp and self.flow.two_way else []
        paths = tuple(dict.fromkeys((self.id, *keys, *self.columns, *stamp)))
        query = Query(self.flow.write, paths, where=where, window=window, stamped=False)
        return [row for page in self.endpoint.read([query]) for row in page.rows]

    def find(self, wanted: Sequence[Mapped], links: Mapping[str, Link], side: str) -> list[Decision]:
        """One decision per row, in order. `links`: by source record, those that say which target it is."""
        here = [row.joined.record for row in wanted]
        ids = {record: str(getattr(links[record], side)) for record in here if record in links} if links else {}
        off = {record for record, link in links.items() if not link.active}
        held = {}
        if ids and (self.flow.match.found != "skip" or not self.flow.match.by_link):
            held = {str(row[self.id]): row for row in self.rows(Where(self.id, tuple(dict.fromkeys(ids.values()))))}
        by_key: dict[Any, list[Row]] = {}
        alone: Container[str] = ()
        if self.flow.match.keys:
            first = self.flow.match.keys[0]
            pairs = [(row.keys[0], row.raw[0]) for row in wanted if row.joined.record not in ids]
            asked = {key: raw for key, raw in pairs if key is not None}
            there = []
            if asked:
                where = Where(".".join(first.field), tuple(asked.values()), fold=first.compare == "ignore_case")
                there = self.rows(where)
                for row in there:
                    by_key.setdefault(_normal(first, row), []).append(row)
            if not asked.keys() <= by_key.keys():  # some are going to be made
                spelled = [canon.fold(row.raw[0]) for row in wanted]
                times = Counter([*spelled, *(canon.fold(_held(first, row)) for row in there)])
                alone = {record for record, text in zip(here, spelled, strict=True) if times[text] == 1}
        if not (ids or by_key):
            return [self._missing(one, alone=record in alone) for record, one in zip(here, wanted, strict=True)]
        decisions = []
        for record, one in zip(here, wanted, strict=True):
            key = one.keys[0] if one.keys else None
            if record in off:
                decisions.append(self._off(one, ids[record]))
            elif record in ids:
                decisions.append(self._linked(one, links[record], ids[record], held))
            elif key is not None and key in by_key:
                decisions.append(self._keyed(one, by_key[key]))
            else:
                decisions.append(self._missing(one, alone=record in alone))
        return decisions

    def _off(self, row: Mapped, target: str) -> Decision:
        said = f"its link to {self.flow.write} {target} is switched off"
        return Decision(row, None, row.outcome("skipped", "link_inactive", said, target=target), target)

    def _linked(self, row: Mapped, link: Link, target: str, held: Mapping[str, Row]) -> Decision:
        if self.flow.match.found == "skip" and self.flow.match.by_link:
            return Decision(row, None, row.outcome("skipped", "exists", "already written", target=target), target)
        if target not in held:
            # Deletes are ignored unless a mapping says otherwise: what somebody removed is not made anew.
            said = f"{self.flow.write} {target}, which it is linked to, is gone"
            return Decision(row, None, row.outcome("skipped", "target_gone", said, target=target), target)
        return self.found(row, held[target], link)

    def _keyed(self, row: Mapped, rows: list[Row]) -> Decision:
        """Composite keys: all equal is the record, only the first equal is a partial hit. Source: design 4.8, 9.1."""
        match = self.flow.match
        more = list(zip(match.keys, row.keys, strict=True))[1:]
        full = [held for held in rows if all(_normal(key, held) == value for key, value in more)] if more else rows
        if len(full) > 1:
            exact = [held for held in full if tuple(_held(k, held) for k in match.keys) == row.raw]
            full = exact if len(exact) == 1 else full
        if len(full) == 1:
            return self.found(row, full[0])
        if len(full) > 1:
            return self._ambiguous(row, full)
        return self._partial(row, rows) if match.differs else self._missing(row)

    def found(self, row: Mapped, held: Row, link: Link | None = None) -> Decision:
        target, match = str(held[self.id]), self.flow.match
        if match.found == "skip":
            return Decision(row, None, row.outcome("skipped", "exists", "already there", target=target), target)
        if self.flow.two_way:
            return self._agreed(row, held, link)
        changed = differing(self.flow.columns, row.values, held)
        if not changed:
            return Decision(row, None, row.outcome("unchanged", target=target), target)
        if match.found in ("replace", "link"):
            return self._write(row, Change(match.found, self.flow.write, row.values, held[self.id]), changed)
        values = subset(row.values, [column for column in self.flow.columns if ".".join(column.path) in changed])
        return self._write(row, Change("update", self.flow.write, values, held[self.id]), changed, held)

    def _agreed(self, row: Mapped, held: Row, link: Link | None = None) -> Decision:
        """Of a pair: what its two sides agree on. An empty `held` is a row that is to be made."""
        joined, changed = row.joined, held.get(self.stamp or "")
        stamps = (joined.versions[0].stamp if joined.versions else None, changed)
        agreed = agree(self.flow, joined.row, row.values, held, link, stamps, joined.record)
        target = str(held[self.id]) if held else None
        if held and not agreed.changed:
            decision = Decision(row, None, row.outcome("unchanged", target=target), target)
        elif held:
            values = {name: new for name, (_, new) in agreed.changed.items()}
            decision = self._write(row, Change("update", self.flow.write, values, held[self.id]), agreed.changed, held)
        else:
            decision = self._write(row, self._create(row))
        return replace(decision, notes=agreed.notes, bases=bases(self.flow, agreed))

    def _write(
        self,
        row: Mapped,
        change: Change,
        changed: Mapping[str, tuple[Any, Any]] | None = None,
        held: Row | None = None,
    ) -> Decision:
        """A change that is worth a call: values of dependent picklists that do not go together are refused before it."""
        target = None if change.id is None else str(change.id)
        if not self.flow.dependent:
            return Decision(row, change, None, target, (), changed or UNCHANGED)
        shape = self.shape
        becomes = {**(held or {}), **change.values}
        if (field := misfit(shape, becomes, row.values, change.values)) is not None:
            controller = shape.fields[field].controller if shape else ""
            said = f"{field} {becomes[field]!r} is not valid for this {controller}; nothing was written"
            outcome = row.outcome("failed", "invalid_dependent_value", said, target=target, field=field)
            return Decision(row, None, outcome, target)
        return Decision(row, change, None, target, (), changed or UNCHANGED)

    def _partial(self, row: Mapped, rows: list[Row]) -> Decision:
        ids = _and(str(held[self.id]) for held in rows)
        first = ".".join(self.flow.match.keys[0].field)
        if self.flow.match.differs == "replace":
            return self.found(row, rows[0]) if len(rows) == 1 else self._ambiguous(row, rows)
        said = f"{self.flow.write} {ids} has the same {first} but differs in another key"
        if self.flow.match.differs == "fail":
            return Decision(row, None, row.outcome("failed", "partial_match", said))
        note = Note("warning", "partial_match", f"{said}; an additional one is created", row.joined.record, first)
        return replace(self._write(row, self._create(row)), notes=(note,))

    def _ambiguous(self, row: Mapped, rows: list[Row]) -> Decision:
        said = f"several {self.flow.write} have the same key: {_and(str(held[self.id]) for held in rows)}"
        if self.flow.match.found == "link":
            decided = self._missing(row)
            note = Note("warning", "ambiguous_lookup", f"{said}; counted as none", row.joined.record)
            return Decision(row, decided.change, decided.outcome, None, (note,))
        return Decision(row, None, row.outcome("failed", "ambiguous_match", f"{said}; nothing was written"))

    def _missing(self, row: Mapped, *, alone: bool = False) -> Decision:
        """`alone`: no other row, found or wanted, has its first key, however it is spelled."""
        if (missing := self.flow.match.missing) != "create":
            said = f"no {self.flow.write} has its key{'; link it by hand' if missing == 'ask' else ''}"
            return Decision(row, None, row.outcome(*_LACKING[missing], said))
        if row.keys and row.keys[0] is None:
            first = ".".join(self.flow.match.keys[0].field)
            said = f"{first} is missing: without it the record could not be found again"
            return Decision(row, None, row.outcome("failed", "no_match_key", said, field=first))
        if self.flow.two_way:
            return self._agreed(row, {})
        return self._write(row, self._create(row, self._unclaimed(row) if alone else None))

    @cached_property
    def claimable(self) -> str | None:
        """The field of `Change.key`. None where a row that came to be in the meantime must not be written to."""
        match = self.flow.match
        may = match.found in ("replace", "update") and match.differs is None and len(match.keys[0].field) == 1
        return match.keys[0].field[0] if may else None

    def _unclaimed(self, row: Mapped) -> str | None:
        field, raw = self.claimable, row.raw[0]
        return field if field and ((held := row.values.get(field)) is raw or canon.same(held, raw)) else None

    def _create(self, row: Mapped, key: str | None = None) -> Change:
        return Change("create", self.flow.write, row.values, key=key)

    def twins(self, intents: Sequence[Intent], taken: set[str]) -> dict[str, list[str]]:
        """By intent: rows that its lost create may have made. Equal payloads are interchangeable and paired in order;
        where there are more rows than intents nobody can tell which are ours, and each intent gets them all.
        """
        keys = self.endpoint.keys(self.flow.write)
        shape = self.shape
        groups: dict[str, list[Intent]] = {}
        for one in sorted(intents, key=lambda one: (one.sent, one.key)):
            groups.setdefault(one.payload, []).append(one)
        made: dict[str, list[str]] = {}
        for payload, group in groups.items():
            values = json.loads(payload)
            where = [
                Where(".".join(column.path), (value,))
                for column in self.flow.columns
                if column.kind not in ("json", "file") and isinstance(value := reach(values, column.path), (str, int))
                if shape is None or ((known := shape.fields.get(column.path[0])) and known.filterable)
            ]
            window = None
            if keys.created:
                sent = canon.parse(group[0].sent) - timedelta(minutes=1)
                window = Window(sent, self.endpoint.now() + timedelta(minutes=1), keys.created)
            rows = [row for row in self.rows(*where, window=window) if str(row[self.id]) not in taken]
            ids = [str(row[self.id]) for row in rows if not differing(self.flow.columns, values, row)]
            for n, one in enumerate(group):
                made[one.key] = ids if len(ids) > len(group) else ids[n : n + 1]
        return made


def _spelled(key: Key, value: Any, name: str, target: Endpoint) -> Any:
    """A key's value, spelled as the source spells it, as the target does: an id of 15 characters is one of 18 there."""
    nested = value
    for step in reversed(key.field):
        nested = {step: nested}
    return reach(target.canonical(name, nested), key.field)


def _held(key: Key, row: Row) -> Any:
    return reach(row, key.field)


def _normal(key: Key, row: Row) -> Any:
    return NORMAL[key.compare](_held(key, row))


def _and(names: Any) -> str:
    return " and ".join(names)
