"""A parsed SELECT over a schema -> a plan: SQL that lists the row numbers, and SQL that writes those rows as JSON.

SQLite builds each record's JSON itself (parents by LEFT JOIN, children by a correlated sub-select), so a page of 2,000 records
costs one statement and no Python per value. Identifiers come from the schema only, literals are bound parameters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from connector.sandbox import soql
from connector.sandbox.conditions import Column, Conditions, Parameters, subject_of
from connector.sandbox.errors import ApiError, not_emulated
from connector.sandbox.schema import COMPOUND, STORED, Child, Field, Object, Schema, words
from connector.sandbox.tokens import layout, malformed
from connector.sandbox.values import as_json

MAX_PARENTS = 5
MAX_JOINS = 55
MAX_OFFSET = 2_000
MAX_CHILDREN = 20
SMALL_PAGE = 200
_ARGUMENTS = 100  # SQLite takes 127 arguments in one call
_HINT_FIELD = (
    "If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
_HINT_OBJECT = (
    "If you are attempting to use a custom object, be sure to append the '__c' after the entity name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
_HINT_RELATIONSHIP = (
    "If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
# What the pseudo-object Name offers, where a lookup may lead to several objects [U: the useful part of its fields].
_NAME_FIELDS = words("id name firstname lastname email phone title username alias isactive")


@dataclass(frozen=True)
class Context:
    schema: Schema
    query: str
    version: str
    today: date
    deleted: bool  # queryAll
    page: int


@dataclass(frozen=True)
class Plan:
    object: Object
    counts: bool
    numbers: str  # SQL: row numbers in order; a child's is bound to :parent
    records: str  # SQL: (position, JSON) of the row numbers in :page
    parameters: Mapping[str, Any]
    page: int
    children: "list[Plan]" = field(compare=False)  # every sub-select of the query, found by its place in the list


def plan(select: soql.Select, context: Context) -> Plan:
    return _Compiler(context).top(select)


def objects(select: soql.Select, schema: Schema) -> frozenset[str]:
    """The objects a query reads by FROM: its own and those of its sub-selects. Unknown names are left out."""
    found = schema.object(".".join(select.source.names))
    if found is None:
        return frozenset()
    names = {found.name}
    for item in select.items:
        if isinstance(item, soql.Select):
            child = found.subselects.get(item.source.names[-1].lower())
            inner = child and schema.object(child.object)
            names |= {inner.name} if inner else set()
    return frozenset(names)


@dataclass
class _Node:
    """One record in the answer: the tables it may come from, and its members in the order of the query."""

    tables: tuple[tuple[Object, str], ...]
    named: bool = False  # a polymorphic lookup, shown as the pseudo-object Name
    members: "dict[str, str | _Node]" = field(default_factory=dict)

    @property
    def id(self) -> str:
        return _first(f'{alias}."Id"' for _, alias in self.tables)


@dataclass(frozen=True)
class _Clauses:
    """The compiled clauses of one scope; compiling them all comes before its joins are read."""

    record: str
    where: list[str]
    order: str

    @staticmethod
    def of(scope: "_Scope", select: soql.Select) -> "_Clauses":
        return _Clauses("''" if select.counts else scope.record(), scope.where(), scope.order())


class _Compiler:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.parameters = Parameters()
        self.children: list[Plan] = []
        self.aliases = 0
        self.long_texts = 0

    @property
    def page(self) -> int:
        """Two or more long texts of one's own make the pages small (1.3)."""
        return self.context.page if self.long_texts < 2 else min(self.context.page, SMALL_PAGE)

    def alias(self) -> str:
        self.aliases += 1
        return f"t{self.aliases}"

    def top(self, select: soql.Select) -> Plan:
        shape = self.source(select)
        scope = _Scope(self, shape, select)
        return self.plan(scope, select, None, _Clauses.of(scope, select))

    def source(self, select: soql.Select) -> Object:
        name = ".".join(select.source.names)
        shape = self.context.schema.object(name)
        if shape is None:
            sentence = f"sObject type '{name}' is not supported. {_HINT_OBJECT}"
            raise ApiError(400, "INVALID_TYPE", layout(self.context.query, select.source.at, sentence))
        return shape

    def plan(self, scope: "_Scope", select: soql.Select, link: str | None, clauses: "_Clauses") -> Plan:
        if select.offset > MAX_OFFSET:
            raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")  # [U]
        window = f"LIMIT {-1 if select.limit is None else select.limit} OFFSET {select.offset}"
        linked = [f"{link} = :parent"] if link else []
        source = f"{scope.table} {scope.joins()}"
        return Plan(
            object=scope.shape,
            counts=select.counts,
            numbers=f'SELECT {scope.alias}."#" FROM {source} WHERE {_all([*linked, *clauses.where])} {clauses.order} {window}',
            records=(
                f"SELECT page.key, {clauses.record} FROM json_each(:page) AS page "
                f'CROSS JOIN {scope.table} ON {scope.alias}."#" = page.value {scope.joins()}'
            ),
            parameters=self.parameters.bound,
            page=self.page,
            children=self.children,
        )

    def child(self, select: soql.Select, parent: Object, parent_id: str) -> tuple[str, str]:
        """A sub-select in the SELECT list: the key it is shown under and the SQL of its value."""
        child, shape = self.relationship(select, parent)
        if select.counts or select.offset:
            raise not_emulated("COUNT() or OFFSET in a sub-select")
        scope = _Scope(self, shape, select)
        fk = shape.field(child.field)
        if fk is None:
            raise ValueError(
                f"the shape of {shape.name} lacks {child.field}, which a child relationship of {parent.name} names"
            )
        link = f'{scope.alias}."{fk.name}"'
        clauses = _Clauses.of(scope, select)
        where = _all([f"{link} = {parent_id}", *clauses.where])
        page = self.page
        limit = page + 1 if select.limit is None else min(select.limit, page + 1)
        inner = f"SELECT {clauses.record} AS r FROM {scope.table} {scope.joins()} WHERE {where} {clauses.order} LIMIT {limit}"
        self.children.append(self.plan(scope, select, link, clauses))
        place = len(self.children) - 1
        return child.relationship, (
            f"(SELECT CASE WHEN count(*) = 0 THEN 'null' WHEN count(*) > {page} THEN overflow({place}, {parent_id}) "
            f"""ELSE printf('{{"totalSize":%d,"done":true,"records":[%s]}}', count(*), group_concat(r)) END FROM ({inner}))"""
        )

    def relationship(self, select: soql.Select, parent: Object) -> tuple[Child, Object]:
        name = select.source.names[-1]
        child = parent.subselects.get(name.lower())
        if child is None:
            sentence = f"Didn't understand relationship '{name}' in FROM part of query call. {_HINT_RELATIONSHIP}"
            raise ApiError(400, "INVALID_TYPE", layout(self.context.query, select.source.at, sentence))
        shape = self.context.schema.object(child.object)
        if shape is None:
            raise not_emulated(f"{child.object}, whose shape the org does not have,")
        return child, shape


class _Scope:
    """One FROM: resolves paths to columns and adds the joins they need."""

    def __init__(self, compiler: _Compiler, shape: Object, select: soql.Select) -> None:
        self.compiler, self.shape, self.select = compiler, shape, select
        self.context = compiler.context
        self.alias = compiler.alias()
        self.table = f'"{shape.name}" AS {self.alias}'
        self.prefixes = {shape.name.lower(), select.source.names[-1].lower(), (select.alias or shape.name).lower()}
        self.nodes: dict[tuple[str, ...], _Node] = {(): _Node(((shape, self.alias),))}
        self.joined: list[str] = []
        self.conditions = Conditions(
            self.context.query, self.context.today, compiler.parameters, self.resolve, self.semijoin
        )

    # -- the clauses

    def joins(self) -> str:
        return " ".join(self.joined)

    def where(self) -> list[str]:
        own = [self.conditions.sql(self.select.where)] if self.select.where else []
        return [*self.live(self.shape, self.alias), *own]

    def live(self, shape: Object, alias: str) -> list[str]:
        return [] if self.context.deleted or not shape.deletable else [f"{alias}.\"IsDeleted\" = 'false'"]

    def order(self) -> str:
        keys = []
        for item in self.select.order:
            column = self.resolve(item.path)
            if column.field.long_text or not column.field.sortable:
                sentence = f"field '{column.field.name}' can not be sorted in a query call"  # [U] code
                raise ApiError(400, "INVALID_FIELD", layout(self.context.query, item.path.at, sentence))
            direction = "DESC" if item.descending else "ASC"
            keys.append(f"{subject_of(column)} {direction} NULLS {'LAST' if item.nulls_last else 'FIRST'}")
        # Salesforce promises no order without ORDER BY; by Id it is at least the same every time.
        return f"ORDER BY {', '.join([*keys, f'{self.alias}.{chr(34)}Id{chr(34)}'])}"

    def semijoin(self, select: soql.Select) -> str:
        if len(select.items) != 1 or not isinstance(select.items[0], soql.Path):
            raise malformed(self.context.query, select.source.at, "semi-join needs exactly one field")  # [U]
        if select.order or select.limit is not None or select.offset:
            raise not_emulated("ORDER BY, LIMIT or OFFSET in a semi-join")
        scope = _Scope(self.compiler, self.compiler.source(select), select)
        column = scope.resolve(select.items[0])
        where = [*scope.where(), f"{column.sql} IS NOT NULL"]
        return f"SELECT {column.sql} FROM {scope.table} {scope.joins()} WHERE {_all(where)}"

    # -- the SELECT list

    def record(self) -> str:
        root = self.nodes[()]
        root.members.clear()
        seen: set[tuple[str, ...]] = set()
        children = 0
        for item in self.select.items:
            if isinstance(item, soql.Select):
                key, sql = self.compiler.child(item, self.shape, root.id)
                self.show((key,), sql, item.source.at, seen)
                children += 1
                continue
            if isinstance(item, soql.Fields):
                for column in self.fields(item):
                    self.show(column.keys, self.json(column), None, seen)
                continue
            column = self.resolve(item)
            self.show(column.keys, self.json(column), item.at, seen)
        if children > MAX_CHILDREN:
            raise malformed(self.context.query, 0, f"more than {MAX_CHILDREN} sub-selects")  # [U]
        return render(root, self.context.version)

    def show(self, keys: tuple[str, ...], sql: str, at: int | None, seen: set[tuple[str, ...]]) -> None:
        if keys in seen:
            sentence = f"duplicate field selected: {keys[-1]}"
            # What FIELDS() doubles is told without a position (2.2).
            message = sentence if at is None else layout(self.context.query, at, sentence)
            raise ApiError(400, "INVALID_FIELD", message)
        seen.add(keys)
        node = self.nodes[()]
        for depth, key in enumerate(keys[:-1]):
            node.members.setdefault(key, self.nodes[keys[: depth + 1]])
            node = self.nodes[keys[: depth + 1]]
        node.members[keys[-1]] = sql

    def fields(self, item: soql.Fields) -> list[Column]:
        if item.which != "standard" and (self.select.limit is None or self.select.limit > 200):
            raise malformed(self.context.query, item.at, "The SOQL FIELDS function must have a LIMIT of at most 200")
        wanted = {"all": (True, False), "custom": (True,), "standard": (False,)}[item.which]
        shown = [each for each in self.shape.fields if each.custom in wanted and each.type in STORED | COMPOUND]
        return [self.column(self.nodes[()], (), each) for each in shown]

    def json(self, column: Column) -> str:
        if column.field.type in COMPOUND:
            return column.sql
        if column.field.type not in STORED:
            raise not_emulated(f"A field of type {column.field.type}")
        self.compiler.long_texts += column.field.long_text and column.field.custom
        return as_json(column.field, column.sql)

    # -- paths

    def resolve(self, path: soql.Path) -> Column:
        names = path.names
        if len(names) > 1 and names[0].lower() in self.prefixes:
            names = names[1:]
        if len(names) - 1 > MAX_PARENTS:
            raise malformed(self.context.query, path.at, f"more than {MAX_PARENTS} levels of relationship")  # [U]
        keys: tuple[str, ...] = ()
        for name in names[:-1]:
            keys = self.parent(keys, name, path.at)
        node = self.nodes[keys]
        found = self.field(node, names[-1])
        if found is None:
            entity = "Name" if node.named else node.tables[0][0].name
            sentence = f"No such column '{names[-1]}' on entity '{entity}'. {_HINT_FIELD}"
            raise ApiError(400, "INVALID_FIELD", layout(self.context.query, path.at, sentence))
        return self.column(node, keys, found)

    def field(self, node: _Node, name: str) -> Field | None:
        if node.named and name.lower() == "type":
            raise not_emulated("Type of a polymorphic lookup")
        if node.named and name.lower() not in _NAME_FIELDS:
            return None
        return next((found for shape, _ in node.tables if (found := shape.field(name))), None)

    def column(self, node: _Node, keys: tuple[str, ...], found: Field) -> Column:
        if found.type in COMPOUND:
            shape, alias = node.tables[0]
            return Column(found, compound(shape, alias, found), (*keys, found.name))
        tables = [alias for shape, alias in node.tables if shape.field(found.name)]
        return Column(found, _first(f'{alias}."{found.name}"' for alias in tables), (*keys, found.name))

    def parent(self, keys: tuple[str, ...], name: str, at: int) -> tuple[str, ...]:
        """Follow a lookup; the joins it needs are added once per path."""
        node = self.nodes[keys]
        if node.named:
            raise not_emulated("A path through a polymorphic lookup")
        shape, alias = node.tables[0]
        lookup = shape.parents.get(name.lower())
        if lookup is None or lookup.relationship is None:
            sentence = f"Didn't understand relationship '{name}' in field path. {_HINT_RELATIONSHIP}"
            raise ApiError(400, "INVALID_FIELD", layout(self.context.query, at, sentence))
        reached = (*keys, lookup.relationship)
        if reached not in self.nodes:
            targets = [found for target in lookup.reference_to if (found := self.context.schema.object(target))]
            if not targets:
                raise not_emulated(f"{' or '.join(lookup.reference_to)}, whose shape the org does not have,")
            tables = tuple((target, self.join(target, f'{alias}."{lookup.name}"')) for target in targets)
            self.nodes[reached] = _Node(tables, named=len(lookup.reference_to) > 1)
        return reached

    def join(self, target: Object, key: str) -> str:
        if len(self.joined) >= MAX_JOINS:
            raise ApiError(400, "QUERY_TOO_COMPLICATED", f"more than {MAX_JOINS} relationships in one query")  # [U]
        alias = self.compiler.alias()
        on = [f'{alias}."Id" = {key}', *self.live(target, alias)]  # [U] a parent in the recycle bin reads as null
        self.joined.append(f'LEFT JOIN "{target.name}" AS {alias} ON {_all(on)}')
        return alias


def compound(shape: Object, alias: str, whole: Field) -> str:
    """An address as one JSON object of its parts, null when every part is (2.3)."""
    prefix = whole.name.removesuffix("Address")
    parts = sorted(shape.parts(whole), key=lambda part: part.name)
    pieces: list[str | tuple[str]] = []
    for part in parts:
        key = part.name.removeprefix(prefix)
        pieces += [f'{"," if pieces else "{"}"{key[0].lower()}{key[1:]}":', (as_json(part, f'{alias}."{part.name}"'),)]
    if not pieces:
        return "'null'"
    anything = _first(f'{alias}."{part.name}"' for part in parts)
    return f"CASE WHEN {anything} IS NULL THEN 'null' ELSE {_concat([*pieces, '}'])} END"


def render(node: _Node, version: str) -> str:
    """SQL for the JSON of one record: attributes first, then the members in the order of the query."""
    base = f"/services/data/v{version}/sobjects/"
    pieces: list[str | tuple[str]] = []
    if node.named:
        kinds = " ".join(f"WHEN {alias}.\"Id\" IS NOT NULL THEN '{shape.name}'" for shape, alias in node.tables)
        # [U] a polymorphic parent is shown as type Name with the url of the real object
        pieces += [f'{{"attributes":{{"type":"Name","url":"{base}', (f"CASE {kinds} END",), "/", (node.id,), '"}']
    else:
        name = node.tables[0][0].name
        pieces += [f'{{"attributes":{{"type":"{name}","url":"{base}{name}/', (node.id,), '"}']
    for key, member in node.members.items():
        value = member
        if isinstance(value, _Node):
            value = f"CASE WHEN {value.id} IS NULL THEN 'null' ELSE {render(value, version)} END"
        pieces += [f',"{key}":', (value,)]
    return _concat([*pieces, "}"])


def _concat(pieces: Iterable[str | tuple[str]]) -> str:
    """printf calls over literal text and expressions (in a tuple), joined where SQLite's argument limit cuts them."""
    formats, arguments = [""], [[]]  # type: tuple[list[str], list[list[str]]]
    for piece in pieces:
        if isinstance(piece, str):
            formats[-1] += piece.replace("%", "%%")
            continue
        if len(arguments[-1]) == _ARGUMENTS:
            formats.append("")
            arguments.append([])
        formats[-1] += "%s"
        arguments[-1].append(piece[0])
    calls = [f"printf({', '.join([_quoted(text), *given])})" for text, given in zip(formats, arguments, strict=True)]
    return f"({'||'.join(calls)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first(expressions: Iterable[str]) -> str:
    found = list(expressions)
    return found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"


def _all(conditions: list[str]) -> str:
    return " AND ".join(conditions) if conditions else "1"
