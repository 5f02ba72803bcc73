"""The pages of a list, to its end and no further: a list that does not hold together, or never ends, fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connector.endpoints.http.api import Lister, Look, Object, Place
from connector.endpoints.http.call import Values
from connector.endpoints.http.rows import Form, row
from connector.endpoints.http.session import Answer, Session
from connector.model import Row

STALE = 3
"""Pages in a row with nothing but known records: rows that move while one reads cause one or two, not three."""


def listed(
    session: Session, thing: Object, lister: Lister, values: Values, forms: Mapping[Place, Form]
) -> Iterator[list[Row]]:
    """Rows page by page, each id once: the one that was read first, for a later change has a later stamp."""
    seen, stale, key = set[str](), 0, thing.keys.id
    for answer, records in _pages(session, lister, values):
        try:
            rows = [row(thing, record, forms) for record in records]
        except ValueError as error:
            raise answer.odd(f"with {error}") from None
        new = []
        for each in rows:
            if each[key] not in seen:
                seen.add(each[key])
                new.append(each)
        stale = stale + 1 if rows and not new else 0
        if stale == STALE:
            raise answer.odd(f"with the same {thing.name} again, page after page")
        yield new


def _pages(session: Session, lister: Lister, values: Values) -> Iterator[tuple[Answer, list[Any]]]:
    known, came, link, cursor = set[str](), 0, None, None
    used = lister.call.holes
    for number in range(lister.first, lister.first + lister.most):
        more = {**values, "page": number, "offset": came, "cursor": cursor}
        answer = session.read(lister.call, more, link=link, none=lister.none)
        if answer.reply.status in lister.none:
            return
        records = lister.items(answer.body)
        if not isinstance(records, list):
            raise answer.odd(f"with {_kind(records)} where the list of records should be")
        yield answer, records
        came += len(records)
        announced = _total(answer, lister.total)
        if lister.link or lister.next:
            following = _following(answer, lister.link or lister.next)
            end = following is None
            if following is not None and following in known:
                raise answer.odd("with a next page that was there before: the list would never end")
            known.add(following or "")
            link, cursor = (following, None) if lister.link else (None, following)
        else:
            end = not {"page", "offset"} & used or (not records and lister.more is None)
        if announced is not None and came >= announced:
            return
        if lister.more:
            end = end or not _more(answer, lister.more)
            if not (end or records) and "offset" in used:
                raise answer.odd("with nothing, and said that there is more")
        if end and announced is not None:
            raise answer.odd(f"and said that there are {announced} records, but gave {came}")
        if end:
            return
    raise answer.odd(f"and is not at its end after {lister.most} pages")


def _following(answer: Answer, where: Look | None) -> str | None:
    value = where(answer.body) if where else None
    if value in (None, "", False):
        return None
    if isinstance(value, str) or type(value) is int:
        return str(value)
    raise answer.odd(f"with {_kind(value)} where it should say the next page")


def _total(answer: Answer, where: Look | None) -> int | None:
    value = where(answer.body) if where else None
    if where and type(value) is not int:
        raise answer.odd(f"with {_kind(value)} where it should say how many records there are")
    return value


def _more(answer: Answer, where: Look) -> bool:
    value = where(answer.body)
    if not isinstance(value, bool):
        raise answer.odd(f"with {_kind(value)} where it should say whether there is more")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")
