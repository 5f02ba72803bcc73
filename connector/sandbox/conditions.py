"""A WHERE condition over resolved columns -> one SQL expression; wrong types end in Salesforce's own sentences.

Nulls match `=` null, `!=` and NOT IN, and nothing else. Every value becomes a bound parameter.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connector.sandbox import ids, periods, tree, values
from connector.sandbox.errors import ApiError, not_emulated
from connector.sandbox.schema import COMPOUND, ID, NUMBER, STORED, TEXT, Field
from connector.sandbox.tokens import layout, malformed


@dataclass(frozen=True)
class Column:
    """A field reached by a path: its SQL, and the canonical keys under which JSON shows it."""

    field: Field
    sql: str
    keys: tuple[str, ...]
    json: str | None = None  # SQL of its JSON, where that is not made of the stored value


class Parameters:
    """Names every literal of a query, so that no text of a client ever becomes SQL."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def add(self, value: object) -> str:
        name = f"p{len(self.bound)}"
        self.bound[name] = value
        return f":{name}"


def balanced(operator: str, parts: Sequence[str]) -> str:
    """a OR b OR c as a flat tree: SQLite refuses expressions deeper than 1,000."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({balanced(operator, parts[:middle])} {operator} {balanced(operator, parts[middle:])})"


@dataclass(frozen=True)
class Conditions:
    """The compiler of one scope's conditions; `resolve` and `subselect` are given by the scope."""

    query: str
    today: date  # in the user's zone
    zone: str
    parameters: Parameters
    resolve: Callable[[tree.Subject], Column]
    semijoin: Callable[[Column, int, tree.Select], str]

    def sql(self, condition: tree.Condition) -> str:
        match condition:
            case tree.Group(operator, parts):
                return balanced(operator, [self.sql(part) for part in parts])
            case tree.Not(part):
                return f"NOT ifnull({self.sql(part)}, 0)"
            case tree.Compare():
                return self._compare(condition)
            case tree.In():
                return self._in(condition)
            case tree.Includes():
                return self._includes(condition)

    # -- one comparison

    def _compare(self, test: tree.Compare) -> str:
        column = self._filterable(test.path)
        if test.operator == "like":
            return self._like(column, test)
        value = test.value
        if _is_null(column.field, value):
            if test.operator not in ("=", "!="):
                raise self._wrong_operator(test.path, f"invalid operator on null: {test.operator}")  # [U] wording
            return f"{column.sql} IS {'NOT ' if test.operator == '!=' else ''}NULL"
        if value.kind == "period":
            return self._within(column, test.operator, self._range(column, test.path, value))
        subject, bound = subject_of(column), self.parameters.add(self._operand(column.field, test.path, value))
        if test.operator == "!=":
            return f"({column.sql} IS NULL OR {subject} <> {bound})"
        return f"{subject} {test.operator} {bound}"

    def _like(self, column: Column, test: tree.Compare) -> str:
        if column.field.type in ID:
            raise self._wrong_operator(test.path, "invalid operator on id field")
        if column.field.type not in TEXT or test.value.kind != "text":
            raise self._wrong_operator(test.path, f"invalid operator on {column.field.type} field")  # [U] wording
        pattern = self.parameters.add(test.value.text.casefold())
        return f"fold({column.sql}) LIKE {pattern} ESCAPE '\\'"

    def _within(self, column: Column, operator: str, limits: tuple[str, str]) -> str:
        first, end = (self.parameters.add(limit) for limit in limits)
        sql = column.sql
        return {
            "=": f"({sql} >= {first} AND {sql} < {end})",
            "!=": f"({sql} IS NULL OR {sql} < {first} OR {sql} >= {end})",
            "<": f"{sql} < {first}",
            "<=": f"{sql} < {end}",
            ">": f"{sql} >= {end}",
            ">=": f"{sql} >= {first}",
        }[operator]

    def _range(self, column: Column, path: tree.Subject, value: tree.Value) -> tuple[str, str]:
        if column.field.type not in ("date", "datetime"):
            raise self._wrong_type(column.field, path)
        try:
            first, end = periods.days(value.text, self.today)
            if column.field.type == "date":
                return first.isoformat(), end.isoformat()
            return values.midnight(first, self.zone), values.midnight(end, self.zone)
        except (OverflowError, ValueError):
            sentence = f"date literal out of range: {value.text}"  # [U]
            raise malformed(self.query, value.at, sentence) from None

    # -- lists

    def _in(self, test: tree.In) -> str:
        column = self._filterable(test.path)
        word = "NOT IN" if test.negated else "IN"
        if isinstance(test.values, tree.Select):
            if column.field.type not in ID:
                raise self._wrong_operator(test.path, "semi-join is only possible on an id field")  # [U] wording
            inside = f"{column.sql} {word} ({self.semijoin(column, test.path.at, test.values)})"
            return f"({column.sql} IS NULL OR {inside})" if test.negated else inside
        if any(value.kind == "period" for value in test.values):
            raise not_emulated("A date literal inside IN")
        known = [
            self._operand(column.field, test.path, value) for value in test.values if not _is_null(column.field, value)
        ]
        with_null = len(known) < len(test.values)
        bound = self.parameters.add(json.dumps(known))
        inside = f"{subject_of(column)} {word} (SELECT value FROM json_each({bound}))"
        if with_null == test.negated:
            return f"({column.sql} IS NOT NULL AND {inside})"
        return f"({column.sql} IS NULL OR {inside})"

    def _includes(self, test: tree.Includes) -> str:
        column = self._filterable(test.path)
        if column.field.type != "multipicklist" or any(value.kind != "text" for value in test.values):
            raise self._wrong_operator(test.path, "includes and excludes need a multi-select picklist")  # [U] wording
        subject = f"';'||fold({column.sql})||';'"
        groups = []
        for value in test.values:  # 'a;b' asks for both, the list for any
            bound = [self.parameters.add(f";{part};") for part in value.text.casefold().split(";")]
            groups.append(balanced("AND", [f"instr({subject}, {part}) > 0" for part in bound]))
        found = f"ifnull({balanced('OR', groups)}, 0)"
        return f"NOT {found}" if test.negated else found

    # -- types

    def _filterable(self, path: tree.Subject) -> Column:
        column = self.resolve(path)
        field = column.field
        if field.long_text or field.type in COMPOUND or not field.filterable:
            sentence = f"field '{field.name}' can not be filtered in a query call"
            raise ApiError(400, "INVALID_FIELD", layout(self.query, path.at, sentence))
        if field.type not in STORED:
            raise not_emulated(f"A filter on a field of type {field.type}")
        return column

    def _operand(self, field: Field, path: tree.Subject, value: tree.Value) -> Any:
        """The literal in stored form; its kind must be the field's."""
        if field.type in TEXT and value.kind == "text":
            return value.text.casefold()
        if field.type in ID and value.kind == "text":
            found = ids.canonical(value.text)
            if found is None:
                raise self._wrong_operator(path, f"invalid ID field: {value.text}")
            return found
        if field.type in NUMBER and value.kind == "number":
            return min(max(float(value.text), -1.7e308), 1.7e308)  # infinity has no JSON
        if field.type == "boolean" and value.kind == "boolean":
            return value.text
        if field.type == value.kind and value.kind in ("date", "datetime"):
            found = (values.day if value.kind == "date" else values.instant)(value.text)
            if found is None:
                raise malformed(self.query, value.at, f"Invalid date: {value.text}")  # [U] wording
            return found
        raise self._wrong_type(field, path)

    def _wrong_type(self, field: Field, path: tree.Subject) -> ApiError:
        kind, quotes = _wanted(field)
        sentence = f"value of filter criterion for field '{field.name}' must be of type {kind} and should {quotes}be enclosed in quotes"
        return ApiError(400, "INVALID_FIELD", layout(self.query, path.at, sentence))  # [U] wording as commonly seen

    def _wrong_operator(self, path: tree.Subject, sentence: str) -> ApiError:
        return ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", layout(self.query, path.at, sentence))


def _wanted(field: Field) -> tuple[str, str]:
    if field.type in TEXT | ID:
        return "string", ""
    return {"datetime": "dateTime", "currency": "double", "percent": "double"}.get(field.type, field.type), "not "


def _is_null(field: Field, value: tree.Value) -> bool:
    return value.kind == "null" or (value.kind == "text" and not value.text and field.type in TEXT | ID)


def subject_of(column: Column) -> str:
    """What is compared: text in any letter case, numbers as numbers, everything else as stored."""
    if column.field.type in TEXT:
        return f"fold({column.sql})"
    return f"CAST({column.sql} AS REAL)" if column.field.type in NUMBER else column.sql
