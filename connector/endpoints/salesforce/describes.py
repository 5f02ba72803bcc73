"""What objects look like: describes, kept from run to run and compared with the org's in the call that needs them."""

from __future__ import annotations

import json
from collections.abc import Iterable, MutableMapping, Sequence
from urllib.parse import quote

from connector.endpoints.salesforce import soql as words
from connector.endpoints.salesforce.session import Ask, Part, Session
from connector.endpoints.wire import NOT_MODIFIED
from connector.errors import Drifted, Unavailable
from connector.model import Query, Shape
from connector.shape import dump, shape_of

SUBREQUESTS = 25
"""The most that one composite call takes."""


class Describes:
    """`shapes` are known, if perhaps not the newest; `checked` were compared with the org's, `fresh` came with the last call."""

    def __init__(self, session: Session, cache: MutableMapping[str, str], version: str) -> None:
        self.shapes: dict[str, Shape] = {}
        self.checked: set[str] = set()
        self.fresh: set[str] = set()
        self._session, self._cache = session, cache
        self._prefix = f"describe {session.host} {version} "
        self._modified: dict[str, str] = {}

    def shape(self, name: str) -> Shape:
        if name not in self.shapes:
            self.know([Query(name)])
        return self.shapes[name]

    def text(self, name: str) -> str:
        """A describe as a file of `mappings/shapes` holds it."""
        return dump(json.loads(self._cache[self._prefix + name])["describe"])

    def know(self, queries: Sequence[Query]) -> set[str]:
        """The objects that these queries touch. Their shapes are known afterwards."""
        while True:
            names = set[str]().union(*(words.objects(query, self.shapes) for query in queries))
            if names <= self.shapes.keys():
                return names
            for name in names - self.shapes.keys():
                if kept := self._cache.get(self._prefix + name):
                    entry = json.loads(kept)
                    self.shapes[name], self._modified[name] = shape_of(entry["describe"]), entry["modified"]
            self.check(sorted(names - self.shapes.keys()))

    def check(self, names: Iterable[str], *, whole: bool = False) -> None:
        """With `whole`, not only if the org says that they have changed: to lose a right may not count as a change."""
        names = list(dict.fromkeys(names))
        for name in names if whole else ():
            self._modified.pop(name, None)
        self.ask([], names)

    def ask(self, queries: Sequence[Ask], check: Sequence[str]) -> list[Part]:
        """The answers to queries; and the shapes of `check` brought up to date in the same call, if there is room."""
        names = list(dict.fromkeys(check))
        while len(names) + len(queries) > SUBREQUESTS:
            self.ask([], names[:SUBREQUESTS])
            names = names[SUBREQUESTS:]
        asks = []
        for name in names:
            since = self._modified.get(name)
            headers = {"If-Modified-Since": since} if since else {}
            asks.append(Ask(f"/sobjects/{quote(name, safe='')}/describe", headers=headers))
        asks += queries
        parts = self._session.read(asks) if asks else []
        self.fresh = set()
        for name, part in zip(names, parts, strict=False):
            self._learn(name, part)
        return parts[len(names) :]

    def _learn(self, name: str, part: Part) -> None:
        if part.status == 404:
            raise Drifted(f"{self._session.host} has no object {name}, or its integration user may not see it")
        if part.error:
            raise part.error
        if part.status != NOT_MODIFIED:
            try:
                describe = json.loads(dump(part.body))
                self.shapes[name], self._modified[name] = shape_of(describe), part.modified
            except (KeyError, TypeError, AttributeError):
                raise Unavailable(f"{self._session.host} described {name} in a way that cannot be read") from None
            self._cache[self._prefix + name] = json.dumps({"modified": part.modified, "describe": describe})
            self.fresh.add(name)
        self.checked.add(name)
