"""The tables. Times are integers, milliseconds since 1970 in UTC; instants of a source's clock are canonical text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from connector import canon

metadata = sa.MetaData()
_text, _whole = sa.Text, sa.BigInteger
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up only an INTEGER key


def _id(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _number, primary_key=True) for name in names]


def _columns(type_: Any, *names: str, null: bool = False, key: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, type_, nullable=null, primary_key=key) for name in names]


stream = sa.Table(
    "stream",
    metadata,
    *_id("id"),
    *_columns(_text, "connection", "object", "cursor"),
    *_columns(_whole, "started_at", "slot_at", "lease_until", null=True),
    *_columns(_text, "owner", "token", null=True),
    sa.UniqueConstraint("connection", "object"),
)
link = sa.Table(
    "link",
    metadata,
    *_id("id"),
    *_columns(_number, "stream_id"),
    *_columns(_text, "key", "home", "remote", "made"),
    *_columns(sa.Boolean, "active"),
    *_columns(_whole, "at"),
    *_columns(_text, "home_base", "remote_base", null=True),
    sa.UniqueConstraint("stream_id", "key"),
    sa.Index("link_home", "stream_id", "home"),
    sa.Index("link_remote", "stream_id", "remote"),
)
version = sa.Table(
    "version",
    metadata,
    *_id("stream_id"),
    *_columns(_text, "read", "record", "carrier", key=True),
    *_columns(_text, "stamp", "digest"),
    *_columns(_number, "pass_id"),
)
run = sa.Table(
    "run",
    metadata,
    *_id("id"),
    sa.Column("stream_id", _number, nullable=False, index=True),
    *_columns(_whole, "started", "calls"),
    *_columns(_whole, "finished", null=True),
    *_columns(_text, "status", "counts", "digest"),
    *_columns(_text, "since", "until", "error", null=True),
)
outcome = sa.Table(
    "outcome",
    metadata,
    *_id("id"),
    sa.Column("run_id", _number, nullable=False, index=True),
    *_columns(_number, "stream_id"),
    *_columns(_whole, "at", "attempts"),
    *_columns(_whole, "retry_at", null=True),
    *_columns(_text, "read", "record", "outcome", "message"),
    *_columns(_text, "reason", "target", "field", null=True),
    *_columns(sa.Boolean, "open"),
    sa.Index("outcome_record", "stream_id", "record"),
)
# As text: an option of sa.Index that only some dialects have imports all that is known of these, at every start.
sa.event.listen(outcome, "after_create", sa.DDL("CREATE INDEX outcome_waiting ON outcome (stream_id) WHERE open"))  # type: ignore[no-untyped-call]
note = sa.Table(
    "note",
    metadata,
    *_id("id"),
    sa.Column("run_id", _number, index=True),
    *_columns(_number, "stream_id"),
    *_columns(_whole, "at"),
    *_columns(_text, "level", "code", "message"),
    *_columns(_text, "record", "field", null=True),
)
intent = sa.Table(
    "intent", metadata, *_id("stream_id"), *_columns(_text, "key", key=True), *_columns(_text, "payload", "sent")
)
remembered = sa.Table("cache", metadata, *_columns(_text, "scope", "key", key=True), *_columns(_text, "value"))
meta = sa.Table("meta", metadata, *_columns(_text, "key", key=True), *_columns(_text, "value"))


def millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def moment(value: int | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


@cache
def common(table: sa.Table, cls: Any) -> tuple[str, ...]:
    """The fields of a class that are columns of a table, in the order in which the class is made from them."""
    return tuple(name for name in cls.__struct_fields__ if name in table.columns)


def of(table: sa.Table, cls: Any) -> sa.Select[Any]:
    """Rows from which the class is made, `cls(*row)`."""
    return sa.select(*(table.c[name] for name in common(table, cls)))


def shown(row: Any) -> dict[str, Any]:
    made = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    for name in {"at", "started", "finished", "retry_at"} & made.keys():
        found = moment(made[name])
        made[name] = canon.text(found) if found else None
    if "counts" in made:
        made["counts"] = json.loads(made["counts"])
    return made
