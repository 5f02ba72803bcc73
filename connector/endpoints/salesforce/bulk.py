"""Bulk API 2.0: one query as a job, its rows as CSV. Each cell becomes what the same field is in an answer of REST.

Whatever a job cannot do is a LostPlace: the reader goes on from its last row, in pages.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from connector.endpoints.salesforce import soql as words
from connector.endpoints.salesforce.codes import LostPlace
from connector.endpoints.salesforce.session import Session
from connector.endpoints.wire import Reply
from connector.errors import EndpointError, RateLimited
from connector.model import Clock, Query, Row, Shape

PAGE = 2_000
"""Rows that are handed out together: what a page of REST has."""
_RESULTS, _CELLS = 50_000, 2_000_000
"""Rows of one result call, and its cells: an answer is held in memory."""
_FIRST, _LONGEST, _GIVE_UP = 5.0, 60.0, 1_800.0
"""Seconds before the first look at a job, between two looks, and after which it is given up."""
_ID = re.compile(r"[0-9A-Za-z]{15,18}", re.ASCII)


class Unordered(LostPlace):
    """The rows did not come in the order that was asked for, so that no place in them says which came before."""


def pages(
    session: Session, clock: Clock, query: Query, shape: Shape, shapes: words.Shapes
) -> Iterator[tuple[list[Row], bool]]:
    """All rows of a windowed query in pages as REST spells them; an empty last one closes them."""
    columns = words.columns(query, shape)
    parents = dict.fromkeys(
        ".".join(path.split(".")[:depth]) for path in columns for depth in range(1, path.count(".") + 1)
    )
    # An empty cell does not tell whether a parent or only its field is missing; the parent's Id does.
    whole = replace(query, paths=(*query.paths, *(f"{parent}.Id" for parent in parents)))
    selected = words.columns(whole, shape)
    kinds = [words.kind(path, query.object, shapes) for path in selected]
    row_of = _maker(columns, selected, kinds)
    place_at = [selected.index(name) for name in (words.window_field(query, shape), "Id")]
    job = _finished(session, clock, words.soql(whole, shapes), deleted=query.deleted)
    count, place = 0, [""]
    for cells in _cells(session, job["id"], selected):
        for row in cells:
            before, place = place, [row[at] for at in place_at]
            if place < before:
                raise Unordered(f"a Bulk job gave rows of {query.object} out of order")
        count += len(cells)
        try:
            rows = [row_of(row) for row in cells]
        except (ValueError, RecursionError) as error:
            raise LostPlace(f"a Bulk job gave a value of {query.object} that cannot be read: {error}") from None
        yield rows, False
    if count != job.get("numberRecordsProcessed"):
        raise LostPlace(f"a Bulk job announced {job.get('numberRecordsProcessed')} rows and gave {count}")
    yield [], True


def _finished(session: Session, clock: Clock, text: str, *, deleted: bool) -> dict[str, Any]:
    body = {"operation": "queryAll" if deleted else "query", "query": text}
    job = _asked(session, "POST", "/jobs/query", body).json()
    wait, waited = _FIRST, 0.0
    while waited < _GIVE_UP:
        if not (isinstance(job, dict) and _ID.fullmatch(str(job.get("id")))):
            break
        if job.get("state") == "JobComplete":
            return job
        if job.get("state") not in ("UploadComplete", "InProgress"):
            break
        clock.sleep(wait)
        waited, wait = waited + wait, min(wait * 2, _LONGEST)
        job = _asked(session, "GET", f"/jobs/query/{job['id']}").json()
    state = job.get("state") if isinstance(job, dict) else None
    raise LostPlace(f"a Bulk job was {state or 'not made'} after {waited:.0f} seconds")


def _asked(session: Session, method: str, path: str, body: Any = None) -> Reply:
    try:
        return session.ask(method, path, body, accept="*/*")
    except RateLimited:
        raise
    except EndpointError as error:  # this object, this user or this org has no Bulk, or not now; pages may do
        raise LostPlace(str(error)) from None


def _cells(session: Session, job: str, selected: Sequence[str]) -> Iterator[list[list[str]]]:
    """Up to `PAGE` rows at a time, each with a cell for each of `selected`."""
    most, locator = max(PAGE, min(_RESULTS, _CELLS // len(selected))), ""
    while locator != "null":
        more = f"&locator={quote(locator, safe='')}" if locator else ""
        reply = _asked(session, "GET", f"/jobs/query/{job}/results?maxRecords={most}{more}")
        locator, announced = (reply.headers.get(f"sforce-{name}", "") for name in ("locator", "numberofrecords"))
        if not (locator and announced.isdecimal()):
            raise LostPlace(f"{reply.asked} answered without saying how many rows there are, and where they go on")
        lines = csv.reader(io.TextIOWrapper(io.BytesIO(reply.body), "utf-8", newline=""), strict=True)
        try:
            order = _order(next(lines, []), selected)
            count = 0
            while some := [[line[at] for at in order] for line in islice(lines, PAGE)]:
                count += len(some)
                yield some
        except (csv.Error, UnicodeDecodeError, IndexError) as error:
            raise LostPlace(f"{reply.asked} answered with CSV that cannot be read: {error}") from None
        if count != int(announced):
            raise LostPlace(f"{reply.asked} announced {announced} rows and gave {count}")


def _order(heads: Sequence[str], selected: Sequence[str]) -> list[int]:
    known = {head.lower(): at for at, head in enumerate(heads)}
    if missing := [name for name in selected if name.lower() not in known]:
        raise LostPlace(f"a Bulk job gave no column {missing[0]}")
    return [known[name.lower()] for name in selected]


_KINDS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("int", "long", "double", "currency", "percent"), json.loads),
    "boolean": lambda cell: cell == "true",
}


def _maker(columns: Sequence[str], selected: Sequence[str], kinds: Sequence[str]) -> Callable[[Sequence[str]], Row]:
    """What makes a row as REST spells it of cells in the order of `selected`: worked out once."""
    at = {path.lower(): place for place, path in enumerate(selected)}
    own, far = [], []
    for path in columns:
        *parents, last = path.split(".")
        steps = [(name, at[f"{'.'.join(parents[: depth + 1])}.Id".lower()]) for depth, name in enumerate(parents)]
        place = at[path.lower()]
        form = _KINDS.get(kinds[place])
        if steps:
            far.append((steps, last, place, form))
        else:
            own.append((last, place, form))

    def row_of(cells: Sequence[str]) -> Row:
        row: Row = {
            name: (form(cells[place]) if form else cells[place]) if cells[place] else None for name, place, form in own
        }
        for steps, last, place, form in far:
            inner = row
            for name, id_at in steps:
                if not cells[id_at]:
                    inner[name] = None
                    break
                inner = inner.setdefault(name, {})
            else:
                inner[last] = (form(cells[place]) if form else cells[place]) if cells[place] else None
        return row

    return row_of
