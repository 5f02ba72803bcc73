"""One spelling for values that systems spell differently, so that they compare. Pure; shared by endpoints and engine."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812 - `date` is the function of this module
from string import ascii_letters, ascii_uppercase, digits
from typing import Any

_CANONICAL = re.compile(
    r"(?!0000)\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3])(?::[0-5]\d){2}Z",
    re.ASCII,
)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[A-Za-z0-5]{3})?", re.ASCII)
_CAPITALS = str.maketrans(ascii_letters + digits, "0" * 26 + "1" * 26 + "0" * 10)
_CHECK = {f"{n:05b}"[::-1]: letter for n, letter in enumerate(ascii_uppercase + "012345")}


def text(moment: datetime) -> str:
    """UTC text of an aware datetime; a fraction only where there is one (3 digits if they do, else 6)."""
    moment = moment.astimezone(UTC)
    micros = moment.microsecond
    spec = "seconds" if not micros else "microseconds" if micros % 1000 else "milliseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def instant(value: Any, *, assume_utc: bool = False) -> str | None:
    """`2025-03-01T12:00:00Z` for ISO text with an offset or an aware datetime, else None.

    Text or datetimes without an offset are instants only with `assume_utc`; a date alone never is one.
    """
    if type(value) is str and _CANONICAL.fullmatch(value):  # the usual case; the 29th of February needs the calendar
        return value
    moment = _moment(value, assume_utc)
    return None if moment is None else text(moment)


def parse(value: Any, *, assume_utc: bool = False) -> datetime:
    moment = _moment(value, assume_utc)
    if moment is None:
        raise ValueError(f"{value!r} is not an instant: write it like 2025-03-01T12:00:00Z, with its offset")
    return moment


def _moment(value: Any, assume_utc: bool) -> datetime | None:
    try:
        if isinstance(value, str):
            if not _INSTANT.fullmatch(value) or value[11:13] == "24":
                return None
            value = datetime.fromisoformat(value)
        if not isinstance(value, datetime):
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=UTC) if assume_utc else None
        return value.astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February; an offset that leads out of the years 1 to 9999
        return None


def date(value: Any) -> str | None:
    """`2025-03-01` for a date or its ISO text; of an instant, its day in UTC. Else None."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return Date.fromisoformat(value).isoformat()
        except ValueError:
            return None
    moment = _moment(value, assume_utc=True)
    if moment is not None:
        return moment.date().isoformat()
    return value.isoformat() if isinstance(value, Date) and not isinstance(value, datetime) else None


def id18(value: Any) -> Any:
    """A Salesforce id with its checksum: 15 characters get one, 18 get theirs in capitals; anything else as it is."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return value
    body = value[:15]
    capitals = body.translate(_CAPITALS)
    check = _CHECK[capitals[:5]] + _CHECK[capitals[5:10]] + _CHECK[capitals[10:]]
    return body + check if value[15:].upper() in ("", check) else value


def fold(value: Any) -> str | None:
    """Text as `ignore_case` compares it: case folded, trimmed, each run of blanks one space."""
    if value is None:
        return None
    text = str(value).casefold()
    return text if text.isalnum() else " ".join(text.split())


def same(a: Any, b: Any) -> bool:
    """Whether a mapped value is what a system holds: 5 is 5.0, True is not 1. Spellings are `instant`'s matter."""
    if type(a) is str and type(b) is str:
        return bool(a == b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def reach(values: Any, path: tuple[str, ...]) -> Any:
    """The value at a path of nested dicts, None when there is none."""
    for step in path:
        values = values.get(step) if isinstance(values, dict) else None
    return values
