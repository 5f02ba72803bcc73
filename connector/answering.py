"""What values ask the other side for: ids of linked records, and ids that a lookup finds by another key.

Asked for a page of rows at a time, before they are mapped, so that mapping is a pure function. What a lookup has found is
kept for the run. A source or a list that fails is never "no match": the records that need it wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from connector import canon
from connector.errors import EndpointError, LeaseLost, Rejected, Unanswered
from connector.matching import NORMAL
from connector.model import ANSWERS, Answer, Answers, Ask, Change, Endpoint, Flow, Lookup, Note, Query, Where
from connector.pages import Joined
from connector.state import Link, Store

CONFLICTS = ("409", "DUPLICATE_VALUE", "DUPLICATES_DETECTED")
"""How a system says that what is to be made is there already, although it was not found."""


@dataclass
class Found:
    """What one run knows of a lookup: by key as it compares, rows of the target as (spelling, id)."""

    rows: dict[Any, list[tuple[Any, str]]] = field(default_factory=dict)
    asked: set[Any] = field(default_factory=set)
    listed: bool = False
    failed: Answer | None = None
    mark: Any = None
    """When anybody had last created for this lookup, before it was looked."""


Known = MutableMapping[str, Found]
"""By lookup: shared by all flows of one run."""


def lock(name: str) -> str:
    """The stream whose lease says who creates for a lookup, and whose slot when that was last done."""
    return f"lookup {name}"


class Answering:
    """One flow's questions. `known` outlives the flow; `alone` holds other workers off while something is created."""

    def __init__(
        self,
        flow: Flow,
        source: Endpoint,
        target: Endpoint,
        store: Store,
        known: Known,
        alone: Callable[[str], AbstractContextManager[Any]],
        *,
        dry: bool,
    ) -> None:
        self.flow, self.source, self.target, self.store = flow, source, target, store
        self.known, self.alone, self.dry = known, alone, dry
        self.here, self.there = ("remote", "home") if flow.direction == "pull" else ("home", "remote")

    def answer(self, asks: Sequence[Ask], joined: Sequence[Joined], notes: list[Note]) -> None:
        """Puts into every row what its values will ask for; the log gets what there is to say."""
        wanted: dict[tuple[str, str], dict[Any, None]] = {}
        told = []
        for ask in asks:
            for one in joined:
                if (value := ask.of(one.row)) is not None:
                    wanted.setdefault((ask.kind, ask.name), {})[value] = None
                    told.append((one.record, ask, value))
        answers: Answers = {}
        for (kind, name), values in wanted.items():
            found = self._links(name, values) if kind == "link" else self._lookup(self.flow.lookups[name], values)
            answers |= {(kind, name, value): answer for value, answer in found.items()}
        for one in joined if asks else ():
            one.row[ANSWERS] = answers
        once: set[int] = set()
        for record, ask, value in told:
            answer = answers[ask.kind, ask.name, value]
            if answer.outcome or id(answer) in once:  # of what is not written the outcome tells
                continue
            if answer.level == "info":  # what was created is said of the first that needed it
                once.add(id(answer))
            if answer.level:
                notes.append(Note(answer.level, answer.code, answer.message, record, ask.field))

    def _stored(self, name: str, values: Iterable[Any]) -> dict[Any, list[Link]]:
        stream = self.store.stream(self.flow.connection, name)
        spelled = {str(value): value for value in values}
        made: dict[Any, list[Link]] = {}
        for link in self.store.links(stream.id, self.here, list(spelled)):
            made.setdefault(spelled[getattr(link, self.here)], []).append(link)
        return made

    def _links(self, name: str, values: Iterable[Any]) -> dict[Any, Answer]:
        links = self._stored(name, values)
        return {value: self._linked(name, value, links.get(value, [])) for value in values}

    def _linked(self, name: str, value: Any, links: Sequence[Link]) -> Answer:
        active = sorted({getattr(link, self.there) for link in links if link.active})
        if len(active) > 1:
            said = f"{name} {value} is linked to {' and '.join(active)}; counted as none"
            return Answer(None, "warning", "ambiguous_lookup", said)
        return Answer(active[0] if active else None)

    # ---- lookups -------------------------------------------------------------------------------------------

    def _lookup(self, lookup: Lookup, values: Iterable[Any]) -> dict[Any, Answer]:
        """A link wins over keys; one that is switched off says that there is none."""
        links = self._stored(lookup.name, values)
        answers = {value: self._linked(lookup.name, value, links[value]) for value in links}
        for value, answer in answers.items():
            if answer.id is None and not answer.level:
                said = f"the link of {lookup.name} {value} is switched off"
                answers[value] = self._none(lookup, said, "lookup_failed")
        left = [value for value in values if value not in answers]
        if not left:
            return answers
        found = self.known.setdefault(lookup.name, Found())
        if found.failed is None:
            try:
                keys = self._keys(lookup, left)
                self._look(lookup, found, [key for key in keys.values() if key is not None])
                return answers | self._settled(lookup, found, left, keys)
            except LeaseLost:
                raise
            except EndpointError as error:
                said = f"{lookup.object} could not be looked up, so the record waits: {error}"
                found.failed = Answer(None, "error", "source_unavailable", said, "failed")
        return answers | dict.fromkeys(left, found.failed)

    def _keys(self, lookup: Lookup, ids: Sequence[Any]) -> dict[Any, Any]:
        """By id of the source: the key of its record; None where there is no such record, or it has none."""
        name = self.source.keys(lookup.object).id
        asked = Query(lookup.object, (name, lookup.key), where=(Where(name, tuple(ids)),), stamped=False)
        rows = {str(row.get(name)): row.get(lookup.key) for page in self.source.read([asked]) for row in page.rows}
        blank = (None, "")
        return {one: None if (key := rows.get(str(one))) in blank or not str(key).strip() else key for one in ids}

    def _look(self, lookup: Lookup, found: Found, keys: Sequence[Any]) -> None:
        """All rows of the target at once, or a search by the keys that were not asked for yet."""
        normal = NORMAL[lookup.compare]
        new = {normal(key): key for key in keys if normal(key) not in found.asked}
        where: tuple[Where, ...] = ()
        if "find" in lookup.calls:
            where = (Where(lookup.key, tuple(new.values()), fold=lookup.compare == "ignore_case"),)
        elif "list" not in lookup.calls:
            return
        if not new or (found.listed and not where):
            return
        found.mark = self.store.stream(self.flow.connection, lock(lookup.name)).slot
        name = self.target.keys(lookup.object).id
        rows: dict[Any, list[tuple[Any, str]]] = {}
        for page in self.target.read([Query(lookup.object, (name, lookup.key), where=where, stamped=False)]):
            for row in page.rows:
                if (key := row.get(lookup.key)) is not None:
                    rows.setdefault(normal(key), []).append((key, str(row[name])))
        found.rows |= rows
        found.asked |= new.keys()
        found.listed = not where

    def _settled(self, lookup: Lookup, found: Found, ids: Sequence[Any], keys: Mapping[Any, Any]) -> dict[Any, Answer]:
        normal, creates = NORMAL[lookup.compare], "create" in lookup.calls
        creates = creates and lookup.missing in ("create", "create_or_empty") and bool(lookup.calls & {"list", "find"})
        absent = {normal(key): key for key in keys.values() if key is not None and not found.rows.get(normal(key))}
        made = self._created(lookup, found, absent) if creates and absent else {}
        answers = {}
        for one in ids:
            key = keys[one]
            if key is None:
                answers[one] = self._none(lookup, f"{lookup.object} {one} has no {lookup.key}", "lookup_failed")
            else:
                answers[one] = made.get(normal(key)) or self._of(lookup, found.rows.get(normal(key), []), key)
        return answers

    def _of(self, lookup: Lookup, rows: Sequence[tuple[Any, str]], key: Any) -> Answer:
        """Several are settled only when exactly one of them is spelled alike. Source: spec-language 9.1."""
        if len(rows) > 1:
            rows = [row for row in rows if canon.same(row[0], key)]
            if len(rows) != 1:
                said = f"several {lookup.object} have the {lookup.key} {key!r}; counted as none"
                return self._none(lookup, said, "ambiguous_lookup")
        if not rows:
            return self._none(lookup, f"no {lookup.object} has the {lookup.key} {key!r}", "lookup_failed")
        return Answer(rows[0][1])

    def _none(self, lookup: Lookup, said: str, code: str) -> Answer:
        if lookup.missing == "skip":
            return Answer(None, "warning", code, said, "skipped")
        if lookup.missing == "ask":
            return Answer(None, "warning", "not_linked", f"{said}; link it by hand", "blocked")
        if lookup.missing in ("fail", "create"):
            return Answer(None, "error", code, said, "failed")
        return Answer(None, "warning", code, f"{said}; written without")

    def _created(self, lookup: Lookup, found: Found, absent: Mapping[Any, Any]) -> dict[Any, Answer]:
        """Each key once, however it is spelled. Another worker that is about to create the same is waited for, and when
        one has created anything since we looked, we look again.
        """
        if self.dry:
            return {key: Answer("(new)", "info", "lookup_failed", f"{key!r} would be created") for key in absent}
        with self.alone(lookup.name) as mark:
            if mark != found.mark:
                self._again(lookup, found, absent)
                absent = {key: spelled for key, spelled in absent.items() if not found.rows.get(key)}
            changes = [Change("create", lookup.object, {lookup.key: spelled}) for spelled in absent.values()]
            written = self.target.write(changes) if changes else []
        refused: dict[Any, EndpointError] = {}
        answers = {}
        for (key, spelled), answer in zip(absent.items(), written, strict=True):
            if answer.error or answer.id is None:
                refused[key] = answer.error or Unanswered(f"{lookup.object} {spelled!r} was made, and no id came back")
                continue
            found.rows[key] = [(spelled, str(answer.id))]
            said = f"no {lookup.object} had the {lookup.key} {spelled!r}, so it was created"
            answers[key] = Answer(str(answer.id), "info", "lookup_failed", said)
        if refused:
            self._again(lookup, found, {key: absent[key] for key in refused})
        for key, error in refused.items():
            if not found.rows.get(key):
                answers[key] = _refused(lookup, absent[key], error)
        return answers

    def _again(self, lookup: Lookup, found: Found, keys: Mapping[Any, Any]) -> None:
        found.listed, found.asked = False, found.asked - keys.keys()
        self._look(lookup, found, list(keys.values()))


def _refused(lookup: Lookup, key: Any, error: EndpointError) -> Answer:
    said = f"{lookup.object} {key!r} could not be created: {error}"
    if isinstance(error, Rejected) and error.reason not in CONFLICTS:  # for good: nothing is gained by waiting
        without = lookup.missing == "create_or_empty"
        return Answer(None, "error", "create_failed", said, None if without else "failed")
    return Answer(None, "error", "create_failed", f"{said}; the record waits until it is found", "failed")
