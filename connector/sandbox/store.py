"""Rows of stored values <-> SQLite, one table per object; the file keeps an org across restarts.

Column "#" is the row number: it orders rows by creation, makes new ids and is what a query's snapshot consists of.
One connection behind one lock: SQLite does the work outside Python, and one writer is what makes answers reproducible.
"""

import base64
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.sandbox import ids
from connector.sandbox.localized import localized
from connector.sandbox.schema import TEXT, Field, Object, Schema

Row = dict[str, str | None]


@dataclass
class Work:
    undo: bool = False


class Store:
    def __init__(self, schema: Schema, path: str | Path | None = None) -> None:
        self.lock = threading.RLock()
        self.depth = 0
        self.overflow: Callable[[int, str], str] = _no_overflow
        self.children = 0  # that the record being written holds
        self.before: dict[tuple[str, str], Row | None] | None = None  # how the rows of a late commit were
        if path is not None:  # rows may be personal: the file is its owner's, whatever the umask says
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.connection = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self.connection.create_function("fold", 1, _fold, deterministic=True)
        self.connection.create_function("localized", 4, localized, deterministic=True)
        self.connection.create_function("overflow", 2, self._overflowing)
        self.connection.create_function("counted", 1, self._counted)
        self.connection.create_collation("folded", _compared)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        with self.transaction():
            self.connection.execute('CREATE TABLE IF NOT EXISTS "#meta" (key TEXT PRIMARY KEY, value TEXT)')
            key = "id TEXT, field TEXT, data BLOB, PRIMARY KEY (id, field)"
            self.connection.execute(f'CREATE TABLE IF NOT EXISTS "#blobs" ({key})')
            self.connection.execute('CREATE TABLE IF NOT EXISTS "#purged" (object TEXT, id TEXT, stamp TEXT)')
            for shape in schema.objects.values():
                self._table(shape)

    def _overflowing(self, place: int, parent: str) -> str:
        return self.overflow(place, parent)

    def _counted(self, children: int) -> int:
        self.children += children
        return children

    def close(self) -> None:
        with self.lock:
            self.connection.close()

    def _table(self, shape: Object) -> None:
        columns = ", ".join(f'"{field.name}" TEXT' for field in shape.stored if field.name != "Id")
        self.connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{shape.name}" '
            f'("#" INTEGER PRIMARY KEY AUTOINCREMENT, "Id" TEXT NOT NULL UNIQUE, {columns})'
        )
        present = {row[1] for row in self.connection.execute(f'PRAGMA table_info("{shape.name}")')}
        for field in shape.stored:  # a shape may have grown since the file was written
            if field.name not in present:
                self.connection.execute(f'ALTER TABLE "{shape.name}" ADD COLUMN "{field.name}" TEXT')
        for field in shape.stored:
            if field.type == "reference" or field.name == "SystemModstamp" or field.external_id:
                name, key = f"{shape.name} {field.name}", _key(field)
                self.connection.execute(f'CREATE INDEX IF NOT EXISTS "{name}" ON "{shape.name}" ({key})')

    @contextmanager
    def transaction(self) -> Iterator["Work"]:
        """Nests; an exception, or setting `undo`, undoes what was done inside."""
        with self.lock:
            self.depth += 1
            begin, commit, undo = (
                ("BEGIN", "COMMIT", "ROLLBACK")
                if self.depth == 1
                else (f"SAVEPOINT s{self.depth}", f"RELEASE s{self.depth}", f"ROLLBACK TO s{self.depth}")
            )
            self.connection.execute(begin)
            work = Work()
            try:
                yield work
            except BaseException:
                work.undo = True
                raise
            finally:
                if work.undo:
                    self.connection.execute(undo)
                if self.depth > 1 or not work.undo:
                    self.connection.execute(commit)
                self.depth -= 1

    # -- rows

    def new_id(self, shape: Object) -> str:
        last = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (shape.name,)).fetchone()
        number = (last[0] if last else 0) + 1
        while self.exists(shape, ids.make(shape.prefix, number)):
            number += 1
        return ids.make(shape.prefix, number)

    def exists(self, shape: Object, id18: str) -> bool:
        return self.connection.execute(f'SELECT 1 FROM "{shape.name}" WHERE "Id" = ?', (id18,)).fetchone() is not None

    def get(self, shape: Object, id18: str) -> Row | None:
        names = [field.name for field in shape.stored]
        listed = ", ".join(f'"{name}"' for name in names)
        row = self.connection.execute(f'SELECT {listed} FROM "{shape.name}" WHERE "Id" = ?', (id18,)).fetchone()
        return None if row is None else dict(zip(names, row, strict=True))

    def matching(self, shape: Object, field: Field, value: str) -> list[str]:
        """Ids of the live rows whose field has this stored value, text in any letter case."""
        live = "AND \"IsDeleted\" = 'false'" if shape.deletable else ""
        wanted = _fold(value) if field.type in TEXT else value
        sql = f'SELECT "Id" FROM "{shape.name}" WHERE {_key(field)} = ? {live} ORDER BY "#"'
        return [row[0] for row in self.connection.execute(sql, (wanted,))]

    def places(self, shape: Object, wanted: Sequence[str | None]) -> list[tuple[str, int]]:
        """(id, row number) of the live rows among these."""
        live = "AND \"IsDeleted\" = 'false'" if shape.deletable else ""
        sql = f'SELECT "Id", "#" FROM "{shape.name}" WHERE "Id" IN (SELECT value FROM json_each(?)) {live}'
        return self.connection.execute(sql, (json.dumps(wanted),)).fetchall()

    def count(self, shape: Object) -> int:
        """Live rows."""
        live = "WHERE \"IsDeleted\" = 'false'" if shape.deletable else ""
        return int(self.connection.execute(f'SELECT count(*) FROM "{shape.name}" {live}').fetchone()[0])

    def last_changed(self, shape: Object, user: str, most: int) -> list[Row]:
        """Live rows that the user changed last, latest first."""
        names = [field.name for field in shape.stored]
        listed = ", ".join(f'"{name}"' for name in names)
        live = "AND \"IsDeleted\" = 'false'" if shape.deletable else ""
        order = 'ORDER BY "LastModifiedDate" DESC, "#" DESC LIMIT ?'
        sql = f'SELECT {listed} FROM "{shape.name}" WHERE "LastModifiedById" = ? {live} {order}'
        return [dict(zip(names, row, strict=True)) for row in self.connection.execute(sql, (user, most))]

    def where(self, shape: Object, wanted: Mapping[str, str]) -> list[str]:
        """Ids of the rows with these stored values, by creation."""
        known = " AND ".join(f'"{name}" = ?' for name in wanted)
        sql = f'SELECT "Id" FROM "{shape.name}" WHERE {known} ORDER BY "#"'
        return [row[0] for row in self.connection.execute(sql, tuple(wanted.values()))]

    def between(self, shape: Object, start: str, end: str, wanted: Mapping[str, str]) -> list[tuple[str, str]]:
        """(id, stamp) of the rows whose stamp lies between these two, both included."""
        known = "".join(f' AND "{name}" = ?' for name in wanted)
        sql = (
            f'SELECT "Id", "SystemModstamp" FROM "{shape.name}" WHERE "SystemModstamp" BETWEEN ? AND ?{known} '
            'ORDER BY "SystemModstamp", "Id"'
        )
        return self.connection.execute(sql, (start, end, *wanted.values())).fetchall()

    def insert(self, shape: Object, row: Mapping[str, str | None]) -> None:
        id18 = row["Id"] or ""
        if self.before is not None:
            self.before[shape.name, id18] = None
        columns = self._without_blobs(shape, id18, row)
        listed = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        self.connection.execute(f'INSERT INTO "{shape.name}" ({listed}) VALUES ({marks})', tuple(columns.values()))

    def update(self, shape: Object, id18: str, row: Mapping[str, str | None]) -> None:
        if self.before is not None:
            self.before.setdefault((shape.name, id18), self.get(shape, id18))
        columns = self._without_blobs(shape, id18, row)
        if columns:
            listed = ", ".join(f'"{name}" = ?' for name in columns)
            self.connection.execute(f'UPDATE "{shape.name}" SET {listed} WHERE "Id" = ?', (*columns.values(), id18))

    def remove(self, shape: Object, id18: str) -> None:
        self.connection.execute(f'DELETE FROM "{shape.name}" WHERE "Id" = ?', (id18,))

    def purge(self, shape: Object, id18: str, stamp: str) -> None:
        """The row and its bytes go for good; that they did is remembered."""
        self.remove(shape, id18)
        self.connection.execute('DELETE FROM "#blobs" WHERE id = ?', (id18,))
        self.connection.execute('INSERT INTO "#purged" VALUES (?, ?, ?)', (shape.name, id18, stamp))

    def purged(self, shape: Object, start: str, end: str) -> list[tuple[str, str]]:
        sql = 'SELECT id, stamp FROM "#purged" WHERE object = ? AND stamp BETWEEN ? AND ?'
        return self.connection.execute(sql, (shape.name, start, end)).fetchall()

    # -- bytes, which lie beside the rows

    def _without_blobs(self, shape: Object, id18: str, row: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """The row's columns; what it holds of base64 is kept as bytes."""
        given = [name for name in shape.blobs if name in row]
        for name in given:
            data = base64.b64decode(row[name] or "")
            self.connection.execute('INSERT OR REPLACE INTO "#blobs" VALUES (?, ?, ?)', (id18, name, data))
        return {name: value for name, value in row.items() if name not in shape.blobs} if given else row

    def blob(self, id18: str, name: str) -> bytes:
        sql = 'SELECT data FROM "#blobs" WHERE id = ? AND field = ?'
        row = self.connection.execute(sql, (id18, name)).fetchone()
        return b"" if row is None else bytes(row[0])

    # -- queries

    def numbers(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[int]:
        return (row[0] for row in self.connection.execute(sql, parameters))

    def texts(self, sql: str, parameters: Mapping[str, Any]) -> list[str]:
        return [row[0] for row in self.connection.execute(sql, parameters)]

    def records(
        self, sql: str, parameters: Mapping[str, Any], page: Sequence[int], most: int | None = None
    ) -> list[str]:
        """The JSON of these rows in order. With `most`, fewer of them where they and their children would be more."""
        found: list[str] = []
        room = most
        for _, text in self.connection.execute(sql, {**parameters, "page": json.dumps(list(page))}):
            if room is not None:
                room -= 1 + self.children
                self.children = 0
                if room < 0 and found:
                    break
            found.append(text)
        self.children = 0
        return found

    # -- small facts that outlive a restart

    def meta(self, key: str) -> str | None:
        row = self.connection.execute('SELECT value FROM "#meta" WHERE key = ?', (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self.connection.execute('INSERT OR REPLACE INTO "#meta" VALUES (?, ?)', (key, value))


def _key(field: Field) -> str:
    return f'fold("{field.name}")' if field.type in TEXT else f'"{field.name}"'


def _fold(text: str | None) -> str | None:
    """Text compares in any letter case."""
    return None if text is None else text.casefold()


def _compared(one: str, other: str) -> int:
    left, right = one.casefold(), other.casefold()
    return (left > right) - (left < right)


def _no_overflow(place: int, parent: str) -> str:
    raise AssertionError(f"sub-select {place} of {parent} outside a query")
