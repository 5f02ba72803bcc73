"""The Endpoint over an api file. Queries are answered by `find` where it can, else by `list`; what comes is compared again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from connector import canon
from connector.endpoints.forms import FORMS, near
from connector.endpoints.http import rows
from connector.endpoints.http.api import CALLS, Lister, Object, Place, calls, compiled
from connector.endpoints.http.listing import listed
from connector.endpoints.http.rows import READ, Form, formed
from connector.endpoints.http.session import Session
from connector.endpoints.http.writing import written
from connector.endpoints.wire import Transport
from connector.errors import Drifted, SetupError
from connector.model import Change, Clock, Column, Keys, Page, Query, Row, Shape, Where, Written

PAGE = 500
"""Rows of a page, of what is held as a whole because it has to be put in order."""


class _Ask(NamedTuple):
    """How a query is answered: by looking for the values of `where`, or by listing what changed."""

    object: str
    where: Where | None
    since: Any = None
    until: Any = None


class Http:
    """`settings`: `api` (the tree of an api file), `url`, `login` and the secrets in `auth`."""

    def __init__(
        self, name: str, settings: Mapping[str, Any], *, clock: Clock, transport: Transport | None = None
    ) -> None:
        self.name, self._api, self._calls = name, compiled(settings["api"]), calls(settings["api"])
        self._session = Session(name, self._api, settings, clock=clock, transport=transport)
        self._forms: dict[str, dict[Place, Form]] = {
            name: {place: READ[kind] for place, kind in thing.types.items()}
            for name, thing in self._api.objects.items()
        }
        self.settle = self._api.settle

    @property
    def calls(self) -> int:
        return self._session.calls

    def now(self) -> datetime:
        return self._session.time()

    def close(self) -> None:
        self._session.close()

    def capabilities(self, name: str) -> frozenset[str]:
        """Which of list, find, create, update and save the system has for an object."""
        return self._calls[self._object(name).name]

    def keys(self, name: str) -> Keys:
        return self._object(name).keys

    def describe(self, names: Sequence[str], *, fresh: bool = True) -> dict[str, Shape]:  # noqa: ARG002
        """None: an api file says how to call, not what there is."""
        for name in names:
            self._object(name)
        return {}

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:  # noqa: ARG002
        thing = self._object(name)
        if not (thing.create or thing.update or thing.save):
            raise SetupError(f"{self.name}: {name} cannot be written; its api file has {self._has(name)}")
        kinds = {column.path: FORMS[column.kind] for column in columns if column.kind in FORMS}
        self._forms[name] = kinds | self._forms[name]

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:  # noqa: ARG002
        return None

    def canonical(self, name: str, values: Row) -> Row:
        return formed(values, self._forms[self._object(name).name])

    def write(self, changes: Sequence[Change]) -> list[Written]:
        return written(self._session, self._object(changes[0].object), changes) if changes else []

    # ---- reading -----------------------------------------------------------------------------------------

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        asks = [self._ask(query) for query in queries]
        often, kept = Counter(ask for ask in asks if ask.where is None), dict[_Ask, list[list[Row]]]()
        for number, (query, ask) in enumerate(zip(queries, asks, strict=True)):
            pages: Iterable[list[Row]] = self._asked(ask)
            if ask.where is None and often[ask] > 1:  # one list answers them all
                pages = kept[ask] = kept.get(ask) or list(pages)
            held: list[Row] | None = None
            for some in self._chosen(query, pages):
                if held:
                    yield Page(number, held, last=False)
                held = some
            yield Page(number, held or [], last=True)

    def _ask(self, query: Query) -> _Ask:
        """The cheapest way: nothing at all, a search, what changed since, the whole list."""
        thing = self._object(query.object)
        found = [where for where in query.where if not where.values or self._finds(thing, where)]
        if found:
            return _Ask(query.object, min(found, key=lambda where: len(where.values)))
        if thing.upserts and query.where and thing.keys.id not in {where.field for where in query.where}:
            return _Ask(query.object, Where(query.where[0].field, ()))  # none that would be made twice
        if thing.list is None:
            asked = f" by {', '.join(where.field for where in query.where)}" if query.where else ""
            raise SetupError(
                f"{self.name}: {query.object} cannot be read{asked}; its api file has {self._has(query.object)}"
            )
        window, how = query.window, thing.list.since
        if window is None or (window.field or thing.keys.stamp) != thing.keys.stamp:
            return _Ask(query.object, None)
        low = canon.parse(window.after[0], assume_utc=True) if window.after else window.since
        return _Ask(query.object, None, rows.since(low, how), rows.since(window.until, how, up=True))

    def _finds(self, thing: Object, where: Where) -> Lister | None:
        """The search by this field, if it finds all that `where` means."""
        find = thing.find.get(where.field)
        return find if find and None not in where.values and (find.folds or not where.fold) else None

    def _asked(self, ask: _Ask) -> Iterator[list[Row]]:
        thing, forms = self._api.objects[ask.object], self._forms[ask.object]
        if ask.where is None:
            assert thing.list  # noqa: S101 - else there would be no such ask
            yield from listed(self._session, thing, thing.list, {"since": ask.since, "until": ask.until}, forms)
        elif find := self._finds(thing, ask.where):
            seen = set[str]()
            for values in _values(find, ask.where):
                for some in listed(self._session, thing, find, values, forms):
                    yield [each for each in some if each[thing.keys.id] not in seen]
                    seen |= {each[thing.keys.id] for each in some}

    def _chosen(self, query: Query, pages: Iterable[list[Row]]) -> Iterator[list[Row]]:
        keys, forms, name = self.keys(query.object), self._forms[query.object], f"{self.name}: {query.object}"
        kept = (list(rows.holding(query, some, keys, forms)) for some in pages)
        if query.window or query.order:
            whole = rows.ordered(query, [each for some in kept for each in some], keys, name)
            kept = (whole[at : at + PAGE] for at in range(0, len(whole), PAGE))
        for some in kept:
            yield [rows.projected(query, each, keys) for each in some]

    def _object(self, name: str) -> Object:
        if name not in self._api.objects:
            raise Drifted(f"{self.name}: its api file has no object {name}{near(name, self._api.objects)}")
        return self._api.objects[name]

    def _has(self, name: str) -> str:
        return ", ".join(word for word in CALLS if word in self._calls[name]) or "no calls for it"


def _values(find: Lister, where: Where) -> Iterator[dict[str, Any]]:
    """What goes into each call of a search. No record is found by a value that no address can hold."""
    wanted = list(dict.fromkeys(where.values))
    if find.batch:
        yield from ({"values": wanted[at : at + find.batch]} for at in range(0, len(wanted), find.batch))
    elif "{value}" in find.call.path:
        yield from ({"value": value} for value in wanted if value not in ("", ".", ".."))
    else:
        yield from ({"value": value} for value in wanted)
