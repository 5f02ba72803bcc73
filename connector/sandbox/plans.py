"""A parsed SELECT over a schema -> a plan: SQL that lists the row numbers, and SQL that writes those rows as JSON.

Identifiers come from the schema only, literals are bound parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox import aggregates, tree
from connector.sandbox.errors import ApiError, not_emulated
from connector.sandbox.rendering import every
from connector.sandbox.schema import Child, Object, Schema
from connector.sandbox.scopes import HINT_RELATIONSHIP, Build, Context, Scope
from connector.sandbox.tokens import layout, malformed

MAX_OFFSET = 2_000
MAX_LEVELS, LEVELS_BEFORE_58 = 5, 2  # of sub-selects, the outermost query counted


@dataclass(frozen=True)
class Plan:
    object: Object
    counts: bool
    grouped: str | None  # SQL of the JSON of an aggregate's rows; the other two are not used then
    numbers: str  # SQL: row numbers in order; a child's is bound to :parent
    records: str  # SQL: (position, JSON) of the row numbers in :page
    parameters: Mapping[str, Any]
    page: int
    columns: tuple[tuple[tuple[str, ...], str], ...]  # (keys, type) of the fields shown
    children: "list[Plan]" = field(compare=False)  # every sub-select of the query, found by its place in the list


def plan(select: tree.Select, context: Context) -> Plan:
    return _Compiler(context).top(select)


def objects(select: tree.Select, schema: Schema) -> frozenset[str]:
    """The objects a query reads by FROM: its own and those of its sub-selects. Unknown names are left out."""
    found = schema.object(".".join(select.source.names))
    if found is None:
        return frozenset()
    names = {found.name}
    for item in select.items:
        if isinstance(item, tree.Select):
            child = found.subselects.get(item.source.names[-1].lower())
            inner = child and schema.object(child.object)
            names |= {inner.name} if inner else set()
    return frozenset(names)


class _Compiler:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.build = Build(context, self.child)
        self.children: list[Plan] = []

    def top(self, select: tree.Select) -> Plan:
        scope = Scope(self.build, self.build.source(select), select)
        if select.aggregates or select.having:
            return self.plan(scope, "''", scope.where(), "", None, aggregates.grouped(scope, window(select)))
        record = "''" if select.counts else scope.record()
        return self.plan(scope, record, scope.where(), scope.order(), None)

    def plan(
        self, scope: Scope, record: str, where: list[str], order: str, link: str | None, grouped: str | None = None
    ) -> Plan:
        select = scope.select
        if select.offset > MAX_OFFSET:
            raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")  # [U]
        linked = [f"{link} = :parent"] if link else []
        source = f"{scope.table} {scope.joins()}"
        return Plan(
            object=scope.shape,
            counts=select.counts,
            grouped=grouped,
            numbers=f'SELECT {scope.alias}."#" FROM {source} WHERE {every([*linked, *where])} {order} {window(select)}',
            records=(
                f"SELECT page.key, {record} FROM json_each(:page) AS page "
                f'CROSS JOIN {scope.table} ON {scope.alias}."#" = page.value {scope.joins()}'
            ),
            parameters=self.build.parameters.bound,
            page=self.build.page,
            columns=tuple(scope.columns),
            children=self.children,
        )

    def child(self, select: tree.Select, parent: Scope) -> tuple[str, str]:
        """A sub-select in the SELECT list: the key it is shown under and the SQL of its value."""
        if select.aggregates or select.having or select.counts:
            raise malformed(self.context.query, select.at, "Aggregates are not allowed in a sub-select")  # [U]
        if select.offset or select.scope:
            raise not_emulated("OFFSET or USING SCOPE in a sub-select")
        self.check_level(select, parent.depth + 1)
        child, shape = self.relationship(select, parent.shape)
        scope = Scope(self.build, shape, select, parent.depth + 1)
        fk = shape.field(child.field)
        if fk is None:
            raise ValueError(
                f"the shape of {shape.name} lacks {child.field}, which a child relationship of {parent.shape.name} names"
            )
        link, parent_id = f'{scope.alias}."{fk.name}"', parent.root.id
        record, conditions, order = scope.record(), scope.where(), scope.order()
        where = every([f"{link} = {parent_id}", *conditions])
        page = self.build.page
        limit = page + 1 if select.limit is None else min(select.limit, page + 1)
        inner = f"SELECT {record} AS r FROM {scope.table} {scope.joins()} WHERE {where} {order} LIMIT {limit}"
        self.children.append(self.plan(scope, record, conditions, order, link))
        place = len(self.children) - 1
        return child.relationship, (
            f"(SELECT CASE WHEN count(*) = 0 THEN 'null' WHEN counted(count(*)) > {page} THEN overflow({place}, {parent_id}) "
            f"""ELSE printf('{{"totalSize":%d,"done":true,"records":[%s]}}', count(*), group_concat(r)) END FROM ({inner}))"""
        )

    def check_level(self, select: tree.Select, level: int) -> None:
        most = MAX_LEVELS if float(self.context.version) >= 58 else LEVELS_BEFORE_58
        if level > most:
            sentence = (
                f"SOQL statements cannot query aggregate relationships more than {most - 1} level away from the root "
                "entity object."
            )
            raise malformed(self.context.query, select.source.at, sentence)  # [U] as commonly seen

    def relationship(self, select: tree.Select, parent: Object) -> tuple[Child, Object]:
        name = select.source.names[-1]
        child = parent.subselects.get(name.lower())
        if child is None:
            sentence = f"Didn't understand relationship '{name}' in FROM part of query call. {HINT_RELATIONSHIP}"
            raise ApiError(400, "INVALID_TYPE", layout(self.context.query, select.source.at, sentence))
        shape = self.context.schema.object(child.object)
        if shape is None:
            raise not_emulated(f"{child.object}, whose shape the org does not have,")
        return child, shape


def window(select: tree.Select) -> str:
    return f"LIMIT {-1 if select.limit is None else select.limit} OFFSET {select.offset}"
