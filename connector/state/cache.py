"""Text that an endpoint finds again in the next process."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import sqlalchemy as sa

from connector.state.database import Database, insert
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
            self.store.upsert(tx, remembered, [{"scope": self.scope, "key": key, "value": value}])

    def __delitem__(self, key: str) -> None:
        with self.store.writing() as tx:
            tx.execute(sa.delete(remembered).where(self.here & (remembered.c.key == key)))

    def swap(self, key: str, old: str | None, new: str) -> bool:
        """Put `new` where `old` still stands (None: nothing does). Of several workers that try, one succeeds."""
        with self.store.writing() as tx:
            if old is not None:
                here = self.here & (remembered.c.key == key) & (remembered.c.value == old)
                return bool(tx.execute(sa.update(remembered).where(here).values(value=new)).rowcount)
            row = {"scope": self.scope, "key": key, "value": new}
            into = insert(tx, remembered).on_conflict_do_nothing().returning(remembered.c.key)
            return tx.execute(into, row).first() is not None

    def __iter__(self) -> Iterator[str]:
        with self.store.reading() as conn:
            return iter(conn.scalars(sa.select(remembered.c.key).where(self.here)).all())

    def __len__(self) -> int:
        return sum(1 for _ in self)
