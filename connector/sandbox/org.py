"""The org: its schema, rows, clock, sessions, bill and faults, and what a test may do to them from Python."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connector.sandbox import access, ids, kept, metadata, plans, recycle, tree
from connector.sandbox import rules as demands
from connector.sandbox import users as accounts
from connector.sandbox.billing import Billing
from connector.sandbox.bulk.jobs import Jobs
from connector.sandbox.cursors import Cursors
from connector.sandbox.faults import Fault, Faults, Status, Verb
from connector.sandbox.files.makers import MAKERS
from connector.sandbox.files.shapes import with_files
from connector.sandbox.late import Late
from connector.sandbox.metadata import recordtypes
from connector.sandbox.oauth import apps
from connector.sandbox.oauth.authorize import Authorizations, Consent
from connector.sandbox.records import Records
from connector.sandbox.schema import SHOWN, Object, Schema, schema
from connector.sandbox.scopes import Context
from connector.sandbox.sessions import Session, Sessions
from connector.sandbox.store import Store
from connector.sandbox.users import User

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
        clients: Mapping[str, str | Mapping[str, Any] | None] | None = None,
        token_seconds: float = 7200,
        users: Iterable[Mapping[str, Any]] = (),
        api_bursts: int | None = None,
    ) -> None:
        self.schema = schema(metadata.completed(with_files(shapes)))
        self.clock = clock or real_time
        self.frozen: datetime | None = None
        self.page_size = page_size
        self.origin = ""  # where the request at hand came to
        self.store = Store(self.schema, path)
        self.has_file = path is not None
        known = kept.read(self.store)
        self.records = Records(self.schema, self.store)
        self.records.makers = MAKERS
        self.late = Late(self.schema, self.store)
        self.cursors = Cursors(self.store)
        named = {"sandbox": "sandbox"} if clients is None and not known else clients or {}
        self.registered = {**known.get("clients", {}), **named}
        self.demands: dict[str, dict[str, Any]] = {}  # the rules of each object as they were given
        try:
            made = {name: apps.client(name, given) for name, given in self.registered.items()}
        except BaseException:
            self.store.close()
            raise
        self.sessions = Sessions(made, token_seconds)
        self.authorizations = Authorizations()
        self.users: dict[str, User] = {}  # by id; the first is who clients without a user of their own run as
        self.seen: dict[str, Schema] = {}  # by user
        limited = self.sessions.clients.values()
        self.billing = Billing(
            api_limit,
            {known.id: (known.name or known.id, known.daily_limit) for known in limited if known.daily_limit},
            api_bursts,
        )
        self.faults = Faults()
        self.jobs = Jobs()
        self.calls: list[tuple[str, str, bool]] = []
        self.queries: list[str] = []
        self.modified = {name: self._modified(shape) for name, shape in self.schema.objects.items()}
        try:
            self._people([accounts.INTEGRATION, *map(accounts.user, [*known.get("users", ()), *users])])
            self._record_types()
            kept.restore(self, known)
        except BaseException:
            self.store.close()
            raise

    def keep(self) -> None:
        """Write into the org's file what has changed of its set-up."""
        if self.has_file:
            with self.store.lock:
                kept.write(self)

    def close(self) -> None:
        self.keep()
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

    def load(self, rows: Iterable[Mapping[str, Any]], *, late: float | None = None) -> list[str]:
        """Insert or change rows with the ids and system fields given; the ids, in order. With `late`, they are seen only
        so many seconds from now, with the stamps of now."""
        with self._writing(late):
            return self.records.load(rows, self.now())

    def edit(self, object: str, id: str, fields: Mapping[str, Any], *, late: float | None = None) -> None:  # noqa: A002  the words of the API
        with self._writing(late):
            self.records.edit(object, id, fields, self.now())

    def delete(self, object: str, id: str, *, late: float | None = None) -> None:  # noqa: A002
        with self._writing(late):
            recycle.remove(self.records, object, id, self.now())

    def undelete(self, object: str, id: str) -> None:  # noqa: A002
        with self._writing(None):
            recycle.undelete(self.records, object, id, self.now())

    def merge(
        self,
        object: str,  # noqa: A002
        master: str,
        losers: Sequence[str],
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """The losers' children become the master's, the losers go into the bin; the master takes the fields given."""
        if isinstance(losers, str) or not isinstance(losers, Sequence):
            raise ValueError("losers is a list of ids")  # noqa: TRY004  one kind of error
        with self._writing(None):
            recycle.merge(self.records, object, master, losers, self.now(), fields or {})

    @contextmanager
    def _writing(self, late: float | None) -> Iterator[None]:
        self.settle()
        with self.store.transaction():
            if late is None:
                yield
            else:
                with self.late.hold(self.now() + timedelta(seconds=late)):
                    yield

    def settle(self) -> None:
        """Let late commits be seen whose time has come."""
        with self.store.lock:
            self.late.settle(self.now())

    def rows(self, object: str) -> list[dict[str, Any]]:  # noqa: A002
        """Live rows in the order of their creation, every field, values as JSON shows them."""
        self.settle()
        shape = self.records.known(object)
        select = tree.whole_row(shape.name, tuple(field.name for field in shape.fields if field.type in SHOWN))
        with self.store.transaction():
            plan = plans.plan(select, self.context("", "66.0"))
            numbers = sorted(self.store.numbers(plan.numbers, plan.parameters))
            texts = self.store.records(plan.records, plan.parameters, numbers)
        found = [json.loads(text) for text in texts]
        return [{key: value for key, value in row.items() if key != "attributes"} for row in found]

    def rules(
        self,
        object: str,  # noqa: A002
        *names: str,
        validations: Iterable[Mapping[str, Any]] = (),
        duplicates: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Switch on what the org demands of this object's writes: required, length, picklist, unique. Nothing: all off."""
        shape = self.records.known(object)
        made = demands.rules(shape, names, validations, duplicates)
        self.records.rules[shape.name] = demands.OFF if made == demands.OFF else made
        self.demands[shape.name] = {"on": names, "validations": validations, "duplicates": duplicates}

    def lock(self, object: str, id: str, writes: int = 1) -> None:  # noqa: A002
        """The next writes to the row, or to a row that refers to it, find it locked by somebody else."""
        if isinstance(writes, bool) or not isinstance(writes, int):
            raise ValueError(f"writes is a number, not {writes!r}")  # noqa: TRY004  one kind of error
        found = self.records.known_id(self.records.known(object), id)
        with self.store.lock:
            self.records.locks[found] = writes

    # -- people

    def find_user(self, username: str) -> User | None:
        return next((user for user in self.users.values() if user.username.lower() == username.lower()), None)

    def user(self, username: str) -> User:
        found = self.find_user(username) if isinstance(username, str) else None
        if found is None:
            raise ValueError(f"the org has no user {username!r}")
        return found

    def is_active(self, user: User) -> bool:
        """The row decides, so that an administrator can switch a user off."""
        shape = self.schema.object("User")
        row = self.store.get(shape, user.id) if shape else None
        return row is None or row.get("IsActive") != "false"

    def permit(
        self,
        username: str,
        objects: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        hard_delete: bool | None = None,
    ) -> None:
        """Hide objects and fields from a user (none), make them read-only (read), give them back (all); let bulk jobs delete
        past the recycle bin."""
        changed = accounts.permitted(self.user(username), objects, fields, hard_delete)
        accounts.check(changed, self.schema)
        with self.store.lock:
            self._know(changed)
            moment = self.now().replace(microsecond=0)
            for name in {name.partition(".")[0].lower() for name in (*(objects or ()), *(fields or ()))}:
                self.modified[name] = moment  # a describe that is known already is out of date

    def consent(self, answer: Consent, username: str | None = None) -> None:
        """What the authorize page does: ask (show itself), or allow or deny in the user's place."""
        if answer not in ("ask", "allow", "deny"):
            raise ValueError(f"no consent {answer!r}: ask, allow or deny")
        user = self.user(username) if username is not None else None
        with self.store.lock:
            self.authorizations.consent = answer
            self.authorizations.consenting = user.username if user else None

    def seen_by(self, session: Session, origin: str = "", *, allow_duplicates: bool = False) -> "Org":
        """The same org as the session's user sees it: one request's view, which shares everything but the schema."""
        own = copy(self)
        own.schema = self.seen[session.user]
        own.origin = origin or self.origin
        own.records = self.records.on_behalf(session.user, allow_duplicates=allow_duplicates)
        return own

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
        path: str | None = None,
        nth: int = 1,
        rate: float = 1.0,
        seed: int = 0,
        seconds: float = 1.0,
        body: str | None = None,
    ) -> None:
        """What happens to the next `times` requests (None: all) that touch the object and fit verb and path.

        status: a number, or a word of faults.Named or faults.Wire. nth: the first one that is struck. rate and seed: struck
        at random. seconds: how long a trickled answer takes, how much later a late write is seen. body: HTML to answer with.
        """
        name = None if object is None else self.records.known(object).name
        made = Fault(name, verb, status, times, code, message, path, nth, rate, seed, seconds, body)
        with self.store.lock:
            self.faults.add(made)

    def bulk(self, polls: int) -> None:
        """How often a bulk job is looked at in each state before it moves on."""
        if not isinstance(polls, int) or polls < 0:
            raise ValueError(f"polls is a number from 0, not {polls!r}")
        self.jobs.polls = polls

    def revoke_tokens(self) -> None:
        with self.store.lock:
            self.sessions.live.clear()

    @property
    def billed(self) -> int:
        return self.billing.total

    # -- for the endpoints

    def context(self, query: str, version: str, *, deleted: bool = False, page: int | None = None) -> Context:
        user, size = self.users[self.records.user], page or self.page_size
        today = self.now().astimezone(ZoneInfo(user.time_zone)).date()
        return Context(self.schema, query, version, today, deleted, size, user.id, user.time_zone, user.locale)

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

    def _people(self, people: Iterable[User]) -> None:
        """Users sign in; where the org has the object, each has a row, which an org kept in a file keeps as it is."""
        shape = self.schema.object("User")
        for place, person in enumerate(people, 1):
            same = self.store.matching(shape, shape.by_name["username"], person.username) if shape else []
            known = self.find_user(person.username)
            made = self.store.new_id(shape) if shape else ids.make("005", place)
            found = replace(person, id=person.id or (known.id if known else same[0] if same else made))
            accounts.check(found, self.schema)
            self._know(found)
            if shape and not self.store.exists(shape, found.id):
                given = {name: value for name, value in found.row().items() if shape.field(name)}
                self.load([{"object": shape.name, **given}])
        for client in self.sessions.clients.values():
            for name in (*(client.approved or ()), *([client.run_as] if client.run_as else ())):
                self.user(name)

    def _know(self, user: User) -> None:
        self.users[user.id] = user
        self.seen[user.id] = access.seen_by(self.schema, user)

    def _record_types(self) -> None:
        shape = self.schema.object(recordtypes.NAME)
        made = [each for known in self.schema.objects.values() for each in recordtypes.of(known.raw)]
        if shape is not None:
            self.load([each.row() for each in made if not self.store.exists(shape, each.id)])
