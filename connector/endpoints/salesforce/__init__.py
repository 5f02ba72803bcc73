"""A Salesforce org as an Endpoint, over its REST API.

A poll is one composite call: up to five queries, and beside them the describes they rely on, revalidated. Writes are
collections of 200, five to a composite call, each row for itself. Large windows are read by Bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from connector.endpoints.forms import FORMS, list_below
from connector.endpoints.salesforce import soql as words
from connector.endpoints.salesforce.describes import Describes
from connector.endpoints.salesforce.reading import Reader
from connector.endpoints.salesforce.session import WRITING, Session
from connector.endpoints.salesforce.signin import app
from connector.endpoints.salesforce.writing import Writer
from connector.endpoints.wire import Transport
from connector.errors import Drifted
from connector.model import Change, Clock, Column, Keys, Page, Query, Row, Shape, Written
from connector.vault import Vault


class Salesforce:
    """`settings`: login, auth, version, duplicates, budget.

    `cache` keeps describes from run to run, `vault` what a person has allowed.
    """

    settle = WRITING

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        clock: Clock,
        cache: MutableMapping[str, str] | None = None,
        vault: Vault | None = None,
        transport: Transport | None = None,
    ) -> None:
        version = str(settings.get("version", "66.0"))
        kept = reserve(settings.get("budget") or {})
        self._session = Session(
            app(name, settings), version, clock=clock, vault=vault, reserve=kept, transport=transport
        )
        self._describes = Describes(self._session, {} if cache is None else cache, version)
        self._reader = Reader(self._session, self._describes, clock)
        self._writer = Writer(self._session, self._describes.shape, clock, settings.get("duplicates", "refuse"))

    @property
    def calls(self) -> int:
        return self._session.calls

    def now(self) -> datetime:
        return self._session.time()

    def close(self) -> None:
        self._session.close()

    # ---- what objects look like --------------------------------------------------------------------------

    def describe(self, names: Sequence[str], *, fresh: bool = True) -> dict[str, Shape]:
        if fresh:
            self._describes.check(name for name in names if name not in self._describes.checked)
        return {name: self._describes.shape(name) for name in names}

    def recorded(self, names: Sequence[str]) -> dict[str, str]:
        """By object: its describe as a file of `mappings/shapes` holds it, fresh from the org."""
        self._describes.check(names)
        return {name: self._describes.text(name) for name in names}

    def keys(self, name: str) -> Keys:
        shape = self._describes.shape(name)
        return Keys("Id", words.stamp_of(shape), "CreatedDate" if "CreatedDate" in shape.fields else None)

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:  # noqa: ARG002
        """By the shape as last seen, which costs no call; only what looks wrong there is asked for anew."""
        if self._unwritable(name, columns, keys) and name not in self._describes.checked:
            self._describes.check([name])
        if wrong := self._unwritable(name, columns, keys):
            raise wrong

    def _unwritable(self, name: str, columns: Sequence[Column], keys: Sequence[str]) -> Drifted | None:
        shape = self._describes.shape(name)
        written = tuple(dict.fromkeys(column.path[0] for column in columns))
        for first in written:
            field = shape.fields.get(first)
            if field and not (field.createable or field.updateable):
                why = "is calculated" if field.calculated else "may not be written by the integration user"
                return Drifted(f"{name}.{first} {why}; the mapping writes it")
        return words.gone(Query(name, (*written, *keys)), self._describes.shapes)

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:
        return list_below(self._describes.shape(query.object), child, on)

    def canonical(self, name: str, values: Row) -> Row:
        shape, made = self._describes.shape(name), dict[str, Any]()
        for key, value in values.items():
            if isinstance(value, dict) and (parent := words.parent_of(shape, key)):
                made[key] = self.canonical(parent, value)
            else:
                form = FORMS.get(shape.fields[key].type) if key in shape.fields else None
                made[key] = None if value in ("", None) else form(value) if form else value
        return made

    # ---- rows --------------------------------------------------------------------------------------------

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        return self._reader.read(queries)

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """Raises only while nothing can have been written; later on, a failed call is the answer of its rows."""
        return self._writer.write(changes)


def reserve(budget: Mapping[str, Any]) -> Callable[[int], int]:
    """How many of so many calls of 24 hours the connection leaves to others: `budget: {reserve: 10%}`, or a number."""
    kept = str(budget.get("reserve", "5%"))
    if kept.endswith("%"):
        return lambda most: most * int(kept[:-1]) // 100
    return lambda most: min(int(kept), most)
