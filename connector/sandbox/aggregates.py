"""COUNT(f), MIN, MAX, SUM, AVG with GROUP BY and HAVING -> one SQL statement that writes AggregateResult rows."""

from dataclasses import replace

from connector.sandbox import tree
from connector.sandbox.conditions import Column, Conditions, subject_of
from connector.sandbox.errors import ApiError, not_emulated
from connector.sandbox.rendering import concat, every
from connector.sandbox.schema import COMPOUND, NUMBER, STORED, TEXT, Field
from connector.sandbox.scopes import Scope
from connector.sandbox.tokens import layout, malformed
from connector.sandbox.values import as_json

MAX_ROWS = 2_000
_LARGEST = 1.7e308  # infinity has no JSON
_START = '{"attributes":{"type":"AggregateResult"}'


def grouped(scope: Scope, window: str) -> str:
    """[U] the sentences of the refusals, as commonly seen."""
    select, query = scope.select, scope.context.query
    if select.counts:
        raise malformed(query, select.at, "Grouped query cannot use COUNT()")
    if select.limit is not None and not select.group:
        sentence = "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"
        raise malformed(query, select.at, sentence)
    groups = _Groups(scope)
    record, where = groups.record(), every(scope.where())
    group = f"GROUP BY {', '.join(groups.keys)}" if groups.keys else ""
    having = f"HAVING {groups.conditions().sql(select.having)}" if select.having else ""
    order = ", ".join([*scope.order_keys(groups.resolve), *groups.keys])
    ordered = f"ORDER BY {order}" if order else ""
    # One row more than may be answered is enough to know that there are too many.
    return (
        f"SELECT {record} FROM {scope.table} {scope.joins()} WHERE {where} {group} {having} {ordered} "
        f"{window if select.limit is not None else f'LIMIT {MAX_ROWS + 1} OFFSET {select.offset}'}"
    )


def too_many() -> ApiError:
    sentence = (
        "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"  # [U] code
    )
    return ApiError(400, "EXCEEDED_ID_LIMIT", sentence)


class _Groups:
    def __init__(self, scope: Scope) -> None:
        self.scope, self.query = scope, scope.context.query
        self.columns = {column.keys: column for column in map(self._groupable, scope.select.group)}
        self.keys = [subject_of(column) for column in self.columns.values()]

    def conditions(self) -> Conditions:
        return self.scope.compiler(self.resolve)

    def record(self) -> str:
        pieces: list[str | tuple[str]] = [_START]
        names: set[str] = set()
        unnamed = 0
        for item in self.scope.select.items:
            match item:
                case tree.Path():
                    column = self.resolve(item)
                    name, at = column.keys[-1], item.at
                case tree.Aliased():
                    column, name, at = self.resolve(item.path), item.alias, item.at
                case tree.Function() if item.name in tree.AGGREGATES:
                    column, at = self.resolve(item), item.at
                    name = item.alias or f"expr{unnamed}"
                    unnamed += item.alias is None
                case _:
                    raise malformed(
                        self.query, self.scope.select.at, "Grouped query holds fields and aggregate functions only"
                    )
            if name.lower() in names:
                raise malformed(self.query, at, f"duplicate alias: {name}")
            names.add(name.lower())
            pieces += [f',"{name}":', (as_json(column.field, column.sql),)]
        return concat([*pieces, "}"])

    def resolve(self, subject: tree.Subject) -> Column:
        """A grouped field or an aggregate: nothing else has one value per group."""
        if isinstance(subject, tree.Function) and subject.name in tree.AGGREGATES:
            return self._aggregate(subject)
        column = self.scope.resolve(subject)
        if isinstance(subject, tree.Function) or column.keys not in self.columns:
            sentence = f"Field must be grouped or aggregated: {column.field.name}"
            raise malformed(self.query, subject.at, sentence)
        return replace(column, sql=f"min({column.sql})")  # one letter case of those that are grouped together

    def _groupable(self, path: tree.Path) -> Column:
        column = self.scope.resolve(path)
        field = column.field
        if (
            field.long_text
            or field.type in COMPOUND | {"multipicklist", "datetime", "base64"}
            or (field.type in NUMBER and field.type != "int")
        ):
            sentence = f"field '{field.name}' can not be grouped in a query call"
            raise ApiError(400, "INVALID_FIELD", layout(self.query, path.at, sentence))
        return column

    def _aggregate(self, function: tree.Function) -> Column:
        column = self.scope.resolve(function.path)
        field, name = column.field, function.name
        if field.type not in STORED:
            raise not_emulated(f"{name.upper()}() of a field of type {field.type}")
        sql = {
            "count": f"count({column.sql})",
            "count_distinct": f"count(DISTINCT {subject_of(column)})",
            "sum": _number(field, f"sum(CAST({column.sql} AS REAL))"),
            "avg": _finite(f"avg(CAST({column.sql} AS REAL))"),
            "min": _extreme("min", column),
            "max": _extreme("max", column),
        }[name]
        if not _fits(name, field):
            sentence = f"field {field.name} does not support aggregate operator {name.upper()}"
            raise malformed(self.query, function.at, sentence)
        return Column(_result(name, field), sql, (name, *column.keys))


def _fits(name: str, field: Field) -> bool:
    if name in ("sum", "avg"):
        return field.type in NUMBER
    if name in ("min", "max"):
        return field.type not in {"boolean", "multipicklist"} and not field.long_text
    return not field.long_text and (name == "count" or field.type != "boolean")


def _result(name: str, field: Field) -> Field:
    """The type of an aggregate's value; it can be compared and sorted by."""
    kind = {"count": "int", "count_distinct": "int", "avg": "double"}.get(name, field.type)
    return replace(field, type=kind, filterable=True, sortable=True)


def _extreme(name: str, column: Column) -> str:
    if column.field.type in NUMBER:
        return _number(column.field, f"{name}(CAST({column.sql} AS REAL))")
    return f"{name}({column.sql} COLLATE folded)" if column.field.type in TEXT else f"{name}({column.sql})"


def _number(field: Field, sql: str) -> str:
    return f"CAST({sql} AS INTEGER)" if field.type in ("int", "long") else _finite(sql)


def _finite(sql: str) -> str:
    return f"max(min({sql}, {_LARGEST}), -{_LARGEST})"
