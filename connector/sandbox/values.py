"""A value as a client sends it -> the text the org stores; a stored column -> the SQL that writes it as JSON.

Stored form: text as it is; numbers and booleans as their JSON; ids with 18 characters; instants as Salesforce prints them
(UTC, milliseconds), so that they sort and compare as text. NULL is null. Section 2.3 lists the JSON forms.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from connector.sandbox import ids
from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.schema import ID, NUMBER, TEXT, Field

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INTEGER_BITS = {"int": 32, "long": 64}


def stamp(moment: datetime) -> str:
    """Whole seconds: Salesforce keeps no more."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def midnight(first: date, zone: str) -> str:
    """The moment a day begins in a time zone, in stored form. Raises OverflowError at the ends of the calendar."""
    return f"{datetime.combine(first, time(), ZoneInfo(zone)).astimezone(UTC).isoformat()[:19]}.000+0000"


@lru_cache(maxsize=4096)
def instant(text: str) -> str | None:
    """The canonical spelling of an instant, milliseconds kept (a literal may have them), or None."""
    found = _INSTANT.fullmatch(text)
    if not found:
        return None
    zone = "+0000" if found[3] in "Zz" else found[3].replace(":", "")
    try:
        moment = datetime.fromisoformat(f"{found[1].upper()}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S}.{(found[2] or '').ljust(3, '0')[:3]}+0000"


def day(text: str) -> str | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def accept(field: Field, value: Any) -> str | None:
    """What is stored for a value a client sends; raises what Salesforce answers when the type is wrong."""
    if value is None or value == "":
        return None  # an empty text equals null
    return _ACCEPT[_kind(field)](field, value)


def _kind(field: Field) -> str:
    for kind, types in (("text", TEXT), ("number", NUMBER), ("id", ID)):
        if field.type in types:
            return kind
    return field.type


def _text(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _undeserializable("string", field, value)
    if not value.isprintable():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise bad_json("Invalid UTF-16 surrogate in text") from None  # [U] wording
    return value


def _number(field: Field, value: Any) -> str:
    if isinstance(value, str):  # [U] numeric text is taken for a number
        value = _parsed(value)
    bits = _INTEGER_BITS.get(field.type)
    integral = bits is not None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _undeserializable("int" if integral else "double", field, value)
    try:
        number = float(value)
    except OverflowError:
        raise _undeserializable("double", field, value) from None
    if not math.isfinite(number) or (integral and not number.is_integer()):
        raise _undeserializable("int" if integral else "double", field, value)
    if bits is None:
        return repr(number)
    if not -(1 << (bits - 1)) <= int(value) < 1 << (bits - 1):
        raise _undeserializable("int", field, value)
    return str(int(value))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _boolean(field: Field, value: Any) -> str:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise _undeserializable("boolean", field, value)
    return "true" if value else "false"


def _date(field: Field, value: Any) -> str:
    found = day(value) if isinstance(value, str) else None
    if found is None:
        raise _undeserializable("date", field, value)
    return found


def _datetime(field: Field, value: Any) -> str:
    found = instant(value) if isinstance(value, str) else None
    if found is None:
        raise _undeserializable("datetime", field, value)
    return f"{found[:19]}.000+0000"


def _id(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _undeserializable("reference", field, value)
    found = ids.canonical(value)
    if found is None:
        raise ApiError(400, "MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", (field.name,))
    return found


def _base64(field: Field, value: Any) -> str:
    """White space in it is allowed, as in a MIME body; anything else is not base64."""
    text = "".join(value.split()) if isinstance(value, str) else None
    try:
        base64.b64decode(text or "", validate=True)
    except ValueError:
        text = None
    if text is None:
        raise _undeserializable("base64Binary", field, value)
    return text


_ACCEPT: dict[str, Callable[[Field, Any], str]] = {
    "text": _text,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "id": _id,
    "base64": _base64,
}

_TOKENS: tuple[tuple[type, str], ...] = (
    (bool, "VALUE_TRUE"),
    (int, "VALUE_NUMBER_INT"),
    (float, "VALUE_NUMBER_FLOAT"),
    (str, "VALUE_STRING"),
    (dict, "START_OBJECT"),
    (list, "START_ARRAY"),
)


def _undeserializable(wanted: str, field: Field, value: Any) -> ApiError:
    # [U] the sentence as commonly seen, without its line and column
    token = next(name for kind, name in _TOKENS if isinstance(value, kind))
    token = "VALUE_FALSE" if value is False else token
    shown = "{" if isinstance(value, dict) else "[" if isinstance(value, list) else str(value)[:80]
    return bad_json(
        f"Cannot deserialize instance of {wanted} from {token} value {shown} or request may be missing a required "
        f"field: {field.name}"
    )


def as_json(field: Field, column: str) -> str:
    """SQL for the JSON of a stored column; SQLite writes it, so that a page costs no Python per value."""
    if field.type in TEXT:
        return f"json_quote({column})"
    if field.type in NUMBER or field.type == "boolean":
        return f"ifnull({column},'null')"
    return f"ifnull('\"'||{column}||'\"','null')"
