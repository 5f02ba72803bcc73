"""Read: up to five queries in one call, page by page, found again by keyset where a place is lost; many rows by Bulk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from connector.endpoints.salesforce import bulk
from connector.endpoints.salesforce import soql as words
from connector.endpoints.salesforce.codes import LostPlace
from connector.endpoints.salesforce.decoding import Form, decoder, fields, form
from connector.endpoints.salesforce.describes import Describes
from connector.endpoints.salesforce.session import Ask, Part, Session
from connector.errors import Drifted, Unavailable
from connector.model import Clock, Page, Query, Row

QUERIES = 5
"""The most that one composite call takes of them."""
MANY = 10_000
"""Rows of a window from which on a Bulk job costs fewer calls than pages of 2,000 do."""
MERGED = 1_000
"""Rows of a page that is put together from several queries."""
_ATTEMPTS = 4
_JOBS = 2
"""So often a Bulk job is tried, in a row; what remains is read in pages."""

Pages = Iterator[tuple[list[Row], bool]]
"""Rows, and whether they are the last."""


class Reader:
    def __init__(self, session: Session, describes: Describes, clock: Clock) -> None:
        self._session, self._describes, self._clock = session, describes, clock

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        names = self._describes.know(queries)
        parts = [words.split(query, self._describes.shapes) for query in queries]
        poll = any(query.window for query in queries)  # once a poll every shape in use is compared with the org's
        check = sorted(name for name in names if poll or name not in self._describes.checked)
        answers = self._answers([part for some in parts for part in some], check)
        for at, some in enumerate(parts):
            if not some:
                yield Page(at, [], last=True)
            if queries[at].window and len(some) > 1:
                for rows, end in self._merged(list(islice(answers, len(some)))):
                    yield Page(at, rows, last=end)
                continue
            for left, (part, body) in zip(range(len(some) - 1, -1, -1), answers, strict=False):
                for rows, end in self._pages(part, body):
                    yield Page(at, rows, last=end and not left)

    def _merged(self, parts: Sequence[tuple[Query, Any]]) -> Pages:
        """The pages of a window that was too long for one query, in its order: the place of a row says what was read."""
        stamp = words.window_field(parts[0][0], self._describes.shapes[parts[0][0].object])
        rows = merge(*(self._rows(*part) for part in parts), key=lambda row: (str(row[stamp]), str(row["Id"])))
        held = list(islice(rows, MERGED))
        while following := list(islice(rows, MERGED)):
            yield held, False
            held = following
        yield held, True

    def _rows(self, query: Query, body: Any) -> Iterator[Row]:
        return (row for rows, _ in self._pages(query, body) for row in rows)

    def _answers(self, queries: Sequence[Query], check: Sequence[str]) -> Iterator[tuple[Query, Any]]:
        for at in range(0, len(queries), QUERIES):
            group = queries[at : at + QUERIES]
            yield from zip(group, self._first_pages(group, () if at else check), strict=True)

    def _first_pages(self, queries: Sequence[Query], check: Sequence[str]) -> list[Any]:
        """If the shapes turn out to be out of date, the queries are written anew from the fresh ones and asked again."""
        shapes = self._describes.shapes
        asked, parts = list[str](), list[Part]()
        while (paths := [_path(query, words.soql(query, shapes)) for query in queries]) != asked:
            asks = [
                Ask(path, decode=decoder(fields(query, shapes))) for path, query in zip(paths, queries, strict=True)
            ]
            asked, parts = paths, self._describes.ask(asks, check)
            if any(isinstance(part.error, Drifted) for part in parts):
                self._describes.check(sorted(self._describes.know(queries) - self._describes.fresh), whole=True)
            self._describes.know(queries)
            check = ()
        for query, part in zip(queries, parts, strict=True):
            if part.error:
                raise (isinstance(part.error, Drifted) and words.gone(query, shapes)) or part.error
        return [part.body for part in parts]

    def _pages(self, query: Query, body: Any) -> Pages:
        """Rows page by page, in our spelling. A place that is lost midway is found again by its keyset.

        Without a window there is no place to find again: such rows are handed out when all have come.
        """
        spelling, start = form(query, self._describes.shapes), query
        for attempt in range(_ATTEMPTS):
            held: list[tuple[list[Row], bool]] = []
            try:
                answer = self._first_pages([query], ())[0] if attempt else body
                for rows, last in self._fetched(query, spelling, answer, jobs=attempt < _JOBS):
                    held.append((spelling.alike(rows), last))
                    if query.window:
                        if rows:
                            query = self._behind(query, rows[-1])
                        yield held.pop()
                yield from held
            except LostPlace as error:
                lost = error
                if isinstance(error, bulk.Unordered):  # what was handed out has gaps
                    query = start
            else:
                return
        raise Unavailable(f"reading {query.object} was cut off {_ATTEMPTS} times: {lost}")

    def _behind(self, query: Query, row: Row) -> Query:
        if not query.window:
            return query
        place = (row[words.window_field(query, self._describes.shapes[query.object])], row["Id"])
        return replace(query, window=replace(query.window, after=place))

    def _fetched(self, query: Query, form: Form, body: Any, *, jobs: bool) -> Pages:
        """All pages behind a first one: by locator, or what is left of a window with many rows by a Bulk job."""
        pages = self._turned(form, body)
        rows, last = next(pages)
        large = jobs and rows and not last and self._large(query, body["totalSize"])
        rest = self._behind(query, rows[-1]) if large else None
        yield rows, last
        if rest:
            shape = self._describes.shapes[query.object]
            for rows, last in bulk.pages(self._session, self._clock, rest, shape, self._describes.shapes):
                form.tidy(rows)
                yield rows, last
        else:
            yield from pages

    def _large(self, query: Query, total: Any) -> bool:
        """Whether a job pays and can be asked: it knows no sub-selects."""
        able = query.window is not None and not query.children
        able = able and "Id" in words.columns(query, self._describes.shapes[query.object])
        return able and isinstance(total, int) and total > MANY

    def _turned(self, form: Form, body: Any) -> Pages:
        """The pages behind a first one, with the lists below their rows in full: as many rows as it announced."""
        count, total, more, name = 0, None, None, form.query.object
        while total is None or more:
            body = self._session.get(more, decoder(form.fields)) if more else body
            try:
                rows, more = body["records"], None if body["done"] else body["nextRecordsUrl"]
                total = body["totalSize"] if total is None else total
                count += len(rows)
                if more is None and count != total:
                    raise Unavailable(f"{self._session.host} announced {total} rows of {name} and gave {count}")
                form.spell(body, partial(self._below, form))
            except (KeyError, TypeError):
                raise Unavailable(f"{self._session.host} answered a query of {name} with half a page") from None
            yield rows, more is None

    def _below(self, form: Form, name: str, body: Any) -> list[Row]:
        """A list below a row in full. Nearly always it came whole with the row."""
        below = form.below[name]
        match body:
            case {"done": True, "records": list(rows), "totalSize": total} if total == len(rows) and not below.below:
                below.tidy(rows)
            case _:
                rows = [row for rows, _ in self._turned(below, body) for row in rows] if body else []
        return below.alike(rows)


def _path(query: Query, text: str) -> str:
    return f"/{'queryAll' if query.deleted else 'query'}?q={quote(text, safe='')}"
