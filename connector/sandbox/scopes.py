"""One FROM of a query: paths become columns, with the joins they need, and the SELECT list becomes the JSON of a record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from connector.sandbox import tree
from connector.sandbox.conditions import Column, Conditions, Parameters, subject_of
from connector.sandbox.errors import ApiError, not_emulated
from connector.sandbox.localized import FORMATTED, LOCALE
from connector.sandbox.rendering import Node, Typed, compound, every, first, quoted, render
from connector.sandbox.schema import COMPOUND, SHOWN, STORED, Field, Object, Schema, words
from connector.sandbox.semijoins import check_semijoins, check_sides
from connector.sandbox.sessions import USER_ID
from connector.sandbox.tokens import layout, malformed
from connector.sandbox.values import as_json

MAX_PARENTS = 5
MAX_JOINS = 55
MAX_CHILDREN = 20
SMALL_PAGE, MIDDLE_PAGE = 200, 1_000
_HINT = (
    "If you are attempting to use a custom {0}, be sure to append the '__{1}' after the {2}. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
HINT_FIELD = _HINT.format("field", "c", "custom field name")
HINT_OBJECT = _HINT.format("object", "c", "entity name")
HINT_RELATIONSHIP = _HINT.format("relationship", "r", "custom relationship name")
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
    user: str = USER_ID
    zone: str = "GMT"  # the user's
    locale: str = LOCALE


class Build:
    """What all scopes of one query share: parameters, names of tables, and how long its texts are."""

    def __init__(self, context: Context, child: "Callable[[tree.Select, Scope], tuple[str, str]]") -> None:
        self.context, self.child = context, child
        self.parameters = Parameters()
        self.aliases = self.long_texts = self.own_long_texts = 0

    @property
    def page(self) -> int:
        """Long texts make the pages small: two of one's own to 200, any to 1,000 as recorded."""
        small = SMALL_PAGE if self.own_long_texts > 1 else MIDDLE_PAGE if self.long_texts else self.context.page
        return min(self.context.page, small)

    def alias(self) -> str:
        self.aliases += 1
        return f"t{self.aliases}"

    def source(self, select: tree.Select) -> Object:
        name = ".".join(select.source.names)
        shape = self.context.schema.object(name)
        if shape is None:
            sentence = f"sObject type '{name}' is not supported. {HINT_OBJECT}"
            raise ApiError(400, "INVALID_TYPE", layout(self.context.query, select.source.at, sentence))
        return shape


class Scope:
    def __init__(self, build: Build, shape: Object, select: tree.Select, depth: int = 1) -> None:
        self.build, self.shape, self.select, self.depth = build, shape, select, depth
        self.context = build.context
        self.alias = build.alias()
        self.table = f'"{shape.name}" AS {self.alias}'
        self.prefixes = {shape.name.lower(), select.source.names[-1].lower(), (select.alias or shape.name).lower()}
        self.nodes: dict[tuple[str, ...], Node] = {(): Node(((shape, self.alias),))}
        self.joined: list[str] = []
        self.columns: list[tuple[tuple[str, ...], str]] = []  # what is shown, and its type
        check_semijoins(self.context.query, select.where)
        self.conditions = self.compiler(self.resolve)

    @property
    def root(self) -> Node:
        return self.nodes[()]

    # -- the clauses

    def compiler(self, resolve: Callable[[tree.Subject], Column]) -> Conditions:
        context = self.context
        return Conditions(context.query, context.today, context.zone, self.build.parameters, resolve, self.semijoin)

    def joins(self) -> str:
        return " ".join(self.joined)

    def where(self) -> list[str]:
        own = [self.conditions.sql(self.select.where)] if self.select.where else []
        return [*self.live(self.shape, self.alias), *self.owned(), *own]

    def live(self, shape: Object, alias: str) -> list[str]:
        return [] if self.context.deleted or not shape.deletable else [f"{alias}.\"IsDeleted\" = 'false'"]

    def owned(self) -> list[str]:
        """USING SCOPE: everything, or what belongs to the user who asks."""
        if self.select.scope is None:
            return []
        [name, *_], at = self.select.scope.names, self.select.scope.at
        if name.lower() == "everything":
            return []
        if name.lower() != "mine":
            raise not_emulated(f"USING SCOPE {name}")
        owner = self.shape.field("OwnerId")
        if owner is None:
            raise malformed(self.context.query, at, f"filter scope '{name}' is not supported")  # [U] wording
        return [f'{self.alias}."{owner.name}" = {self.build.parameters.add(self.context.user)}']

    def order(self) -> str:
        # Salesforce promises no order without ORDER BY; by Id it is at least the same every time.
        return f"ORDER BY {', '.join([*self.order_keys(self.resolve), f'{self.alias}.{chr(34)}Id{chr(34)}'])}"

    def order_keys(self, resolve: Callable[[tree.Subject], Column]) -> Iterator[str]:
        for item in self.select.order:
            column = resolve(item.path)
            if column.field.long_text or not column.field.sortable:
                sentence = f"field '{column.field.name}' can not be sorted in a query call"  # [U] code
                raise ApiError(400, "INVALID_FIELD", layout(self.context.query, item.path.at, sentence))
            direction = "DESC" if item.descending else "ASC"
            yield f"{subject_of(column)} {direction} NULLS {'LAST' if item.nulls_last else 'FIRST'}"

    def semijoin(self, left: Column, at: int, select: tree.Select) -> str:
        if len(select.items) != 1 or not isinstance(select.items[0], tree.Path):
            raise malformed(self.context.query, select.source.at, "semi-join needs exactly one field")  # [U]
        if select.order or select.limit is not None or select.offset or select.group or select.scope:
            raise not_emulated("A semi-join with more than SELECT, FROM and WHERE")
        shape = self.build.source(select)
        scope = Scope(self.build, shape, select)
        column = scope.resolve(select.items[0])
        check_sides(self.context.query, at, (self.shape, left.field), (shape, column.field))
        where = [*scope.where(), f"{column.sql} IS NOT NULL"]
        return f"SELECT {column.sql} FROM {scope.table} {scope.joins()} WHERE {every(where)}"

    # -- the SELECT list

    def record(self) -> str:
        self.root.members.clear()
        self.columns.clear()
        children = 0
        for item in self.select.items:
            match item:
                case tree.Select():
                    key, sql = self.build.child(item, self)
                    self.show((key,), sql, item.source.at)
                    children += 1
                case tree.Fields():
                    for column in self.fields(item):
                        self.show(column.keys, self.json(column), None)
                case tree.TypeOf():
                    self.type_of(item)
                case tree.Aliased():  # aggregates only
                    raise malformed(self.context.query, item.at, f"unexpected token: '{item.alias}'")
                case tree.Path() | tree.Function():
                    column = self.resolve(item)
                    self.show(column.keys, self.json(column), item.at)
        if children > MAX_CHILDREN:
            raise malformed(self.context.query, 0, f"more than {MAX_CHILDREN} sub-selects")  # [U]
        return render(self.root, self.context.version)

    def show(self, keys: tuple[str, ...], sql: str | Typed, at: int | None, base: tuple[str, ...] = ()) -> None:
        node = self.nodes[base]
        for depth in range(len(base) + 1, len(keys)):
            below = node.members.setdefault(keys[depth - 1], self.nodes[keys[:depth]])
            if not isinstance(below, Node):  # shown as a whole by TYPEOF
                raise self.doubled(keys[depth - 1], at)
            node = below
        if keys[-1] in node.members:
            raise self.doubled(keys[-1], at)
        node.members[keys[-1]] = sql

    def doubled(self, name: str, at: int | None) -> ApiError:
        sentence = f"duplicate field selected: {name}"
        # What FIELDS() doubles is told without a position.
        message = sentence if at is None else layout(self.context.query, at, sentence)
        return ApiError(400, "INVALID_FIELD", message)

    def fields(self, item: tree.Fields) -> list[Column]:
        if item.which != "standard" and (self.select.limit is None or self.select.limit > 200):
            raise malformed(self.context.query, item.at, "The SOQL FIELDS function must have a LIMIT of at most 200")
        wanted = {"all": (True, False), "custom": (True,), "standard": (False,)}[item.which]
        shown = [each for each in self.shape.fields if each.custom in wanted and each.type in SHOWN]
        return [self.column(self.root, (), each) for each in shown]

    def type_of(self, item: tree.TypeOf) -> None:
        """One node for each kind that is named; each shows its own fields under the real type."""
        keys = self.path(item.path.names, item.path.at)
        whole = self.nodes[keys]
        if not whole.named:
            # [U] wording
            raise malformed(self.context.query, item.path.at, f"TYPEOF needs a polymorphic relationship: {keys[-1]}")
        kinds = []
        for kind, paths in item.whens:
            found = next((table for table in whole.tables if table[0].name.lower() == kind.names[0].lower()), None)
            if found is None:
                raise self.no_kind(kind)
            kinds.append(self.kind((*keys, f"\0{found[0].name}"), Node((found,)), paths))
        rest = self.kind((*keys, "\0Name"), Node(whole.tables, named=True), item.otherwise)
        self.show(keys, Typed(rest, tuple(kinds)), item.path.at)

    def kind(self, keys: tuple[str, ...], node: Node, paths: tuple[tree.Path, ...]) -> Node:
        self.nodes[keys] = node
        for path in paths:
            column = self.resolve(path, keys)
            self.show(column.keys, self.json(column), path.at, keys)
        return node

    def no_kind(self, kind: tree.Path) -> ApiError:
        name = ".".join(kind.names)
        if self.context.schema.object(name):
            return malformed(self.context.query, kind.at, f"{name} is not a type of this relationship")  # [U]
        sentence = f"sObject type '{name}' is not supported. {HINT_OBJECT}"
        return ApiError(400, "INVALID_TYPE", layout(self.context.query, kind.at, sentence))

    def json(self, column: Column) -> str:
        self.columns.append((column.keys, column.field.type))
        if column.field.type in COMPOUND or column.json is not None:
            return column.json or column.sql
        if column.field.type not in STORED:
            raise not_emulated(f"A field of type {column.field.type}")
        self.build.long_texts += column.field.long_text
        self.build.own_long_texts += column.field.long_text and column.field.custom
        return as_json(column.field, column.sql)

    # -- paths

    def resolve(self, subject: tree.Subject, base: tuple[str, ...] = ()) -> Column:
        if isinstance(subject, tree.Function):
            return self.labelled(subject)
        names = subject.names
        if len(names) > 1 and not base and names[0].lower() in self.prefixes:
            names = names[1:]
        if len(names) - 1 > MAX_PARENTS:
            raise malformed(self.context.query, subject.at, f"more than {MAX_PARENTS} levels of relationship")  # [U]
        keys = self.path(names[:-1], subject.at, base)
        node = self.nodes[keys]
        if node.named and names[-1].lower() == "type":
            return Column(replace(self.shape.fields[0], name="Type", type="string"), node.kind, (*keys, "Type"))
        found = self.field(node, names[-1])
        if found is None:
            entity = "Name" if node.named else node.tables[0][0].name
            sentence = f"No such column '{names[-1]}' on entity '{entity}'. {HINT_FIELD}"
            raise ApiError(400, "INVALID_FIELD", layout(self.context.query, subject.at, sentence))
        return self.column(node, keys, found)

    def labelled(self, function: tree.Function) -> Column:
        """toLabel(f): the label of a picklist's value; FORMAT(f): a number or a date as the user reads it."""
        if function.name in tree.AGGREGATES:
            sentence = "Grouped or aggregate functions are not allowed here"  # [U]
            raise malformed(self.context.query, function.at, sentence)
        if function.name == "convertcurrency":
            sentence = "convertCurrency() needs an org with several currencies"  # [U] sentence: the rule is documented
            raise malformed(self.context.query, function.at, sentence)
        column = self.resolve(function.path)
        if function.name == "format" and column.field.type in FORMATTED and self.context.locale == LOCALE:
            return self.formatted(function, column)
        if function.name != "tolabel" or column.field.type != "picklist":
            raise not_emulated(f"{function.name}() of a field of type {column.field.type}")
        labels = {entry["value"]: entry.get("label") or entry["value"] for entry in column.field.raw["picklistValues"]}
        pairs = " ".join(
            f"WHEN {self.build.parameters.add(value)} THEN {self.build.parameters.add(label)}"
            for value, label in labels.items()
        )
        sql = f"CASE {column.sql} {pairs} ELSE {column.sql} END" if pairs else column.sql
        keys = (*column.keys[:-1], function.alias or column.keys[-1])
        return Column(replace(column.field, type="string"), sql, keys)

    def formatted(self, function: tree.Function, column: Column) -> Column:
        kind, scale = column.field.type, column.field.raw.get("scale", 2 if column.field.type == "currency" else 0)
        bound = ", ".join(self.build.parameters.add(each) for each in (kind, scale, self.context.zone))
        field = replace(column.field, type="string", filterable=False, sortable=False)
        return Column(
            field, f"localized({column.sql}, {bound})", (*column.keys[:-1], function.alias or column.keys[-1])
        )

    def field(self, node: Node, name: str) -> Field | None:
        if node.named and name.lower() not in _NAME_FIELDS:
            return None
        return next((found for shape, _ in node.tables if (found := shape.field(name))), None)

    def column(self, node: Node, keys: tuple[str, ...], found: Field) -> Column:
        shown = (*keys, found.name)
        shape, alias = node.tables[0]
        if found.type in COMPOUND:
            return Column(found, compound(shape, alias, found), shown)
        if found.type == "base64":  # its value is the path under which the bytes lie
            start, end = f'"/services/data/v{self.context.version}/sobjects/{shape.name}/', f'/{found.name}"'
            return Column(found, "NULL", shown, f"{quoted(start)}||{node.id}||{quoted(end)}")
        tables = [alias for shape, alias in node.tables if shape.field(found.name)]
        return Column(found, first(f'{alias}."{found.name}"' for alias in tables), shown)

    def path(self, names: tuple[str, ...], at: int, base: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Follow the lookups; the joins they need are added once per path."""
        keys = base
        for name in names:
            keys = self.parent(keys, name, at)
        return keys

    def parent(self, keys: tuple[str, ...], name: str, at: int) -> tuple[str, ...]:
        node = self.nodes[keys]
        if node.named:
            raise not_emulated("A path through a polymorphic lookup")
        shape, alias = node.tables[0]
        lookup = shape.parents.get(name.lower())
        if lookup is None or lookup.relationship is None:
            sentence = f"Didn't understand relationship '{name}' in field path. {HINT_RELATIONSHIP}"
            raise ApiError(400, "INVALID_FIELD", layout(self.context.query, at, sentence))
        reached = (*keys, lookup.relationship)
        if reached not in self.nodes:
            targets = [found for target in lookup.reference_to if (found := self.context.schema.object(target))]
            if not targets:
                raise not_emulated(f"{' or '.join(lookup.reference_to)}, whose shape the org does not have,")
            tables = tuple((target, self.join(target, f'{alias}."{lookup.name}"')) for target in targets)
            self.nodes[reached] = Node(tables, named=len(lookup.reference_to) > 1)
        return reached

    def join(self, target: Object, key: str) -> str:
        if len(self.joined) >= MAX_JOINS:
            raise ApiError(400, "QUERY_TOO_COMPLICATED", f"more than {MAX_JOINS} relationships in one query")  # [U]
        alias = self.build.alias()
        on = [f'{alias}."Id" = {key}', *self.live(target, alias)]  # [U] a parent in the recycle bin reads as null
        self.joined.append(f'LEFT JOIN "{target.name}" AS {alias} ON {every(on)}')
        return alias
