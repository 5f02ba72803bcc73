"""A table as it is: reflected, made or widened; and how nested values lie in its columns. Names come from here only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from connector.endpoints.forms import MADE, STAMPS, near
from connector.endpoints.sql.columns import TYPES, UNFIT, Codec, Fixer, codec, decoding, fixer, reflected
from connector.errors import Drifted, Rejected, SetupError
from connector.model import Change, Column, Row

Path = tuple[str, ...]
FIXERS = 32
"""Functions that are written for a table. Later rows with other names go the slow way."""


class Canonical(dict[str, Any]):
    """Values each of which is as its column of `table` gives it back: to be written they need only be encoded."""

    __slots__ = ("table",)
    table: Table


@dataclass(frozen=True)
class Table:
    """`paths`: where each column lies in nested values. `made_id`: the database numbers new rows. `made`: the column
    in which it says when. `unique`: the columns of the index that marks a table as made by us, else None.
    """

    label: str
    sql: Any
    """A sa.Table; for a preview, possibly a sub-select that stands for one."""
    id: str
    codecs: Mapping[str, Codec]
    paths: Mapping[str, Path]
    groups: Mapping[str, Row]
    made_id: bool
    made: str | None
    unique: Path | None

    @cached_property
    def leaves(self) -> dict[str, Codec]:
        return {name: of for name, of in self.codecs.items() if name not in self.groups}

    @cached_property
    def plain(self) -> dict[str, frozenset[type]]:
        return {name: of.plain for name, of in self.leaves.items()}

    @cached_property
    def fixers(self) -> dict[Path, Fixer]:
        """By the names in a row, which rows of a flow nearly always have alike: what makes its values canonical."""
        return {}

    @property
    def stamp(self) -> str | None:
        return next((name for name in STAMPS if name in self.codecs), None)

    def lacks(self, column: str) -> str:
        return f"{self.label} has no column {column!r}{near(column, self.codecs)}"

    def resolve(self, dotted: str) -> dict[str, Path]:
        """The columns behind a path: its own, those of its group, or the JSON that it leads into."""
        path, flat = tuple(dotted.split(".")), dotted.replace(".", "_")
        below = {column: known for column, known in self.paths.items() if known[: len(path)] == path}
        above = {column: known for column, known in self.paths.items() if path[: len(known)] == known}
        if not below and not above and flat not in self.codecs:
            raise Drifted(self.lacks(flat))
        return below or above or {flat: path}

    def scalar(self, dotted: str) -> str:
        column, *more = self.resolve(dotted)
        if more or self.codecs[column].family == "json":
            raise SetupError(f"{self.label}: {dotted!r} is not one value, so rows cannot be found or ordered by it")
        return column

    def canonical(self, values: Row) -> Row:
        """`values` as they are read back; what a column cannot hold stays, and writing it says so."""
        made, names = Canonical(values), tuple(values)
        made.table = self
        try:
            (self.fixers.get(names) or self._fixer(names))(values, made)
        except UNFIT:
            return self._canonical(values, "", strict=False)
        return made

    def _fixer(self, names: Path) -> Fixer:
        if len(self.fixers) >= FIXERS:  # rows that leave fields out can have any number of such names
            return lambda values, made: made.update(self._canonical(values, "", strict=True))
        made = self.fixers[names] = fixer(names, [self.leaves.get(name) or self._group(name) for name in names])
        return made

    def _group(self, name: str) -> Codec:
        return Codec("group", partial(self._below, name, strict=True), plain=frozenset())

    def _below(self, name: str, value: Any, *, strict: bool) -> Any:
        """The values of a group: that of none, each of its columns is empty."""
        below = self.groups.get(name) if value is None else value
        return self._canonical(below, f"{name}_", strict=strict) if isinstance(below, dict) else value

    def _canonical(self, values: Row, above: str, *, strict: bool) -> Row:
        """Unless it is `strict`, what a column cannot hold stays as it is; else UNFIT."""
        plain, new = self.plain, {}
        for key, value in values.items():
            name = above + key
            if value.__class__ in plain.get(name, ()):
                continue
            if of := self.leaves.get(name):
                try:
                    new[key] = of.canonical(value)
                except UNFIT:
                    if strict:
                        raise
            else:
                new[key] = self._below(name, value, strict=strict)
        return {**values, **new} if new else values

    def flat(self, change: Change) -> Row:
        """The columns of a change. Absent keys stay out, a group that is None empties all of its columns."""
        out = change.values
        if not out.keys() <= self.leaves.keys():
            out = dict(self._flat(out, ""))
        if change.verb == "create" and not self.made_id and out.get(self.id) is None:
            raise Rejected(f"{self.label}: {self.id} is not given, and nothing makes it", "REQUIRED", (self.id,))
        return out

    def _flat(self, values: Row, above: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            name = above + key
            if name in self.leaves:
                yield name, value
            elif isinstance(below := self.groups.get(name) if value is None else value, dict):
                yield from self._flat(below, f"{name}_")
            else:
                raise Drifted(self.lacks(name))

    def encoder(self, names: Path, *, canonical: bool) -> Callable[[Collection[Any]], tuple[Any, ...]]:
        """A function of the values of these columns: what the driver takes. Rejected for one that a column cannot hold,
        which none of `canonical` ones is.
        """
        columns = [(of.taken, of.bind) for of in map(self.leaves.__getitem__, names)]
        special = [(at, of.encode) for at, name in enumerate(names) if (of := self.leaves[name]).special]

        def only_encode(values: Collection[Any]) -> tuple[Any, ...]:
            row = [*values]
            for at, encode in special:
                if row[at] is not None:
                    row[at] = encode(row[at])
            return tuple(row)

        def encode(values: Collection[Any]) -> tuple[Any, ...]:
            pairs = zip(values, columns, strict=True)
            try:
                return tuple([value if value.__class__ in taken else bind(value) for value, (taken, bind) in pairs])
            except UNFIT:
                raise self._unfit(dict(zip(names, values, strict=True))) from None

        return only_encode if canonical else encode

    def _unfit(self, values: Row) -> Rejected:
        for name, value in values.items():
            of = self.leaves[name]
            try:
                value is None or of.bind(value)
            except UNFIT:
                said = f"{self.label}: column {name} is {of.family} and cannot hold {value!r:.80}"
                return Rejected(said, "INVALID_VALUE", (name,))
        raise AssertionError(values)


def among(db: Connection, table: Table, columns: Sequence[str], name: str, count: int) -> str:
    """These columns of the rows whose `name` is one of so many values."""
    spelt, of = db.dialect.identifier_preparer, db.dialect.identifier_preparer.format_table(table.sql)
    # With its table: alone and in quotes, a name that is no column is a text to SQLite.
    told = {known: f"{of}.{spelt.quote(known)}" for known in (*columns, name, table.id)}
    said = f"SELECT {', '.join([told[known] for known in columns])} FROM {of}"
    return f"{said} WHERE {told[name]} IN ({', '.join('?' * count)}) ORDER BY {told[table.id]}"


@lru_cache(256)
def builder(columns: tuple[tuple[Path, Codec], ...]) -> Callable[[Iterable[Sequence[Any]]], list[Row]]:
    """A function that makes rows of the values of a result: path and codec of each, in order, those within groups last."""
    values = [f"v{number}" for number in range(len(columns))]
    nested: Row = {}
    for value, (path, of) in zip(values, columns, strict=True):
        _put(nested, path, decoding(value, of))
    text = f"""
def build(some):
    rows = []
    for [{", ".join(values)}] in some:
        row = blank.copy()
        {"; ".join([f"row[{name!r}] = {_display(value)}" for name, value in nested.items()])}
        rows.append(row)
    return rows
"""
    known: dict[str, Any] = {f"decode_{value}": of.decode for value, (_, of) in zip(values, columns, strict=True)}
    known["blank"] = dict.fromkeys(nested)  # a copy of it need not grow
    exec(text, known)  # noqa: S102 - of what a table has only the repr of names gets in
    return known["build"]  # type: ignore[no-any-return]


def _display(nested: Any) -> str:
    """The expression that makes dicts nested like these of the expressions in them."""
    if not isinstance(nested, dict):
        return str(nested)
    return f"{{{', '.join([f'{name!r}: {_display(value)}' for name, value in nested.items()])}}}"


def _put(row: Row, path: Path, value: Any) -> None:
    for group in path[:-1]:
        row = row.setdefault(group, {})
    row[path[-1]] = value


def reflect(
    db: Connection, system: str, name: str, columns: Sequence[Column], *, imagined: bool = False
) -> Table | None:
    """The table as the database describes it; `columns` say how values nest in it, and what its text means.

    With `imagined`, also as we would make or widen it: what is not there yet reads as NULL.
    """
    inspector, sqlite, label = sa.inspect(db), db.dialect.name == "sqlite", f"{system}: table {name}"
    there = inspector.has_table(name)
    if not there and not imagined:
        return None
    ids = inspector.get_pk_constraint(name)["constrained_columns"] if there else ["id"]
    if len(ids) != 1:
        raise SetupError(f"{label} has {len(ids)} primary key columns; one must say which row is which")
    known = {column["name"]: column for column in (inspector.get_columns(name) if there else ())}
    types = {word: column["type"] for word, column in known.items()}
    defaults = {word for word, column in known.items() if column["default"] is not None}
    wanted = {column.name: column.type for column in _wanted(name, columns).columns} if imagined else {}
    new = {word: type_ for word, type_ in wanted.items() if word not in types}
    kinds = {column.name: column.kind for column in columns} | dict.fromkeys(STAMPS + MADE, "moment")
    codecs = {word: codec(type_, kinds.get(word, ""), sqlite=sqlite) for word, type_ in (types | new).items()}
    numbered = codecs[ids[0]].family == "integer"
    default = sa.FetchedValue() if ids[0] in defaults and not numbered else None
    id_ = sa.Column(ids[0], reflected((types | new)[ids[0]], sqlite=False), server_default=default, primary_key=True)
    rest = [sa.Column(word, reflected(type_, sqlite=sqlite)) for word, type_ in types.items() if word != ids[0]]
    sql: Any = sa.Table(name, sa.MetaData(), id_, *rest)
    if new:
        nulls = [sa.cast(sa.null(), type_).label(word) for word, type_ in new.items()]
        sql = (sa.select(*sql.c, *nulls) if there else sa.select(*nulls).where(sa.false())).subquery(name)
    mapped = {column.name: column.path for column in columns if column.name in codecs}
    groups: dict[str, Row] = {}
    for path in mapped.values():
        for n in range(1, len(path)):
            _put(groups.setdefault("_".join(path[:n]), {}), path[n:], None)
    indexes = {index["name"]: index["column_names"] for index in (inspector.get_indexes(name) if there else ())}
    return Table(
        label=label,
        sql=sql,
        id=ids[0],
        codecs=codecs,
        paths={word: mapped.get(word, (word,)) for word in codecs if word in mapped or word not in groups},
        groups=groups,
        made_id=numbered or ids[0] in defaults,
        made=next((word for word in MADE if word in defaults and word not in mapped), None),
        unique=tuple(map(str, indexes[_marker(name)])) if _marker(name) in indexes else None,
    )


def prepared(
    db: Connection, system: str, name: str, columns: Sequence[Column], keys: Sequence[str], *, create: bool, make: bool
) -> Table:
    """The table with all of `columns`. One that is not there, or is ours, is made or widened, or only imagined so."""
    if twice := [column for column, n in Counter(column.name for column in columns).items() if n > 1]:
        raise SetupError(f"{system}: two fields of {name} would both be column {twice[0]!r}; rename one of them")
    if files := [column.name for column in columns if column.kind == "file"]:
        said = f"{name}.{files[0]} is a file, and an SQL system takes no files"
        raise SetupError(f"{system}: {said}; map its address as text")
    if create and make and db.dialect.name == "postgresql":  # two that start at once both look, and both make
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(_marker(name)))))
    found, wanted = reflect(db, system, name, columns), _wanted(name, columns)
    if create and (found is None or found.unique):
        unique = _unique(system, name, columns, keys)
        if make:
            _make(db, found, wanted, unique)
        found = reflect(db, system, name, columns, imagined=not make)
    if found is None:
        ddl = re.sub(r"\s+", " ", _ddl(db, sa.schema.CreateTable(wanted))).strip()
        raise SetupError(f"{unknown(db, system, name)}; set `create_tables: true`, or create it: {ddl}")
    if missing := [column for column in wanted.columns if column.name not in (*found.codecs, "id")]:
        adding = f"`create_tables: true` widens only tables made by it, so: {_adding(db, missing[0])}"
        raise SetupError(f"{found.lacks(missing[0].name)}; {adding}")
    return found


def unknown(db: Connection, system: str, name: str) -> str:
    inspector = sa.inspect(db)
    return f"{system}: there is no table {name!r}{near(name, inspector.get_table_names() + inspector.get_view_names())}"


def _wanted(name: str, columns: Sequence[Column]) -> sa.Table:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    made = [sa.Column(column.name, TYPES[column.kind]) for column in columns if column.name != "id"]
    id_ = sa.Column("id", number, sa.Identity(), primary_key=True)
    # AUTOINCREMENT: the id of a deleted row must not come back, links remember it
    return sa.Table(name, sa.MetaData(), id_, *made, sqlite_autoincrement=True)


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
    index = sa.Index(_marker(wanted.name), *(wanted.c[key] for key in unique), unique=True)
    if found is None:
        wanted.create(db)  # and its index
        return
    for column in wanted.columns:
        if column.name not in found.codecs:
            db.exec_driver_sql(_adding(db, column))
    if found.unique != unique:
        index.drop(db)
        index.create(db)


def _adding(db: Connection, column: sa.Column[Any]) -> str:
    added = _ddl(db, sa.schema.CreateColumn(column))
    return f"ALTER TABLE {db.dialect.identifier_preparer.format_table(column.table)} ADD COLUMN {added}"


def _ddl(db: Connection, element: Any) -> str:
    return str(element.compile(dialect=db.dialect))


def _marker(table: str) -> str:
    return f"uq_connector_{table}"[:63]
