"""Text that an endpoint finds again in the next process."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import sqlalchemy as sa

from connector.state.database import Database, Found
from connector.state.tables import remembered


class Cache(MutableMapping[str, str]):
    def __init__(self, store: Database, scope: str) -> None:
        self.store, self.scope, self.here = store, scope, remembered.c.scope == scope

    def __getitem__(self, key: str) -> str:
        with self.store.reading() as conn:
            found = conn.scalar(sa.select(remembered.c.value).where(self.here & (remembered.c.key == key)))
        if found is None:
            raise KeyError(key)
        return str(found)

    def __setitem__(self, key: str, value: str) -> None:
        with self.store.writing() as tx:
            self._put(tx, key, value, "replace")

    def __delitem__(self, key: str) -> None:
        with self.store.writing() as tx:
            tx.execute(sa.delete(remembered).where(self.here & (remembered.c.key == key)))

    def swap(self, key: str, old: str | None, new: str) -> bool:
        """Put `new` where `old` still stands (None: nothing does). Of several workers that try, one succeeds."""
        with self.store.writing() as tx:
            if old is not None:
                here = self.here & (remembered.c.key == key) & (remembered.c.value == old)
                return bool(tx.execute(sa.update(remembered).where(here).values(value=new)).rowcount)
            return bool(self._put(tx, key, new, "keep"))

    def _put(self, tx: sa.Connection, key: str, value: str, found: Found) -> int:
        return self.store.put(tx, remembered, ("scope", "key", "value"), [(self.scope, key, value)], found)

    def __iter__(self) -> Iterator[str]:
        with self.store.reading() as conn:
            return iter(conn.scalars(sa.select(remembered.c.key).where(self.here)).all())

    def __len__(self) -> int:
        return sum(1 for _ in self)
