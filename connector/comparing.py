"""What is mapped against what the target holds: which columns differ, and picklists that do not go together."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any

import msgspec

from connector import canon
from connector.canon import reach
from connector.model import Column, Row, Shape
from connector.shape import valid

_SCALARS = frozenset((str, int, float, bool, NoneType))
_UNFIT = (TypeError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for what no JSON has."""


def moment(value: Any) -> Any:
    """An instant in our spelling; all else as it is."""
    return canon.instant(value) or value


def differing(columns: Sequence[Column], values: Row, held: Row) -> dict[str, tuple[Any, Any]]:
    """Column -> (what the target holds, what is mapped), where the two differ. A key that is not mapped is left alone."""
    changed = {}
    for column in columns:
        here, there = values.get(column.path[0]), held.get(column.path[0])
        if here == there and _alike(here, there):
            continue
        if not _given(values, column.path) or column.kind == "file":  # a file is not read back
            continue
        new, old = reach(values, column.path), reach(held, column.path)
        if column.kind == "instant":
            new, old = moment(new), moment(old)
        if not canon.same(new, old):
            changed[".".join(column.path)] = (old, new)
    return changed


def _alike(here: Any, there: Any) -> bool:
    """Whether two equal values are surely of the same types too, all the way down: not 1 and true."""
    if here.__class__ in _SCALARS:
        return here.__class__ is there.__class__
    try:
        return msgspec.json.encode(here) == msgspec.json.encode(there)
    except _UNFIT:
        return False


def misfit(shape: Shape | None, row: Row, mapped: Row, written: Row) -> str | None:
    """The first dependent picklist in `mapped` that would not go with its controller in `row`, if one of the two is written."""
    for name in mapped if shape else ():
        field = shape.fields.get(name) if shape else None
        if shape is None or field is None or field.controller not in row or not row.get(name):
            continue
        if name not in written and field.controller not in written:
            continue
        known = {option.value for option in field.options}
        fits = {option.value for option in valid(field, shape, row[field.controller]) or ()}
        if any(value in known and value not in fits for value in str(row[name]).split(";")):
            return name
    return None


def subset(values: Row, columns: Sequence[Column]) -> Row:
    """Only these columns, nested as they were."""
    made: Row = {}
    for column in columns:
        place = made
        for step in column.path[:-1]:
            place = place.setdefault(step, {})
        place[column.path[-1]] = reach(values, column.path)
    return made


def _given(values: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
