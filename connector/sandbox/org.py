"""The org: its schema, rows, clock, sessions, bill and faults, and what a test may do to them from Python."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector.sandbox import plans, soql
from connector.sandbox.billing import Billing
from connector.sandbox.cursors import Cursors
from connector.sandbox.faults import Fault, Faults, Status, Verb
from connector.sandbox.records import RULES, Records
from connector.sandbox.schema import COMPOUND, STORED, Object, schema
from connector.sandbox.sessions import USER_ID, Sessions
from connector.sandbox.store import Store

Clock = Callable[[], datetime]

# When a shape first seen counts as last changed: long ago, so that an org with an old clock serves 304 as well.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def real_time() -> datetime:
    return datetime.now(UTC)


class Org:
    """One Salesforce org in a SQLite database (in memory, or a file that outlives it)."""

    def __init__(
        self,
        shapes: Iterable[Mapping[str, Any]],
        path: str | Path | None = None,
        clock: Clock | None = None,
        page_size: int = 2000,
        api_limit: int = 15000,
        clients: Mapping[str, str] | None = None,
        token_seconds: float = 7200,
    ) -> None:
        self.schema = schema(shapes)
        self.clock = clock or real_time
        self.frozen: datetime | None = None
        self.page_size = page_size
        self.store = Store(self.schema, path)
        self.records = Records(self.schema, self.store)
        self.cursors = Cursors(self.store)
        self.sessions = Sessions({"sandbox": "sandbox"} if clients is None else clients, token_seconds)
        self.billing = Billing(api_limit)
        self.faults = Faults()
        self.calls: list[tuple[str, str, bool]] = []
        self.queries: list[str] = []
        self.modified = {name: self._modified(shape) for name, shape in self.schema.objects.items()}
        self._first_user()

    def close(self) -> None:
        self.store.close()

    # -- the clock

    def now(self) -> datetime:
        return self.frozen if self.frozen is not None else self.clock().astimezone(UTC)

    def set_clock(self, moment: datetime | None) -> None:
        """Stop the org's clock at a moment; None lets it go on by the clock it was made with."""
        if moment is not None and moment.tzinfo is None:
            raise ValueError("the org's clock needs a time zone")
        self.frozen = None if moment is None else moment.astimezone(UTC)

    # -- rows, as a fixture or a user in the UI

    def load(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Insert or change rows with the ids and system fields given; the ids, in order."""
        with self.store.transaction():
            return self.records.load(rows, self.now())

    def edit(self, object: str, id: str, fields: Mapping[str, Any]) -> None:  # noqa: A002  the words of the API
        with self.store.transaction():
            self.records.edit(object, id, fields, self.now())

    def delete(self, object: str, id: str) -> None:  # noqa: A002
        with self.store.transaction():
            self.records.remove(object, id, self.now())

    def rows(self, object: str) -> list[dict[str, Any]]:  # noqa: A002
        """Live rows in the order of their creation, every field, values as JSON shows them."""
        shape = self.records.known(object)
        paths = tuple(soql.Path((field.name,), 0) for field in shape.fields if field.type in STORED | COMPOUND)
        select = soql.Select(paths, False, soql.Path((shape.name,), 0), None, None, (), None, 0)
        with self.store.transaction():
            plan = plans.plan(select, self.context("", "66.0"))
            numbers = sorted(self.store.numbers(plan.numbers, plan.parameters))
            texts = self.store.records(plan.records, plan.parameters, numbers)
        found = [json.loads(text) for text in texts]
        return [{key: value for key, value in row.items() if key != "attributes"} for row in found]

    def rules(self, object: str, *names: str) -> None:  # noqa: A002
        """Switch on what the org demands of this object's writes: required, length, picklist. No names: all off."""
        unknown = set(names) - RULES
        if unknown:
            raise ValueError(f"no rule {', '.join(sorted(unknown))}: the org knows {', '.join(sorted(RULES))}")
        self.records.rules[self.records.known(object).name] = frozenset(names)

    # -- trouble

    def fault(
        self,
        object: str | None = None,  # noqa: A002
        verb: Verb = "any",
        status: Status = 503,
        times: int | None = 1,
        *,
        code: str | None = None,
        message: str | None = None,
    ) -> None:
        """The next `times` requests (None: all) that touch the object answer this status instead."""
        name = None if object is None else self.records.known(object).name
        with self.store.lock:
            self.faults.add(Fault(name, verb, status, times, code, message))

    def revoke_tokens(self) -> None:
        with self.store.lock:
            self.sessions.live.clear()

    @property
    def billed(self) -> int:
        return self.billing.total

    # -- for the endpoints

    def context(self, query: str, version: str, *, deleted: bool = False, page: int | None = None) -> plans.Context:
        return plans.Context(self.schema, query, version, self.now().date(), deleted, page or self.page_size)

    def _modified(self, shape: Object) -> datetime:
        """When the shape last changed: kept with the file, so that a restart alone never re-sends a describe."""
        digest = hashlib.sha256(json.dumps(shape.raw, sort_keys=True).encode()).hexdigest()
        key = f"shape {shape.name}"
        known, _, since = (self.store.meta(key) or "").partition(" ")
        if known == digest:
            return datetime.fromisoformat(since)
        moment = self.now().replace(microsecond=0) if known else _LONG_AGO
        self.store.set_meta(key, f"{digest} {moment.isoformat()}")
        return moment

    def _first_user(self) -> None:
        """The user that every client runs as, where the org has users at all."""
        user = self.schema.object("User")
        if user is None or self.store.exists(user, USER_ID):
            return
        row = {"Id": USER_ID, "FirstName": "Integration", "LastName": "User", "Username": "integration@sandbox.example"}
        more = {"Email": "integration@sandbox.example", "Alias": "integ", "IsActive": True}
        given = {name: value for name, value in {**row, **more}.items() if user.field(name)}
        self.load([{"object": "User", **given}])
