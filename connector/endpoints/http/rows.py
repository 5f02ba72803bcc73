"""Records of an answer as rows, values as the system writes them, and what a query wants of rows that are here already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connector import canon
from connector.endpoints.forms import date, inside, instant, sortable
from connector.endpoints.http.api import Object, Place, Since
from connector.errors import EndpointError, SetupError
from connector.model import Keys, Query, Row, Window

Form = Callable[[Any], Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {
    "instant": timedelta(seconds=1),
    "seconds": timedelta(seconds=1),
    "milliseconds": timedelta(milliseconds=1),
    "date": timedelta(days=1),
}


def _counted(unit: timedelta) -> Form:
    def form(value: Any) -> Any:
        try:
            return (
                canon.text(EPOCH + int(value) * unit)
                if type(value) is int or str(value).isdecimal()
                else instant(value)
            )
        except OverflowError:
            return value

    return form


def _count(unit: timedelta) -> Form:
    def form(value: Any) -> Any:
        moment = canon.instant(value)
        return (canon.parse(moment) - EPOCH) // unit if moment else value

    return form


def _number(value: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value


READ: Mapping[str, Form] = {
    "instant": instant,
    "date": date,
    "seconds": _counted(_UNITS["seconds"]),
    "milliseconds": _counted(_UNITS["milliseconds"]),
    "number": _number,
    "boolean": lambda value: {"true": True, "false": False}.get(str(value).lower(), value),
}
"""How a field is written -> its value in canonical form; what is no such value stays as it is."""
SENT: Mapping[str, Form] = {
    "seconds": _count(_UNITS["seconds"]),
    "milliseconds": _count(_UNITS["milliseconds"]),
    "number": lambda value: value if isinstance(value, str) else str(value),
    "boolean": lambda value: str(value).lower() if isinstance(value, bool) else value,
}
"""And back, where JSON would say it otherwise."""


def formed(values: Row, forms: Mapping[Place, Form], at: Place = ()) -> Row:
    """The values with each form applied at its place."""
    out = {}
    for key, value in values.items():
        place = (*at, key)
        if place in forms:
            out[key] = None if value is None else forms[place](value)
        else:
            out[key] = formed(value, forms, place) if isinstance(value, dict) else value
    return out


def row(thing: Object, record: Any, forms: Mapping[Place, Form]) -> Row:
    """A record as a row. Raises ValueError for what is none."""
    values = canon.reach(record, thing.fields)
    if not isinstance(values, dict):
        raise ValueError("something that is no record")  # noqa: TRY004 - the type of an answer is a value to us
    made = dict(values)
    for place in filter(None, (thing.id, thing.stamp, thing.created)):
        if thing.fields or place[1:]:
            made[place[-1]] = canon.reach(record, place)
    known = text_id(made.get(thing.id[-1]))
    if known is None:
        raise ValueError(f"a record without an id at {'.'.join(thing.id)}")
    made[thing.id[-1]] = known
    return formed(made, forms)


def text_id(value: Any) -> str | None:
    """An id as text; None for what cannot be one."""
    return str(value) if (isinstance(value, str) and value.strip()) or type(value) is int else None


# ---- what a query wants ----------------------------------------------------------------------------------


def since(moment: datetime | None, how: Since | None, *, up: bool = False) -> Any:
    """`{since}`, or `{until}` with `up`: rounded outwards to what the system tells apart, days by one more for its zone."""
    if moment is None or how is None:
        return None
    unit = _UNITS[how.form]
    count = -((EPOCH - moment) // unit) if up else (moment - EPOCH) // unit
    outwards = (how.form == "date") + (how.exclusive and not up)
    at = EPOCH + (count + (outwards if up else -outwards)) * unit
    if how.form == "date":
        return at.date().isoformat()
    return canon.text(at) if how.form == "instant" else (at - EPOCH) // unit


def holding(query: Query, rows: Iterable[Row], keys: Keys, forms: Mapping[Place, Form]) -> Iterable[Row]:
    """The rows for which every `where` holds."""
    for where in query.where:
        place = tuple(where.field.split("."))
        form: Form = canon.fold if where.fold else str if place == (keys.id,) else forms.get(place, lambda value: value)
        wanted = {None if value is None else sortable(form(value)) for value in where.values}
        rows = [each for each in rows if _comparable(canon.reach(each, place), form) in wanted]
    return rows


def _comparable(value: Any, form: Form) -> Any:
    return None if value is None else sortable(form(value))


def ordered(query: Query, rows: Iterable[Row], keys: Keys, name: str) -> list[Row]:
    if query.window:
        return _windowed(query.window, rows, keys, name)
    places = [tuple(column.split(".")) for column in query.order]

    def place(each: Row) -> tuple[Any, ...]:
        values = [canon.reach(each, at) for at in places]
        return (*((value is not None, *sortable(value)) for value in values), _by_id(each[keys.id]))

    return sorted(rows, key=place)


def _windowed(window: Window, rows: Iterable[Row], keys: Keys, name: str) -> list[Row]:
    field = window.field or keys.stamp
    if field is None:
        raise SetupError(f"{name}: its api file does not say where it stands when one changed; add stamp: FIELD")

    def place(moment: Any, known: str) -> tuple[datetime, Any]:
        try:
            return canon.parse(moment, assume_utc=True), _by_id(known)
        except ValueError:
            raise EndpointError(f"{name} {known} has no time at {field}, so nobody knows when it changed") from None

    at = tuple(field.split("."))
    placed = sorted(((place(canon.reach(each, at), each[keys.id]), each) for each in rows), key=lambda pair: pair[0])
    after = place(*window.after) if window.after else None
    within = ((stand, each) for stand, each in placed if (window.since or stand[0]) <= stand[0] <= window.until)
    return [each for stand, each in within if after is None or stand > after]


def _by_id(known: str) -> tuple[str, Any]:
    return sortable(int(known) if known.isdecimal() else known)


def projected(query: Query, each: Row, keys: Keys) -> Row:
    window = query.window.field if query.window else None
    stamps = (keys.id, keys.stamp, window) if query.stamped else ()
    paths: Sequence[Place] = [tuple(path.split(".")) for path in (*stamps, *query.paths) if path]
    made: Row = inside(each, paths)
    return each | made if query.whole else made
