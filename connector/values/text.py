"""Functions of one value that always end: for paths, for templates, and for `as`. Null gives null; text has a limit.

What a function cannot do is a ValueError or TypeError in plain words; the caller makes it null and a reason.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from connector import canon
from connector.values.nouns import ABSENT, missing

MAX_TEXT = 131_072  # the longest field of Salesforce
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


def _bounded(size: int) -> None:
    if size > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT:,} characters")


def joined(pieces: Any, separator: str = "") -> str:
    """The pieces in one text; gives up before it is built when it would be too long."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece) + len(separator)
        _bounded(size)
        parts.append(piece)
    return separator.join(parts)


def text(value: Any) -> str:
    """The text of any value: nothing for null, `true` and `false`, JSON for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None or value is ABSENT:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return joined(_JSON.iterencode(value))  # in pieces: shared parts can make it far larger than the row
    return str(value)


def concatenated(*pieces: Any) -> str:
    """The texts of all pieces in one."""
    parts = [piece if isinstance(piece, str) else text(piece) for piece in pieces]
    _bounded(sum(map(len, parts)))
    return "".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise TypeError(f"takes text, not {'a list' if isinstance(value, list) else 'an object'}")
    return text(value)


def number(value: Any) -> int | float | None:
    """The number that a text spells; else null."""
    if isinstance(value, str):
        spelled = _NUMBER.fullmatch(value.strip())
        value = (float if {*spelled[0]} & {*".eE"} else int)(spelled[0]) if spelled else None
    return value if type(value) is int or (type(value) is float and math.isfinite(value)) else None


def _integer(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def _boolean(value: Any) -> bool | None:
    return {"true": True, "false": False, "1": True, "0": False}.get(_plain(value).strip().lower())  # SQL has 0 and 1


TYPES: dict[str, Callable[[Any], Any]] = {
    "text": text, "integer": _integer, "number": number, "boolean": _boolean, "date": canon.date, "instant": canon.instant,
}  # fmt: skip
"""What `as` may say: how to convert, null where that is not possible."""


# ---- functions of paths, filters of templates ------------------------------------------------------------


def _of(convert: Callable[[Any], Any], doc: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """All arguments as `convert` has them; null gives null; a text has a limit."""

    @wraps(function)
    def call(value: Any, *args: Any) -> Any:
        given = None if value is None else convert(value)
        found = None if given is None else function(given, *map(convert, args)) if args else function(given)
        if isinstance(found, str):
            _bounded(len(found))
        return found

    call.__doc__ = doc
    return call


def _replace(value: str, old: str, new: str) -> str:
    _bounded(len(value) + value.count(old) * (len(new) - len(old)))
    return value.replace(old, new) if old else value


def split(value: Any, separator: str) -> list[str]:
    """The parts between separators, trimmed, blank ones left out; null gives an empty list."""
    return [part for part in map(str.strip, _plain(value).split(_plain(separator))) if part]


def after(value: Any, separator: str) -> str | None:
    """What stands after the first separator, trimmed; the whole text where there is none."""
    found = "" if value is None else _plain(value).split(_plain(separator), 1)[-1].strip()
    _bounded(len(found))
    return found or None


def before(value: Any, separator: str) -> str | None:
    """What stands before the first separator, trimmed; null where there is none."""
    head, there, _ = ("", "", "") if value is None else _plain(value).partition(_plain(separator))
    found = head.strip() if there else ""
    _bounded(len(found))
    return found or None


def join_text(values: Any, separator: str = "") -> str | None:
    """The items of a list in one text, missing ones left out."""
    if values is not None and not isinstance(values, list):
        raise TypeError("takes a list")
    found = joined((text(value) for value in values or () if not missing(value)), _plain(separator))
    return None if values is None else found


def string(value: Any) -> str | None:
    """The text of any value; JSON for lists and objects."""
    return None if value is None else text(value)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | str) else None


def _round(value: float, digits: Any = 0) -> float:
    return round(value, max(0, min(int(digits), 15)))


def _title(value: str) -> str:
    return re.sub(r"[^-\s({\[<]+", lambda word: word[0].capitalize(), value)


def _truncate(value: Any, length: Any = 255, killwords: bool = False, end: str = "...") -> str | None:
    """At most so many letters, cut between words (`true`: within), with `...` where something was cut."""
    whole, limit = _plain(value), max(0, _integer(length) or 0)
    if len(whole) <= limit:
        return string(value)
    cut = whole[: max(0, limit - len(end))]
    return ((cut if killwords else cut.rsplit(" ", 1)[0]) + end)[:limit]


def _default(value: Any, other: Any = "") -> Any:
    """`other` where the value is missing."""
    return other if missing(value) else value


_SHARED = {
    "lower": _of(_plain, "The text in small letters.", lambda value: value.lower()),
    "replace": _of(_plain, "The text with every `old` made `new`.", _replace),
    "trim": _of(_plain, "The text without outer blanks.", lambda value: value.strip()),
    "upper": _of(_plain, "The text in capitals.", lambda value: value.upper()),
}
FILTERS: dict[str, Callable[..., Any]] = _SHARED | {
    "capitalize": _of(_plain, "The text with its first letter capital, the others small.", str.capitalize),
    "default": _default,
    "first": _of(_listed, "The first item of a list or letter of a text.", lambda value: next(iter(value), None)),
    "float": _of(number, "The number with a point; else null.", float),
    "int": _of(number, "The number without what is behind its point; else null.", math.trunc),
    "join": join_text,
    "last": _of(_listed, "The last item of a list or letter of a text.", lambda value: next(reversed(value), None)),
    "length": _of(_listed, "How many items or letters there are.", len),
    "round": _of(number, "The number rounded to so many digits behind the point.", _round),
    "string": string,
    "title": _of(_plain, "The text with each word's first letter capital, the others small.", _title),
    "truncate": _truncate,
}
"""What may stand behind `|` in a template. The docstrings are what lint and docs show."""


class Function(NamedTuple):
    doc: str
    kind: str | None
    """Of the result, as in `Value.kind`."""
    call: Any = None
    """Ours; None: JMESPath's own."""


_OWN = {
    "boolean": "contains ends_with starts_with",
    "integer": "length",
    "json": "keys map max_by merge min_by sort sort_by to_array values",
    "number": "abs avg ceil floor sum",
    "text": "type",
    "": "max min not_null reverse",
}
"""Kind -> functions that are as https://jmespath.org/specification.html has them, but for null."""
_TEXTS = _SHARED | {
    "after": after,
    "before": before,
    "digits": _of(
        _plain, "The digits of the text; null without any.", lambda value: re.sub("[^0-9]", "", value) or None
    ),
    "join_text": join_text,
    "to_string": string,
}
FUNCTIONS: dict[str, Function] = {
    **{name: Function("As JMESPath's own.", kind or None) for kind, names in _OWN.items() for name in names.split()},
    **{name: Function(call.__doc__ or "", "text", call) for name, call in _TEXTS.items()},
    "date": Function("The date `2025-03-12` of a date, or of an instant in UTC; else null.", "date", canon.date),
    "join": Function(
        "As join_text, the other way round.", "text", lambda separator, values: join_text(values, separator)
    ),
    "split": Function(split.__doc__ or "", "json", split),
    "to_number": Function(number.__doc__ or "", "number", number),
}
"""Null gives null in nearly all of them."""


def misfit(call: Callable[..., Any], count: int) -> str:
    """What is wrong with giving it so many arguments; nothing when that fits."""
    wanted = inspect.signature(call)
    try:
        wanted.bind(*range(count))
    except TypeError:
        shown = (str(one.replace(annotation=one.empty)) for one in wanted.parameters.values())
        return f"takes ({', '.join(shown)}), not {count} argument{'s' * (count != 1)}"
    return ""
