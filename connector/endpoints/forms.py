"""What endpoints do alike: how values of a type are spelled, which columns say when, what goes together, what was meant."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from connector import canon
from connector.model import Change, Query, Shape

STAMPS = ("updated_at", "updated", "created_at")
MADE = ("created_at", "created")
"""Columns by which a table says when a row changed and was made, where nothing else says it."""


def instant(value: Any) -> Any:
    if isinstance(value, str) and len(value) == 28 and value.endswith(".000+0000"):  # as an org writes nearly all
        return value[:19] + "Z"
    return canon.instant(value) or value


def date(value: Any) -> Any:
    return canon.date(value) or value


FORMS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("id", "reference"), canon.id18),
    **dict.fromkeys(("datetime", "instant"), instant),
    "date": date,
}
"""Type of a field -> the one spelling of its values; what is no such value stays as it is."""


def list_below(shape: Shape | None, child: Query, on: Mapping[str, str]) -> str | None:
    """`Endpoint.nest` by shape: the relationship whose rows are those of `child`, if it is joined by the row's Id alone."""
    for relationship, below in shape.children.items() if shape and not child.window else ():
        if below.object == child.object and dict(on) == {below.field: "Id"}:
            return relationship
    return None


def rounds(changes: Sequence[Change], *, apart: bool = True) -> list[dict[int, Change]]:
    """Changes by their place, none of a row twice, creates `apart` from the others: one round after the other."""
    ids = [change.id for change in changes if change.id]
    kinds = {apart and change.verb != "create" for change in changes}
    if len(kinds) == 1 and len(set(ids)) == len(ids):  # nearly always
        return [dict(enumerate(changes))]
    seen, made = Counter[str](), defaultdict[tuple[int, bool], dict[int, Change]](dict)
    for at, change in enumerate(changes):
        turn = 0
        if known := change.id:
            turn = seen[known]
            seen[known] = turn + 1
        made[turn, apart and change.verb != "create"][at] = change
    return [made[number] for number in sorted(made)]


def near(name: str, names: Iterable[str]) -> str:
    found = get_close_matches(name, sorted(names), 3, 0.6)
    return f" (near: {', '.join(found)})" if found else ""


def inside(value: Any, paths: Sequence[tuple[str, ...]]) -> Any:
    """What stands at `paths` of a value, each item of a list alike; a key that is not there stays away."""
    if isinstance(value, list):
        return [inside(item, paths) for item in value]
    if () in paths or not isinstance(value, dict):
        return deepcopy(value)
    return {
        key: inside(value[key], [path[1:] for path in paths if path[0] == key]) for key, *_ in paths if key in value
    }


def sortable(value: Any) -> tuple[str, Any]:
    """Numbers with numbers, text with text: equal as `canon.same`, hashable, and in an order."""
    if isinstance(value, bool | int | float):
        return ("bool" if isinstance(value, bool) else "number"), value
    return ("text", value) if isinstance(value, str) else (type(value).__name__, repr(value))


def brief(text: object) -> str:
    """A message of the other side, fit for one line of a log: no markup, no walls of text."""
    return " ".join(re.sub(r"<[^>]*>", " ", str(text)).split())[:200]
