"""Turn a Query into SOQL, and the rows that answer it into rows as we spell them. Pure: text and dicts only.

SOQL has no bound parameters. So every value goes through `literal`, every name through `_name`, and nothing else gets in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, NoReturn

from connector import canon
from connector.errors import Drifted, SpecError
from connector.model import Field, Query, Row, Shape, Where, Window

Shapes = Mapping[str, Shape]

IN_MOST = 400
"""Values of one IN list; more go in further queries. 60,000 characters of them leave room for a SELECT of 800 fields."""
_IN_LENGTH = 60_000
_LITERAL_LENGTH = 4_000
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
_ORDER = re.compile(r"(\S+)( asc| desc)?( nulls (?:first|last))?", re.ASCII | re.IGNORECASE)
_ID = re.compile(r"[0-9A-Za-z]{15}([0-9A-Za-z]{3})?", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,3})?Z?", re.ASCII)
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})
_IDS = {"id", "reference"}
_NUMBERS = {"int", "long", "double", "currency", "percent"}
_NOT_TEXT = _IDS | _NUMBERS | {"boolean", "date", "datetime", "time"}
_UNREADABLE = {"address", "location", "base64"}
"""Compound fields (their parts are fields of their own) and files: `whole` leaves them out."""
_STAMPS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")


# ---- values ----------------------------------------------------------------------------------------------


def literal(kind: str, value: Any) -> str:
    """`value` as SOQL writes it for a field of type `kind`. ValueError: no such field can hold it."""
    if value is None:
        return "null"
    if kind in _IDS:
        return f"'{canon.id18(_match(_ID, value))}'"
    if kind in _NUMBERS:
        return _number(value)
    if kind == "boolean":
        return {"true": "true", "false": "false"}.get(str(value).lower()) or _no(kind, value)
    if kind in ("datetime", "date"):
        return (canon.instant(value) if kind == "datetime" else canon.date(value)) or _no(kind, value)
    if kind == "time":
        return _match(_TIME, value).removesuffix("Z") + "Z"
    if isinstance(value, datetime | date):
        value = canon.instant(value) or canon.date(value) or _no(kind, value)
    if not isinstance(value, str | int | float | Decimal):
        _no(kind, value)
    return _quoted(str(value).translate(_ESCAPES))


def _quoted(escaped: str) -> str:
    escaped.encode()  # half a surrogate pair is a ValueError here
    if "\0" in escaped or len(escaped) > _LITERAL_LENGTH:
        raise ValueError("no text field that can be filtered holds this")
    return f"'{escaped}'"


def _number(value: Any) -> str:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        _no("number", value)
    if isinstance(value, bool) or not number.is_finite() or abs(number.adjusted()) > 40:
        _no("number", value)
    return f"{number:f}"


def _match(form: re.Pattern[str], value: Any) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else _no(form.pattern, value)


def _no(kind: str, value: Any) -> NoReturn:
    raise ValueError(f"{value!r} is no {kind}")


def canonical(kind: str | None, value: Any) -> Any:
    """`value` as the org gives it back from a field of this type, in our spelling; unchanged where it would refuse it."""
    if kind in _IDS:
        return canon.id18(value)
    if kind == "datetime":
        return canon.instant(value) or value or None
    if kind == "date":
        return canon.date(value) or value or None
    return None if value == "" else value


# ---- names -----------------------------------------------------------------------------------------------


def stamp_of(shape: Shape) -> str | None:
    return next((name for name in _STAMPS if name in shape.fields), None)


def parent_of(shape: Shape, relationship: str) -> str | None:
    """The object that a relationship leads to; of several (Group, User) the user; None when it cannot be told."""
    targets = next((each.targets for each in shape.fields.values() if each.relationship == relationship), ())
    return targets[0] if len(targets) == 1 else "User" if "User" in targets else None


def _hops(path: str, name: str | None, shapes: Shapes) -> Iterator[tuple[str | None, str]]:
    """Each step of a dotted path: the object it starts from (None: not known), and what is named of it."""
    for step in path.split("."):
        yield name, step
        shape = shapes.get(name or "")
        name = parent_of(shape, step) if shape else None


def field_at(path: str, name: str, shapes: Shapes) -> Field | None:
    *_, (holder, last) = _hops(path, name, shapes)
    shape = shapes.get(holder or "")
    return shape.fields.get(last) if shape else None


def _kind(path: str, name: str, shapes: Shapes) -> str:
    found = field_at(path, name, shapes)
    return found.type if found else "string"


def _spelled(query: Query) -> Iterator[str]:
    yield from query.paths
    yield from (where.field for where in query.where)
    yield from (order.split(" ")[0] for order in query.order)
    if query.window and query.window.field:
        yield query.window.field


def objects(query: Query, shapes: Shapes) -> set[str]:
    """Every object whose shape is needed to ask `query` and read its answer, as far as `shapes` lets one see."""
    names = {query.object}
    for path in _spelled(query):
        names |= {name for name, _ in _hops(path, query.object, shapes) if name}
    return names.union(*(objects(child, shapes) for child in query.children.values()))


def gone(query: Query, shapes: Shapes) -> Drifted | None:
    """The error for the first name in `query` that no shape has."""
    for path in _spelled(query):
        for name, step in _hops(path, query.object, shapes):
            shape = shapes.get(name or "")
            if shape and step not in names_of(shape):
                return Drifted(unknown(step, shape, path if "." in path else ""))
    return next((error for child in query.children.values() if (error := gone(child, shapes))), None)


def names_of(shape: Shape) -> set[str]:
    return {*shape.fields, *(each.relationship for each in shape.fields.values() if each.relationship)}


def unknown(name: str, shape: Shape, path: str = "") -> str:
    near = get_close_matches(name, sorted(names_of(shape)), 1, 0.7)
    hint = f"did you mean {near[0]}?" if near else "check the mapping, and what the integration user may see"
    return f"{shape.name} has no field {name}{path and f' (in {path})'}; {hint}"


def _name(path: str) -> str:
    if not _NAME.fullmatch(path):
        raise SpecError(f"{path!r} is not the name of a Salesforce field, nor a path of such names")
    return path


# ---- the text --------------------------------------------------------------------------------------------


def soql(query: Query, shapes: Shapes, relationship: str | None = None) -> str:
    """With `relationship`, the sub-select that asks for `query` below each row of another."""
    kind = {path: _kind(path, query.object, shapes) for path in _spelled(query)}
    selected = [
        *columns(query, shapes[query.object]),
        *(f"({soql(child, shapes, _name(below))})" for below, child in query.children.items()),
    ]
    conditions = [_equals(where, kind[where.field]) for where in query.where]
    order = [_order(each) for each in query.order]
    if query.window:
        stamp = window_field(query, shapes[query.object])
        conditions.append(_within(query.window, stamp, kind.get(stamp, "datetime")))
        order = [stamp, "Id"]
    elif relationship and not order:  # a list below a row needs an order that does not change from poll to poll
        order = [name for name in ("CreatedDate", "Id") if name in shapes[query.object].fields]
    return (
        f"SELECT {', '.join(selected)} FROM {_name(relationship or query.object)}"
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + (f" ORDER BY {', '.join(order)}" if order else "")
    )


def columns(query: Query, shape: Shape) -> list[str]:
    names = [each.name for each in shape.fields.values() if each.type not in _UNREADABLE] if query.whole else []
    names += query.paths
    names += [where.field for where in query.where if where.fold]  # `Form` looks at them once more
    if query.stamped or query.window:
        names += ["Id", *filter(None, [stamp_of(shape)])]
    if query.window:
        names.append(window_field(query, shape))
    once: dict[str, str] = {}
    for name in names or ["Id"]:
        once.setdefault(_name(name).lower(), name)  # SOQL refuses a field that is selected twice
    return list(once.values())


def window_field(query: Query, shape: Shape) -> str:
    stamp = query.window.field if query.window and query.window.field else stamp_of(shape)
    if stamp is None:
        raise Drifted(
            f"{shape.name} has no field that tells when a row changed, so changed rows cannot be read from it"
        )
    return stamp


def _within(window: Window, stamp: str, kind: str) -> str:
    if window.after is None:
        low = [f"{stamp} >= {literal(kind, window.since)}"] if window.since else []
    else:
        seen, last = literal(kind, window.after[0]), literal("id", window.after[1])
        low = [f"({stamp} > {seen} OR ({stamp} = {seen} AND Id > {last}))"]
    return " AND ".join([*low, f"{stamp} <= {literal(kind, window.until)}"])


def _order(text: str) -> str:
    found = _ORDER.fullmatch(text)
    if not found:
        raise SpecError(f"{text!r} is not an order: write the name of a field, and asc or desc")
    return _name(found[1]) + "".join(filter(None, found.groups()[1:])).upper()


def _equals(where: Where, kind: str) -> str:
    name = _name(where.field)
    fold = where.fold and kind not in _NOT_TEXT
    exact, alike = [], []
    for value in where.values:
        words = str(value).split() if fold and value is not None else []
        if value is None:
            alike.append(f"{name} = null")
        elif len(words) > 1:  # doubled spaces count as one: ask for a little more, `Form` drops what is not meant
            wild = [word.translate(_ESCAPES).replace("%", "\\%").replace("_", "\\_") for word in words]
            alike.append(f"{name} LIKE {_quoted('%'.join(wild))}")
        else:
            exact.append(literal(kind, words[0] if words else value))
    if exact:
        alike.insert(0, f"{name} = {exact[0]}" if len(exact) == 1 else f"{name} IN ({', '.join(exact)})")
    return alike[0] if len(alike) == 1 else f"({' OR '.join(alike)})"


def split(query: Query, shapes: Shapes) -> list[Query]:
    """`query` as queries that are short enough; none at all when it asks for values that no row can have."""
    for at, where in enumerate(query.where):
        fitting = list(_fitting(where, _kind(where.field, query.object, shapes)))
        if fitting != [where]:
            before, after = query.where[:at], query.where[at + 1 :]
            return [each for one in fitting for each in split(replace(query, where=(*before, one, *after)), shapes)]
    return [query]


def _fitting(where: Where, kind: str) -> Iterator[Where]:
    groups: dict[str, dict[str, Any]] = {}  # equal but for case: in one query, or a row would come twice
    for value in where.values:
        with suppress(ValueError):  # the field cannot hold such a value, so no row has it
            text = literal(kind, value)
            groups.setdefault(text if kind in _NOT_TEXT else text.casefold(), {})[text] = value
    chunk: list[Any] = []
    length = 0
    for group in groups.values():
        more = sum(len(text) + len(where.field) + 12 for text in group)
        if chunk and (len(chunk) + len(group) > IN_MOST or length + more > _IN_LENGTH):
            yield replace(where, values=tuple(chunk))
            chunk, length = [], 0
        chunk += group.values()
        length += more
    if chunk:
        yield replace(where, values=tuple(chunk))


# ---- the rows --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Form:
    """How rows of one query are brought to our spelling: worked out once, from the shapes, and applied per row."""

    fixes: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    parents: dict[str, Form] = field(default_factory=dict)
    children: dict[str, Form] = field(default_factory=dict)
    folds: list[tuple[Sequence[str], set[str | None]]] = field(default_factory=list)

    def rows(self, rows: list[Row]) -> list[Row]:
        tidy = [self._row(row) for row in rows]
        for path, wanted in self.folds:
            tidy = [row for row in tidy if canon.fold(_at(row, path)) in wanted]
        return tidy

    def _row(self, row: Row) -> Row:
        row.pop("attributes", None)
        for name, fix in self.fixes.items():
            if (value := row.get(name)) is not None:
                row[name] = fix(value)
        for name, parent in self.parents.items():
            if row.get(name) is not None:
                parent._row(row[name])  # noqa: SLF001 - a Form too
        for name, child in self.children.items():
            row[name] = child.rows(row.get(name) or [])
        return row


def form(query: Query, shapes: Shapes) -> Form:
    made = Form(children={name: form(child, shapes) for name, child in query.children.items()})
    for path in columns(query, shapes[query.object]):
        inner = made
        *parents, last = path.split(".")
        for name in parents:
            inner = inner.parents.setdefault(name, Form())
        kind = _kind(path, query.object, shapes)
        if kind in _IDS:
            inner.fixes[last] = canon.id18
        elif kind == "datetime":
            inner.fixes[last] = _instant
    made.folds = [
        (where.field.split("."), {canon.fold(value) for value in where.values}) for where in query.where if where.fold
    ]
    return made


def _instant(value: Any) -> Any:
    if isinstance(value, str) and value.endswith(".000+0000"):  # as the org writes nearly all of them
        return value[:19] + "Z"
    return canon.instant(value) or value


def _at(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row
