"""Late commits: a write that is answered now and seen later, with the stamp of now.

What the write changed is taken back and kept beside the rows until its time has come; other columns of the row may change meanwhile.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from connector.sandbox.schema import Schema
from connector.sandbox.store import Store

_TABLE = '"#late" (number INTEGER PRIMARY KEY, due TEXT, object TEXT, id TEXT, made INTEGER, row TEXT)'


class Late:
    def __init__(self, schema: Schema, store: Store) -> None:
        self.schema, self.store = schema, store
        store.connection.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE}")
        self.next = self._next()

    @contextmanager
    def hold(self, due: datetime) -> Iterator[None]:
        """What is written inside is seen from `due` on; inside another one, that one decides."""
        if self.store.before is not None:
            yield
            return
        self.store.before = {}
        try:
            yield
        finally:
            before, self.store.before = self.store.before, None
        for (name, id18), row in before.items():
            shape = self.schema.objects[name.lower()]
            after = self.store.get(shape, id18) or {}
            changed = {key: value for key, value in after.items() if row is None or row.get(key) != value}
            if row is None:
                self.store.remove(shape, id18)
            else:
                self.store.update(shape, id18, {key: row.get(key) for key in changed})
            self.store.connection.execute(
                'INSERT INTO "#late" (due, object, id, made, row) VALUES (?, ?, ?, ?, ?)',
                (due.isoformat(), name, id18, row is None, json.dumps(changed)),
            )
        self.next = self._next()

    def settle(self, now: datetime) -> None:
        if self.next is None or now.isoformat() < self.next:
            return
        with self.store.transaction():
            sql = 'SELECT number, object, id, made, row FROM "#late" WHERE due <= ? ORDER BY number'
            for number, name, id18, made, text in self.store.connection.execute(sql, (now.isoformat(),)).fetchall():
                shape = self.schema.object(name)
                if shape and made and not self.store.exists(shape, id18):
                    self.store.insert(shape, json.loads(text))
                elif shape:
                    self.store.update(shape, id18, json.loads(text))
                self.store.connection.execute('DELETE FROM "#late" WHERE number = ?', (number,))
        self.next = self._next()

    def oldest(self) -> str | None:
        """The stamp of the oldest write that is not yet seen."""
        rows = self.store.connection.execute('SELECT row FROM "#late"')
        return min((json.loads(row[0]).get("SystemModstamp") or "9999" for row in rows), default=None)

    def _next(self) -> str | None:
        row = self.store.connection.execute('SELECT min(due) FROM "#late"').fetchone()
        return None if row[0] is None else str(row[0])
