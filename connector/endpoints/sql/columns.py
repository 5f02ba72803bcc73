"""What a column of a database makes of a value: the form it gives back, the form its driver takes and gives."""

from __future__ import annotations

import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from types import NoneType
from typing import Any

import msgspec
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
"""Kind of a mapped field -> the column that we make for it."""
_FAMILIES: tuple[tuple[Any, str], ...] = (
    (sa.JSON, "json"),
    (sa.Boolean, "boolean"),
    (sa.Integer, "integer"),
    ((sa.Numeric, sa.Float), "number"),
    (sa.DateTime, "instant"),
    (sa.Date, "date"),
    (sa.Uuid, "uuid"),
    (sa.LargeBinary, "binary"),
    (TypeEngine, "text"),
)
_NULL = frozenset((NoneType,))
_TEXT, _INTEGERS, _TRUTH = _NULL | {str}, _NULL | {int}, _NULL | {bool}
_PLAIN = _NULL | {str, int, bool}
_JSON = _PLAIN | {float, list, dict}
_INTEGER = re.compile(r"\s*[+-]?\d{1,19}\s*", re.ASCII)
_ENCODE, _DECODE = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
_ASCII = json.JSONEncoder(separators=(",", ":"))
UNFIT = (ValueError, TypeError, ArithmeticError)
"""What a codec raises about a value that its column cannot hold."""


def _same(value: Any) -> Any:
    return value


class Codec(msgspec.Struct, frozen=True):
    """`canonical`: any value -> what is read back after it was written, UNFIT if the column cannot hold it.

    `encode`: that -> what the driver takes. `decode`: what the driver gives -> that. None is never passed.
    `plain`, `given`: classes of which canonical, or decode, leaves every value as it is, so that it need not be called.
    """

    family: str
    canonical: Callable[[Any], Any]
    encode: Callable[[Any], Any] = _same
    decode: Callable[[Any], Any] = _same
    plain: frozenset[type] = _NULL
    given: frozenset[type] = _NULL

    @property
    def special(self) -> bool:
        """Whether the driver takes anything but what is canonical."""
        return self.encode is not _same

    @property
    def taken(self) -> frozenset[type]:
        """Classes whose values the driver takes as they are."""
        return _NULL if self.special else self.plain

    @property
    def bind(self) -> Callable[[Any], Any]:
        """Any value -> what the driver takes."""
        canonical, encode = self.canonical, self.encode
        return canonical if not self.special else lambda value: encode(canonical(value))


Fixer = Callable[[dict[str, Any], dict[str, Any]], None]


def fixer(names: Sequence[str], codecs: Sequence[Codec]) -> Fixer:
    """A function of a row with just these names, and of a copy of it, which puts in what is not canonical. UNFIT as of a codec.

    It is written for them: a loop takes two thirds longer.
    """
    values = [f"v{number}" for number in range(len(names))]
    lines = ["def fix(values, made):", f" [{', '.join(values)}] = values.values()"]
    for value, name, of in zip(values, names, codecs, strict=True):
        lines.append(f" if not ({_is_one(value, of.plain)}): made[{name!r}] = make_{value}({value})")
    known: dict[str, Any] = {f"make_{value}": of.canonical for value, of in zip(values, codecs, strict=True)}
    exec("\n".join(lines), known)  # noqa: S102 - of what a table has only the repr of names gets in
    return known["fix"]  # type: ignore[no-any-return]


def decoding(value: str, of: Codec) -> str:
    """An expression: the variable `value` as its codec decodes it."""
    return f"{value} if {_is_one(value, of.given)} else decode_{value}({value})"


def _is_one(value: str, kinds: frozenset[type]) -> str:
    """An expression: whether the variable `value` is of one of these classes. The usual ones are asked for first."""
    asked = [f"type({value}) is {kind.__name__}" for kind in (str, int, float, bool, list, dict) if kind in kinds]
    asked.insert(1, f"{value} is None")
    return " or ".join(asked) if kinds else "False"


def reflected(type_: TypeEngine[Any], *, sqlite: bool) -> TypeEngine[Any]:
    """The type to bind and fetch by. SQLite promises nothing of what stands in a column, so it gets it as it is."""
    return NullType() if sqlite else TYPES["json"] if isinstance(type_, sa.JSON) else type_


def codec(type_: TypeEngine[Any], kind: str, *, sqlite: bool) -> Codec:
    """`kind` is a mapped field's, and decides only what text means; `moment`: a stamp, UTC where it does not say."""
    family = next(word for types, word in _FAMILIES if isinstance(type_, types))
    if family == "text" or (sqlite and family == "binary"):
        return TEXTS.get(kind, TEXTS["text"])
    if sqlite:
        return SQLITE[family]
    if isinstance(type_, sa.REAL):
        return Codec(family, _single, decode=_as_number)
    if isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float):
        exact = lambda number: Decimal(repr(number))  # noqa: E731 - as a double it would arrive with 15 digits
        return Codec(family, partial(_number, scale=type_.scale), exact, _as_number)
    if isinstance(type_, sa.DateTime) and not type_.timezone:
        return Codec(family, _instant, lambda value: canon.parse(value).replace(tzinfo=None), _moment)
    return SERVER[family]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _json(value: Any) -> Any:
    return value if _is_json(value) else json.loads(json.dumps(value, default=str, allow_nan=False))


def _is_json(value: Any) -> bool:
    """Whether it would come back from JSON as it is, which to look at takes a fraction of the time."""
    if type(value) is dict:
        for key, below in value.items():
            if type(key) is not str or (type(below) not in _PLAIN and not _is_json(below)):
                return False
        return True
    if type(value) is list:
        for below in value:  # noqa: SIM110 - a generator takes longer
            if type(below) not in _PLAIN and not _is_json(below):
                return False
        return True
    return type(value) in _PLAIN or (type(value) is float and math.isfinite(value))


def _dumps(value: Any) -> str:
    """Compact, and ASCII alone, so that no encoding of a database is in its way."""
    try:
        return _ENCODE(value).decode("ascii")
    except UnicodeError:  # other characters, or halves of some
        return _ASCII.encode(value)


def loads(value: Any) -> Any:
    """JSON text as Python has it; what is none, as it is."""
    try:
        return _DECODE(value)
    except (msgspec.MsgspecError, UnicodeError, TypeError):
        return _loads(value)


def _loads(value: Any) -> Any:
    """By the standard parser, which also takes NaN, half characters and numbers beyond a double."""
    try:
        return json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError:
        return value


def _integer(value: Any) -> int:
    if _INTEGER.fullmatch(value) if isinstance(value, str) else value == int(value):
        return int(value)
    raise ValueError(value)


def _number(value: Any, scale: int | None = None) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number if scale is None else float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP))


def _single(value: Any) -> float:
    """The shortest number that four bytes tell from its neighbours, which is how PostgreSQL spells a real."""
    number = struct.pack("f", _number(value))
    spelt = (float(f"{struct.unpack('f', number)[0]:.{digits}g}") for digits in range(1, 10))
    return next(short for short in spelt if struct.pack("f", short) == number)


def _as_number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal | int) else value


def _boolean(value: Any) -> bool:
    word = str(value).lower()
    if word not in ("true", "1", "false", "0"):
        raise ValueError(value)
    return word in ("true", "1")


def _as_boolean(value: Any) -> Any:
    return bool(value) if value in (0, 1) else value


def _instant(value: Any) -> str:
    return canon.text(canon.parse(value, assume_utc=True))


def _dated(value: Any, *, assume_utc: bool = False) -> str:
    if type(value) is str and len(value) == 20 and value[4::3] == "--T::Z":
        return value  # an instant in our spelling, or, like the 30th of February, text that only looks like one
    return canon.instant(value, assume_utc=assume_utc) or _text(value)


_moment = partial(_dated, assume_utc=True)


def _date(value: Any) -> str:
    return date.fromisoformat(canon.date(value) or "").isoformat()


def _day(value: Any) -> str:
    return canon.date(value) or _text(value)


def _any(value: Any) -> Any:
    """Whatever a driver gives, as JSON could carry it."""
    if type(value) in _JSON:
        return value
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)


TEXTS = {
    "text": Codec("text", _text, decode=_any, plain=_TEXT, given=_JSON),
    "json": Codec("json", _json, _dumps, loads, plain=_PLAIN),
    "instant": Codec("text", _dated, given=_JSON),
    "moment": Codec("text", _moment, decode=_moment),
    "date": Codec("text", _day, given=_JSON),
}
SQLITE = {
    "json": TEXTS["json"],
    "boolean": Codec("boolean", _boolean, int, _as_boolean, plain=_TRUTH),
    "integer": Codec("integer", _integer, plain=_INTEGERS, given=_JSON),
    "number": Codec("number", _number, decode=_as_number, given=_NULL | {float}),
    "instant": Codec("instant", _instant, lambda value: value[:-1].replace("T", " "), _moment),
    "date": Codec("date", _date, decode=_day),
    "uuid": TEXTS["text"],
}
SERVER = {
    "json": Codec("json", _json, _dumps, plain=_PLAIN, given=_JSON),
    "boolean": Codec("boolean", _boolean, plain=_TRUTH, given=_JSON),
    "integer": SQLITE["integer"],
    "number": SQLITE["number"],
    "instant": Codec("instant", _instant, canon.parse, _moment),
    "date": Codec("date", _date, date.fromisoformat, _day),
    "uuid": Codec("uuid", lambda value: str(uuid.UUID(str(value))), uuid.UUID, str),
    "binary": Codec("binary", lambda value: bytes.fromhex(value).hex(), bytes.fromhex, _any),
}
