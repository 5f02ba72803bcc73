"""Functions of one value that always end: for paths, for templates, and for `as`. Null gives null; text has a limit.

What a function cannot do is a ValueError or TypeError in plain words; the caller makes it null and a reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from connector import canon
from connector.values.nouns import ABSENT, missing

MAX_TEXT = 131_072  # the longest field of Salesforce
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_WORD_START = re.compile(r"([-\s({\[<]+)")


class TooLarge(ValueError):
    def __init__(self) -> None:
        super().__init__(f"longer than {MAX_TEXT:,} characters")


def joined(pieces: Any, separator: str = "") -> str:
    """The pieces in one text; gives up before it is built when it would be too long."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece) + len(separator)
        if size > MAX_TEXT:
            raise TooLarge
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
        return joined(_ENCODER.iterencode(value))  # in pieces: shared parts can make it far larger than the row
    return str(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        raise TypeError(f"takes text, not {'a list' if isinstance(value, list) else 'an object'}")
    result = text(value)
    if len(result) > MAX_TEXT:
        raise TooLarge
    return result


def _textual(function: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments as text; null gives null; the result has a limit."""

    @wraps(function)
    def call(value: Any, *args: Any, **named: Any) -> Any:
        if value is None:
            return None
        result = function(_plain(value), *map(_plain, args), **{key: _plain(arg) for key, arg in named.items()})
        if result is not None and len(result) > MAX_TEXT:
            raise TooLarge
        return result

    return call


@_textual
def lower(value: str) -> str:
    """The text in small letters."""
    return value.lower()


@_textual
def upper(value: str) -> str:
    """The text in capitals."""
    return value.upper()


@_textual
def trim(value: str) -> str:
    """The text without outer blanks."""
    return value.strip()


@_textual
def title(value: str) -> str:
    """The text with each word's first letter capital, the others small."""
    return "".join(part[:1].upper() + part[1:].lower() for part in _WORD_START.split(value))


@_textual
def capitalize(value: str) -> str:
    """The text with its first letter capital, the others small."""
    return value.capitalize()


@_textual
def replace(value: str, old: str, new: str) -> str:
    """The text with every `old` made `new`."""
    if not old:
        return value
    if len(value) + value.count(old) * (len(new) - len(old)) > MAX_TEXT:
        raise TooLarge
    return value.replace(old, new)


@_textual
def digits(value: str) -> str | None:
    """The digits of the text, nothing else; null where there is none."""
    return re.sub(r"[^0-9]", "", value) or None


@_textual
def before(value: str, separator: str) -> str | None:
    """What stands before the first separator, trimmed; null where there is none."""
    head, found, _ = value.partition(separator)
    return (head.strip() or None) if found else None


@_textual
def after(value: str, separator: str) -> str | None:
    """What stands after the first separator, trimmed; the whole text where there is none."""
    head, found, tail = value.partition(separator)
    return (tail if found else head).strip() or None


def split(value: Any, separator: str) -> list[str]:
    """The parts between separators, trimmed, blank ones left out; null gives an empty list."""
    if value is None:
        return []
    return [part for part in map(str.strip, _plain(value).split(_plain(separator))) if part]


def join_text(values: Any, separator: str) -> str | None:
    """The items of a list in one text, missing ones left out."""
    if values is None:
        return None
    if not isinstance(values, list):
        raise TypeError("takes a list")
    return joined((text(value) for value in values if not missing(value)), _plain(separator))


def date(value: Any) -> str | None:
    """The date `2025-03-12` of a date, or of an instant in UTC; else null."""
    return canon.date(value)


def number(value: Any) -> int | float | None:
    """A number, or the number that a text spells; else null."""
    if isinstance(value, str):
        value = value.strip()
        value = int(value) if _INTEGER.fullmatch(value) else float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def integer(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and (isinstance(found, int) or found.is_integer()) else None


def boolean(value: Any) -> bool | None:
    """SQL has 0 and 1 for these."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False, "1": True, "0": False}.get(_plain(value).strip().lower())


def instant(value: Any) -> str | None:
    return canon.instant(value)


TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "text": (text, "not text"),
    "integer": (integer, "not a whole number"),
    "number": (number, "not a number"),
    "boolean": (boolean, "not true or false"),
    "date": (date, "not a date"),
    "instant": (instant, "not a date and time"),
}
"""What `as` may say: how to convert, and the reason when that is not possible."""


# ---- only in templates -----------------------------------------------------------------------------------


def default(value: Any, other: Any = "", boolean: bool = False) -> Any:
    """`other` where the value is missing; with `true` behind it also where it is 0, false or empty."""
    return other if missing(value) or (boolean and not value) else value


def join(value: Any, separator: str = "") -> str | None:
    """The items of a list in one text, missing ones left out."""
    return join_text(value if isinstance(value, list) or value is None else [value], separator)


def first(value: Any) -> Any:
    """The first item of a list or letter of a text."""
    return value[0] if isinstance(value, list | str) and value else None


def last(value: Any) -> Any:
    """The last item of a list or letter of a text."""
    return value[-1] if isinstance(value, list | str) and value else None


def length(value: Any) -> int:
    """How many items or letters there are."""
    return len(value) if isinstance(value, list | str | dict) else 0


def round_(value: Any, precision: Any = 0) -> int | float | None:
    """The number rounded to so many digits behind the point."""
    found = number(value)
    return None if found is None else round(found, max(0, min(integer(precision) or 0, 15)))


def int_(value: Any, other: Any = None) -> Any:
    """The number without what is behind its point; `other` when it is no number."""
    found = number(value)
    return other if found is None else int(found)


def float_(value: Any, other: Any = None) -> Any:
    """The number with a point; `other` when it is no number."""
    found = number(value)
    return other if found is None else float(found)


def string(value: Any) -> str | None:
    """The text of any value."""
    return None if value is None else text(value)


def truncate(value: Any, length: Any = 255, killwords: bool = False, end: str = "...") -> str | None:
    """At most so many letters, cut between words (`true`: within), with `...` where something was cut."""
    if value is None:
        return None
    whole, limit = _plain(value), max(0, integer(length) or 0)
    if len(whole) <= limit:
        return whole
    cut = whole[: max(0, limit - len(end))]
    return ((cut if killwords else cut.rsplit(" ", 1)[0]) + end)[:limit]


FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": capitalize,
    "default": default,
    "first": first,
    "float": float_,
    "int": int_,
    "join": join,
    "last": last,
    "length": length,
    "lower": lower,
    "replace": replace,
    "round": round_,
    "string": string,
    "title": title,
    "trim": trim,
    "truncate": truncate,
    "upper": upper,
}
"""What may stand behind `|` in a template. The docstrings are what lint and docs show."""
