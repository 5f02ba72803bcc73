"""Write: up to five collections of 200 rows in one billed call, each row for itself."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar
from urllib.parse import quote

import msgspec

from connector.endpoints.forms import rounds
from connector.endpoints.salesforce import files
from connector.endpoints.salesforce.codes import written
from connector.endpoints.salesforce.session import Ask, Part, Session
from connector.endpoints.wire import patiently
from connector.errors import EndpointError, RateLimited, Rejected, Unanswered, Unavailable
from connector.model import Change, Clock, Field, Row, Shape, Written

RECORDS, COLLECTIONS = 200, 5
"""The most that one collection takes, and one composite call of collections."""
SIZE = 20_000_000
"""Bytes of one call; the org takes 50 MB."""
DUPLICATES: Mapping[str, Mapping[str, str]] = {
    "refuse": {},
    "allow": {"Sforce-Duplicate-Rule-Header": "allowSave=true"},
}
"""What a write says to the org's duplicate rules, by the connection's `duplicates`."""
_SPOILS = {"JSON_PARSER_ERROR", "MALFORMED_ID", "INVALID_ID_FIELD", "INVALID_VALUE"}
"""A collection with one value that the org, or JSON, cannot hold at all is refused as a whole, with one of these."""
_OWNERS = {"User", "Group", "RecordType"}
"""What nearly every record refers to: a write to the record locks none of them."""

Answers = dict[int, Written]
T = TypeVar("T")


class Collection(msgspec.Struct, frozen=True):
    """Rows that go together, by their place among the changes, with their size in bytes; `alone`: in no composite."""

    method: str
    path: str
    rows: Mapping[int, Change]
    size: int
    alone: bool = False


class Writer:
    def __init__(self, session: Session, shape: Callable[[str], Shape], clock: Clock, duplicates: str) -> None:
        self._session, self._shape, self._clock = session, shape, clock
        self._headers = DUPLICATES[duplicates]

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """Raises only while nothing can have been written; later on, a failed call is the answer of its rows."""
        answers, unfit = Answers(), Answers()
        calls = deque(call for each in rounds(changes, apart=False) for call in self._calls(each, unfit))
        while calls:
            call, spoilt = calls.popleft(), list[Collection]()
            try:
                patiently(partial(self._send, call, answers, spoilt), self._clock)
            except EndpointError as error:
                left = _open(call, answers, spoilt)
                # what was lost may be there, and what was partly answered is over: the next call can still be made
                if not (isinstance(error, Unanswered) or spoilt or any(at in answers for at in _places(call))):
                    if not answers:
                        raise
                    left += [at for each in calls for at in _places(each)]  # nothing goes now
                    calls.clear()
                answers |= {at: Written(changes[at].id, error) for at in left}
            calls.extendleft(reversed(_packed([half for each in spoilt for half in _halves(each)])))
        answers |= unfit
        return [answers[at] for at in range(len(changes))]

    # ---- what goes together ------------------------------------------------------------------------------

    def _calls(self, changes: Mapping[int, Change], unfit: Answers) -> list[list[Collection]]:
        """Rows of one kind, and of one parent, next to each other: the org locks a parent while it writes a child, and
        runs the collections of a call one after the other. Files go one by one; values that JSON lacks go nowhere.
        """
        keyed, sizes = [], dict[int, int]()
        for at, change in changes.items():
            try:
                in_place_of = files.unread if change.verb == "create" else None
                text = json.dumps(change.values, ensure_ascii=False, allow_nan=False, default=in_place_of)
                sizes[at] = len(text.encode())
            except (TypeError, ValueError, RecursionError) as error:
                said = f"{self._session.host} cannot be told a value of this {change.object}: {error}"
                unfit[at] = Written(change.id, Rejected(said, "INVALID_VALUE"))
                continue
            keyed.append((self._kind(change, referring="@{" in text), self._parents(change), at))
        keyed.sort()
        made = []
        for (alone, method, path), some in groupby(keyed, key=lambda each: each[0]):
            size = 1 if path.startswith("/sobjects") else RECORDS
            made += [
                Collection(method, path, {at: changes[at] for at in chunk}, sum(sizes[at] for at in chunk), alone)
                for chunk in _chunks([at for *_, at in some], size)
            ]
        return _packed(made)

    def _kind(self, change: Change, *, referring: bool) -> tuple[bool, str, str]:
        """(alone, method, path). A text with `@{` would be a reference inside a composite call."""
        if files.held(change):
            return True, "POST", files.path(change)
        if change.verb != "create":
            return referring, "PATCH", "/composite/sobjects"
        key = self._upserted(change)
        path = f"/{quote(change.object, safe='')}/{quote(key, safe='')}" if key else ""
        return referring, "PATCH" if key else "POST", f"/composite/sobjects{path}"

    def _upserted(self, change: Change) -> str | None:
        """The external id by which a create is an upsert: no answer that is lost can make two rows of it."""
        field = self._shape(change.object).fields.get(change.key) if change.key else None
        unique = field is not None and field.external_id and field.unique
        return change.key if unique and change.key and change.values.get(change.key) not in (None, "") else None

    def _parents(self, change: Change) -> tuple[str, ...]:
        """The records that a write to this one may lock: masters, which a row must have, come first."""
        fields = self._shape(change.object).fields
        named = [fields[name] for name in change.values if name in fields and _refers(fields[name])]
        named.sort(key=lambda field: (field.nillable, field.name))
        return change.object, *(str(change.values[field.name] or "") for field in named)

    # ---- sending -----------------------------------------------------------------------------------------

    def _send(self, call: Sequence[Collection], answers: Answers, spoilt: list[Collection]) -> None:
        """Once those rows of a call that have no answer yet, or one that another try may change."""
        left = set(_open(call, answers, spoilt))
        todo = [(each, [at for at in each.rows if at in left]) for each in call]
        todo = [(each, places) for each, places in todo if places]
        if (first := todo[0][0]).path.startswith("/sobjects"):
            ((at, change),) = first.rows.items()
            answers[at] = files.write(self._session, change, self._headers)
            return
        parts = self._session.write([self._ask(each, places) for each, places in todo])
        for (each, places), part in zip(todo, parts, strict=True):
            if isinstance(part.error, Rejected) and part.error.reason in _SPOILS and len(each.rows) > 1:
                spoilt.append(each)
            else:
                answers |= zip(places, self._written([each.rows[at] for at in places], part), strict=True)
        for at in _open(call, answers, spoilt):  # the first one speaks for all of them
            raise answers[at].error or Unavailable

    def _ask(self, each: Collection, places: Sequence[int]) -> Ask:
        changes = [each.rows[at] for at in places]
        records: list[Row] = [
            {"attributes": {"type": one.object}, **one.values} | ({} if one.verb == "create" else {"id": one.id})
            for one in changes
        ]
        return Ask(each.path, each.method, self._headers, {"allOrNone": False, "records": records})

    def _written(self, changes: Sequence[Change], part: Part) -> list[Written]:
        """An answer for each row, in order; if they do not match the rows, nobody can tell which row has which."""
        error, results = part.error, part.body if isinstance(part.body, list) else []
        told = [isinstance(each, dict) and type(each.get("success")) for each in results]
        if error is None and told != [bool] * len(changes):
            error = Unanswered(f"{self._session.host} did not answer for each of {len(changes)} written records")
        if error is not None:
            return [Written(change.id, error) for change in changes]
        return [written(self._session.host, *pair) for pair in zip(changes, results, strict=True)]


def _refers(field: Field) -> bool:
    return bool(field.targets) and not _OWNERS & set(field.targets)


def _packed(collections: Sequence[Collection]) -> list[list[Collection]]:
    """As few calls as the limits allow."""
    calls: list[list[Collection]] = []
    size = 0
    for each in collections:
        size += each.size
        if not calls or each.alone or calls[-1][0].alone or len(calls[-1]) == COLLECTIONS or size > SIZE:
            calls.append([])
            size = each.size
        calls[-1].append(each)
    return calls


def _chunks(items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[at : at + size]) for at in range(0, len(items), size)]


def _halves(each: Collection) -> list[Collection]:
    half = -(-len(each.rows) // 2)
    rows = list(each.rows.items())
    return [Collection(each.method, each.path, dict(some), each.size // 2, each.alone) for some in _chunks(rows, half)]


def _places(call: Sequence[Collection]) -> Iterator[int]:
    return (at for each in call for at in each.rows)


def _open(call: Sequence[Collection], answers: Answers, spoilt: Sequence[Collection]) -> list[int]:
    """Those without an answer, or with one that another try may change: a locked row, for instance."""
    apart = set(_places(spoilt))
    return [at for at in _places(call) if at not in apart and (at not in answers or _transient(answers[at].error))]


def _transient(error: EndpointError | None) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, Unanswered | RateLimited)
