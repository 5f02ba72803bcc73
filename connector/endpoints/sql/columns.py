"""What a column of a database makes of a value: the form it gives back, the form its driver takes and gives."""

from __future__ import annotations

import json
import math
import re
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import NullType, TypeEngine

from connector import canon

TYPES: dict[str, TypeEngine[Any]] = {
    "text": sa.Text(),
    "integer": sa.BigInteger(),
    "number": sa.Double(),
    "boolean": sa.Boolean(),
    "instant": sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),  # so that an index orders it as time
    "date": sa.Text(),
    "json": sa.JSON(none_as_null=True),
}
_FAMILIES: tuple[tuple[tuple[type[TypeEngine[Any]], ...], str], ...] = (
    ((sa.JSON,), "json"),
    ((sa.Boolean,), "boolean"),
    ((sa.Integer,), "integer"),
    ((sa.Numeric, sa.Float), "number"),
    ((sa.DateTime,), "instant"),
    ((sa.Date,), "date"),
    ((sa.Uuid,), "uuid"),
)
_JSON_TYPES = frozenset((str, int, float, bool, list, dict))
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Codec:
    """`canonical`: any value -> what is read back after it was written, ValueError if the column cannot hold it.

    `encode`: that -> what the driver takes. `decode`: what the driver gives -> that. None is never passed.
    """

    family: str
    canonical: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def reflected(type_: TypeEngine[Any], *, sqlite: bool) -> TypeEngine[Any]:
    """The type to bind and fetch by. SQLite promises nothing of what stands in a column, so it gets it as it is."""
    if sqlite:
        return NullType()
    if isinstance(type_, sa.Uuid):
        return sa.Uuid(as_uuid=False)
    if isinstance(type_, sa.JSON):
        return type(type_)(none_as_null=True)
    if isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float):
        return sa.Numeric(type_.precision, type_.scale, asdecimal=False)
    return type_


def codec(type_: TypeEngine[Any], kind: str, *, sqlite: bool) -> Codec:
    """`kind` is a mapped field's, and decides only what text means; `moment`: a stamp, UTC where it does not say."""
    family = next((word for types, word in _FAMILIES if isinstance(type_, types)), "text")
    if family == "text" and kind in ("json", "instant", "moment", "date"):
        return {
            "json": Codec("json", _json, json.dumps, _loads),
            "instant": Codec("text", lambda value: canon.instant(value) or _text(value), _same, _same),
            "moment": Codec("text", _moment, _same, _moment),
            "date": Codec("text", lambda value: canon.date(value) or _text(value), _same, _same),
        }[kind]
    if family == "number" and isinstance(type_, sa.REAL) and not sqlite:
        return Codec(family, _single, _same, _as_number)
    if family == "number":
        scale = None if sqlite or isinstance(type_, sa.Float) else getattr(type_, "scale", None)
        return Codec(family, lambda value: _number(value, scale), _same, _as_number)
    if family == "instant" and sqlite:
        return Codec(family, _instant, lambda value: value[:-1].replace("T", " "), _moment)
    if family == "instant":
        aware = bool(getattr(type_, "timezone", False))
        naive = lambda value: canon.parse(value).replace(tzinfo=None)  # noqa: E731
        return Codec(family, _instant, canon.parse if aware else naive, _moment)
    return (SQLITE if sqlite else {}).get(family) or PLAIN[family]


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return canon.instant(value) or json.dumps(value, ensure_ascii=False, default=str)


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_text, allow_nan=False))


def _loads(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError:
        return value


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) or (isinstance(value, float | Decimal) and value == int(value)):
        return int(value)
    raise ValueError(value)


def _number(value: Any, scale: int | None) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number if scale is None else float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP))


def _single(value: Any) -> float:
    """The shortest number that four bytes tell from its neighbours, which is how PostgreSQL spells a real."""
    number = struct.pack("f", _number(value, None))
    spelt = (float(f"{struct.unpack('f', number)[0]:.{digits}g}") for digits in range(1, 10))
    return next(short for short in spelt if struct.pack("f", short) == number)


def _as_number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal | int) else value


def _boolean(value: Any) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
    if known is None:
        raise ValueError(value)
    return known


def _instant(value: Any) -> str:
    return canon.text(canon.parse(value, assume_utc=True))


def _moment(value: Any) -> Any:
    return canon.instant(value, assume_utc=True) or _text(value)


def _date(value: Any) -> str:
    if (day := canon.date(value)) is None:
        raise ValueError(value)
    return day


def _any(value: Any) -> Any:
    """Whatever a driver gives, as JSON could carry it."""
    if type(value) in _JSON_TYPES:
        return value
    if isinstance(value, datetime | date):
        return canon.instant(value, assume_utc=True) or value.isoformat()
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)


PLAIN: dict[str, Codec] = {
    "text": Codec("text", _text, _same, _any),
    "integer": Codec("integer", _integer, _same, _same),
    "boolean": Codec("boolean", _boolean, _same, _same),
    "date": Codec("date", _date, date.fromisoformat, lambda value: canon.date(value) or _text(value)),
    "json": Codec("json", _json, _same, _same),
    "uuid": Codec("uuid", lambda value: str(uuid.UUID(str(value))), _same, str),
}
SQLITE: dict[str, Codec] = {
    "boolean": Codec("boolean", _boolean, int, lambda value: bool(value) if value in (0, 1) else value),
    "date": Codec("date", _date, _same, lambda value: canon.date(value) or value),
    "json": Codec("json", _json, json.dumps, _loads),
    "uuid": PLAIN["text"],
}
