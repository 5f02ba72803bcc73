"""A table as it is: reflected, made or widened; and how nested values lie in its columns. Names come from here only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from connector.endpoints.sql.columns import TYPES, Codec, codec, reflected
from connector.errors import Drifted, Rejected, SetupError
from connector.model import Change, Column, Row

STAMPS = ("updated_at", "updated", "created_at")
MADE = ("created_at", "created")
Path = tuple[str, ...]

UNFIT = (ValueError, TypeError, ArithmeticError)
"""What a codec raises about a value that its column cannot hold."""


@dataclass(frozen=True, slots=True)
class Leaf:
    column: str
    codec: Codec


Tree = dict[str, "Leaf | Tree"]


@dataclass(frozen=True, slots=True)
class Table:
    """`paths`: where each column lies in the nested values. `made_id`: the database numbers new rows.

    `made`: the column in which it says when, unless a mapping fills that one.
    `unique`: the columns of the index that marks a table as made by us, None for any other table.
    """

    label: str
    sql: Any
    """A sa.Table; for a preview, possibly a sub-select that stands for one."""
    id: str
    codecs: Mapping[str, Codec]
    paths: Mapping[Path, str]
    made_id: bool
    made: str | None
    unique: Path | None
    tree: Tree
    leaves: Mapping[str, Leaf]

    def first(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self.codecs), None)

    def resolve(self, dotted: str) -> dict[str, Path]:
        """The columns behind a path: its own, those of its group, or the JSON that it leads into."""
        path, flat = tuple(dotted.split(".")), dotted.replace(".", "_")
        below = {column: known for known, column in self.paths.items() if known[: len(path)] == path}
        above = {column: known for known, column in self.paths.items() if path[: len(known)] == known}
        if not below and not above and flat not in self.codecs:
            raise Drifted(f"{self.label} has no column {flat!r}{near(flat, self.codecs)}")
        return below or above or {flat: path}

    def scalar(self, dotted: str) -> str:
        columns = list(self.resolve(dotted))
        if len(columns) != 1 or self.codecs[columns[0]].family == "json":
            raise SetupError(f"{self.label}: {dotted!r} is not one value, so rows cannot be found or ordered by it")
        return columns[0]

    def canonical(self, values: Row, tree: Tree | None = None, at: Path = ()) -> Row:
        """`values` as they are read back; what a column cannot hold stays, writing it says so."""
        out = dict(values)
        for key, value in values.items():
            node = (self.tree if tree is None else tree).get(key) or self.leaves.get("_".join((*at, key)))
            if isinstance(node, Leaf):
                with suppress(*UNFIT):
                    out[key] = None if value is None else node.codec.canonical(value)
            elif isinstance(value, dict):
                out[key] = self.canonical(value, node or {}, (*at, key))
            elif value is None and node:
                out[key] = _empty(node)
        return out

    def flat(self, change: Change) -> Row:
        """The columns of a change. Absent keys stay out, a group that is None empties all of its columns."""
        out: Row = {}
        self._fill(out, change.values, self.tree, ())
        if change.verb == "create" and not self.made_id and out.get(self.id) is None:
            raise Rejected(f"{self.label}: {self.id} is not given, and nothing makes it", "REQUIRED", (self.id,))
        return out

    def _fill(self, out: Row, values: Row, tree: Tree, at: Path) -> None:
        for key, value in values.items():
            node = tree.get(key) or self.leaves.get("_".join((*at, key)))
            if isinstance(node, Leaf):
                try:
                    out[node.column] = None if value is None else node.codec.encode(node.codec.canonical(value))
                except UNFIT:
                    message = f"{self.label}: column {node.column} is {node.codec.family} and cannot hold {value!r:.80}"
                    raise Rejected(message, "INVALID_VALUE", (node.column,)) from None
            elif isinstance(value, dict) or (value is None and node):
                self._fill(out, value or _empty(node or {}), node or {}, (*at, key))
            else:
                column = "_".join((*at, key))
                raise Drifted(f"{self.label} has no column {column!r}{near(column, self.codecs)}")


def _empty(tree: Tree) -> Row:
    return {key: None if isinstance(node, Leaf) else _empty(node) for key, node in tree.items()}


def _tree(paths: Mapping[Path, str], codecs: Mapping[str, Codec]) -> Tree:
    tree: Tree = {}
    for (*groups, key), column in paths.items():
        at: Any = tree
        for group in groups:
            at = at.setdefault(group, {})
        at[key] = Leaf(column, codecs[column])
    return tree


def builder(columns: Sequence[tuple[Path, Callable[[Any], Any]]]) -> Callable[[Sequence[Any]], Row]:
    """A function that nests the values of a result: (path, decode) of each, in order."""
    plain = [(number, path[0], decode) for number, (path, decode) in enumerate(columns) if len(path) == 1]
    nested = [(number, path[:-1], path[-1], decode) for number, (path, decode) in enumerate(columns) if len(path) > 1]

    def build(values: Sequence[Any]) -> Row:
        row: Row = {key: None if (value := values[number]) is None else decode(value) for number, key, decode in plain}
        for number, groups, key, decode in nested:
            at = row
            for group in groups:
                at = at.setdefault(group, {})
            at[key] = None if (value := values[number]) is None else decode(value)
        return row

    return build


def near(name: str, names: Iterable[str]) -> str:
    found = get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f" (near: {', '.join(found)})" if found else ""


def reflect(db: Connection, system: str, name: str, columns: Sequence[Column]) -> Table | None:
    """The table as the database describes it; `columns` say how values nest in it, and what its text means."""
    schema, _, bare = name.rpartition(".")
    inspector, where, sqlite = sa.inspect(db), schema or None, db.dialect.name == "sqlite"
    if not inspector.has_table(bare, schema=where):
        return None
    ids = inspector.get_pk_constraint(bare, schema=where)["constrained_columns"]
    if len(ids) != 1:
        raise SetupError(f"{system}: table {name} has {len(ids)} primary key columns; one must say which row is which")
    kinds = {column.name: column.kind for column in columns} | dict.fromkeys(STAMPS + MADE, "moment")
    mapped = {column.name: column.path for column in columns}
    codecs, made, made_id = {}, [], False
    known = inspector.get_columns(bare, schema=where)
    for column in known:
        word, type_ = column["name"], column["type"]
        codecs[word] = codec(type_, kinds.get(word, ""), sqlite=sqlite)
        default: list[sa.FetchedValue] = []
        if is_id := word == ids[0]:
            numbered = codecs[word].family == "integer"
            made_id = numbered or column["default"] is not None
            default = [sa.FetchedValue()] if made_id and not numbered else []
        made.append(sa.Column(word, reflected(type_, sqlite=sqlite and not is_id), *default, primary_key=is_id))
    dated = [column["name"] for column in known if column["default"] is not None and column["name"] not in mapped]
    marker = next((i for i in inspector.get_indexes(bare, schema=where) if i["name"] == _marker(bare)), None)
    paths = {mapped.get(word, (word,)): word for word in codecs}
    return Table(
        label=f"{system}: table {name}",
        sql=sa.Table(bare, sa.MetaData(), *made, schema=where),
        id=ids[0],
        codecs=codecs,
        paths=paths,
        made_id=made_id,
        made=next((word for word in MADE if word in dated), None),
        unique=tuple(str(column) for column in marker["column_names"]) if marker else None,
        tree=_tree(paths, codecs),
        leaves={word: Leaf(word, of) for word, of in codecs.items()},
    )


def prepared(
    db: Connection, system: str, name: str, columns: Sequence[Column], keys: Sequence[str], *, create: bool
) -> Table:
    """The table with all of `columns`; made, or widened if we made it. Runs in a transaction that writes."""
    if twice := [column for column, n in Counter(column.name for column in columns).items() if n > 1]:
        raise SetupError(f"{system}: two fields of {name} would both be column {twice[0]!r}; rename one of them")
    if create and db.dialect.name == "postgresql":  # two that start at once both look, and both make
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(_marker(name)))))
    found, wanted = reflect(db, system, name, columns), _wanted(name, columns)
    if create and (found is None or found.unique):
        _make(db, found, wanted, _unique(system, name, columns, keys))
        found = reflect(db, system, name, columns)
    if found is None:
        ddl = re.sub(r"\s+", " ", str(sa.schema.CreateTable(wanted).compile(dialect=db.dialect))).strip()
        raise SetupError(f"{unknown(db, system, name)}; set `create_tables: true`, or create it: {ddl}")
    if missing := [column for column in wanted.columns if column.name != "id" and column.name not in found.codecs]:
        first = f"{found.label} has no column {missing[0].name!r}{near(missing[0].name, found.codecs)}"
        kinds = ", ".join(
            f"ADD COLUMN {sa.schema.CreateColumn(column).compile(dialect=db.dialect)}" for column in missing
        )
        raise SetupError(
            f"{first}; `create_tables: true` widens only tables made by it, so: ALTER TABLE {name} {kinds}"
        )
    return found


def imagined(db: Connection, system: str, name: str, columns: Sequence[Column]) -> Table:
    """The table as `prepared` would make or widen it, for reading only: what is not there yet reads as NULL."""
    found, wanted = reflect(db, system, name, columns), _wanted(name, columns)
    if found and not found.unique:
        return prepared(db, system, name, columns, (), create=False)
    new = [column for column in wanted.columns if found is None or column.name not in found.codecs]
    kinds, sqlite = {column.name: column.kind for column in columns}, db.dialect.name == "sqlite"
    codecs = {column.name: codec(column.type, kinds.get(column.name, ""), sqlite=sqlite) for column in new}
    paths = {column.path: column.name for column in columns if column.name in codecs}
    nulls = [sa.cast(sa.null(), column.type).label(column.name) for column in new]
    if found is None:
        codecs, paths = dict(codecs), paths | {("id",): "id"}
        empty = sa.select(*nulls).where(sa.false()).subquery(name)
        leaves = {word: Leaf(word, of) for word, of in codecs.items()}
        label = f"{system}: table {name}"
        return Table(label, empty, "id", codecs, paths, True, None, None, _tree(paths, codecs), leaves)
    codecs, paths = {**found.codecs, **codecs}, {**found.paths, **paths}
    wider = sa.select(*found.sql.c, *nulls).subquery(name)
    leaves = {word: Leaf(word, of) for word, of in codecs.items()}
    return replace(found, sql=wider, codecs=codecs, paths=paths, tree=_tree(paths, codecs), leaves=leaves)


def unknown(db: Connection, system: str, name: str) -> str:
    inspector = sa.inspect(db)
    return f"{system}: there is no table {name!r}{near(name, inspector.get_table_names() + inspector.get_view_names())}"


def _wanted(name: str, columns: Sequence[Column]) -> sa.Table:
    schema, _, bare = name.rpartition(".")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    made = [sa.Column(column.name, TYPES[column.kind]) for column in columns if column.name != "id"]
    id_ = sa.Column("id", number, sa.Identity(), primary_key=True)
    # AUTOINCREMENT: the id of a deleted row must not come back, links remember it
    return sa.Table(bare, sa.MetaData(), id_, *made, schema=schema or None, sqlite_autoincrement=True)


def _unique(system: str, name: str, columns: Sequence[Column], keys: Sequence[str]) -> Path:
    names = {".".join(column.path): column.name for column in columns}
    kinds = {"id": "integer"} | {column.name: column.kind for column in columns}
    unique = tuple(names.get(key, key) for key in keys) or ("id",)
    for key in unique:
        if kinds.get(key, "json") == "json":
            why = "it is JSON, a match key is one value" if key in kinds else "the mapping does not write it"
            raise SetupError(f"{system}: rows of {name} cannot be found by {key!r}: {why}")
    return unique


def _make(db: Connection, found: Table | None, wanted: sa.Table, unique: Path) -> None:
    if found is None:
        db.execute(sa.schema.CreateTable(wanted))
    for column in wanted.columns if found else ():
        if found and column.name not in found.codecs:
            ddl = sa.schema.CreateColumn(column).compile(dialect=db.dialect)
            db.exec_driver_sql(f"ALTER TABLE {db.dialect.identifier_preparer.format_table(wanted)} ADD COLUMN {ddl}")
    if found is None or found.unique != unique:
        index = sa.Index(_marker(wanted.name), *(wanted.c[key] for key in unique), unique=True)
        if found is not None:
            db.execute(sa.schema.DropIndex(index))
        db.execute(sa.schema.CreateIndex(index))


def _marker(table: str) -> str:
    return f"uq_connector_{table}"[:63]
