"""What a played example sees of the world: a clock that stands still, and calls and commits that tell of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from connector.model import Change, Endpoint, Flow, Row, Skip, Written
from connector.project import Runner
from connector.state import Lease, Store


@dataclass
class Clock:
    """Stands still but for `wait`, and for whoever sleeps."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Killed(BaseException):
    pass


class WatchedStore(Store):
    """Tells before and after each transaction that writes: a kill lies between commits, never inside one."""

    on_commit: Callable[[str], None] = staticmethod(lambda _what: None)

    def emptied(self) -> Self:
        """As if it were new. Making one anew costs as much as running an example."""
        with super().writing() as tx:
            for (name,) in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").all():
                tx.exec_driver_sql(f"DELETE FROM {name}")
        return self

    @contextmanager
    def writing(self, lease: Lease | None = None) -> Iterator[Any]:
        self.on_commit("commit")
        with super().writing(lease) as tx:
            yield tx
        self.on_commit("committed")


class Watched:
    """An endpoint over HTTP, with what was written through it, and told before and after each call."""

    def __init__(self, inner: Endpoint) -> None:
        self.inner = inner
        self.written: list[Change] = []
        self.on_call: Callable[[str], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, queries: Any) -> Iterator[Any]:
        for page in self.inner.read(queries):
            self._tell("read")
            yield page

    def write(self, changes: Any) -> list[Written]:
        self._tell("write")
        answers = self.inner.write(changes)
        self.written += [
            replace(change, id=answer.id) for change, answer in zip(changes, answers, strict=True) if not answer.error
        ]
        self._tell("wrote")
        return answers

    def _tell(self, what: str) -> None:
        if self.on_call:
            self.on_call(what)


class Made(msgspec.Struct, frozen=True):
    """One joined row and what its mapping made of it, so that a wrong value can be asked where it came from."""

    flow: Flow
    row: Row
    values: Row | Skip


@dataclass(frozen=True, slots=True)
class WatchedRunner(Runner):
    """Remembers every record that a mapping made."""

    made: list[Made] = field(default_factory=list)

    def flows(self, objects: Iterable[str] | None = None) -> tuple[Flow, ...]:
        return tuple(replace(flow, record=self._remembering(flow)) for flow in Runner.flows(self, objects))

    def _remembering(self, flow: Flow) -> Callable[[Row, Any], Row | Skip]:
        def record(row: Row, why: Any) -> Row | Skip:
            values = flow.record(row, why)
            self.made.append(Made(flow, row, values))
            return values

        return record
