"""Turn a Query into SOQL. Pure: text only.

SOQL has no bound parameters. So every value goes through `literal`, every name through `_name`, and nothing else gets in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

from msgspec.structs import replace

from connector import canon
from connector.endpoints.forms import near
from connector.errors import Drifted, SpecError
from connector.model import Query, Shape, Where, Window

Shapes = Mapping[str, Shape]

IN_LENGTH, _LEAST = 60_000, 150
"""Characters of one IN list, so that there is room for a SELECT of 800 fields, and what a value counts at least."""
_LITERAL_LENGTH = 4_000
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
_ID = re.compile(r"[0-9A-Za-z]{15}([0-9A-Za-z]{3})?", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,3})?Z?", re.ASCII)
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})
_WILD = _ESCAPES | str.maketrans({"%": "\\%", "_": "\\_"})
_UNREADABLE = {"address", "location", "base64"}
"""Compound fields (their parts are fields of their own) and files: `whole` leaves them out."""
_GONE = ("IsDeleted", "MasterRecordId")
"""What says that a row was deleted, and into which other one it was merged."""
_STAMPS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")


# ---- values ----------------------------------------------------------------------------------------------


def literal(kind: str, value: Any) -> str:
    """`value` as SOQL writes it for a field of type `kind`. ValueError: no such field can hold it."""
    made = "null" if value is None else _LITERALS.get(kind, _text)(value)
    if made is None:
        raise ValueError(f"{value!r} is no {kind}")
    return made


def _id(value: Any) -> str | None:
    return f"'{canon.id18(value)}'" if isinstance(value, str) and _ID.fullmatch(value) else None


def _number(value: Any) -> str | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return f"{number:f}" if number.is_finite() and abs(number.adjusted()) <= 40 else None


def _boolean(value: Any) -> str | None:
    return {"true": "true", "false": "false"}.get(str(value).lower())


def _time(value: Any) -> str | None:
    return value.removesuffix("Z") + "Z" if isinstance(value, str) and _TIME.fullmatch(value) else None


def _text(value: Any) -> str | None:
    escaped = str(value).translate(_ESCAPES)
    escaped.encode()  # half a surrogate pair is a ValueError here
    fits = isinstance(value, str | int | float) and "\0" not in escaped and len(escaped) <= _LITERAL_LENGTH
    return f"'{escaped}'" if fits else None


_LITERALS: Mapping[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(("id", "reference"), _id),
    **dict.fromkeys(("int", "long", "double", "currency", "percent"), _number),
    "boolean": _boolean,
    "datetime": canon.instant,
    "date": canon.date,
    "time": _time,
}
"""By type of field; every other type is text."""


# ---- names -----------------------------------------------------------------------------------------------


def stamp_of(shape: Shape) -> str | None:
    return next((name for name in _STAMPS if name in shape.fields), None)


def parent_of(shape: Shape, relationship: str) -> str | None:
    """The object that a relationship leads to; of several (Group, User) the user; None when it cannot be told."""
    targets = next((each.targets for each in shape.fields.values() if each.relationship == relationship), ())
    return targets[0] if len(targets) == 1 else "User" if "User" in targets else None


def hops(path: str, name: str, shapes: Shapes) -> Iterator[tuple[str, str]]:
    """Each step of a dotted path: the object it starts from ("": not known), and what is named of it."""
    *parents, last = path.split(".")
    for step in parents:
        yield name, step
        name = (parent_of(shapes[name], step) if name in shapes else None) or ""
    yield name, last


def kind(path: str, name: str, shapes: Shapes) -> str:
    """The type of the field that a path leads to; text where it cannot be told."""
    *_, (holder, last) = hops(path, name, shapes)
    found = shapes[holder].fields.get(last) if holder in shapes else None
    return found.type if found else "string"


def _spelled(query: Query) -> Iterator[str]:
    yield from (*query.paths, *(where.field for where in query.where), *query.order)
    if query.window and query.window.field:
        yield query.window.field


def objects(query: Query, shapes: Shapes) -> set[str]:
    """Every object whose shape is needed to ask `query` and read its answer, as far as `shapes` lets one see."""
    named = {name for path in _spelled(query) for name, _ in hops(path, query.object, shapes) if name}
    return named.union({query.object}, *(objects(child, shapes) for child in query.children.values()))


def gone(query: Query, shapes: Shapes) -> Drifted | None:
    """The error that names all that `query` names and no shape has."""
    said = list(dict.fromkeys(_missing(query, shapes)))
    return Drifted(f"{'; '.join(said)}; check the mapping, and what the integration user may see") if said else None


def _missing(query: Query, shapes: Shapes) -> Iterator[str]:
    for path in _spelled(query):
        for name, step in hops(path, query.object, shapes):
            if name in shapes and step not in (names := names_of(shapes[name])):
                yield f"{name} has no field {step}{near(step, names)}{f', named in {path}' if '.' in path else ''}"
    for child in query.children.values():
        yield from _missing(child, shapes)


def names_of(shape: Shape) -> set[str]:
    return {*shape.fields, *(each.relationship for each in shape.fields.values() if each.relationship)}


def _name(path: str) -> str:
    if not _NAME.fullmatch(path):
        raise SpecError(f"{path!r} is not the name of a Salesforce field, nor a path of such names")
    return path


# ---- the text --------------------------------------------------------------------------------------------


def soql(query: Query, shapes: Shapes, relationship: str | None = None, *, living: bool = False) -> str:
    """With `relationship`, the sub-select that asks for `query` below each row of another; `living`: not those deleted."""
    shape = shapes[query.object]
    below = [
        f"({soql(child, shapes, _name(name), living=query.deleted and not child.deleted)})"
        for name, child in query.children.items()
    ]
    conditions = [_equals(where, kind(where.field, query.object, shapes)) for where in query.where]
    order = [_name(path) for path in query.order]
    if living and "IsDeleted" in shape.fields:
        conditions.append("IsDeleted = false")
    if query.window:
        stamp = window_field(query, shape)
        conditions.append(_within(query.window, stamp, kind(stamp, query.object, shapes)))
        order = [stamp, "Id"]
    elif relationship and not order:  # a list below a row needs an order that does not change from poll to poll
        order = [name for name in ("CreatedDate", "Id") if name in shape.fields]
    return (
        f"SELECT {', '.join([*columns(query, shape), *below])} FROM {_name(relationship or query.object)}"
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + (f" ORDER BY {', '.join(order)}" if order else "")
    )


def columns(query: Query, shape: Shape) -> list[str]:
    names = [each.name for each in shape.fields.values() if each.type not in _UNREADABLE] if query.whole else []
    names += (*query.paths, *(where.field for where in query.where if where.fold))  # `form` looks at them once more
    if query.stamped or query.window:
        names += ["Id", *filter(None, [stamp_of(shape)])]
    if query.window:
        names.append(window_field(query, shape))
    if query.deleted:
        names += (name for name in _GONE if name in shape.fields)
    once: dict[str, str] = {}
    for name in names or ["Id"]:
        once.setdefault(_name(name).lower(), name)  # SOQL refuses a field that is selected twice
    return list(once.values())


def window_field(query: Query, shape: Shape) -> str:
    stamp = query.window.field if query.window and query.window.field else stamp_of(shape)
    if stamp is None:
        raise Drifted(f"{shape.name} has no field that tells when a row changed, so changes cannot be read from it")
    return _name(stamp)


def _within(window: Window, stamp: str, kind: str) -> str:
    if window.after is None:
        low = f"{stamp} >= {literal(kind, window.since)} AND " if window.since else ""
    else:
        seen, last = literal(kind, window.after[0]), literal("id", window.after[1])
        low = f"({stamp} > {seen} OR ({stamp} = {seen} AND Id > {last})) AND "
    return f"{low}{stamp} <= {literal(kind, window.until)}"


def _equals(where: Where, kind: str) -> str:
    name, fold = _name(where.field), where.fold and kind not in _LITERALS
    exact, alike = [], []
    for value in where.values:
        words = str(value).split() if fold and value is not None else []
        if value is None:
            alike.append(f"{name} = null")
        elif len(words) > 1:  # doubled spaces count as one: ask for a little more, `form` drops what is not meant
            alike.append(f"{name} LIKE '{'%'.join(word.translate(_WILD) for word in words)}'")
        else:
            exact.append(literal(kind, words[0] if words else value))
    if exact:
        alike.insert(0, f"{name} = {exact[0]}" if len(exact) == 1 else f"{name} IN ({', '.join(exact)})")
    return alike[0] if len(alike) == 1 else f"({' OR '.join(alike)})"


def split(query: Query, shapes: Shapes) -> list[Query]:
    """`query` as queries that are short enough; none at all when it asks for values that no row can have."""
    lists = [list(_fitting(where, kind(where.field, query.object, shapes))) for where in query.where]
    return [replace(query, where=some) for some in product(*lists)]


def _fitting(where: Where, kind: str) -> Iterator[Where]:
    groups: dict[str, dict[str, Any]] = {}  # equal but for case: in one query, or a row would come twice
    for value in where.values:
        with suppress(ValueError):  # the field cannot hold such a value, so no row has it
            text = literal(kind, value)
            groups.setdefault(text if kind in _LITERALS else text.casefold(), {})[text] = value
    chunk: list[Any] = []
    left = IN_LENGTH
    for group in groups.values():
        size = sum(max(len(text) + len(where.field) + 12, _LEAST) for text in group)
        if chunk and size > left:
            yield replace(where, values=tuple(chunk))
            chunk, left = [], IN_LENGTH
        chunk += group.values()
        left -= size
    if chunk:
        yield replace(where, values=tuple(chunk))
