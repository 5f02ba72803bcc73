"""The frozen tree of a SOQL statement. Every node remembers where it stood, for the errors that point at it."""

from dataclasses import dataclass
from typing import Literal as OneOf

Kind = OneOf["text", "number", "boolean", "null", "date", "datetime", "period"]


@dataclass(frozen=True)
class Path:
    names: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class Function:
    """COUNT(Id) n, toLabel(Status): an aggregate or a function over one field."""

    name: str  # in lower case
    path: Path
    alias: str | None
    at: int


Subject = Path | Function


@dataclass(frozen=True)
class Aliased:
    """A grouped field under another name: SELECT Name n ... GROUP BY Name"""

    path: Path
    alias: str
    at: int


@dataclass(frozen=True)
class Fields:
    """FIELDS(ALL | STANDARD | CUSTOM)"""

    which: str
    at: int


@dataclass(frozen=True)
class TypeOf:
    """TYPEOF What WHEN Account THEN Phone ELSE Name END"""

    path: Path
    whens: "tuple[tuple[Path, tuple[Path, ...]], ...]"
    otherwise: tuple[Path, ...]


@dataclass(frozen=True)
class Value:
    kind: Kind
    text: str  # unescaped for text (after LIKE a pattern whose escape character is the backslash), as written for the rest
    at: int


@dataclass(frozen=True)
class Compare:
    path: Subject
    operator: str
    value: Value


@dataclass(frozen=True)
class In:
    path: Subject
    negated: bool
    values: "tuple[Value, ...] | Select"


@dataclass(frozen=True)
class Includes:
    path: Subject
    negated: bool
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Group:
    operator: OneOf["AND", "OR"]
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True)
class Not:
    part: "Condition"


Condition = Compare | In | Includes | Group | Not


@dataclass(frozen=True)
class Order:
    path: Subject
    descending: bool
    nulls_last: bool


@dataclass(frozen=True)
class Select:
    items: "tuple[Item, ...]"
    source: Path
    counts: bool = False  # SELECT COUNT()
    alias: str | None = None
    scope: Path | None = None
    where: Condition | None = None
    group: tuple[Path, ...] = ()
    having: Condition | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    at: int = 0

    @property
    def aggregates(self) -> bool:
        return bool(self.group) or any(isinstance(item, Function) and item.name in AGGREGATES for item in self.items)


Item = Path | Function | Aliased | Fields | TypeOf | Select
AGGREGATES = frozenset({"count", "min", "max", "sum", "avg", "count_distinct"})
FUNCTIONS = frozenset({"tolabel", "format", "convertcurrency"})


def whole_row(name: str, fields: tuple[str, ...], record_id: str | None = None) -> Select:
    """A query that the org asks itself."""
    where = Compare(Path(("Id",), 0), "=", Value("text", record_id, 0)) if record_id else None
    return Select(tuple(Path((field,), 0) for field in fields), Path((name,), 0), where=where)
