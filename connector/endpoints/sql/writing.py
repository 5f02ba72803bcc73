"""Rows on their way into a table: many by one statement, as tuples of what the driver takes, and their ids back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from connector.endpoints.sql.columns import UNFIT
from connector.endpoints.sql.tables import Canonical, Path, Table
from connector.errors import Rejected
from connector.model import Change, Written

Item = tuple[int, Change, tuple[Any, ...]]
"""A change with its place among its siblings, and its values as the driver takes them."""
_TRIGGERS = sa.text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(:name)")


def grouped(table: Table, changes: Mapping[int, Change], refused: dict[int, Written]) -> list[tuple[Path, list[Item]]]:
    """Changes by the columns that they set; those that say what no column can hold are `refused` instead."""
    if alike := _alike(table, list(changes.values())):
        encode = table.encoder(alike, canonical=True)
        return [(alike, [(number, change, encode(change.values.values())) for number, change in changes.items()])]
    groups: dict[Path, list[Item]] = {}
    encoder = cache(table.encoder)
    for number, change in changes.items():
        try:
            values = table.flat(change)
            names = tuple(values)
            known = change.values.__class__ is Canonical and change.values.table is table
            row = encoder(names, canonical=known)(values.values())
        except Rejected as error:
            refused[number] = Written(change.id, error)
        else:
            groups.setdefault(names, []).append((number, change, row))
    return list(groups.items())


def _alike(table: Table, changes: Sequence[Change]) -> Path | None:
    """The columns that all of them set, if their values are canonical ones of columns alone, as those of a flow nearly
    always are.
    """
    names = tuple(changes[0].values)
    if not table.leaves.keys() >= set(names) or not (table.made_id or changes[0].verb != "create"):
        return None
    for change in changes:
        values = change.values
        if values.__class__ is not Canonical or values.table is not table or tuple(values) != names:
            return None
    return names


def create(db: Connection, table: Table, names: Path, items: Sequence[Item]) -> dict[int, Written]:
    ids = _made(db, table, names, [row for _, _, row in items])
    return {number: Written(str(id_)) for (number, _, _), id_ in zip(items, ids, strict=True)}


def _made(db: Connection, table: Table, names: Path, rows: list[tuple[Any, ...]]) -> Sequence[Any]:
    """The ids of new rows, in their order."""
    known = table.sql.c[table.id]
    insert = table.sql.insert().returning(known)
    if not names:
        return [db.scalar(insert) for _ in rows]
    if db.dialect.name == "postgresql":
        return list(_returned(db, table, names, rows))
    numbered = table.codecs[table.id].family == "integer" and table.id not in names
    if numbered and not db.scalar(_TRIGGERS, {"name": table.sql.name}):
        return _numbered(db, table, names, rows)
    named = [dict(zip(names, row, strict=True)) for row in rows]
    if numbered:
        return sorted(db.scalars(insert, named))  # they come in any order, but are numbered in ours
    return list(db.scalars(table.sql.insert().returning(known, sort_by_parameter_order=True), named))


def _returned(db: Connection, table: Table, names: Path, rows: list[tuple[Any, ...]]) -> Iterator[Any]:
    """One answer for each row, which all travel together."""
    text = f"{_insert(db, table, names)} RETURNING {db.dialect.identifier_preparer.quote(table.id)}"
    cursor = db.exec_driver_sql(text, rows, execution_options={"returning": True}).cursor
    more: Any = True
    while more:
        yield from (id_ for (id_,) in cursor.fetchall())
        more = cursor.nextset()


def returning(cursor: Any, statement: str, rows: Any, context: Any) -> bool:
    """For SQLAlchemy's do_executemany, which throws away what the rows of a batch return."""
    if wanted := bool(context.execution_options.get("returning")):
        cursor.executemany(statement, rows, returning=True)
    return wanted


def _numbered(db: Connection, table: Table, names: Path, rows: list[tuple[Any, ...]]) -> Sequence[Any]:
    """The ids that SQLite counts up, in half the time of RETURNING. Triggers could add or leave out rows of their own."""
    known = table.sql.c[table.id]
    last = db.scalar(sa.select(sa.func.max(known))) or 0
    db.exec_driver_sql(_insert(db, table, names), rows)
    first, last = db.execute(sa.select(sa.func.min(known), sa.func.max(known)).where(known > last)).one()
    if first is None:  # an INT PRIMARY KEY, which is not INTEGER, counts nothing up
        raise ValueError(f"{table.id} is not given, and nothing makes it")
    return range(first, last + 1)


def update(db: Connection, table: Table, names: Path, items: Sequence[Item]) -> dict[int, Written]:
    column, ids = table.sql.c[table.id], dict[int, Any]()
    bind = table.codecs[table.id].bind
    for number, change, _ in items:
        with suppress(*UNFIT):
            ids[number] = bind(change.id)
    rows, there = [(*row, ids[n]) for n, _, row in items if n in ids], set(ids)
    if not rows or not names or db.exec_driver_sql(_set(db, table, names), rows).rowcount != len(rows):
        found = set(map(str, db.scalars(sa.select(column).where(column.in_(list(ids.values()))))))
        there = {number for number, id_ in ids.items() if str(id_) in found}
    return {
        n: Written(change.id, None if n in there else Rejected(f"{table.label} has no row {change.id}", "NOT_FOUND"))
        for n, change, _ in items
    }


def _insert(db: Connection, table: Table, names: Path) -> str:
    spelt = db.dialect.identifier_preparer
    columns, marks = ", ".join(map(spelt.quote, names)), ", ".join([_mark(db)] * len(names))
    return f"INSERT INTO {spelt.format_table(table.sql)} ({columns}) VALUES ({marks})"


def _set(db: Connection, table: Table, names: Path) -> str:
    spelt, mark = db.dialect.identifier_preparer, _mark(db)
    columns = ", ".join(f"{spelt.quote(name)} = {mark}" for name in names)
    return f"UPDATE {spelt.format_table(table.sql)} SET {columns} WHERE {spelt.quote(table.id)} = {mark}"


def _mark(db: Connection) -> str:
    return "?" if db.dialect.name == "sqlite" else "%s"
